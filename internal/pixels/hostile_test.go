package pixels_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// pngClaiming is a PNG whose header states a size and whose pixels are those of a tiny file.
func pngClaiming(t *testing.T, w, h uint32) []byte {
	t.Helper()
	data := picture(t, "rgb8.png")
	binary.BigEndian.PutUint32(data[16:], w)
	binary.BigEndian.PutUint32(data[20:], h)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

func picture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pillow", name))
	require.NoError(t, err)
	return data
}

// patched returns a copy of a picture with bytes replaced.
func patched(t *testing.T, name string, at int, with ...byte) []byte {
	t.Helper()
	data := picture(t, name)
	copy(data[at:], with)
	return data
}

// jpegClaiming rewrites the size in a JPEG's frame header.
func jpegClaiming(t *testing.T, name string, w, h uint16) []byte {
	t.Helper()
	data := picture(t, name)
	for i := 0; i+9 < len(data); i++ {
		if data[i] == 0xff && (data[i+1] == 0xc0 || data[i+1] == 0xc2) && data[i+2] == 0 {
			binary.BigEndian.PutUint16(data[i+5:], h)
			binary.BigEndian.PutUint16(data[i+7:], w)
			return data
		}
	}
	t.Fatal("no frame header in " + name)
	return nil
}

type verdict struct {
	name string
	data []byte
	want string // part of the error; empty where the file must decode
	size bool   // the error is one of the limits
}

