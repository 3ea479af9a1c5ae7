package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Input is what a decoder reads: tokens, and pictures among them.
type Input struct {
	// Tokens are ids of the vocabulary. Where there are Images they hold the image token once for each, and its vectors
	// take that place; where there are none, the image token is a token like any other.
	Tokens []int32

	// Images are features as EncodePicture makes them, in the order of their places.
	Images [][]float32

	// Wanted are the positions whose states are asked for, counted after Images took their places; negative ones count
	// from the end. nil: the last.
	Wanted []int
}

// row is an Input laid out for C.
type row struct {
	index  int     // of the input
	ids    []int32 // with csrc.Embedding for each vector of a picture
	images [][]float32
	wanted []int32 // as asked for, counted from the start
	at     []int32 // the same, ascending, each once
}

// HiddenStates returns the states of the wanted positions of each input after the final norm, not normalised:
// len(Wanted)*Width floats an input, in the order of Wanted. All inputs go through the model in one call, whose memory
// grows with their tokens; tokens that all inputs begin with are computed once. An input's states do not depend on the
// others.
//
// A bad input is nil in the result and reported by a *RowError, one joined for each; the other inputs are good then.
// RowErrors wrap ErrTooLong for an input past the context, and ErrNonFinite for states that are not finite numbers. After
// any other error there is no result.
func (m *Model) HiddenStates(ctx context.Context, inputs []Input) ([][]float32, error) {
	rows := make([]row, 0, len(inputs))
	var errs []error
	for i, in := range inputs {
		r, err := m.layOut(in)
		if err != nil {
			errs = append(errs, &RowError{Row: i, Err: err})
			continue
		}
		r.index = i
		rows = append(rows, r)
	}
	out := make([][]float32, len(inputs))
	if len(rows) == 0 {
		return out, errors.Join(errs...)
	}
	states, err := m.statesOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		n := len(r.at) * m.params.width
		own := states[:n:n]
		states = states[n:]
		if len(rows) > 1 && !modelfile.Finite(own) {
			// Where ggml attends, which it does to rows of different lengths as to one, what is not finite in a row
			// reaches the others: each is asked by itself.
			if own, err = m.statesOf(ctx, []row{r}); err != nil {
				return nil, err
			}
		}
		if modelfile.Finite(own) {
			out[r.index] = r.pick(own, m.params.width)
		} else {
			errs = append(errs, &RowError{Row: r.index, Err: ErrNonFinite})
		}
	}
	slices.SortStableFunc(errs, func(a, b error) int { return rowOf(a) - rowOf(b) })
	return out, errors.Join(errs...)
}

// statesOf computes the wanted states of rows, one after another, finite or not.
func (m *Model) statesOf(ctx context.Context, rows []row) ([]float32, error) {
	batch := join(rows)
	states := make([]float32, len(batch.Wanted)*m.params.width)
	err := m.compute(ctx, decoderPart, func(c *csrc.Context) error { return c.EncodeTokens(ctx, batch, m.params.width, states) })
	return states, err
}

func rowOf(err error) int {
	e, _ := errors.AsType[*RowError](err)
	return e.Row
}

// layOut checks an input and puts its pictures in their places.
func (m *Model) layOut(in Input) (row, error) {
	p := m.params
	if len(in.Tokens) == 0 {
		return row{}, errors.New("want at least one token, got none")
	}
	n, err := m.length(in)
	if err != nil {
		return row{}, err
	}
	if n > p.context {
		return row{}, &TooLongError{Tokens: n, Limit: p.context}
	}
	r := row{ids: in.Tokens, images: in.Images}
	if len(in.Images) > 0 {
		r.ids = make([]int32, 0, n)
		images := in.Images
		for _, id := range in.Tokens {
			if id != p.imageToken {
				r.ids = append(r.ids, id)
				continue
			}
			for range len(images[0]) / p.width {
				r.ids = append(r.ids, csrc.Embedding)
			}
			images = images[1:]
		}
	}
	return r, r.want(in.Wanted)
}

