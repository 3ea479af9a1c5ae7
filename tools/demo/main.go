// Command demo draws what `make demo` searches, and the sheet that shows what it found.
//
//	demo draw DIR         draws DIR/pictures, and writes the inputs for bgevl embed: pictures.jsonl and queries.jsonl
//	demo sheet DIR NAME   reads NAME.pictures.jsonl and NAME.queries.jsonl, the embeddings, ranks, and draws NAME.png
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/bgevl/bgevl/internal/scenes"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "draw":
		return drawAll(args[1])
	case len(args) == 3 && args[0] == "sheet":
		return sheet(args[1], args[2])
	}
	return errors.New("want: draw DIR, or sheet DIR NAME")
}

// A question is a scene, what to change, and the scene that is then right.
type question struct {
	from, to scenes.Scene
	text     string
}

// questions are about pairs of shape and colour that the demo models were never shown: red stars, purple hearts, yellow
// crosses.
func questions() []question {
	ask := func(text string, from scenes.Scene, a scenes.Attribute, value int) question {
		to := from
		to[a] = value
		return question{from, to, text}
	}
	return []question{
		//                             shape, colour, texture, size, count, position, place, time
		ask("make it red", scenes.Scene{3, 4, 0, 2, 0, 4, 0, 0}, scenes.Colour, 0),
		ask("at night", scenes.Scene{4, 5, 0, 1, 1, 4, 4, 0}, scenes.Time, 1),
		ask("add one more", scenes.Scene{5, 2, 0, 1, 2, 4, 2, 0}, scenes.Count, 3),
	}
}

const (
	seed     = 7 // of everything that is drawn
	others   = 8 // families of five pictures that no question is about
	pictures = "pictures"
)

// collection returns the scenes that are searched: of each question the answer, the scene asked about drawn anew, and
// what differs from the answer in one attribute; and many others.
func collection() []scenes.Scene {
	rnd := rand.New(rand.NewPCG(seed, seed))
	seen := map[scenes.Scene]bool{}
	var all []scenes.Scene
	add := func(s scenes.Scene) {
		if !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	for _, q := range questions() {
		add(q.to)
		add(q.from)
		for a := range scenes.NumAttributes {
			add(q.to.Vary(rnd, a))
		}
	}
	for _, p := range scenes.NewGallery(seed, others).Pictures {
		add(p.Scene)
	}
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// input is a line for bgevl embed. Models without instructions ignore roles and tasks.
type input struct {
	ID    string `json:"id"`
	Image string `json:"image"`
	Text  string `json:"text,omitempty"`
	Role  string `json:"role,omitempty"`
	Task  string `json:"task,omitempty"`
}

// drawAll writes the pictures and the inputs.
func drawAll(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, pictures), 0o755); err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(seed, seed+1))
	draw := func(name string, s scenes.Scene) error {
		return writePNG(filepath.Join(dir, pictures, name), s.Draw(rnd.Uint64()))
	}
	var candidates, queries []input
	for i, s := range collection() {
		name := fmt.Sprintf("%03d.png", i)
		if err := draw(name, s); err != nil {
			return err
		}
		candidates = append(candidates, input{ID: name, Image: name, Role: "candidate"})
	}
	for i, q := range questions() {
		name := fmt.Sprintf("query%d.png", i+1)
		if err := draw(name, q.from); err != nil {
			return err
		}
		queries = append(queries, input{ID: name, Image: name, Text: q.text, Task: "composed-retrieval"})
	}
	return errors.Join(writeLines(filepath.Join(dir, "pictures.jsonl"), candidates),
		writeLines(filepath.Join(dir, "queries.jsonl"), queries))
}

func writeLines(path string, list []input) error {
	return write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		for _, in := range list {
			if err := enc.Encode(in); err != nil {
				return err
			}
		}
		return nil
	})
}

func writePNG(path string, im image.Image) error {
	return write(path, func(w io.Writer) error { return png.Encode(w, im) })
}

func write(path string, to func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return to(f)
}
