//go:build unix

package csrc_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

// naivePass is a pass in the words of resize.h, over one sample at a time. at returns the sample at a place along the
// side that is resampled.
func naivePass(t *csrc.Taps, out int, at func(int) byte) byte {
	sum := int32(1) << (csrc.ResizeBits - 1)
	for j := range int(t.Size[out]) {
		sum += int32(at(int(t.First[out])+j)) * t.Weight[out*t.Width+j] // wraps, as C's
	}
	return byte(max(0, min(255, sum>>csrc.ResizeBits)))
}

func naiveAcross(s csrc.Samples, t *csrc.Taps) []byte {
	var dst []byte
	for y := range s.Height {
		for x := range t.First {
			for c := range s.Channels {
				dst = append(dst, naivePass(t, x, func(i int) byte { return s.Pix[(y*s.Width+i)*s.Channels+c] }))
			}
		}
	}
	return dst
}

func naiveDown(s csrc.Samples, t *csrc.Taps) []byte {
	var dst []byte
	n := s.Width * s.Channels
	for y := range t.First {
		for x := range n {
			dst = append(dst, naivePass(t, y, func(i int) byte { return s.Pix[i*n+x] }))
		}
	}
	return dst
}

// randomTaps returns weights over n positions: of the size that filters have, or with wild any.
func randomTaps(r *rand.Rand, n int, wild bool) *csrc.Taps {
	outputs, width := 1+r.IntN(40), 1+r.IntN(24)
	t := &csrc.Taps{Width: width, Weight: make([]int32, outputs*width)}
	for i := range t.Weight {
		t.Weight[i] = int32(r.NormFloat64() * (1 << csrc.ResizeBits) / 3)
		if wild {
			t.Weight[i] = []int32{int32(r.Uint32()), math.MaxInt32, math.MinInt32, 0x8000, 0x7fff8000, -1}[r.IntN(6)]
		}
	}
	for range outputs {
		first := r.IntN(n)
		t.First = append(t.First, int32(first))
		t.Size = append(t.Size, int32(r.IntN(min(width, n-first)+1)))
	}
	t.First[outputs-1], t.Size[outputs-1] = int32(n-1), 1 // the very end is read too
	return t
}

// TestResizers holds every variant to the plain definition, over odd shapes, and to the bounds of its memory.
func TestResizers(t *testing.T) {
	all := csrc.Resizers()
	require.Equal(t, "plain", all[len(all)-1].Name())
	require.Equal(t, all[0].Name(), csrc.FastestResizer().Name())
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 600 {
		s := csrc.Samples{Width: 1 + r.IntN(70), Height: 1 + r.IntN(12), Channels: 1 + n%4}
		if n%3 == 0 {
			s.Width, s.Height = s.Height, s.Width
		}
		g := newGuards(t)
		s.Pix = g.bytes(t, s.Width*s.Height*s.Channels)
		for i := range s.Pix {
			s.Pix[i] = []byte{byte(r.Uint32()), 0, 255, byte(r.Uint32())}[r.IntN(4)]
		}
		across, down := randomTaps(r, s.Width, n%5 == 0), randomTaps(r, s.Height, n%5 == 0)
		wantAcross, wantDown := naiveAcross(s, across), naiveDown(s, down)
		for _, z := range all {
			what := fmt.Sprintf("%s: %dx%d of %d, case %d", z.Name(), s.Width, s.Height, s.Channels, n)
			dst := g.bytes(t, len(wantAcross))
			require.NoError(t, z.Across(s, dst, across))
			require.Equal(t, wantAcross, dst, "across, %s", what)
			dst = g.bytes(t, len(wantDown))
			require.NoError(t, z.Down(s, dst, down))
			require.Equal(t, wantDown, dst, "down, %s", what)
		}
		g.free()
	}
}

