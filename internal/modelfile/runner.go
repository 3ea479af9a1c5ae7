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

// Part is one of the models that a Runner runs, and the file that its weights lie in.
type Part struct {
	Model *csrc.Model
	File  *gguf.File
}

// Close gives back a part that no Runner has taken over.
func (p Part) Close() error {
	p.Model.Close()
	return p.File.Close()
}

// Runner runs models that belong together, and holds what must be given back when they run no more: the weights in C,
// the compute contexts, the files. It is apart from what its owner hands out so that the garbage collector may find that
// unreachable while the Runner still holds what is to be cleaned up.
//
// The bound on calls is one for all parts: each call uses all the threads there are, and threads that wait for each other
// spin, so that two calls on one processor take far longer than one after the other.
type Runner struct {
	pkg     string // whose errors these are
	closed  error
	parts   []Part
	threads int

	// slots holds for each call that may compute now a context of each part, nil for one that was not needed yet.
	slots   chan []*csrc.Context
	closing chan struct{} // closed by Close
	reading sync.RWMutex  // held for reading by who reads a file, for writing by Close
	once    sync.Once
	err     error // of Close
}

// NewRunner takes over models and their files. Its errors begin with pkg, and calls fail with closed once it is closed.
// Limits are resolved ones.
func NewRunner(pkg string, closed error, l Limits, parts ...Part) *Runner {
	r := &Runner{pkg: pkg, closed: closed, parts: parts, threads: l.Threads,
		slots: make(chan []*csrc.Context, l.Contexts), closing: make(chan struct{})}
	for range l.Contexts {
		r.slots <- make([]*csrc.Context, len(parts))
	}
	return r
}

// Use runs one call on a context of a part, waiting for its turn. It fails with the closed error once Close was called,
// and with ctx's error once ctx is done.
func (r *Runner) Use(ctx context.Context, part int, call func(*csrc.Context) error) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	var slot []*csrc.Context
	select {
	case slot = <-r.slots:
	case <-ctx.Done():
		return r.stopped(ctx)
	case <-r.closing:
		return r.closed
	}
	defer func() { r.slots <- slot }()
	// select chooses at random among what is ready.
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if slot[part] == nil {
		made, err := r.parts[part].Model.NewContext(csrc.ContextOptions{Threads: r.threads})
		if err != nil {
			return fmt.Errorf("%s: %w", r.pkg, err)
		}
		slot[part] = made
	}
	err := call(slot[part])
	if err == nil || errors.Is(err, r.closed) { // which names the package itself
		return err
	}
	return fmt.Errorf("%s: %w", r.pkg, err)
}

// Closed returns the closed error once Close was called: a long call should end then.
func (r *Runner) Closed() error {
	select {
	case <-r.closing:
		return r.closed
	default:
		return nil
	}
}

// stopped returns why no call may start: the closed error or ctx's.
func (r *Runner) stopped(ctx context.Context) error {
	if err := r.Closed(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", r.pkg, err)
	}
	return nil
}

// WithFile calls read with the file of a part, which Close leaves open meanwhile. It fails with the closed error once
// Close was called.
func (r *Runner) WithFile(part int, read func(*gguf.File) error) error {
	r.reading.RLock()
	defer r.reading.RUnlock()
	if err := r.Closed(); err != nil {
		return err
	}
	return read(r.parts[part].File)
}

// Close lets calls that are computing finish and gives everything back, once.
func (r *Runner) Close() error {
	r.once.Do(func() {
		close(r.closing)
		// Taking every slot is what waits for the calls that hold one.
		for range cap(r.slots) {
			for _, c := range <-r.slots {
				if c != nil {
					c.Close()
				}
			}
		}
		r.reading.Lock()
		defer r.reading.Unlock()
		for _, p := range r.parts {
			r.err = errors.Join(r.err, p.Close())
		}
	})
	return r.err
}
