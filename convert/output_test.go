package convert

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/randmodel"
)

// Too little room is noticed before anything is written; unknown room is not held against the file system.
func TestSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{}))
	folder := t.TempDir()
	out := filepath.Join(folder, "model.gguf")
	room := func(bytes int64, known bool) func(string) (int64, bool) {
		return func(asked string) (int64, bool) {
			require.Equal(t, folder, asked)
			return bytes, known
		}
	}
	r, err := run(t.Context(), dir, out, Options{}, room(0, false))
	require.NoError(t, err)
	require.NoError(t, os.Remove(out))
	_, err = run(t.Context(), dir, out, Options{}, room(r.Files[0].Bytes-1, true))
	require.ErrorContains(t, err, "model.gguf: it takes "+megabytes(r.Files[0].Bytes)+" and 0.8 MB are free: make room")
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = run(t.Context(), dir, out, Options{}, room(r.Files[0].Bytes, true))
	require.NoError(t, err)

	// Of several files it is the sum that counts.
	mllm := filepath.Join(t.TempDir(), "mllm")
	require.NoError(t, randmodel.MLLM(mllm, randmodel.MLLMSpec{}))
	o := Options{Types: []string{"f16", "q8_0"}}
	out = filepath.Join(t.TempDir(), "mllm.gguf")
	folder = filepath.Dir(out)
	r, err = run(t.Context(), mllm, out, o, room(0, false))
	require.NoError(t, err)
	require.Len(t, r.Files, 3)
	sum := int64(0)
	for _, f := range r.Files {
		sum += f.Bytes
		require.NoError(t, os.Remove(f.Path))
	}
	_, err = run(t.Context(), mllm, out, o, room(sum-1, true))
	require.ErrorContains(t, err, "mllm-f16.gguf: the 3 files take "+megabytes(sum))
	_, err = run(t.Context(), mllm, out, o, room(sum, true))
	require.NoError(t, err)
}

// Temporary files that a killed process left are passed by, and are no reason to fail.
func TestLeftovers(t *testing.T) {
	target := filepath.Join(t.TempDir(), "model.gguf")
	first, err := createOutput(target, false)
	require.NoError(t, err)
	second, err := createOutput(target, false)
	require.NoError(t, err)
	require.NotEqual(t, first.file.Name(), second.file.Name())
	second.discard()
	first.discard()
	left, err := os.ReadDir(filepath.Dir(target))
	require.NoError(t, err)
	require.Empty(t, left)
}
