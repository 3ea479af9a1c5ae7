package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what a run measured, as it is written to report.json.
type report struct {
	Format    int                 `json:"format"`
	Date      string              `json:"date"`
	Commit    string              `json:"commit"`
	Processor processor           `json:"processor"`
	Threads   int                 `json:"threads"`
	Seconds   float64             `json:"seconds_a_sample"`
	Load      [2]float64          `json:"load_average"` // before and after
	Limits    map[string]limitRow `json:"limits"`
	Groups    []groupReport       `json:"groups"`
	Starts    []startRow          `json:"starts,omitempty"`
	Missing   []string            `json:"missing,omitempty"`
}

const reportFormat = 1

// limitRow is a limit of the processor: operations a second with one thread and with all.
type limitRow struct {
	How string `json:"how"`
	One spread `json:"one_thread"`
	All spread `json:"all_threads"`
}

type groupReport struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	When   string `json:"when"`   // date of the run, which may be another than the report's
	Commit string `json:"commit"` // that was measured
	Note   string `json:"note,omitempty"`
	Rounds int    `json:"rounds"`
	Rows   []row  `json:"rows"`
}

// row is one subject in one case.
type row struct {
	Case      string            `json:"case"`
	What      string            `json:"what"`
	Subject   string            `json:"subject"`
	Ours      bool              `json:"ours"`
	Version   string            `json:"version"`
	Unit      string            `json:"unit"`
	Rate      spread            `json:"items_per_second"`
	CPU       float64           `json:"cpu_seconds_an_item"`
	Limit     string            `json:"limit"`
	OfLimit   spread            `json:"of_limit"`         // work that the result needs, over the limit beside it; 0: not counted
	Over      map[string]spread `json:"over,omitempty"`   // of ours: how many times faster than each other subject
	Cosine    float64           `json:"cosine,omitempty"` // lowest of the probes' embeddings to those in float32
	Load      float64           `json:"load_seconds"`
	Peak      int64             `json:"peak_bytes"`
	File      int64             `json:"file_bytes,omitempty"`
	GoShare   float64           `json:"go_share,omitempty"`
	Disturbed int               `json:"disturbed"`
	Samples   int               `json:"samples"`
}

// rows makes a group's rows of what was measured.
func (r *runner) rows(g group, results []*result) groupReport {
	out := groupReport{Name: g.name, Title: g.title, Note: g.note, Rounds: g.rounds, When: now()}
	exact := reference(results)
	for _, res := range results {
		spec := res.s.spec
		w := row{Case: res.c.name, What: res.c.what, Subject: spec.name, Ours: spec.ours, Version: res.s.ready.Version,
			Unit: res.c.unit, Limit: r.limits.kind(spec.limit), Load: res.s.ready.Load, Peak: res.s.ready.Peak, Samples: len(res.samples),
			Rate: res.each(func(s sample) float64 { return s.rate }),
			CPU:  res.each(func(s sample) float64 { return s.cpu }).Median}
		w.OfLimit = res.each(func(s sample) float64 { return res.c.flop * s.rate / s.limit })
		if len(res.s.ready.Vectors) > 0 && exact != nil {
			w.Cosine = lowestCosine(exact, res.s.ready.Vectors)
		}
		if g.profile && spec.ours {
			w.GoShare = res.each(func(s sample) float64 { return s.goTime }).Median
		}
		if st, err := os.Stat(spec.file); err == nil {
			w.File = st.Size()
		}
		for _, s := range res.samples {
			if s.others > maxOthers {
				w.Disturbed++
			}
		}
		for _, other := range results {
			if spec.ours && other.c.name == res.c.name && !other.s.spec.ours {
				if w.Over == nil {
					w.Over = map[string]spread{}
				}
				w.Over[other.s.spec.name] = res.over(other)
			}
		}
		out.Rows = append(out.Rows, w)
	}
	return out
}

// keep takes over from an older report of the same machine what this run did not measure.
func (r *report) keep(old *report) {
	if old.Threads != r.Threads || old.Processor.slug() != r.Processor.slug() {
		return
	}
	for _, g := range old.Groups {
		if !slices.ContainsFunc(r.Groups, func(have groupReport) bool { return have.Name == g.Name }) {
			r.Groups = append(r.Groups, g)
		}
	}
	slices.SortStableFunc(r.Groups, func(a, b groupReport) int { return place(a.Name) - place(b.Name) })
	if len(r.Starts) == 0 {
		r.Starts = old.Starts
	}
}

// place returns where a group stands in a report.
func place(name string) int {
	return slices.Index([]string{"clip-base-image", "clip-base-text", "clip-large-image", "clip-large-text", "decoder", "vision", "jpeg",
		"threads"}, name)
}

// find returns a row, nil where it was not measured.
func (r *report) find(group, kase, subject string) *row {
	for _, g := range r.Groups {
		for i := range g.Rows {
			if w := &g.Rows[i]; g.Name == group && w.Case == kase && w.Subject == subject {
				return w
			}
		}
	}
	return nil
}

// disturbed returns how many of all samples were.
func (r *report) disturbed() (n, of int) {
	for _, g := range r.Groups {
		for _, w := range g.Rows {
			n += w.Disturbed
			of += w.Samples
		}
	}
	return n, of
}

