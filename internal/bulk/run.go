package bulk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/bgevl/bgevl/bgevl"
)

// A Model embeds a sequence; *bgevl.Embedder is one. Stream yields one Result for each input, in order, and takes an
// error beside an input for that input's failure.
type Model interface {
	Stream(ctx context.Context, inputs iter.Seq2[bgevl.Input, error]) iter.Seq2[bgevl.Result, error]
}

// A Record is what becomes of one item.
type Record struct {
	Where     string
	Embedding []float32 // nil where the item failed
	Truncated bool      // its text was cut to the model's context
	Warning   bgevl.Warning
	Err       error // why it failed, without the place: the sink and the caller add that

	item Item
}

// Stats counts what a Run did.
type Stats struct {
	Done, Failed, Truncated, Warned int

	First   string        // the first failure and its place
	Warning bgevl.Warning // the first one
}

// Run embeds every item and writes its record to sink, in order. It returns an error where it could not go on: the
// context ended, items could not be read, the sink could not write. Items that fail are counted in Stats and are no
// error. progress, unless nil, is called after each record with how many were written. Run does not close the sink.
//
// Where it ends early, a step of items that is blocked is left to finish by itself, on another goroutine.
func Run(ctx context.Context, m Model, items iter.Seq2[Item, error], sink Sink, progress func(done int64)) (Stats, error) {
	var (
		stats   Stats
		waiting queue
	)
	inputs := func(yield func(bgevl.Input, error) bool) {
		for item, err := range items {
			if err != nil {
				waiting.fail(err)
				return
			}
			waiting.push(item)
			if !yield(item.Input, item.Err) {
				return
			}
		}
	}
	defer waiting.close()
	for r, err := range m.Stream(ctx, inputs) {
		if err != nil {
			return stats, err
		}
		record := waiting.pop().record(r)
		stats.count(record)
		if err := sink.Write(record); err != nil {
			return stats, err
		}
		if progress != nil {
			progress(int64(stats.Done))
		}
	}
	return stats, waiting.failure()
}

func (s *Stats) count(r Record) {
	s.Done++
	if r.Truncated {
		s.Truncated++
	}
	if r.Warning != "" {
		s.Warned++
		s.Warning = cmp.Or(s.Warning, r.Warning)
	}
	if r.Err != nil {
		s.Failed++
		if s.First == "" {
			s.First = fmt.Sprintf("%s: %v", r.Where, r.Err)
		}
	}
}

// record joins an item and its result.
func (item Item) record(r bgevl.Result) Record {
	item.file.Close()
	rec := Record{Where: item.Where, Embedding: r.Embedding, Truncated: r.Truncated, Warning: r.Warning, item: item}
	if r.Err == nil {
		return rec
	}
	rec.Embedding, rec.Warning = nil, ""
	failure, ok := errors.AsType[*bgevl.InputError](r.Err)
	switch {
	case !ok:
		rec.Err = r.Err
	case item.file != nil && failure.Operand == "image":
		rec.Err = fmt.Errorf("image %s: %w", item.image, failure.Err)
	case failure.Operand != "":
		rec.Err = fmt.Errorf("%s: %w", failure.Operand, failure.Err)
	default:
		rec.Err = failure.Err
	}
	return rec
}

// queue holds the items that the model has taken and not yet answered: few, since the model bounds them. It is pushed
// to and popped from by two goroutines.
type queue struct {
	mu     sync.Mutex
	items  []Item
	err    error // of reading
	closed bool
}

func (q *queue) push(item Item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		item.file.Close()
		return
	}
	q.items = append(q.items, item)
}

func (q *queue) pop() Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	item := q.items[0]
	q.items[0] = Item{}
	q.items = q.items[1:]
	return item
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
}

func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// close gives back what the items hold that never came to an answer.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, item := range q.items {
		item.file.Close()
	}
	q.items = nil
}
