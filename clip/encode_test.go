package clip_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/cliptest"
	"github.com/bgevl/bgevl/internal/pixels"
)

// minCosSplit is how alike a row's features must be in any batch and by any number of threads: sums in another order
// differ in the last bits only.
const minCosSplit = 0.99999

func TestTokenize(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	ids, length, err := m.Tokenize("the cat", false)
	require.NoError(t, err)
	assert.Equal(t, 4, length)
	assert.Equal(t, cliptest.Start(), ids[0])
	assert.Equal(t, cliptest.End(), ids[3])

	ids, _, err = m.Tokenize("", false)
	require.NoError(t, err)
	assert.Equal(t, []int32{cliptest.Start(), cliptest.End()}, ids)

	_, _, err = m.Tokenize("caf\xe9", false)
	assert.ErrorContains(t, err, "UTF-8")
}

func TestTokenizeTooLong(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	fits := strings.TrimSpace(strings.Repeat("cat ", cliptest.Context-2))
	whole, length, err := m.Tokenize(fits, false)
	require.NoError(t, err)
	assert.Len(t, whole, cliptest.Context)
	assert.Equal(t, cliptest.Context, length)

	_, length, err = m.Tokenize(fits+" dog", false)
	require.ErrorIs(t, err, clip.ErrTooLong)
	assert.ErrorContains(t, err, "21 tokens")
	long, ok := errors.AsType[*clip.TooLongError](err)
	require.True(t, ok)
	assert.Equal(t, clip.TooLongError{Tokens: cliptest.Context + 1, Limit: cliptest.Context}, *long)
	assert.Equal(t, cliptest.Context+1, length)

	cut, length, err := m.Tokenize(fits+" dog", true)
	require.NoError(t, err)
	assert.Equal(t, whole, cut, "what is cut is the end, before the end-of-text token")
	assert.Equal(t, cliptest.Context+1, length)

	dst := make([]float32, 3*m.Dim())
	err = m.EncodeText(context.Background(), []string{"a", fits + " dog", "b"}, dst)
	require.ErrorIs(t, err, clip.ErrTooLong)
	row, ok := errors.AsType[*clip.RowError](err)
	require.True(t, ok)
	assert.Equal(t, 1, row.Row)
}

// TestPooling reads the end-of-text position through the features: with a second end-of-text token inside the text,
// what follows the first cannot matter to a causal tower.
func TestPooling(t *testing.T) {
	for name, eos := range map[string]uint32{"position of the largest": 2, "first position of the id": uint32(cliptest.End())} {
		t.Run(name, func(t *testing.T) {
			f := cliptest.New()
			f.Keys["bgevl.text.eos_token_id"] = eos
			m := open(t, f, nil)
			start, end := cliptest.Start(), cliptest.End()
			rows := [][]int32{{start, 5, end}, {start, 5, end, 9, 11, end}, {start, 5, 9, end}}
			dst := make([]float32, len(rows)*m.Dim())
			require.NoError(t, m.EncodeTokens(context.Background(), rows, dst))
			assert.Greater(t, cosine(row(m, dst, 0), row(m, dst, 1)), minCosSplit)
			assert.Less(t, cosine(row(m, dst, 0), row(m, dst, 2)), 0.999)
		})
	}
	t.Run("no end", func(t *testing.T) {
		f := cliptest.New()
		f.Keys["bgevl.text.eos_token_id"] = uint32(cliptest.End())
		m := open(t, f, nil)
		err := m.EncodeTokens(context.Background(), [][]int32{{cliptest.Start(), 5}}, make([]float32, m.Dim()))
		assert.ErrorContains(t, err, "end-of-text")
	})
}

func TestEncodeArguments(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	ctx := context.Background()
	require.NoError(t, m.EncodeTokens(ctx, nil, nil))
	require.NoError(t, m.EncodeImage(ctx, nil, nil))
	dst := make([]float32, m.Dim())
	for name, rows := range map[string][][]int32{
		"no token": {{}}, "too many": {make([]int32, cliptest.Context+1)}, "negative id": {{-1}},
		"id past the vocabulary": {{int32(cliptest.VocabSize())}}, "id at the limit": {{math.MaxInt32}}, "two rows": {{1}, {2}},
	} {
		assert.Error(t, m.EncodeTokens(ctx, rows, dst), name)
	}
	assert.Error(t, m.EncodeImage(ctx, make([]float32, m.PixelCount()-1), dst))
	assert.Error(t, m.EncodeImage(ctx, make([]float32, m.PixelCount()), dst[1:]))
	assert.Error(t, m.Preprocess(&pixels.Image{}, make([]float32, 1)))
}

func TestPreprocess(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	dst := make([]float32, m.PixelCount())
	require.NoError(t, m.Preprocess(decoded(t, 50, 70), dst))
	require.NoError(t, m.Preprocess(decoded(t, 1, 2), dst))
	// The reference takes the height of such a picture for its number of channels, and refuses it.
	assert.ErrorContains(t, m.Preprocess(decoded(t, 1, 1), dst), "1x1")
	assert.ErrorContains(t, m.Preprocess(decoded(t, 9, 1), dst), "9x1")
}

func decoded(t *testing.T, w, h int) *pixels.Image {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewRGBA(image.Rect(0, 0, w, h))))
	im, err := pixels.Decode(b.Bytes(), pixels.Limits{})
	require.NoError(t, err)
	return im
}

