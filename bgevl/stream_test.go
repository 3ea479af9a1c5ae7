package bgevl_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
)

func sequence(inputs []bgevl.Input) iter.Seq2[bgevl.Input, error] {
	return func(yield func(bgevl.Input, error) bool) {
		for _, in := range inputs {
			if !yield(in, nil) {
				return
			}
		}
	}
}

// TestStream holds Stream to what Embed gives, failures in their places.
func TestStream(t *testing.T) {
	e := open(t, cliptest.New(), &bgevl.Options{BatchSize: 2})
	inputs := mixed(t, 40)
	want := embed(t, e, inputs...)
	unreadable := errors.New("line 3 is no JSON")
	seq := func(yield func(bgevl.Input, error) bool) {
		for i, in := range inputs {
			if i%4 == 0 && !yield(bgevl.Input{ID: "bad"}, unreadable) {
				return
			}
			if !yield(in, nil) {
				return
			}
		}
	}
	var got [][]float32
	index, bad := 0, 0
	for r, err := range e.Stream(context.Background(), seq) {
		require.NoError(t, err)
		require.Equal(t, index, r.Index)
		index++
		if r.ID == "bad" {
			require.ErrorIs(t, r.Err, unreadable)
			require.Nil(t, r.Embedding)
			bad++
			continue
		}
		require.NoError(t, r.Err)
		got = append(got, r.Embedding)
	}
	assert.Equal(t, 10, bad)
	require.Len(t, got, len(want))
	for i := range want {
		assert.Greater(t, dot(want[i], got[i]), minCosSplit)
	}
}

func TestStreamEmpty(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	for r, err := range e.Stream(context.Background(), sequence(nil)) {
		t.Fatal("a result of no input:", r, err)
	}
	rows, err := e.Embed(context.Background(), nil)
	require.NoError(t, err)
	assert.Empty(t, rows)
}

// TestStreamBounded runs many inputs, all bad or all good: never are more than a few batches taken ahead of the result.
func TestStreamBounded(t *testing.T) {
	// Two batches of 2 images or 8 texts, what may pass a batch, and an image for each of 2 workers.
	const ahead = 2*(8+4) + 2*4 + 8
	e := open(t, cliptest.New(), &bgevl.Options{BatchSize: 2, Workers: 2})
	for name, in := range map[string]bgevl.Input{"texts": {Text: new("a")}, "failures": {}, "images": {Image: bgevl.ImageBytes(picture(t, 1))}} {
		t.Run(name, func(t *testing.T) {
			var taken atomic.Int64
			seq := func(yield func(bgevl.Input, error) bool) {
				for range 500 {
					taken.Add(1)
					if !yield(in, nil) {
						return
					}
				}
			}
			done := int64(0)
			for _, err := range e.Stream(context.Background(), seq) {
				require.NoError(t, err)
				done++
				require.LessOrEqual(t, taken.Load()-done, int64(ahead))
			}
			assert.Equal(t, int64(500), done)
		})
	}
}

// TestStreamSilence waits for each result before it gives another input, as a person at a terminal does.
func TestStreamSilence(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	answered := make(chan struct{})
	seq := func(yield func(bgevl.Input, error) bool) {
		for range 3 {
			if !yield(bgevl.Input{Text: new("a")}, nil) {
				return
			}
			<-answered
		}
	}
	n := 0
	for r, err := range e.Stream(context.Background(), seq) {
		require.NoError(t, err)
		require.NoError(t, r.Err)
		n++
		answered <- struct{}{}
	}
	assert.Equal(t, 3, n)
}

// TestStreamLeft leaves a loop early: everything stops.
func TestStreamLeft(t *testing.T) {
	e := open(t, cliptest.New(), &bgevl.Options{BatchSize: 2})
	var stopped atomic.Bool
	seq := func(yield func(bgevl.Input, error) bool) {
		defer stopped.Store(true)
		for yield(bgevl.Input{Text: new("a")}, nil) {
		}
	}
	n := 0
	for _, err := range e.Stream(context.Background(), seq) {
		require.NoError(t, err)
		if n++; n == 10 {
			break
		}
	}
	require.Eventually(t, stopped.Load, 5*time.Second, time.Millisecond)
}

