package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Writer streams a GGUF file: metadata and tensors are announced first, in any order and mix, then WriteHeader writes
// what was announced, then WriteTensor is called for every tensor in the order of AddTensor, and Close checks that
// nothing is missing. What is written depends on nothing but the calls and their order.
//
// The first error of the Set methods is kept and returned by WriteHeader; nothing is written then. Slices given to
// them must not change until WriteHeader returns.
type Writer struct {
	w         io.Writer
	pos       int64 // bytes written
	keys      []pair
	seen      map[string]bool // "k" + key or "t" + tensor name
	tensors   []Tensor
	alignment int64
	data      int64 // bytes of tensor data announced, padded
	next      int   // the tensor that WriteTensor opens next
	open      *tensorWriter
	header    bool
	err       error
}

type pair struct {
	key   string
	value any // a type that encode knows
}

// NewWriter returns a writer to w, which it never closes.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, seen: map[string]bool{}, alignment: defaultAlignment}
}

// SetString sets a key to a string.
func (w *Writer) SetString(key, v string) { w.Set(key, v) }

// SetBool sets a key to a truth value.
func (w *Writer) SetBool(key string, v bool) { w.Set(key, v) }

// SetUint32 sets a key to a number. The key general.alignment sets what tensors are aligned to.
func (w *Writer) SetUint32(key string, v uint32) { w.Set(key, v) }

// SetInt32 sets a key to a number.
func (w *Writer) SetInt32(key string, v int32) { w.Set(key, v) }

// SetUint64 sets a key to a number.
func (w *Writer) SetUint64(key string, v uint64) { w.Set(key, v) }

// SetFloat32 sets a key to a number.
func (w *Writer) SetFloat32(key string, v float32) { w.Set(key, v) }

// SetStrings sets a key to an array.
func (w *Writer) SetStrings(key string, v []string) { w.Set(key, v) }

// SetInt32s sets a key to an array.
func (w *Writer) SetInt32s(key string, v []int32) { w.Set(key, v) }

// SetUint32s sets a key to an array.
func (w *Writer) SetUint32s(key string, v []uint32) { w.Set(key, v) }

// SetFloat32s sets a key to an array.
func (w *Writer) SetFloat32s(key string, v []float32) { w.Set(key, v) }

// Set sets a key to a bool, a string, an integer or float of 8 to 64 bits, a slice of one of those, or a Value of a
// File, which is copied as it stands and needs its File open until WriteHeader returns. A key can be set once.
func (w *Writer) Set(key string, v any) {
	if err := w.set(key, v); err != nil && w.err == nil {
		w.err = fmt.Errorf("gguf: write: key %s: %w", quote(key), err)
	}
}

func (w *Writer) set(key string, v any) error {
	if w.header {
		return errors.New("it is set after WriteHeader")
	}
	if err := checkName(key); err != nil {
		return fmt.Errorf("it is not a valid name: %w", err)
	}
	if len(key) > maxKey {
		return fmt.Errorf("it is longer than %d bytes", maxKey)
	}
	if w.seen["k"+key] {
		return errors.New("it is set twice")
	}
	if len(w.keys) == maxKeys {
		return fmt.Errorf("there are more than %d keys", maxKeys)
	}
	if _, _, err := typesOf(v); err != nil {
		return err
	}
	if key == keyAlignment {
		if err := w.setAlignment(v); err != nil {
			return err
		}
	}
	w.seen["k"+key] = true
	w.keys = append(w.keys, pair{key, v})
	return nil
}

func (w *Writer) setAlignment(v any) error {
	if value, ok := v.(Value); ok && value.Type() == Uint32 {
		v = uint32(value.e.n)
	}
	n, ok := v.(uint32)
	if !ok {
		return fmt.Errorf("want uint32, got %T", v)
	}
	if len(w.tensors) > 0 {
		return errors.New("it must be set before AddTensor")
	}
	if err := checkAlignment(int64(n)); err != nil {
		return err
	}
	w.alignment = int64(n)
	return nil
}

// AddTensor announces a tensor. It fails where the name is empty, taken, longer than the 63 bytes that ggml holds, or
// not printable UTF-8, and where TensorSize fails.
func (w *Writer) AddTensor(name string, t Type, dims []int64) error {
	size, err := w.checkTensor(name, t, dims)
	if err != nil {
		return fmt.Errorf("gguf: write: tensor %s: %w", quote(name), err)
	}
	w.seen["t"+name] = true
	w.tensors = append(w.tensors, Tensor{Name: name, Type: t, Dims: append([]int64(nil), dims...), Offset: w.data, Size: size})
	w.data += pad(size, w.alignment)
	return nil
}

func (w *Writer) checkTensor(name string, t Type, dims []int64) (int64, error) {
	if w.header {
		return 0, errors.New("it is added after WriteHeader")
	}
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("it has no valid name: %w", err)
	}
	if len(name) > maxTensorName {
		return 0, fmt.Errorf("its name has %d bytes: want at most %d", len(name), maxTensorName)
	}
	if w.seen["t"+name] {
		return 0, errors.New("it is added twice")
	}
	if len(w.tensors) == maxTensors {
		return 0, fmt.Errorf("there are more than %d tensors", maxTensors)
	}
	size, err := TensorSize(t, dims)
	if err != nil {
		return 0, err
	}
	if size > math.MaxInt64-maxAlignment-w.data {
		return 0, errors.New("all tensors together take more bytes than an int64 counts")
	}
	return size, nil
}

