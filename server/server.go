package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

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

	// Version is what responses call the program's version. Empty: "unknown".
	Version string

	// APIKeys are the keys of which a request must have one, as Authorization: Bearer KEY, x-api-key, api-key, or the
	// password of HTTP Basic. None: no key is asked for, and only loopback addresses are served.
	APIKeys []string

	// MaxBody is the most bytes of a request's body. 0: 32 MiB.
	MaxBody int64

	// MaxInputs is the most inputs of a request. 0: 32.
	MaxInputs int

	// MaxQueue is the most inputs that wait to be computed, over all requests. 0: 256, or twice MaxInputs where that is
	// more, so that the largest request fits beside others (a health check is one).
	MaxQueue int

	// MaxHeld is the most bytes of bodies and fetched pictures that are held at a time, over all requests. 0: 256 MiB.
	MaxHeld int64

	// MaxBatch is how much is computed in one call, in texts; a picture counts as four. Everyone waits for the call before,
	// which a processor does not make up for: it computes as many inputs a second one by one. 0: one input on the
	// processor, 32 on other devices.
	MaxBatch int

	// Workers is how many calls of the model run at a time. 0: one.
	Workers int

	// ImageURLs are the hosts that pictures may be fetched from: "example.com", "*.example.com" for all below it, "*" for
	// any with a public address. None: pictures come in bodies only, and URLs are refused.
	ImageURLs []string

	// AllowedHosts are names, without a port, that clients may call this server by on loopback addresses, besides those of
	// loopback itself: a web page whose name is bound to 127.0.0.1 gets nothing. They are also those whose pages may send
	// requests, where a proxy changes the header Host.
	AllowedHosts []string

	// Search is the collection of POST /v1/search and of the page, where there is one.
	Search SearchOptions

	// Logger gets a line for each failure of the server's own and at debug level for each request. Nil: none.
	Logger *slog.Logger
}

// Server answers HTTP requests by means of a Model.
type Server struct {
	model Model
	opt   Options
	log   *slog.Logger
	keys  [][sha256.Size]byte
	times times

	mux   *http.ServeMux
	table map[string]route // by pattern

	queue   *queue
	held    *budget
	fetcher *fetcher
	thumbs  *thumbnails
	health  *health
	meter   *meter
}

// times bound what waits for a client, or for the server's own end. Tests have shorter ones.
type times struct {
	header time.Duration // a request's header, from its first byte or the connection's beginning
	body   time.Duration // a body, beside what its size earns it: see minRate
	write  time.Duration // taking the answer
	idle   time.Duration // a connection between requests
	drain  time.Duration // at the end, until what waits is refused
	halt   time.Duration // at the end, until what is being computed is given up
	end    time.Duration // at the end, until connections are cut
}

var defaultTimes = times{header: 5 * time.Second, body: 9 * time.Second, write: 30 * time.Second, idle: 30 * time.Second,
	drain: 20 * time.Second, halt: 24 * time.Second, end: 27 * time.Second}

// Defaults of Options.
const (
	defaultMaxBody   = 32 << 20
	defaultMaxInputs = 32
	defaultMaxQueue  = 256
	defaultMaxHeld   = 256 << 20

	defaultMaxBatch       = 1
	defaultMaxBatchDevice = 32
)

// New returns a server for a model. A nil o means the zero Options. An error names the option that cannot be used.
func New(m Model, o *Options) (*Server, error) {
	opt := Options{}
	if o != nil {
		opt = *o
	}
	if err := opt.fill(m); err != nil {
		return nil, err
	}
	keys, err := hashKeys(opt.APIKeys)
	if err != nil {
		return nil, err
	}
	fetcher, err := newFetcher(opt.ImageURLs)
	if err != nil {
		return nil, err
	}
	thumbs, err := newThumbnails()
	if err != nil {
		return nil, err
	}
	s := &Server{model: m, opt: opt, thumbs: thumbs, log: opt.Logger, keys: keys, times: defaultTimes, mux: http.NewServeMux(), table: map[string]route{},
		held: newBudget(opt.MaxHeld), fetcher: fetcher}
	s.opt.APIKeys = nil // digests are all that is needed
	s.meter = newMeter(s)
	s.queue = &queue{model: m.EmbedResults, limit: opt.MaxQueue, most: opt.MaxBatch, workers: opt.Workers, meter: s.meter,
		active: map[*batch]struct{}{}}
	s.health = &health{submit: s.submitCanary, canary: canaryInputs(m.Info())}
	for _, r := range s.routes() {
		s.table[r.pattern] = r
		s.mux.Handle(r.pattern, s.handler(r))
	}
	return s, nil
}

// fill sets what was left zero, and refuses what cannot be.
func (o *Options) fill(m Model) error {
	if o.ModelName == "" {
		o.ModelName = m.Info().Name
	}
	if o.ModelName == "" {
		o.ModelName = "bgevl"
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	set(&o.MaxBody, defaultMaxBody)
	set(&o.MaxInputs, defaultMaxInputs)
	set(&o.MaxQueue, max(defaultMaxQueue, 2*o.MaxInputs))
	set(&o.MaxHeld, defaultMaxHeld)
	if m.Info().DeviceLayers > 0 {
		set(&o.MaxBatch, defaultMaxBatchDevice)
	}
	set(&o.MaxBatch, defaultMaxBatch)
	set(&o.Workers, 1)
	for name, n := range map[string]int64{"MaxBody": o.MaxBody, "MaxInputs": int64(o.MaxInputs), "MaxQueue": int64(o.MaxQueue),
		"MaxHeld": o.MaxHeld, "MaxBatch": int64(o.MaxBatch), "Workers": int64(o.Workers)} {
		if n < 0 {
			return fmt.Errorf("server: option %s: %d: want one or more", name, n)
		}
	}
	if o.MaxQueue < o.MaxInputs {
		return fmt.Errorf("server: option MaxQueue: %d: want at least MaxInputs, which is %d", o.MaxQueue, o.MaxInputs)
	}
	if o.MaxHeld/2 < o.MaxBody {
		return fmt.Errorf("server: option MaxHeld: %d: want at least twice MaxBody, which is %d", o.MaxHeld, o.MaxBody)
	}
	o.AllowedHosts = slices.Clone(o.AllowedHosts)
	for i, host := range o.AllowedHosts {
		if host == "" || strings.ContainsAny(host, "/*@ ") {
			return fmt.Errorf("server: option AllowedHosts: %q: want a name without scheme and port", host)
		}
		o.AllowedHosts[i] = hostname(host)
	}
	return nil
}

func set[T int | int64](to *T, value T) {
	if *to == 0 {
		*to = value
	}
}

// Handler returns the whole server as a handler, for an http.Server of the caller's own. Timeouts of headers and of idle
// connections, and the end, are then the caller's business.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.guard) }