// length checks the tokens and pictures of an input and returns how many positions they take.
func (m *Model) length(in Input) (int, error) {
	p := m.params
	n, places := len(in.Tokens), 0
	for i, id := range in.Tokens {
		if id < 0 || int(id) >= p.vocab {
			return 0, fmt.Errorf("position %d: want a token id from 0 to %d, got %d", i, p.vocab-1, id)
		}
		if id == p.imageToken {
			places++
		}
	}
	if len(in.Images) == 0 {
		return n, nil
	}
	if p.imageToken == noToken {
		return 0, errors.New("the model's vocabulary has no image token, so that no place for a picture can be given: convert the checkpoint again")
	}
	if places != len(in.Images) {
		return 0, fmt.Errorf("%d pictures, but the image token, id %d, stands in %d places: a text beside a picture must not spell it",
			len(in.Images), p.imageToken, places)
	}
	for i, features := range in.Images {
		if len(features) == 0 || len(features)%p.width != 0 {
			return 0, fmt.Errorf("picture %d: want vectors of %d floats, got %d floats", i, p.width, len(features))
		}
		n += len(features)/p.width - 1
	}
	return n, nil
}

// want sets the positions that are asked for.
func (r *row) want(positions []int) error {
	n := len(r.ids)
	if positions == nil {
		positions = []int{-1}
	}
	if len(positions) == 0 {
		return errors.New("wanted positions: want at least one, or nil for the last")
	}
	r.wanted = make([]int32, len(positions))
	for i, at := range positions {
		if at < -n || at >= n {
			return fmt.Errorf("wanted position %d is outside of an input of %d tokens", at, n)
		}
		if at < 0 {
			at += n
		}
		r.wanted[i] = int32(at)
	}
	r.at = slices.Clone(r.wanted)
	slices.Sort(r.at)
	r.at = slices.Compact(r.at)
	return nil
}

// pick returns the states in the order asked for, of states in ascending order of position.
func (r *row) pick(states []float32, width int) []float32 {
	if slices.Equal(r.wanted, r.at) {
		return states
	}
	out := make([]float32, 0, len(r.wanted)*width)
	for _, position := range r.wanted {
		i, _ := slices.BinarySearch(r.at, position)
		out = append(out, states[i*width:][:width]...)
	}
	return out
}

// join makes one batch of rows. A single picture's features, tens of megabytes, are not copied.
func join(rows []row) csrc.Batch {
	tokens, floats := 0, 0
	var images [][]float32
	for _, r := range rows {
		tokens += len(r.ids)
		for _, features := range r.images {
			floats += len(features)
			images = append(images, features)
		}
	}
	b := csrc.Batch{IDs: make([]int32, 0, tokens), Lengths: make([]int32, 0, len(rows))}
	for _, r := range rows {
		for _, at := range r.at {
			b.Wanted = append(b.Wanted, int32(len(b.IDs))+at)
		}
		b.IDs = append(b.IDs, r.ids...)
		b.Lengths = append(b.Lengths, int32(len(r.ids)))
	}
	if len(images) == 1 {
		b.Embeddings = images[0]
		return b
	}
	b.Embeddings = make([]float32, 0, floats)
	for _, features := range images {
		b.Embeddings = append(b.Embeddings, features...)
	}
	return b
}

// Embeddings returns the embedding of a text: the last token's state, of length one.
func (m *Model) Embeddings(ctx context.Context, text string) ([]float32, error) {
	ids, err := m.Tokenize(text)
	if err != nil {
		return nil, err
	}
	return m.TokenEmbeddings(ctx, ids)
}

// TokenEmbeddings is Embeddings for a text that is tokens already.
func (m *Model) TokenEmbeddings(ctx context.Context, ids []int32) ([]float32, error) {
	states, err := m.HiddenStates(ctx, []Input{{Tokens: ids}})
	if row, ok := errors.AsType[*RowError](err); ok {
		return nil, fmt.Errorf("llama: %w", row.Err)
	}
	if err != nil {
		return nil, err
	}
	if err := normalize(states[0]); err != nil {
		return nil, err
	}
	return states[0], nil
}

// normalize makes a state of length one. It fails for one that has no length.
func normalize(state []float32) error {
	var sum float64
	for _, x := range state {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return errors.New("llama: the state is zero, which no embedding can be: the weights are damaged")
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range state {
		state[i] = float32(float64(x) * scale)
	}
	return nil
}

// Plan returns the bytes of buffers that an input of so many tokens needs beside the weights and its pictures' features.
// It computes nothing.
func (m *Model) Plan(ctx context.Context, tokens int) (int64, error) {
	if tokens < 1 || tokens > m.params.context {
		return 0, fmt.Errorf("llama: plan: want 1 to %d tokens, got %d", m.params.context, tokens)
	}
	var bytes int64
	err := m.compute(ctx, decoderPart, func(c *csrc.Context) (err error) {
		bytes, err = c.PlanTokens(ctx, tokens)
		return err
	})
	return bytes, err
}
