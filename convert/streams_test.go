package convert_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
)

// stream is a file of weights as a download would bring it.
type stream struct {
	*bufio.Reader
	size  int64
	once  sync.Once
	close func()
}

func (s *stream) Size() int64 { return s.size }

func (s *stream) Close() error {
	if s.close != nil {
		s.once.Do(s.close)
	}
	return nil
}

// streamed takes the weights out of a checkpoint's folder and returns streams of them, which read from what wrap makes of
// their bytes.
func streamed(t *testing.T, dir string, wrap func(name string, r io.Reader) io.Reader) map[string]convert.Stream {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	streams := map[string]convert.Stream{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		var r io.Reader = bytes.NewReader(data)
		if wrap != nil {
			r = wrap(filepath.Base(path), r)
		}
		streams[filepath.Base(path)] = &stream{Reader: bufio.NewReaderSize(r, 1<<18), size: int64(len(data))}
	}
	return streams
}

// Weights that come as streams make the same files, bit for bit, as the same weights in a folder: of both families, in one
// file and in shards, of several types at once, and where weights are passed over.
func TestStreamsMakeTheSameFiles(t *testing.T) {
	clip, shards := small(), small()
	shards.Shards = 3
	left, reordered, tied := mllm(), mllm(), mllm()
	left.FeatureLayer = -3
	reordered.Shards = 4
	reordered.Text = randmodel.Decoder{Layers: 3, Width: 96, FFN: 256, Heads: 6, KVHeads: 2, HeadDim: 20}
	tied.Tied = true
	for name, dir := range map[string]string{
		"clip": newCheckpoint(t, clip), "clip in shards": newCheckpoint(t, shards), "mllm": newMLLM(t, left),
		"mllm in shards": newMLLM(t, reordered), "tied mllm": newMLLM(t, tied),
	} {
		t.Run(name, func(t *testing.T) {
			o := func() *convert.Options {
				return &convert.Options{Types: []string{"f32", "f16", "bf16", "q8_0", "q4_k_m"}, Threads: 3}
			}
			want, err := convert.Run(t.Context(), dir, filepath.Join(t.TempDir(), "m.gguf"), o())
			require.NoError(t, err)
			half := o()
			half.Streams = streamed(t, dir, func(_ string, r io.Reader) io.Reader { return smallReads{r} })
			var last convert.Progress
			half.Progress = func(p convert.Progress) { last = p }
			got, err := convert.Run(t.Context(), dir, filepath.Join(t.TempDir(), "m.gguf"), half)
			require.NoError(t, err)
			require.Equal(t, last.Total, last.Done)
			require.Len(t, got.Files, len(want.Files))
			for i := range want.Files {
				requireSameFile(t, want.Files[i], got.Files[i])
			}
		})
	}
}

// smallReads reads an odd number of bytes at a time.
type smallReads struct{ r io.Reader }

func (s smallReads) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 1237)]) }

// What a stream says at its end, after all of its bytes, counts as much as an error in the middle: no file appears, and all
// streams are closed.
func TestStreamsFail(t *testing.T) {
	wrong := errors.New("its digest is another")
	for _, which := range []string{"model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"} {
		for _, after := range []int64{0, 100, 100_000, 1 << 30} {
			spec := small()
			spec.Shards = 3
			dir := newCheckpoint(t, spec)
			closed := map[string]bool{}
			streams := streamed(t, dir, func(name string, r io.Reader) io.Reader {
				if name == which {
					return io.MultiReader(io.LimitReader(r, after), errReader{wrong})
				}
				return r
			})
			for name, s := range streams {
				s.(*stream).close = func() { closed[name] = true }
			}
			folder := t.TempDir()
			_, err := convert.Run(t.Context(), dir, filepath.Join(folder, "m.gguf"), &convert.Options{Streams: streams})
			require.ErrorIs(t, err, wrong)
			require.Empty(t, namesIn(t, folder))
			require.Len(t, closed, 3)
		}
	}
	// Also those that were never read.
	closed := false
	_, err := convert.Run(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "m.gguf"), &convert.Options{
		Streams: map[string]convert.Stream{"model.safetensors": &stream{close: func() { closed = true }}},
	})
	require.ErrorContains(t, err, "config.json")
	require.True(t, closed)
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// A stream from which nothing comes any more does not hold up the end of a conversion that was cancelled or has failed.
func TestStalledStream(t *testing.T) {
	for _, why := range []string{"cancelled", "failed"} {
		dir := newCheckpoint(t, small())
		if why == "failed" { // in the token table, which comes first
			edit(t, dir, one16("text_model.embeddings.token_embedding.weight", 5, 0x7e00))
		}
		ctx, cancel := context.WithCancel(t.Context())
		stalled := make(chan struct{})
		streams := streamed(t, dir, func(_ string, r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 900_000), readerFunc(func([]byte) (int, error) {
				if why == "cancelled" {
					cancel()
				}
				<-stalled
				return 0, io.ErrClosedPipe
			}))
		})
		streams["model.safetensors"].(*stream).close = func() { close(stalled) }
		folder := t.TempDir()
		_, err := convert.Run(ctx, dir, filepath.Join(folder, "m.gguf"), &convert.Options{Streams: streams})
		if why == "cancelled" {
			require.ErrorIs(t, err, context.Canceled)
		} else {
			require.ErrorContains(t, err, "element 5 is NaN")
		}
		require.Empty(t, namesIn(t, folder))
		cancel()
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
