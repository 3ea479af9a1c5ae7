package main

import (
	"fmt"
	"strings"
)

// derived writes what follows from rows: ratios of ours to ours, and the whole of an MLLM input.
func (r *report) derived(p func(string, ...any)) {
	r.wholeInput(p)
	r.againstItself(p)
}

// wholeInput scales the decoder's cut to the whole model.
func (r *report) wholeInput(p func(string, ...any)) {
	const scale = mllmLayers / float64(decoderLayers)
	vision := r.find("vision", "picture", "bgevl f16")
	var lines []string
	seconds := func(w *row, items float64) float64 { return items / w.Rate.Median }
	add := func(name string, decoder *row, towers *row) {
		d, v := scale*seconds(decoder, tokensOfPicture), seconds(towers, 1)
		lines = append(lines, fmt.Sprintf("| %s | %.1f s | %.1f s | %.1f s |", name, v, d, v+d))
	}
	for _, g := range r.Groups {
		if g.Name != "decoder" {
			continue
		}
		ggml := r.find("vision", "picture", "ggml products f16")
		for i := range g.Rows {
			switch w := &g.Rows[i]; {
			case w.Ours && vision != nil:
				add(w.Subject, w, vision)
			case strings.HasPrefix(w.Subject, "ggml") && ggml != nil:
				add(w.Subject, w, ggml)
			}
		}
	}
	if lines == nil {
		return
	}
	p("\n## The whole MLLM input with a picture, scaled\n")
	p("The vision side is measured whole. The decoder is %d times what its cut to %d of %d layers takes on %d tokens: no run of the whole "+
		"model. \"ggml products\" leave out whatever is not a matrix product.\n", int(scale), decoderLayers, mllmLayers, tokensOfPicture)
	p("| | vision | decoder, scaled | in all |")
	p("|---|---|---|---|")
	for _, line := range lines {
		p("%s", line)
	}
}

// againstItself compares this project with itself: files with pixels, threads, batches.
func (r *report) againstItself(p func(string, ...any)) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, g := range r.Groups {
		for i := range g.Rows {
			w := &g.Rows[i]
			if !w.Ours {
				continue
			}
			typ := strings.TrimPrefix(w.Subject, "bgevl ")
			switch {
			case g.Name == "jpeg" && w.Case == "files":
				if model := r.find(g.Name, "model", w.Subject); model != nil {
					add("| from JPEG files, base %s: rate of the model alone | at least 0.9 | %.3f |", typ, w.Rate.Median/model.Rate.Median)
					add("| Go's share of the processor time, from JPEG files, %s | | %.1f%% |", typ, 100*w.GoShare)
					add("| Go's share of the processor time, pixels in memory, %s | | %.1f%% |", typ, 100*model.GoShare)
				}
			case g.Name == "threads" && strings.HasSuffix(w.Subject, ", 1 thread"):
				all := strings.Replace(w.Subject, "1 thread", fmt.Sprintf("%d threads", r.Threads), 1)
				if more := r.find(g.Name, w.Case, all); more != nil {
					add("| %s, %s: %d threads over 1 | at least 1.9 for 2 | %.2f (the limit itself: %.2f) |", w.What, typ, r.Threads,
						more.Rate.Median/w.Rate.Median, r.Limits[w.Limit].All.Median/r.Limits[w.Limit].One.Median)
				}
			case strings.HasPrefix(g.Name, "clip-") && w.Case == "1":
				if eight := r.find(g.Name, "8", w.Subject); eight != nil {
					add("| %s, %s: a %s in a batch of 1 over one of 8 | at most 1.15 | %.2f |", g.Name, typ, w.Unit, eight.Rate.Median/w.Rate.Median)
				}
			}
		}
	}
	if lines == nil {
		return
	}
	p("\n## Against itself\n")
	p("| | wanted | measured |")
	p("|---|---|---|")
	for _, line := range lines {
		p("%s", line)
	}
}

// memory writes what each program needed, and how long it took to be ready.
func (r *report) memory(p func(string, ...any)) {
	p("\n## Memory, and the time to be ready\n")
	p("The most that each process had resident when it was ready, after one call of each case, and how long it took to get there: " +
		"imports, opening, compiling or packing, and those calls. Others were starting at the same time.\n")
	p("| | | file | resident | ready after |")
	p("|---|---|---|---|---|")
	for _, g := range r.Groups {
		seen := map[string]bool{}
		for _, w := range g.Rows {
			if seen[w.Subject] || g.Name == "threads" {
				continue
			}
			seen[w.Subject] = true
			file := ""
			if w.File > 0 {
				file = fmt.Sprintf("%.0f MB", float64(w.File)/1e6)
			}
			p("| %s | %s | %s | %.0f MB | %.1f s |", g.Name, w.Subject, file, float64(w.Peak)/1e6, w.Load)
		}
	}
}
