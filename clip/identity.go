package clip

import (
	"context"
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Identity is what a model's features depend on, as digests that may be compared.
type Identity struct {
	Weights       string // digest of the checkpoint that the file was converted from, else of the file's tensors
	Type          string // type of the weights
	Tokenizer     string // digest
	Preprocessing string // digest of how a picture becomes pixels, however it is written down
	Pooling       string // which position of a text is projected
}

// Identity returns what the model's features depend on. The first call may read the whole file: for files of other
// converters, which state no digest of their source. It fails with ErrClosed on a closed Model.
func (m *Model) Identity(ctx context.Context) (Identity, error) {
	return m.identity.Get(func() (id Identity, err error) {
		err = m.runner.WithFile(onlyPart, func(f *gguf.File) (err error) {
			id, err = readIdentity(ctx, f, m.params, m.info.Type)
			return err
		})
		return id, err
	})
}

func readIdentity(ctx context.Context, f *gguf.File, p *params, typ string) (Identity, error) {
	id := Identity{Type: typ, Pooling: fmt.Sprintf("first position of id %d", p.eos)}
	if p.eos == openaiEOS {
		id.Pooling = "position of the largest id"
	}
	_, text, err := modelfile.Preprocess(f, p.imageSize, nil)
	if err != nil {
		return id, err
	}
	if id.Preprocessing, err = modelfile.JSONDigest(text); err != nil {
		return id, &KeyError{Key: modelfile.PreprocessKey, Reason: err.Error(), Err: err}
	}
	if id.Tokenizer, err = modelfile.TokenizerDigest(f); err != nil {
		return id, err
	}
	id.Weights, err = modelfile.WeightsDigest(ctx, f)
	return id, err
}
