package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Tensor says what a tensor is and where its bytes are. Dims is in ggml's order: neighbours in memory are neighbours
// along Dims[0], so a matrix of r rows and c columns has Dims [c, r]. Dims must not be changed.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []int64
	Offset int64 // from the start of the file's tensor data, a multiple of the alignment
	Size   int64 // in bytes, without padding
}

// Elements returns the product of the dimensions. For a tensor of a File it cannot overflow.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// File is a GGUF file whose every claim was checked. See the package's documentation for sharing and life.
type File struct {
	name      string // for errors
	src       io.ReaderAt
	size      int64
	version   uint32
	alignment int64
	dataStart int64
	entries   []entry
	byKey     []int32 // entries by key
	tensors   []Tensor
	byName    []int32 // tensors by name

	file    *os.File               // nil after Parse
	mapping atomic.Pointer[[]byte] // nil after Parse and after Close
	close   func() error
}

// Open maps the file read-only and checks everything but the numbers in its tensors. Malformed content gives an error
// for which errors.Is(err, ErrMalformed) holds, versions and byte orders that are not read one with ErrUnsupported,
// and what the system refuses the system's error; each names the file.
func Open(path string) (*File, error) {
	f, err := open(path)
	var sys *fs.PathError
	if errors.As(err, &sys) { // names the path itself
		return nil, fmt.Errorf("gguf: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("gguf: open %s: %w", path, err)
	}
	return f, nil
}

func open(path string) (*File, error) {
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
	f, err := openFile(file, path)
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func openFile(file *os.File, path string) (*File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f := &File{name: path, src: file, size: info.Size(), file: file}
	if err := f.parse(); err != nil {
		return nil, err
	}
	m, err := mapFile(file, int(f.size))
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", f.size, err)
	}
	f.mapping.Store(&m)
	f.close = sync.OnceValue(func() error {
		f.mapping.Store(nil)
		return cmp.Or(unmapFile(m), file.Close())
	})
	return f, nil
}

// Close unmaps the file. Slices that Data returned must no longer be touched. It may be called again, and returns the
// same.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Path returns the path that was opened, or "input" after Parse.
func (f *File) Path() string { return f.name }

// Size returns the file's size in bytes.
func (f *File) Size() int64 { return f.size }

// Version returns the format's version, 2 or 3.
func (f *File) Version() uint32 { return f.version }

// Alignment returns what tensor offsets are multiples of.
func (f *File) Alignment() int64 { return f.alignment }

// DataStart returns where in the file tensor data begins: what Tensor.Offset counts from.
func (f *File) DataStart() int64 { return f.dataStart }

// Tensors returns all tensors in the file's order. The slice is the caller's.
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

// Data returns the tensor's bytes in the mapping, which must not be written to and are valid until Close. It returns
// nil where there is no mapping: after Parse and after Close. It panics where t is no tensor of f.
func (f *File) Data(t Tensor) []byte {
	f.mustHold(t)
	m := f.mapping.Load()
	if m == nil {
		return nil
	}
	start := f.dataStart + t.Offset
	return (*m)[start : start+t.Size : start+t.Size]
}

// Reader returns a reader of the tensor's bytes that does not use the mapping, so that they never count as resident.
// It reads until Close, and may be used beside other readers. It panics where t is no tensor of f.
func (f *File) Reader(t Tensor) *io.SectionReader {
	f.mustHold(t)
	return io.NewSectionReader(f.src, f.dataStart+t.Offset, t.Size)
}

// Release tells the system that the tensor's pages will not be needed soon, so that they leave the resident memory:
// for a tensor that was copied into another layout. Its bytes stay valid, and are read again when touched. Pages that
// it shares with a neighbour stay. It panics where t is no tensor of f.
func (f *File) Release(t Tensor) error {
	f.mustHold(t)
	m := f.mapping.Load()
	if m == nil {
		return nil
	}
	page := int64(os.Getpagesize())
	start := pad(f.dataStart+t.Offset, page)
	end := (f.dataStart + t.Offset + t.Size) &^ (page - 1)
	if start >= end {
		return nil
	}
	if err := releasePages((*m)[start:end]); err != nil {
		return fmt.Errorf("gguf: %s: release tensor %s: %w", f.name, t.Name, err)
	}
	return nil
}

// mustHold panics unless t lies in f: t was made by hand or comes from another file.
func (f *File) mustHold(t Tensor) {
	room := f.size - f.dataStart
	if t.Offset < 0 || t.Size < 0 || t.Size > room || t.Offset > room-t.Size {
		panic(fmt.Sprintf("gguf: tensor %s of another file asked of %s", quote(t.Name), f.name))
	}
}
