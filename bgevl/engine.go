package bgevl

import (
	"context"
	"errors"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/llama"
)

// engine is a model family: how one input is prepared, and how a batch of prepared inputs becomes raw vectors. What
// all families share, reading inputs in order, batching, normalising, is not its business.
//
// Its methods may be called by many goroutines.
type engine interface {
	info() Info

	// weights returns what a full batch weighs when Options.BatchSize is batch, and the most that one input may weigh.
	weights(batch int) (full, heaviest int64)

	// weight is how much an input counts against a batch and against what is held in memory, at most heaviest. It does
	// not look into the operands further than how long they are.
	weight(in *Input) int64

	// prepare does all that needs no weights: tokens, pixels. Its errors are the input's. An *operandError names the
	// operand. The input was checked.
	prepare(ctx context.Context, in *Input) (*prepared, error)

	// tokens returns what prepare makes of an input's text, before any cut. Its errors are those of prepare.
	tokens(in *Input) ([]int32, error)

	// token returns what a token's id stands for, and whether it is special.
	token(id int32) (text string, special bool)

	// compute sets raw or err of each of the batch. An error of its own means that none can be trusted.
	compute(ctx context.Context, batch []*prepared) error

	fingerprint(ctx context.Context) (Fingerprint, error)
	close() error
}

// prepared is an input that is ready for a model.
type prepared struct {
	tokens    []int32   // nil without a text, in families that have no prompt around it
	pixels    []float32 // nil without an image, and in families that have pictures
	picture   *llama.Picture
	features  []float32 // of the picture, while it may be needed again
	prefix    string    // inputs with the same one begin with the same tokens; empty where too few to matter
	length    int       // tokens before any cut
	truncated bool
	warning   Warning

	raw []float32 // the vector before normalisation, set by compute
	err error     // why this input failed, set by compute
}

// Weights of inputs of CLIP models, in quarters of an image: a short text costs less than a quarter of what an image
// costs, and a longer one about that.
const (
	textWeight  = 1
	imageWeight = 4
)

// rowErrors takes apart what packages clip and llama join. It reports whether err, which may be nil, is about rows only.
func rowErrors(err error) ([]*modelfile.RowError, bool) {
	if err == nil {
		return nil, true
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return nil, false
	}
	var rows []*modelfile.RowError
	for _, one := range joined.Unwrap() {
		row, ok := errors.AsType[*modelfile.RowError](one)
		if !ok {
			return nil, false
		}
		rows = append(rows, row)
	}
	return rows, true
}

// nonFinite turns the models' errors about NaN and infinity into this package's.
func nonFinite(err error) error {
	if errors.Is(err, clip.ErrNonFinite) || errors.Is(err, llama.ErrNonFinite) {
		return ErrNonFinite
	}
	return err
}

// modelError turns the models' errors about a whole call into this package's.
func modelError(err error) error {
	if errors.Is(err, clip.ErrClosed) || errors.Is(err, llama.ErrClosed) {
		return ErrClosed
	}
	return err
}
