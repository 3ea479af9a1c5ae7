//go:build unix

package csrc_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

// randomBlock returns coefficients of one of the kinds that files hold, or wild ones, whose sums wrap.
func randomBlock(r *rand.Rand) []int32 {
	b := make([]int32, 64)
	b[0] = int32(r.IntN(2048)-1024) * int32(1+r.IntN(8))
	switch r.IntN(5) {
	case 0: // few
		for range r.IntN(6) {
			b[r.IntN(64)] = int32(r.IntN(600) - 300)
		}
	case 1: // a row or a column
		at, step := r.IntN(8), 1
		if r.IntN(2) == 0 {
			step = 8
		}
		for i := range 8 {
			b[at*(9-step)+i*step] = int32(r.IntN(300) - 150)
		}
	case 2:
		for i := range b {
			b[i] = int32(r.NormFloat64() * 400)
		}
	case 3:
		for range r.IntN(64) {
			b[r.IntN(64)] = int32(r.Uint32())
		}
	}
	return b
}

// TestJPEGTransform holds every variant to the plain one, which the goldens against Pillow hold to libjpeg-turbo.
func TestJPEGTransform(t *testing.T) {
	all := csrc.AllJPEG()
	plain := all[len(all)-1]
	require.Equal(t, "plain", plain.Name())
	require.Equal(t, all[0].Name(), csrc.FastestJPEG().Name())
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 2000 {
		blocks := 1 + r.IntN(5)
		stride := 8*blocks + r.IntN(3)*8
		kinds := make([]byte, blocks)
		var coeffs []int32
		for i := range kinds {
			b := randomBlock(r)
			kinds[i] = byte(r.IntN(3))
			switch kinds[i] {
			case csrc.BlockNone:
				clear(b)
			case csrc.BlockFlat:
				clear(b[1:])
			}
			coeffs = append(coeffs, b...)
		}
		transform := func(j csrc.JPEGKernels) []byte {
			g := newGuards(t)
			defer g.free()
			c, k := append([]int32(nil), coeffs...), bytes.Clone(kinds)
			dst := g.bytes(t, 7*stride+8*blocks)
			for i := range dst {
				dst[i] = 77
			}
			require.NoError(t, j.Transform(c, k, dst, stride))
			require.Equal(t, make([]int32, 64*blocks), c)
			require.Equal(t, make([]byte, blocks), k)
			return bytes.Clone(dst)
		}
		want := transform(plain)
		for i, kind := range kinds {
			for y := range 8 {
				if kind == csrc.BlockNone {
					require.Equal(t, bytes.Repeat([]byte{77}, 8), want[y*stride+8*i:][:8], "a block that was not read")
				}
			}
		}
		for _, j := range all {
			require.Equal(t, want, transform(j), "%s, case %d: %v", j.Name(), n, coeffs)
		}
		for i, kind := range kinds { // a flat block is a whole one without the rest
			if kind == csrc.BlockFlat {
				kinds[i] = csrc.BlockWhole
			}
		}
		require.Equal(t, want, transform(plain))
	}
}

// TestJPEGJoin holds every variant to the plain one over odd shapes, and to the bounds of its memory.
func TestJPEGJoin(t *testing.T) {
	all := csrc.AllJPEG()
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 2500 {
		w, h := 1+r.IntN(90), 1+r.IntN(9)
		g := newGuards(t)
		var planes []csrc.Plane
		for range 1 + n%4 {
			p := csrc.Plane{H: []int{1, 2, 2, 1, 4, 3}[r.IntN(6)], V: []int{1, 2, 2, 1, 4, 3}[r.IntN(6)]}
			p.Width, p.Height = (w+p.H-1)/p.H, (h+p.V-1)/p.V
			p.Stride = p.Width + r.IntN(9)
			p.Pix = g.bytes(t, (p.Height-1)*p.Stride+p.Width)
			for i := range p.Pix {
				p.Pix[i] = byte(r.Uint32())
			}
			planes = append(planes, p)
		}
		for _, ycc := range []bool{false, true} {
			want := g.bytes(t, w*h*len(planes))
			require.NoError(t, all[len(all)-1].Join(planes, ycc, want, w, h))
			for _, j := range all {
				dst := g.bytes(t, len(want))
				require.NoError(t, j.Join(planes, ycc, dst, w, h))
				require.Equal(t, want, dst, "%s: %dx%d, ycc %t, case %d", j.Name(), w, h, ycc, n)
			}
		}
		g.free()
	}
}

