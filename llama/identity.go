package llama

import (
	"context"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Identity is what a model's states depend on, as digests that may be compared. Fields of the projector are "" where
// there is none.
type Identity struct {
	Weights       string // digest of the checkpoint that the file was converted from, else of the file's tensors
	Type          string // type of the weights
	Tokenizer     string // digest
	Projector     string // as Weights, of the projector's file
	ProjectorType string
	Preprocessing string // digest of how a picture becomes tiles, however it is written down
}

// Identity returns what the model's states depend on. The first call may read whole files: those of other converters,
// which state no digest of their source. It fails with ErrClosed on a closed Model.
func (m *Model) Identity(ctx context.Context) (Identity, error) {
	return m.identity.Get(func() (Identity, error) {
		id := Identity{Type: m.info.Type, ProjectorType: m.info.ProjectorType}
		err := m.runner.WithFile(decoderPart, func(f *gguf.File) (err error) {
			if id.Tokenizer, err = modelfile.TokenizerDigest(f); err != nil {
				return err
			}
			id.Weights, err = modelfile.WeightsDigest(ctx, f)
			return err
		})
		if err != nil || m.projector == nil {
			return id, err
		}
		if id.Preprocessing, err = modelfile.JSONDigest(m.projector.preprocessText); err != nil {
			return id, &KeyError{Key: modelfile.PreprocessKey, Reason: err.Error(), Err: err}
		}
		err = m.runner.WithFile(projectorPart, func(f *gguf.File) (err error) {
			id.Projector, err = modelfile.WeightsDigest(ctx, f)
			return err
		})
		return id, err
	})
}
