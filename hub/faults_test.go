package hub_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/hub"
	"github.com/bgevl/bgevl/internal/fakehub"
)

// What requests faults are for.
var (
	weights = fakehub.Which{CDN: true}
	ranges  = fakehub.Which{CDN: true, Ranged: true}
	heads   = fakehub.Which{Hub: true, Method: http.MethodHead}
	info    = fakehub.Which{Hub: true, Path: "/revision/"}
	listing = fakehub.Which{Hub: true, Path: "/tree/"}
)

// manyTimes is more often than a client tries.
const manyTimes = 1000

// A faulty hub, and how the pull must end: with the right files where fails is nil, or else with that kind of error, and
// with the right files after all when the fault is gone.
type faulty struct {
	name  string
	do    func(h *fakehub.Hub)
	fails error
	text  string
	idle  bool // the pull is to lose its patience

	// streamed is the kind of error that a stream ends with instead, as it cannot begin again.
	streamed error
}

// start returns a hub with the fault, a client of it with so many retries, or that many more where it is to lose its patience,
// and the files that are there.
func (f faulty) start(t *testing.T, retries, idleRetries int) (*fakehub.Hub, *hub.Client, map[string][]byte) {
	t.Helper()
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	h.Protect(repo, token, false)
	c := client(t, h, func(o *hub.Options) {
		o.Token, o.IdleTimeout, o.Retries = token, time.Minute, retries
		if f.idle { // and not to lose it for good where the machine is slow
			o.IdleTimeout, o.Retries = time.Second, idleRetries
		}
	})
	f.do(h)
	return h, c, files
}

// requireSecretsKept makes sure that there is an error and that it tells no secret.
func requireSecretsKept(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotContains(t, err.Error(), token)
	require.NotContains(t, err.Error(), "Signature", "signed addresses are secrets")
}

// inject makes a fault of the usual kind.
func inject(which fakehub.Which, times int, f fakehub.Fault) func(*fakehub.Hub) {
	return func(h *fakehub.Hub) { h.Inject(which, times, f) }
}

// edited rewrites the JSON text of an answer.
func edited(change func(string) string) fakehub.Fault {
	return fakehub.Edit(func(r *httptest.ResponseRecorder) {
		text := change(r.Body.String())
		r.Body.Reset()
		r.Body.WriteString(text)
		r.Header().Set("Content-Length", strconv.Itoa(len(text)))
	})
}

// lying changes what the listing says of the weights.
func lying(change func(e *fakehub.Entry)) func(*fakehub.Hub) {
	return func(h *fakehub.Hub) {
		h.RewriteListing(func(_ string, entries []fakehub.Entry) []fakehub.Entry {
			for i := range entries {
				if entries[i].Path == "model.safetensors" {
					change(&entries[i])
				}
			}
			return entries
		})
	}
}

func transferFaults() []faulty {
	const piece = hub.MinPiece
	return []faulty{
		{name: "cut at once", do: inject(weights, 3, fakehub.Cut(0))},
		{name: "cut in the middle", do: inject(weights, 4, fakehub.Cut(100_000))},
		{name: "cut always", do: inject(weights, manyTimes, fakehub.Cut(1000)), text: "ended too early"},
		{name: "cut always, but further each time", do: inject(weights, manyTimes, fakehub.Cut(100_000))},
		{name: "stalled once", idle: true, do: inject(weights, 1, fakehub.Stall(1000))},
		{name: "no headers", idle: true, do: inject(weights, 1, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })},
		{name: "ranges ignored", do: inject(weights, -1, fakehub.IgnoreRange)},
		{name: "ranges ignored and cut", do: func(h *fakehub.Hub) {
			h.Inject(weights, 4, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Range")
				fakehub.Cut(300_000)(w, r, next)
			})
			h.Inject(weights, -1, fakehub.IgnoreRange)
		}},
		{name: "a bit flipped once", do: inject(weights, 1, fakehub.FlipBit(7)), streamed: hub.ErrDigest},
		{name: "a bit flipped always", do: inject(weights, -1, fakehub.FlipBit(7)), fails: hub.ErrDigest, text: "thrown away"},
		{name: "small file garbled", do: inject(fakehub.Which{Path: "/resolve/", Method: http.MethodGet}, -1, fakehub.FlipBit(1)), fails: hub.ErrDigest},
		{name: "another range", do: inject(ranges, manyTimes, fakehub.Header("Content-Range", "bytes 0-10/20")), fails: hub.ErrProtocol, text: "was asked for"},
		{name: "a range of another file", do: inject(ranges, 2, fakehub.Edit(func(r *httptest.ResponseRecorder) {
			r.Header().Set("Content-Range", strings.TrimSuffix(r.Header().Get("Content-Range"), "3")+"4")
		}))},
		{name: "no content range", do: inject(ranges, manyTimes, fakehub.Edit(func(r *httptest.ResponseRecorder) { r.Header().Del("Content-Range") })), fails: hub.ErrProtocol},
		{name: "ranges of more bytes than they say", do: inject(ranges, manyTimes, fakehub.Endless), streamed: hub.ErrDigest},
		{name: "no end", do: func(h *fakehub.Hub) {
			h.Inject(weights, -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Range")
				fakehub.Endless(w, r, next)
			})
		}, fails: hub.ErrDigest},
		{name: "compressed", do: inject(weights, -1, fakehub.Gzip), fails: hub.ErrProtocol, text: "compressed"},
		{name: "a web page", do: inject(weights, manyTimes, fakehub.Page(200)), fails: hub.ErrProtocol, text: "text/html"},
		{name: "416", do: inject(ranges, manyTimes, fakehub.Status(416)), fails: hub.ErrProtocol, text: "shorter"},
		{name: "a part unasked", do: inject(fakehub.Which{Path: "config.json", Method: http.MethodGet}, -1, fakehub.Edit(func(r *httptest.ResponseRecorder) {
			r.Code = http.StatusPartialContent
		})), fails: hub.ErrProtocol, text: "not asked for"},
		{name: "signatures expire", do: inject(ranges, 3, fakehub.Status(403))},
		{name: "signatures never valid", do: inject(weights, -1, fakehub.Page(403)), text: "403 Forbidden"},
		{name: "overloaded", do: inject(weights, 3, fakehub.Status(503, "Retry-After", "0"))},
		{name: "too many requests", do: inject(fakehub.Which{}, 2, fakehub.Status(429))},
		{name: "come back tomorrow", do: inject(weights, 1, fakehub.Status(429, "Retry-After", "86400")), text: "asks to wait 24h0m0s"},
		{name: "only the first piece", do: inject(ranges, manyTimes, fakehub.Cut(piece/64)), text: "ended too early"},
	}
}

