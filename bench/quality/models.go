package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/llama"
)

const (
	textCount     = 200
	pictureCount  = 40
	mllmTextCount = 40
	batchTexts    = 40
	batchPictures = 4
)

// model is a checkpoint and what is embedded with it.
type model struct {
	name, dir, checkpoint string
	texts                 []string
	pictures              []*pixels.Image
}

// newModel makes the checkpoint where it is not there, and the inputs.
func newModel(name, dir, folders string) (*model, error) {
	m := &model{name: name, dir: dir, checkpoint: filepath.Join(dir, "quality-"+name), texts: texts(textCount)}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	var make func() error
	spec := randmodel.Base()
	switch name {
	case "clip-base":
		make = func() error { return randmodel.CLIP(m.checkpoint, spec) }
	case "clip-large":
		spec.Text, spec.Vision = randmodel.Tower{Layers: 12, Width: 768, FFN: 3072, Heads: 12}, randmodel.Tower{Layers: 24, Width: 1024, FFN: 4096, Heads: 16}
		spec.Projection, spec.PatchSize = 768, 14
		make = func() error { return randmodel.CLIP(m.checkpoint, spec) }
	case "mllm":
		m.texts = m.texts[:mllmTextCount]
		decoder := randmodel.Decoder{Layers: 2, Width: 4096, FFN: 14336, Heads: 32, KVHeads: 8, HeadDim: 128}
		make = func() error {
			return randmodel.MLLM(m.checkpoint, randmodel.MLLMSpec{Text: decoder, ExtraVocab: 1, NoOutput: true})
		}
	default:
		return nil, fmt.Errorf("no model %q: want clip-base, clip-large or mllm", name)
	}
	done := filepath.Join(m.checkpoint, "complete")
	if _, err := os.Stat(done); errors.Is(err, fs.ErrNotExist) {
		if err := make(); err != nil {
			return nil, err
		}
		if err := os.WriteFile(done, nil, 0o600); err != nil {
			return nil, err
		}
	}
	var err error
	if name != "mllm" {
		m.pictures, err = pictures(folders, pictureCount)
	}
	return m, err
}

// embed runs all inputs through the model at path.
func (m *model) embed(path string) (*vectors, error) {
	if m.name == "mllm" {
		return m.embedStates(path)
	}
	c, err := clip.Open(path, &clip.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	v := &vectors{text: math.Inf(1), picture: math.Inf(1)}
	ctx := context.Background()
	for at := 0; at < len(m.texts); at += batchTexts {
		rows := make([][]int32, batchTexts)
		for i := range rows {
			if rows[i], _, err = c.Tokenize(m.texts[at+i], true); err != nil {
				return nil, err
			}
		}
		out := make([]float32, batchTexts*c.Dim())
		before := cpu()
		if err := c.EncodeTokens(ctx, rows, out); err != nil {
			return nil, err
		}
		v.text = min(v.text, (cpu()-before)/batchTexts)
		v.texts = append(v.texts, split(out, c.Dim())...)
	}
	for at := 0; at < len(m.pictures); at += batchPictures {
		pix := make([]float32, batchPictures*c.PixelCount())
		for i := range batchPictures {
			if err := c.Preprocess(m.pictures[at+i], pix[i*c.PixelCount():][:c.PixelCount()]); err != nil {
				return nil, err
			}
		}
		out := make([]float32, batchPictures*c.Dim())
		before := cpu()
		if err := c.EncodeImage(ctx, pix, out); err != nil {
			return nil, err
		}
		v.picture = min(v.picture, (cpu()-before)/batchPictures)
		v.pictures = append(v.pictures, split(out, c.Dim())...)
	}
	return v, nil
}

// embedStates returns the last states of a decoder.
func (m *model) embedStates(path string) (*vectors, error) {
	d, err := llama.Open(path, &llama.Options{Threads: 1, TextOnly: true})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	const batch = 10
	v := &vectors{text: math.Inf(1)}
	for at := 0; at < len(m.texts); at += batch {
		inputs := make([]llama.Input, batch)
		for i := range inputs {
			if inputs[i].Tokens, err = d.Tokenize(m.texts[at+i]); err != nil {
				return nil, err
			}
		}
		before := cpu()
		states, err := d.HiddenStates(context.Background(), inputs)
		if err != nil {
			return nil, err
		}
		v.text = min(v.text, (cpu()-before)/batch)
		v.texts = append(v.texts, states...)
	}
	return v, nil
}

func split(all []float32, dim int) (rows [][]float32) {
	for ; len(all) > 0; all = all[dim:] {
		rows = append(rows, all[:dim])
	}
	return rows
}

// texts returns captions of growing length, each another.
func texts(n int) []string {
	things := []string{"a black dog", "two children", "an old harbour", "the red bicycle", "a street", "a bowl of fruit", "the forest", "a white horse",
		"a man with a hat", "a train"}
	places := []string{"in the snow", "at night", "by the sea", "under a bridge", "in front of a house", "on a table", "among trees", "in the rain"}
	ends := []string{"", ", seen from above", " and nobody else", ", with mountains behind", ", but make it green"}
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s %s%s", things[i%len(things)], places[i/len(things)%len(places)], ends[i/7%len(ends)])
		if i%9 == 0 {
			out[i] += fmt.Sprintf(", number %d", i)
		}
	}
	return out
}

// pictures returns n: photographs of the folders, as many as there are, and drawn ones.
func pictures(folders string, n int) ([]*pixels.Image, error) {
	var all []*pixels.Image
	for _, dir := range filepath.SplitList(folders) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := strings.ToLower(e.Name())
			if len(all) == n || !strings.HasSuffix(name, ".jpg") && !strings.HasSuffix(name, ".png") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // the folder that was named
			if err != nil {
				return nil, err
			}
			im, err := pixels.Decode(data, pixels.Limits{})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name(), err)
			}
			all = append(all, im)
		}
	}
	fmt.Fprintf(os.Stderr, "quality: %d photographs, %d drawn pictures\n", len(all), n-len(all))
	for i := len(all); i < n; i++ {
		all = append(all, draw(i))
	}
	return all, nil
}

// draw returns a picture of waves, a disc and grain, another for each number.
func draw(seed int) *pixels.Image {
	const w, h = 320, 240
	im := &pixels.Image{Width: w, Height: h, Mode: pixels.RGB, Pix: make([]byte, 3*w*h)}
	f, noise := float64(seed), uint32(seed+1)
	for y := range h {
		for x := range w {
			inside := math.Hypot(float64(x)-160-40*math.Sin(f), float64(y)-120-30*math.Cos(2*f)) < 30+5*math.Mod(f, 9)
			for c := range 3 {
				noise = noise*1664525 + 1013904223
				v := 120 + 80*math.Sin(float64(x)/(5+math.Mod(f*3, 17))+float64(c))*math.Cos(float64(y)/(4+math.Mod(f*5, 23))+f)
				if inside {
					v = math.Mod(60*f+90*float64(c), 256)
				}
				im.Pix[3*(y*w+x)+c] = byte(min(255, max(0, v+float64(noise>>28))))
			}
		}
	}
	return im
}
