package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// budget bounds the bytes of bodies and pictures that are in memory at a time. No client gets more than half of it, so
// that one that sends much leaves room for the others.
type budget struct {
	mu    sync.Mutex
	total int64
	used  int64
	by    map[string]int64
}

func newBudget(total int64) *budget { return &budget{total: total, by: map[string]int64{}} }

// lease is what one request holds of a budget. It is for one goroutine at a time but for take, and the zero value holds
// nothing and gets all.
type lease struct {
	of     *budget
	client string
	taken  int64
}

func (b *budget) lease(client string) *lease { return &lease{of: b, client: client} }

// take holds n more bytes, or reports that they are not to be had.
func (l *lease) take(n int64) bool {
	b := l.of
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total || b.by[l.client]+n > b.total/2 {
		return false
	}
	b.used += n
	b.by[l.client] += n
	l.taken += n
	return true
}

// end gives everything back.
func (l *lease) end() {
	b := l.of
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= l.taken
	if b.by[l.client] -= l.taken; b.by[l.client] == 0 {
		delete(b.by, l.client)
	}
	l.taken = 0
}

// inUse returns how many bytes are held.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func noMemory() *apiError {
	return &apiError{status: http.StatusTooManyRequests, code: codeBusy, retryAfter: time.Second,
		message: "too many large requests at once: send it again later"}
}

func bodyTooLarge() *apiError {
	return &apiError{status: http.StatusRequestEntityTooLarge, code: codeBody, message: "the body is too large: send fewer or smaller inputs"}
}

// minRate is how many bytes a second a body has to come with, once the time that every body has is over.
const minRate = 64 << 10

// boundBody replaces a request's body by one that is bounded in size, in time and in what all bodies hold. A sender that
// is slower than minRate loses its connection, whether anybody reads the body or not.
func (s *Server) boundBody(w http.ResponseWriter, r *http.Request, l *lease) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), lease: l, left: s.opt.MaxBody,
		began: time.Now(), grace: s.times.body}
	b.extend()
	if r.ContentLength > s.opt.MaxBody {
		b.err = bodyTooLarge()
	}
	r.Body = b
}

// body is a bounded request body. Its errors are *apiErrors.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	lease   *lease
	left    int64
	read    int64
	began   time.Time
	grace   time.Duration
	err     error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		b.err = bodyTooLarge()
	case !b.lease.take(int64(n)):
		b.err = noMemory()
	case errors.Is(err, io.EOF):
		// The connection is watched from here on for a client that hangs up; a deadline would look like that.
		_ = b.control.SetReadDeadline(time.Time{})
		b.err = io.EOF
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.err = &apiError{status: http.StatusRequestTimeout, code: codeSlow, message: "the body came too slowly"}
	case err != nil:
		b.err = invalid("", "the body ends too early")
	default:
		b.extend()
		return n, nil
	}
	return 0, b.err
}

// extend moves the deadline by what has come so far. A connection without deadlines, as in tests, has none.
func (b *body) extend() {
	earned := time.Duration(float64(b.read) / minRate * float64(time.Second))
	_ = b.control.SetReadDeadline(b.began.Add(b.grace + earned))
}

// response is a ResponseWriter that knows what was written, and gives the client so long to take it.
type response struct {
	http.ResponseWriter
	timeout time.Duration
	status  int
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}
