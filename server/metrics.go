package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bgevl/bgevl/bgevl"
)

// meter counts what the server does. It has a registry of its own, so that several servers may be in a process.
type meter struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec   // route, status
	failures  *prometheus.CounterVec   // code
	seconds   *prometheus.HistogramVec // route
	waited    prometheus.Histogram
	inference prometheus.Histogram
	batches   prometheus.Histogram
	inputs    *prometheus.CounterVec // result
	tokens    prometheus.Counter
	pictures  prometheus.Counter
	load      prometheus.Gauge

	first sync.Once // computed call, which loads the model
}

// Buckets of times in seconds, from what a small text takes to what a picture takes on a small machine.
var secondsBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

func newMeter(s *Server) *meter {
	m := &meter{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m.requests = counter("bgevl_requests_total", "Requests that were answered.", "route", "status")
	m.failures = counter("bgevl_failures_total", "Requests that failed, by error code.", "code")
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "bgevl_request_seconds",
		Help: "From a request's header to its answer.", Buckets: secondsBuckets}, []string{"route"})
	m.waited = histogram("bgevl_queue_seconds", "How long requests waited until their first input was computed.", secondsBuckets)
	m.inference = histogram("bgevl_inference_seconds", "How long calls of the model took.", secondsBuckets)
	m.batches = histogram("bgevl_batch_inputs", "Inputs of a call of the model.", []float64{1, 2, 4, 8, 16, 32, 64})
	m.inputs = counter("bgevl_inputs_total", "Inputs that went through the model.", "result")
	m.tokens = prometheus.NewCounter(prometheus.CounterOpts{Name: "bgevl_tokens_total", Help: "Tokens of embedded inputs, before any cut."})
	m.pictures = prometheus.NewCounter(prometheus.CounterOpts{Name: "bgevl_images_total", Help: "Pictures that were embedded."})
	m.load = prometheus.NewGauge(prometheus.GaugeOpts{Name: "bgevl_model_load_seconds",
		Help: "How long the first call of the model took, which loads its weights; 0 before."})
	info := s.model.Info()
	described := prometheus.NewGauge(prometheus.GaugeOpts{Name: "bgevl_model_info", Help: "Which model is served.",
		ConstLabels: prometheus.Labels{"model": s.opt.ModelName, "family": info.Family, "type": info.Type, "dim": strconv.Itoa(info.Dim)}})
	described.Set(1)
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(m.requests, m.failures, m.seconds, m.waited, m.inference, m.batches, m.inputs, m.tokens, m.pictures,
		m.load, described,
		gauge("bgevl_queue_inputs", "Inputs that wait to be computed.", func() float64 { return float64(s.queue.waits()) }),
		gauge("bgevl_held_bytes", "Bytes of bodies and fetched pictures in memory.", func() float64 { return float64(s.held.inUse()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// answered counts a request that is over.
func (m *meter) answered(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *meter) failed(code errorCode) { m.failures.WithLabelValues(string(code)).Inc() }

func (m *meter) queued(d time.Duration) { m.waited.Observe(d.Seconds()) }

// computed counts a call of the model; results are nil where it failed.
func (m *meter) computed(inputs []bgevl.Input, results []bgevl.Result, took time.Duration) {
	m.inference.Observe(took.Seconds())
	m.batches.Observe(float64(len(inputs)))
	m.inputs.WithLabelValues("failed").Add(float64(len(inputs) - len(results)))
	for i, r := range results {
		if r.Err != nil {
			m.inputs.WithLabelValues("failed").Inc()
			continue
		}
		m.first.Do(func() { m.load.Set(took.Seconds()) })
		m.inputs.WithLabelValues("embedded").Inc()
		m.tokens.Add(float64(r.Tokens))
		if inputs[i].Image != nil {
			m.pictures.Inc()
		}
	}
}

// metricsHandler answers GET /metrics.
func (s *Server) metricsHandler() func(http.ResponseWriter, *http.Request) error {
	h := promhttp.HandlerFor(s.meter.registry, promhttp.HandlerOpts{})
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}
