package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Writer streams a safetensors file: tensors are announced first, then WriteHeader writes what was announced, then
// WriteTensor is called for every tensor in the order of AddTensor, and Close checks that nothing is missing. What is
// written depends on nothing but the calls and their order.
type Writer struct {
	w        io.Writer
	metadata map[string]string
	tensors  []Tensor
	seen     map[string]bool
	data     int64 // bytes of tensor data announced
	next     int   // the tensor that WriteTensor opens next
	open     *tensorWriter
	header   bool
	err      error // the first that leaves the file in pieces
}

// NewWriter returns a writer to w, which it never closes. The metadata may be nil and becomes __metadata__.
func NewWriter(w io.Writer, metadata map[string]string) *Writer {
	return &Writer{w: w, metadata: maps.Clone(metadata), seen: map[string]bool{}}
}

// AddTensor announces a tensor. It fails where the name is empty, taken, reserved or not printable UTF-8, and where
// TensorSize fails.
func (w *Writer) AddTensor(name string, d DType, shape []int64) error {
	size, err := w.checkTensor(name, d, shape)
	if err != nil {
		return fmt.Errorf("safetensors: write: tensor %s: %w", quote(name), err)
	}
	w.seen[name] = true
	w.tensors = append(w.tensors, Tensor{Name: name, DType: d, Shape: slices.Clone(shape), Offset: w.data, Size: size})
	w.data += size
	return nil
}

func (w *Writer) checkTensor(name string, d DType, shape []int64) (int64, error) {
	if w.header {
		return 0, errors.New("it is added after WriteHeader")
	}
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("it has no valid name: %w", err)
	}
	if name == metadataName {
		return 0, errors.New("its name is reserved")
	}
	if w.seen[name] {
		return 0, errors.New("it is added twice")
	}
	if len(w.tensors) == maxTensors {
		return 0, fmt.Errorf("there are more than %d tensors", maxTensors)
	}
	size, err := TensorSize(d, shape)
	if err != nil {
		return 0, err
	}
	if size > math.MaxInt64-w.data {
		return 0, errors.New("all tensors together take more bytes than an int64 counts")
	}
	return size, nil
}

// WriteHeader writes what was announced. After it, nothing more can be.
func (w *Writer) WriteHeader() error {
	if w.err != nil {
		return w.err
	}
	if w.header {
		return errors.New("safetensors: write: WriteHeader was called twice")
	}
	text, err := w.headerText()
	if err == nil {
		_, err = w.w.Write(text)
	}
	if err != nil {
		w.err = fmt.Errorf("safetensors: write header: %w", err)
		return w.err
	}
	w.header = true
	return nil
}

// headerText returns the header with its length in front, padded with spaces so that the data is aligned to 8 bytes.
func (w *Writer) headerText() ([]byte, error) {
	var sb strings.Builder
	sb.WriteString("{")
	comma := ""
	put := func(name string, value any) error {
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		text, err := json.Marshal(value)
		sb.WriteString(comma + string(key) + ":" + string(text))
		comma = ","
		return err
	}
	if len(w.metadata) > 0 {
		if err := put(metadataName, w.metadata); err != nil {
			return nil, err
		}
	}
	type entry struct {
		DType   DType    `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	for _, t := range w.tensors {
		shape := append([]int64{}, t.Shape...) // never null
		if err := put(t.Name, entry{t.DType, shape, [2]int64{t.Offset, t.Offset + t.Size}}); err != nil {
			return nil, err
		}
	}
	sb.WriteString("}")
	for sb.Len()%lengthBytes != 0 {
		sb.WriteByte(' ')
	}
	if sb.Len() > maxHeader {
		return nil, fmt.Errorf("it takes %d bytes: want at most %d", sb.Len(), maxHeader)
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(sb.Len())), sb.String()...), nil
}

// WriteTensor returns a writer for the bytes of the tensor, which must be the next in the order of AddTensor, while
// the one before must have been given all of its bytes. Writing more than the tensor's size fails.
func (w *Writer) WriteTensor(name string) (io.Writer, error) {
	if err := w.finishTensor(); err != nil {
		return nil, err
	}
	if w.next == len(w.tensors) {
		return nil, w.fail("tensor %s: all %d tensors are written", quote(name), len(w.tensors))
	}
	t := w.tensors[w.next]
	if t.Name != name {
		return nil, w.fail("tensor %s: want %s first, the order of AddTensor", quote(name), t.Name)
	}
	w.next++
	w.open = &tensorWriter{w, t, t.Size}
	return w.open, nil
}

// finishTensor checks that the tensor in progress is complete.
func (w *Writer) finishTensor() error {
	if w.err != nil {
		return w.err
	}
	if !w.header {
		return errors.New("safetensors: write: WriteHeader must come before tensor data")
	}
	if t := w.open; t != nil && t.left != 0 {
		return w.fail("tensor %s: want %d bytes, got %d", quote(t.Name), t.Size, t.Size-t.left)
	}
	w.open = nil
	return nil
}

// Close checks that all announced tensors are written. It does not close the underlying writer.
func (w *Writer) Close() error {
	if err := w.finishTensor(); err != nil {
		return err
	}
	if w.next != len(w.tensors) {
		return w.fail("tensor %s is missing: %d of %d are written", quote(w.tensors[w.next].Name), w.next, len(w.tensors))
	}
	return nil
}

func (w *Writer) fail(format string, args ...any) error {
	if w.err == nil {
		w.err = fmt.Errorf("safetensors: write: "+format, args...)
	}
	return w.err
}

// tensorWriter takes exactly the bytes of one tensor.
type tensorWriter struct {
	w *Writer
	Tensor
	left int64
}

func (t *tensorWriter) Write(b []byte) (int, error) {
	if t.w.err != nil {
		return 0, t.w.err
	}
	if t.w.open != t {
		return 0, fmt.Errorf("safetensors: write: tensor %s: its writer was used after the next one was asked for", quote(t.Name))
	}
	if int64(len(b)) > t.left {
		return 0, t.w.fail("tensor %s: want %d bytes, got at least %d", quote(t.Name), t.Size, t.Size-t.left+int64(len(b)))
	}
	n, err := t.w.w.Write(b)
	t.left -= int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, t.w.fail("tensor %s: %w", quote(t.Name), err)
	}
	return n, nil
}
