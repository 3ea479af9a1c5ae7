package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// streams are the three ends of the process.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// complain writes one line to standard error. Package bgevl's errors begin with the program's name already.
func (s *streams) complain(text string) {
	fmt.Fprintln(s.err, "bgevl: "+oneLine(strings.TrimPrefix(text, "bgevl: ")))
}

// terminalWidth is assumed where a terminal does not say.
const terminalWidth = 80

// isTerminal reports whether a person is at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width returns how many columns the terminal behind out has.
func (s *streams) width() int {
	if f, ok := s.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return terminalWidth
}

// A column is a heading and how its cells stand.
type column struct {
	name  string
	right bool // numbers: aligned right
	give  bool // the column that is cut, cell by cell, where the table is wider than the terminal
}

// table prints rows under headings: in boxes on a terminal, in aligned columns and uncut anywhere else.
func (s *streams) table(columns []column, rows [][]string) {
	t := table.NewWriter()
	t.SetOutputMirror(s.out)
	t.SuppressTrailingSpaces()
	header, configs := make(table.Row, len(columns)), make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		header[i] = c.name
		configs[i] = table.ColumnConfig{Number: i + 1}
		if c.right {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	if isTerminal(s.out) {
		t.SetStyle(table.StyleLight)
		fit(configs, columns, rows, s.width())
	} else {
		t.SetStyle(plainStyle())
	}
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		t.AppendRow(cells)
	}
	t.Render()
}

// plainStyle is columns two spaces apart and nothing drawn.
func plainStyle() table.Style {
	st := table.StyleDefault
	st.Name = "plain"
	st.Options = table.OptionsNoBordersAndSeparators
	st.Box.PaddingLeft, st.Box.PaddingRight = "", "  "
	return st
}

// fit narrows the columns that give so that the boxed table is at most width columns wide.
func fit(configs []table.ColumnConfig, columns []column, rows [][]string, width int) {
	const frame, minimum = 3, 12 // a rule and two spaces a cell; no narrower than a word
	free, giving := width-1, 0
	for i, c := range columns {
		free -= frame
		if c.give {
			giving++
			continue
		}
		w := text.RuneWidthWithoutEscSequences(c.name)
		for _, row := range rows {
			w = max(w, text.RuneWidthWithoutEscSequences(printable(row[i])))
		}
		free -= w
	}
	for i, c := range columns {
		if c.give {
			configs[i].WidthMax = max(minimum, free/giving)
			configs[i].WidthMaxEnforcer = func(cell string, w int) string { return text.Snip(cell, w, "…") }
		}
	}
}

// progress returns a bar over total units on the terminal, or nil (on which all methods of bar do nothing) where nobody
// would see it. total below 0 means that the end is not known.
func (s *streams) progress(what string, total int64, bytes bool) *bar {
	if !isTerminal(s.err) {
		return nil
	}
	b := &bar{stop: make(chan struct{}), drawn: make(chan struct{})}
	b.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(s.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(24),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionSetTheme(progressbar.Theme{
			Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: "",
		}),
	)
	go b.draw()
	return b
}

// A bar shows how far the work is. It is drawn at its own pace, since results come in bursts. Nil is a bar that nobody
// sees. A failure to draw is not worth stopping for.
type bar struct {
	bar         *progressbar.ProgressBar
	done        atomic.Int64
	stop, drawn chan struct{}
}

// draw runs until finish.
func (b *bar) draw() {
	defer close(b.drawn)
	const refresh = 200 * time.Millisecond // fast enough to seem alive
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			_ = b.bar.Set64(b.done.Load())
		}
	}
}

func (b *bar) set(done int64) {
	if b != nil {
		b.done.Store(done)
	}
}

// finish clears the bar's line.
func (b *bar) finish() {
	if b == nil {
		return
	}
	close(b.stop)
	<-b.drawn
	_ = b.bar.Clear()
}
