package tokenizer

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/testenv"
)

// asGGUF returns a GGUF file that holds the keys alone.
func asGGUF(t testing.TB, keys []Key) *gguf.File {
	var buf bytes.Buffer
	w := gguf.NewWriter(&buf)
	w.SetString("general.architecture", "test")
	for _, k := range keys {
		w.Set(k.Name, k.Value)
	}
	require.NoError(t, w.WriteHeader())
	require.NoError(t, w.Close())
	f, err := gguf.Parse(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	return f
}

func keysOf(t testing.TB, dir string, rows int) []Key {
	special, err := ReadSpecial(dir)
	require.NoError(t, err)
	keys, err := GGUFKeys(checkpointTokenizer(t, dir), KeysOptions{Rows: rows, Special: special})
	require.NoError(t, err)
	return keys
}

// The tokenizer.ggml.* keys alone give the reference's ids.
func TestFromGGUFKeysOfSmallVocabularies(t *testing.T) {
	for _, name := range []string{"small-clip", "small-mistral", "small-mistral-first"} {
		t.Run(name, func(t *testing.T) { requireKeysParity(t, filepath.Join("testdata", name), name) })
	}
}

func TestFromGGUFKeysOfRealVocabularies(t *testing.T) {
	checkpoints := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
	for _, name := range []string{"clip-base-tiny", "mllm-tiny", "mllm-tiny-v15"} {
		t.Run(name, func(t *testing.T) { requireKeysParity(t, filepath.Join(checkpoints, name), name) })
	}
}

func requireKeysParity(t *testing.T, dir, golden string) {
	plain := checkpointTokenizer(t, dir).(*bpe)
	for _, rows := range []int{0, plain.VocabSize() + 62} {
		tok, err := FromGGUF(asGGUF(t, keysOf(t, dir, rows)))
		require.NoError(t, err)
		got := tok.(*bpe)
		require.Equal(t, plain.before, got.before)
		require.Equal(t, plain.after, got.after)
		require.Equal(t, plain.mergeList(), got.mergeList())
		require.Equal(t, plain.VocabSize(), got.VocabSize())
		if rows == 0 {
			requireParity(t, tok, golden)
		}
	}
}

// tokenizer.huggingface.json counts before the other keys.
func TestFromGGUFPrefersJSON(t *testing.T) {
	text, err := CheckpointJSON(filepath.Join("testdata", "small-mistral"))
	require.NoError(t, err)
	keys := append(keysOf(t, filepath.Join("testdata", "small-clip"), 0), Key{keyJSON, string(text)})
	tok, err := FromGGUF(asGGUF(t, keys))
	require.NoError(t, err)
	requireParity(t, tok, "small-mistral")
}
