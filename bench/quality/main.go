// Command quality measures what each type of weights costs and saves: the size of the file, the processor time of a picture
// and of a text, and the lowest and the mean cosine to the same model in float32.
//
//	go run ./bench/quality [-models "clip-base clip-large mllm"] [-types "f16 q8_0"] [-pictures DIR]
//
// The models have the geometry of BGE-VL-base, -large and -MLLM, the last cut to two decoder layers, and random weights, which
// lose more than trained ones. CLIP models embed 200 texts and 40 pictures: the photographs in DIR, and drawn ones for the
// rest; the MLLM cut gives the last states of 40 texts. The float32 file computes what the reference does (tools/fullsize.sh).
//
// Times are processor time on one thread, the least of several batches, so that a busy machine changes them little; they
// are comparable within a run only. Results go to build/bench/quality.json after each type, and a run goes on where one was
// interrupted. -table prints them as Markdown. GGUF files that the run made are removed again.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bgevl/bgevl/convert"
)

// measurement is what is known of one type of one model.
type measurement struct {
	Model    string   `json:"model"`
	Type     string   `json:"type"`
	Bytes    int64    `json:"bytes"`
	Texts    *cosines `json:"texts,omitempty"`
	Pictures *cosines `json:"pictures,omitempty"`
	Text     float64  `json:"text_seconds,omitempty"` // processor time of one
	Picture  float64  `json:"picture_seconds,omitempty"`
	Made     float64  `json:"made_seconds"` // processor time of the conversion
}

// cosines sums up vectors compared with those of float32.
type cosines struct {
	N      int     `json:"n"`
	Lowest float64 `json:"lowest"`
	Mean   float64 `json:"mean"`
}

func compare(want, got [][]float32) *cosines {
	c := &cosines{N: len(want), Lowest: 1}
	for i := range want {
		var ab, aa, bb float64
		for j := range want[i] {
			a, b := float64(want[i][j]), float64(got[i][j])
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
		x := ab / math.Sqrt(aa*bb)
		c.Lowest = min(c.Lowest, x)
		c.Mean += x / float64(len(want))
	}
	return c
}

// vectors are what a model makes of the inputs, and the processor time that it takes.
type vectors struct {
	texts, pictures [][]float32
	text, picture   float64
}

const reference = "f32"

func main() {
	models := flag.String("models", "clip-base clip-large mllm", "models to measure")
	types := flag.String("types", strings.Join(convert.TypeNames(), " "), "types to measure, beside f32")
	pictures := flag.String("pictures", "", "folder of photographs, or several with colons between")
	dir := flag.String("dir", "build/bench", "where checkpoints and results lie")
	table := flag.Bool("table", false, "print the results as they are, and measure nothing")
	flag.Parse()
	err := errors.New("want options only")
	if flag.NArg() == 0 {
		err = run(strings.Fields(*models), strings.Fields(*types), *dir, *pictures, *table)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

func run(models, types []string, dir, pictures string, table bool) error {
	path := filepath.Join(dir, "quality.json")
	done, err := load(path)
	if err != nil {
		return err
	}
	if table {
		printTables(done, models)
		return nil
	}
	for _, name := range models {
		m, err := newModel(name, dir, pictures)
		if err != nil {
			return err
		}
		if done, err = measureAll(m, types, done, path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	printTables(done, models)
	return nil
}

// measureAll adds what is not known yet of a model to the measurements.
func measureAll(m *model, types []string, done []measurement, path string) ([]measurement, error) {
	var want *vectors
	for _, typ := range types {
		if slices.ContainsFunc(done, func(d measurement) bool { return d.Model == m.name && d.Type == typ }) {
			continue
		}
		if want == nil {
			var err error
			if want, _, err = m.measure(reference); err != nil {
				return done, err
			}
		}
		got, d, err := m.measure(typ)
		if err != nil {
			return done, err
		}
		d.Texts, d.Text, d.Picture = compare(want.texts, got.texts), got.text, got.picture
		if len(want.pictures) > 0 {
			d.Pictures = compare(want.pictures, got.pictures)
		}
		done = append(done, d)
		fmt.Printf("%s %s: %s\n", m.name, typ, d.line())
		if err := save(path, done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// measure converts the model to a type and embeds the inputs with it. The file is removed.
func (m *model) measure(typ string) (*vectors, measurement, error) {
	d := measurement{Model: m.name, Type: typ}
	path := filepath.Join(m.dir, "quality-"+m.name+".gguf")
	before := cpu()
	_, err := convert.Run(context.Background(), m.checkpoint, path, &convert.Options{Types: []string{typ}, Overwrite: true})
	if err != nil {
		return nil, d, err
	}
	d.Made = cpu() - before
	defer os.Remove(path)
	defer os.Remove(filepath.Join(m.dir, "mmproj-quality-"+m.name+".gguf"))
	st, err := os.Stat(path)
	if err != nil {
		return nil, d, err
	}
	d.Bytes = st.Size()
	v, err := m.embed(path)
	return v, d, err
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func load(path string) (done []measurement, err error) {
	text, err := os.ReadFile(path) //nolint:gosec // our own
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &done)
	}
	return done, err
}

func save(path string, done []measurement) error {
	text, err := json.MarshalIndent(done, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // for everybody to read
}

func (d measurement) line() string {
	s := fmt.Sprintf("%.0f MB, texts %.5f (mean %.5f)", float64(d.Bytes)/1e6, d.Texts.Lowest, d.Texts.Mean)
	if d.Pictures != nil {
		s += fmt.Sprintf(", pictures %.5f (mean %.5f), %.0f ms a picture", d.Pictures.Lowest, d.Pictures.Mean, 1e3*d.Picture)
	}
	return s + fmt.Sprintf(", %.1f ms a text", 1e3*d.Text)
}

// printTables prints a table a model, times as shares of those of f16.
func printTables(done []measurement, models []string) {
	for _, name := range models {
		var of measurement
		for _, d := range done {
			if d.Model == name && d.Type == "f16" {
				of = d
			}
		}
		fmt.Printf("\n| %s | file | texts, lowest | mean | pictures, lowest | mean | time of a picture | of a text |\n", name)
		fmt.Println("|---|---|---|---|---|---|---|---|")
		for _, typ := range convert.TypeNames() {
			for _, d := range done {
				if d.Model == name && d.Type == typ {
					fmt.Println(d.row(of))
				}
			}
		}
	}
}

func (d measurement) row(of measurement) string {
	pictures, picture := " | ", ""
	if d.Pictures != nil {
		pictures = fmt.Sprintf("%s | %s", digits(d.Pictures.Lowest), digits(d.Pictures.Mean))
		picture = share(d.Picture, of.Picture)
	}
	return fmt.Sprintf("| %s | %.0f MB | %s | %s | %s | %s | %s |", d.Type, float64(d.Bytes)/1e6, digits(d.Texts.Lowest),
		digits(d.Texts.Mean), pictures, picture, share(d.Text, of.Text))
}

func share(x, of float64) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", x/of)
}

// digits shows as many digits of a cosine as tell it from 1.
func digits(x float64) string {
	switch {
	case x > 0.99995:
		return fmt.Sprintf("%.6f", x)
	case x > 0.999:
		return fmt.Sprintf("%.5f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
