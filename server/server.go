package server

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/bgevl/bgevl/bgevl"
)

// Model is what a Server needs of a *bgevl.Embedder. It should have been opened with bgevl.Options.Truncate, so that
// cutting a text that is too long, or refusing it, is the request's choice.
type Model interface {
	// EmbedResults returns one result an input, in order. An input's own failure is in its result; the error is that of
	// the whole call.
	EmbedResults(ctx context.Context, inputs []bgevl.Input) ([]bgevl.Result, error)
	Info() bgevl.Info
	Dim() int
	Fingerprint(ctx context.Context) (bgevl.Fingerprint, error)
}

// Options are how a Server behaves. The zero value works, and so does a nil pointer.
type Options struct {
	// ModelName is what responses call the model. Empty: what the model's file calls it, or "bgevl".
	ModelName string

	// APIKeys are the keys of which a request must have one, as Authorization: Bearer KEY, x-api-key, api-key, or the
	// password of HTTP Basic. None: no key is asked for, and only loopback addresses are served.
	APIKeys []string

	// MaxBody is the most bytes of a request's body. 0: 32 MiB.
	MaxBody int64

	// MaxInputs is the most inputs of a request. 0: 32.
	MaxInputs int

	// MaxQueue is the most inputs that wait to be computed, over all requests. 0: 256.
	MaxQueue int

	// MaxHeld is the most bytes of bodies and fetched pictures that are held at a time, over all requests. 0: 256 MiB.
	MaxHeld int64

	// MaxBatch is how much is computed in one call, in texts; a picture counts as four. A larger one may serve more
	// inputs a second, and everyone waits longer for the call before. 0: 8.
	MaxBatch int

	// Workers is how many calls of the model run at a time. 0: one.
	Workers int

	// ImageURLs are the hosts that pictures may be fetched from: "example.com", "*.example.com" for all below it, "*" for
	// any with a public address. None: pictures come in bodies only, and URLs are refused.
	ImageURLs []string

	// AllowedHosts are names, without a port, that clients may call this server by, besides loopback names and literal
	// addresses. It matters without APIKeys, where it keeps web pages from reaching the server by DNS rebinding, and
	// for the Origin of browsers behind a proxy that changes Host.
	AllowedHosts []string

	// Logger gets a line for each failure of the server's own and at debug level for each request. Nil: none.
	Logger *slog.Logger
}

// Server answers HTTP requests by means of a Model.
type Server struct {
	model Model
	opt   Options
	log   *slog.Logger
	mux   *http.ServeMux
}

// Defaults of Options.
const (
	defaultMaxBody   = 32 << 20
	defaultMaxInputs = 32
	defaultMaxQueue  = 256
	defaultMaxHeld   = 256 << 20
	defaultMaxBatch  = 8
)

// New returns a server for a model. A nil o means the zero Options.
func New(m Model, o *Options) (*Server, error) {
	opt := Options{}
	if o != nil {
		opt = *o
	}
	opt.fill(m)
	s := &Server{model: m, opt: opt, log: opt.Logger, mux: http.NewServeMux()}
	for _, r := range s.routes() {
		s.mux.Handle(r.pattern, s.handler(r))
	}
	return s, nil
}

// fill sets what was left zero.
func (o *Options) fill(m Model) {
	if o.ModelName == "" {
		o.ModelName = m.Info().Name
	}
	if o.ModelName == "" {
		o.ModelName = "bgevl"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	set(&o.MaxBody, defaultMaxBody)
	set(&o.MaxInputs, defaultMaxInputs)
	set(&o.MaxQueue, defaultMaxQueue)
	set(&o.MaxHeld, defaultMaxHeld)
	set(&o.MaxBatch, defaultMaxBatch)
	set(&o.Workers, 1)
}

func set[T int | int64](to *T, value T) {
	if *to == 0 {
		*to = value
	}
}

// Handler returns the whole server as a handler: guard, routes, limits.
func (s *Server) Handler() http.Handler { return s.mux }
