package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/bgevl/bgevl/bgevl"
)

// queue computes the inputs of many requests with few calls.
//
// Clients take turns, an input each. The inputs of one client are computed in order of arrival, those of one request may
// be in several batches. Workers are goroutines that take a batch, compute it and take the next; they start when there
// is something to do and end when there is not.
//
// Where the queue is full, a newcomer takes the place of the last request of the client that has most in it, if that is
// more than the newcomer itself would have then. One client alone may fill the queue, and takes no place from others.
type queue struct {
	model   func(ctx context.Context, inputs []bgevl.Input) ([]bgevl.Result, error)
	limit   int // inputs that wait
	most    int // weight of a batch
	workers int
	meter   *meter

	mu       sync.Mutex
	turns    []*backlog // clients with inputs that wait; the first is next
	waiting  int        // inputs, of all of them
	running  int        // workers
	accepted int        // requests, ever
	pace     float64    // seconds that an input takes, as seen lately
	stopped  bool
	active   map[*batch]struct{}
}

// backlog is what a client waits for.
type backlog struct {
	client  string
	jobs    []*job // with inputs that wait, in order of arrival
	waiting int
}

// job is a request in the queue. Its fields belong to the queue's lock until done is closed.
type job struct {
	ctx     context.Context // of the request, to see whether it is still wanted
	client  string
	inputs  []bgevl.Input
	results []bgevl.Result
	next    int // first input that waits
	left    int // inputs that have no result yet
	err     error
	over    bool // done is closed
	done    chan struct{}
	batches []*batch // that compute some of it

	entered time.Time
	queued  time.Duration // until the first of its inputs was taken
	compute time.Duration // from then on
}

// batch is what one call computes.
type batch struct {
	inputs []bgevl.Input
	places []place
	live   int // requests that wait for it
	cancel context.CancelFunc
}

// place is where an input's result goes.
type place struct {
	job   *job
	index int
}

// Weights of inputs in a batch, in texts. It is the proportion that bgevl uses, whose batches these are made for.
const (
	textWeight    = 1
	pictureWeight = 4
)

func weight(in *bgevl.Input) int {
	if in.Image != nil {
		return pictureWeight
	}
	return textWeight
}

// maxRetry is the longest that a client is told to wait.
const maxRetry = 30 * time.Second

func (q *queue) busy() *apiError {
	wait := time.Duration(q.pace * float64(q.waiting) * float64(time.Second))
	return &apiError{status: http.StatusTooManyRequests, code: codeBusy, retryAfter: min(max(wait, time.Second), maxRetry),
		message: "too many requests: send it again after the time in the header Retry-After"}
}

func stopping() *apiError {
	return &apiError{status: http.StatusServiceUnavailable, code: codeStopping, message: "the server is shutting down"}
}

// submit computes a client's inputs, which must not be empty, and waits for them. It fails with an *apiError where they
// are not accepted, and with ctx's error as soon as that ends; what has not been computed then never is. An input's own
// failure is in its result, and leaves those after it without one.
func (q *queue) submit(ctx context.Context, client string, inputs []bgevl.Input) (*job, error) {
	j := &job{ctx: ctx, client: client, inputs: inputs, results: make([]bgevl.Result, len(inputs)), left: len(inputs),
		done: make(chan struct{}), entered: time.Now()}
	if err := q.enter(ctx, j); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		q.mu.Lock()
		q.finish(j, ctx.Err())
		q.mu.Unlock()
	}
	return j, j.err
}

// admits returns why n more inputs of a client would be refused now. It is for refusing a request before its body is
// read; submit looks again.
func (q *queue) admits(client string, n int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.stopped:
		return stopping()
	case !q.fits(client, n):
		return q.busy()
	}
	return nil
}

// enter puts a job at the end of its client's backlog.
func (q *queue) enter(ctx context.Context, j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case q.stopped:
		return stopping()
	case !q.fits(j.client, len(j.inputs)):
		return q.busy()
	}
	q.makeRoom(j.client, len(j.inputs))
	q.accepted++
	b := q.backlogOf(j.client)
	if b == nil {
		b = &backlog{client: j.client}
		q.turns = append(q.turns, b)
	}
	b.jobs = append(b.jobs, j)
	b.waiting += len(j.inputs)
	q.waiting += len(j.inputs)
	if q.running < q.workers {
		q.running++
		go q.work()
	}
	return nil
}

func (q *queue) backlogOf(client string) *backlog {
	if i := slices.IndexFunc(q.turns, func(b *backlog) bool { return b.client == client }); i >= 0 {
		return q.turns[i]
	}
	return nil
}

// fits reports whether a client's n inputs have room, or would have it if those went who have more.
func (q *queue) fits(client string, n int) bool {
	own := n
	if b := q.backlogOf(client); b != nil {
		own += b.waiting
	}
	room := q.limit - q.waiting
	for _, b := range q.turns {
		room += max(0, b.waiting-own)
	}
	return n <= room && n <= q.limit
}

// makeRoom lets n inputs of a client fit, which they do by fits, at the cost of those who have most.
func (q *queue) makeRoom(client string, n int) {
	for q.waiting+n > q.limit {
		var most *backlog
		for _, b := range q.turns {
			if b.client != client && (most == nil || b.waiting > most.waiting) {
				most = b
			}
		}
		if most == nil {
			return
		}
		q.finish(most.jobs[len(most.jobs)-1], q.busy())
	}
}

