package pixels_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// without returns a JPEG file with its segments of one kind left out.
func without(t *testing.T, data []byte, marker byte) []byte {
	t.Helper()
	out := bytes.Clone(data[:2])
	for at := 2; ; {
		require.Equal(t, byte(0xff), data[at])
		if data[at+1] == 0xda {
			return append(out, data[at:]...)
		}
		n := 2 + int(binary.BigEndian.Uint16(data[at+2:]))
		if data[at+1] != marker {
			out = append(out, data[at:at+n]...)
		}
		at += n
	}
}

func TestJPEGWithoutHuffmanTablesHasTheStandards(t *testing.T) {
	const huffmanTables = 0xc4
	for _, name := range []string{"420_q75.jpg", "444_q30.jpg", "cmyk.jpg", "grey.jpg"} {
		data := picture(t, name)
		want, err := pixels.Decode(data, pixels.Limits{})
		require.NoError(t, err)
		bare := without(t, data, huffmanTables)
		require.Less(t, len(bare), len(data))
		got, err := pixels.Decode(bare, pixels.Limits{})
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

func TestJPEGWithoutQuantisationTablesIsRefused(t *testing.T) {
	_, err := pixels.Decode(without(t, picture(t, "grey.jpg"), 0xdb), pixels.Limits{})
	require.ErrorContains(t, err, "pixels: JPEG: ")
}

// TestDamagedJPEGKeepsWhatIsWhole cuts the data of a scan short by an early end-of-image marker, which libjpeg calls a
// warning: the rows before it are untouched, those after it are grey.
func TestDamagedJPEGKeepsWhatIsWhole(t *testing.T) {
	data := picture(t, "grey.jpg")
	whole, err := pixels.Decode(data, pixels.Limits{})
	require.NoError(t, err)
	start := bytes.Index(data, []byte{0xff, 0xda})
	cut := append(bytes.Clone(data[:start+(len(data)-start)*2/3]), 0xff, 0xd9)
	damaged, err := pixels.Decode(cut, pixels.Limits{})
	require.NoError(t, err)
	require.Equal(t, whole.Pix[:8*whole.Width], damaged.Pix[:8*whole.Width])
	last := damaged.Pix[len(damaged.Pix)-1]
	require.Equal(t, byte(128), last)
}

func TestJPEGOfTooManyScansIsRefused(t *testing.T) {
	data := picture(t, "grey_progressive.jpg")
	first := bytes.Index(data, []byte{0xff, 0xda})
	n := bytes.Index(data[first+2:], []byte{0xff, 0xda}) // may be none; the rest of the file serves as well
	scan := data[first:]
	if n > 0 {
		scan = data[first : first+2+n]
	}
	scan = bytes.TrimSuffix(scan, []byte{0xff, 0xd9})
	bomb := append(bytes.Clone(data[:first]), bytes.Repeat(scan, 501)...)
	_, err := pixels.Decode(append(bomb, 0xff, 0xd9), pixels.Limits{})
	require.ErrorContains(t, err, "more than 500 scans")
}
