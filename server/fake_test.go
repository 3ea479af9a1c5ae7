package server

import (
	"context"
	"math"

	"github.com/bgevl/bgevl/bgevl"
)

// fakeModel embeds a text as a function of its bytes, at once. It is for tests of what lies around a model.
type fakeModel struct{ dim int }

func (m *fakeModel) Dim() int         { return m.dim }
func (m *fakeModel) Info() bgevl.Info { return bgevl.Info{Family: "clip", Name: "fake", Dim: m.dim} }

func (m *fakeModel) Fingerprint(context.Context) (bgevl.Fingerprint, error) {
	return bgevl.Fingerprint{Family: "clip", Dim: m.dim}, nil
}

func (m *fakeModel) EmbedResults(_ context.Context, inputs []bgevl.Input) ([]bgevl.Result, error) {
	out := make([]bgevl.Result, len(inputs))
	for i, in := range inputs {
		v := make([]float32, m.dim)
		seed := 1.0
		if in.Text != nil {
			for _, b := range []byte(*in.Text) {
				seed = math.Mod(seed*31+float64(b), 1009)
			}
		}
		v[0], v[1] = float32(math.Cos(seed)), float32(math.Sin(seed))
		out[i] = bgevl.Result{Index: i, ID: in.ID, Embedding: v, Tokens: 3}
	}
	return out, nil
}
