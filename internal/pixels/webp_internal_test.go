package pixels

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// filterAlpha is the encoder's side of webpUnfilter, by the letter of the format: each sample less its prediction.
func filterAlpha(a []byte, w int, filter byte) []byte {
	out := append([]byte(nil), a...)
	for i := range a {
		x, y := i%w, i/w
		var guess byte
		switch {
		case filter == 0 || i == 0:
		case y == 0:
			guess = a[i-1]
		case x == 0 || filter == 2:
			guess = a[i-w]
		case filter == 1:
			guess = a[i-1]
		default:
			guess = byte(min(255, max(0, int(a[i-1])+int(a[i-w])-int(a[i-w-1]))))
		}
		out[i] = a[i] - guess
	}
	return out
}

func TestUnfilterUndoesTheFilter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, h := rapid.IntRange(1, 9).Draw(rt, "w"), rapid.IntRange(1, 9).Draw(rt, "h")
		alpha := rapid.SliceOfN(rapid.Byte(), w*h, w*h).Draw(rt, "alpha")
		filter := rapid.ByteRange(0, 3).Draw(rt, "filter")
		stored := append([]byte{filter << 2}, filterAlpha(alpha, w, filter)...)
		got, err := webpAlpha(stored, w, h)
		require.NoError(rt, err)
		require.Equal(rt, alpha, got)
	})
}

func TestAlphaIsCheckedForItsLength(t *testing.T) {
	for _, data := range [][]byte{nil, {0}, {0, 1, 2, 3}, {1}, {1, 0xff}, {2, 0, 0, 0, 0}} {
		_, err := webpAlpha(data, 2, 2)
		require.Error(t, err, "%v", data)
	}
}
