package clip

import (
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/modelfile"
)

var (
	// ErrClosed is what a call on a closed Model fails with.
	ErrClosed = errors.New("clip: the model is closed")

	// ErrTooLong is what a text past the model's context fails with; errors.As gives the *TooLongError.
	ErrTooLong = errors.New("clip: text too long")

	// ErrNonFinite is what a row fails with whose features are not all finite numbers.
	ErrNonFinite = errors.New("clip: features hold NaN or infinity: the weights or the input are damaged")
)

// TooLongError says how long a text was. errors.Is(err, ErrTooLong) holds.
type TooLongError struct {
	Tokens int // tokens of the text, the start and end tokens included
	Limit  int // tokens that the model takes
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("text is %d tokens long, the model takes %d: shorten it, or ask for truncation", e.Tokens, e.Limit)
}

// Is reports whether target is ErrTooLong.
func (e *TooLongError) Is(target error) bool { return target == ErrTooLong }

// RowError is the failure of one row of a batch whose other rows are good.
type RowError = modelfile.RowError

// OpenError is why a file could not be opened as a CLIP model. Err is often a *KeyError or a *TensorError.
type OpenError struct {
	Path string
	Err  error
}

func (e *OpenError) Error() string { return "clip: open " + e.Path + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *OpenError) Unwrap() error { return e.Err }

// KeyError is a metadata key of the file whose value cannot be used, or that is missing.
type KeyError = modelfile.KeyError

// TensorError is a tensor that is missing, unknown, or of a wrong shape or type.
type TensorError = modelfile.TensorError
