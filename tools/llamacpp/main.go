// Command llamacpp prints what this project makes of prompts and of a picture, for check.py beside it to hold against
// llama.cpp:
//
//	llamacpp -m NAME.gguf [-image FILE -features OUT.f32] [-plan TOKENS] PROMPT...
//
// The output is one JSON object. The picture's packed features go to OUT.f32, float32 in the machine's order; it takes
// the place of the image token in every prompt that holds one. -plan adds the bytes of buffers that an input of so many
// tokens needs.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// prompt is one prompt's tokens, the image token once, and the last position's state after the final norm.
type prompt struct {
	Tokens []int32   `json:"tokens"`
	State  []float32 `json:"state"`
}

type output struct {
	Width      int      `json:"width"`
	ImageToken int32    `json:"image_token"`
	Features   int      `json:"features"` // vectors that the picture became
	Plan       int64    `json:"plan,omitempty"`
	Prompts    []prompt `json:"prompts"`
}

// features encodes a picture and writes its features to a file.
func features(ctx context.Context, m *llama.Model, path, out string) ([]float32, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	im, err := pixels.Decode(data, pixels.Limits{})
	if err != nil {
		return nil, err
	}
	p, err := m.Preprocess(im.RGB())
	if err != nil {
		return nil, err
	}
	rows, err := m.EncodePicture(ctx, p)
	if err != nil || out == "" {
		return rows, err
	}
	raw, err := binary.Append(nil, binary.NativeEndian, rows)
	if err != nil {
		return nil, err
	}
	return rows, os.WriteFile(out, raw, 0o600)
}

func run() error {
	model := flag.String("m", "", "the language model's GGUF file")
	image := flag.String("image", "", "a picture for the prompts that hold the image token")
	out := flag.String("features", "", "write the picture's features to this file")
	plan := flag.Int("plan", 0, "say what an input of so many tokens needs")
	flag.Parse()
	ctx := context.Background()
	m, err := llama.Open(*model, &llama.Options{TextOnly: *image == ""})
	if err != nil {
		return err
	}
	defer m.Close()
	result := output{Width: m.Info().Width}
	result.ImageToken, _ = m.ImageToken()
	if *plan > 0 {
		if result.Plan, err = m.Plan(ctx, *plan); err != nil {
			return err
		}
	}
	var rows []float32
	if *image != "" {
		if rows, err = features(ctx, m, *image, *out); err != nil {
			return err
		}
		result.Features = len(rows) / result.Width
	}
	for _, text := range flag.Args() {
		p := prompt{}
		if p.Tokens, err = m.Tokenize(text); err != nil {
			return err
		}
		in := llama.Input{Tokens: p.Tokens}
		if rows != nil && slices.Contains(p.Tokens, result.ImageToken) {
			in.Images = [][]float32{rows}
		}
		states, err := m.HiddenStates(ctx, []llama.Input{in})
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		p.State = states[0]
		result.Prompts = append(result.Prompts, p)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "llamacpp:", err)
		os.Exit(1)
	}
}
