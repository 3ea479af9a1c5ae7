package hub

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// errWhole says that a server sends whole files and no ranges.
var errWhole = errors.New("the server sends no ranges")

// enough is how much must have come before a failed connection counts as progress.
const enough = 64 << 10

// A transfer brings a file's bytes to a writer, in order and each once.
type transfer struct {
	src   *source
	out   io.Writer
	sum   hash.Hash   // of all that was written
	at    int64       // how much that is
	ahead int         // pieces that may be under way at once
	count func(int64) // is told of bytes as they come, and of those that were in vain as negative ones
}

// finish brings the rest of the file and checks the digest of all.
func (t *transfer) finish(ctx context.Context, ranges bool) error {
	var err error
	if ranges {
		err = t.parallel(ctx)
	}
	if !ranges || errors.Is(err, errWhole) {
		err = t.sequential(ctx, t.src.file.Size)
	}
	if err != nil {
		return err
	}
	if got := sumOf(t.sum); got != t.src.file.Digest {
		return failf(ErrDigest, "its digest is %s, want %s: the bytes were thrown away", got, t.src.file.Digest)
	}
	return nil
}

func (t *transfer) append(b []byte) error {
	n, err := t.out.Write(b)
	_, _ = t.sum.Write(b[:n]) // a hash does not fail
	t.at += int64(n)
	return err
}

// piece is a span and its bytes, which are there when done is closed without an error before.
type piece struct {
	span
	data []byte
	err  error
	done chan struct{}
}

// parallel fetches the rest by several connections and writes it in order.
func (t *transfer) parallel(ctx context.Context) error {
	size := t.src.file.Size
	plan := newPlanner(t.at, size)
	received := &tally{count: t.count}
	g, ctx := errgroup.WithContext(ctx)
	// The queue's length bounds the pieces under way and with them the memory: one more is being written.
	queue := make(chan *piece, max(1, t.ahead-1))
	spare := make(chan []byte, cap(queue)) // buffers to use again
	g.Go(func() error {
		defer close(queue)
		for {
			sp, ok := plan.take()
			if !ok {
				return nil
			}
			p := &piece{span: sp, data: sized(spare, sp.length()), done: make(chan struct{})}
			select {
			case queue <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				defer close(p.done)
				start := time.Now()
				p.err = t.fill(ctx, p, received)
				plan.took(sp.length(), time.Since(start))
				return p.err
			})
		}
	})
	g.Go(func() error {
		for p := range queue {
			<-p.done // ends soon after ctx does
			if p.err != nil {
				return p.err
			}
			if err := t.append(p.data); err != nil {
				return err
			}
			received.kept(int64(len(p.data)))
			select {
			case spare <- p.data:
			default:
			}
		}
		return nil
	})
	err := g.Wait()
	received.settle()
	return err
}

// sized returns a buffer of n bytes, a spare one where that has room.
func sized(spare <-chan []byte, n int64) []byte {
	select {
	case b := <-spare:
		if int64(cap(b)) >= n {
			return b[:n]
		}
	default:
	}
	return make([]byte, n)
}

// fill fetches one piece, in several requests where connections break.
func (t *transfer) fill(ctx context.Context, p *piece, received *tally) error {
	got := int64(0)
	return t.src.c.attempts(ctx, t.src.retries, func() (bool, error) {
		before := got
		b, err := t.src.open(ctx, span{p.from + got, p.to})
		if err != nil {
			return false, err
		}
		defer b.Close()
		if b.from != p.from+got {
			return false, errWhole
		}
		for got < p.length() {
			n, err := b.Body.Read(p.data[got:])
			got += int64(n)
			received.add(int64(n))
			if err != nil && got < p.length() {
				return got-before >= enough, t.src.c.broken(ctx, short(b, err))
			}
		}
		return true, nil
	})
}

// short words the end of a body that came too early.
func short(b *body, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s ended too early", shown(b.url))
	}
	return fmt.Errorf("%s: %w", shown(b.url), err)
}

// sequential fetches what comes before end by one connection at a time, from servers that send whole files as well.
func (t *transfer) sequential(ctx context.Context, end int64) error {
	buffer := make([]byte, 256<<10)
	return t.src.c.attempts(ctx, t.src.retries, func() (bool, error) {
		if t.at == end {
			return true, nil
		}
		before := t.at
		b, err := t.src.open(ctx, span{t.at, end})
		if err != nil {
			return false, err
		}
		defer b.Close()
		// What is there already is kept, and what comes again of it is skipped.
		if _, err := io.CopyBuffer(io.Discard, io.LimitReader(b.Body, t.at-b.from), buffer); err != nil {
			return false, t.src.c.broken(ctx, short(b, err))
		}
		for t.at < end {
			n, err := b.Body.Read(buffer[:min(int64(len(buffer)), end-t.at)])
			if werr := t.append(buffer[:n]); werr != nil {
				return true, werr
			}
			t.count(int64(n))
			if err != nil && t.at < end {
				return t.at-before >= enough, t.src.c.broken(ctx, short(b, err))
			}
		}
		return true, nil
	})
}

// A tally counts bytes as they come, and takes back those that were not kept. It is safe for many goroutines.
type tally struct {
	mu    sync.Mutex
	count func(int64)
	open  int64 // came and not yet kept
}

func (t *tally) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += n
	t.count(n)
}

func (t *tally) kept(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open -= n
}

func (t *tally) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(-t.open)
	t.open = 0
}
