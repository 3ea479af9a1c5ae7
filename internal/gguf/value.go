package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// ValueType is how a metadata value is stored: the numbers of the format.
type ValueType uint32

// The types of metadata values.
const (
	Uint8   ValueType = 0
	Int8    ValueType = 1
	Uint16  ValueType = 2
	Int16   ValueType = 3
	Uint32  ValueType = 4
	Int32   ValueType = 5
	Float32 ValueType = 6
	Bool    ValueType = 7
	String  ValueType = 8
	Array   ValueType = 9
	Uint64  ValueType = 10
	Int64   ValueType = 11
	Float64 ValueType = 12

	valueTypeCount ValueType = 13
)

// String returns the type's name, such as "uint32".
func (t ValueType) String() string {
	names := [valueTypeCount]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string",
		"array", "uint64", "int64", "float64"}
	if t < valueTypeCount {
		return names[t]
	}
	return fmt.Sprintf("value type %d", uint32(t))
}

// width returns the bytes that one value takes, 0 for those whose length varies.
func (t ValueType) width() int {
	switch t {
	case Uint8, Int8, Bool:
		return 1
	case Uint16, Int16:
		return 2
	case Uint32, Int32, Float32:
		return 4
	case Uint64, Int64, Float64:
		return 8
	}
	return 0
}

// entry is a metadata value as Parse leaves it: numbers decoded, strings and arrays only located. It is small because
// a hostile file may have maxKeys of them.
type entry struct {
	key       string
	typ, elem uint8  // ValueType; elem for arrays
	n         uint64 // a number's bits, a string's length, an array's count
	at, size  int64  // where the value's encoding lies: without its type, with its length or element type and count
}

// Value is one metadata value. Its methods read strings and arrays from the file, so they fail after Close and where
// the disk fails. It may be copied and shared.
type Value struct {
	e entry
	f *File
}

// Type returns how the value is stored.
func (v Value) Type() ValueType { return ValueType(v.e.typ) }

// Elem returns how an array's elements are stored; for other values it is the same as Type.
func (v Value) Elem() ValueType {
	if v.Type() == Array {
		return ValueType(v.e.elem)
	}
	return v.Type()
}

// Len returns an array's number of elements, a string's number of bytes, and 1 for other values.
func (v Value) Len() int64 {
	switch v.Type() {
	case Array, String:
		return int64(v.e.n)
	}
	return 1
}

// Kind returns the type in words: "uint32", "array of string".
func (v Value) Kind() string {
	if v.Type() == Array {
		return "array of " + v.Elem().String()
	}
	return v.Type().String()
}

// Any returns the value as the Go type of the same name: uint8 to float64, bool, string, or a slice of one of them.
func (v Value) Any() (any, error) { return v.Head(math.MaxInt64) }

// Head is Any with no more than the first n elements of an array. Strings are whole.
func (v Value) Head(n int64) (any, error) {
	n = min(max(n, 0), v.Len())
	switch v.Type() {
	case String:
		return v.text()
	case Array:
		return v.head(n)
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v.e.n)
	return scalar(v.Type(), b[:]), nil
}

// scalar decodes one number or truth value.
func scalar(t ValueType, b []byte) any {
	switch t {
	case Uint8:
		return b[0]
	case Int8:
		return int8(b[0])
	case Uint16:
		return binary.LittleEndian.Uint16(b)
	case Int16:
		return int16(binary.LittleEndian.Uint16(b))
	case Uint32:
		return binary.LittleEndian.Uint32(b)
	case Int32:
		return int32(binary.LittleEndian.Uint32(b))
	case Float32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case Bool:
		return b[0] != 0
	case Uint64:
		return binary.LittleEndian.Uint64(b)
	case Int64:
		return int64(binary.LittleEndian.Uint64(b))
	case Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	panic("gguf: " + t.String() + " is no scalar")
}

// head decodes the first n elements of an array.
func (v Value) head(n int64) (any, error) {
	le := binary.LittleEndian
	switch v.Elem() {
	case Uint8:
		return elems(v, n, func(b []byte) uint8 { return b[0] })
	case Int8:
		return elems(v, n, func(b []byte) int8 { return int8(b[0]) })
	case Uint16:
		return elems(v, n, le.Uint16)
	case Int16:
		return elems(v, n, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case Uint32:
		return elems(v, n, le.Uint32)
	case Int32:
		return elems(v, n, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case Float32:
		return elems(v, n, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case Bool:
		return elems(v, n, func(b []byte) bool { return b[0] != 0 })
	case Uint64:
		return elems(v, n, le.Uint64)
	case Int64:
		return elems(v, n, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case Float64:
		return elems(v, n, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	}
	return v.texts(n)
}

// elems decodes the first n elements of an array. The caller sees to it that n of T are not many times as large as
// their encoding.
func elems[T any](v Value, n int64, decode func([]byte) T) ([]T, error) {
	out := make([]T, 0, n)
	w := v.Elem().width()
	s := newScanner(v.f.src, v.e.at+arrayHead, v.e.at+v.e.size)
	for range n {
		b, err := s.take(w, "an element")
		if err != nil {
			return nil, v.wrap(err)
		}
		out = append(out, decode(b))
	}
	return out, nil
}

// arrayHead is the length of an array's element type and count.
const arrayHead = 4 + 8

// text reads a string.
func (v Value) text() (string, error) {
	var sb strings.Builder
	sb.Grow(int(v.e.n))
	r := io.NewSectionReader(v.f.src, v.e.at+8, int64(v.e.n))
	if n, err := io.Copy(&sb, r); err != nil || n != int64(v.e.n) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return "", v.wrap(err)
	}
	return sb.String(), nil
}

// texts reads the first n strings of an array. They share one allocation, which keeps the cost of a vocabulary at its
// own size plus a string header each: never more than twice its encoding.
func (v Value) texts(n int64) ([]string, error) {
	s := newScanner(v.f.src, v.e.at+arrayHead, v.e.at+v.e.size)
	out := make([]string, n)
	var all strings.Builder
	if n == v.Len() {
		all.Grow(int(s.remaining() - n*8))
	}
	for i := range out {
		left, err := s.u64("the length of a string")
		if err == nil && left > uint64(s.remaining()) { // Parse checked it: the file has changed since
			err = s.truncated("a string", left)
		}
		start := all.Len()
		for err == nil && left > 0 {
			var b []byte
			b, err = s.take(int(min(left, uint64(len(s.win)))), "a string")
			all.Write(b)
			left -= uint64(len(b))
		}
		if err != nil {
			return nil, v.wrap(err)
		}
		out[i] = all.String()[start:]
	}
	return out, nil
}

func (v Value) wrap(err error) error {
	return fmt.Errorf("gguf: %s: key %s: %w", v.f.name, quote(v.e.key), err)
}
