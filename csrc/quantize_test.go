package csrc_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

// quantTypes are the types that Quantize writes, with the root mean square error that normally distributed weights may
// have after a round trip, relative to their own. The bounds are about 1.2 times what the first measurement gave, so
// that a wrong scale or a swapped half of a block fails.
var quantTypes = []struct {
	name   string
	typ    uint32
	block  int64
	maxRMS float64
}{
	{"f32", 0, 1, 0},
	{"f16", 1, 1, 2.5e-4},
	{"bf16", 30, 1, 2e-3},
	{"q4_0", 2, 32, 0.103},
	{"q4_1", 3, 32, 0.094},
	{"q5_0", 6, 32, 0.051},
	{"q5_1", 7, 32, 0.045},
	{"q8_0", 8, 32, 0.0065},
	{"q2_k", 10, 256, 0.36},
	{"q3_k", 11, 256, 0.18},
	{"q4_k", 12, 256, 0.086},
	{"q5_k", 13, 256, 0.044},
	{"q6_k", 14, 256, 0.0215},
	{"iq4_nl", 20, 32, 0.092},
	{"iq4_xs", 23, 256, 0.092},
	{"iq3_s", 21, 256, 0.2},
	{"iq3_xxs", 18, 256, 0.26},
	{"iq2_s", 22, 256, 0.32},
	{"tq1_0", 34, 256, 0.95},
	{"tq2_0", 35, 256, 0.95},
	{"mxfp4", 39, 32, 0.142},
}

func gaussian(n int64, seed uint64, scale float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(scale * r.NormFloat64())
	}
	return x
}

func rms(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(x)))
}

func quantize(t *testing.T, typ uint32, src []float32, perRow int64) []byte {
	t.Helper()
	size, err := csrc.RowSize(typ, int64(len(src)))
	require.NoError(t, err)
	dst := make([]byte, size)
	require.NoError(t, csrc.Quantize(typ, src, perRow, dst))
	return dst
}

// Odd counts of rows, and rows of one block and of several.
func TestQuantizeRoundTrip(t *testing.T) {
	for _, q := range quantTypes {
		t.Run(q.name, func(t *testing.T) {
			for _, rows := range []int64{1, 3, 7, 33} {
				for _, blocks := range []int64{1, 3, 5} {
					perRow := q.block * blocks
					src := gaussian(rows*perRow, uint64(rows*100+blocks), 0.05)
					back := make([]float32, len(src))
					require.NoError(t, csrc.Dequantize(q.typ, quantize(t, q.typ, src, perRow), back))
					for i := range back {
						back[i] -= src[i]
					}
					if len(src) >= 512 { // few values scatter
						require.LessOrEqual(t, rms(back)/rms(src), q.maxRMS, "rows %d, blocks %d", rows, blocks)
					}
				}
			}
		})
	}
}

// What convert relies on: any cut of a tensor at whole blocks gives the same bytes as the tensor in one piece.
func TestQuantizeInPieces(t *testing.T) {
	const n = 256 * 12
	src := gaussian(n, 3, 0.05)
	for _, q := range quantTypes {
		whole := quantize(t, q.typ, src, n/3)
		for _, piece := range []int64{256, 512, 1024, 1536} {
			var got []byte
			for at := int64(0); at < n; at += piece {
				got = append(got, quantize(t, q.typ, src[at:at+piece], piece)...)
			}
			require.True(t, bytes.Equal(whole, got), "%s in pieces of %d", q.name, piece)
		}
	}
}

func TestQuantizeFromManyGoroutines(t *testing.T) {
	src := gaussian(4096, 5, 0.05)
	for _, q := range quantTypes {
		want := quantize(t, q.typ, src, 1024)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				dst := make([]byte, len(want))
				if err := csrc.Quantize(q.typ, src, 1024, dst); err != nil || !bytes.Equal(want, dst) {
					t.Errorf("%s: %v, equal %v", q.name, err, bytes.Equal(want, dst))
				}
			})
		}
		group.Wait()
	}
}

