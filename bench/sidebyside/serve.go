package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// job is a case of this project's own side.
type job struct {
	items float64
	run   func(context.Context) error
	warm  func(context.Context) error // called once before; nil: run is
}

// serve answers questions about this project until its input ends. It is what subject.py is for peers.
func serve(args []string) error {
	begin := time.Now()
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	model := f.String("model", "", "GGUF file")
	threads := f.Int("threads", 0, "threads of a call")
	tokens := f.Int("tokens", 0, "tokens of a prefill")
	pictures := f.String("pictures", "", "folder of JPEG files")
	probe := f.String("probes", "", "file of inputs whose embeddings are to be said")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	var jobs map[string]job
	embed := func() ([][]float32, error) { return nil, nil }
	var err error
	switch args[0] {
	case "image", "text":
		jobs, embed, err = clipJobs(args[0], *model, *threads, *probe)
	case "prefill":
		jobs, err = prefillJobs(*model, *threads, *tokens)
	case "vision":
		jobs, err = visionJobs(*model, *threads)
	case "files":
		jobs, err = fileJobs(*model, *threads, *pictures)
	default:
		err = fmt.Errorf("nothing serves %q", args[0])
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(jobs))
	for name, j := range jobs {
		names = append(names, name)
		if j.warm == nil {
			j.warm = j.run
		}
		if err := j.warm(context.Background()); err != nil {
			return err
		}
	}
	ready := answer{Ready: true, Version: "bgevl", Cases: names, Load: time.Since(begin).Seconds(), Peak: peak()}
	if ready.Vectors, err = embed(); err != nil {
		return err
	}
	say(ready)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		a, err := jobs[q.Case].sample(q)
		if err != nil {
			return err
		}
		say(a)
	}
	return in.Err()
}

func say(a answer) {
	line, _ := json.Marshal(a) // numbers and strings
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// sample runs a job as long as asked for.
func (j job) sample(q question) (answer, error) {
	if j.run == nil {
		return answer{}, fmt.Errorf("no case %q", q.Case)
	}
	runtime.GC() // not in the middle of a call because of what other calls left
	var profile bytes.Buffer
	if q.Profile {
		if err := pprof.StartCPUProfile(&profile); err != nil {
			return answer{}, err
		}
	}
	a := answer{Items: j.items}
	used, begin := cpuTime(), time.Now()
	for len(a.Times) == 0 || time.Since(begin).Seconds() < q.Seconds {
		start := time.Now()
		if err := j.run(context.Background()); err != nil {
			return a, err
		}
		a.Times = append(a.Times, time.Since(start).Seconds())
	}
	a.CPU, a.Peak = cpuTime()-used, peak()
	if !q.Profile {
		return a, nil
	}
	pprof.StopCPUProfile()
	var err error
	a.Go, err = goShare(profile.Bytes())
	return a, err
}

// goShare returns which share of a profile's samples are in Go's code: not in a call to C, and not on C's threads.
func goShare(profile []byte) (float64, error) {
	path := filepath.Join(os.TempDir(), "sidebyside-"+strconv.Itoa(os.Getpid())+".prof")
	if err := os.WriteFile(path, profile, 0o600); err != nil {
		return 0, err
	}
	defer os.Remove(path)
	out, err := exec.Command("go", "tool", "pprof", "-top", "-unit=ms", "-nodefraction=0", "-edgefraction=0",
		"-nodecount=100000", path).Output() //nolint:gosec // Go's own tool
	if err != nil {
		return 0, fmt.Errorf("go tool pprof: %w", err)
	}
	var all, c float64
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line) // flat flat% sum% cum cum% name
		if len(words) < 6 || !strings.HasSuffix(words[1], "%") {
			continue
		}
		flat, err := strconv.ParseFloat(strings.TrimSuffix(words[0], "ms"), 64)
		if err != nil {
			continue // the heading
		}
		all += flat
		switch words[5] {
		case "runtime.cgocall":
			c += flat
		case "runtime._ExternalCode": // stands above C's own functions
			cum, err := strconv.ParseFloat(strings.TrimSuffix(words[3], "ms"), 64)
			if err != nil {
				return 0, fmt.Errorf("go tool pprof: %q: %w", line, err)
			}
			c += cum
		}
	}
	if all == 0 {
		return 0, errors.New("go tool pprof: no samples")
	}
	return 1 - c/all, nil
}

func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for this process
	return u
}

