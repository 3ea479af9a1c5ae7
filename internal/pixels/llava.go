package pixels

import (
	"errors"
	"fmt"
	"math"
)

// Grid is how a LLaVA-NeXT model cuts an image of a certain size: into Rows by Cols tiles, after an overview.
type Grid struct {
	Width, Height int // of the image
	Rows, Cols    int
	TileSize      int // pixels a side
	Overview      int // pixels a side of the image that the overview is cut from; usually TileSize
}

// Tiles returns the number of square images that the vision tower sees: the overview and the tiles.
func (g Grid) Tiles() int { return 1 + g.Rows*g.Cols }

// Grid returns how an image of w by h pixels is cut. It picks the resolution of image_grid_pinpoints that keeps most of
// the image's pixels, and of several such the one that wastes least. It fails where the configuration is none of a
// LlavaNextImageProcessor's: no pinpoints, pinpoints that aren't whole tiles, or tiles that aren't square.
func (c *Config) Grid(w, h int) (Grid, error) {
	if err := c.checkLlava(); err != nil {
		return Grid{}, err
	}
	if w < 1 || h < 1 {
		return Grid{}, fmt.Errorf("pixels: llava: image of %dx%d pixels: want at least 1x1", w, h)
	}
	best := c.bestResolution(w, h)
	side := c.shortest
	if side == 0 {
		side = min(c.sizeW, c.sizeH)
	}
	return Grid{Width: w, Height: h, Rows: best[0] / c.cropH, Cols: best[1] / c.cropW, TileSize: c.cropW, Overview: side}, nil
}

func (c *Config) checkLlava() error {
	switch {
	case len(c.pinpoints) == 0:
		return errors.New("pixels: llava: image_grid_pinpoints is missing from preprocessor_config.json")
	case !c.crop || c.cropW != c.cropH:
		return fmt.Errorf("pixels: llava: crop_size: want a square with do_center_crop, got %dx%d", c.cropW, c.cropH)
	}
	for i, p := range c.pinpoints {
		if p[0]%c.cropH != 0 || p[1]%c.cropW != 0 {
			return fmt.Errorf("pixels: llava: image_grid_pinpoints[%d]: want multiples of crop_size %d, got %d and %d",
				i, c.cropW, p[0], p[1])
		}
	}
	return nil
}

// bestResolution returns the pinpoint, height and width, for an image.
func (c *Config) bestResolution(w, h int) [2]int {
	var best [2]int
	most, least := 0, math.MaxInt
	for _, p := range c.pinpoints {
		scale := min(float64(p[1])/float64(w), float64(p[0])/float64(h))
		used := min(int(float64(w)*scale)*int(float64(h)*scale), w*h)
		wasted := p[0]*p[1] - used
		if used > most || used == most && wasted < least {
			best, most, least = p, used, wasted
		}
	}
	return best
}

// fit returns the largest size of the image's shape that fits into the resolution.
func fit(w, h int, resolution [2]int) (fw, fh int) {
	scaleW, scaleH := float64(resolution[1])/float64(w), float64(resolution[0])/float64(h)
	if scaleW < scaleH {
		return resolution[1], min(int(math.Ceil(float64(h)*scaleW)), resolution[0])
	}
	return min(int(math.Ceil(float64(w)*scaleH)), resolution[1]), resolution[0]
}

// LlavaNext writes the pixels that LlavaNextImageProcessor makes of im: the overview, then the tiles row by row, each of
// three planes of TileSize by TileSize, normalised as CLIP does it. im is converted to RGB first; resizing it in its own
// mode, as the published models' code does before that, is the caller's step. len(dst) must be g.Tiles()*3*TileSize², g
// being Grid(im.Width, im.Height). It fails for a wrong length and wherever Grid fails.
func (c *Config) LlavaNext(im *Image, dst []float32) error {
	if im == nil {
		return errors.New("pixels: llava: the image is nil")
	}
	if err := im.check(); err != nil {
		return err
	}
	g, err := c.Grid(im.Width, im.Height)
	if err != nil {
		return err
	}
	n := 3 * g.TileSize * g.TileSize
	if len(dst) != n*g.Tiles() {
		return fmt.Errorf("pixels: llava: want room for %d tiles of 3x%dx%d pixels, got %d", g.Tiles(), g.TileSize, g.TileSize, len(dst))
	}
	im = im.RGB()
	overview, err := im.Resize(g.Overview, g.Overview, c.filter)
	if err != nil {
		return err
	}
	if err := c.CLIP(overview, dst[:n]); err != nil {
		return err
	}
	padded, err := c.fitted(im, [2]int{g.Rows * g.TileSize, g.Cols * g.TileSize})
	if err != nil {
		return err
	}
	for i := range g.Rows * g.Cols {
		x, y := i%g.Cols*g.TileSize, i/g.Cols*g.TileSize
		// An odd margin leaves the last tiles a pixel short; CLIP's own resize makes up for it, as in the reference.
		tile := padded.crop(region{x, y, min(x+g.TileSize, padded.Width), min(y+g.TileSize, padded.Height)})
		if err := c.CLIP(tile, dst[(1+i)*n:][:n]); err != nil {
			return err
		}
	}
	return nil
}

// fitted returns the image scaled into the resolution, between equal black margins.
func (c *Config) fitted(im *Image, resolution [2]int) (*Image, error) {
	w, h := fit(im.Width, im.Height, resolution)
	im, err := im.Resize(w, h, c.filter)
	if err != nil {
		return nil, err
	}
	// The reference computes the margins from the size that the scaled image would be scaled to.
	w, h = fit(im.Width, im.Height, resolution)
	x, y := (resolution[1]-w)/2, (resolution[0]-h)/2
	if x == 0 && y == 0 {
		return im, nil
	}
	return im.pad(im.Width+2*x, im.Height+2*y, x, y), nil
}

// Packing is which of a grid's features a LLaVA-NeXT model puts in place of an image: those of the overview, then rows
// of the joined tiles, each followed by the newline.
type Packing struct {
	Overview    int // features of the overview
	Top, Bottom int // the rows kept of the joined tiles: [Top, Bottom)
	Left, Right int // the columns kept
}

// Features returns the number of vectors: the overview's, and for every kept row its columns and the newline.
func (p Packing) Features() int {
	return p.Overview + (p.Bottom-p.Top)*(p.Right-p.Left+1)
}

// Packing returns which features stay when a tile has side by side features: the rows or columns that lie in the
// margins are cut.
func (g Grid) Packing(side int) Packing {
	rows, cols := g.Rows*side, g.Cols*side
	p := Packing{Overview: side * side, Bottom: rows, Right: cols}
	if float64(g.Width)/float64(g.Height) > float64(cols)/float64(rows) {
		scale := float64(cols) / float64(g.Width)
		p.Top = (rows - int(float64(g.Height)*scale)) / 2
		p.Bottom = rows - p.Top
	} else {
		scale := float64(rows) / float64(g.Height)
		p.Left = (cols - int(float64(g.Width)*scale)) / 2
		p.Right = cols - p.Left
	}
	return p
}
