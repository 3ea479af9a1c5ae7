package llama

import (
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/modelfile"
)

var (
	// ErrClosed is what a call on a closed Model fails with.
	ErrClosed = errors.New("llama: the model is closed")

	// ErrTooLong is what an input past the context fails with; errors.As gives the *TooLongError.
	ErrTooLong = errors.New("llama: input too long")

	// ErrNonFinite is what a row fails with whose states or scores are not all finite numbers.
	ErrNonFinite = errors.New("llama: states hold NaN or infinity: the weights or the input are damaged")

	// ErrNoProjector is what a picture fails with where the model was opened without a projector; the error says which
	// file was looked for and how to get it.
	ErrNoProjector = errors.New("llama: no projector")

	// ErrEmbeddingOnly is what a prediction fails with where the model's checkpoint came without the output layer.
	ErrEmbeddingOnly = errors.New("llama: the model has no output layer, since its checkpoint came without one (lm_head.weight): " +
		"it gives states and embeddings only; convert a whole checkpoint to predict")
)

// TooLongError says how long an input was. errors.Is(err, ErrTooLong) holds.
type TooLongError struct {
	Tokens int // of the input: each vector of a picture counts as one
	Limit  int // tokens that the model was opened for
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("input is %d tokens long, the limit is %d: shorten it, or open the model with a larger context", e.Tokens, e.Limit)
}

// Is reports whether target is ErrTooLong.
func (e *TooLongError) Is(target error) bool { return target == ErrTooLong }

// RowError is the failure of one input of a batch whose other inputs are good.
type RowError = modelfile.RowError

// OpenError is why a file could not be opened as a language model. Err is often a *KeyError, a *TensorError or a
// *ProjectorError.
type OpenError struct {
	Path string
	Err  error
}

func (e *OpenError) Error() string { return "llama: open " + e.Path + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *OpenError) Unwrap() error { return e.Err }

// ProjectorError is a projector file that was found or named and that does not serve the model beside it: it is
// damaged, or it belongs to another model.
type ProjectorError struct {
	Model, Projector string // paths
	Err              error
}

func (e *ProjectorError) Error() string {
	return fmt.Sprintf("projector %s of %s: %v: convert the checkpoint again, name the right projector, or open the model for texts only",
		e.Projector, e.Model, e.Err)
}

// Unwrap gives the reason.
func (e *ProjectorError) Unwrap() error { return e.Err }

// KeyError is a metadata key of the file whose value cannot be used, or that is missing.
type KeyError = modelfile.KeyError

// TensorError is a tensor that is missing, unknown, or of a wrong shape or type.
type TensorError = modelfile.TensorError
