package gguf

import (
	"fmt"
	"math"
	"strings"
)

// Type is how a tensor's elements are stored: the numbers of ggml's enum ggml_type.
type Type uint32

// The types that ggml stores tensors in.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q8_1   Type = 9
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	Q8_K   Type = 15
	IQ2XXS Type = 16
	IQ2XS  Type = 17
	IQ3XXS Type = 18
	IQ1S   Type = 19
	IQ4NL  Type = 20
	IQ3S   Type = 21
	IQ2S   Type = 22
	IQ4XS  Type = 23
	I8     Type = 24
	I16    Type = 25
	I32    Type = 26
	I64    Type = 27
	F64    Type = 28
	IQ1M   Type = 29
	BF16   Type = 30
	TQ1_0  Type = 34
	TQ2_0  Type = 35
	MXFP4  Type = 39

	// typeCount is one past the last number that this package knows.
	typeCount Type = 40
)

// layout is how a type packs its elements: block elements take bytes bytes.
type layout struct {
	name         string
	block, bytes int64
}

// layout returns the zero layout for numbers that no readable type has.
func (t Type) layout() layout {
	switch t {
	case F32:
		return layout{"f32", 1, 4}
	case F16:
		return layout{"f16", 1, 2}
	case BF16:
		return layout{"bf16", 1, 2}
	case F64:
		return layout{"f64", 1, 8}
	case I8:
		return layout{"i8", 1, 1}
	case I16:
		return layout{"i16", 1, 2}
	case I32:
		return layout{"i32", 1, 4}
	case I64:
		return layout{"i64", 1, 8}
	case Q4_0:
		return layout{"q4_0", 32, 18}
	case Q4_1:
		return layout{"q4_1", 32, 20}
	case Q5_0:
		return layout{"q5_0", 32, 22}
	case Q5_1:
		return layout{"q5_1", 32, 24}
	case Q8_0:
		return layout{"q8_0", 32, 34}
	case Q8_1:
		return layout{"q8_1", 32, 36}
	case IQ4NL:
		return layout{"iq4_nl", 32, 18}
	case MXFP4:
		return layout{"mxfp4", 32, 17}
	}
	return t.superBlock()
}

// superBlock is layout for the types that pack 256 elements at a time.
func (t Type) superBlock() layout {
	switch t {
	case Q2_K:
		return layout{"q2_k", 256, 84}
	case Q3_K:
		return layout{"q3_k", 256, 110}
	case Q4_K:
		return layout{"q4_k", 256, 144}
	case Q5_K:
		return layout{"q5_k", 256, 176}
	case Q6_K:
		return layout{"q6_k", 256, 210}
	case Q8_K:
		return layout{"q8_k", 256, 292}
	case IQ2XXS:
		return layout{"iq2_xxs", 256, 66}
	case IQ2XS:
		return layout{"iq2_xs", 256, 74}
	case IQ3XXS:
		return layout{"iq3_xxs", 256, 98}
	case IQ1S:
		return layout{"iq1_s", 256, 50}
	case IQ3S:
		return layout{"iq3_s", 256, 110}
	case IQ2S:
		return layout{"iq2_s", 256, 82}
	case IQ4XS:
		return layout{"iq4_xs", 256, 136}
	case IQ1M:
		return layout{"iq1_m", 256, 56}
	case TQ1_0:
		return layout{"tq1_0", 256, 54}
	case TQ2_0:
		return layout{"tq2_0", 256, 66}
	}
	return layout{}
}

// removed returns the name of a type that once existed and what replaces it, or two empty strings.
func (t Type) removed() (name, instead string) {
	switch t {
	case 4:
		return "q4_2", "q4_0"
	case 5:
		return "q4_3", "q4_1"
	case 31:
		return "q4_0_4_4", "q4_0"
	case 32:
		return "q4_0_4_8", "q4_0"
	case 33:
		return "q4_0_8_8", "q4_0"
	case 36:
		return "iq4_nl_4_4", "iq4_nl"
	case 37:
		return "iq4_nl_4_8", "iq4_nl"
	case 38:
		return "iq4_nl_8_8", "iq4_nl"
	}
	return "", ""
}

// String returns the type's name in lower case, such as "f16" or "q4_k", and "type 99" for a number that has none.
func (t Type) String() string {
	if l := t.layout(); l.block != 0 {
		return l.name
	}
	if name, _ := t.removed(); name != "" {
		return name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// BlockSize returns how many elements are packed together: 1 for plain numbers, and 0 for a type that cannot be read.
func (t Type) BlockSize() int64 { return t.layout().block }

// TypeSize returns how many bytes BlockSize elements take: 0 for a type that cannot be read.
func (t Type) TypeSize() int64 { return t.layout().bytes }

// check returns an error that says why tensors of this type cannot be read, or nil.
func (t Type) check() error {
	if t.BlockSize() != 0 {
		return nil
	}
	if name, instead := t.removed(); name != "" {
		return malformed("type %d (%s) was removed from GGUF: convert the model again, as %s", uint32(t), name, instead)
	}
	return malformed("type %d is unknown: want a ggml type below %d", uint32(t), uint32(typeCount))
}

// ParseType returns the type that String names so, whatever the case.
func ParseType(s string) (Type, error) {
	want := strings.ToLower(s)
	var names []string
	for t := range typeCount {
		l := t.layout()
		if l.block == 0 {
			continue
		}
		if l.name == want {
			return t, nil
		}
		names = append(names, l.name)
	}
	return 0, fmt.Errorf("gguf: unknown tensor type %q: want one of %s", s, strings.Join(names, ", "))
}

// TensorSize returns how many bytes a tensor of this type and shape takes. It fails, naming what is wrong, where the
// type cannot be stored, where there are not 1 to 4 dimensions of at least 1, where dims[0] is not a whole number of
// blocks, and where elements or bytes exceed an int64.
func TensorSize(t Type, dims []int64) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	n, err := elements(dims)
	if err != nil {
		return 0, err
	}
	l := t.layout()
	if dims[0]%l.block != 0 {
		return 0, malformed("%s packs %d elements at a time: want dimension 0 a multiple of that, got %d",
			l.name, l.block, dims[0])
	}
	if n/l.block > math.MaxInt64/l.bytes {
		return 0, malformed("%s of shape %v takes more bytes than an int64 counts", l.name, dims)
	}
	return n / l.block * l.bytes, nil
}

// elements multiplies the dimensions, each of which must be at least 1.
func elements(dims []int64) (int64, error) {
	if len(dims) < 1 || len(dims) > maxDims {
		return 0, malformed("want 1 to %d dimensions, got %d", maxDims, len(dims))
	}
	n := int64(1)
	for i, d := range dims {
		if d < 1 {
			return 0, malformed("dimension %d is %d: want at least 1", i, d)
		}
		if n > math.MaxInt64/d {
			return 0, malformed("shape %v has more elements than an int64 counts", dims)
		}
		n *= d
	}
	return n, nil
}
