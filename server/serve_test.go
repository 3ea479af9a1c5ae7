package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func contextWithLocal(r *http.Request, local net.Addr) context.Context {
	return context.WithValue(r.Context(), http.LocalAddrContextKey, local)
}

// live is a server on a loopback port.
type live struct {
	*Server
	address string
	client  *http.Client
	stop    context.CancelFunc
	served  chan error
}

// serve starts a server, which ends with the test.
func serve(t *testing.T, s *Server) *live {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.health.good = time.Now() // no canary among what a test counts
	ctx, cancel := context.WithCancel(context.Background())
	l := &live{Server: s, address: ln.Addr().String(), stop: cancel, served: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	go func() { l.served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		l.client.CloseIdleConnections()
		cancel()
		select {
		case err := <-l.served:
			assert.NoError(t, err)
		case <-time.After(30 * time.Second):
			assert.Fail(t, "the server does not end")
		}
	})
	return l
}

// end stops a server and waits for it, at most as long as it may take.
func (l *live) end(t *testing.T) {
	t.Helper()
	l.client.CloseIdleConnections() // a connection that was opened and not used is waited for
	l.stop()
	select {
	case err := <-l.served:
		assert.NoError(t, err)
		l.served <- nil
	case <-time.After(30 * time.Second):
		require.Fail(t, "the server does not end")
	}
}

func (l *live) embed(ctx context.Context, text string) (int, string, error) {
	body := fmt.Sprintf(`{"input":%q}`, text)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.address+"/v1/embeddings", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	out, err := io.ReadAll(response.Body)
	return response.StatusCode, string(out), err
}

// noLeak holds a test to leaving no goroutine behind.
func noLeak(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// TestHangUps is 200 clients that hang up: their work never runs, their places come free, and no goroutine stays.
func TestHangUps(t *testing.T) {
	noLeak(t)
	m := newFake()
	m.gate = make(chan struct{})
	l := serve(t, newTest(t, m, nil))
	ctx, hangUp := context.WithCancel(t.Context())
	firstCtx, hangUpFirst := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() { l.embed(firstCtx, "first") })
	began(t, m)
	for i := range 199 {
		clients.Go(func() {
			_, _, err := l.embed(ctx, fmt.Sprint("gone ", i))
			assert.Error(t, err)
		})
	}
	require.Eventually(t, func() bool { return l.queue.waits() == 199 }, patience, time.Millisecond)
	hangUp()
	require.Eventually(t, func() bool { return l.queue.waits() == 0 }, patience, time.Millisecond)
	hangUpFirst()
	clients.Wait()
	require.Eventually(t, func() bool { return l.queue.idle() && l.held.inUse() == 0 }, patience, time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		status, _, err := l.embed(t.Context(), "stays")
		assert.NoError(t, err)
		assert.Equal(t, 200, status)
	}()
	began(t, m)
	m.gate <- struct{}{}
	<-done
	assert.Equal(t, [][]string{{"first"}, {"stays"}}, m.seen(), "the work of those who hung up never ran")
	l.end(t)
}

// TestShutdownAnswersAll ends a server under load: whoever was let in gets a vector.
func TestShutdownAnswersAll(t *testing.T) {
	noLeak(t)
	m := newFake()
	m.gate = make(chan struct{})
	l := serve(t, newTest(t, m, nil))
	var clients sync.WaitGroup
	var answered atomic.Int32
	for i := range 50 {
		clients.Go(func() {
			status, body, err := l.embed(t.Context(), fmt.Sprint(i))
			assert.NoError(t, err)
			assert.Equal(t, 200, status, body)
			answered.Add(1)
		})
	}
	began(t, m)
	require.Eventually(t, func() bool { return l.queue.entries() == 50 }, patience, time.Millisecond)
	l.stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", l.address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "no more connections are accepted")
	close(m.gate)
	clients.Wait()
	assert.EqualValues(t, 50, answered.Load())
	l.end(t)
}

// TestShutdownGivesUp ends a server whose model does not come to an end: everybody gets an answer all the same.
func TestShutdownGivesUp(t *testing.T) {
	noLeak(t)
	m := newFake()
	m.gate = make(chan struct{})
	s := newTest(t, m, &Options{MaxBatch: 1})
	s.times.drain, s.times.halt, s.times.end = 20*time.Millisecond, 40*time.Millisecond, 20*time.Second
	l := serve(t, s)
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			status, body, err := l.embed(t.Context(), fmt.Sprint(i))
			assert.NoError(t, err)
			assert.Equal(t, 503, status, body)
			assert.Contains(t, body, "shutting_down")
		})
	}
	require.Eventually(t, func() bool { return l.queue.entries() == 20 }, patience, time.Millisecond)
	l.stop()
	clients.Wait()
	l.end(t)
	assert.Len(t, m.seen(), 1, "what waited was not computed")
}

// slow opens a connection, sends something, and returns what comes until the server closes it, which it must.
func slow(address, send string, trickle time.Duration) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, send); err != nil {
		return "", err
	}
	stop := make(chan struct{})
	var feeding sync.WaitGroup
	if trickle > 0 {
		feeding.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(trickle):
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
				}
			}
		})
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(conn)
	close(stop)
	feeding.Wait()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(got), err // the server never closed it
	}
	return string(got), nil
}

