package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startRow is what a whole run of the command line takes for one input.
type startRow struct {
	What     string  `json:"what"`
	Type     string  `json:"type"`
	Warm     spread  `json:"warm_seconds"`
	Cold     spread  `json:"cold_seconds"` // the model's file is not in the page cache
	Resident int64   `json:"peak_bytes"`   // pages of the file included
	File     int64   `json:"file_bytes"`
	CPU      float64 `json:"cpu_seconds"`
}

const startRuns = 3

// starts measures bgevl as a person starts it: one text, one picture.
func starts(bgevl, dir string, types []string) ([]startRow, error) {
	picture := filepath.Join(dir, "pictures", "00.jpg")
	var rows []startRow
	for _, typ := range types {
		path := filepath.Join(dir, "clip-base-"+typ+".gguf")
		for _, what := range [][]string{{"one text", "--text", "a dog"}, {"one JPEG file", "--image", picture}} {
			row := startRow{What: what[0], Type: typ}
			if st, err := os.Stat(path); err == nil {
				row.File = st.Size()
			}
			args := append([]string{"embed", "-m", path}, what[1:]...)
			var times [2][]float64 // cold and warm
			for i := range 2 * startRuns {
				if i%2 == 0 {
					if err := forget(path); err != nil {
						return rows, err
					}
				}
				cmd := exec.Command(bgevl, args...) //nolint:gosec // the program that is measured
				begin := time.Now()
				if out, err := cmd.CombinedOutput(); err != nil {
					return rows, fmt.Errorf("%s: %w: %.200s", cmd, err, out)
				}
				times[i%2] = append(times[i%2], time.Since(begin).Seconds())
				if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
					row.Resident = max(row.Resident, u.Maxrss*1024)
				}
				row.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			}
			row.Cold, row.Warm = spreadOf(times[0]), spreadOf(times[1])
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// forget has the system drop a file from its page cache.
func forget(path string) error {
	f, err := os.Open(path) //nolint:gosec // the benchmark's own
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

func (r *report) startTable(p func(string, ...any)) {
	if len(r.Starts) == 0 {
		return
	}
	p("\n## Cold start\n")
	p("`bgevl embed` on CLIP base from start to end, with its file out of the page cache and in it; the memory counts pages of the "+
		"mapped file. Medians of %d runs.\n", startRuns)
	p("| | type | file | cold | warm | processor time | resident |")
	p("|---|---|---|---|---|---|---|")
	for _, s := range r.Starts {
		p("| %s | %s | %.0f MB | %.2f s | %.2f s | %.2f s | %.0f MB |", s.What, s.Type, float64(s.File)/1e6, s.Cold.Median, s.Warm.Median, s.CPU,
			float64(s.Resident)/1e6)
	}
}
