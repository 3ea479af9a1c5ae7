package gguf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Keys returns the metadata's keys in the file's order. The slice is the caller's.
func (f *File) Keys() []string {
	keys := make([]string, len(f.entries))
	for i, e := range f.entries {
		keys[i] = e.key
	}
	return keys
}

// Value returns the value of a key.
func (f *File) Value(key string) (Value, bool) {
	i, ok := slices.BinarySearchFunc(f.byKey, key, func(i int32, key string) int {
		return cmp.Compare(f.entries[i].key, key)
	})
	if !ok {
		return Value{}, false
	}
	return Value{e: f.entries[f.byKey[i]], f: f}, true
}

// lookup is Value with an error for a missing key.
func (f *File) lookup(key string) (Value, error) {
	v, ok := f.Value(key)
	if !ok {
		return v, fmt.Errorf("gguf: %s: key %s: %w", f.name, quote(key), ErrNoKey)
	}
	return v, nil
}

func (v Value) mismatch(want string) error {
	return fmt.Errorf("gguf: %s: key %s: want %s, got %s", v.f.name, quote(v.e.key), want, v.Kind())
}

// signed reports whether values of the type may be negative; integer whether they are whole numbers at all.
func (t ValueType) signed() bool { return t == Int8 || t == Int16 || t == Int32 || t == Int64 }

func (t ValueType) integer() bool {
	return t.signed() || t == Uint8 || t == Uint16 || t == Uint32 || t == Uint64
}

func (t ValueType) float() bool { return t == Float32 || t == Float64 }

// extend widens an integer of the type, given as the bits it was stored with, to 64 bits.
func (t ValueType) extend(bits uint64) uint64 {
	if !t.signed() {
		return bits
	}
	shift := 64 - 8*t.width()
	return uint64(int64(bits<<shift) >> shift)
}

// bits returns the little-endian number in b.
func bits(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// The getters below return the value of a key. They fail with ErrNoKey where it is missing and with an error that
// names the key and both types where it is stored as something else.

// String returns a string's bytes as they stand, which need not be UTF-8.
func (f *File) String(key string) (string, error) {
	v, err := f.lookup(key)
	if err != nil {
		return "", err
	}
	if v.Type() != String {
		return "", v.mismatch("string")
	}
	return v.text()
}

// Uint returns an integer of any width that is not negative.
func (f *File) Uint(key string) (uint64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return 0, err
	}
	if !v.Type().integer() {
		return 0, v.mismatch("an integer")
	}
	n := v.Type().extend(v.e.n)
	if v.Type().signed() && int64(n) < 0 {
		return 0, fmt.Errorf("gguf: %s: key %s: want at least 0, got %d", f.name, quote(key), int64(n))
	}
	return n, nil
}

// Int returns an integer of any width that an int64 holds.
func (f *File) Int(key string) (int64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return 0, err
	}
	if !v.Type().integer() {
		return 0, v.mismatch("an integer")
	}
	n := v.Type().extend(v.e.n)
	if v.Type() == Uint64 && n > math.MaxInt64 {
		return 0, fmt.Errorf("gguf: %s: key %s: want at most %d, got %d", f.name, quote(key), int64(math.MaxInt64), n)
	}
	return int64(n), nil
}

// Float returns a float32 or float64, which may be infinite or not a number.
func (f *File) Float(key string) (float64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return 0, err
	}
	if !v.Type().float() {
		return 0, v.mismatch("a float")
	}
	return v.Type().toFloat(v.e.n), nil
}

func (t ValueType) toFloat(bits uint64) float64 {
	if t == Float32 {
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// Bool returns a truth value.
func (f *File) Bool(key string) (bool, error) {
	v, err := f.lookup(key)
	if err != nil {
		return false, err
	}
	if v.Type() != Bool {
		return false, v.mismatch("bool")
	}
	return v.e.n != 0, nil
}

// Strings returns an array of strings, each as its bytes stand.
func (f *File) Strings(key string) ([]string, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	if v.Type() != Array || v.Elem() != String {
		return nil, v.mismatch("array of string")
	}
	return v.texts(v.Len())
}

// Floats returns an array of float32 or float64.
func (f *File) Floats(key string) ([]float64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	if v.Type() != Array || !v.Elem().float() {
		return nil, v.mismatch("array of floats")
	}
	if err := v.checkWide(); err != nil {
		return nil, err
	}
	return elems(v, v.Len(), func(b []byte) float64 { return v.Elem().toFloat(bits(b)) })
}

// Ints returns an array of integers of any width that int64s hold.
func (f *File) Ints(key string) ([]int64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	if v.Type() != Array || !v.Elem().integer() {
		return nil, v.mismatch("array of integers")
	}
	if err := v.checkWide(); err != nil {
		return nil, err
	}
	large := false
	ints, err := elems(v, v.Len(), func(b []byte) int64 {
		n := v.Elem().extend(bits(b))
		large = large || v.Elem() == Uint64 && n > math.MaxInt64
		return int64(n)
	})
	if err == nil && large {
		return nil, fmt.Errorf("gguf: %s: key %s: want elements of at most %d", f.name, quote(key), int64(math.MaxInt64))
	}
	return ints, err
}

// checkWide refuses to widen an array to 64 bits where that would break the package's promise on memory.
func (v Value) checkWide() error {
	const slack = 16 << 20
	if v.Len() > (2*v.f.size+slack)/8 {
		return fmt.Errorf("gguf: %s: key %s: %d elements of %s are too many to widen", v.f.name, quote(v.e.key), v.Len(), v.Elem())
	}
	return nil
}
