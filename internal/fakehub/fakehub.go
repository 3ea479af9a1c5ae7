// Package fakehub is a Hugging Face hub for tests: two servers on the loopback interface, the hub itself and the other
// host that it redirects to for large files, with the real protocol and with faults on demand.
//
// Start makes a hub that stops at the end of its test. It may be used by any goroutine. It opens no other connection.
package fakehub

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // git names blobs by it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Hub is a hub and the host of its large files.
type Hub struct {
	URL string // of the hub
	CDN string // of the host that large files come from; another origin than URL

	PageSize int // entries on a page of a listing; set it before the first request

	hub, cdn *httptest.Server

	mu      sync.Mutex
	repos   map[string]*repo
	blobs   map[string][]byte // large files by their SHA-256
	signed  map[string]bool   // signatures that open blobs
	faults  []*fault
	asked   []Request
	rewrite func(repo string, entries []Entry) []Entry
}

type repo struct {
	refs    map[string]string // branches and tags to commits
	commits map[string]map[string]file
	token   string // that opens it; empty for a public one
	gated   bool
	moved   string // its new name
}

type file struct {
	data []byte
	lfs  bool
}

// gitOID is the name by which git knows a content.
func gitOID(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)) //nolint:gosec // as git does
	return hex.EncodeToString(sum[:])
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// A Request is one that a hub got.
type Request struct {
	Host, Method, Path, Range, Authorization string
	CDN                                      bool
}

// Start makes an empty hub, which stops when the test ends.
func Start(t testing.TB) *Hub {
	h := &Hub{PageSize: 1000, repos: map[string]*repo{}, blobs: map[string][]byte{}, signed: map[string]bool{}}
	h.hub = httptest.NewServer(h.logged(false, http.HandlerFunc(h.serveHub)))
	h.cdn = httptest.NewServer(h.logged(true, http.HandlerFunc(h.serveCDN)))
	h.URL, h.CDN = h.hub.URL, h.cdn.URL
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{h.hub, h.cdn} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	return h
}

// Commit makes a branch or tag of a repository hold files and returns its commit. Weights (.safetensors, .gguf, .bin) and
// what is larger than 1 MB are large files: they come from the other host and have a SHA-256.
func (h *Hub) Commit(name, ref string, files map[string][]byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repo(name)
	tree := map[string]file{}
	id := sha1.New() //nolint:gosec // any 40 digits do
	for _, p := range slices.Sorted(maps.Keys(files)) {
		data := files[p]
		ext := path.Ext(p)
		f := file{data, len(data) > 1<<20 || ext == ".safetensors" || ext == ".gguf" || ext == ".bin"}
		tree[p] = f
		if f.lfs {
			h.blobs[sha(data)] = data
		}
		fmt.Fprintf(id, "%s %s\n", p, sha(data))
	}
	commit := hex.EncodeToString(id.Sum(nil))
	r.commits[commit] = tree
	r.refs[ref] = commit
	return commit
}

// repo returns a repository, made where it is missing. h.mu is held.
func (h *Hub) repo(name string) *repo {
	if h.repos[name] == nil {
		h.repos[name] = &repo{refs: map[string]string{}, commits: map[string]map[string]file{}}
	}
	return h.repos[name]
}

// Alias makes a commit of a repository known under a second commit id, so that a test can use a published one.
func (h *Hub) Alias(name, commit, as string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repo(name)
	r.commits[as] = r.commits[commit]
}

// Protect makes a repository open to a token alone; a gated one says that its terms want accepting.
func (h *Hub) Protect(name, token string, gated bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repo(name)
	r.token, r.gated = token, gated
}

// Rename moves a repository; its old name redirects.
func (h *Hub) Rename(from, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.repo(from)
	h.repos[to] = old
	h.repos[from] = &repo{moved: to}
}

// RewriteListing lets a test change what listings say.
func (h *Hub) RewriteListing(f func(repo string, entries []Entry) []Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rewrite = f
}

// Once reports whether the ranges that were asked for of a large file add up to all of it, each byte once.
func (h *Hub) Once(data []byte) bool {
	var spans [][2]int64
	for _, r := range h.Requests() {
		if !r.CDN || !strings.HasSuffix(r.Path, "/"+sha(data)) {
			continue
		}
		span := [2]int64{0, int64(len(data)) - 1} // without a range
		_, _ = fmt.Sscanf(r.Range, "bytes=%d-%d", &span[0], &span[1])
		spans = append(spans, span)
	}
	slices.SortFunc(spans, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	at := int64(0)
	for _, s := range spans {
		if s[0] != at {
			return false
		}
		at = s[1] + 1
	}
	return at == int64(len(data))
}

// Expire makes all addresses that were signed so far invalid.
func (h *Hub) Expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.signed)
}

// Requests returns what was asked so far, in order of arrival.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// Forget empties the list of requests.
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = nil
}

// logged notes each request and lets faults have it before the real server.
func (h *Hub) logged(cdn bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked = append(h.asked, Request{Host: r.Host, Method: r.Method, Path: r.URL.EscapedPath(), Range: r.Header.Get("Range"),
			Authorization: r.Header.Get("Authorization"), CDN: cdn})
		f := h.due(r, cdn)
		h.mu.Unlock()
		if f != nil {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signedURL returns an address of the other host that opens a blob until Expire. h.mu is held.
func (h *Hub) signedURL(digest string) string {
	signature := rand.Text()
	h.signed[signature] = true
	return h.CDN + "/repos/" + digest + "?" + url.Values{"Signature": {signature}}.Encode()
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	digest := strings.TrimPrefix(r.URL.Path, "/repos/")
	data, ok := h.blobs[digest]
	valid := h.signed[r.URL.Query().Get("Signature")]
	h.mu.Unlock()
	if !ok || !valid {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
		return
	}
	w.Header().Set("ETag", `"`+digest[:32]+`"`) // as S3's, of no use to a client
	serve(w, r, data)
}
