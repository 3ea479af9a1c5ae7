package server

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// route is one line of the table of all that the server answers.
type route struct {
	pattern string  // of http.ServeMux: "POST /v1/embeddings"
	dialect dialect // how its errors are written

	// handle answers a request, or returns why not and has written nothing: an *apiError, or any other error, which the
	// client sees as an internal one and the log in full.
	handle func(w http.ResponseWriter, r *http.Request) error

	open bool // needs no key: liveness only
}

// routes returns the table. A dialect adds its own routes, in its own file, and a line here.
func (s *Server) routes() []route {
	return slices.Concat(
		s.healthRoutes(),
		s.openAIRoutes(),
		s.teiRoutes(),
		s.cohereRoutes(),
		s.voyageRoutes(),
		s.ollamaRoutes(),
		s.openapiRoutes(),
		s.searchRoutes(),
		s.pageRoutes(),
	)
}

// handler wraps a route's handler: an error is written in its dialect, and so is a panic, which the log gets in full.
func (s *Server) handler(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			err, _ := p.(error)
			if out, ok := w.(*response); errors.Is(err, http.ErrAbortHandler) || ok && out.status != 0 {
				panic(p) // too late for an answer: net/http ends the connection
			}
			s.fail(w, r, rt.dialect, fmt.Errorf("server: %s: panic: %v\n%s", rt.pattern, p, debug.Stack()))
		}()
		if err := rt.handle(w, r); err != nil {
			s.fail(w, r, rt.dialect, err)
		}
	})
}

// done counts and logs a request that is over.
func (s *Server) done(w *response, r *http.Request, rt route, c *call) {
	took := time.Since(c.started)
	s.meter.answered(rt.pattern, w.status, took)
	s.log.DebugContext(r.Context(), "request", "route", rt.pattern, "status", w.status, "client", c.client, "seconds", took.Seconds())
}
