package pixels

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

// TestVariantsAgreeOnEveryFilter runs the weights of the filters, up and down, through every variant of the passes. The
// goldens against Pillow hold one of them, the fastest.
func TestVariantsAgreeOnEveryFilter(t *testing.T) {
	all := csrc.Resizers()
	plain := all[len(all)-1]
	r := rand.New(rand.NewPCG(1, 1))
	for _, m := range []Mode{L, LA, RGB, RGBA} {
		for f := Lanczos; f <= Hamming; f++ {
			for _, sides := range [][2]int{{1, 1}, {1, 40}, {40, 1}, {7, 5}, {5, 7}, {64, 64}, {33, 100}, {301, 17}, {640, 298}} {
				im := newImage(m, sides[0], 9)
				for i := range im.Pix {
					im.Pix[i] = byte(r.Uint32())
				}
				down := newImage(m, 9, sides[0])
				copy(down.Pix, im.Pix)
				w := newTaps(sides[0], sides[1], 0, sides[1], f)
				want, got := make([]byte, sides[1]*9*m.Channels()), make([]byte, sides[1]*9*m.Channels())
				for _, z := range all {
					require.NoError(t, plain.Across(im.samples(), want, &w.Taps))
					require.NoError(t, z.Across(im.samples(), got, &w.Taps))
					require.Equal(t, want, got, "%s: %s across, %s, %v", z.Name(), m, f, sides)
					require.NoError(t, plain.Down(down.samples(), want, &w.Taps))
					require.NoError(t, z.Down(down.samples(), got, &w.Taps))
					require.Equal(t, want, got, "%s: %s down, %s, %v", z.Name(), m, f, sides)
				}
			}
		}
	}
}
