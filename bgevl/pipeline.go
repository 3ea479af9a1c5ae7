package bgevl

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// The pipeline of one call:
//
//	inputs -> feed (one goroutine) -> prepare (a goroutine an input) -> in order -> batch -> compute -> yield
//
// feed and prepare run ahead of the batch that is computed, as far as the window allows; batching, computing and
// yielding happen on the caller's goroutine.
type pipeline struct {
	e       *Embedder
	ctx     context.Context // ends with the call
	outer   context.Context // the caller's: what it says is the call's error
	silence time.Duration   // 0: a batch waits for its inputs as long as it takes

	window  *semaphore.Weighted // weight of the inputs that were taken and not yet yielded
	order   chan *job           // those inputs in order; closed when there are no more
	asking  atomic.Bool         // feed waits for the caller's sequence
	crashed any                 // a panic of that sequence, set before order is closed
}

// job is an input on its way.
type job struct {
	result Result
	weight int64
	ready  chan struct{} // closed when input or result.Err is set
	input  *prepared
}

// windowBatches is how many batches of inputs are in memory: one is computed, one is being prepared.
const windowBatches = 2

// embed runs a pipeline over inputs.
func (e *Embedder) embed(ctx context.Context, inputs iter.Seq2[Input, error], silence time.Duration) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		// A batch may pass the budget by the weight of its last input. The window also has room for each worker's
		// input, so that workers do not wait where batches are small.
		window := windowBatches*(e.budget+e.heaviest) + imageWeight*e.nWork
		p := &pipeline{e: e, ctx: inner, outer: ctx, silence: silence, window: semaphore.NewWeighted(window),
			order: make(chan *job, window)}
		go p.feed(inputs)
		p.drain(yield)
	}
}

// feed takes inputs from the caller's sequence and starts preparing them, in order.
func (p *pipeline) feed(inputs iter.Seq2[Input, error]) {
	defer close(p.order)
	defer func() { p.crashed = recover() }()
	index := 0
	p.asking.Store(true)
	for in, err := range inputs {
		p.asking.Store(false)
		if !p.start(index, in, err) {
			return
		}
		index++
		p.asking.Store(true)
	}
}

// start begins an input's preparation once the window and a worker are free. It reports whether the call goes on.
func (p *pipeline) start(index int, in Input, err error) bool {
	j := &job{result: Result{Index: index, ID: in.ID}, weight: 1, ready: make(chan struct{})}
	if err == nil {
		err = in.check()
	}
	if err == nil {
		j.weight = min(p.e.engine.weight(&in), p.e.heaviest) // more might never fit into the window
	}
	if p.window.Acquire(p.ctx, j.weight) != nil || p.e.workers.Acquire(p.ctx, 1) != nil {
		return false
	}
	p.order <- j // has room for every input that the window lets in
	if err != nil {
		p.e.workers.Release(1)
		j.result.Err = inputError(index, in.ID, err)
		close(j.ready)
		return true
	}
	go func() {
		defer p.e.workers.Release(1)
		defer close(j.ready)
		p.prepare(j, in)
	}()
	return true
}

// prepare sets a job's input or error.
func (p *pipeline) prepare(j *job, in Input) {
	defer func() {
		// A caller's io.Reader or image.Image runs here, where nobody else could stop its panic.
		if r := recover(); r != nil {
			j.input, j.result.Err = nil, inputError(j.result.Index, in.ID, fmt.Errorf("panic: %v", r))
		}
	}()
	prep, err := p.e.engine.prepare(p.ctx, &in)
	if err != nil {
		j.result.Err = inputError(j.result.Index, in.ID, err)
		return
	}
	j.input, j.result.Tokens, j.result.Truncated, j.result.Warning = prep, prep.length, prep.truncated, prep.warning
}

// drain computes batches and yields results until there are no more inputs, or the call is over.
func (p *pipeline) drain(yield func(Result, error) bool) {
	var batch []*job
	var weight int64
	for {
		j, more, err := p.next(len(batch) > 0)
		if err != nil {
			yield(Result{}, err)
			return
		}
		if j != nil {
			batch = append(batch, j)
			weight += j.weight
		}
		// j is nil where there are no more inputs, or none for now.
		if j == nil || weight >= p.e.budget {
			if !p.flush(batch, yield) {
				return
			}
			batch, weight = batch[:0], 0
		}
		if !more {
			return
		}
	}
}

// next returns the next input once it is ready. It returns none and more where the sequence has been silent while a
// batch waits, and none and not more at its end.
func (p *pipeline) next(waiting bool) (j *job, more bool, err error) {
	var silent <-chan time.Time
	if waiting && p.silence > 0 {
		timer := time.NewTimer(p.silence)
		defer timer.Stop()
		silent = timer.C
	}
	for j == nil {
		select {
		case <-p.outer.Done():
			return nil, false, p.ended()
		case got, ok := <-p.order:
			if !ok && p.crashed != nil {
				panic(p.crashed) // the caller's, given back to the caller
			}
			if !ok {
				return nil, false, p.ended()
			}
			j = got
		case <-silent:
			if p.asking.Load() {
				return nil, true, nil
			}
			silent = nil // feed is busy with an input, which will come
		}
	}
	select {
	case <-j.ready:
		return j, true, nil
	case <-p.outer.Done():
		return nil, false, p.ended()
	}
}

// ended returns the caller's context's error, if it is done.
func (p *pipeline) ended() error {
	if err := p.outer.Err(); err != nil {
		return fmt.Errorf("bgevl: embed: %w", err)
	}
	return nil
}

// flush computes a batch and yields its results. It reports whether the call goes on.
func (p *pipeline) flush(batch []*job, yield func(Result, error) bool) bool {
	inputs := make([]*prepared, 0, len(batch))
	for _, j := range batch {
		if j.input != nil {
			inputs = append(inputs, j.input)
		}
	}
	if err := p.compute(inputs); err != nil {
		yield(Result{}, err)
		return false
	}
	for _, j := range batch {
		j.finish()
		p.window.Release(j.weight)
		if !yield(j.result, nil) {
			return false
		}
	}
	return true
}

// compute runs a batch. Where it fails as a whole, each input is tried alone, so that one cannot take the others with
// it. It fails only with what ends the call.
func (p *pipeline) compute(inputs []*prepared) error {
	if len(inputs) == 0 {
		return p.ended()
	}
	err := p.e.engine.compute(p.ctx, inputs)
	if err == nil {
		return nil
	}
	for _, in := range inputs {
		if fatal := p.fatal(err); fatal != nil {
			return fatal
		}
		in.raw, in.err = nil, nil
		err = p.e.engine.compute(p.ctx, []*prepared{in})
		if err != nil {
			in.raw, in.err = nil, err
		}
	}
	return p.fatal(err)
}

// fatal returns the error of the whole call that err means, or nil where it is about one batch.
func (p *pipeline) fatal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed):
		return ErrClosed
	}
	return p.ended()
}

// finish makes a job's result of what was computed, and drops what it was made from.
func (j *job) finish() {
	if j.input == nil {
		return
	}
	err := j.input.err
	if err == nil {
		j.result.Embedding, err = normalize(j.input.raw)
	}
	if err != nil {
		j.result.Err = inputError(j.result.Index, j.result.ID, err)
	}
	j.input = nil
}
