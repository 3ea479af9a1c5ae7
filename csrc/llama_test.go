package csrc

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const decoderWidth, decoderVocab = 48, 60

func llamaParams(kernels string) LlamaParams {
	return LlamaParams{
		Layers: 3, Width: decoderWidth, FFN: 72, Heads: 6, HeadsKV: 2, HeadWidth: 10, Vocab: decoderVocab,
		Eps: 1e-5, RopeTheta: 1e4, Placement: Placement{Kernels: kernels},
	}
}

func llamaTensors(t testing.TB, p LlamaParams) []Tensor {
	m := tensorMaker{t: t, random: rand.New(rand.NewPCG(7, 8))}
	w, ff, q, kv := int64(p.Width), int64(p.FFN), int64(p.Heads*p.HeadWidth), int64(p.HeadsKV*p.HeadWidth)
	for i := range p.Layers {
		at := fmt.Sprintf("blk.%d.", i)
		m.add(at+"attn_norm.weight", 0.2, 1, w)
		m.add(at+"ffn_norm.weight", 0.2, 1, w)
		m.linear(at+"attn_q", w, q)
		m.linear(at+"attn_k", w, kv)
		m.linear(at+"attn_v", w, kv)
		m.linear(at+"attn_output", q, w)
		m.linear(at+"ffn_gate", w, ff)
		m.linear(at+"ffn_up", w, ff)
		m.linear(at+"ffn_down", ff, w)
	}
	m.add("output_norm.weight", 0.2, 1, w)
	m.add("token_embd.weight", 0.7, 0, w, int64(p.Vocab))
	m.linear("output", w, int64(p.Vocab))
	return m.tensors
}

func llamaContext(t testing.TB, kernels string, threads int) *Context {
	t.Helper()
	p := llamaParams(kernels)
	m, err := NewLlama(p, llamaTensors(t, p))
	require.NoError(t, err)
	c, err := m.NewContext(ContextOptions{Threads: threads})
	require.NoError(t, err)
	m.Close()
	t.Cleanup(c.Close)
	return c
}

// testBatch has rows that begin with the same nine tokens, one of them continued by embeddings, and wants the last
// token of each row.
func testBatch() (b Batch, rows []Batch) {
	random := rand.New(rand.NewPCG(9, 10))
	prefix := make([]int32, 9)
	for i := range prefix {
		prefix[i] = random.Int32N(decoderVocab)
	}
	for _, own := range []int{1, 14, 5, 30} {
		row := Batch{IDs: append([]int32(nil), prefix...)}
		for i := range own {
			if own == 14 && i < 6 {
				row.IDs = append(row.IDs, Embedding)
				for range decoderWidth {
					row.Embeddings = append(row.Embeddings, float32(random.NormFloat64()))
				}
				continue
			}
			row.IDs = append(row.IDs, random.Int32N(decoderVocab))
		}
		row.Lengths = []int32{int32(len(row.IDs))}
		row.Wanted = []int32{int32(len(row.IDs) - 1)}
		rows = append(rows, row)
		b.IDs = append(b.IDs, row.IDs...)
		b.Embeddings = append(b.Embeddings, row.Embeddings...)
		b.Lengths = append(b.Lengths, row.Lengths...)
		b.Wanted = append(b.Wanted, int32(len(b.IDs)-1))
	}
	return b, rows
}

// randomRow is a prompt of n tokens, the last of them wanted.
func randomRow(random *rand.Rand, n int) Batch {
	row := Batch{Lengths: []int32{int32(n)}, Wanted: []int32{int32(n - 1)}}
	for range n {
		row.IDs = append(row.IDs, random.Int32N(decoderVocab))
	}
	return row
}

// TestLongPromptsAgree compares our kernels with ggml's own operations where those take a prompt's queries in blocks: rows
// alike, rows of different lengths, and a prompt behind others in the cache.
func TestLongPromptsAgree(t *testing.T) {
	for name, lengths := range map[string][]int{"one": {1300}, "alike": {1100, 1100}, "ragged": {700, 1300, 3, 40}} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(len(lengths)), 3))
			var b Batch
			for _, n := range lengths {
				row := randomRow(random, n)
				b.IDs = append(b.IDs, row.IDs...)
				b.Lengths = append(b.Lengths, row.Lengths...)
				b.Wanted = append(b.Wanted, int32(len(b.IDs)-1))
			}
			var both [2][]float32
			for i, kernels := range []string{"", "ggml"} {
				both[i] = make([]float32, len(lengths)*decoderWidth)
				require.NoError(t, llamaContext(t, kernels, 2).EncodeTokens(t.Context(), b, decoderWidth, both[i]))
			}
			for at := 0; at < len(both[0]); at += decoderWidth {
				require.GreaterOrEqual(t, cosine(both[0][at:at+decoderWidth], both[1][at:at+decoderWidth]), minCosF32)
			}
		})
	}
	t.Run("cached", func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 3))
		parts := []Batch{randomRow(random, 1200), randomRow(random, 1100)}
		var both [2][]float32
		for i, kernels := range []string{"", "ggml"} {
			both[i] = make([]float32, decoderVocab)
			c := llamaContext(t, kernels, 2)
			require.NoError(t, c.OpenCache(t.Context(), 2300))
			require.NoError(t, c.Decode(t.Context(), parts[0], decoderWidth, 0, both[i]))
			require.NoError(t, c.Decode(t.Context(), parts[1], decoderWidth, 1200, both[i]))
		}
		require.GreaterOrEqual(t, cosine(both[0], both[1]), minCosF32)
	})
}

