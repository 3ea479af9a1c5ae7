// Command demo-model writes what the demo models are trained on: drawn pictures with captions, in pairs that differ in one
// attribute, with texts that say how to get from one to the other. No picture shows a held-out pair of shape and colour.
//
//	go run ./tools/demo-model -o build/demo-data
//
// records.jsonl has a record a line; pictures.raw has three pictures for each, in RGB: the source, the target, and the
// target's scene drawn anew, resized as the CLIP model's preprocessing does it. The MLLM's passes through 512x512 pixels on
// the way there, which changes a pixel by a fifth of a step of 255 on average.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/scenes"
)

// record is what a line says. Texts are several wordings of the same.
type record struct {
	Source   scenes.Scene     `json:"source"`
	Target   scenes.Scene     `json:"target"`
	Captions [2][]string      `json:"captions"` // all of the source, and of the target
	Mentions [2][]mention     `json:"mentions"` // part of them
	Edits    [2][]string      `json:"edits"`    // from source to target, and back
	Kind     scenes.Attribute `json:"attribute"`

	seeds [3]uint64
}

// mention is a text and the attributes that it speaks of.
type mention struct {
	Text string             `json:"text"`
	Said []scenes.Attribute `json:"said"`
}

const (
	wordings = 3  // of each text
	side     = 96 // of what the models see, in pixels
)

func main() {
	dir := flag.String("o", "build/demo-data", "folder to write")
	records := flag.Int("records", 12000, "records, of three pictures each")
	seed := flag.Uint64("seed", 1, "everything depends on it alone")
	flag.Parse()
	if err := run(*dir, *records, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "demo-model:", err)
		os.Exit(1)
	}
}

func run(dir string, n int, seed uint64) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lines, err := os.Create(filepath.Join(dir, "records.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.Close()) }()
	raw, err := os.Create(filepath.Join(dir, "pictures.raw"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	out, rnd := bufio.NewWriterSize(raw, 1<<20), rand.New(rand.NewPCG(seed, 3))
	text := json.NewEncoder(lines)
	const chunk = 256 // drawn at a time
	for start := 0; start < n; start += chunk {
		list := make([]record, min(chunk, n-start))
		for i := range list {
			list[i] = newRecord(rnd)
			if err := text.Encode(list[i]); err != nil {
				return err
			}
		}
		if err := draw(out, list); err != nil {
			return err
		}
	}
	return out.Flush()
}

// newRecord returns a pair of scenes, neither of them held out, and what is said of them.
func newRecord(rnd *rand.Rand) record {
	r := record{Source: scenes.Random(rnd, false), Kind: scenes.Attribute(rnd.IntN(int(scenes.NumAttributes)))}
	for r.Target = r.Source.Vary(rnd, r.Kind); r.Target.HeldOut(); {
		r.Target = r.Source.Vary(rnd, r.Kind)
	}
	pair := [2]scenes.Scene{r.Source, r.Target}
	for i, s := range pair {
		for range wordings {
			r.Captions[i] = append(r.Captions[i], s.Caption(rnd))
			text, said := s.Mention(rnd)
			r.Mentions[i] = append(r.Mentions[i], mention{text, said})
			r.Edits[i] = append(r.Edits[i], s.Edit(rnd, r.Kind, pair[1-i]))
		}
	}
	r.seeds = [3]uint64{rnd.Uint64(), rnd.Uint64(), rnd.Uint64()}
	return r
}

// draw writes the pictures of the records in order, on all processors.
func draw(w io.Writer, list []record) error {
	done := make([][]byte, len(list))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range list {
		g.Go(func() error {
			for j, s := range []scenes.Scene{r.Source, r.Target, r.Target} {
				b, err := seen(s, r.seeds[j])
				if err != nil {
					return err
				}
				done[i] = append(done[i], b...)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, b := range done {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// seen returns the pixels that a model sees of a scene.
func seen(s scenes.Scene, seed uint64) ([]byte, error) {
	im, err := opaque(s.Draw(seed)).Resize(side, side, pixels.Bicubic)
	if err != nil {
		return nil, err
	}
	return im.Pix, nil
}

// opaque returns what pixels.FromImage makes of an opaque picture, several times as fast.
func opaque(im *image.RGBA) *pixels.Image {
	size := im.Rect.Size()
	rgb := &pixels.Image{Mode: pixels.RGB, Width: size.X, Height: size.Y, Pix: make([]byte, 0, 3*size.X*size.Y)}
	for i := 0; i < len(im.Pix); i += 4 {
		rgb.Pix = append(rgb.Pix, im.Pix[i:i+3]...)
	}
	return rgb
}
