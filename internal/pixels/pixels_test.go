package pixels_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

func TestConstantImageStaysConstantThroughCLIP(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 300, 200))
	for i := range src.Pix {
		src.Pix[i] = []byte{255, 128, 0, 255}[i%4]
	}
	var file bytes.Buffer
	require.NoError(t, png.Encode(&file, src))
	im, err := pixels.Decode(file.Bytes(), pixels.Limits{})
	require.NoError(t, err)
	require.Equal(t, pixels.RGB, im.Mode)
	c, err := pixels.ParseConfig([]byte(`{}`))
	require.NoError(t, err)
	dst := make([]float32, 3*224*224)
	require.NoError(t, c.CLIP(im, dst))
	want := []float32{(1 - 0.48145466) / 0.26862954, (128.0/255 - 0.4578275) / 0.26130258, (0 - 0.40821073) / 0.27577711}
	for i, v := range dst {
		require.InDelta(t, want[i/(224*224)], v, 1e-6)
	}
}

func TestFromImageKeepsWhatTheTypeStandsFor(t *testing.T) {
	grey := image.NewGray16(image.Rect(2, 3, 4, 4))
	grey.SetGray16(3, 3, color.Gray16{Y: 0x1234})
	im, err := pixels.FromImage(grey)
	require.NoError(t, err)
	require.Equal(t, pixels.I16, im.Mode)
	require.Equal(t, []byte{0, 0, 0x34, 0x12}, im.Pix)
}
