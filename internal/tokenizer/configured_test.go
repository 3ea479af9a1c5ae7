package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// editedCheckpoint is small-mistral with another configuration.
func editedCheckpoint(t *testing.T, name string, edit func(config map[string]any)) Tokenizer {
	dir := copyFiles(t, filepath.Join("testdata", name), "tokenizer.json", "tokenizer_config.json")
	path := filepath.Join(dir, "tokenizer_config.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(data, &config))
	edit(config)
	data, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return checkpointTokenizer(t, dir)
}

// What tokenizer_config.json says beside a tokenizer.json, as observed of transformers 4.45.2.
func TestConfiguration(t *testing.T) {
	const text = "a<image> b"
	image := func(c map[string]any) map[string]any {
		return c["added_tokens_decoder"].(map[string]any)["700"].(map[string]any)
	}
	plain := editedCheckpoint(t, "small-mistral", func(map[string]any) {}).Encode(text)
	require.Equal(t, []int32{1, 700}, []int32{plain[0], plain[2]})

	got := editedCheckpoint(t, "small-mistral", func(c map[string]any) { c["add_bos_token"] = false }).Encode(text)
	require.Equal(t, plain[1:], got)
	got = editedCheckpoint(t, "small-mistral", func(c map[string]any) { c["add_eos_token"] = true }).Encode(text)
	require.Equal(t, append(plain[:len(plain):len(plain)], 2), got)
	got = editedCheckpoint(t, "small-mistral", func(c map[string]any) { delete(c, "tokenizer_class"); c["add_eos_token"] = true }).Encode(text)
	require.Equal(t, plain, got, "only a LlamaTokenizer makes its post-processor anew")

	tok := editedCheckpoint(t, "small-mistral", func(c map[string]any) {
		c["added_tokens_decoder"].(map[string]any)["702"] = map[string]any{"content": "<new>", "special": true}
	})
	require.Contains(t, tok.Encode("x<new>"), int32(702))
	require.Equal(t, 703, tok.VocabSize())

	// rstrip changes: the space after the token goes, so the next piece is "b" with its prefix only.
	got = editedCheckpoint(t, "small-mistral", func(c map[string]any) { image(c)["rstrip"] = true }).Encode(text)
	require.Equal(t, editedCheckpoint(t, "small-mistral", func(map[string]any) {}).Encode("a<image>b"), got)
	// normalized doesn't.
	got = editedCheckpoint(t, "small-mistral", func(c map[string]any) { image(c)["normalized"] = true }).Encode(text)
	require.Equal(t, plain, got)
}

// A checkpoint that was saved in one go has its file passed on byte by byte.
func TestCheckpointFileAsItStands(t *testing.T) {
	for _, name := range []string{"small-mistral", "small-mistral-first", "small-clip-options"} {
		want, err := os.ReadFile(filepath.Join("testdata", name, "tokenizer.json"))
		require.NoError(t, err)
		got, err := CheckpointJSON(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}