// TestNonFinite damages weights one at a time: no NaN and no infinity may come out.
func TestNonFinite(t *testing.T) {
	text := []string{"t.token_embd.weight", "t.blk.0.attn_q.weight", "t.blk.1.ffn_down.bias", "t.post_ln.weight", "text_projection.weight"}
	vision := []string{"v.class_embd", "v.patch_embd.weight", "v.blk.0.ln1.bias", "v.blk.1.attn_v.weight", "visual_projection.weight"}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32} {
		for i := range text {
			f := cliptest.New()
			f.Fill(text[i], bad)
			f.Fill(vision[i], bad)
			m := open(t, f, &clip.Options{Threads: 1})
			dst := make([]float32, 2*m.Dim())
			err := m.EncodeText(context.Background(), []string{"the cat", "a dog"}, dst)
			checkFinite(t, err, dst, bad, text[i])
			err = m.EncodeImage(context.Background(), append(picture(m, 1), picture(m, 2)...), dst)
			checkFinite(t, err, dst, bad, vision[i])
		}
	}
}

func checkFinite(t *testing.T, err error, dst []float32, bad float32, tensor string) {
	t.Helper()
	for _, x := range dst {
		require.False(t, math.IsNaN(float64(x)) || math.IsInf(float64(x), 0), "%s at %g", tensor, bad)
	}
	if err != nil {
		assert.ErrorIs(t, err, clip.ErrNonFinite, "%s at %g", tensor, bad)
	} else {
		assert.NotEqual(t, bad, bad+0, "%s: NaN went unnoticed", tensor) // holds for NaN alone
	}
}

// TestNonFiniteRow damages the row of one token: only the texts that hold it fail.
func TestNonFiniteRow(t *testing.T) {
	f := cliptest.New()
	const damaged = 7
	table := f.Tensor("t.token_embd.weight")
	table.Data[damaged*cliptest.TextWidth] = float32(math.NaN())
	m := open(t, f, nil)
	start, end := cliptest.Start(), cliptest.End()
	rows := [][]int32{{start, 5, end}, {start, damaged, end}, {start, 9, 8, end}}
	dst := make([]float32, len(rows)*m.Dim())
	err := m.EncodeTokens(context.Background(), rows, dst)
	require.ErrorIs(t, err, clip.ErrNonFinite)
	assert.ErrorContains(t, err, "row 1")
	assert.NotContains(t, err.Error(), "row 0")
	assert.NotContains(t, err.Error(), "row 2")
	assert.Equal(t, make([]float32, m.Dim()), row(m, dst, 1))

	good := make([]float32, 2*m.Dim())
	require.NoError(t, m.EncodeTokens(context.Background(), [][]int32{rows[0], rows[2]}, good))
	assert.Greater(t, cosine(row(m, dst, 0), row(m, good, 0)), minCosSplit)
	assert.Greater(t, cosine(row(m, dst, 2), row(m, good, 1)), minCosSplit)
}

// TestSplits is row 19 of the reliability scoreboard: batches of 1 to 16, 1 and 2 threads, shuffled. A repeat is
// bit-identical, any split gives the same features, and rows are never exchanged.
func TestSplits(t *testing.T) {
	const n = 16
	words := strings.Fields("cat dog the on at a b see 1 2 3 red ? is that !")
	texts := make([][]int32, n)
	var reference []float32
	for _, threads := range []int{1, 2} {
		m := open(t, cliptest.New(), &clip.Options{Threads: threads})
		for i := range texts {
			ids, _, err := m.Tokenize(strings.Join(words[:i+1], " ")[:i+1], true)
			require.NoError(t, err)
			texts[i] = ids
		}
		for batch := 1; batch <= n; batch++ {
			got := encodeIn(t, m, texts, batch, rand.New(rand.NewPCG(uint64(batch), 1)))
			again := encodeIn(t, m, texts, batch, rand.New(rand.NewPCG(uint64(batch), 1)))
			require.Equal(t, got, again, "a repeat is the same to the bit")
			if reference == nil {
				reference = got
			}
			for i := range 2 * n {
				require.Greater(t, cosine(row(m, reference, i), row(m, got, i)), minCosSplit, "batch %d, row %d", batch, i)
			}
		}
	}
}

// encodeIn encodes all texts and as many pictures in shuffled batches, and returns the features in order.
func encodeIn(t *testing.T, m *clip.Model, texts [][]int32, batch int, rng *rand.Rand) []float32 {
	t.Helper()
	ctx := context.Background()
	out := make([]float32, 2*len(texts)*m.Dim())
	order := rng.Perm(len(texts))
	for start := 0; start < len(order); start += batch {
		part := order[start:min(start+batch, len(order))]
		var rows [][]int32
		var pictures []float32
		for _, i := range part {
			rows = append(rows, texts[i])
			pictures = append(pictures, picture(m, i+1)...)
		}
		dst := make([]float32, 2*len(part)*m.Dim())
		require.NoError(t, m.EncodeTokens(ctx, rows, dst[:len(part)*m.Dim()]))
		require.NoError(t, m.EncodeImage(ctx, pictures, dst[len(part)*m.Dim():]))
		for j, i := range part {
			copy(row(m, out, i), row(m, dst, j))
			copy(row(m, out, len(texts)+i), row(m, dst, len(part)+j))
		}
	}
	return out
}

func row(m *clip.Model, features []float32, i int) []float32 {
	return features[i*m.Dim() : (i+1)*m.Dim()]
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
