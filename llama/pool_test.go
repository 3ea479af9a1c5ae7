package llama_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/llama"
)

// TestConcurrent computes on many goroutines over few contexts: each gets what it would get alone.
func TestConcurrent(t *testing.T) {
	m := whole(t, &llama.Options{Threads: 1, Contexts: 2})
	predict := func() string {
		text, err := m.Predict(context.Background(), "the cat sat", &llama.PredictOptions{MaxTokens: 6})
		assert.NoError(t, err)
		return text
	}
	want, text := spanStates(t, m, 40, 20), predict()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 4 {
				assert.Equal(t, want, spanStates(t, m, 40, 20))
				assert.Equal(t, text, predict())
			}
		})
	}
	wg.Wait()
}

// TestCloseUnderLoad closes a model that many goroutines use: a call gives its result or ErrClosed.
func TestCloseUnderLoad(t *testing.T) {
	m, err := llama.Open(llamatest.Write(t, llamatest.Model(), llamatest.Projector()), &llama.Options{Threads: 1})
	require.NoError(t, err)
	ctx := context.Background()
	want, err := m.Embeddings(ctx, "the cat")
	require.NoError(t, err)
	p, err := m.Preprocess(picture(30, 50))
	require.NoError(t, err)
	calls := []func() error{
		func() error {
			got, err := m.Embeddings(ctx, "the cat")
			if err == nil {
				assert.Equal(t, want, got)
			}
			return err
		},
		func() error { _, err := m.EncodePicture(ctx, p); return err },
		func() error { _, err := m.Predict(ctx, "the cat", &llama.PredictOptions{MaxTokens: 200}); return err },
		func() error { _, err := m.Plan(ctx, 20); return err },
	}
	var wg sync.WaitGroup
	started := make(chan struct{}, 2*len(calls))
	for i := range 2 * len(calls) {
		wg.Go(func() {
			for first := true; ; first = false {
				err := calls[i%len(calls)]()
				if first {
					started <- struct{}{}
				}
				if errors.Is(err, llama.ErrClosed) {
					return
				}
				assert.NoError(t, err)
			}
		})
	}
	<-started
	for range 3 {
		wg.Go(func() { assert.NoError(t, m.Close()) })
	}
	require.NoError(t, m.Close())
	wg.Wait()
	_, err = m.Identity(ctx)
	require.ErrorIs(t, err, llama.ErrClosed)
	for _, call := range calls {
		require.ErrorIs(t, call(), llama.ErrClosed)
	}
	m.Free()
	assert.NoError(t, m.Close())
}

// TestCloseEndsPrediction closes a model in the middle of a text that would go on for long: it ends at the next token.
func TestCloseEndsPrediction(t *testing.T) {
	m, err := llama.Open(llamatest.Write(t, talker(map[string]string{"▁the": "▁cat", "▁cat": "▁the"}), nil), &llama.Options{Threads: 1})
	require.NoError(t, err)
	closed := make(chan error)
	tokens := 0
	_, err = m.Predict(context.Background(), "the", &llama.PredictOptions{MaxTokens: llamatest.Context, Callback: func(string) bool {
		if tokens++; tokens == 3 {
			go func() { closed <- m.Close() }()
			time.Sleep(50 * time.Millisecond) // Close says that it wants to, and waits
		}
		return true
	}})
	require.ErrorIs(t, err, llama.ErrClosed)
	assert.Less(t, tokens, 6)
	require.NoError(t, <-closed)
}

// TestTurns shows that a picture waits for a text that is being made, where one call computes at a time.
func TestTurns(t *testing.T) {
	for contexts, want := range map[int]error{1: context.DeadlineExceeded, 2: nil} {
		m := whole(t, &llama.Options{Threads: 1, Contexts: contexts})
		p, err := m.Preprocess(picture(30, 30))
		require.NoError(t, err)
		_, err = m.Predict(context.Background(), "the", &llama.PredictOptions{MaxTokens: 100, Callback: func(string) bool {
			wait := 100 * time.Millisecond
			if want == nil {
				wait = time.Minute
			}
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			_, err := m.EncodePicture(ctx, p)
			assert.ErrorIs(t, err, want)
			return false
		}})
		require.NoError(t, err)
	}
}

func TestCancel(t *testing.T) {
	m := whole(t, nil)
	p, err := m.Preprocess(picture(30, 50))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	for ctx, want := range map[context.Context]error{ctx: context.Canceled, expired: context.DeadlineExceeded} {
		_, err := m.Embeddings(ctx, "a")
		require.ErrorIs(t, err, want)
		_, err = m.EncodePicture(ctx, p)
		require.ErrorIs(t, err, want)
		_, err = m.Predict(ctx, "a", nil)
		require.ErrorIs(t, err, want)
		_, err = m.Plan(ctx, 5)
		require.ErrorIs(t, err, want)
	}
	_, err = m.Embeddings(context.Background(), "a")
	require.NoError(t, err, "the next call is not affected")

	// In the middle of a text.
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	tokens := 0
	_, err = m.Predict(ctx, "the", &llama.PredictOptions{MaxTokens: 250, Callback: func(string) bool {
		if tokens++; tokens == 3 {
			cancel()
		}
		return true
	}})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 3, tokens)
	_, err = m.Predict(context.Background(), "the", nil)
	require.NoError(t, err)
}

// TestCancelRunning cancels a batch that would take long while it is computed, and others that wait for their turn.
func TestCancelRunning(t *testing.T) {
	f := llamatest.Model()
	f.Keys["llama.context_length"] = uint32(8192)
	m := open(t, f, nil, &llama.Options{Threads: 1})
	long := []llama.Input{{Tokens: make([]int32, 6000)}}
	start := time.Now()
	_, err := m.HiddenStates(context.Background(), long)
	require.NoError(t, err)
	whole := time.Since(start)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := m.HiddenStates(ctx, long)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	wg.Go(func() {
		_, err := m.PredictInput(ctx, long[0], nil)
		assert.ErrorIs(t, err, context.Canceled)
	})
	start = time.Now()
	time.Sleep(whole / 20) // one is computed now, the others wait
	cancel()
	wg.Wait()
	t.Logf("a batch takes %v, its cancellation %v", whole, time.Since(start)-whole/20)
	_, err = m.HiddenStates(context.Background(), []llama.Input{{Tokens: []int32{1}}})
	require.NoError(t, err)
}

// TestDropped drops a model without closing it: its mappings of the files go away by themselves.
func TestDropped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the mappings of a process are read from /proc/self/maps, which is Linux's")
	}
	path := llamatest.Write(t, llamatest.Model(), llamatest.Projector())
	dir := strings.TrimSuffix(path, "tiny.gguf")
	func() {
		m, err := llama.Open(path, &llama.Options{Threads: 1})
		require.NoError(t, err)
		spanStates(t, m, 30, 20)
		require.Equal(t, 2, mapped(t, dir))
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return mapped(t, dir) == 0
	}, 10*time.Second, 10*time.Millisecond)
}

// TestOpenFails leaves no mapping of either file behind.
func TestOpenFails(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the mappings of a process are read from /proc/self/maps, which is Linux's")
	}
	broken := llamatest.Projector()
	broken.Drop("mm.2.bias")
	for _, files := range [][2]*llamatest.File{{llamatest.Model(), broken}, {broken, llamatest.Projector()}} {
		path := llamatest.Write(t, files[0], files[1])
		_, err := llama.Open(path, nil)
		require.Error(t, err)
		assert.Zero(t, mapped(t, strings.TrimSuffix(path, "tiny.gguf")))
	}
}

func mapped(t *testing.T, path string) int {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Count(string(maps), path)
}
