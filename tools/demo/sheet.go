package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/bgevl/bgevl/internal/scenes"
)

// shown is how many results a query's row has.
const shown = 5

// embedding is a line of bgevl embed.
type embedding struct {
	ID     string    `json:"id"`
	Vector []float32 `json:"embedding"`
	Error  string    `json:"error"`
}

// A match is a picture and its score.
type match struct {
	name  string
	score float32
	right bool
}

// sheet ranks the pictures for each query, prints the best, and draws them.
func sheet(dir, name string) error {
	found, err := readEmbeddings(filepath.Join(dir, name+".pictures.jsonl"))
	if err != nil {
		return err
	}
	asked, err := readEmbeddings(filepath.Join(dir, name+".queries.jsonl"))
	if err != nil {
		return err
	}
	all, list := collection(), questions()
	if len(found) != len(all) || len(asked) != len(list) {
		return fmt.Errorf("%s has embeddings of %d pictures and %d queries: want %d and %d: run demo draw and embed anew", dir,
			len(found), len(asked), len(all), len(list))
	}
	p, err := newPage(len(list), fmt.Sprintf("%s: a picture and a text, and the best of %d pictures", name, len(all)))
	if err != nil {
		return err
	}
	for i, q := range list {
		best := rank(asked[i].Vector, found, func(j int) bool { return all[j] == q.to })[:shown]
		fmt.Printf("%-12s + %-14q", asked[i].ID, q.text)
		for _, m := range best {
			fmt.Printf("  %s %.3f%s", m.name, m.score, map[bool]string{true: " (the answer)"}[m.right])
		}
		fmt.Println()
		if err := p.row(i, filepath.Join(dir, pictures), asked[i].ID, q.text, best); err != nil {
			return err
		}
	}
	return writePNG(filepath.Join(dir, name+".png"), p.RGBA)
}

// readEmbeddings reads what bgevl embed wrote.
func readEmbeddings(path string) ([]embedding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []embedding
	for dec := json.NewDecoder(bufio.NewReader(f)); ; {
		var e embedding
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err == nil && e.Error != "" {
			err = errors.New(e.Error)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(list)+1, err)
		}
		list = append(list, e)
	}
}

// rank orders the pictures by their inner product with the query, the best first.
func rank(query []float32, found []embedding, right func(int) bool) []match {
	list := make([]match, len(found))
	for i, e := range found {
		list[i] = match{name: e.ID, right: right(i)}
		for j, v := range e.Vector {
			list[i].score += v * query[j]
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].score > list[j].score })
	return list
}

// The page's measures, in pixels.
const (
	margin  = 36
	gap     = 18
	label   = 30 // under a picture
	heading = 84
	plus    = 210 // the column of the text
	frame   = 5
	rowStep = scenes.Side + label + 34
)

// A page is the sheet while it is drawn.
type page struct {
	*image.RGBA
	title, text, small font.Face
}

func (page) ink() color.Color    { return color.RGBA{32, 34, 40, 255} }
func (page) pale() color.Color   { return color.RGBA{118, 122, 132, 255} }
func (page) answer() color.Color { return color.RGBA{22, 150, 80, 255} }

func newPage(rows int, title string) (*page, error) {
	width := 2*margin + scenes.Side + plus + shown*scenes.Side + (shown-1)*gap
	p := &page{RGBA: image.NewRGBA(image.Rect(0, 0, width, heading+rows*rowStep+margin))}
	draw.Draw(p, p.Rect, image.NewUniform(color.RGBA{250, 250, 248, 255}), image.Point{}, draw.Src)
	for _, f := range []struct {
		face *font.Face
		data []byte
		size float64
	}{{&p.title, gobold.TTF, 24}, {&p.text, gobold.TTF, 21}, {&p.small, goregular.TTF, 16}} {
		parsed, err := opentype.Parse(f.data)
		if err != nil {
			return nil, err
		}
		if *f.face, err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: f.size, DPI: 72, Hinting: font.HintingFull}); err != nil {
			return nil, err
		}
	}
	p.write(p.title, p.ink(), title, margin, 48)
	return p, nil
}

// row draws a query and its results.
func (p *page) row(i int, dir, query, text string, best []match) error {
	y := heading + i*rowStep
	if err := p.picture(filepath.Join(dir, query), margin, y, p.pale(), 1); err != nil {
		return err
	}
	p.write(p.small, p.pale(), "query", margin, y+scenes.Side+22)
	x := margin + scenes.Side
	p.centred(p.text, p.ink(), "+ \u201c"+text+"\u201d", x, x+plus, y+scenes.Side/2+7)
	for j, m := range best {
		x := margin + scenes.Side + plus + j*(scenes.Side+gap)
		caption, col, border := fmt.Sprintf("%d    %.3f", j+1, m.score), p.pale(), 1
		if m.right {
			caption, col, border = caption+"    the answer", p.answer(), frame
		}
		if err := p.picture(filepath.Join(dir, m.name), x, y, col, border); err != nil {
			return err
		}
		p.write(p.small, col, caption, x, y+scenes.Side+22)
	}
	return nil
}

// picture draws a file with a frame around it.
func (p *page) picture(path string, x, y int, col color.Color, border int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := im.Bounds().Add(image.Pt(x, y))
	draw.Draw(p, r.Inset(-border), image.NewUniform(col), image.Point{}, draw.Src)
	draw.Draw(p, r, im, image.Point{}, draw.Src)
	return nil
}

// write writes a line that begins at x, with its letters standing on y.
func (p *page) write(face font.Face, col color.Color, s string, x, y int) {
	d := font.Drawer{Dst: p, Src: image.NewUniform(col), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(s)
}

// centred writes a line in the middle between two columns.
func (p *page) centred(face font.Face, col color.Color, s string, left, right, y int) {
	width := font.MeasureString(face, s).Ceil()
	p.write(face, col, s, left+(right-left-width)/2, y)
}
