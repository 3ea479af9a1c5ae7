package bgevl

import (
	"context"
	"errors"

	"github.com/bgevl/bgevl/llama"
)

// compute encodes the pictures, one after another, and runs the prompts through the decoder in as few calls as memory
// allows.
func (e *mllmEngine) compute(ctx context.Context, batch []*prepared) error {
	inputs := make(map[*prepared]llama.Input, len(batch))
	ready := make([]*prepared, 0, len(batch))
	for _, p := range batch {
		in := llama.Input{Tokens: p.tokens}
		if p.picture != nil && p.features == nil { // a batch that fails as a whole comes again, one by one
			features, err := e.encode(ctx, p.picture)
			switch {
			case errors.Is(err, llama.ErrNonFinite):
				p.err = &operandError{"image", ErrNonFinite}
				continue
			case err != nil:
				return modelError(err)
			}
			p.features = features
		}
		if p.features != nil {
			in.Images = [][]float32{p.features}
		}
		inputs[p] = in
		ready = append(ready, p)
	}
	for _, group := range groups(ready, mllmTokens) {
		if err := e.decode(ctx, group, inputs); err != nil {
			return modelError(err)
		}
	}
	return nil
}

// encode returns what the vision side makes of a picture.
func (e *mllmEngine) encode(ctx context.Context, p *llama.Picture) ([]float32, error) {
	compute := func() ([]float32, error) { return e.model.EncodePicture(ctx, p) }
	if e.cache == nil {
		return compute()
	}
	f, err := e.fingerprint(ctx)
	if err != nil {
		return nil, err
	}
	return e.cache.get(ctx, cacheKey{f.Sum(), p.Digest()}, compute)
}

// decode runs one group of prompts.
func (e *mllmEngine) decode(ctx context.Context, group []*prepared, inputs map[*prepared]llama.Input) error {
	rows := make([]llama.Input, len(group))
	for i, p := range group {
		rows[i] = inputs[p]
	}
	states, err := e.model.HiddenStates(ctx, rows)
	failed, ok := rowErrors(err)
	if !ok {
		return err
	}
	for _, f := range failed {
		group[f.Row].err = nonFinite(f.Err)
	}
	for i, p := range group {
		p.raw, p.features = states[i], nil // raw is nil too where the input failed
	}
	return nil
}

// groups splits a batch into those inputs that go through the decoder together, each in the order of the batch and of
// at most limit tokens unless it is a single input. Inputs of one instruction are together, since what all of a group
// begin with is computed once; those that share theirs with none are together too.
func groups(batch []*prepared, limit int) [][]*prepared {
	sharing := map[string]int{}
	for _, p := range batch {
		sharing[p.prefix]++
	}
	var order []string
	byPrefix := map[string][]*prepared{}
	for _, p := range batch {
		prefix := p.prefix
		if sharing[prefix] == 1 {
			prefix = ""
		}
		if byPrefix[prefix] == nil {
			order = append(order, prefix)
		}
		byPrefix[prefix] = append(byPrefix[prefix], p)
	}
	var out [][]*prepared
	for _, prefix := range order {
		out = append(out, split(byPrefix[prefix], limit)...)
	}
	return out
}

// split cuts a list into pieces of at most limit tokens, or of one input.
func split(list []*prepared, limit int) [][]*prepared {
	var out [][]*prepared
	tokens, first := 0, 0
	for i, p := range list {
		n := expanded(p.tokens, p.picture)
		if i > first && tokens+n > limit {
			out = append(out, list[first:i])
			tokens, first = 0, i
		}
		tokens += n
	}
	if first < len(list) {
		out = append(out, list[first:])
	}
	return out
}
