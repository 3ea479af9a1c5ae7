package hub

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// errWhole says that a server sends whole files and no ranges.
var errWhole = errors.New("the server sends no ranges")

// enough is how much must have come before a failed connection counts as progress.
const enough = 64 << 10

// A source is where the bytes of one file come from. It is safe for many goroutines.
type source struct {
	c            *Client
	repo, commit string
	file         File

	mu sync.Mutex
	at *url.URL // where the hub said that the bytes are; nil before it was asked, and when that has expired
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
		s.at = nil
	}
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

// A download is one file under way.
type download struct {
	src     *source
	out     *os.File
	sum     hash.Hash
	written int64       // and hashed
	count   func(int64) // is told of bytes as they come, and of those that were in vain as negative ones
}

// run completes the file, from what is there already. A wrong digest empties it and is an error.
func (d *download) run(ctx context.Context, ranges bool) error {
	size, digest := d.src.file.Size, d.src.file.Digest
	d.sum, d.written = digest.hash(size), 0
	have, err := d.out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > size {
		if err := d.restart(); err != nil {
			return err
		}
		have = 0
	}
	if err := d.rehash(ctx, have); err != nil {
		return err
	}
	if ranges {
		err = d.parallel(ctx)
	}
	if !ranges || errors.Is(err, errWhole) {
		err = d.sequential(ctx)
	}
	if err != nil {
		return err
	}
	if got := sumOf(d.sum); got != digest {
		d.count(-size)
		return errors.Join(failf(ErrDigest, "its digest is %s, want %s: the bytes were thrown away", got, digest), d.restart())
	}
	return d.out.Sync()
}

// restart forgets what was written.
func (d *download) restart() error {
	if err := d.out.Truncate(0); err != nil {
		return err
	}
	_, err := d.out.Seek(0, io.SeekStart)
	return err
}

// rehash reads what an earlier run has left.
func (d *download) rehash(ctx context.Context, have int64) error {
	if _, err := d.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for d.written < have {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := io.CopyN(d.sum, d.out, min(maxPiece, have-d.written))
		d.written += n
		if err != nil {
			return err
		}
	}
	d.count(have)
	return nil
}

func (d *download) append(b []byte) error {
	n, err := d.src.c.write(d.out, b)
	_, _ = d.sum.Write(b[:n]) // a hash does not fail
	d.written += int64(n)
	if errors.Is(err, syscall.ENOSPC) {
		return failf(ErrSpace, "%v: make room and pull again, it goes on from here", err)
	}
	return err
}

// piece is a span and its bytes, which are there when done is closed without an error before.
type piece struct {
	span
	data []byte
	err  error
	done chan struct{}
}

// parallel fetches the rest by several connections and writes it in order.
func (d *download) parallel(ctx context.Context) error {
	size := d.src.file.Size
	plan := newPlanner(d.written, size)
	received := newTally(d.count)
	g, ctx := errgroup.WithContext(ctx)
	// The queue's length bounds the pieces under way and with them the memory.
	queue := make(chan *piece, max(1, d.src.c.o.Connections/2-1))
	g.Go(func() error {
		defer close(queue)
		for {
			sp, ok := plan.take()
			if !ok {
				return nil
			}
			p := &piece{span: sp, data: make([]byte, sp.length()), done: make(chan struct{})}
			select {
			case queue <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				defer close(p.done)
				start := time.Now()
				p.err = d.fill(ctx, p, received)
				plan.took(sp.length(), time.Since(start))
				return p.err
			})
		}
	})
	g.Go(func() error {
		for p := range queue {
			<-p.done // ends soon after ctx does
			if p.err != nil {
				return p.err
			}
			if err := d.append(p.data); err != nil {
				return err
			}
			received.kept(int64(len(p.data)))
		}
		return nil
	})
	err := g.Wait()
	received.settle()
	return err
}

// fill fetches one piece, in several requests where connections break.
func (d *download) fill(ctx context.Context, p *piece, received *tally) error {
	got := int64(0)
	return d.src.c.attempts(ctx, func() (bool, error) {
		before := got
		b, err := d.src.open(ctx, span{p.from + got, p.to})
		if err != nil {
			return false, err
		}
		defer b.Close()
		if b.from != p.from+got {
			return false, errWhole
		}
		for got < p.length() {
			n, err := b.Body.Read(p.data[got:])
			got += int64(n)
			received.add(int64(n))
			if err != nil && got < p.length() {
				return got-before >= enough, d.src.c.broken(ctx, short(b, err))
			}
		}
		return true, nil
	})
}

// short words the end of a body that came too early.
func short(b *body, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s ended too early", shown(b.url))
	}
	return fmt.Errorf("%s: %w", shown(b.url), err)
}

// sequential fetches the rest by one connection at a time, from servers that send whole files as well.
func (d *download) sequential(ctx context.Context) error {
	size := d.src.file.Size
	buffer := make([]byte, 256<<10)
	return d.src.c.attempts(ctx, func() (bool, error) {
		if d.written == size {
			return true, nil
		}
		before := d.written
		b, err := d.src.open(ctx, span{d.written, size})
		if err != nil {
			return false, err
		}
		defer b.Close()
		// What is there already is kept, and what comes again of it is skipped.
		if _, err := io.CopyBuffer(io.Discard, io.LimitReader(b.Body, d.written-b.from), buffer); err != nil {
			return false, d.src.c.broken(ctx, short(b, err))
		}
		for d.written < size {
			n, err := b.Body.Read(buffer[:min(int64(len(buffer)), size-d.written)])
			if werr := d.append(buffer[:n]); werr != nil {
				return true, werr
			}
			d.count(int64(n))
			if err != nil && d.written < size {
				return d.written-before >= enough, d.src.c.broken(ctx, short(b, err))
			}
		}
		return true, nil
	})
}

// A tally counts bytes as they come, and takes back those that were not kept. It is safe for many goroutines.
type tally struct {
	mu    sync.Mutex
	count func(int64)
	open  int64 // came and not yet kept
}

func newTally(count func(int64)) *tally { return &tally{count: count} }

func (t *tally) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += n
	t.count(n)
}

func (t *tally) kept(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open -= n
}

func (t *tally) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(-t.open)
	t.open = 0
}