// TestDecoderKernelsAgree compares our kernels with ggml's own operations over the whole decoder.
func TestDecoderKernelsAgree(t *testing.T) {
	b, rows := testBatch()
	want := make([]float32, len(rows)*decoderWidth)
	require.NoError(t, llamaContext(t, "ggml", 2).EncodeTokens(t.Context(), b, decoderWidth, want))
	best, err := Kernels()
	require.NoError(t, err)
	for _, kernels := range []string{"ref", best} {
		got := make([]float32, len(want))
		require.NoError(t, llamaContext(t, kernels, 2).EncodeTokens(t.Context(), b, decoderWidth, got))
		for at := 0; at < len(want); at += decoderWidth {
			require.GreaterOrEqual(t, cosine(want[at:at+decoderWidth], got[at:at+decoderWidth]), minCosF32)
		}
	}
}

// TestDecoderBatchEqualsSingles computes rows alone and together: tokens shared by all rows are computed once, and that
// must not be seen.
func TestDecoderBatchEqualsSingles(t *testing.T) {
	c := llamaContext(t, "", 2)
	b, rows := testBatch()
	all := make([]float32, len(rows)*decoderWidth)
	require.NoError(t, c.EncodeTokens(t.Context(), b, decoderWidth, all))
	for i, row := range rows {
		one := make([]float32, decoderWidth)
		require.NoError(t, c.EncodeTokens(t.Context(), row, decoderWidth, one))
		require.InDeltaSlice(t, one, all[i*decoderWidth:(i+1)*decoderWidth], 1e-5, "row %d", i)
	}
	// Wanting a shared token itself leaves it unshared, and right.
	early := rows[0]
	early.Wanted = []int32{3}
	want := make([]float32, decoderWidth)
	require.NoError(t, c.EncodeTokens(t.Context(), early, decoderWidth, want))
	both := Batch{
		IDs:     append(append([]int32(nil), rows[0].IDs...), rows[2].IDs...),
		Lengths: []int32{int32(len(rows[0].IDs)), int32(len(rows[2].IDs))},
		Wanted:  []int32{3, int32(len(rows[0].IDs) + len(rows[2].IDs) - 1)},
	}
	got := make([]float32, 2*decoderWidth)
	require.NoError(t, c.EncodeTokens(t.Context(), both, decoderWidth, got))
	require.InDeltaSlice(t, want, got[:decoderWidth], 1e-5)
	require.InDeltaSlice(t, all[2*decoderWidth:3*decoderWidth], got[decoderWidth:], 1e-5)
}

// TestDecodeEqualsEncode feeds a row to the cache in pieces and compares the scores with those of one piece.
func TestDecodeEqualsEncode(t *testing.T) {
	c := llamaContext(t, "", 2)
	_, rows := testBatch()
	ids := rows[3].IDs
	piece := func(ids []int32) Batch {
		return Batch{IDs: ids, Lengths: []int32{int32(len(ids))}, Wanted: []int32{int32(len(ids) - 1)}}
	}
	require.NoError(t, c.OpenCache(t.Context(), len(ids)))
	want, got := make([]float32, decoderVocab), make([]float32, decoderVocab)
	require.NoError(t, c.Decode(t.Context(), piece(ids), decoderWidth, 0, want))
	require.NoError(t, c.Decode(t.Context(), piece(ids[:20]), decoderWidth, 0, got))
	for at := 20; at < len(ids); at++ {
		require.NoError(t, c.Decode(t.Context(), piece(ids[at:at+1]), decoderWidth, at, got))
	}
	require.InDeltaSlice(t, want, got, 1e-4)
	// Going back to an earlier position forgets what came after.
	require.NoError(t, c.Decode(t.Context(), piece(ids[10:]), decoderWidth, 10, got))
	require.InDeltaSlice(t, want, got, 1e-4)
	require.ErrorIs(t, c.Decode(t.Context(), piece(ids[:1]), decoderWidth, len(ids), got), ErrArgument)
	require.ErrorContains(t, c.Decode(t.Context(), piece(ids[:1]), decoderWidth, len(ids)+1, got), "positions")
	// ggml's own operations score the same.
	other := llamaContext(t, "ggml", 1)
	require.NoError(t, other.OpenCache(t.Context(), len(ids)))
	require.NoError(t, other.Decode(t.Context(), piece(ids), decoderWidth, 0, got))
	require.GreaterOrEqual(t, cosine(want, got), minCosF32)
}