func hubFaults() []faulty {
	other := strings.Repeat("ab", 32)
	return []faulty{
		{name: "another digest in the ETag", do: inject(heads, -1, fakehub.Header("X-Linked-Etag", `"`+other+`"`)), fails: hub.ErrProtocol, text: "digest"},
		{name: "an ETag that is a path", do: inject(heads, -1, fakehub.Header("X-Linked-Etag", `W/"../../../evil"`))},
		{name: "another commit", do: inject(heads, -1, fakehub.Header("X-Repo-Commit", strings.Repeat("c", 40))), fails: hub.ErrProtocol},
		{name: "another size", do: inject(heads, -1, fakehub.Header("X-Linked-Size", "12")), fails: hub.ErrProtocol},
		{name: "no HEAD", do: inject(heads, -1, fakehub.Status(405))},
		{name: "file gone", do: inject(heads, -1, fakehub.Status(404, "X-Error-Code", "EntryNotFound")), fails: hub.ErrNotFound},
		{name: "redirect to a file", do: inject(heads, -1, fakehub.Status(302, "Location", "file:///etc/passwd")), fails: hub.ErrProtocol},
		{name: "redirect to nowhere", do: inject(heads, -1, fakehub.Status(302)), fails: hub.ErrProtocol},
		{name: "redirect in a circle", do: inject(fakehub.Which{CDN: true}, -1, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		}), fails: hub.ErrProtocol, text: "more than 5 times"},
		{name: "redirect with a password", do: inject(heads, -1, fakehub.Status(302, "Location", "http://a:b@127.0.0.1/")), fails: hub.ErrProtocol},
		{name: "a login page", do: inject(info, -1, fakehub.Page(200)), fails: hub.ErrProtocol, text: "proxy"},
		{name: "no JSON", do: inject(listing, -1, edited(func(string) string { return "[{]" })), fails: hub.ErrProtocol},
		{name: "other JSON", do: inject(listing, -1, edited(func(string) string { return `{"error": 1}` })), fails: hub.ErrProtocol},
		{name: "deep JSON", do: inject(info, -1, edited(func(string) string { return `{"sha": ` + strings.Repeat("[", 1<<20) })), fails: hub.ErrProtocol},
		{name: "endless JSON", do: inject(info, -1, fakehub.Endless), fails: hub.ErrProtocol, text: "16 MB"},
		{name: "compressed JSON", do: inject(info, -1, fakehub.Gzip), fails: hub.ErrProtocol},
		{name: "a commit that is a path", do: inject(info, -1, edited(func(string) string { return `{"sha": "../../../../etc"}` })), fails: hub.ErrProtocol},
		{name: "no commit", do: inject(info, -1, edited(func(string) string { return `{}` })), fails: hub.ErrProtocol},
		{name: "listing at another host", do: func(h *fakehub.Hub) {
			h.Inject(listing, -1, fakehub.Header("Link", `<`+h.CDN+`/api>; rel="next"`))
		}, fails: hub.ErrProtocol, text: "another host"},
		{name: "listing without end", do: func(h *fakehub.Hub) {
			h.Inject(listing, -1, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Link", `<`+h.URL+`/api/models/a/b/tree/c>; rel="next"`)
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte("[]"))
			})
		}, fails: hub.ErrProtocol, text: "pages"},
		{name: "a file twice", do: func(h *fakehub.Hub) {
			h.RewriteListing(func(_ string, e []fakehub.Entry) []fakehub.Entry { return append(e, e[0]) })
		}, fails: hub.ErrProtocol},
		{name: "size below zero", do: lying(func(e *fakehub.Entry) { e.Size, e.LFS.Size = -1, -1 }), fails: hub.ErrProtocol},
		{name: "size beyond all disks", do: lying(func(e *fakehub.Entry) { e.Size, e.LFS.Size = 1<<62, 1<<62 }), fails: hub.ErrProtocol},
		{name: "size larger than the disk", do: lying(func(e *fakehub.Entry) { e.Size, e.LFS.Size = 1<<49, 1<<49 }), fails: hub.ErrSpace, streamed: hub.ErrProtocol},
		{name: "two sizes", do: lying(func(e *fakehub.Entry) { e.Size = 5 }), fails: hub.ErrProtocol},
		{name: "shorter than it is", do: lying(func(e *fakehub.Entry) { e.Size, e.LFS.Size = 1000, 1000 }), fails: hub.ErrProtocol},
		{name: "a digest that is a path", do: lying(func(e *fakehub.Entry) { e.LFS.OID = "../../../../tmp/evil" }), fails: hub.ErrProtocol},
		{name: "another digest", do: lying(func(e *fakehub.Entry) { e.LFS.OID = other }), fails: hub.ErrProtocol},
		{name: "no digest", do: lying(func(e *fakehub.Entry) { e.LFS, e.OID = nil, "" }), fails: hub.ErrProtocol},
		{name: "a short digest", do: lying(func(e *fakehub.Entry) { e.LFS.OID = other[:40] }), fails: hub.ErrProtocol},
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range append(transferFaults(), hubFaults()...) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h, c, files := f.start(t, 3, 100)
			s, err := c.Pull(t.Context(), repo, "main", nil)
			requireSound(t, c.CacheDir())
			if f.fails == nil && f.text == "" {
				require.NoError(t, err)
				requireFiles(t, s, files, wanted()...)
			} else {
				requireSecretsKept(t, err)
				if f.fails != nil {
					require.ErrorIs(t, err, f.fails, "%v", err)
				}
				require.ErrorContains(t, err, f.text)
				requireNoWeights(t, c.CacheDir())
			}
			requireTokenKept(t, h)
			h.Heal()
			h.RewriteListing(nil)
			requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
		})
	}
}