// TestJPEGColours holds every colour to the definition, in floating point where that is not near a tie.
func TestJPEGColours(t *testing.T) {
	const n = 256 * 256
	plane := func(f func(i int) byte) csrc.Plane {
		p := csrc.Plane{Pix: make([]byte, n), Stride: n, Width: n, Height: 1, H: 1, V: 1}
		for i := range p.Pix {
			p.Pix[i] = f(i)
		}
		return p
	}
	for _, y := range []byte{0, 1, 100, 128, 254, 255} {
		planes := []csrc.Plane{plane(func(int) byte { return y }), plane(func(i int) byte { return byte(i) }), plane(func(i int) byte { return byte(i >> 8) })}
		var want []byte
		for _, j := range csrc.AllJPEG() {
			dst := make([]byte, 3*n)
			require.NoError(t, j.Join(planes, true, dst, n, 1))
			if want == nil {
				want = dst
			}
			require.True(t, bytes.Equal(want, dst), j.Name())
		}
		for i := range n {
			b, r := float64(i&255)-128, float64(i>>8)-128
			for c, v := range []float64{1.402 * r, -0.344136*b - 0.714136*r, 1.772 * b} {
				require.InDelta(t, max(0, min(255, float64(y)+v)), float64(want[3*i+c]), 0.51, "channel %d of %d, %d", c, i, y)
			}
		}
	}
}

func TestJPEGRefusesWhatDoesNotFit(t *testing.T) {
	j := csrc.FastestJPEG()
	for i, err := range []error{
		j.Transform(make([]int32, 64), make([]byte, 2), make([]byte, 200), 16),
		j.Transform(make([]int32, 128), make([]byte, 2), make([]byte, 7*16+15), 16),
		j.Transform(make([]int32, 128), make([]byte, 2), make([]byte, 1000), 15),
		j.Transform(make([]int32, 64), make([]byte, 1), make([]byte, 1000), 1<<62),
	} {
		require.ErrorIs(t, err, csrc.ErrArgument, "case %d", i)
	}
	require.NoError(t, j.Transform(nil, nil, nil, 0))
	good := csrc.Plane{Pix: make([]byte, 3*6+5), Stride: 6, Width: 5, Height: 4, H: 2, V: 1}
	join := func(change func(*csrc.Plane)) error {
		p := good
		change(&p)
		return j.Join([]csrc.Plane{p}, true, make([]byte, 10*4), 10, 4)
	}
	require.NoError(t, join(func(*csrc.Plane) {}))
	for name, change := range map[string]func(*csrc.Plane){
		"a sample too few":     func(p *csrc.Plane) { p.Pix = p.Pix[1:] },
		"too narrow":           func(p *csrc.Plane) { p.Width = 4 },
		"rows that overlap":    func(p *csrc.Plane) { p.Stride = 4 },
		"a stride that wraps":  func(p *csrc.Plane) { p.Stride = 1 << 62 },
		"no rows":              func(p *csrc.Plane) { p.Height = 0 },
		"no width":             func(p *csrc.Plane) { p.Width = 0 },
		"no subsampling":       func(p *csrc.Plane) { p.V = 0 },
		"too much subsampling": func(p *csrc.Plane) { p.H = 5 },
		"a width past 32 bits": func(p *csrc.Plane) { p.Width = 1 << 33 },
	} {
		require.ErrorIs(t, join(change), csrc.ErrArgument, name)
	}
	require.ErrorIs(t, j.Join([]csrc.Plane{good}, true, make([]byte, 39), 10, 4), csrc.ErrArgument)
	require.ErrorIs(t, j.Join(nil, true, nil, 10, 4), csrc.ErrArgument)
	require.ErrorIs(t, j.Join(make([]csrc.Plane, 5), true, make([]byte, 200), 10, 4), csrc.ErrArgument)
	require.ErrorIs(t, j.Join([]csrc.Plane{good}, true, nil, 10, 0), csrc.ErrArgument)
}

// BenchmarkJPEG transforms the blocks of a picture of 640x480 pixels, 4:2:0, and joins its components.
func BenchmarkJPEG(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	var coeffs []int32
	const wide = 80
	for range wide {
		coeffs = append(coeffs, randomBlock(r)...)
	}
	work, kinds, dst := make([]int32, len(coeffs)), make([]byte, wide), make([]byte, 8*8*wide)
	planes := []csrc.Plane{
		{Pix: make([]byte, 640*480), Stride: 640, Width: 640, Height: 480, H: 1, V: 1},
		{Pix: make([]byte, 320*240), Stride: 320, Width: 320, Height: 240, H: 2, V: 2},
		{Pix: make([]byte, 320*240), Stride: 320, Width: 320, Height: 240, H: 2, V: 2},
	}
	out := make([]byte, 640*480*3)
	for _, j := range csrc.AllJPEG() {
		b.Run(fmt.Sprintf("transform/%s", j.Name()), func(b *testing.B) {
			for b.Loop() {
				for range 60 + 30 {
					copy(work, coeffs)
					for i := range kinds {
						kinds[i] = csrc.BlockWhole
					}
					require.NoError(b, j.Transform(work, kinds, dst, 8*wide))
				}
			}
		})
		b.Run(fmt.Sprintf("join/%s", j.Name()), func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, j.Join(planes, true, out, 640, 480))
			}
		})
	}
}
