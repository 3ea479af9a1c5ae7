package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// copyFiles makes a folder with some of a checkpoint's files.
func copyFiles(t testing.TB, from string, names ...string) string {
	dir := t.TempDir()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

// meaning decodes a tokenizer.json, with merges in the newer form.
func meaning(t testing.TB, text []byte) map[string]any {
	var m map[string]any
	require.NoError(t, json.Unmarshal(text, &m))
	merges := m["model"].(map[string]any)["merges"].([]any)
	for i, pair := range merges {
		if line, ok := pair.(string); ok {
			var left, right string
			for j := range line {
				if line[j] == ' ' {
					left, right = line[:j], line[j+1:]
				}
			}
			merges[i] = []any{left, right}
		}
	}
	return m
}

func requireSameDocument(t *testing.T, want, got []byte) {
	w, g := meaning(t, want), meaning(t, got)
	wm, gm := w["model"].(map[string]any), g["model"].(map[string]any)
	wantMerges, gotMerges := wm["merges"].([]any), gm["merges"].([]any)
	require.Equal(t, len(wantMerges), len(gotMerges))
	for i := range wantMerges {
		if w, g := wantMerges[i].([]any), gotMerges[i].([]any); !slices.Equal(w, g) { // require.Equal is slow for so many
			require.Equal(t, w, g, "merge %d", i)
		}
	}
	for _, m := range []map[string]any{wm, gm} {
		delete(m, "merges")
	}
	require.Equal(t, w, g)
}

// A checkpoint without tokenizer.json gives the one that transformers saved from the same files.
func TestComposedEqualsSaved(t *testing.T) {
	folders := map[string]string{
		"small-mistral": filepath.Join("testdata", "small-mistral"), "small-mistral-first": filepath.Join("testdata", "small-mistral-first"),
	}
	t.Run("small", func(t *testing.T) { requireComposedEqualsSaved(t, folders) })
	t.Run("real", func(t *testing.T) {
		checkpoints := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
		requireComposedEqualsSaved(t, map[string]string{
			"mllm-tiny": filepath.Join(checkpoints, "mllm-tiny"), "mllm-tiny-v15": filepath.Join(checkpoints, "mllm-tiny-v15"),
		})
		saved, err := CheckpointJSON(filepath.Join(checkpoints, "clip-large-tiny"))
		require.NoError(t, err)
		composed, err := CheckpointJSON(filepath.Join(checkpoints, "clip-base-tiny"))
		require.NoError(t, err)
		requireSameDocument(t, saved, composed)
	})
}

func requireComposedEqualsSaved(t *testing.T, folders map[string]string) {
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			saved, err := CheckpointJSON(folder)
			require.NoError(t, err)
			composed, err := CheckpointJSON(copyFiles(t, folder, "tokenizer.model", "tokenizer_config.json"))
			require.NoError(t, err)
			requireSameDocument(t, saved, composed)
		})
	}
}
