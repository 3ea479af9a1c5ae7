package modelfile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// Limits are how much of the machine a model may use. Zero fields have the defaults that Resolve fills in.
type Limits struct {
	Threads  int // that one call computes with; 0: as many as the process may run at once
	Contexts int // calls that compute at the same time; 0: one
}

// maxLimit bounds both: a larger number is a mistake, not a machine.
const maxLimit = 512

// Resolve checks the limits and fills in the defaults.
func (l Limits) Resolve() (Limits, error) {
	if l.Threads < 0 || l.Threads > maxLimit || l.Contexts < 0 || l.Contexts > maxLimit {
		return l, fmt.Errorf("options: want 0 to %d threads and contexts, got %d and %d", maxLimit, l.Threads, l.Contexts)
	}
	if l.Threads == 0 {
		l.Threads = min(runtime.GOMAXPROCS(0), maxLimit)
	}
	if l.Contexts == 0 {
		l.Contexts = 1
	}
	return l, nil
}

// Runner is a model that runs, and what must be given back when it does no more: the weights in C, the compute contexts,
// the file. It is apart from what its owner hands out so that the garbage collector may find that unreachable while the
// Runner still holds what is to be cleaned up.
type Runner struct {
	pkg     string // whose errors these are
	closed  error
	model   *csrc.Model
	file    *gguf.File
	threads int

	// slots holds a context for each call that may compute now, nil for one that was not needed yet.
	slots   chan *csrc.Context
	closing chan struct{} // closed by Close
	reading sync.RWMutex  // held for reading by who reads the file, for writing by Close
	once    sync.Once
	err     error // of Close
}

// NewRunner takes over a model and its file. Its errors begin with pkg, and calls fail with closed once it is closed.
// Limits are resolved ones.
func NewRunner(pkg string, closed error, model *csrc.Model, file *gguf.File, l Limits) *Runner {
	r := &Runner{pkg: pkg, closed: closed, model: model, file: file, threads: l.Threads,
		slots: make(chan *csrc.Context, l.Contexts), closing: make(chan struct{})}
	for range l.Contexts {
		r.slots <- nil
	}
	return r
}

// Use runs one call on a context, waiting for one to be free. It fails with the closed error once Close was called, and
// with ctx's error once ctx is done.
func (r *Runner) Use(ctx context.Context, call func(*csrc.Context) error) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	var c *csrc.Context
	select {
	case c = <-r.slots:
	case <-ctx.Done():
		return r.stopped(ctx)
	case <-r.closing:
		return r.closed
	}
	defer func() { r.slots <- c }()
	// select chooses at random among what is ready.
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if c == nil {
		made, err := r.model.NewContext(csrc.ContextOptions{Threads: r.threads})
		if err != nil {
			return fmt.Errorf("%s: %w", r.pkg, err)
		}
		c = made
	}
	if err := call(c); err != nil {
		return fmt.Errorf("%s: %w", r.pkg, err)
	}
	return nil
}

// stopped returns why no call may start: the closed error or ctx's.
func (r *Runner) stopped(ctx context.Context) error {
	select {
	case <-r.closing:
		return r.closed
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", r.pkg, err)
	}
	return nil
}

// WithFile calls read with the file, which Close leaves open meanwhile. It fails with the closed error once Close was
// called.
func (r *Runner) WithFile(read func(*gguf.File) error) error {
	r.reading.RLock()
	defer r.reading.RUnlock()
	select {
	case <-r.closing:
		return r.closed
	default:
		return read(r.file)
	}
}

// Close lets calls that are computing finish and gives everything back, once.
func (r *Runner) Close() error {
	r.once.Do(func() {
		close(r.closing)
		// Taking every slot is what waits for the calls that hold one.
		for range cap(r.slots) {
			if c := <-r.slots; c != nil {
				c.Close()
			}
		}
		r.model.Close()
		r.reading.Lock()
		defer r.reading.Unlock()
		r.err = errors.Join(r.err, r.file.Close())
	})
	return r.err
}
