package llama

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// turns bounds the calls that compute at the same time, the decoder's and the projector's together: each uses all the
// threads there are, and threads that wait for each other spin, so that two calls on one processor take far longer than
// one after the other.
type turns struct {
	free    chan struct{} // holds one for each call that computes
	closing chan struct{} // closed by close
	once    sync.Once
}

func newTurns(n int) *turns {
	return &turns{free: make(chan struct{}, n), closing: make(chan struct{})}
}

// close fails the calls that wait. It may be called again.
func (t *turns) close() { t.once.Do(func() { close(t.closing) }) }

// compute runs one call on a context of the decoder or the projector, waiting for its turn.
func (m *Model) compute(ctx context.Context, r *modelfile.Runner, call func(*csrc.Context) error) error {
	defer runtime.KeepAlive(m) // or it might be cleaned up meanwhile
	select {
	case m.turns.free <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("llama: %w", ctx.Err())
	case <-m.turns.closing:
		return ErrClosed
	}
	defer func() { <-m.turns.free }()
	return r.Use(ctx, call)
}
