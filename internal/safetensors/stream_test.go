package safetensors_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/safetensors"
)

// stream is a file as a download would bring it. Nothing can be read twice.
type stream struct {
	*bufio.Reader
	size   int64
	closed int
}

func newStream(r io.Reader, size int) *stream {
	return &stream{Reader: bufio.NewReaderSize(r, 1<<20), size: int64(size)}
}

func (s *stream) Size() int64 { return s.size }

func (s *stream) Close() error {
	s.closed++
	return nil
}

// What is said of a file is said of a stream of the same bytes, however few come at a time.
func TestStreamsOfAttacks(t *testing.T) {
	sound := attack{"sound", file(strings.Join(soundHeader(), ""), 40), ""}
	for _, a := range append(attacks(), sound) {
		t.Run(a.name, func(t *testing.T) {
			if len(a.file) > 1<<20 {
				t.Skip("the test's streams can peek at a megabyte at most")
			}
			_, want := safetensors.Parse(bytes.NewReader(a.file), int64(len(a.file)))
			s := newStream(iotest.OneByteReader(bytes.NewReader(a.file)), len(a.file))
			ck, err := safetensors.StreamCheckpoint(t.TempDir(), map[string]safetensors.Stream{single: s})
			if want != nil {
				require.ErrorIs(t, err, safetensors.ErrMalformed)
				require.ErrorContains(t, err, single+": "+strings.TrimPrefix(want.Error(), "safetensors: "))
				return
			}
			require.NoError(t, err)
			require.NoError(t, ck.Close())
			require.Equal(t, 1, s.closed)
		})
	}
}

// Shards come from streams and from the folder, in any mix, and have the same tensors and bytes.
func TestStreamedShards(t *testing.T) {
	whole := sharded(nil)
	for _, streamed := range [][]string{{shardOne}, {shardTwo}, {shardOne, shardTwo}} {
		files, streams := sharded(nil), map[string]safetensors.Stream{}
		for _, name := range streamed {
			streams[name] = newStream(strings.NewReader(whole[name]), len(whole[name]))
			delete(files, name)
		}
		dir := folder(t, files)
		ck, err := safetensors.StreamCheckpoint(dir, streams)
		require.NoError(t, err)
		want, err := safetensors.OpenCheckpoint(folder(t, whole))
		require.NoError(t, err)
		require.Equal(t, want.Tensors(), ck.Tensors())
		require.Equal(t, want.Summary(), ck.Summary())
		for i, f := range ck.Files() {
			require.Equal(t, filepath.Join(dir, filepath.Base(want.Files()[i].Path())), f.Path())
			var data []byte
			for _, x := range want.Files()[i].Tensors() {
				bytes, err := io.ReadAll(want.Files()[i].Reader(x))
				require.NoError(t, err)
				data = append(data, bytes...)
			}
			for _, f := range []*safetensors.File{want.Files()[i], f} {
				got, err := io.ReadAll(f.Data())
				require.NoError(t, err)
				require.Equal(t, data, got)
			}
		}
		if len(streamed) == 2 {
			x, _ := ck.Tensor("a")
			_, err = io.ReadAll(ck.Reader(x))
			require.ErrorContains(t, err, "the file is a stream")
		}
		require.NoError(t, errors.Join(want.Close(), ck.Close()))
		for _, s := range streams {
			require.Equal(t, 1, s.(*stream).closed)
		}
	}
}

// What a stream says in place of bytes is the error, and is no judgement on the file.
func TestStreamFails(t *testing.T) {
	why := errors.New("no network")
	text := floats("x")
	for _, after := range []int64{0, 5, 20} {
		r := io.MultiReader(io.LimitReader(bytes.NewReader(text), after), iotest.ErrReader(why))
		_, err := safetensors.StreamCheckpoint(t.TempDir(), map[string]safetensors.Stream{single: newStream(r, len(text))})
		require.ErrorIs(t, err, why)
		require.NotErrorIs(t, err, safetensors.ErrMalformed)
		require.ErrorContains(t, err, single)
	}
	_, err := safetensors.StreamCheckpoint(t.TempDir(), map[string]safetensors.Stream{"other": newStream(nil, 0)})
	require.ErrorIs(t, err, os.ErrNotExist)
}
