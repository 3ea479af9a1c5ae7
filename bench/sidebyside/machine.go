package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// processor says what the machine is, as far as numbers depend on it.
type processor struct {
	Name     string `json:"name"`
	Model    string `json:"model"` // family, model and stepping, or Arm's implementer and part
	Cores    int    `json:"cores"` // that the process may use
	Features string `json:"features"`
}

// readProcessor reads /proc/cpuinfo; elsewhere a processor is its architecture.
func readProcessor() processor {
	p := processor{Name: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0)}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return p
	}
	keys := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if _, seen := keys[key]; found && !seen {
			keys[key] = value
		}
	}
	if name := keys["model name"]; name != "" {
		p.Name = name
	}
	if keys["cpu family"] != "" {
		p.Model = fmt.Sprintf("family %s model %s", keys["cpu family"], keys["model"])
	} else if keys["CPU part"] != "" {
		p.Model = fmt.Sprintf("implementer %s part %s", keys["CPU implementer"], keys["CPU part"])
	}
	var have []string
	for _, f := range strings.Fields(keys["flags"] + " " + keys["Features"]) {
		if regexp.MustCompile(`^(avx2|fma|f16c|avx_vnni|avx512(f|bw|vl|_vnni|_bf16|_fp16)|amx_\w+|asimddp|i8mm|bf16|sve2?)$`).MatchString(f) {
			have = append(have, f)
		}
	}
	p.Features = strings.Join(have, " ")
	return p
}

// slug names the processor's file in bench/results.
func (p processor) slug() string {
	words := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(p.Name+" "+p.Model), "-")
	return fmt.Sprintf("%s-x%d", strings.Trim(words, "-"), p.Cores)
}

// ticks are what the processors of the machine did since it started, in hundredths of a second of one of them.
type ticks struct{ busy, steal float64 }

func readTicks() ticks {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	if len(words) < 9 {
		return ticks{}
	}
	at := func(i int) float64 {
		n, _ := strconv.ParseFloat(words[i], 64)
		return n
	}
	return ticks{busy: at(1) + at(2) + at(3) + at(6) + at(7), steal: at(8)}
}

// watch measures how much of the machine others take while something runs.
type watch struct {
	before ticks
	start  time.Time
}

func newWatch() watch { return watch{readTicks(), time.Now()} }

// others returns the share of the machine's processor time since the start that neither the subject, which took cpu seconds,
// nor idleness explains, stolen time included.
func (w watch) others(cpu float64) float64 {
	const hertz = 100 // USER_HZ, the same on every Linux
	now, wall := readTicks(), time.Since(w.start).Seconds()
	taken := (now.busy+now.steal-w.before.busy-w.before.steal)/hertz - cpu
	return max(0, taken/(wall*float64(runtime.NumCPU())))
}

// loadAverage returns what /proc/loadavg says of the last minute.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	n, _ := strconv.ParseFloat(first, 64)
	return n
}
