package gguf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// fullSize makes a file with the metadata and tensors of BGE-VL-base: 299 MB, most of it a hole on the disk.
func fullSize(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "base.gguf")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	w := gguf.NewWriter(file)
	var tokens, merges []string
	types := make([]int32, 49_408)
	for i := range types {
		tokens = append(tokens, fmt.Sprintf("token%d</w>", i))
		types[i] = 1
	}
	for i := range 48_894 {
		merges = append(merges, fmt.Sprintf("tok %d</w>", i))
	}
	w.SetString("general.architecture", "clip")
	w.SetString("tokenizer.huggingface.json", strings.Repeat(`{"tokenizer":1},`, 140_000))
	w.SetStrings("tokenizer.ggml.tokens", tokens)
	w.SetStrings("tokenizer.ggml.merges", merges)
	w.SetInt32s("tokenizer.ggml.token_type", types)
	for _, tower := range []struct {
		name  string
		width int64
	}{{"v", 768}, {"t", 512}} {
		for layer := range 12 {
			for _, x := range []struct {
				name string
				dims []int64
			}{
				{"attn_q", []int64{tower.width, tower.width}}, {"attn_k", []int64{tower.width, tower.width}},
				{"attn_v", []int64{tower.width, tower.width}}, {"attn_out", []int64{tower.width, tower.width}},
				{"ffn_up", []int64{tower.width, 4 * tower.width}}, {"ffn_down", []int64{4 * tower.width, tower.width}},
				{"ln1", []int64{tower.width}}, {"ln2", []int64{tower.width}},
			} {
				name := fmt.Sprintf("%s.blk.%d.%s", tower.name, layer, x.name)
				require.NoError(t, w.AddTensor(name+".weight", gguf.F16, x.dims))
				require.NoError(t, w.AddTensor(name+".bias", gguf.F32, x.dims[len(x.dims)-1:]))
			}
		}
	}
	require.NoError(t, w.AddTensor("t.token_embd.weight", gguf.F16, []int64{512, 49_408}))
	require.NoError(t, w.WriteHeader())
	require.NoError(t, file.Truncate(w.Size()))
	return path
}

// Opening costs what the metadata costs, not what the tensors take.
func TestOpenDoesNotAllocateForMetadata(t *testing.T) {
	path := fullSize(t)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := gguf.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
	}).AllocedBytesPerOp()
	require.Less(t, allocated, int64(1<<20), "a vocabulary of 100,000 strings stays in the file")
}

func BenchmarkOpen(b *testing.B) {
	path := fullSize(b)
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkTokens(b *testing.B) {
	f, err := gguf.Open(fullSize(b))
	require.NoError(b, err)
	defer f.Close()
	for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.merges"} {
		b.Run(key[len("tokenizer.ggml."):], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Strings(key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
