package llama

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// TestPack compares the packing with the plain way: join the tiles' features to one plane, cut the margins of the
// picture's shape, put the newline behind each line. Features are numbered so that every one tells where it comes from.
func TestPack(t *testing.T) {
	const side, width, newline = 4, 2, -1
	for _, g := range []pixels.Grid{
		{Width: 24, Height: 24, Rows: 2, Cols: 2}, {Width: 100, Height: 30, Rows: 1, Cols: 3}, {Width: 30, Height: 100, Rows: 3, Cols: 1},
		{Width: 9, Height: 10, Rows: 1, Cols: 1}, {Width: 70, Height: 50, Rows: 2, Cols: 3}, {Width: 50, Height: 80, Rows: 3, Cols: 2},
		{Width: 41, Height: 19, Rows: 1, Cols: 2}, {Width: 13, Height: 90, Rows: 5, Cols: 1}, {Width: 300, Height: 31, Rows: 1, Cols: 7},
		{Width: 1000, Height: 1, Rows: 1, Cols: 2}, {Width: 1, Height: 1000, Rows: 2, Cols: 1},
	} {
		t.Run(fmt.Sprintf("%dx%d in %dx%d", g.Width, g.Height, g.Cols, g.Rows), func(t *testing.T) {
			p := &Picture{grid: g, packing: g.Packing(side), side: side}
			feature := func(row, tile, y, x int) float32 {
				return float32(((row*g.Cols+tile)*side+y)*side + x)
			}
			rows, cols := g.Rows*side, g.Cols*side
			want := []float32{}
			top, left := margins(g, rows, cols)
			for y := top; y < rows-top; y++ {
				for x := left; x < cols-left; x++ {
					want = append(want, feature(y/side, x/side, y%side, x%side), 0)
				}
				want = append(want, newline, newline)
			}
			got := make([]float32, p.Features()*width)[side*side*width:] // without the overview
			out := got
			for row := range g.Rows {
				features := make([]float32, 0, g.Cols*side*side*width)
				for i := range g.Cols * side * side {
					features = append(features, feature(row, i/side/side, i/side%side, i%side), 0)
				}
				out = p.pack(out, features, []float32{newline, newline}, row)
			}
			require.Empty(t, out)
			require.Equal(t, want, got)
		})
	}
}

// margins returns how many lines and columns of the joined tiles lie outside of the picture, on each side.
func margins(g pixels.Grid, rows, cols int) (top, left int) {
	if float64(g.Width)/float64(g.Height) > float64(cols)/float64(rows) {
		return (rows - int(float64(g.Height)*(float64(cols)/float64(g.Width)))) / 2, 0
	}
	return 0, (cols - int(float64(g.Width)*(float64(rows)/float64(g.Height)))) / 2
}
