package server

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"sync"
	"time"

	"github.com/bgevl/bgevl/bgevl"
)

// How health is told.
const (
	canaryEvery    = 15 * time.Second      // how long a success counts
	canaryPatience = 80 * time.Millisecond // how long a request waits for the first canary ever, to answer in a tenth of a second
	canaryTimeout  = 5 * time.Minute       // a model that is loaded from a slow disk may take minutes
)

// health knows whether the model works, by a canary: an input that is embedded now and then, when somebody asks. It
// answers at once, with what it knew last.
type health struct {
	submit func(ctx context.Context, inputs []bgevl.Input) error
	canary []bgevl.Input

	mu      sync.Mutex
	good    time.Time     // last success
	failed  bool          // the last canary did
	running chan struct{} // closed when the canary that is under way ends; nil if none is
	stopped bool          // the server is
	cancel  context.CancelFunc
	wait    sync.WaitGroup
}

// canaryInputs are what a model should always be able to embed: a text, and a picture where that takes little. A
// language model takes minutes for one on a small machine, which nobody's question about health is worth.
func canaryInputs(info bgevl.Info) []bgevl.Input {
	text := "a canary"
	in := []bgevl.Input{{Text: &text, Role: bgevl.RoleCandidate}}
	if info.ImageSize == 0 || info.Instructions {
		return in
	}
	picture := image.NewRGBA(image.Rect(0, 0, 32, 32))
	for i := range 32 * 32 {
		picture.Set(i%32, i/32, color.RGBA{R: uint8(8 * (i % 32)), G: uint8(8 * (i / 32)), B: 128, A: 255})
	}
	var data bytes.Buffer
	if err := png.Encode(&data, picture); err != nil {
		return in
	}
	return append(in, bgevl.Input{Image: bgevl.ImageBytes(data.Bytes()), Role: bgevl.RoleCandidate})
}

// check returns "ok", or why not: "starting", "failing" or "stopping".
func (h *health) check(ctx context.Context) string {
	status, ended := h.begin()
	if status != "starting" || ended == nil {
		return status
	}
	timer := time.NewTimer(canaryPatience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status()
}

// begin starts a canary, if one is due, and returns what is known and what is closed when the canary that is under way
// ends.
func (h *health) begin() (status string, ended chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status = h.status()
	if status != "stopping" && time.Since(h.good) > canaryEvery && h.running == nil {
		running := make(chan struct{})
		h.running = running
		run, cancel := context.WithTimeout(context.Background(), canaryTimeout)
		h.cancel = cancel
		h.wait.Go(func() { h.run(run, running) })
	}
	return status, h.running
}

// status is what is known. A success long ago counts until a canary fails: under load one may wait for its turn.
func (h *health) status() string {
	switch {
	case h.stopped:
		return "stopping"
	case h.failed:
		return "failing"
	case h.good.IsZero():
		return "starting"
	}
	return "ok"
}

// run embeds the canary.
func (h *health) run(ctx context.Context, ended chan struct{}) {
	err := h.submit(ctx, h.canary)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel()
	h.running = nil
	close(ended)
	if e, ok := errors.AsType[*apiError](err); ok && e.code == codeBusy {
		return // says nothing about the model
	}
	if h.failed = err != nil; !h.failed {
		h.good = time.Now()
	}
}

// stop ends the canary, if one is under way. What runs it ends soon after: see wait.
func (h *health) stop() {
	h.mu.Lock()
	h.stopped = true
	if h.running != nil {
		h.cancel()
	}
	h.mu.Unlock()
}

// healthRoutes tell whether the server lives, whether it works, and how it does.
func (s *Server) healthRoutes() []route {
	return []route{
		{pattern: "GET /ping", dialect: openAIError, handle: s.ping, open: true},
		{pattern: "GET /health", dialect: openAIError, handle: s.healthz},
		{pattern: "GET /metrics", dialect: openAIError, handle: s.metricsHandler()},
	}
}

// ping says that the process answers.
func (s *Server) ping(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// healthz says whether the model works.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) error {
	status := s.health.check(r.Context())
	code := http.StatusOK
	if status != "ok" {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, map[string]string{"status": status, "model": s.opt.ModelName})
	return nil
}

// submitCanary embeds the canary as a client of its own, which takes its turn like any.
func (s *Server) submitCanary(ctx context.Context, inputs []bgevl.Input) error {
	j, err := s.queue.submit(ctx, "canary", inputs)
	if err != nil {
		return err
	}
	for _, r := range j.results {
		if r.Err != nil {
			s.log.Error("the canary failed", "error", r.Err)
			return r.Err
		}
	}
	return nil
}