// write writes the report under a name, as Markdown, JSON and a plot.
func (r *report) write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // part of the repository where it is committed
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for ext, data := range map[string][]byte{".json": append(text, '\n'), ".md": []byte(r.markdown(name))} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), data, 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return r.plot(filepath.Join(dir, name+".png"))
}

func readReport(path string) (*report, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the benchmark's own
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Format != reportFormat {
		return nil, fmt.Errorf("%s: format %d, want %d: measure it again by make bench-commit", path, r.Format, reportFormat)
	}
	return r, nil
}

// markdown returns the report for a reader.
func (r *report) markdown(name string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# %s %s, %d threads", r.Processor.Name, r.Processor.Model, r.Threads)
	p("")
	p("`make bench` on %s, commit %s, on a machine with %d processors (%s). Rates are medians over rounds in which all "+
		"programs took turns; the numbers in brackets are the quartiles. \"Of the limit\" is the work that a result needs, over what "+
		"register-only loops reached beside each sample. \"Cosine\" is the lowest of %d pictures or texts to the same weights in float32.", r.Date, r.Commit, r.Processor.Cores, r.Processor.Features, probes)
	p("")
	if n, of := r.disturbed(); n > 0 {
		p("**Other programs took more than %.0f%% of the machine during %d of %d samples** (load average %.1f before, %.1f after): "+
			"ratios are of some use, rates are of none.", 100*maxOthers, n, of, r.Load[0], r.Load[1])
	} else {
		p("No other program took more than %.0f%% of the machine during any of the %d samples.", 100*maxOthers, of)
	}
	p("")
	p("| limit | measured by | 1 thread, Gop/s | %d threads, Gop/s |", r.Threads)
	p("|---|---|---|---|")
	for _, kind := range []string{"f32", "bf16", "int16", "int8"} {
		if l, ok := r.Limits[kind]; ok {
			p("| %s | %s | %s | %s |", kind, l.How, quartiles(l.One, 1e9, "%.0f"), quartiles(l.All, 1e9, "%.0f"))
		}
	}
	p("")
	p("![useful work as a share of the float limit](%s.png)", name)
	for _, g := range r.Groups {
		g.markdown(p)
	}
	r.derived(p)
	r.memory(p)
	r.startTable(p)
	if len(r.Missing) > 0 {
		p("\n## Left out\n")
		for _, m := range r.Missing {
			p("- %s", m)
		}
	}
	return b.String()
}

func quartiles(s spread, unit float64, format string) string {
	one := func(x float64) string { return fmt.Sprintf(format, x/unit) }
	if one(s.Low) == one(s.High) {
		return one(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", one(s.Median), one(s.Low), one(s.High))
}

// digits formats a rate with three digits that count.
func digits(s spread) string {
	switch {
	case s.Median >= 100:
		return quartiles(s, 1, "%.0f")
	case s.Median >= 10:
		return quartiles(s, 1, "%.1f")
	case s.Median >= 1:
		return quartiles(s, 1, "%.2f")
	}
	return quartiles(s, 1, "%.3f")
}

func (g groupReport) markdown(p func(string, ...any)) {
	p("\n## %s\n", g.Title)
	p("Measured on %s, commit %s; rounds: %d.", g.When, g.Commit, g.Rounds)
	if g.Note != "" {
		p("\n%s", g.Note)
	}
	last := ""
	for _, w := range g.Rows {
		if w.Case != last {
			last = w.Case
			p("\n| %s | %ss/s | processor time of one | of the limit | cosine | bgevl over it |", w.What, w.Unit)
			p("|---|---|---|---|---|---|")
		}
		of := ""
		if w.OfLimit.Median > 0 {
			of = fmt.Sprintf("%s of %s", quartiles(w.OfLimit, 1, "%.2f"), w.Limit)
		}
		name := w.Subject
		if w.Ours {
			name = "**" + name + "**"
		} else if !strings.Contains(name, "ggml") {
			name += " (" + w.Version + ")"
		}
		p("| %s | %s | %s | %s | %s | %s |", name, digits(w.Rate), milliseconds(w.CPU), of, cosine(w.Cosine), g.over(w))
	}
}

// cosine formats one so that it never reads closer to 1 than it is; nothing for 0, which was not measured.
func cosine(x float64) string {
	switch {
	case x == 0:
		return ""
	case x > 0.99999:
		return fmt.Sprintf("%.7f", math.Floor(x*1e7)/1e7)
	}
	return fmt.Sprintf("%.5f", math.Floor(x*1e5)/1e5)
}

func milliseconds(s float64) string {
	if s >= 0.1 {
		return fmt.Sprintf("%.0f ms", 1e3*s)
	}
	return fmt.Sprintf("%.2f ms", 1e3*s)
}

// over lists how many times faster each of ours was than a peer.
func (g groupReport) over(peer row) string {
	var all []string
	for _, w := range g.Rows {
		if s, ok := w.Over[peer.Subject]; ok && w.Case == peer.Case {
			all = append(all, fmt.Sprintf("%s %.2f", strings.TrimPrefix(w.Subject, "bgevl "), s.Median))
		}
	}
	return strings.Join(all, ", ")
}

func now() string { return time.Now().UTC().Format("2006-01-02") }
