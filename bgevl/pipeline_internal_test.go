package bgevl

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errPoison = errors.New("poison")

// fakeEngine embeds a text as its length. A text "poison" fails every batch that it is in, as memory does that cannot
// be had, "zero" has no direction, and once closed is set all fails. batches records what was computed together.
type fakeEngine struct {
	closed  bool
	heavy   int64 // weight of a text "heavy", where set
	batches []int
}

func (*fakeEngine) info() Info                                         { return Info{Dim: 2} }
func (*fakeEngine) weights(batch int) (int64, int64)                   { return imageWeight * int64(batch), imageWeight }
func (*fakeEngine) close() error                                       { return nil }
func (e *fakeEngine) fingerprint(context.Context) (Fingerprint, error) { return Fingerprint{}, nil }

func (*fakeEngine) tokens(in *Input) ([]int32, error) { return []int32(*in.Text), nil }
func (*fakeEngine) token(id int32) (string, bool)     { return string(id), false }

func (e *fakeEngine) weight(in *Input) int64 {
	if e.heavy > 0 && *in.Text == "heavy" {
		return e.heavy
	}
	return imageWeight
}

func (*fakeEngine) prepare(_ context.Context, in *Input) (*prepared, error) {
	if *in.Text == "bad" {
		return nil, &operandError{"text", errors.New("bad")}
	}
	return &prepared{tokens: []int32(*in.Text)}, nil
}

func (e *fakeEngine) compute(_ context.Context, batch []*prepared) error {
	e.batches = append(e.batches, len(batch))
	if e.closed {
		return ErrClosed
	}
	for _, p := range batch {
		p.raw = []float32{float32(len(p.tokens)), 1} // what a batch that fails leaves behind is not used
		switch string(p.tokens) {
		case "poison":
			return errPoison
		case "zero":
			p.raw = []float32{0, 0}
		}
	}
	return nil
}

func fake(batch int) (*Embedder, *fakeEngine) {
	engine := &fakeEngine{}
	return newEmbedder(engine, Options{Workers: 2, BatchSize: batch}), engine
}

func texts(list ...string) []Input {
	inputs := make([]Input, len(list))
	for i, s := range list {
		inputs[i].Text = &s
	}
	return inputs
}

// TestBatchFails: an input that fails its whole batch takes no other with it.
func TestBatchFails(t *testing.T) {
	e, engine := fake(4)
	rows, err := e.Embed(context.Background(), texts("a", "bb", "poison", "ccc", "bad", "zero", "d"))
	failed := map[int]error{}
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	for _, one := range joined.Unwrap() {
		failure, ok := errors.AsType[*InputError](one)
		require.True(t, ok)
		failed[failure.Index] = failure.Err
	}
	assert.Len(t, failed, 3)
	assert.ErrorIs(t, failed[2], errPoison)
	assert.ErrorContains(t, failed[4], "bad")
	assert.ErrorIs(t, failed[5], ErrZero)
	for i, length := range map[int]float64{0: 1, 1: 2, 3: 3, 6: 1} {
		require.NotNil(t, rows[i], i)
		assert.InDelta(t, length/math.Hypot(length, 1), rows[i][0], 1e-6, i)
	}
	// Four together, then each alone; then the second batch, where a failed input keeps its place.
	assert.Equal(t, []int{4, 1, 1, 1, 1, 2}, engine.batches)
}

// TestBatchesRepeat: batches are of the same inputs every time, whatever order they are prepared in.
func TestBatchesRepeat(t *testing.T) {
	var first []int
	for range 20 {
		e, engine := fake(3)
		_, err := e.Embed(context.Background(), texts("a", "b", "c", "d", "e", "f", "g", "h"))
		require.NoError(t, err)
		if first == nil {
			first = slices.Clone(engine.batches)
		}
		assert.Equal(t, []int{3, 3, 2}, engine.batches)
	}
}

// TestHeavyInputs: an input that weighs more than a batch, and even more than an engine said it may, holds up nothing.
func TestHeavyInputs(t *testing.T) {
	for _, heavy := range []int64{imageWeight, 100, math.MaxInt64} {
		for _, batch := range []int{1, 3} {
			e, engine := fake(batch)
			engine.heavy = heavy
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			rows, err := e.Embed(ctx, texts("heavy", "heavy", "a", "heavy", "b", "c", "heavy", "heavy", "heavy", "d"))
			require.NoError(t, err, "weight %d, batches of %d", heavy, batch)
			require.Len(t, rows, 10)
			total := 0
			for _, n := range engine.batches {
				total += n
				assert.LessOrEqual(t, n, batch)
			}
			assert.Equal(t, 10, total)
		}
	}
}

func TestClosedEndsTheCall(t *testing.T) {
	e, engine := fake(1)
	engine.closed = true
	rows, err := e.Embed(context.Background(), texts("a", "b"))
	require.ErrorIs(t, err, ErrClosed)
	assert.Nil(t, rows)
	assert.Equal(t, []int{1}, engine.batches, "nothing is tried again")
}
