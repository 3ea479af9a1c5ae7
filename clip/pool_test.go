package clip_test

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
	"go.uber.org/goleak"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/cliptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConcurrent encodes on many goroutines over few contexts: each gets what it would get alone.
func TestConcurrent(t *testing.T) {
	m := open(t, cliptest.New(), &clip.Options{Threads: 1, Contexts: 2})
	want := features(t, m)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				assert.Equal(t, want, features(t, m))
			}
		})
	}
	wg.Wait()
}

// TestCloseUnderLoad closes a model that many goroutines use: a call gives its features or ErrClosed.
func TestCloseUnderLoad(t *testing.T) {
	m, err := clip.Open(cliptest.New().Write(t), &clip.Options{Threads: 1})
	require.NoError(t, err)
	want := features(t, m)[m.Dim():]
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for range 8 {
		wg.Go(func() {
			for first := true; ; first = false {
				dst := make([]float32, m.Dim())
				err := m.EncodeImage(context.Background(), picture(m, 1), dst)
				if errors.Is(err, clip.ErrClosed) {
					if first {
						started <- struct{}{}
					}
					return
				}
				assert.NoError(t, err)
				assert.Equal(t, want, dst)
				if first {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	for range 3 {
		wg.Go(func() { assert.NoError(t, m.Close()) })
	}
	require.NoError(t, m.Close())
	wg.Wait()
	_, err = m.Identity(context.Background())
	require.ErrorIs(t, err, clip.ErrClosed)
	require.ErrorIs(t, m.EncodeText(context.Background(), []string{"a"}, make([]float32, m.Dim())), clip.ErrClosed)
	assert.NoError(t, m.Close())
}

func TestCancel(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dst := make([]float32, m.Dim())
	require.ErrorIs(t, m.EncodeText(ctx, []string{"a"}, dst), context.Canceled)
	require.ErrorIs(t, m.EncodeImage(ctx, picture(m, 1), dst), context.Canceled)

	expired, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	require.ErrorIs(t, m.EncodeText(expired, []string{"a"}, dst), context.DeadlineExceeded)
	require.NoError(t, m.EncodeText(context.Background(), []string{"a"}, dst), "the next call is not affected")
}

// TestCancelRunning cancels a batch that would take long while it is computed, and another that waits for its turn.
func TestCancelRunning(t *testing.T) {
	m := open(t, cliptest.New(), &clip.Options{Threads: 1})
	const n = 3000
	pixels := make([]float32, n*m.PixelCount())
	dst := make([]float32, n*m.Dim())
	start := time.Now()
	require.NoError(t, m.EncodeImage(context.Background(), pixels, dst))
	whole := time.Since(start)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, m.EncodeImage(ctx, pixels, dst), context.Canceled) })
	wg.Go(func() { assert.ErrorIs(t, m.EncodeImage(ctx, pixels, make([]float32, n*m.Dim())), context.Canceled) })
	start = time.Now()
	time.Sleep(whole / 20) // one is computed now, the other waits
	cancel()
	wg.Wait()
	assert.Less(t, time.Since(start), 2*whole, "neither ran to its end")
	t.Logf("a batch takes %v, its cancellation %v", whole, time.Since(start)-whole/20)
	require.NoError(t, m.EncodeImage(context.Background(), pixels[:m.PixelCount()], dst[:m.Dim()]))
}

// TestDropped drops a model without closing it: its mapping of the file goes away by itself.
func TestDropped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the mappings of a process are read from /proc/self/maps, which is Linux's")
	}
	path := cliptest.New().Write(t)
	func() {
		m, err := clip.Open(path, nil)
		require.NoError(t, err)
		features(t, m)
		require.True(t, mapped(t, path))
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return !mapped(t, path)
	}, 10*time.Second, 10*time.Millisecond)
}

func mapped(t *testing.T, path string) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Contains(string(maps), path)
}
