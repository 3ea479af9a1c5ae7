package server

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// switchModel fails while it is told to, and counts calls.
type switchModel struct {
	*fakeModel
	mu    sync.Mutex
	fails bool
}

func (m *switchModel) set(fails bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = fails
}

func (m *switchModel) EmbedResults(ctx context.Context, inputs []bgevl.Input) ([]bgevl.Result, error) {
	results, err := m.fakeModel.EmbedResults(ctx, inputs)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range results {
		if m.fails && inputs[i].Image != nil { // only pictures: a text alone would not show it
			results[i] = bgevl.Result{Err: bgevl.ErrNonFinite}
		}
	}
	return results, err
}

// age makes a health forget how new its last success is.
func (h *health) age() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good = h.good.Add(-time.Hour)
}

// quiet waits until no canary is under way.
func (h *health) quiet(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.running == nil }, patience, time.Millisecond)
}

// TestHealth follows a model that works, then fails on pictures, then works again.
func TestHealth(t *testing.T) {
	noLeak(t)
	m := &switchModel{fakeModel: newFake()}
	s := newTest(t, m, &Options{MaxBatch: 8})
	h := s.Handler()
	health := func() int { return ask(h, "GET", "/health", "").status }
	require.Eventually(t, func() bool { return health() == 200 }, patience, time.Millisecond)
	s.health.quiet(t)
	for range 50 {
		assert.Equal(t, 200, health())
	}
	assert.Len(t, m.seen(), 1, "a success counts for a while")
	m.set(true)
	s.health.age()
	assert.Equal(t, 200, health(), "what was known last, at once")
	s.health.quiet(t)
	r := ask(h, "GET", "/health", "")
	assert.Equal(t, 503, r.status)
	assert.JSONEq(t, `{"status":"failing","model":"fake"}`, r.body)
	m.set(false)
	s.health.quiet(t)
	health()
	s.health.quiet(t)
	assert.Equal(t, 200, health())
}

// TestHealthUnderLoad asks while the queue is full and nothing moves: there is an answer at once all the same.
func TestHealthUnderLoad(t *testing.T) {
	s, m, release := gated(t, &Options{MaxQueue: 4, MaxInputs: 4, MaxBatch: 4})
	h := s.Handler()
	began := make(chan int, 1)
	go func() { began <- ask(h, "GET", "/health", "").status }()
	select {
	case status := <-began:
		assert.Equal(t, 503, status, "nothing is known yet")
	case <-time.After(patience):
		require.Fail(t, "no answer")
	}
	release(1) // the first canary, of a text and a picture
	release(1)
	s.health.quiet(t)
	submit(t.Context(), t, s, "flood", "a")
	require.Eventually(t, func() bool { return len(m.seen()) == 3 }, patience, time.Millisecond)
	submit(t.Context(), t, s, "flood", "b", "c", "d", "e")
	s.health.age()
	for range 20 {
		assert.Equal(t, 200, ask(h, "GET", "/health", "").status)
	}
	assert.Equal(t, 200, ask(h, "GET", "/ping", "").status)
	s.health.stop()
	assert.Equal(t, 503, ask(h, "GET", "/health", "").status)
	s.health.wait.Wait()
}

func TestCanary(t *testing.T) {
	assert.Len(t, canaryInputs(bgevl.Info{ImageSize: 224}), 2)
	assert.Len(t, canaryInputs(bgevl.Info{ImageSize: 336, Instructions: true}), 1, "a picture takes a language model minutes")
	assert.Len(t, canaryInputs(bgevl.Info{}), 1)
}

// TestMetrics does one of each and looks for it.
func TestMetrics(t *testing.T) {
	s := newTest(t, newFake(), &Options{MaxBatch: 8})
	h := s.Handler()
	post(h, "/v1/embeddings", `{"input":["a","b"]}`)
	post(h, "/v1/embeddings", `{"input":"AAAA","modality":"image"}`)
	post(h, "/v1/embeddings", `{"input":"bad"}`)
	ask(h, "GET", "/nothing/secret", "")
	r := ask(h, "GET", "/metrics", "")
	require.Equal(t, 200, r.status)
	for _, line := range []string{
		`bgevl_requests_total{route="POST /v1/embeddings",status="200"} 2`,
		`bgevl_requests_total{route="POST /v1/embeddings",status="400"} 1`,
		`bgevl_requests_total{route="none",status="404"} 1`,
		`bgevl_request_seconds_count{route="POST /v1/embeddings"} 3`,
		`bgevl_failures_total{code="invalid_image"} 1`, `bgevl_failures_total{code="not_found"} 1`,
		`bgevl_queue_inputs 0`, `bgevl_held_bytes 0`, `bgevl_queue_seconds_count 3`, `bgevl_inference_seconds_count 3`, `bgevl_batch_inputs_sum 4`,
		`bgevl_tokens_total 9`, `bgevl_images_total 1`, `bgevl_inputs_total{result="embedded"} 3`, `bgevl_inputs_total{result="failed"} 1`,
		`bgevl_model_info{dim="16",family="clip",model="fake",type=""} 1`, `bgevl_model_load_seconds `, `process_resident_memory_bytes `, `go_goroutines `,
	} {
		assert.True(t, strings.Contains(r.body, line), line)
	}
	assert.NotContains(t, r.body, "secret", "what clients send is no label")
	newTest(t, newFake(), nil) // another in the same process
}