// requireNoWeights makes sure that a pull that failed has left no snapshot that looks like a model.
func requireNoWeights(t *testing.T, cache string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, "models--*", "snapshots", "*", "model.safetensors"))
	require.NoError(t, err)
	require.Empty(t, found)
}

// requireTokenKept makes sure that no other host than the hub has seen the token.
func requireTokenKept(t *testing.T, h *fakehub.Hub) {
	t.Helper()
	for _, r := range h.Requests() {
		if r.CDN {
			require.Empty(t, r.Authorization, "the token went to another host")
		}
		require.NotContains(t, r.Path, token)
	}
}

// A full disk stops a pull, and what had come is still there when there is room again.
func TestDiskFull(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	left := 2 * hub.MinPiece
	c.SetWrite(func(f *os.File, b []byte) (int, error) {
		if len(b) <= left {
			left -= len(b)
			return f.Write(b)
		}
		n, _ := f.Write(b[:left])
		left = 0
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	})
	_, err := c.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrSpace)
	require.ErrorContains(t, err, "make room")
	requireSound(t, c.CacheDir())
	h.Forget()
	again := client(t, h, in(c.CacheDir()))
	s := pull(t, again, "main", nil)
	requireFiles(t, s, files, wanted()...)
	for _, r := range h.Requests() {
		require.NotEqual(t, "bytes=0-262143", r.Range, "it began again")
	}
	require.Less(t, s.Missing, int64(len(files["model.safetensors"])))
}

