package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
	"github.com/bgevl/bgevl/llama"
)

// How alike states must be to the reference's, which computes in float32.
const (
	minCosState   = 0.99999 // the same arithmetic in another order
	minCosStateQ8 = 0.98    // 8-bit weights in networks so small, at single positions
)

// generated is one case of greedy generation. tools/goldens/generate.py made them.
type generated struct {
	ID        string  `json:"id"`
	Prompt    string  `json:"prompt"`
	Image     string  `json:"image"`
	PromptIDs []int32 `json:"prompt_ids"`
	Positions int     `json:"positions"`
	IDs       []int32 `json:"ids"`
	Text      string  `json:"text"`
	Hidden    []struct {
		Position int       `json:"position"`
		State    []float32 `json:"state"`
	} `json:"hidden"`
}

// forGenerated runs a test for each case of each checkpoint, with the model as one type.
func forGenerated(t *testing.T, typ string, test func(*testing.T, *llama.Model, generated, llama.Input)) {
	t.Helper()
	fixtures := filepath.Join(testenv.Shared(t), "fixtures")
	data, err := os.ReadFile("testdata/mllm-generate.golden.json")
	require.NoError(t, err)
	var all map[string][]generated
	require.NoError(t, json.Unmarshal(data, &all))
	require.NotEmpty(t, all)
	for checkpoint, cases := range all {
		path := convertMLLM(t, filepath.Join(fixtures, "checkpoints", checkpoint), typ)
		m, err := llama.Open(path, &llama.Options{Threads: 1}) // more wait for each other in networks so small
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, m.Close()) })
		for _, c := range cases {
			t.Run(checkpoint+"/"+c.ID, func(t *testing.T) { test(t, m, c, generatedInput(t, m, fixtures, c)) })
		}
	}
}

// generatedInput tokenises a case's prompt and encodes its picture.
func generatedInput(t *testing.T, m *llama.Model, fixtures string, c generated) llama.Input {
	t.Helper()
	ids, err := m.Tokenize(c.Prompt)
	require.NoError(t, err)
	require.Equal(t, c.PromptIDs, ids)
	in := llama.Input{Tokens: ids}
	if c.Image == "" {
		return in
	}
	data, err := os.ReadFile(filepath.Join(fixtures, "images", c.Image))
	require.NoError(t, err)
	im, err := pixels.Decode(data, pixels.Limits{})
	require.NoError(t, err)
	p, err := m.Preprocess(im)
	require.NoError(t, err)
	assert.Equal(t, c.Positions, len(ids)-1+p.Features())
	features, err := m.EncodePicture(context.Background(), p)
	require.NoError(t, err)
	in.Images = [][]float32{features}
	return in
}

// TestGreedy continues prompts as transformers does, token for token.
func TestGreedy(t *testing.T) {
	forGenerated(t, "f32", func(t *testing.T, m *llama.Model, c generated, in llama.Input) {
		var pieces strings.Builder
		p, err := m.PredictInput(context.Background(), in, &llama.PredictOptions{MaxTokens: len(c.IDs), Callback: func(text string) bool {
			pieces.WriteString(text)
			return true
		}})
		require.NoError(t, err)
		assert.Equal(t, c.IDs, p.Tokens)
		assert.Equal(t, c.Text, p.Text)
		assert.Equal(t, c.Text, pieces.String())
		assert.Equal(t, c.Positions, p.Prompt)
		assert.Equal(t, llama.ReasonLength, p.Reason)
	})
}

// TestHiddenStates holds states at the start, in the middle and at the end of prompts to the reference's.
func TestHiddenStates(t *testing.T) {
	for typ, floor := range map[string]float64{"f32": minCosState, "q8_0": minCosStateQ8} {
		t.Run(typ, func(t *testing.T) {
			least := 1.0
			forGenerated(t, typ, func(t *testing.T, m *llama.Model, c generated, in llama.Input) {
				for _, h := range c.Hidden {
					in.Wanted = append(in.Wanted, h.Position)
				}
				states, err := m.HiddenStates(context.Background(), []llama.Input{in})
				require.NoError(t, err)
				for i, h := range c.Hidden {
					width := len(h.State)
					cos := cosine(h.State, states[0][i*width:(i+1)*width])
					assert.GreaterOrEqual(t, cos, floor, "position %d of %d", h.Position, c.Positions)
					least = min(least, cos)
				}
			})
			t.Logf("least cosine %.9f", least)
		})
	}
}

// TestLlamaProjectors opens models that share one projector, and one with that of another checkpoint.
func TestLlamaProjectors(t *testing.T) {
	dir := t.TempDir()
	var made [2]*convert.Result
	for i, seed := range []uint64{1, 2} {
		checkpoint := filepath.Join(dir, fmt.Sprint("checkpoint-", seed))
		require.NoError(t, randmodel.MLLM(checkpoint, randmodel.MLLMSpec{Seed: seed}))
		var err error
		made[i], err = convert.Run(context.Background(), checkpoint, filepath.Join(dir, fmt.Sprint(seed, ".gguf")),
			&convert.Options{Types: []string{"f16", "q8_0"}})
		require.NoError(t, err)
		require.Len(t, made[i].Files, 3)
	}
	vision := made[0].Files[2].Path
	for _, f := range made[0].Files[:2] {
		m, err := llama.Open(f.Path, nil)
		require.NoError(t, err)
		assert.Equal(t, vision, m.Info().Projector, "found by its fingerprint, beside another checkpoint's")
		assert.Equal(t, f.Type, m.Info().Type)
		require.NoError(t, m.Close())
	}
	_, err := llama.Open(vision, nil)
	assert.ErrorContains(t, err, "perhaps the projector")

	model, foreign := made[0].Files[0].Path, made[1].Files[2].Path
	_, err = llama.Open(model, &llama.Options{Projector: foreign})
	for _, part := range []string{model, foreign, "another checkpoint", "name the right projector"} {
		assert.ErrorContains(t, err, part)
	}
}