func hostile(t *testing.T) []verdict {
	cut := func(name string, keep float64) []byte {
		data := picture(t, name)
		return data[:int(float64(len(data))*keep)]
	}
	return []verdict{
		{"PNG of 65,535 squared", pngClaiming(t, 65535, 65535), "longer than 16384", true},
		{"PNG of 2^31-1 squared", pngClaiming(t, 1<<31-1, 1<<31-1), "longer than 16384", true},
		{"PNG of 20000x1", pngClaiming(t, 20000, 1), "20000x1", true},
		{"PNG of 1x20000", pngClaiming(t, 1, 20000), "1x20000", true},
		{"PNG of 16384x16384", pngClaiming(t, 16384, 16384), "more than 67108864", true},
		{"PNG of 0x5", pngClaiming(t, 0, 5), "at least 1x1", false},
		{"PNG with 8192x8192 claimed and a few bytes", pngClaiming(t, 8192, 8192), "PNG", false},
		{"JPEG of 65,500 squared", jpegClaiming(t, "420_q75.jpg", 65500, 65500), "longer than 16384", true},
		{"progressive JPEG of 65,500 squared", jpegClaiming(t, "420_progressive.jpg", 65500, 65500), "longer than 16384", true},
		{"JPEG of 16000x8000", jpegClaiming(t, "420_q75.jpg", 16000, 8000), "more than 67108864", true},
		{"JPEG that claims 8000x8000", jpegClaiming(t, "420_q75.jpg", 8000, 8000), "truncated", false},
		{"JPEG with no height", jpegClaiming(t, "420_q75.jpg", 37, 0), "at least 1x1", false},
		{"GIF canvas of 65,535 squared", patched(t, "global.gif", 6, 0xff, 0xff, 0xff, 0xff), "longer than 16384", true},
		{"WebP canvas of 2^24 squared", patched(t, "lossy_alpha.webp", 24, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "longer than 16384", true},
		{"WebP canvas larger than its picture", patched(t, "lossy_alpha.webp", 24, 0xff, 0x0f, 0, 0xff, 0x0f, 0), "doesn't fit", false},
		{"BMP of 2^31-1 squared", patched(t, "rgb24.bmp", 18, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f), "longer than 16384", true},
		{"BMP with a negative width", patched(t, "rgb24.bmp", 18, 0xff, 0xff, 0xff, 0xff), "longer than 16384", true},
		{"BMP that claims 8192x8192", patched(t, "rgb24.bmp", 18, 0, 0x20, 0, 0, 0, 0x20, 0, 0), "truncated", false},
		{"TIFF cut in its tags", picture(t, "hand_rgb_big.tiff")[:60], "truncated", false},
		{"TIFF without its tail", cut("hand_rgb_big.tiff", 0.5), "truncated", false},
		{"one pixel", picture(t, "one.png"), "", false},
		{"1xN", picture(t, "column.png"), "", false},
		{"Nx1", picture(t, "row.png"), "", false},
		{"CMYK JPEG", picture(t, "cmyk_ink.jpg"), "", false},
		{"JPEG cut at 60%", cut("420_q75.jpg", 0.6), "truncated", false},
		{"progressive JPEG cut at 90%", cut("420_progressive.jpg", 0.9), "truncated", false},
		{"PNG cut at 50%", cut("rgba16.png", 0.5), "PNG", false},
		{"GIF cut at 50%", cut("global.gif", 0.5), "truncated", false},
		{"lossy WebP cut at 50%", cut("lossy_q50.webp", 0.5), "truncated", false},
		{"lossless WebP cut at 50%", cut("lossless.webp", 0.5), "truncated", false},
		{"BMP cut at 50%", cut("rgb24.bmp", 0.5), "truncated", false},
		{"run-length BMP cut at 50%", cut("rle8.bmp", 0.9), "truncated", false},
		{"LZW TIFF with a damaged strip", patched(t, "rgb_tiff_lzw.tiff", 200, bytes.Repeat([]byte{0xff}, 300)...), "", false},
		{"text", []byte("<svg onload=alert(1)>"), "want a JPEG, PNG, GIF, WebP, BMP or TIFF", false},
		{"nothing", nil, "no bytes", false},
	}
}

func TestHostileImagesGetTheRightVerdict(t *testing.T) {
	for _, v := range hostile(t) {
		t.Run(v.name, func(t *testing.T) {
			im, err := pixels.Decode(v.data, pixels.Limits{})
			if strings.HasPrefix(v.name, "LZW") {
				return // either verdict is right; that there is one is what counts
			}
			if v.want == "" {
				require.NoError(t, err)
				require.NotEmpty(t, im.Pix)
				return
			}
			require.ErrorContains(t, err, v.want)
			require.ErrorContains(t, err, "pixels: ")
			assert.Nil(t, im)
			assert.Equal(t, v.size, errors.Is(err, pixels.ErrLimit), err)
		})
	}
}

// rejectionBytes is the most that a refused file may make the decoder allocate.
const rejectionBytes = 64 << 20

// TestRejectionsAllocateLittle must not run beside other tests: it reads the process's own count of bytes.
func TestRejectionsAllocateLittle(t *testing.T) {
	for _, v := range hostile(t) {
		if v.want == "" {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := pixels.Decode(v.data, pixels.Limits{})
		runtime.ReadMemStats(&after)
		require.Error(t, err)
		assert.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(rejectionBytes), v.name)
	}
}

func TestHostileImagesEightAtOnce(t *testing.T) {
	all := hostile(t)
	done := make(chan error, 8)
	for range 8 {
		go func() {
			var first error
			for _, v := range all {
				_, err := pixels.Decode(v.data, pixels.Limits{})
				if v.want != "" && err == nil {
					first = errors.Join(first, errors.New(v.name+": accepted"))
				}
			}
			done <- first
		}()
	}
	for range 8 {
		require.NoError(t, <-done)
	}
}

func TestLimitsAreTheCallers(t *testing.T) {
	data := picture(t, "rgb8.png") // 37x29
	_, err := pixels.Decode(data, pixels.Limits{MaxSide: 36})
	require.ErrorIs(t, err, pixels.ErrLimit)
	_, err = pixels.Decode(data, pixels.Limits{MaxPixels: 37*29 - 1})
	require.ErrorIs(t, err, pixels.ErrLimit)
	_, err = pixels.Decode(data, pixels.Limits{MaxPixels: 37 * 29, MaxSide: 37})
	require.NoError(t, err)
}

func TestUnknownDataIsErrFormat(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("GIF88a"), []byte("RIFF\x04\x00\x00\x00WAVEfmt "), bytes.Repeat([]byte{0}, 100)} {
		_, err := pixels.Decode(data, pixels.Limits{})
		require.ErrorIs(t, err, pixels.ErrFormat)
	}
}

func TestContentCountsAndNotTheName(t *testing.T) {
	im, err := pixels.Decode(picture(t, "grey.jpg"), pixels.Limits{})
	require.NoError(t, err)
	require.Equal(t, pixels.L, im.Mode)
}