// finish ends a job: with an error, or because it has all its results. What of it waits is dropped, and a batch that
// nobody waits for any more is cancelled. A job that has ended stays as it is.
func (q *queue) finish(j *job, err error) {
	if j.over {
		return
	}
	j.over, j.err = true, err
	if j.next > 0 {
		j.compute = time.Since(j.entered) - j.queued
	}
	close(j.done)
	for _, b := range j.batches {
		if b.live--; b.live == 0 {
			b.cancel()
		}
	}
	j.batches = nil
	q.drop(j)
}

// drop takes a job out of its client's backlog.
func (q *queue) drop(j *job) {
	b := q.backlogOf(j.client)
	if b == nil {
		return
	}
	i := slices.Index(b.jobs, j)
	if i < 0 {
		return
	}
	b.jobs = slices.Delete(b.jobs, i, i+1)
	b.waiting -= len(j.inputs) - j.next
	q.waiting -= len(j.inputs) - j.next
	if len(b.jobs) == 0 {
		q.turns = slices.DeleteFunc(q.turns, func(other *backlog) bool { return other == b })
	}
}

// work computes batches until nothing waits.
func (q *queue) work() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		b := q.take(cancel)
		if b == nil {
			cancel()
			return
		}
		q.run(ctx, b)
		cancel()
	}
}

// take makes a batch of what waits, an input of each client in turn, or ends the worker.
func (q *queue) take(cancel context.CancelFunc) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := &batch{cancel: cancel}
	room := q.most
	for len(q.turns) > 0 {
		log := q.turns[0]
		j := log.jobs[0]
		if err := j.ctx.Err(); err != nil {
			q.finish(j, err)
			continue
		}
		room -= weight(&j.inputs[j.next])
		if room < 0 && len(b.inputs) > 0 {
			break
		}
		q.takeInput(b, j)
		if j.next == len(j.inputs) {
			log.jobs = log.jobs[1:]
		}
		log.waiting--
		q.waiting--
		q.turns = q.turns[1:]
		if len(log.jobs) > 0 {
			q.turns = append(q.turns, log)
		}
	}
	if len(b.inputs) == 0 {
		q.running--
		return nil
	}
	q.active[b] = struct{}{}
	return b
}

// takeInput moves a job's next input to a batch.
func (q *queue) takeInput(b *batch, j *job) {
	if j.next == 0 {
		j.queued = time.Since(j.entered)
		q.meter.queued(j.queued)
	}
	if !slices.Contains(j.batches, b) {
		j.batches = append(j.batches, b)
		b.live++
	}
	b.inputs = append(b.inputs, j.inputs[j.next])
	b.places = append(b.places, place{j, j.next})
	j.next++
}

// run computes a batch and hands out its results.
func (q *queue) run(ctx context.Context, b *batch) {
	began := time.Now()
	results, err := q.call(ctx, b.inputs)
	if err != nil && ctx.Err() == nil && !errors.Is(err, bgevl.ErrClosed) {
		// One input may be to blame, and must not take others with it.
		results, err = q.singly(ctx, b.inputs, err), nil
	}
	took := time.Since(began)
	q.meter.computed(b.inputs, results, took)
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.active, b)
	if ctx.Err() == nil {
		q.learn(took.Seconds() / float64(len(b.inputs)))
	}
	for i, p := range b.places {
		j := p.job
		if j.over {
			continue
		}
		if err != nil {
			q.finish(j, err)
			continue
		}
		j.results[p.index] = results[i]
		if j.left--; j.left == 0 || results[i].Err != nil {
			q.finish(j, nil)
		}
	}
	for _, p := range b.places {
		p.job.batches = slices.DeleteFunc(p.job.batches, func(other *batch) bool { return other == b })
	}
}

// learn keeps a moving average of what an input takes.
func (q *queue) learn(seconds float64) {
	const newest = 0.2 // of the average: some ten batches are remembered
	if q.pace == 0 {
		q.pace = seconds
	}
	q.pace += newest * (seconds - q.pace)
}

// singly computes inputs one by one, after err came of them together. One that cannot be has its error in its result.
func (q *queue) singly(ctx context.Context, inputs []bgevl.Input, err error) []bgevl.Result {
	out := make([]bgevl.Result, len(inputs))
	if len(inputs) == 1 {
		out[0].Err = err
		return out
	}
	for i := range inputs {
		results, err := q.call(ctx, inputs[i:i+1])
		if err != nil {
			out[i] = bgevl.Result{Err: err}
			continue
		}
		out[i] = results[0]
	}
	return out
}

// call is the model's call, with a panic as an error, and one result for each input or an error.
func (q *queue) call(ctx context.Context, inputs []bgevl.Input) (results []bgevl.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			results, err = nil, fmt.Errorf("server: the model panicked: %v\n%s", r, debug.Stack())
		}
	}()
	results, err = q.model(ctx, inputs)
	if err == nil && len(results) != len(inputs) {
		err = fmt.Errorf("server: the model gave %d results for %d inputs", len(results), len(inputs))
	}
	return results, err
}

// stop refuses what comes from now on.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
}

// abandon stops, and fails everything that waits; what is being computed goes on.
func (q *queue) abandon() {
	q.stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) > 0 {
		q.finish(q.turns[0].jobs[0], stopping())
	}
}

// cancel abandons, and ends what is being computed.
func (q *queue) cancel() {
	q.abandon()
	q.mu.Lock()
	defer q.mu.Unlock()
	for b := range q.active {
		for _, p := range b.places {
			q.finish(p.job, stopping())
		}
	}
}

// waits returns how many inputs wait.
func (q *queue) waits() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}