func cpuTime() float64 {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func peak() int64 { return usage().Maxrss * 1024 }

// tokensOfText is the length of the texts that are measured, start and end included.
const tokensOfText = 16

func clipJobs(tower, path string, threads int, probe string) (map[string]job, func() ([][]float32, error), error) {
	m, err := clip.Open(path, &clip.Options{Threads: threads})
	if err != nil {
		return nil, nil, err
	}
	jobs := map[string]job{}
	for _, n := range batches {
		dst := make([]float32, n*m.Dim())
		var run func(context.Context) error
		if tower == "image" {
			pix := randomFloats(n * m.PixelCount())
			run = func(ctx context.Context) error { return m.EncodeImage(ctx, pix, dst) }
		} else {
			rows, err := textRows(m, n)
			if err != nil {
				return nil, nil, err
			}
			run = func(ctx context.Context) error { return m.EncodeTokens(ctx, rows, dst) }
		}
		jobs[strconv.Itoa(n)] = job{items: float64(n), run: run}
	}
	return jobs, func() ([][]float32, error) { return embedProbes(m, tower, probe) }, nil
}

// embedProbes returns the embeddings of the probes in a file.
func embedProbes(m *clip.Model, tower, path string) ([][]float32, error) {
	dst := make([]float32, probes*m.Dim())
	if tower == "image" {
		pix, err := readNumbers[float32](path, probes*m.PixelCount())
		if err != nil {
			return nil, err
		}
		if err := m.EncodeImage(context.Background(), pix, dst); err != nil {
			return nil, err
		}
	} else {
		ids, err := readNumbers[int32](path, probes*tokensOfText)
		if err != nil {
			return nil, err
		}
		rows := slices.Collect(slices.Chunk(ids, tokensOfText))
		if err := m.EncodeTokens(context.Background(), rows, dst); err != nil {
			return nil, err
		}
	}
	return slices.Collect(slices.Chunk(dst, m.Dim())), nil
}

// textRows returns n rows of tokens between the start and the end token.
func textRows(m *clip.Model, n int) ([][]int32, error) {
	ids, _, err := m.Tokenize("", false)
	if err != nil {
		return nil, err
	}
	rows := make([][]int32, n)
	for i := range rows {
		rows[i] = append(rows[i], ids[0])
		for t := range tokensOfText - 2 {
			rows[i] = append(rows[i], int32(100+7*i+t))
		}
		rows[i] = append(rows[i], ids[len(ids)-1])
	}
	return rows, nil
}

// randomFloats returns numbers from -1 to 1, the same every time.
func randomFloats(n int) []float32 {
	out := make([]float32, n)
	state := uint32(1)
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = float32(int32(state)) / (1 << 31)
	}
	return out
}

// prefillJobs asks for the states of all positions, so that no layer is cut short: a model of many layers cuts its last one
// only, and a cut to two would look better than it is.
func prefillJobs(path string, threads, tokens int) (map[string]job, error) {
	m, err := llama.Open(path, &llama.Options{Threads: threads, TextOnly: true})
	if err != nil {
		return nil, err
	}
	prefill := func(ctx context.Context, n int) error {
		in := llama.Input{Tokens: make([]int32, n), Wanted: make([]int, n)}
		for i := range n {
			in.Tokens[i], in.Wanted[i] = int32(10+i*7%200), i
		}
		_, err := m.HiddenStates(ctx, []llama.Input{in})
		return err
	}
	return map[string]job{"prefill": {
		items: float64(tokens),
		run:   func(ctx context.Context) error { return prefill(ctx, tokens) },
		warm:  func(ctx context.Context) error { return prefill(ctx, 64) },
	}}, nil
}

// visionJobs runs a picture that is cut into an overview and four tiles through the vision tower and the projector.
func visionJobs(path string, threads int) (map[string]job, error) {
	m, err := llama.Open(path, &llama.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	im, err := pixels.Decode(photograph(672, 672, 0), pixels.Limits{})
	if err != nil {
		return nil, err
	}
	picture, err := m.Preprocess(im)
	if err != nil {
		return nil, err
	}
	if picture.Tiles() != tilesOfPicture {
		return nil, fmt.Errorf("the picture has %d tiles, want %d", picture.Tiles(), tilesOfPicture)
	}
	return map[string]job{
		"picture": {items: 1, run: func(ctx context.Context) error {
			_, err := m.EncodePicture(ctx, picture)
			return err
		}},
		"preprocess": {items: 1, run: func(context.Context) error {
			_, err := m.Preprocess(im)
			return err
		}},
	}, nil
}

// fileJobs embeds JPEG files end to end, and the same number of pictures that are pixels already.
func fileJobs(path string, threads int, folder string) (map[string]job, error) {
	e, err := bgevl.Open(path, &bgevl.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	m, err := clip.Open(path, &clip.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.jpg"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no *.jpg in %s", folder)
	}
	inputs := make([]bgevl.Input, len(files))
	for i, name := range files {
		inputs[i].Image = bgevl.ImageFile(name)
	}
	const batch = 8 // as bgevl's default
	pix, dst := randomFloats(batch*m.PixelCount()), make([]float32, batch*m.Dim())
	return map[string]job{
		"files": {items: float64(len(files)), run: func(ctx context.Context) error {
			_, err := e.Embed(ctx, inputs)
			return err
		}},
		"model": {items: float64(len(files) / batch * batch), run: func(ctx context.Context) error {
			for range len(files) / batch {
				if err := m.EncodeImage(ctx, pix, dst); err != nil {
					return err
				}
			}
			return nil
		}},
		"decode": {items: float64(len(files)), run: func(context.Context) error { return decodeAll(m, files, pix) }},
	}, nil
}

// decodeAll reads, decodes and preprocesses files one after another, on one thread.
func decodeAll(m *clip.Model, files []string, pix []float32) error {
	for _, name := range files {
		data, err := os.ReadFile(name) //nolint:gosec // the benchmark's own
		if err != nil {
			return err
		}
		im, err := pixels.Decode(data, pixels.Limits{})
		if err != nil {
			return err
		}
		if err := m.Preprocess(im, pix[:m.PixelCount()]); err != nil {
			return err
		}
	}
	return nil
}
