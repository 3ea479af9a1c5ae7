package examples

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"

	"github.com/bgevl/bgevl/internal/scenes"
)

// Drawings are pictures of what the demo models know, by name. They are drawn anew each time that they are opened, and
// always alike. It is a source of package index.
type Drawings struct {
	names  []string
	scenes map[string]scenes.Picture
}

// A Query is something to ask of the drawings: a text, or one of them with a text that says what to change.
type Query struct {
	Picture  string // name of a drawing; empty for none
	Text     string
	Negative string // what the answers should not be like; empty for none
}

// drawingsSeed is of everything that is drawn. One of which the small model finds all that Queries asks for.
const drawingsSeed = 11

// asked are the changes that Queries asks for. Their pictures come first among the drawings, each with the picture that
// answers it and with others that differ from the answer in one attribute.
func asked() []change {
	return []change{
		//                               shape, colour, texture, size, count, position, place, time
		{"at night", scenes.Scene{4, 5, 0, 1, 1, 4, 4, 0}, scenes.Time, 1},
		{"make it red", scenes.Scene{3, 4, 0, 2, 0, 4, 0, 0}, scenes.Colour, 0},
		{"add one more", scenes.Scene{5, 2, 0, 1, 2, 4, 2, 0}, scenes.Count, 3},
		{"in the snow", scenes.Scene{7, 4, 1, 2, 0, 0, 1, 0}, scenes.Place, 3},
	}
}

// change is a scene and what to make of it.
type change struct {
	text  string
	from  scenes.Scene
	what  scenes.Attribute
	value int
}

func (c change) to() scenes.Scene {
	to := c.from
	to[c.what] = c.value
	return to
}

// NewDrawings returns the drawings: about 350 pictures, five of every shape in every colour among them, each of them at
// another place.
func NewDrawings() *Drawings {
	rnd := rand.New(rand.NewPCG(drawingsSeed, drawingsSeed))
	d := &Drawings{scenes: map[string]scenes.Picture{}}
	seen := map[scenes.Scene]bool{}
	add := func(s scenes.Scene) bool {
		if seen[s] {
			return false
		}
		seen[s] = true
		name := fmt.Sprintf("%03d %s.png", len(d.names)+1, s.Caption(rnd))
		d.names = append(d.names, name)
		d.scenes[name] = scenes.Picture{Scene: s, Seed: rnd.Uint64()}
		return true
	}
	for _, c := range asked() {
		add(c.from)
		add(c.to())
		for a := range scenes.NumAttributes {
			add(c.to().Vary(rnd, a))
		}
	}
	for shape := range scenes.Shape.Values() {
		for colour := range scenes.Colour.Values() {
			for place := range scenes.Place.Values() {
				for {
					s := scenes.Random(rnd, false)
					s[scenes.Shape], s[scenes.Colour], s[scenes.Place] = shape, colour, place
					s[scenes.Size] = max(s[scenes.Size], 1) // small ones are hard to tell apart
					if rnd.IntN(4) > 0 {
						s[scenes.Texture] = 0
					}
					if add(s) {
						break
					}
				}
			}
		}
	}
	return d
}

// Queries returns what is worth asking: drawings with texts, and texts.
func (d *Drawings) Queries() []Query {
	var list []Query
	for _, c := range asked() {
		for _, name := range d.names {
			if d.scenes[name].Scene == c.from {
				list = append(list, Query{Picture: name, Text: c.text})
			}
		}
	}
	return append(list, Query{Text: "orange stars at night"}, Query{Text: "three yellow rings"}, Query{Text: "a large red star in the middle"},
		Query{Text: "purple heart", Negative: "at night"})
}

// Answer returns the drawing that a query with a picture asks for, or nothing.
func (d *Drawings) Answer(q Query) string {
	for _, c := range asked() {
		for _, name := range d.names {
			if c.text == q.Text && d.scenes[q.Picture].Scene == c.from && d.scenes[name].Scene == c.to() {
				return name
			}
		}
	}
	return ""
}

// Name returns what the drawings are called together.
func (d *Drawings) Name() string { return "drawings" }

// PicturesOnly says that everything listed is a picture.
func (d *Drawings) PicturesOnly() {}

// List yields the drawings' names.
func (d *Drawings) List(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range d.names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Open draws a picture and returns it as a PNG file.
func (d *Drawings) Open(name string) (io.ReadCloser, error) {
	p, ok := d.scenes[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	var b bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(&b, p.Scene.Draw(p.Seed)); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), nil
}
