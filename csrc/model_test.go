package csrc

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const typeF32 = 0

// testParams is a CLIP model with every dimension odd enough to show a mistaken stride.
func testParams(kernels string) CLIPParams {
	return CLIPParams{
		Text:      TowerParams{Layers: 3, Width: 48, FFN: 80, Heads: 3, Eps: 1e-5},
		Vocab:     50,
		Context:   20,
		Vision:    TowerParams{Layers: 2, Width: 40, FFN: 96, Heads: 2, Eps: 1e-5, GELU: true},
		ImageSize: 24, PatchSize: 6, Projection: 28,
		Placement: Placement{Kernels: kernels},
	}
}

// tensorMaker makes random weights in memory outside Go's heap.
type tensorMaker struct {
	t       testing.TB
	random  *rand.Rand
	tensors []Tensor
}

func (m *tensorMaker) add(name string, scale, offset float64, dims ...int64) {
	n, full := int64(1), [4]int64{1, 1, 1, 1}
	for i, d := range dims {
		n, full[i] = n*d, d
	}
	data, err := syscall.Mmap(-1, 0, int(n)*4, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { require.NoError(m.t, syscall.Munmap(data)) })
	for i := range n {
		value := float32(offset + scale*m.random.NormFloat64())
		binary.NativeEndian.PutUint32(data[4*i:], math.Float32bits(value))
	}
	m.tensors = append(m.tensors, Tensor{Name: name, Type: typeF32, Dims: full, Data: data})
}

// linear adds a weight that keeps the scale of what it multiplies.
func (m *tensorMaker) linear(name string, in, out int64) {
	m.add(name+".weight", 1/math.Sqrt(float64(in)), 0, in, out)
}

// testTensors makes random weights of the shapes that the parameters imply.
func testTensors(t testing.TB, p CLIPParams) []Tensor {
	t.Helper()
	m := &tensorMaker{t: t, random: rand.New(rand.NewPCG(1, 2))}
	add := m.add
	norm := func(name string, width int64) {
		add(name+".weight", 0.2, 1, width)
		add(name+".bias", 0.2, 0, width)
	}
	tower := func(prefix string, tp TowerParams) {
		w, ff := int64(tp.Width), int64(tp.FFN)
		for i := range tp.Layers {
			at := fmt.Sprintf("%s.blk.%d.", prefix, i)
			norm(at+"ln1", w)
			norm(at+"ln2", w)
			for _, l := range []struct {
				name    string
				in, out int64
			}{{"attn_q", w, w}, {"attn_k", w, w}, {"attn_v", w, w}, {"attn_out", w, w}, {"ffn_up", w, ff}, {"ffn_down", ff, w}} {
				m.linear(at+l.name, l.in, l.out)
				add(at+l.name+".bias", 0.2, 0, l.out)
			}
		}
		norm(prefix+".post_ln", w)
	}
	text, vision, patch := int64(p.Text.Width), int64(p.Vision.Width), int64(p.PatchSize)
	side := int64(p.ImageSize / p.PatchSize)
	tower("t", p.Text)
	tower("v", p.Vision)
	add("t.token_embd.weight", 0.7, 0, text, int64(p.Vocab))
	add("t.position_embd.weight", 0.7, 0, text, int64(p.Context))
	m.linear("text_projection", text, int64(p.Projection))
	add("v.patch_embd.weight", 0.1, 0, patch, patch, 3, vision)
	add("v.position_embd.weight", 0.7, 0, vision, side*side+1)
	add("v.class_embd", 0.7, 0, vision)
	norm("v.pre_ln", vision)
	m.linear("visual_projection", vision, int64(p.Projection))
	return m.tensors
}

func newTestContext(t testing.TB, kernels string, threads int) *Context {
	t.Helper()
	return contextOf(t, testParams(kernels), threads)
}

func contextOf(t testing.TB, p CLIPParams, threads int) *Context {
	t.Helper()
	m, err := NewCLIP(p, testTensors(t, p))
	require.NoError(t, err)
	c, err := m.NewContext(ContextOptions{Threads: threads})
	require.NoError(t, err)
	m.Close() // a context keeps what it needs of its model
	t.Cleanup(c.Close)
	return c
}

