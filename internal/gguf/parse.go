package gguf

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	magic = "GGUF"

	minVersion = 2 // version 1 counted in 32 bits and lived for weeks
	maxVersion = 3

	maxDims = 4 // GGML_MAX_DIMS

	// maxTensorName is what fits in ggml's tensor with the NUL that ends it.
	maxTensorName = 63
	// maxKey is the format's own limit.
	maxKey = math.MaxUint16
	// maxKeys and maxTensors bound what a file of tiny entries can make a reader allocate. Real files have under a
	// hundred keys and some thousand tensors.
	maxKeys    = 1 << 16
	maxTensors = 1 << 16

	keyAlignment     = "general.alignment"
	defaultAlignment = 32
	minAlignment     = 8       // the format asks for a multiple of 8: no element is wider
	maxAlignment     = 1 << 20 // beyond any page, and small enough that padding cannot be a weapon

	// The least bytes that a key and a tensor take: what a count must be covered by before anything is allocated.
	minKeyBytes    = 8 + 1 + 4 + 1
	minTensorBytes = 8 + 1 + 4 + 8 + 4 + 8
)

// Parse checks the file that r holds in its first size bytes as Open does, without a mapping: Data returns nil, and
// values and Reader read from r, which must stay usable while the File is and is not closed by it. It fails with an
// error for which errors.Is(err, ErrMalformed) or ErrUnsupported holds where the content is at fault.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	if size < 0 {
		panic("gguf: Parse: negative size")
	}
	f := &File{name: "input", src: r, size: size}
	if err := f.parse(); err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	return f, nil
}

func (f *File) parse() error {
	if f.size > math.MaxInt {
		return unsupported("%d bytes are more than this machine can address", f.size)
	}
	s := newScanner(f.src, 0, f.size)
	keys, tensors, err := f.parseHead(s)
	if err != nil {
		return err
	}
	if err := f.parseKeys(s, keys); err != nil {
		return err
	}
	if err := f.parseAlignment(); err != nil {
		return err
	}
	if err := f.parseTensors(s, tensors); err != nil {
		return err
	}
	f.dataStart = pad(s.pos, f.alignment)
	return f.checkPlaces()
}

