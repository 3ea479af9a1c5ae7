package safetensors_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/testenv"
)

// The checkpoints that transformers saved open, sharded ones too.
func TestReferenceCheckpoints(t *testing.T) {
	dir := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
	for _, c := range []struct {
		name, tensor string
		files        int
	}{
		{"clip-base-tiny", "text_model.embeddings.token_embedding.weight", 1},
		{"clip-large-tiny", "text_model.embeddings.token_embedding.weight", 1},
		{"mllm-tiny", "multi_modal_projector.linear_1.weight", 3},
		{"mllm-tiny-v15", "multi_modal_projector.linear_1.weight", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			ck, err := safetensors.OpenCheckpoint(filepath.Join(dir, c.name))
			require.NoError(t, err)
			defer ck.Close()
			require.Len(t, ck.Files(), c.files)
			x, ok := ck.Tensor(c.tensor)
			require.True(t, ok)
			require.Len(t, x.Shape, 2)
			require.Equal(t, x.Size, ck.Reader(x).Size())
		})
	}
}
