package llama_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// minCosSplit is how alike a row's states must be in any batch and by any number of threads: sums in another order
// differ in the last bits only.
const minCosSplit = 0.99999

// picture returns a picture whose content differs with its size.
func picture(w, h int) *pixels.Image {
	im := &pixels.Image{Mode: pixels.RGB, Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range im.Pix {
		im.Pix[i] = byte(i*i/7 + i*w + h)
	}
	return im
}

func encoded(t testing.TB, m *llama.Model, w, h int) []float32 {
	t.Helper()
	p, err := m.Preprocess(picture(w, h))
	require.NoError(t, err)
	features, err := m.EncodePicture(context.Background(), p)
	require.NoError(t, err)
	require.Len(t, features, p.Features()*llamatest.Width)
	return features
}

func tokenize(t testing.TB, m *llama.Model, text string) []int32 {
	t.Helper()
	ids, err := m.Tokenize(text)
	require.NoError(t, err)
	return ids
}

// spanStates returns the states of an input with a picture: two of the text around it and the last.
func spanStates(t testing.TB, m *llama.Model, w, h int) []float32 {
	t.Helper()
	in := llama.Input{Tokens: tokenize(t, m, "the cat<image> sat on"), Images: [][]float32{encoded(t, m, w, h)}, Wanted: []int{1, -2, -1}}
	states, err := m.HiddenStates(context.Background(), []llama.Input{in})
	require.NoError(t, err)
	return states[0]
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func requireAlike(t *testing.T, want, got []float32, what string, args ...any) {
	t.Helper()
	require.Len(t, got, len(want))
	for at := 0; at < len(want); at += llamatest.Width {
		require.Greater(t, cosine(want[at:at+llamatest.Width], got[at:at+llamatest.Width]), minCosSplit, append([]any{what}, args...)...)
	}
}

func TestTokenize(t *testing.T) {
	m := whole(t, nil)
	ids := tokenize(t, m, "the cat sat")
	assert.Equal(t, []int32{llamatest.BOS, llamatest.ID("▁the"), llamatest.ID("▁cat"), llamatest.ID("▁sat")}, ids)
	assert.Equal(t, []int32{llamatest.BOS}, tokenize(t, m, ""))
	assert.Equal(t, "<s> the cat sat", m.Detokenize(ids))
	assert.Contains(t, tokenize(t, m, "the<image>cat"), llamatest.Image())
	_, err := m.Tokenize("caf\xe9")
	assert.ErrorContains(t, err, "UTF-8")
	_, err = m.Embeddings(context.Background(), "caf\xe9")
	assert.ErrorContains(t, err, "UTF-8")
}

func TestEmbeddings(t *testing.T) {
	m := whole(t, nil)
	ctx := context.Background()
	a, err := m.Embeddings(ctx, "the cat sat on the dog")
	require.NoError(t, err)
	require.Len(t, a, llamatest.Width)
	assert.InDelta(t, 1, cosine(a, a), 1e-9)
	var length float64
	for _, x := range a {
		length += float64(x) * float64(x)
	}
	assert.InDelta(t, 1, length, 1e-6)
	ids := tokenize(t, m, "the cat sat on the dog")
	b, err := m.TokenEmbeddings(ctx, ids)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	states, err := m.HiddenStates(ctx, []llama.Input{{Tokens: ids}})
	require.NoError(t, err)
	assert.Greater(t, cosine(a, states[0]), 1-1e-9)

	_, err = m.TokenEmbeddings(ctx, nil)
	assert.ErrorContains(t, err, "at least one token")
	_, err = m.Embeddings(ctx, strings.Repeat("the ", llamatest.Context))
	require.ErrorIs(t, err, llama.ErrTooLong)
	long, ok := errors.AsType[*llama.TooLongError](err)
	require.True(t, ok)
	assert.Equal(t, llama.TooLongError{Tokens: len(tokenize(t, m, strings.Repeat("the ", llamatest.Context))), Limit: llamatest.Context}, *long)
}

// TestWanted asks for positions in any order, twice and from the end: each is what it is alone.
func TestWanted(t *testing.T) {
	m := whole(t, nil)
	ctx := context.Background()
	ids := tokenize(t, m, "the cat sat on the dog [INST] a b c")
	n := len(ids)
	at := func(position int) []float32 {
		states, err := m.HiddenStates(ctx, []llama.Input{{Tokens: ids, Wanted: []int{position}}})
		require.NoError(t, err)
		return states[0]
	}
	wanted := []int{4, 0, -1, 4, n - 1, -n, 2}
	states, err := m.HiddenStates(ctx, []llama.Input{{Tokens: ids, Wanted: wanted}, {Tokens: ids[:5]}})
	require.NoError(t, err)
	var want []float32
	for _, position := range wanted {
		want = append(want, at(position)...)
	}
	requireAlike(t, want, states[0], "positions")
	requireAlike(t, at(4), states[1], "a causal model does not see what follows")
	// Ascending positions come as C wrote them.
	states, err = m.HiddenStates(ctx, []llama.Input{{Tokens: ids, Wanted: []int{0, 4, n - 1}}})
	require.NoError(t, err)
	requireAlike(t, append(append(at(0), at(4)...), at(n-1)...), states[0], "ascending")
}

// TestBadRows mixes bad inputs with good ones, which do not suffer.
func TestBadRows(t *testing.T) {
	m := whole(t, nil)
	ids := tokenize(t, m, "the cat sat")
	withImage := tokenize(t, m, "the<image> cat")
	features := encoded(t, m, 30, 30)
	bad := map[string]llama.Input{
		"at least one token":                {},
		"want a token id from 0":            {Tokens: []int32{-1}},
		"position 1: want a token id":       {Tokens: []int32{1, int32(llamatest.Rows())}},
		"got 2147483647":                    {Tokens: []int32{math.MaxInt32}},
		"limit is 300":                      {Tokens: make([]int32, llamatest.Context+1)},
		"wanted position 4":                 {Tokens: ids, Wanted: []int{4}},
		"wanted position -5":                {Tokens: ids, Wanted: []int{-5}},
		"wanted positions: want at least":   {Tokens: ids, Wanted: []int{}},
		"stands in 0 places":                {Tokens: ids, Images: [][]float32{features}},
		"2 pictures":                        {Tokens: withImage, Images: [][]float32{features, features}},
		"must not spell it":                 {Tokens: tokenize(t, m, "<image><image>"), Images: [][]float32{features}},
		"picture 0: want vectors of 32":     {Tokens: withImage, Images: [][]float32{features[1:]}},
		"picture 0: want vectors of 32 flo": {Tokens: withImage, Images: [][]float32{nil}},
	}
	inputs, want := []llama.Input{{Tokens: ids}}, []string{""}
	for text, in := range bad {
		inputs, want = append(inputs, in), append(want, text)
	}
	inputs = append(inputs, llama.Input{Tokens: withImage})
	states, err := m.HiddenStates(context.Background(), inputs)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%v", err)
	require.Len(t, joined.Unwrap(), len(bad))
	for i, e := range joined.Unwrap() {
		row, ok := errors.AsType[*llama.RowError](e)
		require.True(t, ok)
		assert.Equal(t, i+1, row.Row)
		assert.ErrorContains(t, e, want[row.Row])
		assert.Nil(t, states[row.Row])
	}
	good, err := m.HiddenStates(context.Background(), []llama.Input{inputs[0]})
	require.NoError(t, err)
	requireAlike(t, good[0], states[0], "beside bad ones")
	assert.Len(t, states[len(states)-1], llamatest.Width, "the image token is one like any other where there is no picture")

	states, err = m.HiddenStates(context.Background(), nil)
	require.NoError(t, err)
	assert.Empty(t, states)
	states, err = m.HiddenStates(context.Background(), []llama.Input{{}})
	require.Error(t, err)
	assert.Equal(t, [][]float32{nil}, states)
}

// TestNoImageToken gives a picture to a model whose vocabulary cannot mark its place.
func TestNoImageToken(t *testing.T) {
	f := llamatest.Model()
	delete(f.Keys, "bgevl.image_token_id")
	f.Keys["tokenizer.ggml.tokens"].([]string)[llamatest.Image()] = "<nothing>"
	m := open(t, f, llamatest.Projector(), nil)
	_, ok := m.ImageToken()
	assert.False(t, ok)
	_, err := m.HiddenStates(context.Background(), []llama.Input{{Tokens: []int32{1}, Images: [][]float32{encoded(t, m, 30, 30)}}})
	assert.ErrorContains(t, err, "no image token")
}

// batch returns inputs of many lengths, with and without pictures, some of which begin alike.
func batch(t testing.TB, m *llama.Model) []llama.Input {
	t.Helper()
	var inputs []llama.Input
	for i, text := range []string{"[INST] the cat", "[INST] the cat sat on the dog", "[INST] the<image> cat", "a", "[INST] the<image> cat and<image>", "[INST] <image>"} {
		in := llama.Input{Tokens: tokenize(t, m, text)}
		for n := range strings.Count(text, "<image>") {
			in.Images = append(in.Images, encoded(t, m, 20+13*i, 41-8*n))
		}
		inputs = append(inputs, in)
	}
	inputs[1].Wanted = []int{2, -1}
	return inputs
}

// TestSplits is row 19 of the reliability scoreboard: inputs alone, in pairs, all, by 1 and 2 threads.
func TestSplits(t *testing.T) {
	ctx := context.Background()
	var reference [][]float32
	for _, threads := range []int{1, 2} {
		m := whole(t, &llama.Options{Threads: threads})
		inputs := batch(t, m)
		for size := 1; size <= len(inputs); size++ {
			if threads > 1 && size > 1 && size < len(inputs) {
				continue // alone and all together say enough
			}
			var got [][]float32
			for at := 0; at < len(inputs); at += size {
				part := inputs[at:min(at+size, len(inputs))]
				states, err := m.HiddenStates(ctx, part)
				require.NoError(t, err)
				again, err := m.HiddenStates(ctx, part)
				require.NoError(t, err)
				require.Equal(t, states, again, "a repeat is the same to the bit")
				got = append(got, states...)
			}
			if reference == nil {
				reference = got
			}
			for i := range got {
				requireAlike(t, reference[i], got[i], "threads %d, size %d, row %d", threads, size, i)
			}
		}
	}
}

// TestNonFinite damages weights one at a time: no NaN and no infinity may come out.
func TestNonFinite(t *testing.T) {
	ctx := context.Background()
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32} {
		for _, name := range []string{"token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.1.attn_v.weight",
			"blk.1.ffn_down.weight", "output_norm.weight", "output.weight"} {
			f := llamatest.Model()
			f.Fill(name, bad)
			m := open(t, f, nil, &llama.Options{Threads: 1})
			states, err := m.HiddenStates(ctx, []llama.Input{{Tokens: []int32{1, 5, 9}}, {Tokens: []int32{1, 6}}})
			checkFinite(t, err, bad, name, states...)
			if name != "output.weight" && math.IsNaN(float64(bad)) {
				assert.ErrorIs(t, err, llama.ErrNonFinite, name)
			}
			e, err := m.TokenEmbeddings(ctx, []int32{1, 5})
			if err != nil && !errors.Is(err, llama.ErrNonFinite) {
				assert.ErrorContains(t, err, "zero", "%s at %g", name, bad)
			} else if err == nil {
				checkFinite(t, nil, bad, name, e)
			}
			_, err = m.PredictInput(ctx, llama.Input{Tokens: []int32{1, 5}}, &llama.PredictOptions{MaxTokens: 3})
			if math.IsNaN(float64(bad)) {
				assert.ErrorIs(t, err, llama.ErrNonFinite, name)
			}
		}
		for _, name := range []string{"v.class_embd", "v.patch_embd.weight", "v.blk.1.attn_v.weight", "mm.0.weight", "mm.2.bias", "model.image_newline"} {
			f := llamatest.Projector()
			f.Fill(name, bad)
			m := open(t, llamatest.Model(), f, &llama.Options{Threads: 1})
			p, err := m.Preprocess(picture(30, 30))
			require.NoError(t, err)
			features, err := m.EncodePicture(ctx, p)
			checkFinite(t, err, bad, name, features)
			if math.IsNaN(float64(bad)) {
				assert.ErrorIs(t, err, llama.ErrNonFinite, name)
			}
		}
	}
}

func checkFinite(t *testing.T, err error, bad float32, name string, rows ...[]float32) {
	t.Helper()
	for _, row := range rows {
		for _, x := range row {
			require.False(t, math.IsNaN(float64(x)) || math.IsInf(float64(x), 0), "%s at %g", name, bad)
		}
	}
	if err != nil {
		assert.ErrorIs(t, err, llama.ErrNonFinite, "%s at %g", name, bad)
	}
}

// TestNonFiniteRow damages the row of one token: only the inputs that hold it fail.
func TestNonFiniteRow(t *testing.T) {
	f := llamatest.Model()
	const damaged = 7
	f.Tensor("token_embd.weight").Data[damaged*llamatest.Width] = float32(math.NaN())
	m := open(t, f, nil, nil)
	inputs := []llama.Input{{Tokens: []int32{1, 5}}, {Tokens: []int32{1, damaged, 5}}, {Tokens: []int32{1, 9, 8}}, {}}
	states, err := m.HiddenStates(context.Background(), inputs)
	require.ErrorIs(t, err, llama.ErrNonFinite)
	assert.ErrorContains(t, err, "row 1")
	assert.ErrorContains(t, err, "row 3")
	assert.NotContains(t, err.Error(), "row 0")
	assert.Nil(t, states[1])
	assert.NotNil(t, states[2])
}

func TestPlan(t *testing.T) {
	m := whole(t, &llama.Options{Context: 200})
	ctx := context.Background()
	few, err := m.Plan(ctx, 20)
	require.NoError(t, err)
	many, err := m.Plan(ctx, 200)
	require.NoError(t, err)
	assert.Greater(t, many, few)
	for _, n := range []int{0, -1, 201} {
		_, err := m.Plan(ctx, n)
		assert.ErrorContains(t, err, "1 to 200 tokens")
	}
}

// TestTied takes the token embeddings for the output layer where there is none.
func TestTied(t *testing.T) {
	untied := llamatest.Model()
	copy(untied.Tensor("output.weight").Data, untied.Tensor("token_embd.weight").Data)
	tied := llamatest.Model()
	tied.Drop("output.weight")
	o := &llama.PredictOptions{MaxTokens: 12}
	want, err := open(t, untied, nil, nil).Predict(context.Background(), "the cat", o)
	require.NoError(t, err)
	got, err := open(t, tied, nil, nil).Predict(context.Background(), "the cat", o)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	// The same file, where the output layer is missing because nobody saved it.
	tied.Keys["bgevl.embedding_only"] = true
	m := open(t, tied, nil, nil)
	assert.True(t, m.Info().EmbeddingOnly)
	_, err = m.Predict(context.Background(), "the cat", o)
	require.ErrorIs(t, err, llama.ErrEmbeddingOnly)
	_, err = m.Embeddings(context.Background(), "the cat")
	require.NoError(t, err)
}

// TestZeroState makes a decoder whose states are zeros: they have no direction.
func TestZeroState(t *testing.T) {
	f := llamatest.Model()
	f.Fill("output_norm.weight", 0)
	m := open(t, f, nil, nil)
	states, err := m.HiddenStates(context.Background(), []llama.Input{{Tokens: []int32{1}}})
	require.NoError(t, err)
	assert.Equal(t, make([]float32, llamatest.Width), states[0])
	e, err := m.Embeddings(context.Background(), "the")
	assert.ErrorContains(t, err, "zero")
	assert.Nil(t, e)
}
