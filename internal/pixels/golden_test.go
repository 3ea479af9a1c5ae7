package pixels_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/testenv"
)

// golden is what Pillow 13 says of a file; tools/goldens/pixels.py wrote it.
type golden struct {
	Error         bool
	Mode          pixels.Mode
	Width, Height int
	Raw, RGB      string
	Resized       string
	CLIP          string
}

func readGoldens(t *testing.T, path string) map[string]golden {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var all map[string]golden
	require.NoError(t, json.Unmarshal(text, &all))
	require.NotEmpty(t, all)
	return all
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func decodeFile(t *testing.T, path string) (*pixels.Image, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return pixels.Decode(data, pixels.Limits{})
}

// resizedSum is the sum over copies of every size by every filter, in the order of the golden script.
func resizedSum(t *testing.T, im *pixels.Image, sizes [][2]int) string {
	t.Helper()
	h := sha256.New()
	for _, s := range sizes {
		for f := pixels.Nearest; f <= pixels.Hamming; f++ {
			out, err := im.Resize(s[0], s[1], f)
			require.NoError(t, err)
			require.Equal(t, im.Mode, out.Mode)
			h.Write(out.Pix)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func clipBytes(t *testing.T, im *pixels.Image, config string) []byte {
	t.Helper()
	c, err := pixels.ParseConfig([]byte(config))
	require.NoError(t, err)
	w, h := c.OutputSize()
	dst := make([]float32, 3*w*h)
	require.NoError(t, c.CLIP(im, dst))
	var out bytes.Buffer
	for _, v := range dst {
		_ = binary.Write(&out, binary.LittleEndian, math.Float32bits(v)) // a bytes.Buffer doesn't fail
	}
	return out.Bytes()
}

func checkGolden(t *testing.T, path string, g golden, sizes [][2]int) {
	t.Helper()
	im, err := decodeFile(t, path)
	if g.Error {
		require.Error(t, err)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, g.Mode, im.Mode)
	assert.Equal(t, g.Width, im.Width)
	assert.Equal(t, g.Height, im.Height)
	assert.Equal(t, g.Raw, sum(im.Pix), "decoded bytes differ from Pillow's")
	assert.Equal(t, g.RGB, sum(im.RGB().Pix), "RGB differs from Pillow's")
	assert.Equal(t, g.Resized, resizedSum(t, im, sizes), "resized copies differ from Pillow's")
	if g.CLIP != "" {
		assert.Equal(t, g.CLIP, sum(clipBytes(t, im, `{}`)), "CLIP's pixels differ from the reference's")
	}
}

func TestPicturesEqualPillow(t *testing.T) {
	dir := filepath.Join("testdata", "pillow")
	sizes := [][2]int{{16, 16}, {50, 23}, {37, 12}, {20, 60}}
	for name, g := range readGoldens(t, filepath.Join(dir, "golden.json")) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGolden(t, filepath.Join(dir, name), g, sizes)
		})
	}
}

func TestSharedPicturesEqualPillow(t *testing.T) {
	dir := testenv.Shared(t)
	for name, g := range readGoldens(t, filepath.Join("testdata", "shared.json")) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err != nil {
				t.Skip("the reference fixtures lack this picture: " + err.Error())
			}
			checkGolden(t, path, g, [][2]int{{224, 224}})
		})
	}
}