type textBatch struct{ ids, lengths, pool []int32 }

func testTexts() textBatch {
	var b textBatch
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int32{1, 7, 20, 3, 16} {
		for range n {
			b.ids = append(b.ids, random.Int32N(50))
		}
		b.lengths = append(b.lengths, n)
		b.pool = append(b.pool, random.Int32N(n))
	}
	return b
}

func testPixels(n int) []float32 {
	random := rand.New(rand.NewPCG(5, 6))
	pixels := make([]float32, n*3*24*24)
	for i := range pixels {
		pixels[i] = float32(random.NormFloat64())
	}
	return pixels
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

// encodeBoth returns the features of the test texts and of three test images.
func encodeBoth(t testing.TB, c *Context) (texts, images []float32) {
	t.Helper()
	b := testTexts()
	texts = make([]float32, len(b.lengths)*28)
	require.NoError(t, c.EncodeText(t.Context(), b.ids, b.lengths, b.pool, texts))
	images = make([]float32, 3*28)
	require.NoError(t, c.EncodeImage(t.Context(), testPixels(3), 3, images))
	return texts, images
}

// minCosF32 leaves room for the order in which f32 products are added up, and for nothing else.
const minCosF32 = 0.9999999

// TestKernelsAgree compares our kernels with ggml's own operations over whole towers: two implementations of the same
// network that share the graph and nothing else.
func TestKernelsAgree(t *testing.T) {
	wantTexts, wantImages := encodeBoth(t, newTestContext(t, "ggml", 2))
	best, err := Kernels()
	require.NoError(t, err)
	for _, kernels := range []string{"ref", best} {
		t.Run(kernels, func(t *testing.T) {
			texts, images := encodeBoth(t, newTestContext(t, kernels, 2))
			for at := 0; at < len(wantTexts); at += 28 {
				require.GreaterOrEqual(t, cosine(wantTexts[at:at+28], texts[at:at+28]), minCosF32, "text %d", at/28)
			}
			for at := 0; at < len(wantImages); at += 28 {
				require.GreaterOrEqual(t, cosine(wantImages[at:at+28], images[at:at+28]), minCosF32, "image %d", at/28)
			}
		})
	}
}

// TestBatchEqualsSingles demands the same bits for a row alone, in a batch, and for any number of threads.
func TestBatchEqualsSingles(t *testing.T) {
	c := newTestContext(t, "", 2)
	texts, images := encodeBoth(t, c)
	one := newTestContext(t, "", 1)
	b, start, row := testTexts(), int32(0), make([]float32, 28)
	for i, n := range b.lengths {
		require.NoError(t, one.EncodeText(t.Context(), b.ids[start:start+n], b.lengths[i:i+1], b.pool[i:i+1], row))
		require.Equal(t, texts[i*28:(i+1)*28], row, "text %d", i)
		start += n
	}
	for i := range 3 {
		require.NoError(t, one.EncodeImage(t.Context(), testPixels(3)[i*3*24*24:(i+1)*3*24*24], 1, row))
		require.Equal(t, images[i*28:(i+1)*28], row, "image %d", i)
	}
	againTexts, againImages := encodeBoth(t, c)
	require.Equal(t, texts, againTexts)
	require.Equal(t, images, againImages)
}

func TestNewCLIPNamesWhatIsWrong(t *testing.T) {
	p := testParams("")
	tensors := testTensors(t, p)
	for _, c := range []struct {
		name   string
		change func(*CLIPParams, []Tensor) []Tensor
		want   string
	}{
		{"missing", func(_ *CLIPParams, ts []Tensor) []Tensor { return ts[1:] }, "tensor t.blk.0.ln1.weight is missing"},
		{"shape", func(_ *CLIPParams, ts []Tensor) []Tensor { ts[0].Dims[0] = 47; return ts }, "t.blk.0.ln1.weight: want 48, got"},
		{"size", func(_ *CLIPParams, ts []Tensor) []Tensor { ts[0].Data = ts[0].Data[:8]; return ts }, "want 192 bytes, got 8"},
		{"type", func(_ *CLIPParams, ts []Tensor) []Tensor { ts[0].Type = 4; return ts }, "type 4 holds no weights"},
		{"type past the end", func(_ *CLIPParams, ts []Tensor) []Tensor { ts[0].Type = 1 << 31; return ts }, "holds no weights"},
		{"no heads", func(p *CLIPParams, ts []Tensor) []Tensor { p.Text.Heads = 0; return ts }, "make no transformer"},
		{"heads", func(p *CLIPParams, ts []Tensor) []Tensor { p.Text.Heads = 5; return ts }, "make no transformer"},
		{"eps", func(p *CLIPParams, ts []Tensor) []Tensor { p.Vision.Eps = 0; return ts }, "epsilon"},
		{"patch", func(p *CLIPParams, ts []Tensor) []Tensor { p.PatchSize = 7; return ts }, "no whole number of patches"},
		{"patch 0", func(p *CLIPParams, ts []Tensor) []Tensor { p.PatchSize = 0; return ts }, "no whole number of patches"},
		{"too wide", func(p *CLIPParams, ts []Tensor) []Tensor { p.Text.Width = 1 << 40; return ts }, "does not fit 32 bits"},
		{"kernels", func(p *CLIPParams, ts []Tensor) []Tensor { p.Placement.Kernels = "abacus"; return ts }, "no instruction set of that name is known: name none, ggml, or one of "},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := p
			list := c.change(&changed, append([]Tensor(nil), tensors...))
			_, err := NewCLIP(changed, list)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestEncodeChecksItsInput(t *testing.T) {
	c := newTestContext(t, "", 1)
	row := make([]float32, 28)
	for _, b := range []textBatch{
		{[]int32{50}, []int32{1}, []int32{0}},
		{[]int32{-1}, []int32{1}, []int32{0}},
		{[]int32{1, 2}, []int32{1}, []int32{0}},
		{[]int32{1}, []int32{2}, []int32{0}},
		{[]int32{1}, []int32{1}, []int32{1}},
		{[]int32{1}, []int32{1}, []int32{-1}},
		{make([]int32, 21), []int32{21}, []int32{0}},
		{[]int32{1}, []int32{0}, []int32{0}},
	} {
		require.ErrorIs(t, c.EncodeText(t.Context(), b.ids, b.lengths, b.pool, row), ErrArgument)
	}
	require.ErrorIs(t, c.EncodeText(t.Context(), []int32{1}, []int32{1}, []int32{0}, row[:27]), ErrArgument)
	require.ErrorIs(t, c.EncodeImage(t.Context(), testPixels(1), 2, make([]float32, 56)), ErrArgument)
	require.ErrorIs(t, c.EncodeImage(t.Context(), nil, 0, nil), ErrArgument)
}

func TestCancelAndClose(t *testing.T) { requireCancellable(t, newTestContext(t, "", 2), 600) }

// requireCancellable cancels calls of a context of testParams, one that embeds so many images among them, and closes it.
func requireCancellable(t *testing.T, c *Context, images int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := make([]float32, 28)
	err := c.EncodeImage(ctx, testPixels(1), 1, out)
	require.ErrorIs(t, err, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)

	// A deadline inside a long call stops it, and the context serves the next one.
	big := make([]float32, images*28)
	pixels := testPixels(images)
	require.NoError(t, c.EncodeImage(t.Context(), pixels[:3*24*24], 1, out)) // repacks outside the measured calls
	start := time.Now()
	require.NoError(t, c.EncodeImage(t.Context(), pixels, images, big))
	whole := time.Since(start)
	// On a busy machine the measured call may have been much slower than those after it.
	err = nil
	for deadline := whole / 10; err == nil && deadline > whole/1000; deadline /= 2 {
		ctx, cancel = context.WithTimeout(t.Context(), deadline)
		err = c.EncodeImage(ctx, pixels, images, big)
		cancel()
	}
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, c.EncodeImage(t.Context(), pixels[:3*24*24], 1, out))
	require.Positive(t, c.Bytes())

	c.Close()
	c.Close()
	require.ErrorIs(t, c.EncodeImage(t.Context(), pixels[:3*24*24], 1, out), ErrArgument)
	runtime.GC()
}