// Finite values that make quantisers divide by nothing, overflow or search a grid in vain.
func TestQuantizeAwkwardValues(t *testing.T) {
	const n = 1024
	patterns := map[string]func(i int, r *rand.Rand) float32{
		"zeros":        func(int, *rand.Rand) float32 { return 0 },
		"minus zeros":  func(int, *rand.Rand) float32 { return float32(math.Copysign(0, -1)) },
		"equal":        func(int, *rand.Rand) float32 { return 0.25 },
		"negative":     func(int, *rand.Rand) float32 { return -3 },
		"largest":      func(i int, _ *rand.Rand) float32 { return float32(1-2*(i%2)) * 65504 },
		"all largest":  func(int, *rand.Rand) float32 { return 65504 },
		"denormal":     func(i int, _ *rand.Rand) float32 { return math.Float32frombits(uint32(1 + i)) },
		"tiny":         func(_ int, r *rand.Rand) float32 { return float32(1e-20 * r.NormFloat64()) },
		"small":        func(_ int, r *rand.Rand) float32 { return float32(1e-8 * r.NormFloat64()) },
		"one outlier":  func(i int, r *rand.Rand) float32 { return pick(i%256 == 17, 60000, float32(1e-3*r.NormFloat64())) },
		"one value":    func(i int, _ *rand.Rand) float32 { return pick(i%256 == 255, -1, 0) },
		"wide range":   func(_ int, r *rand.Rand) float32 { return float32(math.Pow(10, 50*r.Float64()-46)) },
		"any in range": func(_ int, r *rand.Rand) float32 { return anyInRange(r) },
	}
	for name, pattern := range patterns {
		for _, q := range quantTypes {
			r := rand.New(rand.NewPCG(7, 7))
			src := make([]float32, n)
			for i := range src {
				src[i] = pattern(i, r)
			}
			back := make([]float32, n)
			require.NoError(t, csrc.Dequantize(q.typ, quantize(t, q.typ, src, n), back))
			for i, v := range back {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					t.Fatalf("%s of %s: element %d: %g became %g", q.name, name, i, src[i], v)
				}
			}
		}
	}
}

func pick(first bool, a, b float32) float32 {
	if first {
		return a
	}
	return b
}

// anyInRange returns any bit pattern whose magnitude every type can hold.
func anyInRange(r *rand.Rand) float32 {
	for {
		x := math.Float32frombits(r.Uint32())
		if x >= -65504 && x <= 65504 {
			return x
		}
	}
}

func TestQuantizeRefusesValues(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, q := range quantTypes {
		limit := csrc.Limit(q.typ)
		for _, bad := range []float32{inf, -inf, nan, math.Nextafter32(limit, inf), -math.Nextafter32(limit, inf)} {
			for _, at := range []int{0, 4095, 4097, 8191} {
				src := make([]float32, 8192)
				src[at] = bad
				size, err := csrc.RowSize(q.typ, 8192)
				require.NoError(t, err)
				err = csrc.Quantize(q.typ, src, 4096, make([]byte, size))
				require.ErrorContains(t, err, fmt.Sprintf("element %d is ", at), "%s of %g", q.name, bad)
			}
		}
		src := make([]float32, 256)
		src[0], src[1] = limit, -limit
		back := make([]float32, 256)
		require.NoError(t, csrc.Dequantize(q.typ, quantize(t, q.typ, src, 256), back))
		require.False(t, math.IsInf(float64(back[0]), 0), "%s holds %g", q.name, limit)
	}
}

