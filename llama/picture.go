package llama

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/pixels"
)

// Picture is a preprocessed picture: an overview and tiles, as pixels for the vision tower. It does not change and may
// be shared.
type Picture struct {
	grid    pixels.Grid
	packing pixels.Packing
	side    int       // features a side of a tile
	pixels  []float32 // [1 + rows*cols][3][TileSize][TileSize]
}

// Features returns the number of vectors that the picture becomes: so many tokens of an input.
func (p *Picture) Features() int { return p.packing.Features() }

// Tiles returns the number of square images that the vision tower sees.
func (p *Picture) Tiles() int { return p.grid.Tiles() }

// Digest identifies what the vision tower sees, and how its features are packed. Pictures of the same digest have the
// same features under one projector.
func (p *Picture) Digest() [sha256.Size]byte {
	h := sha256.New()
	g, k := p.grid, p.packing
	for _, n := range []int{g.Rows, g.Cols, g.TileSize, p.side, k.Overview, k.Top, k.Bottom, k.Left, k.Right} {
		_ = binary.Write(h, binary.LittleEndian, int64(n)) // a hash takes everything
	}
	var block [4096]byte
	for rest := p.pixels; len(rest) > 0; {
		n := min(len(rest), len(block)/4)
		for i, x := range rest[:n] {
			binary.LittleEndian.PutUint32(block[4*i:], math.Float32bits(x))
		}
		_, _ = h.Write(block[:4*n])
		rest = rest[n:]
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Preprocess turns a decoded picture into the tiles that the vision tower takes, as the checkpoint's preprocessing says.
// It fails with ErrNoProjector where the model has none, and with ErrTooLong for a picture whose vectors alone are past
// the context.
func (m *Model) Preprocess(im *pixels.Image) (*Picture, error) {
	v := m.projector
	if v == nil {
		return nil, m.missing
	}
	if im == nil {
		return nil, errors.New("llama: preprocess: the image is nil")
	}
	g, err := v.preprocess.Grid(im.Width, im.Height)
	if err != nil {
		return nil, fmt.Errorf("llama: preprocess: %w", err)
	}
	p := &Picture{grid: g, packing: g.Packing(v.side), side: v.side}
	if n := p.Features(); n > m.params.context {
		return nil, fmt.Errorf("llama: preprocess: %w", &TooLongError{Tokens: n, Limit: m.params.context})
	}
	p.pixels = make([]float32, g.Tiles()*v.tilePixels())
	if err := v.preprocess.LlavaNext(im, p.pixels); err != nil {
		return nil, fmt.Errorf("llama: preprocess: %w", err)
	}
	return p, nil
}

func (v *projector) tilePixels() int { return 3 * v.imageSize * v.imageSize }

// EncodePicture runs a picture through the vision tower and the projector: Features vectors of Width floats, which take
// the place of the image token in an Input. It fails with ErrNonFinite for features that are not finite numbers.
func (m *Model) EncodePicture(ctx context.Context, p *Picture) ([]float32, error) {
	v := m.projector
	if v == nil {
		return nil, m.missing
	}
	if p == nil || p.side != v.side || len(p.pixels) != p.Tiles()*v.tilePixels() {
		return nil, errors.New("llama: encode picture: want a picture that this model's Preprocess made")
	}
	out := make([]float32, p.Features()*m.params.width)
	err := m.compute(ctx, projectorPart, func(c *csrc.Context) error { return v.encode(ctx, c, p, out) })
	if err != nil {
		return nil, err
	}
	if !modelfile.Finite(out) {
		return nil, ErrNonFinite
	}
	return out, nil
}

// maxTiles bounds the tiles of one call to C, and with them the memory that it takes.
const maxTiles = 4

// encode writes a picture's packed features to out. The overview goes where it belongs at once; a row of tiles at a time
// is encoded aside, since its tiles' features stand line by line beside each other.
func (v *projector) encode(ctx context.Context, c *csrc.Context, p *Picture, out []float32) error {
	width, size := len(v.newline), v.tilePixels()
	overview := p.packing.Overview * width
	if err := c.EncodeTiles(ctx, p.pixels[:size], 1, out[:overview]); err != nil {
		return err
	}
	out = out[overview:]
	line := p.grid.Cols * v.side * v.side * width
	features := make([]float32, line)
	for row := range p.grid.Rows {
		first := 1 + row*p.grid.Cols
		for col := 0; col < p.grid.Cols; col += maxTiles {
			n := min(maxTiles, p.grid.Cols-col)
			at := features[col*v.side*v.side*width:][:n*v.side*v.side*width]
			if err := c.EncodeTiles(ctx, p.pixels[(first+col)*size:][:n*size], n, at); err != nil {
				return err
			}
		}
		out = p.pack(out, features, v.newline, row)
	}
	return nil
}

// pack appends to out what the packing keeps of one row of tiles, and returns what is left of out.
func (p *Picture) pack(out, features, newline []float32, row int) []float32 {
	width, side := len(newline), p.side
	for y := range side {
		if at := row*side + y; at < p.packing.Top || at >= p.packing.Bottom {
			continue
		}
		for x := p.packing.Left; x < p.packing.Right; {
			tile, left := x/side, x%side
			n := min(side-left, p.packing.Right-x)
			copy(out, features[(tile*side*side+y*side+left)*width:][:n*width])
			out = out[n*width:]
			x += n
		}
		copy(out, newline)
		out = out[width:]
	}
	return out
}
