package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	lengthBytes = 8
	// maxHeader is the reference implementation's limit.
	maxHeader = 100_000_000
	// maxTensors and maxMetadata bound what a header of tiny entries can make a reader allocate. Real files have some
	// thousand tensors and a few pairs.
	maxTensors  = 1 << 17
	maxMetadata = 1 << 14

	metadataName = "__metadata__"
)

// Tensor says what a tensor is and where its bytes are. Shape is in the order of the file: the last dimension is the
// one whose neighbours are neighbours in memory. It is empty for a single number and must not be changed.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64
	Offset int64 // from the start of the file's tensor data
	Size   int64 // in bytes
}

// Elements returns the product of the dimensions. For a tensor of a File it cannot overflow.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// File is a safetensors file whose every claim was checked. See the package's documentation for sharing and life.
type File struct {
	name      string // for errors
	src       io.ReaderAt
	stream    Stream // where the bytes come from instead, or nil
	size      int64
	dataStart int64
	tensors   []Tensor
	byName    []int32 // tensors by name
	metadata  map[string]string
	close     func() error
}

// Open reads and checks the file's header. Malformed content gives an error for which errors.Is(err, ErrMalformed)
// holds, and what the system refuses the system's error; each names the file.
func Open(path string) (*File, error) {
	f, err := openPath(path)
	var sys *fs.PathError
	if errors.As(err, &sys) { // names the path itself
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors: open %s: %w", path, err)
	}
	return f, nil
}

func openPath(path string) (*File, error) {
	info, err := os.Stat(path) // before opening, which waits for a writer where path is a pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("want a regular file, got %s", info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return fromFile(file, path)
}

// fromFile takes over the open file, and closes it where it fails.
func fromFile(file *os.File, path string) (*File, error) {
	info, err := file.Stat()
	if err == nil {
		f := &File{name: path, src: file, size: info.Size(), close: sync.OnceValue(file.Close)}
		if err = f.parse(); err == nil {
			return f, nil
		}
	}
	file.Close()
	return nil, err
}

// Parse checks the file that r holds in its first size bytes as Open does. Readers read from r, which must stay usable
// while the File is and is not closed by it.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	if size < 0 {
		panic("safetensors: Parse: negative size")
	}
	f := &File{name: "input", src: r, size: size, close: func() error { return nil }}
	if err := f.parse(); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return f, nil
}

// Close closes the file or the Stream. It may be called again, and returns the same.
func (f *File) Close() error { return f.close() }

// Path returns the path that was opened, or "input" after Parse.
func (f *File) Path() string { return f.name }

// Size returns the file's size in bytes.
func (f *File) Size() int64 { return f.size }

// Metadata returns the header's __metadata__, such as {"format": "pt"}. The map is the caller's.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Tensors returns all tensors in the order of their data. The slice is the caller's.
func (f *File) Tensors() []Tensor { return slices.Clone(f.tensors) }

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := slices.BinarySearchFunc(f.byName, name, func(i int32, name string) int {
		return cmp.Compare(f.tensors[i].Name, name)
	})
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[f.byName[i]], true
}

// Reader returns a reader of the tensor's bytes: little-endian, row by row. It panics where t is no tensor of f.
func (f *File) Reader(t Tensor) *io.SectionReader {
	room := f.size - f.dataStart
	if t.Offset < 0 || t.Size < 0 || t.Size > room || t.Offset > room-t.Size {
		panic(fmt.Sprintf("safetensors: tensor %s of another file asked of %s", quote(t.Name), f.name))
	}
	return io.NewSectionReader(f.src, f.dataStart+t.Offset, t.Size)
}

// Data returns a reader of the bytes of all tensors, in the order of Tensors and without anything between them. Of a Stream
// there is one such reader, which ends as the Stream does.
func (f *File) Data() io.Reader {
	if f.stream != nil {
		return f.stream
	}
	return io.NewSectionReader(f.src, f.dataStart, f.size-f.dataStart)
}

func (f *File) parse() error {
	text, err := f.readHeader()
	if err != nil {
		return err
	}
	// An upper bound, but for names that are spelled with escapes, which append takes care of.
	f.tensors = make([]Tensor, 0, min(strings.Count(text, `"dtype"`), maxTensors))
	c := &cursor{text: text}
	if err := c.object("the header", func(name string) error { return f.parseEntry(c, name) }); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if err := c.end(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if err := f.index(); err != nil {
		return err
	}
	return f.checkPlaces()
}

// readHeader reads the header's text, once its length is known to be in the file.
func (f *File) readHeader() (string, error) {
	if f.size < lengthBytes {
		return "", malformed("it has %d bytes: want at least %d, the length of the header", f.size, lengthBytes)
	}
	length, err := readText(f.src, 0, lengthBytes)
	if err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint64([]byte(length))
	if n > maxHeader {
		return "", malformed("it claims a header of %d bytes: want at most %d, so this is no safetensors file", n, maxHeader)
	}
	if n > uint64(f.size-lengthBytes) {
		return "", malformed("it claims a header of %d bytes, but %d are left: it is cut short or corrupt", n, f.size-lengthBytes)
	}
	if n < 2 {
		return "", malformed("it claims a header of %d bytes: want at least 2, an empty object", n)
	}
	f.dataStart = lengthBytes + int64(n)
	text, err := readText(f.src, lengthBytes, int64(n))
	if err != nil {
		return "", err
	}
	if text[0] != '{' {
		return "", malformed("the header starts with %q: want {, so this is no safetensors file", text[:1])
	}
	if !utf8.ValidString(text) {
		return "", malformed("the header is not UTF-8")
	}
	return text, nil
}

// readText reads n bytes, which the caller knows to be there, in one allocation.
func readText(r io.ReaderAt, at, n int64) (string, error) {
	var sb strings.Builder
	sb.Grow(int(n))
	got, err := io.Copy(&sb, io.NewSectionReader(r, at, n))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fmt.Errorf("read %d bytes at %d: %w", n, at, err)
	}
	return sb.String(), nil
}

