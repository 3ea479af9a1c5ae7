package fakehub

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
)

// A Fault answers a request in place of the server, which it may call.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Which says which requests a fault is for. The zero value is all.
type Which struct {
	Method string // "" is any
	Path   string // a part of the path; "" is any
	CDN    bool   // requests to the other host alone
	Hub    bool   // requests to the hub alone
	Ranged bool   // requests with a Range alone
}

type fault struct {
	which Which
	times int // that are left; below 0 is without end
	do    Fault
}

// Inject makes the next requests of a kind fail: so many of them, or all where times is below 0.
func (h *Hub) Inject(which Which, times int, f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, &fault{which, times, f})
}

// Heal ends all faults.
func (h *Hub) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = nil
}

// due returns the fault that a request meets. h.mu is held.
func (h *Hub) due(r *http.Request, cdn bool) Fault {
	for _, f := range h.faults {
		w := f.which
		if f.times == 0 || w.Method != "" && w.Method != r.Method || !strings.Contains(r.URL.Path, w.Path) ||
			w.CDN && !cdn || w.Hub && cdn || w.Ranged && r.Header.Get("Range") == "" {
			continue
		}
		f.times--
		return f.do
	}
	return nil
}

// Status answers with a status and headers, alternately names and values.
func Status(code int, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// Page answers with a web page, as captive portals and proxies do.
func Page(code int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		fmt.Fprint(w, "<html><body>Please log in.</body></html>")
	}
}

// Cut breaks the connection after n bytes of the body.
func Cut(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&limited{ResponseWriter: w, left: n, then: func() { panic(http.ErrAbortHandler) }}, r)
	}
}

// Stall sends n bytes of the body and then nothing until the client goes away.
func Stall(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&limited{ResponseWriter: w, left: n, then: func() {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}}, r)
	}
}

// limited does something else when so many bytes were written.
type limited struct {
	http.ResponseWriter
	left int
	then func()
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) <= l.left {
		l.left -= len(b)
		return l.ResponseWriter.Write(b)
	}
	_, _ = l.ResponseWriter.Write(b[:l.left])
	_ = http.NewResponseController(l.ResponseWriter).Flush()
	l.left = 0
	l.then()
	return 0, http.ErrAbortHandler
}

// IgnoreRange sends the whole file whatever range was asked for.
func IgnoreRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Del("Range")
	next.ServeHTTP(w, r)
}

// Edit changes an answer before it is sent. The recorder has its status, headers and body.
func Edit(change func(*httptest.ResponseRecorder)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		change(rec)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		if r.Method != http.MethodHead {
			_, _ = w.Write(rec.Body.Bytes())
		}
	}
}

// FlipBit changes one bit of the body.
func FlipBit(at int) Fault {
	return Edit(func(rec *httptest.ResponseRecorder) {
		if b := rec.Body.Bytes(); at < len(b) {
			b[at] ^= 0x10
		}
	})
}

// FlipAt changes the lowest bit of one byte of the file, in whichever answers it comes.
func FlipAt(at int) Fault {
	return Edit(func(rec *httptest.ResponseRecorder) {
		from := 0 // without ranges
		_, _ = fmt.Sscanf(rec.Header().Get("Content-Range"), "bytes %d-", &from)
		if b := rec.Body.Bytes(); at >= from && at < from+len(b) {
			b[at-from] ^= 1
		}
	})
}

// Header sets headers of the answer, alternately names and values.
func Header(headers ...string) Fault {
	return Edit(func(rec *httptest.ResponseRecorder) {
		for i := 0; i+1 < len(headers); i += 2 {
			rec.Header().Set(headers[i], headers[i+1])
		}
	})
}

// Gzip compresses the body without being asked to.
func Gzip(w http.ResponseWriter, r *http.Request, next http.Handler) {
	Edit(func(rec *httptest.ResponseRecorder) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(rec.Body.Bytes())
		_ = z.Close()
		rec.Body = &b
		rec.Header().Set("Content-Encoding", "gzip")
		rec.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	})(w, r, next)
}

// Endless sends the headers of the answer without a length, and then a body without an end.
func Endless(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		if k != "Content-Length" {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(rec.Code)
	block := bytes.Repeat([]byte("x"), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
