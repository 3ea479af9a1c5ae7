package llama_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// TestPictures encodes pictures of many shapes: each makes as many vectors as it says, those of the overview first, and
// each row of the joined tiles ends with the newline.
func TestPictures(t *testing.T) {
	model, projector := llamatest.Model(), llamatest.Projector()
	newline := projector.Tensor("model.image_newline").Data
	m := open(t, model, projector, nil)
	const overview = 16
	for _, c := range []struct{ w, h, tiles, features int }{
		{48, 48, 5, overview + 8*9},
		{40, 20, 3, overview + 4*9},   // 1x2, the whole plane
		{20, 40, 3, overview + 8*5},   // 2x1
		{300, 80, 4, overview + 4*13}, // 1x3, of which one line a side lies in the margin or none
		{50, 140, 4, overview + 12*5},
		{72, 48, 7, overview + 8*13}, // 2x3
		{500, 10, 4, overview},
		{1, 2, 3, overview + 4*3}, {2, 1, 3, overview + 4*9},
	} {
		p, err := m.Preprocess(picture(c.w, c.h))
		require.NoError(t, err)
		assert.Equal(t, c.tiles, p.Tiles(), "%dx%d", c.w, c.h)
		assert.Equal(t, c.features, p.Features(), "%dx%d", c.w, c.h)
		features := encoded(t, m, c.w, c.h)
		lines := 0
		for at := 0; at < len(features); at += llamatest.Width {
			if assert.ObjectsAreEqual(newline, features[at:at+llamatest.Width]) {
				lines++
			}
		}
		if c.features == overview { // so flat that no line of features lies within it
			assert.Zero(t, lines)
		} else {
			require.Positive(t, lines, "%dx%d", c.w, c.h)
			assert.Zero(t, (p.Features()-overview)%lines)
			assert.Equal(t, newline, features[len(features)-llamatest.Width:], "the last line ends too")
		}
		states := spanStates(t, m, c.w, c.h)
		assert.Len(t, states, 3*llamatest.Width)
	}
}

// TestSpan puts a picture's vectors where the reader of tokens would: a span of single vectors, each an input's picture
// of one vector, is the same.
func TestSpan(t *testing.T) {
	m := whole(t, nil)
	features := encoded(t, m, 30, 90)
	one := llama.Input{Tokens: tokenize(t, m, "the<image> cat"), Images: [][]float32{features}}
	ids := tokenize(t, m, "the<image> cat")
	var many llama.Input
	for _, id := range ids {
		if id != llamatest.Image() {
			many.Tokens = append(many.Tokens, id)
			continue
		}
		for at := 0; at < len(features); at += llamatest.Width {
			many.Tokens = append(many.Tokens, id)
			many.Images = append(many.Images, features[at:at+llamatest.Width])
		}
	}
	states, err := m.HiddenStates(context.Background(), []llama.Input{one, many})
	require.NoError(t, err)
	requireAlike(t, states[0], states[1], "span")

	// A picture is seen: another one gives other states.
	other := llama.Input{Tokens: ids, Images: [][]float32{encoded(t, m, 90, 30)}}
	changed, err := m.HiddenStates(context.Background(), []llama.Input{other})
	require.NoError(t, err)
	assert.Less(t, cosine(states[0], changed[0]), 0.9999)
}

func TestPictureDigest(t *testing.T) {
	m := whole(t, nil)
	digest := func(im *pixels.Image) [32]byte {
		p, err := m.Preprocess(im)
		require.NoError(t, err)
		return p.Digest()
	}
	base := digest(picture(30, 40))
	assert.Equal(t, base, digest(picture(30, 40)))
	assert.NotEqual(t, base, digest(picture(40, 30)))
	changed := picture(30, 40)
	changed.Pix[5] ^= 255
	assert.NotEqual(t, base, digest(changed))
	// Black pictures of two shapes have the same pixels but not the same packing.
	black := func(w, h int) *pixels.Image {
		return &pixels.Image{Mode: pixels.RGB, Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	}
	assert.NotEqual(t, digest(black(48, 48)), digest(black(48, 40)))
}

func TestPictureRefused(t *testing.T) {
	m := whole(t, nil)
	_, err := m.Preprocess(nil)
	assert.ErrorContains(t, err, "nil")
	_, err = m.Preprocess(&pixels.Image{})
	assert.Error(t, err)
	_, err = m.EncodePicture(context.Background(), nil)
	assert.ErrorContains(t, err, "Preprocess")
	_, err = m.EncodePicture(context.Background(), &llama.Picture{})
	assert.ErrorContains(t, err, "Preprocess")

	small := whole(t, &llama.Options{Context: 80})
	_, err = small.Preprocess(picture(48, 48))
	require.ErrorIs(t, err, llama.ErrTooLong)
	assert.ErrorContains(t, err, "88 tokens")
	p, err := small.Preprocess(picture(20, 40))
	require.NoError(t, err)
	features, err := small.EncodePicture(context.Background(), p)
	require.NoError(t, err)
	_, err = small.HiddenStates(context.Background(), []llama.Input{{Tokens: append(make([]int32, 26), llamatest.Image()), Images: [][]float32{features}}})
	require.ErrorIs(t, err, llama.ErrTooLong)
	assert.ErrorContains(t, err, "82 tokens long, the limit is 80")
}

// TestManyTiles encodes a row of tiles that takes several calls. They show the same, so that their features are the same.
func TestManyTiles(t *testing.T) {
	const tiles, side = 6, llamatest.TileSize
	f := llamatest.Projector()
	delete(f.Keys, "bgevl.preprocessor_config")
	f.Keys["clip.vision.image_grid_pinpoints"] = []int32{side, tiles * side}
	m := open(t, llamatest.Model(), f, nil)
	im := picture(tiles*side, side)
	for y := range side {
		line := im.Pix[3*y*tiles*side:][:3*tiles*side]
		for tile := 1; tile < tiles; tile++ {
			copy(line[3*tile*side:], line[:3*side])
		}
	}
	p, err := m.Preprocess(im)
	require.NoError(t, err)
	features, err := m.EncodePicture(context.Background(), p)
	require.NoError(t, err)
	const patches = side / llamatest.PatchSize
	require.Len(t, features, (patches*patches+patches*(tiles*patches+1))*llamatest.Width)
	rest := features[patches*patches*llamatest.Width:]
	for range patches {
		first := rest[:patches*llamatest.Width]
		for tile := 1; tile < tiles; tile++ {
			requireAlike(t, first, rest[tile*patches*llamatest.Width:][:patches*llamatest.Width], "tile %d", tile)
		}
		rest = rest[(tiles*patches+1)*llamatest.Width:]
	}
}