// parseEntry reads what the header says under one name.
func (f *File) parseEntry(c *cursor, name string) error {
	if name == metadataName {
		return f.parseMetadata(c)
	}
	if err := checkName(name); err != nil {
		return malformed("tensor %s has no valid name: %v", quote(name), err)
	}
	if len(f.tensors) == maxTensors {
		return malformed("there are more than %d tensors", maxTensors)
	}
	name = c.keep(name)
	t, err := parseTensor(c)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", quote(name), err)
	}
	t.Name = name
	f.tensors = append(f.tensors, t)
	return nil
}

func (f *File) parseMetadata(c *cursor) error {
	if f.metadata != nil {
		return malformed("%s is there twice", metadataName)
	}
	f.metadata = map[string]string{}
	return c.object(metadataName, func(key string) error {
		key = c.keep(key)
		value, err := c.str("a value of " + metadataName)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", metadataName, quote(key), err)
		}
		if _, twice := f.metadata[key]; twice {
			return malformed("%s: %s is there twice", metadataName, quote(key))
		}
		if len(f.metadata) == maxMetadata {
			return malformed("%s has more than %d entries", metadataName, maxMetadata)
		}
		f.metadata[key] = c.keep(value)
		return nil
	})
}

// description is what the header says of a tensor.
type description struct {
	dtype                              string
	shape                              [maxRank]int64
	offsets                            [2]int64
	rank, ends                         int
	hasDType, hasShape, hasDataOffsets bool
}

// field reads the value of one field.
func (d *description) field(c *cursor, name string) (err error) {
	var twice *bool
	switch name {
	case "dtype":
		twice = &d.hasDType
		d.dtype, err = c.str("dtype")
	case "shape":
		twice = &d.hasShape
		d.rank, err = c.naturals("shape", d.shape[:])
	case "data_offsets":
		twice = &d.hasDataOffsets
		d.ends, err = c.naturals("data_offsets", d.offsets[:])
	default:
		return malformed("field %s is unknown", quote(name))
	}
	if *twice && err == nil {
		return malformed("field %s is there twice", name)
	}
	*twice = true
	return err
}

// parseTensor reads the object that describes a tensor and checks it as far as it goes alone.
func parseTensor(c *cursor) (Tensor, error) {
	var d description
	m, err := c.members("dtype, shape and data_offsets")
	for err == nil {
		var name string
		var ok bool
		if name, ok, err = m.next(); !ok {
			break
		}
		err = d.field(c, name)
	}
	if err != nil {
		return Tensor{}, err
	}
	return d.tensor()
}

// tensor checks that the fields are all there and agree.
func (d *description) tensor() (Tensor, error) {
	if !d.hasDType || !d.hasShape || !d.hasDataOffsets {
		return Tensor{}, malformed("want all of dtype, shape and data_offsets")
	}
	dtype, ok := known(d.dtype)
	if !ok {
		return Tensor{}, malformed("element type %s is unknown", quote(d.dtype))
	}
	start, end := d.offsets[0], d.offsets[1]
	if d.ends != 2 || start > end {
		return Tensor{}, malformed("data_offsets are %v: want a start and an end", slices.Clone(d.offsets[:d.ends]))
	}
	t := Tensor{DType: dtype, Shape: make([]int64, d.rank), Offset: start, Size: end - start}
	copy(t.Shape, d.shape[:]) // not slices.Clone, which would keep d alive where rank is 0
	want, err := TensorSize(dtype, t.Shape)
	if err == nil && want != t.Size {
		err = malformed("%s of shape %s takes %d bytes, but data_offsets %v hold %d",
			dtype, shapeText(t.Shape), want, d.offsets, t.Size)
	}
	return t, err
}

// index sorts the tensors by place and lists them by name, each of which may be there once.
func (f *File) index() error {
	slices.SortFunc(f.tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	f.byName = make([]int32, len(f.tensors))
	for i := range f.byName {
		f.byName[i] = int32(i)
	}
	slices.SortFunc(f.byName, func(a, b int32) int { return cmp.Compare(f.tensors[a].Name, f.tensors[b].Name) })
	for i := 1; i < len(f.byName); i++ {
		if n := f.tensors[f.byName[i]].Name; n == f.tensors[f.byName[i-1]].Name {
			return malformed("tensor %s is there twice", quote(n))
		}
	}
	return nil
}

// checkPlaces sees to it that the tensors fill the data exactly.
func (f *File) checkPlaces() error {
	end := int64(0)
	for i, t := range f.tensors {
		if t.Offset < end {
			return malformed("tensors %s and %s overlap at offset %d", quote(f.tensors[i-1].Name), quote(t.Name), t.Offset)
		}
		if t.Offset > end {
			return malformed("tensor %s starts at offset %d, but %d is the next free: there is a hole", quote(t.Name), t.Offset, end)
		}
		end = t.Offset + t.Size // both come from an end that is an int64
	}
	room := f.size - f.dataStart
	if end > room {
		return malformed("tensors take %d bytes, but the file's data has %d: it is cut short or corrupt", end, room)
	}
	if end < room {
		return malformed("tensors take %d bytes, but the file's data has %d: something was appended", end, room)
	}
	return nil
}