func TestQuantizeRefusesArguments(t *testing.T) {
	x := make([]float32, 512)
	for _, c := range []struct {
		what   string
		typ    uint32
		src    []float32
		perRow int64
		dst    int
		want   string
	}{
		{"a dropped type", 4, x, 512, 1, "type 4 is not one of ggml's types"},
		{"another dropped type", 31, x, 512, 1, "type 31 is not"},
		{"a type past the end", 40, x, 512, 1, "type 40 is not"},
		{"a huge type", math.MaxUint32, x, 512, 1, "type -1 is not"},
		{"an integer type", 26, x, 512, 2048, "type i32 is not a type of weights"},
		{"an activation type", 9, x, 512, 1, "type q8_1 is not a type of weights"},
		{"another activation type", 15, x, 512, 1, "type q8_K is not a type of weights"},
		{"iq2_xxs", 16, x, 512, 1, "type iq2_xxs needs an importance matrix"},
		{"iq2_xs", 17, x, 512, 1, "type iq2_xs needs an importance matrix"},
		{"iq1_s", 19, x, 512, 1, "type iq1_s needs an importance matrix"},
		{"iq1_m", 29, x, 512, 1, "type iq1_m needs an importance matrix"},
		{"half a block", 12, x, 128, 288, "a row of 128 elements cannot be q4_K: want a multiple of 256"},
		{"half a small block", 8, x, 16, 544, "a row of 16 elements cannot be q8_0: want a multiple of 32"},
		{"no whole rows", 8, x, 96, 544, "512 elements are not rows of 96"},
		{"rows of nothing", 8, x, 0, 544, "512 elements are not rows of 0"},
		{"rows of less", 8, x, -32, 544, "512 elements are not rows of -32"},
		{"no elements", 8, nil, 32, 0, "0 elements are not rows of 32"},
		{"too little room", 8, x, 512, 543, "512 elements take 544 bytes as q8_0, and there are 543"},
		{"too much room", 8, x, 512, 545, "512 elements take 544 bytes as q8_0, and there are 545"},
	} {
		err := csrc.Quantize(c.typ, c.src, c.perRow, make([]byte, c.dst))
		require.ErrorContains(t, err, c.want, c.what)
		require.True(t, errors.Is(err, csrc.ErrArgument) || errors.Is(err, csrc.ErrUnsupported), c.what)
	}
}

func TestDequantizeRefuses(t *testing.T) {
	for _, c := range []struct {
		typ  uint32
		src  int
		dst  int
		want string
	}{
		{5, 32, 32, "type 5 is not one of ggml's types"},
		{99, 32, 32, "type 99 is not"},
		{8, 33, 32, "32 elements take 34 bytes as q8_0, and there are 33"},
		{8, 34, 31, "a tensor of 31 elements cannot be q8_0"},
		{27, 256, 32, "type i64 is not a type of weights"},
		{15, 292, 256, "type q8_K is not a type of weights"},
		{0, 3, 1, "1 elements take 4 bytes as f32, and there are 3"},
	} {
		require.ErrorContains(t, csrc.Dequantize(c.typ, make([]byte, c.src), make([]float32, c.dst)), c.want)
	}
	require.NoError(t, csrc.Dequantize(8, nil, nil))
}

// A file may hold any bytes at all: none may bring a quantised type's reader down.
func TestDequantizeAnyBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	for typ := uint32(0); typ < 40; typ++ {
		elements, size, err := csrc.BlockSize(typ)
		if err != nil {
			continue
		}
		for range 50 {
			src := make([]byte, 4*size)
			for i := range src {
				src[i] = byte(r.Uint32())
			}
			err := csrc.Dequantize(typ, src, make([]float32, 4*elements))
			if err != nil {
				require.ErrorContains(t, err, "is not a type of weights")
			}
		}
	}
}

func TestRowSize(t *testing.T) {
	for _, c := range []struct {
		typ  uint32
		n    int64
		want int64
	}{{0, 3, 12}, {1, 3, 6}, {8, 64, 68}, {12, 256, 144}, {14, 512, 420}, {30, 1, 2}, {8, 0, 0}} {
		got, err := csrc.RowSize(c.typ, c.n)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, c := range []struct {
		typ uint32
		n   int64
	}{{8, 31}, {12, 128}, {4, 32}, {8, -32}, {math.MaxUint32, 1}} {
		_, err := csrc.RowSize(c.typ, c.n)
		require.Error(t, err)
	}
	_, err := csrc.RowSize(0, math.MaxInt64/2)
	require.ErrorContains(t, err, "too large")
}

func BenchmarkQuantize(b *testing.B) {
	src := gaussian(1<<18, 1, 0.05)
	for _, q := range quantTypes {
		b.Run(q.name, func(b *testing.B) {
			size, err := csrc.RowSize(q.typ, int64(len(src)))
			require.NoError(b, err)
			dst := make([]byte, size)
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				if err := csrc.Quantize(q.typ, src, int64(len(src)), dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
