package hub_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/hub"
	"github.com/bgevl/bgevl/internal/fakehub"
)

// skipping pulls all but the weights.
func skipping(t *testing.T, c *hub.Client) *hub.Snapshot {
	t.Helper()
	s := pull(t, c, "main", &hub.PullOptions{SkipWeights: true})
	requireNoWeights(t, c.CacheDir())
	return s
}

// read reads a stream as a converter does: first its beginning, by small requests.
func read(s *hub.Stream) ([]byte, error) {
	for _, n := range []int{8, 8, 5000} {
		if _, err := s.Peek(n); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(s)
}

func stream(t *testing.T, c *hub.Client, s *hub.Snapshot) *hub.Stream {
	t.Helper()
	require.Len(t, s.Skipped, 1)
	st, err := c.Stream(t.Context(), s, s.Skipped[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

// bytesIn is how many bytes the files of a folder have.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			st, err := d.Info()
			if err != nil {
				return err
			}
			n += st.Size()
		}
		return err
	}))
	return n
}

// Without weights a pull stores what is small; a stream brings the rest, each byte once, and stores nothing.
func TestStream(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	data := files["model.safetensors"]
	var plan hub.Plan
	var last hub.Progress
	s := pull(t, c, "main", &hub.PullOptions{SkipWeights: true,
		Plan: func(p hub.Plan) error { plan = p; return nil }, Progress: func(p hub.Progress) { last = p }})
	small := wanted()[:3]
	requireFiles(t, s, files, small...)
	require.Len(t, s.Files, 4)
	require.Equal(t, []hub.File{s.Files[3]}, s.Skipped)
	require.Equal(t, plan.Total, s.Missing)
	require.Equal(t, plan.Missing, s.Missing)
	require.Equal(t, plan.Total-int64(len(data)), last.Done)
	require.Equal(t, last.Total, last.Done)
	for _, r := range h.Requests() {
		require.False(t, r.CDN, "weights were asked for")
	}
	before := bytesIn(t, c.CacheDir())
	require.Less(t, before, int64(10_000))

	st := stream(t, c, s)
	require.EqualValues(t, len(data), st.Size())
	head, err := st.Peek(8)
	require.NoError(t, err)
	require.Equal(t, data[:8], head)
	head, err = st.Peek(3000)
	require.NoError(t, err)
	require.Equal(t, data[:3000], head)
	time.Sleep(10 * time.Millisecond)
	require.Equal(t, []string{"bytes=0-7", "bytes=8-2999"}, cdnRanges(h), "no more than was asked for")
	got, err := io.ReadAll(st)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.Equal(t, before, bytesIn(t, c.CacheDir()))
	require.True(t, h.Once(data), "%v", cdnRanges(h))
	_, err = st.Peek(1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	// Nothing is streamed that the cache has.
	pull(t, c, "main", nil)
	require.Empty(t, pull(t, c, "main", &hub.PullOptions{SkipWeights: true}).Skipped)
	require.Empty(t, pull(t, client(t, h, in(c.CacheDir()), offline), "main", &hub.PullOptions{SkipWeights: true}).Skipped)
	_, err = client(t, h, offline).Pull(t.Context(), repo, "main", &hub.PullOptions{SkipWeights: true})
	require.ErrorIs(t, err, hub.ErrOffline)
}

func cdnRanges(h *fakehub.Hub) (ranges []string) {
	for _, r := range h.Requests() {
		if r.CDN {
			ranges = append(ranges, r.Range)
		}
	}
	return ranges
}

// Shards that the cache has are not streamed.
func TestStreamMissingShards(t *testing.T) {
	h := fakehub.Start(t)
	files := map[string][]byte{
		"config.json":                  []byte(`{}`),
		"model.safetensors.index.json": []byte(`{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}`),
		"1.safetensors":                noise(1, 3000), "2.safetensors": noise(2, 3000),
	}
	h.Commit(repo, "main", files)
	c := client(t, h)
	pull(t, c, "main", &hub.PullOptions{Files: []string{"2.safetensors"}})
	s := pull(t, c, "main", &hub.PullOptions{SkipWeights: true})
	requireFiles(t, s, files, "config.json", "model.safetensors.index.json", "2.safetensors")
	require.Equal(t, "1.safetensors", s.Skipped[0].Path)
	got, err := read(stream(t, c, s))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "there are not so many bytes to peek at")
	require.Empty(t, got)
	got, err = io.ReadAll(stream(t, c, s))
	require.NoError(t, err)
	require.Equal(t, files["1.safetensors"], got)

	_, err = c.Stream(t.Context(), s, hub.File{Path: "../evil", Size: 1, Digest: s.Skipped[0].Digest})
	require.ErrorIs(t, err, hub.ErrName)
	_, err = c.Stream(t.Context(), s, hub.File{Path: "1.safetensors", Size: 1})
	require.ErrorIs(t, err, hub.ErrProtocol, "nothing is streamed without a digest")
}

