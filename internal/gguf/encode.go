package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
)

// typesOf returns how a Go value is stored: elem only counts for arrays.
func typesOf(v any) (t, elem ValueType, err error) {
	if value, ok := v.(Value); ok {
		return value.Type(), value.Elem(), nil
	}
	if t, ok := scalarType(v); ok {
		return t, t, nil
	}
	if elem, ok := sliceType(v); ok {
		return Array, elem, nil
	}
	return 0, 0, fmt.Errorf("metadata cannot hold a Go %T", v)
}

func scalarType(v any) (ValueType, bool) {
	switch v.(type) {
	case uint8:
		return Uint8, true
	case int8:
		return Int8, true
	case uint16:
		return Uint16, true
	case int16:
		return Int16, true
	case uint32:
		return Uint32, true
	case int32:
		return Int32, true
	case float32:
		return Float32, true
	case bool:
		return Bool, true
	case string:
		return String, true
	case uint64:
		return Uint64, true
	case int64:
		return Int64, true
	case float64:
		return Float64, true
	}
	return 0, false
}

func sliceType(v any) (ValueType, bool) {
	switch v.(type) {
	case []uint8:
		return Uint8, true
	case []int8:
		return Int8, true
	case []uint16:
		return Uint16, true
	case []int16:
		return Int16, true
	case []uint32:
		return Uint32, true
	case []int32:
		return Int32, true
	case []float32:
		return Float32, true
	case []bool:
		return Bool, true
	case []string:
		return String, true
	case []uint64:
		return Uint64, true
	case []int64:
		return Int64, true
	case []float64:
		return Float64, true
	}
	return 0, false
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// encodePair writes a key with its value.
func encodePair(to io.Writer, p pair) error {
	t, elem, err := typesOf(p.value)
	if err != nil {
		return err
	}
	b := appendString(nil, p.key)
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	if _, err := to.Write(b); err != nil {
		return err
	}
	switch v := p.value.(type) {
	case Value:
		return v.copyTo(to)
	case string:
		return encodeStrings(to, []string{v})
	case []string:
		if err := encodeArrayHead(to, elem, len(v)); err != nil {
			return err
		}
		return encodeStrings(to, v)
	}
	if t == Array {
		if err := encodeArrayHead(to, elem, binary.Size(p.value)/elem.width()); err != nil {
			return err
		}
	}
	return binary.Write(to, binary.LittleEndian, p.value)
}

func encodeArrayHead(to io.Writer, elem ValueType, n int) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(elem))
	_, err := to.Write(binary.LittleEndian.AppendUint64(b, uint64(n)))
	return err
}

func encodeStrings(to io.Writer, list []string) error {
	var length [8]byte
	for _, s := range list {
		binary.LittleEndian.PutUint64(length[:], uint64(len(s)))
		if _, err := to.Write(length[:]); err != nil {
			return err
		}
		if _, err := io.WriteString(to, s); err != nil {
			return err
		}
	}
	return nil
}

// copyTo writes the value's encoding as it stands in its file.
func (v Value) copyTo(to io.Writer) error {
	n, err := io.Copy(to, io.NewSectionReader(v.f.src, v.e.at, v.e.size))
	if err == nil && n < v.e.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return v.wrap(err)
	}
	return nil
}
