package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// gated returns a server whose model waits for the gate, and a function that lets n calls go.
func gated(t *testing.T, o *Options) (*Server, *fakeModel, func(n int)) {
	t.Helper()
	m := newFake()
	m.gate = make(chan struct{})
	s := newTest(t, m, o)
	t.Cleanup(func() { s.queue.cancel() })
	return s, m, func(n int) {
		for range n {
			select {
			case m.gate <- struct{}{}:
			case <-time.After(patience):
				require.Fail(t, "no call of the model came for the gate")
			}
		}
	}
}

// began waits for a call of the model to begin.
func began(t *testing.T, m *fakeModel) {
	t.Helper()
	select {
	case <-m.entered:
	case <-time.After(patience):
		require.Fail(t, "the model was not called")
	}
}

// outcome is what a submit gave.
type outcome struct {
	job *job
	err error
}

// submit sends texts on another goroutine and returns once they are in the queue.
func submit(ctx context.Context, t *testing.T, s *Server, client string, texts ...string) <-chan outcome {
	t.Helper()
	var in []bgevl.Input
	for _, x := range texts {
		in = append(in, text(x))
	}
	before := s.queue.entries()
	out := make(chan outcome, 1)
	go func() {
		j, err := s.queue.submit(ctx, client, in)
		out <- outcome{j, err}
	}()
	require.Eventually(t, func() bool { return s.queue.entries() > before || len(out) > 0 }, patience, time.Millisecond)
	return out
}

// entries counts what was ever accepted, for tests.
func (q *queue) entries() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.accepted
}

// idle reports whether nothing waits and no worker runs.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running == 0 && q.waiting == 0 && len(q.turns) == 0 && len(q.active) == 0
}

func receive(t *testing.T, from <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-from:
		return o
	case <-time.After(patience):
		require.Fail(t, "no outcome")
		return outcome{}
	}
}

// TestQueueBatches puts inputs of several requests into one call, each result into its place.
func TestQueueBatches(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 4})
	first := submit(t.Context(), t, s, "a", "first")
	began(t, m)
	one := submit(t.Context(), t, s, "a", "a1", "a2", "a3")
	two := submit(t.Context(), t, s, "b", "b1", "b2")
	release(3)
	assert.NoError(t, receive(t, first).err)
	a, b := receive(t, one), receive(t, two)
	require.NoError(t, a.err)
	require.NoError(t, b.err)
	assert.Equal(t, [][]string{{"first"}, {"a1", "b1", "a2", "b2"}, {"a3"}}, m.seen(), "clients take turns, an input each")
	for i, x := range []string{"a1", "a2", "a3"} {
		assert.Equal(t, fakeVector(text(x), 16), a.job.results[i].Embedding)
	}
	assert.Equal(t, fakeVector(text("b2"), 16), b.job.results[1].Embedding)
}

// TestQueueWeighsPictures counts a picture as several texts.
func TestQueueWeighsPictures(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 8})
	first := submit(t.Context(), t, s, "a", "first")
	began(t, m)
	picture := bgevl.Input{Image: bgevl.ImageBytes([]byte("x"))}
	done := make(chan outcome, 1)
	go func() {
		j, err := s.queue.submit(t.Context(), "a", []bgevl.Input{picture, picture, picture, text("t")})
		done <- outcome{j, err}
	}()
	require.Eventually(t, func() bool { return s.queue.waits() == 4 }, patience, time.Millisecond)
	release(3)
	require.NoError(t, receive(t, first).err)
	require.NoError(t, receive(t, done).err)
	assert.Equal(t, [][]string{{"first"}, {"<image>", "<image>"}, {"<image>", "t"}}, m.seen())
}

// TestQueueIsFair lets one client flood the queue: another's only request waits for one batch.
func TestQueueIsFair(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 2, MaxQueue: 64})
	var flood []<-chan outcome
	for i := range 40 {
		flood = append(flood, submit(t.Context(), t, s, "flood", fmt.Sprint("f", i)))
	}
	began(t, m)
	small := submit(t.Context(), t, s, "small", "s")
	release(2)
	require.NoError(t, receive(t, small).err)
	assert.Contains(t, m.seen()[1], "s", "the batch after the one that was being computed")
	close(m.gate)
	for _, f := range flood {
		require.NoError(t, receive(t, f).err)
	}
}

// TestQueueIsBounded refuses what does not fit, and prefers those who have less.
func TestQueueIsBounded(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 2, MaxQueue: 8, MaxInputs: 4})
	first := submit(t.Context(), t, s, "flood", "first")
	began(t, m)
	var flood []<-chan outcome
	for range 4 {
		flood = append(flood, submit(t.Context(), t, s, "flood", "f", "g"))
	}
	assertBusy := func(err error) {
		t.Helper()
		e, ok := errors.AsType[*apiError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, 429, e.status)
		assert.GreaterOrEqual(t, e.retryAfter, time.Second)
	}
	_, err := s.queue.submit(t.Context(), "flood", []bgevl.Input{text("too much")})
	assertBusy(err)
	assertBusy(s.queue.admits("flood", 1))
	require.NoError(t, s.queue.admits("small", 1))

	small := submit(t.Context(), t, s, "small", "s1", "s2")
	assertBusy(receive(t, flood[3]).err) // the flood's last made room
	assert.Equal(t, 8, s.queue.waits())
	release(5)
	assert.NoError(t, receive(t, small).err)
	assert.NoError(t, receive(t, first).err)
	for _, f := range flood[:3] {
		assert.NoError(t, receive(t, f).err)
	}
	assert.Zero(t, s.queue.waits())
}

