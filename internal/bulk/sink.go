package bulk

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
)

// A Sink writes records. Write makes a record visible to whoever reads along, as far as the format allows; Close ends
// the format and leaves the writer below open. A Sink that saw an error is not to be closed.
type Sink interface {
	Write(Record) error
	Close() error
}

// NewJSONL writes one object a line: {"id", "embedding"} or {"id", "error"}, and "truncated": true where the text was
// cut.
func NewJSONL(w io.Writer) Sink { return &lines{w: bufio.NewWriter(w), after: "\n"} }

// NewJSON writes one array of the objects that NewJSONL writes.
func NewJSON(w io.Writer) Sink {
	return &lines{w: bufio.NewWriter(w), before: "[\n", between: ",\n", end: "\n]\n", empty: "[]\n"}
}

// lines is JSON objects with something between them.
type lines struct {
	w                                  *bufio.Writer
	before, between, after, end, empty string
	n                                  int
	buf                                []byte
}

func (l *lines) Write(r Record) error {
	lead := l.between
	if l.n == 0 {
		lead = l.before
	}
	l.n++
	l.buf = append(l.buf[:0], lead...)
	l.buf = append(l.buf, `{"id":`...)
	l.buf = append(l.buf, r.item.ID...)
	switch {
	case r.Err != nil:
		text, err := json.Marshal(fmt.Sprintf("%s: %v", r.Where, r.Err))
		if err != nil {
			return err
		}
		l.buf = append(append(l.buf, `,"error":`...), text...)
	default:
		l.buf = appendVector(append(l.buf, `,"embedding":`...), r.Embedding)
		if r.Truncated {
			l.buf = append(l.buf, `,"truncated":true`...)
		}
	}
	l.buf = append(append(l.buf, '}'), l.after...)
	_, _ = l.w.Write(l.buf) // Flush returns its error
	return l.w.Flush()
}

func (l *lines) Close() error {
	if l.n == 0 {
		_, _ = l.w.WriteString(l.empty)
	} else {
		_, _ = l.w.WriteString(l.end)
	}
	return l.w.Flush()
}

// appendVector appends a JSON array of the shortest numbers that read back as the same float32. Embeddings are finite.
func appendVector(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// npyHeader is the length of the header that NewNPY writes: two lines of 64 bytes, as the format aligns its data, have
// room for any number of rows.
const npyHeader = 128

// NewNPY writes a matrix as NumPy's load reads it: little-endian float32, one row of dim an item, in order. A row that
// failed is NaN throughout, and its error goes to failed, which is called from Write. The number of rows stands in
// front of them, so w is a file, which the header is written to at Close.
func NewNPY(w interface {
	io.Writer
	io.WriterAt
}, dim int, failed func(Record)) Sink {
	return &npy{w: w, buf: bufio.NewWriterSize(w, 1<<16), dim: dim, failed: failed}
}

type npy struct {
	w      io.WriterAt
	buf    *bufio.Writer
	dim    int
	rows   int
	row    []byte
	failed func(Record)
}

func (n *npy) Write(r Record) error {
	if n.rows == 0 {
		_, _ = n.buf.Write(make([]byte, npyHeader))
	}
	n.rows++
	n.row = n.row[:0]
	for i := range n.dim {
		x := float32(math.NaN())
		if r.Err == nil {
			x = r.Embedding[i]
		}
		n.row = binary.LittleEndian.AppendUint32(n.row, math.Float32bits(x))
	}
	if r.Err != nil && n.failed != nil {
		n.failed(r)
	}
	_, err := n.buf.Write(n.row)
	return err
}

func (n *npy) Close() error {
	if err := n.buf.Flush(); err != nil {
		return err
	}
	head := make([]byte, 0, npyHeader)
	head = append(head, "\x93NUMPY\x01\x00"...)
	head = binary.LittleEndian.AppendUint16(head, npyHeader-10)
	head = fmt.Appendf(head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", n.rows, n.dim)
	for len(head) < npyHeader-1 {
		head = append(head, ' ')
	}
	_, err := n.w.WriteAt(append(head, '\n'), 0)
	return err
}