func TestStreamPanic(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	seq := func(yield func(bgevl.Input, error) bool) {
		yield(bgevl.Input{Text: new("a")}, nil)
		panic("the caller's own fault")
	}
	assert.PanicsWithValue(t, "the caller's own fault", func() {
		for _, err := range e.Stream(context.Background(), seq) {
			require.NoError(t, err)
		}
	})
}

func TestCancel(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rows, err := e.Embed(ctx, mixed(t, 3))
	require.ErrorIs(t, err, context.Canceled)
	assert.Nil(t, rows)
	_, err = e.Rank(ctx, bgevl.Input{Text: new("a")}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, failed := errors.AsType[*bgevl.InputError](err)
	assert.False(t, failed, "it is no input's fault")
}

// TestCancelBlocked cancels a call whose picture never comes: it returns though the Read does not.
func TestCancelBlocked(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	r, w := io.Pipe()
	defer w.Close() // lets the Read end
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := e.Embed(ctx, []bgevl.Input{{Image: bgevl.ImageReader(r)}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
}

// TestCancelRunning cancels an endless stream in the middle of its work.
func TestCancelRunning(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bgevl.Input{Image: bgevl.ImageBytes(picture(t, 1))}
	n := 0
	var last error
	for r, err := range e.Stream(ctx, func(yield func(bgevl.Input, error) bool) {
		for yield(in, nil) {
		}
	}) {
		if last = err; err != nil {
			continue
		}
		require.NoError(t, r.Err)
		if n++; n == 20 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	assert.Less(t, n, 60, "what was computed already may still come, no more")
}

// TestConcurrent embeds on many goroutines: each gets what it would get alone.
func TestConcurrent(t *testing.T) {
	e := open(t, cliptest.New(), &bgevl.Options{Threads: 1, Contexts: 2, BatchSize: 3})
	inputs := mixed(t, 20)
	want := embed(t, e, inputs...)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { assert.Equal(t, want, embed(t, e, inputs...)) })
	}
	wg.Wait()
}

// TestCloseUnderLoad closes an Embedder in use: a call succeeds or fails with ErrClosed as a whole.
func TestCloseUnderLoad(t *testing.T) {
	e, err := bgevl.Open(cliptest.New().Write(t), &bgevl.Options{BatchSize: 2})
	require.NoError(t, err)
	inputs := mixed(t, 10)
	var wg sync.WaitGroup
	busy := make(chan struct{})
	var once sync.Once
	for range 6 {
		wg.Go(func() {
			for {
				rows, err := e.Embed(context.Background(), inputs)
				once.Do(func() { close(busy) })
				if err != nil {
					assert.ErrorIs(t, err, bgevl.ErrClosed)
					assert.Nil(t, rows)
					return
				}
			}
		})
	}
	<-busy
	require.NoError(t, e.Close())
	wg.Wait()
	require.NoError(t, e.Close())
	_, err = e.Embed(context.Background(), inputs)
	require.ErrorIs(t, err, bgevl.ErrClosed)
}

// TestMemory streams many pictures: the heap does not grow with their number.
func TestMemory(t *testing.T) {
	e := open(t, cliptest.New(), &bgevl.Options{BatchSize: 2})
	data := picture(t, 1)
	heap := func(n int) uint64 {
		var most uint64
		i := 0
		seq := func(yield func(bgevl.Input, error) bool) {
			for range n {
				// A copy each, as a caller has that reads them from somewhere.
				if !yield(bgevl.Input{Image: bgevl.ImageBytes(bytes.Clone(data))}, nil) {
					return
				}
			}
		}
		for _, err := range e.Stream(context.Background(), seq) {
			require.NoError(t, err)
			if i++; i%100 == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		return most
	}
	const slack = 2 << 20 // of the collector; 1,000 pictures would take 12 MB and more
	few, many := heap(100), heap(1100)
	assert.Less(t, many, few+slack)
}
