package pixels_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// mutants returns how many damaged files to try: BGEVL_MUTANTS, or def.
func mutants(t *testing.T, def int) int {
	t.Helper()
	if s := os.Getenv("BGEVL_MUTANTS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, "BGEVL_MUTANTS")
		return n
	}
	if testing.Short() {
		return def / 10
	}
	return def
}

// mutate damages a file in one of the ways that find faults: flipped bits, extreme bytes and words, cuts, repeats.
func mutate(r *rand.Rand, data []byte) []byte {
	out := append([]byte(nil), data...)
	for range 1 + r.IntN(8) {
		if len(out) < 8 {
			return out
		}
		// Headers are where the structure is, so half of the damage is done there.
		at := r.IntN(len(out))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(out), 200))
		}
		switch r.IntN(7) {
		case 0, 1:
			out[at] ^= 1 << r.IntN(8)
		case 2:
			out[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		case 3:
			out[at] = byte(r.Uint32())
		case 4:
			if r.IntN(4) == 0 {
				out = out[:at]
			}
		case 5:
			n := min(1+r.IntN(32), len(out)-at)
			out = append(out[:at:at], append(append([]byte(nil), out[at:at+n]...), out[at:]...)...)
		default:
			n := min(1+r.IntN(16), len(out)-at)
			out = append(out[:at:at], out[at+n:]...)
		}
	}
	return out
}

// maxMutantTime is far above what a small file takes; a hang is far above it.
const maxMutantTime = 10 * time.Second

// TestMutantsNeverEndTheProcess decodes damaged files of every format. What is wrong with one must come back as an
// error, within the limits, and an image that comes back must keep its contract.
func TestMutantsNeverEndTheProcess(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "pillow", "*.*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var seeds [][]byte
	for _, f := range files {
		if filepath.Ext(f) == ".json" {
			continue
		}
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		seeds = append(seeds, data)
	}
	const seed = 20
	r := rand.New(rand.NewPCG(seed, seed))
	limits := pixels.Limits{MaxPixels: 1 << 20, MaxSide: 4096}
	accepted := 0
	n := mutants(t, 6000)
	for i := range n {
		data := mutate(r, seeds[i%len(seeds)])
		start := time.Now()
		im, err := pixels.Decode(data, limits)
		require.Less(t, time.Since(start), maxMutantTime, "mutant %d of %s", i, files[i%len(seeds)])
		if err != nil {
			require.Nil(t, im)
			// A panic of a decoder becomes an error; the decoders of this package must not need that.
			if strings.Contains(err.Error(), "the decoder gave up") {
				require.Regexp(t, "^pixels: (PNG|WebP):", err.Error())
			}
			continue
		}
		accepted++
		require.Len(t, im.Pix, im.Width*im.Height*im.Mode.Channels())
		require.Len(t, im.RGB().Pix, im.Width*im.Height*3)
		_, err = im.Resize(9, 7, pixels.Bicubic)
		require.NoError(t, err)
	}
	require.NotZero(t, accepted)
	t.Logf("%d mutants, %d decoded", n, accepted)
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"420_q30.jpg", "420_progressive.jpg", "restart_progressive.jpg", "ycck.jpg", "size_3x5_420.jpg",
		"one.png", "palette_trns.png", "grey1.png", "rgba8_interlaced.png", "offset.gif", "interlaced.gif", "rle8.bmp", "rle4.bmp",
		"rgb565.bmp", "palette1.bmp", "bilevel_group3.tiff", "bilevel_group4.tiff", "hand_tiles_deflate.tiff", "hand_planar_tiles.tiff",
		"palette.tiff", "lossy_alpha.webp", "lossless_palette.webp", "size_3x3.webp", "animated.webp"} {
		f.Add(picture(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := pixels.Decode(data, pixels.Limits{MaxPixels: 1 << 18, MaxSide: 2048})
		if err != nil {
			if im != nil {
				t.Fatal("an image came with an error")
			}
			return
		}
		if len(im.Pix) != im.Width*im.Height*im.Mode.Channels() || im.Width*im.Height > 1<<18 {
			t.Fatalf("mode %s, %dx%d, %d bytes", im.Mode, im.Width, im.Height, len(im.Pix))
		}
		if im.Mode == pixels.P && len(im.Palette) != 768 {
			t.Fatalf("palette of %d bytes", len(im.Palette))
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"size":{"shortest_edge":224},"crop_size":224,"resample":3,"image_mean":[0.5,0.5,0.5]}`))
	f.Add([]byte(`{"size":[1,2],"image_std":0.1,"rescale_factor":1e300}`))
	f.Add([]byte(`{"image_grid_pinpoints":[[336,672],[672,336]],"crop_size":{"height":336,"width":336}}`))
	im := noise(5, 3)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := pixels.ParseConfig(data)
		if err != nil {
			return
		}
		w, h := c.OutputSize()
		if w < 1 || h < 1 || w > 512 || h > 512 {
			return // valid, and slow to compute
		}
		dst := make([]float32, 3*w*h)
		if err := c.CLIP(im, dst); err != nil {
			t.Fatal(err)
		}
		for _, v := range dst {
			if v != v {
				t.Fatal("a pixel is not a number")
			}
		}
	})
}
