package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// A source is where the bytes of one file come from. It is safe for many goroutines.
type source struct {
	c            *Client
	repo, commit string
	file         File

	// retries are the failures in a row without progress before giving up.
	retries int

	mu  sync.Mutex
	at  *url.URL // where the hub said that the bytes are; nil before it was asked, and when that has expired
	tag string   // the ETag of what is there, once something has come from there
}

func (c *Client) source(repo, commit string, f File) *source {
	return &source{c: c, repo: repo, commit: commit, file: f, retries: c.o.Retries}
}

// address returns the hub's own address of the file.
func (s *source) address() *url.URL {
	parts := append(strings.Split(s.repo, "/"), "resolve", s.commit)
	return s.c.apiURL(nil, append(parts, strings.Split(s.file.Path, "/")...)...)
}

// locate asks the hub where the bytes are, and whether it still speaks of the same file.
func (s *source) locate(ctx context.Context) (*url.URL, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != nil {
		return s.at, nil
	}
	a, err := s.c.ask(ctx, http.MethodHead, s.address(), nil, true)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if a.StatusCode == http.StatusMethodNotAllowed || a.StatusCode == http.StatusNotImplemented {
		s.at = s.address() // a simple mirror
		return s.at, nil
	}
	moved := a.StatusCode >= 300 && a.StatusCode <= 399
	if !moved {
		if err := s.c.checkStatus(a, s.repo); err != nil {
			return nil, err
		}
	}
	if err := s.sameFile(a.Header); err != nil {
		return nil, err
	}
	at := a.url
	if moved {
		if at, err = redirect(a.url, a.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
	s.at = at
	return at, nil
}

// forget makes the hub be asked again, unless somebody else has done so since.
func (s *source) forget(at *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == at {
		s.at, s.tag = nil, ""
	}
}

// sameVersion returns an error where an address has come to hold another version of the file, whose bytes do not go with
// those before. The hub is asked again then: it may know of another address, or tell that the commit's file is gone.
func (s *source) sameVersion(at *url.URL, tag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != at || tag == "" || strings.HasPrefix(tag, "W/") {
		return nil
	}
	if s.tag == "" {
		s.tag = tag
	}
	if s.tag == tag {
		return nil
	}
	err := failf(ErrProtocol, "%s has changed while the file came: its ETag was %s and is %s", shown(at), quote(s.tag), quote(tag))
	s.at, s.tag = nil, ""
	return &temporaryError{err: err}
}

// sameFile compares what the hub says of the file with the commit's listing.
func (s *source) sameFile(h http.Header) error {
	if commit := h.Get("X-Repo-Commit"); commit != "" && commit != s.commit {
		return failf(ErrProtocol, "the hub answers with commit %s instead of %s", quote(commit), s.commit)
	}
	if size := h.Get("X-Linked-Size"); size != "" && size != strconv.FormatInt(s.file.Size, 10) {
		return failf(ErrProtocol, "the hub says that it has %s bytes, and %d in the commit's listing", quote(size), s.file.Size)
	}
	tag := h.Get("X-Linked-Etag")
	if tag == "" {
		tag = h.Get("ETag")
	}
	// Other tags (those of mirrors) mean nothing here.
	d := Digest(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`))
	if d.check() == nil && len(d) == len(s.file.Digest) && d != s.file.Digest {
		return failf(ErrProtocol, "the hub says that its digest is %s, and %s in the commit's listing", d, s.file.Digest)
	}
	return nil
}

// body is what came for a span.
type body struct {
	*answer
	from int64 // where in the file it begins
	free func()
}

func (b *body) Close() error {
	defer b.free()
	return b.answer.Close()
}

// open requests a span, or the whole file where the span is that. The body may begin before the span and may be longer
// or shorter than it; from says where it begins, and nothing else was checked.
func (s *source) open(ctx context.Context, sp span) (*body, error) {
	at, err := s.locate(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case s.c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := func() { <-s.c.slots }
	header := http.Header{}
	ranged := sp != span{0, s.file.Size}
	if ranged {
		header.Set("Range", sp.header())
	}
	a, err := s.c.ask(ctx, http.MethodGet, at, header, false)
	if err != nil {
		free()
		return nil, err
	}
	from, err := s.check(a, sp, ranged)
	if err == nil {
		err = s.sameVersion(at, a.Header.Get("ETag"))
	}
	if err != nil {
		_ = a.Close()
		free()
		if expired(a) && !s.c.sameOrigin(at) {
			s.forget(at)
			err = &temporaryError{err: fmt.Errorf("%s answers %s", shown(a.url), status(a.StatusCode))}
		}
		return nil, err
	}
	return &body{a, from, free}, nil
}

// expired reports whether a signed address may have outlived its signature.
func expired(a *answer) bool {
	switch a.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusBadRequest:
		return true
	}
	return false
}

// check returns where the body begins. What a broken cache on the way may have done is temporary.
func (s *source) check(a *answer, sp span, ranged bool) (int64, error) {
	lie := func(format string, args ...any) (int64, error) {
		return 0, &temporaryError{err: failf(ErrProtocol, shown(a.url)+" "+format, args...)}
	}
	switch {
	case a.StatusCode == http.StatusOK:
		if n := a.ContentLength; n >= 0 && n != s.file.Size {
			return lie("sends %d bytes of %s instead of the file's %d", n, quote(a.Header.Get("Content-Type")), s.file.Size)
		}
		return 0, nil
	case a.StatusCode == http.StatusPartialContent && ranged:
		r, ok := parseContentRange(a.Header.Get("Content-Range"))
		if !ok || r.from != sp.from || r.to > sp.to || r.size >= 0 && r.size != s.file.Size {
			return lie("was asked for %s of %d and sends %s", sp.header(), s.file.Size, quote(a.Header.Get("Content-Range")))
		}
		if a.ContentLength >= 0 && a.ContentLength != r.length() {
			return lie("sends %d bytes for %d", a.ContentLength, r.length())
		}
		return r.from, nil
	case a.StatusCode == http.StatusPartialContent:
		return lie("sends a part of the file, which was not asked for")
	case a.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return lie("has no bytes at %s: the file is shorter there", sp.header())
	}
	if err := s.c.checkStatus(a, s.file.Path); err != nil {
		return 0, err
	}
	return lie("answers %s", status(a.StatusCode))
}
