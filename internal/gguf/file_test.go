package gguf_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

func openBytes(t testing.TB, b []byte) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := gguf.Open(filepath.Join(dir, "missing.gguf"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "missing.gguf")
	_, err = gguf.Open(dir)
	require.ErrorContains(t, err, "want a regular file")
	require.ErrorContains(t, err, dir)
}

func TestClose(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	x, ok := f.Tensor("v.class_embd")
	require.True(t, ok)
	require.NotNil(t, f.Data(x))
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "a second Close is harmless")
	require.Nil(t, f.Data(x))
	require.NoError(t, f.Release(x))
	_, err := f.String("general.architecture")
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = io.ReadAll(f.Reader(x))
	require.ErrorIs(t, err, os.ErrClosed)
	n, err := f.Uint("u8")
	require.NoError(t, err, "numbers are in memory")
	require.EqualValues(t, 200, n)
}

func TestTensorOfAnotherFilePanics(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	for _, x := range []gguf.Tensor{{Offset: 1 << 40, Size: 1}, {Offset: -32, Size: 1}, {Size: -1}, {Offset: 32, Size: 1<<63 - 1}} {
		require.Panics(t, func() { f.Data(x) })
		require.Panics(t, func() { f.Reader(x) })
		require.Panics(t, func() { f.Release(x) })
	}
}

func TestParsedHasNoMapping(t *testing.T) {
	b, _ := sound().encode()
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	x, _ := f.Tensor("t.token_embd.weight")
	require.Nil(t, f.Data(x))
	require.NoError(t, f.Release(x))
	got, err := io.ReadAll(f.Reader(x))
	require.NoError(t, err)
	require.Equal(t, b[f.DataStart()+704:][:32], got)
	require.NoError(t, f.Close())
	_, err = f.String("general.architecture")
	require.NoError(t, err, "what it reads from is not its own to close")
}

// Callers may do to what they get what they like.
func TestResultsAreCopies(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	f.Tensors()[0].Name = "changed"
	f.Keys()[0] = "changed"
	require.Equal(t, "v.class_embd", f.Tensors()[0].Name)
	require.Equal(t, "general.architecture", f.Keys()[0])
	x, _ := f.Tensor("v.class_embd")
	require.Equal(t, cap(f.Data(x)), len(f.Data(x)), "append cannot run into the next tensor")
}

func TestSharedByGoroutines(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, k := range f.Keys() {
				v, _ := f.Value(k)
				if _, err := v.Any(); err != nil {
					t.Error(err)
				}
			}
			for _, x := range f.Tensors() {
				got, err := io.ReadAll(f.Reader(x))
				if err != nil || !bytes.Equal(got, f.Data(x)) {
					t.Errorf("%s: %v", x.Name, err)
				}
				f.Release(x)
			}
		})
	}
	wg.Wait()
}

func TestSummary(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	require.Equal(t, gguf.Summary{
		Version: 3, Alignment: 32, FileSize: int64(len(b)), Keys: 12, Tensors: 4,
		Parameters: 16 + 48 + 512 + 16, DataSize: 64 + 96 + 544 + 32,
		Types: []gguf.TypeTotal{
			{Type: "q8_0", Tensors: 1, Parameters: 512, Bytes: 544},
			{Type: "f16", Tensors: 1, Parameters: 48, Bytes: 96},
			{Type: "f32", Tensors: 1, Parameters: 16, Bytes: 64},
			{Type: "bf16", Tensors: 1, Parameters: 16, Bytes: 32},
		},
	}, f.Summary())
}

// A tensor that was released no longer counts as resident, its neighbours still do, and its bytes are still there.
func TestRelease(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the resident pages of a mapping are read from Linux's /proc")
	}
	const size = 8 << 20
	big := tensor{"big", gguf.I8, []int64{size}, fill(size, 1)}
	after := tensor{"after", gguf.I8, []int64{size}, fill(size, 2)}
	f := openBytes(t, write(t, nil, nil, []tensor{big, after}))
	a, _ := f.Tensor("big")
	b, _ := f.Tensor("after")
	touch := func(x gguf.Tensor) (sum int) {
		for _, v := range f.Data(x) {
			sum += int(v)
		}
		return sum
	}
	sum, sumAfter := touch(a), touch(b) // kept, lest the compiler leave out loads that nothing uses
	full := resident(t, f.Path())
	require.GreaterOrEqual(t, full, 2*size)
	require.NoError(t, f.Release(a))
	require.InDelta(t, full-size, resident(t, f.Path()), 3*float64(os.Getpagesize()))
	require.Equal(t, []int{sum, sumAfter}, []int{touch(a), touch(b)})
}

// resident returns how many bytes of the file's mapping are in memory on this process's account.
func resident(t *testing.T, path string) int {
	maps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	parts := strings.Split(string(maps), path)
	require.Greater(t, len(parts), 1, "the file is mapped")
	total := 0
	for _, part := range parts[1:] { // the system may list a mapping in pieces
		_, rss, _ := strings.Cut(part, "\nRss:")
		var kb int
		_, err = fmt.Sscan(rss, &kb)
		require.NoError(t, err)
		total += kb << 10
	}
	return total
}
