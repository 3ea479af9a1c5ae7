package modelfile

import (
	"fmt"
	"strconv"
	"strings"
)

// KeyError is a metadata key of a file whose value cannot be used, or that is missing.
type KeyError struct {
	Key    string
	Reason string // what is wrong, and where it helps, what to do
	Err    error  // the reader's own error, where there is one
}

func (e *KeyError) Error() string { return "key " + e.Key + ": " + e.Reason }

// Unwrap gives the reader's error: gguf.ErrNoKey for a missing key.
func (e *KeyError) Unwrap() error { return e.Err }

// TensorError is a tensor that is missing, unknown, or of a wrong shape or type.
type TensorError struct {
	Name      string
	Want, Got []int64 // shapes, outer dimension first; nil where the shape is not what is wrong
	Reason    string  // set where Want is nil
}

func (e *TensorError) Error() string {
	if e.Want == nil {
		return "tensor " + e.Name + ": " + e.Reason
	}
	return fmt.Sprintf("tensor %s: want %s, got %s", e.Name, ShapeString(e.Want), ShapeString(e.Got))
}

// ShapeString writes a shape as people do: 768x512.
func ShapeString(shape []int64) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(parts, "x")
}