// Every fault of the table meets a stream too: it ends with the right bytes, or with an error.
func TestStreamFaults(t *testing.T) {
	t.Parallel()
	for _, f := range append(transferFaults(), hubFaults()...) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h, c, files := f.start(t, 2, 25)
			s, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{SkipWeights: true})
			var got []byte
			if err == nil {
				got, err = read(stream(t, c, s))
			}
			requireNoWeights(t, c.CacheDir())
			require.Less(t, bytesIn(t, c.CacheDir()), int64(10_000))
			requireTokenKept(t, h)
			fails, text := f.fails, f.text
			if f.streamed != nil {
				fails, text = f.streamed, ""
			}
			if fails == nil && text == "" {
				require.NoError(t, err)
				require.True(t, bytes.Equal(files["model.safetensors"], got))
				return
			}
			requireSecretsKept(t, err)
			if fails != nil {
				require.ErrorIs(t, err, fails)
			}
			require.ErrorContains(t, err, text)
		})
	}
}

// A digest that is not the listing's is told after the last byte, by the file's name.
func TestStreamDigest(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	s := skipping(t, c)
	h.Inject(ranges, -1, fakehub.FlipBit(7))
	got, err := io.ReadAll(stream(t, c, s))
	require.ErrorIs(t, err, hub.ErrDigest)
	require.ErrorContains(t, err, "model.safetensors")
	require.Len(t, got, len(files["model.safetensors"]))
}

// A file that changes at its address while it comes has the hub asked again. Where that has another file now, it is an
// error long before the file's end; where it stands by the commit's, the digest has the last word.
func TestFileChangesMeanwhile(t *testing.T) {
	other := fakehub.Edit(func(r *httptest.ResponseRecorder) {
		r.Header().Set("ETag", `"another"`)
		r.Body.Bytes()[0] ^= 1
	})
	for _, hubKnows := range []bool{true, false} {
		h := fakehub.Start(t)
		files := checkpoint()
		h.Commit(repo, "main", files)
		c := client(t, h, func(o *hub.Options) { o.Connections = 1 })
		st := stream(t, c, skipping(t, c))
		_, err := st.Peek(100)
		require.NoError(t, err)
		h.Inject(weights, -1, other)
		if hubKnows {
			h.Inject(heads, -1, fakehub.Header("X-Linked-Etag", `"`+strings.Repeat("ab", 32)+`"`))
		}
		h.Forget()
		_, err = io.ReadAll(st)
		asked := 0
		for _, r := range h.Requests() {
			if r.Method == http.MethodHead {
				asked++
			}
		}
		require.Equal(t, 1, asked)
		if hubKnows {
			require.ErrorIs(t, err, hub.ErrProtocol)
			require.ErrorContains(t, err, "the hub says that its digest is abab")
			continue
		}
		require.ErrorIs(t, err, hub.ErrDigest)
	}
}

// A stream from which nothing comes ends with its context, and at once when it is closed, read or not.
func TestStreamEnds(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	s := skipping(t, c)
	require.NoError(t, stream(t, c, s).Close())

	half := stream(t, c, s)
	_, err := half.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, half.Close())
	_, err = io.ReadAll(half)
	require.Error(t, err)

	h.Inject(weights, -1, fakehub.Stall(1000))
	for _, end := range []func(*hub.Stream, context.CancelFunc){
		func(_ *hub.Stream, cancel context.CancelFunc) { cancel() },
		func(st *hub.Stream, _ context.CancelFunc) { _ = st.Close() },
	} {
		for _, peeks := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			st, err := c.Stream(ctx, s, s.Skipped[0])
			require.NoError(t, err)
			time.AfterFunc(20*time.Millisecond, func() { end(st, cancel) })
			if peeks {
				_, err = st.Peek(5000)
			} else {
				_, err = io.ReadAll(st)
			}
			require.Error(t, err)
			require.NoError(t, st.Close())
			cancel()
		}
	}
}

// The room that a pull looks for is that of what it stores.
func TestStreamSpace(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	c.SetFree(func(string) (int64, bool) { return 64<<20 + 100_000, true })
	_, err := c.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrSpace)
	skipping(t, c)
	require.NoError(t, os.RemoveAll(c.CacheDir()))
}
