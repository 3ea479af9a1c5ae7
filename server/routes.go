package server

import (
	"net/http"
	"slices"
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
		s.openAIRoutes(),
	)
}

// handler wraps a route's handler with what all have in common.
func (s *Server) handler(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := rt.handle(w, r); err != nil {
			s.fail(w, r, rt.dialect, err)
		}
	})
}