// TestSlowConnections is 500 of them, of four kinds, while another client works. The server is given a tenth of its usual
// times, so that the test does not take ten seconds; TestTimes holds the usual ones to the bound.
func TestSlowConnections(t *testing.T) {
	noLeak(t)
	s := newTest(t, newFake(), nil)
	s.times.header, s.times.body = 500*time.Millisecond, 900*time.Millisecond
	l := serve(t, s)
	post := "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	var clients sync.WaitGroup
	for i := range 500 {
		clients.Go(func() {
			send := []string{"", "GET / HTTP/1.1\r\nX: ", post + "Content-Length: 1000\r\n\r\n{", post + "Transfer-Encoding: chunked\r\n\r\n"}[i%4]
			if i%4 == 3 {
				send += "a\r\n{"
			}
			got, err := slow(l.address, send, map[bool]time.Duration{true: 50 * time.Millisecond}[i%4 == 1 || i%4 == 2])
			assert.NoError(t, err, "kind %d", i%4)
			if i%4 >= 2 && got != "" { // a reset may eat the answer
				assert.Contains(t, got, "408 Request Timeout")
			}
		})
	}
	for range 20 {
		status, _, err := l.embed(t.Context(), "healthy")
		assert.NoError(t, err)
		assert.Equal(t, 200, status)
	}
	clients.Wait()
	l.end(t)
}

// TestTimes holds the usual times to what is promised.
func TestTimes(t *testing.T) {
	d := newTest(t, newFake(), nil).times
	assert.LessOrEqual(t, d.header, 5*time.Second)
	assert.LessOrEqual(t, d.body, 10*time.Second)
	assert.Less(t, d.drain, d.halt)
	assert.Less(t, d.halt, d.end)
	assert.Less(t, d.end, 30*time.Second)
}

// TestUnreadBody closes on a sender whose request is refused before anybody reads its body.
func TestUnreadBody(t *testing.T) {
	s := newTest(t, newFake(), &Options{APIKeys: []string{"k"}})
	s.times.body = 300 * time.Millisecond
	l := serve(t, s)
	got, err := slow(l.address, "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", 20*time.Millisecond)
	require.NoError(t, err)
	if got != "" {
		assert.Contains(t, got, "401")
	}
}

// TestLongWaitKeepsConnection waits in the queue for longer than a body may take: the body's deadline is over by then.
func TestLongWaitKeepsConnection(t *testing.T) {
	m := newFake()
	m.gate = make(chan struct{})
	s := newTest(t, m, nil)
	s.times.header, s.times.body = 100*time.Millisecond, 100*time.Millisecond
	l := serve(t, s)
	go func() {
		time.Sleep(300 * time.Millisecond)
		m.gate <- struct{}{}
	}()
	status, body, err := l.embed(t.Context(), "patient")
	require.NoError(t, err)
	assert.Equal(t, 200, status, body)
}

// TestHugeHeader sends a mebibyte of header.
func TestHugeHeader(t *testing.T) {
	l := serve(t, newTest(t, newFake(), nil))
	conn, err := net.Dial("tcp", l.address)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	if line != "" { // a reset may eat the answer
		assert.Contains(t, line, "431")
	}
	big := "GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + strings.Repeat("x", 50<<10) + "\r\n\r\n"
	got, err := slow(l.address, big, 0)
	require.NoError(t, err)
	assert.Contains(t, got, "200 OK", "what is below the limit")
}

// TestOverload sends ten times what fits: only 200 and 429 come back, and each 429 says when to come again.
func TestOverload(t *testing.T) {
	noLeak(t)
	m := newFake()
	m.gate = make(chan struct{})
	l := serve(t, newTest(t, m, &Options{MaxQueue: 40}))
	var clients sync.WaitGroup
	var ok, busy, other atomic.Int32
	clients.Go(func() { l.embed(t.Context(), "first") })
	began(t, m)
	for i := range 400 {
		clients.Go(func() {
			status, body, err := l.embed(t.Context(), fmt.Sprint(i))
			switch {
			case err == nil && status == 200:
				ok.Add(1)
			case err == nil && status == 429:
				busy.Add(1)
			default:
				other.Add(1)
				assert.Fail(t, "neither 200 nor 429", "%d %s %v", status, body, err)
			}
		})
	}
	require.Eventually(t, func() bool { return busy.Load() == 360 }, patience, time.Millisecond)
	response, err := l.client.Get("http://" + l.address + "/ping")
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, 200, response.StatusCode)
	close(m.gate)
	clients.Wait()
	assert.EqualValues(t, 40, ok.Load())
	assert.Zero(t, other.Load())
	l.end(t)
}

// TestBusyResponse looks at one refusal.
func TestBusyResponse(t *testing.T) {
	s, m, _ := gated(t, &Options{MaxQueue: 2, MaxInputs: 2})
	submit(t.Context(), t, s, "127.0.0.1", "first")
	began(t, m)
	submit(t.Context(), t, s, "127.0.0.1", "a", "b")
	r := post(s.Handler(), "/v1/embeddings", `{"input":"x"}`)
	assert.Equal(t, 429, r.status)
	assert.NotEmpty(t, r.header.Get("Retry-After"))
	var out map[string]map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &out))
	assert.Equal(t, "rate_limit_error", out["error"]["type"])
	r = post(s.Handler(), "/v1/embeddings", `{"input":"x"}`, "Host", "127.0.0.1")
	assert.Equal(t, 429, r.status)
}

// TestServeWarms embeds the canary before anybody asks for anything.
func TestServeWarms(t *testing.T) {
	noLeak(t)
	m := newFake()
	s := newTest(t, m, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	began(t, m)
	s.health.quiet(t)
	assert.Equal(t, 200, ask(s.Handler(), http.MethodGet, "/health", "").status)
	cancel()
	assert.NoError(t, <-served)
}