func TestPlanTokens(t *testing.T) {
	c := llamaContext(t, "", 1)
	planned, err := c.PlanTokens(t.Context(), 400)
	require.NoError(t, err)
	ids := make([]int32, 400)
	out := make([]float32, decoderWidth)
	require.NoError(t, c.EncodeTokens(t.Context(), Batch{IDs: ids, Lengths: []int32{400}, Wanted: []int32{399}}, decoderWidth, out))
	used := float64(c.Bytes())
	require.InEpsilon(t, used, float64(planned), 0.1)
}

func TestDecoderChecksItsInput(t *testing.T) {
	c := llamaContext(t, "", 1)
	out := make([]float32, decoderWidth)
	for name, b := range map[string]Batch{
		"empty":            {},
		"vocabulary":       {IDs: []int32{decoderVocab}, Lengths: []int32{1}, Wanted: []int32{0}},
		"negative":         {IDs: []int32{-2}, Lengths: []int32{1}, Wanted: []int32{0}},
		"no embedding":     {IDs: []int32{Embedding}, Lengths: []int32{1}, Wanted: []int32{0}},
		"embeddings":       {IDs: []int32{1}, Embeddings: make([]float32, decoderWidth), Lengths: []int32{1}, Wanted: []int32{0}},
		"lengths":          {IDs: []int32{1, 2}, Lengths: []int32{1}, Wanted: []int32{0}},
		"empty row":        {IDs: []int32{1}, Lengths: []int32{1, 0}, Wanted: []int32{0}},
		"wanted outside":   {IDs: []int32{1}, Lengths: []int32{1}, Wanted: []int32{1}},
		"wanted unordered": {IDs: []int32{1, 2}, Lengths: []int32{2}, Wanted: []int32{1, 0}},
	} {
		require.ErrorIs(t, c.EncodeTokens(t.Context(), b, decoderWidth, out), ErrArgument, name)
	}
	good := Batch{IDs: []int32{1}, Lengths: []int32{1}, Wanted: []int32{0}}
	require.ErrorIs(t, c.EncodeTokens(t.Context(), good, decoderWidth, out[1:]), ErrArgument)
	require.ErrorIs(t, c.Decode(t.Context(), good, decoderWidth, 0, make([]float32, decoderVocab)), ErrArgument, "no cache")
	require.ErrorIs(t, newTestContext(t, "", 1).EncodeTokens(t.Context(), good, decoderWidth, out), ErrArgument, "a CLIP model")
	p := llamaParams("")
	p.HeadsKV = 4
	_, err := NewLlama(p, llamaTensors(t, llamaParams("")))
	require.ErrorContains(t, err, "make no decoder")
}

// TestLLaVATiles compares our kernels with ggml's own operations over the vision side.
func TestLLaVATiles(t *testing.T) {
	encode := func(kernels string, n int) []float32 {
		p := LLaVAParams{Vision: testParams("").Vision, ImageSize: 24, PatchSize: 6, Width: decoderWidth, Placement: Placement{Kernels: kernels}}
		clip := testTensors(t, testParams(""))
		m := tensorMaker{t: t, random: rand.New(rand.NewPCG(11, 12)), tensors: clip}
		m.linear("mm.0", int64(p.Vision.Width), decoderWidth)
		m.add("mm.0.bias", 0.2, 0, decoderWidth)
		m.linear("mm.2", decoderWidth, decoderWidth)
		m.add("mm.2.bias", 0.2, 0, decoderWidth)
		model, err := NewLLaVA(p, m.tensors)
		require.NoError(t, err)
		defer model.Close()
		c, err := model.NewContext(ContextOptions{Threads: 2})
		require.NoError(t, err)
		defer c.Close()
		out := make([]float32, n*16*decoderWidth)
		require.NoError(t, c.EncodeTiles(t.Context(), testPixels(3)[:n*3*24*24], n, out))
		require.ErrorIs(t, c.EncodeTiles(t.Context(), testPixels(1), 2, out), ErrArgument)
		return out
	}
	want, got := encode("ggml", 3), encode("", 3)
	for at := 0; at < len(want); at += decoderWidth {
		require.GreaterOrEqual(t, cosine(want[at:at+decoderWidth], got[at:at+decoderWidth]), minCosF32)
	}
	require.Equal(t, got[:16*decoderWidth], encode("", 1))
	require.False(t, math.IsNaN(float64(got[0])))
}