// What a pull was told to stop at stays, and the next one goes on from there.
func TestCancelled(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	h.Inject(weights, 1, fakehub.Stall(1000)) // or all might have come before it is told to stop
	c := client(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Pull(ctx, repo, "main", &hub.PullOptions{Progress: func(p hub.Progress) {
		if p.File == "model.safetensors" && p.FileDone > 3*hub.MinPiece {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	requireNoWeights(t, c.CacheDir())
	requireFiles(t, pull(t, c, "main", nil), files, wanted()...)

	_, err = client(t, h).Pull(ctx, repo, "main", nil)
	require.ErrorIs(t, err, context.Canceled)
}

// What Python's tools have left unfinished is gone on with, and what a crash has garbled is thrown away.
func TestResume(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	data := files["model.safetensors"]
	for name, left := range map[string][]byte{
		"a beginning": data[:1_000_000], "all": data, "nothing": {}, "garbled": noise(9, 1_000_000), "too much": noise(9, len(data)+1),
		"garbled and complete": noise(9, len(data)),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, h)
			blobs := filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test", "blobs")
			require.NoError(t, os.MkdirAll(blobs, 0o700))
			path := filepath.Join(blobs, sha256Hex(data)+".incomplete")
			require.NoError(t, os.WriteFile(path, left, 0o600))
			h.Forget()
			requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
			require.NoFileExists(t, path)
			for _, r := range h.Requests() {
				if r.CDN && name == "a beginning" {
					require.NotEqual(t, "", r.Range)
					require.False(t, strings.HasPrefix(r.Range, "bytes=0-"), r.Range)
				}
				require.False(t, r.CDN && name == "all", "it was all there")
			}
		})
	}
}

func TestRenamedRepository(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit("old/name", "main", files)
	h.Protect("old/name", token, false)
	h.Rename("old/name", repo)
	c := client(t, h, func(o *hub.Options) { o.Token = token })
	s, err := c.Pull(t.Context(), "old/name", "main", nil)
	require.NoError(t, err)
	requireFiles(t, s, files, wanted()...)
	requireTokenKept(t, h)
}

func TestAccess(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	h.Commit("a/gated", "main", files)
	h.Protect(repo, token, false)
	h.Protect("a/gated", token, true)
	for _, given := range []string{"", "hf_wrong"} {
		c := client(t, h, func(o *hub.Options) { o.Token = given })
		_, err := c.Pull(t.Context(), repo, "main", nil)
		require.ErrorIs(t, err, hub.ErrAccess)
		require.ErrorContains(t, err, "HF_TOKEN")
		_, err = c.Pull(t.Context(), "a/gated", "main", nil)
		require.ErrorIs(t, err, hub.ErrAccess)
		require.ErrorContains(t, err, "terms")
		_, err = c.Pull(t.Context(), "a/missing", "main", nil)
		require.ErrorIs(t, err, hub.ErrAccess)
	}
	c := client(t, h, func(o *hub.Options) { o.Token = token })
	requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
	_, err := c.Pull(t.Context(), repo, "nowhere", nil)
	require.ErrorIs(t, err, hub.ErrNotFound)
	requireTokenKept(t, h)
}

// The listing of a mirror points to the hub itself, where nobody goes.
func TestMirror(t *testing.T) {
	h := fakehub.Start(t)
	h.PageSize = 2
	files := checkpoint()
	h.Commit(repo, "main", files)
	h.Inject(listing, -1, fakehub.Edit(func(r *httptest.ResponseRecorder) {
		if l := r.Header().Get("Link"); l != "" {
			r.Header().Set("Link", strings.Replace(l, h.URL, hub.DefaultEndpoint, 1))
		}
	}))
	requireFiles(t, pull(t, client(t, h), "main", nil), files, wanted()...)
}

// By https no redirect leads to http, and by http no token leaves the machine.
func TestTransport(t *testing.T) {
	var seen []string
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.URL.Path) }))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = nil
	o := &hub.Options{Endpoint: secure.URL, CacheDir: t.TempDir(), Token: token, Retries: -1}
	c, err := hub.New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.List(t.Context(), repo, "main")
	require.ErrorContains(t, err, "certificate")
	o.TLS = secure.Client().Transport.(*http.Transport).TLSClientConfig
	c, err = hub.New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.List(t.Context(), repo, "main")
	require.ErrorIs(t, err, hub.ErrProtocol)
	require.ErrorContains(t, err, "from https to http")
	require.Empty(t, seen)
}

// Errors name the file, and the JSON of listings is read as it is.
func TestListing(t *testing.T) {
	h := fakehub.Start(t)
	h.PageSize = 1
	files := checkpoint()
	commit := h.Commit(repo, "refs/pr/1", files)
	l, err := client(t, h).List(t.Context(), repo, "refs/pr/1")
	require.NoError(t, err)
	require.Equal(t, commit, l.Commit)
	require.Len(t, l.Files, len(files))
	for _, f := range l.Files {
		require.Equal(t, int64(len(files[f.Path])), f.Size)
		if f.Path == "model.safetensors" {
			require.Equal(t, hub.Digest(sha256Hex(files[f.Path])), f.Digest)
		}
	}
	text, err := json.Marshal(l)
	require.NoError(t, err)
	require.Contains(t, string(text), commit)
}