// TestQueueDropsHungUp never computes what nobody waits for, and cancels a batch that nobody waits for.
func TestQueueDropsHungUp(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 2})
	ctx, hangUp := context.WithCancel(t.Context())
	gone := submit(ctx, t, s, "a", "gone")
	began(t, m)
	waiting := submit(ctx, t, s, "a", "waiting", "too")
	kept := submit(t.Context(), t, s, "b", "kept")
	hangUp()
	assert.ErrorIs(t, receive(t, gone).err, context.Canceled)
	assert.ErrorIs(t, receive(t, waiting).err, context.Canceled)
	began(t, m) // the first call ended with its context: the gate let nothing go
	release(1)
	require.NoError(t, receive(t, kept).err)
	assert.Equal(t, [][]string{{"gone"}, {"kept"}}, m.seen())
	assert.Equal(t, 1, m.ended)
}

// TestQueueKeepsSharedBatch computes a batch that one of two still waits for.
func TestQueueKeepsSharedBatch(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 4})
	first := submit(t.Context(), t, s, "a", "first")
	began(t, m)
	ctx, hangUp := context.WithCancel(t.Context())
	gone := submit(ctx, t, s, "a", "gone")
	kept := submit(t.Context(), t, s, "b", "kept")
	release(1)
	require.NoError(t, receive(t, first).err)
	began(t, m)
	hangUp()
	assert.ErrorIs(t, receive(t, gone).err, context.Canceled)
	release(1)
	require.NoError(t, receive(t, kept).err)
	assert.Zero(t, m.ended)
}

// TestQueueIsolatesFailures lets an input fail in every way beside others.
func TestQueueIsolatesFailures(t *testing.T) {
	for _, bad := range []string{"bad", "nan", "panic", "sinks"} {
		t.Run(bad, func(t *testing.T) {
			s, m, _ := gated(t, &Options{MaxBatch: 8})
			first := submit(t.Context(), t, s, "a", "first")
			began(t, m)
			fails := submit(t.Context(), t, s, "a", "x", bad)
			good := submit(t.Context(), t, s, "b", "good")
			close(m.gate)
			require.NoError(t, receive(t, first).err)
			o := receive(t, good)
			require.NoError(t, o.err)
			require.NoError(t, o.job.results[0].Err)
			assert.Equal(t, fakeVector(text("good"), 16), o.job.results[0].Embedding)
			o = receive(t, fails)
			require.NoError(t, o.err)
			assert.NoError(t, o.job.results[0].Err)
			assert.Error(t, o.job.results[1].Err)
			after := submit(t.Context(), t, s, "a", "after")
			assert.NoError(t, receive(t, after).err, "the worker lives")
		})
	}
}

// TestQueueStops refuses what comes, computes what was taken, and answers everything.
func TestQueueStops(t *testing.T) {
	s, m, release := gated(t, &Options{MaxBatch: 1})
	assertStopping := func(err error) {
		t.Helper()
		e, ok := errors.AsType[*apiError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, 503, e.status)
	}
	computing := submit(t.Context(), t, s, "a", "computing")
	began(t, m)
	waiting := submit(t.Context(), t, s, "b", "waiting")
	s.queue.stop()
	_, err := s.queue.submit(t.Context(), "c", []bgevl.Input{text("late")})
	assertStopping(err)
	s.queue.abandon()
	assertStopping(receive(t, waiting).err)
	release(1)
	assert.NoError(t, receive(t, computing).err)
	assert.Equal(t, [][]string{{"computing"}}, m.seen())
}

func TestQueueCancels(t *testing.T) {
	s, m, _ := gated(t, nil)
	computing := submit(t.Context(), t, s, "a", "computing")
	began(t, m)
	s.queue.cancel()
	e, ok := errors.AsType[*apiError](receive(t, computing).err)
	require.True(t, ok)
	assert.Equal(t, 503, e.status)
	require.Eventually(t, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.ended == 1 }, patience, time.Millisecond)
}

// TestQueueUnderRace has many clients send, hang up and overflow at once: whoever gets an answer gets his own.
func TestQueueUnderRace(t *testing.T) {
	s := newTest(t, newFake(), &Options{MaxBatch: 5, MaxQueue: 40, MaxInputs: 8, Workers: 3})
	var wg sync.WaitGroup
	answered := make([]int, 8)
	for c := range 8 {
		wg.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				var in []bgevl.Input
				for k := range 1 + (i+c)%8 {
					in = append(in, text(fmt.Sprint(c, "/", i, "/", k)))
				}
				j, err := s.queue.submit(ctx, fmt.Sprint("client", c%4), in)
				cancel()
				if err != nil {
					continue
				}
				for k, r := range j.results {
					if !slices.Equal(fakeVector(in[k], 16), r.Embedding) {
						assert.Fail(t, "another's vector", "%d %d %d", c, i, k)
					}
				}
				answered[c]++
			}
		})
	}
	wg.Wait()
	for _, n := range answered {
		assert.Positive(t, n)
	}
	require.Eventually(t, s.queue.idle, patience, time.Millisecond, "workers end when nothing waits")
}