func TestResizersRefuseWhatDoesNotFit(t *testing.T) {
	good := csrc.Samples{Pix: make([]byte, 5*4*3), Width: 5, Height: 4, Channels: 3}
	taps := func() *csrc.Taps {
		return &csrc.Taps{Width: 2, First: []int32{0, 2}, Size: []int32{2, 2}, Weight: make([]int32, 4)}
	}
	const across, down = 2 * 4 * 3, 2 * 5 * 3
	z := csrc.FastestResizer()
	require.NoError(t, z.Across(good, make([]byte, across), taps()))
	require.NoError(t, z.Down(good, make([]byte, down), taps()))
	for name, change := range map[string]func(*csrc.Samples, *csrc.Taps){
		"a sample too few":          func(s *csrc.Samples, _ *csrc.Taps) { s.Pix = s.Pix[1:] },
		"no channels":               func(s *csrc.Samples, _ *csrc.Taps) { s.Channels = 0 },
		"five channels":             func(s *csrc.Samples, _ *csrc.Taps) { s.Channels = 5 },
		"no width":                  func(s *csrc.Samples, _ *csrc.Taps) { s.Width = 0 },
		"a negative height":         func(s *csrc.Samples, _ *csrc.Taps) { s.Height = -4 },
		"a product that wraps":      func(s *csrc.Samples, _ *csrc.Taps) { s.Width, s.Height = 1<<62+5, 4 },
		"a width past 32 bits":      func(s *csrc.Samples, _ *csrc.Taps) { s.Width = 1<<32 + 5 },
		"a position before":         func(_ *csrc.Samples, t *csrc.Taps) { t.First[0] = -1 },
		"a position after":          func(_ *csrc.Samples, t *csrc.Taps) { t.First[1] = 4 },
		"more taps than weights":    func(_ *csrc.Samples, t *csrc.Taps) { t.Size[0] = 3 },
		"a negative size":           func(_ *csrc.Samples, t *csrc.Taps) { t.Size[0] = -1 },
		"positions that wrap":       func(_ *csrc.Samples, t *csrc.Taps) { t.First[0] = math.MaxInt32 },
		"a weight too few":          func(_ *csrc.Samples, t *csrc.Taps) { t.Weight = t.Weight[1:] },
		"a size too few":            func(_ *csrc.Samples, t *csrc.Taps) { t.Size = t.Size[1:] },
		"no outputs":                func(_ *csrc.Samples, t *csrc.Taps) { t.First, t.Size, t.Weight = nil, nil, nil },
		"no taps":                   func(_ *csrc.Samples, t *csrc.Taps) { t.Width, t.Weight = 0, nil },
		"an output without a place": func(_ *csrc.Samples, t *csrc.Taps) { t.First, t.Size = append(t.First, 0), append(t.Size, 1) },
	} {
		s, w := good, taps()
		change(&s, w)
		require.ErrorIs(t, z.Across(s, make([]byte, across), w), csrc.ErrArgument, name)
		require.ErrorIs(t, z.Down(s, make([]byte, down), w), csrc.ErrArgument, name)
	}
	require.ErrorIs(t, z.Across(good, make([]byte, across+1), taps()), csrc.ErrArgument)
	require.ErrorIs(t, z.Down(good, make([]byte, down-1), taps()), csrc.ErrArgument)
}

// BenchmarkResizers takes 640x480 pixels to 298x224, with as many taps as a cubic filter has there.
func BenchmarkResizers(b *testing.B) {
	src := csrc.Samples{Pix: make([]byte, 640*480*3), Width: 640, Height: 480, Channels: 3}
	taps := func(in, out int) *csrc.Taps {
		t := &csrc.Taps{Width: 11, Weight: make([]int32, 11*out)}
		for i := range out {
			t.First, t.Size = append(t.First, int32(min(i*in/out, in-9))), append(t.Size, 9)
		}
		return t
	}
	for _, z := range csrc.Resizers() {
		b.Run(z.Name(), func(b *testing.B) {
			across, down := taps(640, 298), taps(480, 224)
			part := csrc.Samples{Pix: make([]byte, 298*480*3), Width: 298, Height: 480, Channels: 3}
			dst := make([]byte, 298*224*3)
			for b.Loop() {
				require.NoError(b, z.Across(src, part.Pix, across))
				require.NoError(b, z.Down(part, dst, down))
			}
		})
	}
}