// pad rounds n up to a multiple of alignment, a power of two.
func pad(n, alignment int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// parseHead reads magic, version and the two counts.
func (f *File) parseHead(s *scanner) (keys, tensors uint64, err error) {
	m, err := s.take(4, "the magic")
	if err != nil {
		return 0, 0, err
	}
	if err := checkMagic(string(m)); err != nil {
		return 0, 0, err
	}
	if f.version, err = s.u32("the version"); err != nil {
		return 0, 0, err
	}
	if err := checkVersion(f.version); err != nil {
		return 0, 0, err
	}
	if tensors, err = s.u64("the tensor count"); err != nil {
		return 0, 0, err
	}
	if keys, err = s.u64("the key count"); err != nil {
		return 0, 0, err
	}
	if tensors > maxTensors || tensors > uint64(s.remaining())/minTensorBytes {
		return 0, 0, malformed("it claims %d tensors: want at most %d, and no more than fit in its %d bytes",
			tensors, maxTensors, f.size)
	}
	if keys > maxKeys || keys > uint64(s.remaining())/minKeyBytes {
		return 0, 0, malformed("it claims %d keys: want at most %d, and no more than fit in its %d bytes",
			keys, maxKeys, f.size)
	}
	return keys, tensors, nil
}

func checkMagic(m string) error {
	switch m {
	case magic:
		return nil
	case "FUGG":
		return unsupported("it is a big-endian GGUF file: convert it to little-endian")
	case "lmgg", "fmgg", "tjgg", "algg":
		return unsupported("it is in a format older than GGUF (magic %q): convert the model again", m)
	}
	return malformed("it starts with %q: want %q, so this is no GGUF file", m, magic)
}

func checkVersion(v uint32) error {
	switch {
	case v >= minVersion && v <= maxVersion:
		return nil
	case v == 0:
		return malformed("version is 0: want %d or %d", minVersion, maxVersion)
	case v == 1:
		return unsupported("GGUF version 1 is not read: convert the model again, to version 3")
	case v&0xffff == 0:
		return unsupported("it is a big-endian GGUF file (version %d): convert it to little-endian", v>>24)
	}
	return unsupported("GGUF version %d is newer than this program: want %d or %d", v, minVersion, maxVersion)
}

func (f *File) parseKeys(s *scanner, count uint64) error {
	f.entries = make([]entry, 0, count) // count is at most maxKeys and covered by bytes of the file
	for i := range count {
		key, err := s.text("a key", maxKey)
		if err != nil {
			return err
		}
		if err := checkName(key); err != nil {
			return malformed("key %d (%s) is not a valid name: %v", i, quote(key), err)
		}
		e := entry{key: key}
		if err := e.parse(s); err != nil {
			return fmt.Errorf("key %s: %w", quote(key), err)
		}
		f.entries = append(f.entries, e)
	}
	f.byKey = sortedIndex(len(f.entries), func(i int32) string { return f.entries[i].key })
	if twice, ok := duplicate(f.byKey, func(i int32) string { return f.entries[i].key }); ok {
		return malformed("key %s is there twice", quote(twice))
	}
	return nil
}

// parse reads a value's type and locates or decodes the value.
func (e *entry) parse(s *scanner) error {
	t, err := s.u32("the value type")
	if err != nil {
		return err
	}
	if ValueType(t) >= valueTypeCount {
		return malformed("value type %d is unknown: want one below %d", t, uint32(valueTypeCount))
	}
	e.typ = uint8(t)
	e.at = s.pos
	switch ValueType(t) {
	case String:
		if e.n, err = s.u64("the length of the string"); err == nil {
			err = s.skip(e.n, "the string")
		}
	case Array:
		err = e.parseArray(s)
	default:
		err = e.parseScalar(s)
	}
	e.size = s.pos - e.at
	return err
}

func (e *entry) parseScalar(s *scanner) error {
	w := ValueType(e.typ).width()
	b, err := s.take(w, "the value")
	if err != nil {
		return err
	}
	for i := range w {
		e.n |= uint64(b[i]) << (8 * i)
	}
	if ValueType(e.typ) == Bool && e.n > 1 {
		return malformed("a bool is %d: want 0 or 1", e.n)
	}
	return nil
}

func (e *entry) parseArray(s *scanner) error {
	t, err := s.u32("the element type")
	if err != nil {
		return err
	}
	if e.n, err = s.u64("the element count"); err != nil {
		return err
	}
	elem := ValueType(t)
	switch {
	case elem >= valueTypeCount:
		return malformed("array element type %d is unknown: want one below %d", t, uint32(valueTypeCount))
	case elem == Array:
		return malformed("arrays inside arrays are not supported, by ggml neither")
	}
	e.elem = uint8(t)
	if elem == String {
		return e.skipStrings(s)
	}
	w := uint64(elem.width())
	if e.n > uint64(s.remaining())/w {
		return malformed("it claims %d elements of %s: %d bytes are left in the file", e.n, elem, s.remaining())
	}
	if elem == Bool {
		return e.skipBools(s)
	}
	return s.skip(e.n*w, "the array")
}

func (e *entry) skipStrings(s *scanner) error {
	if e.n > uint64(s.remaining())/8 {
		return malformed("it claims %d strings: %d bytes are left in the file", e.n, s.remaining())
	}
	for range e.n {
		n, err := s.u64("the length of a string")
		if err != nil {
			return err
		}
		if err := s.skip(n, "a string"); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) skipBools(s *scanner) error {
	for left := e.n; left > 0; {
		b, err := s.take(int(min(left, uint64(len(s.win)))), "the array")
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(b, func(x byte) bool { return x > 1 }); i >= 0 {
			return malformed("a bool is %d: want 0 or 1", b[i])
		}
		left -= uint64(len(b))
	}
	return nil
}

func (f *File) parseAlignment() error {
	f.alignment = defaultAlignment
	v, ok := f.Value(keyAlignment)
	if !ok {
		return nil
	}
	if v.Type() != Uint32 {
		return malformed("key %s: want uint32, got %s", keyAlignment, v.Kind())
	}
	f.alignment = int64(v.e.n)
	return checkAlignment(f.alignment)
}

func checkAlignment(a int64) error {
	if a < minAlignment || a > maxAlignment || a&(a-1) != 0 {
		return malformed("key %s: want a power of two from %d to %d, got %d", keyAlignment, minAlignment, maxAlignment, a)
	}
	return nil
}

func (f *File) parseTensors(s *scanner, count uint64) error {
	f.tensors = make([]Tensor, 0, count) // count is at most maxTensors and covered by bytes of the file
	for i := range count {
		name, err := s.text("a tensor name", maxTensorName)
		if err != nil {
			return err
		}
		if err := checkName(name); err != nil {
			return malformed("tensor %d (%s) has no valid name: %v", i, quote(name), err)
		}
		t := Tensor{Name: name}
		if err := t.parse(s); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		f.tensors = append(f.tensors, t)
	}
	f.byName = sortedIndex(len(f.tensors), func(i int32) string { return f.tensors[i].Name })
	if twice, ok := duplicate(f.byName, func(i int32) string { return f.tensors[i].Name }); ok {
		return malformed("tensor %s is there twice", twice)
	}
	return nil
}

// parse reads what follows a tensor's name.
func (t *Tensor) parse(s *scanner) error {
	n, err := s.u32("the number of dimensions")
	if err != nil {
		return err
	}
	if n < 1 || n > maxDims {
		return malformed("want 1 to %d dimensions, got %d", maxDims, n)
	}
	t.Dims = make([]int64, n)
	for i := range t.Dims {
		d, err := s.u64("a dimension")
		if err != nil {
			return err
		}
		if d > math.MaxInt64 {
			return malformed("dimension %d is %d: want at most %d", i, d, int64(math.MaxInt64))
		}
		t.Dims[i] = int64(d)
	}
	typ, err := s.u32("the tensor type")
	if err != nil {
		return err
	}
	t.Type = Type(typ)
	if t.Size, err = TensorSize(t.Type, t.Dims); err != nil {
		return err
	}
	offset, err := s.u64("the offset")
	if err != nil {
		return err
	}
	if offset > math.MaxInt64 {
		return malformed("offset %d is past the end of the file", offset)
	}
	t.Offset = int64(offset)
	return nil
}

// checkPlaces sees to it that every tensor lies in the file, aligned, and on no other.
func (f *File) checkPlaces() error {
	room := f.size - f.dataStart // negative where the file ends before its padding does
	order := make([]int32, len(f.tensors))
	for i, t := range f.tensors {
		order[i] = int32(i)
		if t.Offset%f.alignment != 0 {
			return malformed("tensor %s: offset %d is no multiple of the alignment %d", t.Name, t.Offset, f.alignment)
		}
		if t.Size > room || t.Offset > room-t.Size {
			return malformed("tensor %s: want %d bytes at offset %d, but the file's data has %d: it is cut short or corrupt",
				t.Name, t.Size, t.Offset, max(room, 0))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(f.tensors[a].Offset, f.tensors[b].Offset) })
	for i := 1; i < len(order); i++ {
		a, b := f.tensors[order[i-1]], f.tensors[order[i]]
		if a.Offset+a.Size > b.Offset {
			return malformed("tensors %s and %s overlap: %d bytes at %d, and %d bytes at %d",
				a.Name, b.Name, a.Size, a.Offset, b.Size, b.Offset)
		}
	}
	return nil
}

// sortedIndex returns the numbers below n in the order of their names: a map would take several times the memory.
func sortedIndex(n int, name func(int32) string) []int32 {
	index := make([]int32, n)
	for i := range index {
		index[i] = int32(i)
	}
	slices.SortFunc(index, func(a, b int32) int { return cmp.Compare(name(a), name(b)) })
	return index
}

func duplicate(index []int32, name func(int32) string) (string, bool) {
	for i := 1; i < len(index); i++ {
		if n := name(index[i]); n == name(index[i-1]) {
			return n, true
		}
	}
	return "", false
}
