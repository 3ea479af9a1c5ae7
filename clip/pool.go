package clip

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// resources is what a Model must give back: the weights in C, the compute contexts, the file.
//
// It is apart from Model so that the garbage collector may find a dropped Model unreachable while it still holds the
// resources to clean up.
type resources struct {
	model   *csrc.Model
	file    *gguf.File
	threads int

	// slots holds a context for each call that may compute now, nil for one that was not needed yet.
	slots   chan *csrc.Context
	closing chan struct{} // closed by close
	reading sync.RWMutex  // held for reading by who reads the file, for writing by close
	once    sync.Once
	err     error // of close
}

func newResources(model *csrc.Model, file *gguf.File, o Options) *resources {
	r := &resources{model: model, file: file, threads: o.Threads,
		slots: make(chan *csrc.Context, o.Contexts), closing: make(chan struct{})}
	for range o.Contexts {
		r.slots <- nil
	}
	return r
}

// use runs one call on a context, waiting for one to be free. It fails with ErrClosed once close was called, and with
// ctx's error once ctx is done.
func (r *resources) use(ctx context.Context, call func(*csrc.Context) error) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	var c *csrc.Context
	select {
	case c = <-r.slots:
	case <-ctx.Done():
		return r.stopped(ctx)
	case <-r.closing:
		return ErrClosed
	}
	defer func() { r.slots <- c }()
	// select chooses at random among what is ready.
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if c == nil {
		made, err := r.model.NewContext(csrc.ContextOptions{Threads: r.threads})
		if err != nil {
			return fmt.Errorf("clip: %w", err)
		}
		c = made
	}
	if err := call(c); err != nil {
		return fmt.Errorf("clip: %w", err)
	}
	return nil
}

// stopped returns why no call may start: ErrClosed or ctx's error.
func (r *resources) stopped(ctx context.Context) error {
	select {
	case <-r.closing:
		return ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("clip: %w", err)
	}
	return nil
}

// withFile calls read with the file, which close leaves open meanwhile. It fails with ErrClosed once close was called.
func (r *resources) withFile(read func(*gguf.File) error) error {
	r.reading.RLock()
	defer r.reading.RUnlock()
	select {
	case <-r.closing:
		return ErrClosed
	default:
		return read(r.file)
	}
}

// close gives everything back, once. Taking every slot is what waits for the calls that hold one.
func (r *resources) close() error {
	r.once.Do(func() {
		close(r.closing)
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
