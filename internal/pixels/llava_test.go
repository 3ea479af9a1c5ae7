package pixels_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/testenv"
)

// llavaGolden is what transformers 4.45.2 says; tools/goldens/llava.py wrote it.
type llavaGolden struct {
	Tile, Side int
	Pinpoints  [][2]int
	Cases      []struct {
		Width, Height, Rows, Cols int
		Best                      [2]int
		Kept                      []int // top, bottom, left, right; none where nothing is kept
		Count                     int   // features as the processor counts them
		Pixels                    string
	}
}

// noise is the picture that the golden script draws.
func noise(w, h int) *pixels.Image {
	im := &pixels.Image{Mode: pixels.RGB, Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range im.Pix {
		im.Pix[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	return im
}

func llavaConfig(t *testing.T, tile int, pinpoints [][2]int) *pixels.Config {
	t.Helper()
	points, err := json.Marshal(pinpoints)
	require.NoError(t, err)
	c, err := pixels.ParseConfig(fmt.Appendf(nil,
		`{"size":{"shortest_edge":%d},"crop_size":{"height":%d,"width":%d},"image_grid_pinpoints":%s}`, tile, tile, tile, points))
	require.NoError(t, err)
	return c
}

func llavaBytes(t *testing.T, c *pixels.Config, im *pixels.Image) []byte {
	t.Helper()
	g, err := c.Grid(im.Width, im.Height)
	require.NoError(t, err)
	dst := make([]float32, g.Tiles()*3*g.TileSize*g.TileSize)
	require.NoError(t, c.LlavaNext(im, dst))
	var out bytes.Buffer
	require.NoError(t, binary.Write(&out, binary.LittleEndian, dst))
	return out.Bytes()
}

func TestLlavaEqualsTransformers(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "llava.json"))
	require.NoError(t, err)
	var goldens []llavaGolden
	require.NoError(t, json.Unmarshal(text, &goldens))
	require.NotEmpty(t, goldens)
	for _, golden := range goldens {
		c := llavaConfig(t, golden.Tile, golden.Pinpoints)
		pictures := 0
		for _, want := range golden.Cases {
			name := fmt.Sprintf("tiles of %d, image of %dx%d", golden.Tile, want.Width, want.Height)
			g, err := c.Grid(want.Width, want.Height)
			require.NoError(t, err, name)
			require.Equal(t, [2]int{want.Rows, want.Cols}, [2]int{g.Rows, g.Cols}, name)
			require.Equal(t, want.Best, [2]int{g.Rows * golden.Tile, g.Cols * golden.Tile}, name)
			p := g.Packing(golden.Side)
			if want.Kept == nil {
				require.Equal(t, 0, (p.Bottom-p.Top)*(p.Right-p.Left), name)
			} else {
				require.Equal(t, want.Kept, []int{p.Top, p.Bottom, p.Left, p.Right}, name)
				require.Equal(t, want.Count, p.Features(), name)
			}
			if want.Pixels != "" {
				pictures++
				assert.Equal(t, want.Pixels, sum(llavaBytes(t, c, noise(want.Width, want.Height))), name)
			}
		}
		require.NotZero(t, pictures)
	}
}

func TestPublishedModelsPackASquare(t *testing.T) {
	dir := testenv.Shared(t)
	text, err := os.ReadFile(filepath.Join(dir, "fixtures", "checkpoints", "mllm-tiny", "preprocessor_config.json"))
	require.NoError(t, err)
	c, err := pixels.ParseConfig(text)
	require.NoError(t, err)
	g, err := c.Grid(512, 512)
	require.NoError(t, err)
	require.Equal(t, 5, g.Tiles())
	require.Equal(t, 2928, g.Packing(24).Features())
}

func TestLlavaNamesWhatItCannotUse(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "image_grid_pinpoints is missing",
		`{"image_grid_pinpoints":[[300,336]],"crop_size":336}`:                                                          "multiples of crop_size 336",
		`{"image_grid_pinpoints":[[336,336]],"crop_size":{"height":336,"width":112}}`:                                   "want a square",
		`{"image_grid_pinpoints":[[336,336]],"crop_size":336,"do_center_crop":false,"size":{"height":336,"width":336}}`: "do_center_crop",
	} {
		c, err := pixels.ParseConfig([]byte(config))
		require.NoError(t, err, config)
		_, err = c.Grid(10, 10)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, c.LlavaNext(noise(4, 4), nil), want)
	}
	c := llavaConfig(t, 28, [][2]int{{28, 28}})
	require.ErrorContains(t, c.LlavaNext(noise(4, 4), make([]float32, 7)), "want room for 2 tiles")
	require.ErrorContains(t, c.LlavaNext(nil, nil), "nil")
	_, err := c.Grid(0, 5)
	require.ErrorContains(t, err, "0x5")
}