// Size returns how large the file will be with what was announced so far: after WriteHeader, its exact size.
func (w *Writer) Size() int64 {
	var n counter
	if err := w.encodeHeader(&n); err != nil {
		return 0 // only a Value whose File was closed: WriteHeader will say so
	}
	return pad(int64(n), w.alignment) + w.data
}

// Layout returns where in the file tensor data will start and which tensors were announced so far, their offsets counted
// from there: for those who write the data themselves, in any order.
func (w *Writer) Layout() (dataStart int64, tensors []Tensor) {
	return w.Size() - w.data, slices.Clone(w.tensors)
}

// counter is an io.Writer that only counts.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// WriteHeader writes everything that was announced. After it, nothing more can be.
func (w *Writer) WriteHeader() error {
	if w.err != nil {
		return w.err
	}
	if w.header {
		return w.fail(errors.New("gguf: write: WriteHeader was called twice"))
	}
	w.header = true
	b := bufio.NewWriterSize((*rawWriter)(w), windowSize)
	err := w.encodeHeader(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = w.pad()
	}
	if err != nil {
		return w.fail(fmt.Errorf("gguf: write header: %w", err))
	}
	return nil
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// rawWriter passes bytes on and counts them.
type rawWriter Writer

func (w *rawWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.pos += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// pad writes zeros up to the next multiple of the alignment.
func (w *Writer) pad() error {
	var zeros [4096]byte
	for left := pad(w.pos, w.alignment) - w.pos; left > 0; {
		n, err := (*rawWriter)(w).Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// encodeHeader writes all before the padding in front of the tensor data.
func (w *Writer) encodeHeader(to io.Writer) error {
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, maxVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.keys)))
	if _, err := to.Write(b); err != nil {
		return err
	}
	for _, p := range w.keys {
		if err := encodePair(to, p); err != nil {
			return fmt.Errorf("key %s: %w", quote(p.key), err)
		}
	}
	for _, t := range w.tensors {
		b = appendString(b[:0], t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Offset))
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// WriteTensor returns a writer for the bytes of the tensor, which must be the next in the order of AddTensor, while
// the one before must have been given all of its bytes. Writing more than the tensor's size fails; the Writer pads.
func (w *Writer) WriteTensor(name string) (io.Writer, error) {
	if err := w.finishTensor(); err != nil {
		return nil, err
	}
	if w.next == len(w.tensors) {
		return nil, w.fail(fmt.Errorf("gguf: write: tensor %s: all %d tensors are written", quote(name), len(w.tensors)))
	}
	t := w.tensors[w.next]
	if t.Name != name {
		return nil, w.fail(fmt.Errorf("gguf: write: tensor %s: want %s first, the order of AddTensor", quote(name), t.Name))
	}
	w.next++
	w.open = &tensorWriter{w: w, name: name, size: t.Size, left: t.Size}
	return w.open, nil
}

// finishTensor checks that the tensor in progress is complete, and pads it.
func (w *Writer) finishTensor() error {
	if w.err != nil {
		return w.err
	}
	if !w.header {
		return w.fail(errors.New("gguf: write: WriteHeader must come before tensor data"))
	}
	t := w.open
	if t == nil {
		return nil
	}
	if t.left != 0 {
		return w.fail(fmt.Errorf("gguf: write: tensor %s: want %d bytes, got %d", t.name, t.size, t.size-t.left))
	}
	w.open = nil
	if err := w.pad(); err != nil {
		return w.fail(fmt.Errorf("gguf: write: after tensor %s: %w", t.name, err))
	}
	return nil
}

// Close checks that all announced tensors are written, and pads the last. It does not close the underlying writer.
func (w *Writer) Close() error {
	if err := w.finishTensor(); err != nil {
		return err
	}
	if w.next != len(w.tensors) {
		return w.fail(fmt.Errorf("gguf: write: tensor %s is missing: %d of %d are written",
			w.tensors[w.next].Name, w.next, len(w.tensors)))
	}
	return nil
}

// tensorWriter takes exactly size bytes.
type tensorWriter struct {
	w          *Writer
	name       string
	size, left int64
}

func (t *tensorWriter) Write(b []byte) (int, error) {
	if t.w.err != nil {
		return 0, t.w.err
	}
	if t.w.open != t {
		return 0, fmt.Errorf("gguf: write: tensor %s: its writer was used after the next one was asked for", t.name)
	}
	if int64(len(b)) > t.left {
		return 0, t.w.fail(fmt.Errorf("gguf: write: tensor %s: want %d bytes, got at least %d",
			t.name, t.size, t.size-t.left+int64(len(b))))
	}
	n, err := (*rawWriter)(t.w).Write(b)
	t.left -= int64(n)
	if err != nil {
		return n, t.w.fail(fmt.Errorf("gguf: write: tensor %s: %w", t.name, err))
	}
	return n, nil
}
