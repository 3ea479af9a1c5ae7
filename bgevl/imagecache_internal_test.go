package bgevl

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func key(i byte) cacheKey { return cacheKey{"model", [32]byte{i}} }

// features returns n floats that say which picture they are of.
func pictureFeatures(i byte, n int) []float32 {
	f := make([]float32, n)
	f[0] = float32(i)
	return f
}

// recorder counts how often each picture is computed.
type recorder struct {
	cache    *imageCache
	floats   int
	computed map[byte]int
}

func (r *recorder) get(t *testing.T, i byte) {
	t.Helper()
	got, err := r.cache.get(context.Background(), key(i), func() ([]float32, error) {
		r.computed[i]++
		return pictureFeatures(i, r.floats), nil
	})
	require.NoError(t, err)
	require.Equal(t, float32(i), got[0])
}

func TestImageCache(t *testing.T) {
	const floats = 100
	entry := int64(4*floats + entryOverhead)
	r := &recorder{newImageCache(3*entry + 1), floats, map[byte]int{}}
	for _, i := range []byte{1, 2, 3, 1, 2, 3} {
		r.get(t, i)
	}
	assert.Equal(t, map[byte]int{1: 1, 2: 1, 3: 1}, r.computed)
	assert.Equal(t, 3*entry, r.cache.used)
	r.get(t, 1)
	r.get(t, 4) // drops 2, which was not asked for longest
	r.get(t, 1)
	r.get(t, 3)
	assert.Equal(t, map[byte]int{1: 1, 2: 1, 3: 1, 4: 1}, r.computed)
	r.get(t, 2)
	assert.Equal(t, 2, r.computed[2])
	assert.Len(t, r.cache.entries, 3)
	assert.Equal(t, 3, r.cache.recent.Len())
	other := cacheKey{"another model", [32]byte{1}}
	got, err := r.cache.get(context.Background(), other, func() ([]float32, error) { return pictureFeatures(9, floats), nil })
	require.NoError(t, err)
	assert.Equal(t, float32(9), got[0], "another model's features of the same picture")
}

func TestImageCacheOff(t *testing.T) {
	r := &recorder{newImageCache(0), 10, map[byte]int{}}
	r.get(t, 1)
	r.get(t, 1)
	assert.Equal(t, 2, r.computed[1])

	r = &recorder{newImageCache(100), 1000, map[byte]int{}} // smaller than one picture
	r.get(t, 1)
	r.get(t, 1)
	assert.Equal(t, 2, r.computed[1])
	assert.Zero(t, r.cache.used)
}

// TestImageCacheOnce asks for one picture from many goroutines while it is being computed.
func TestImageCacheOnce(t *testing.T) {
	c := newImageCache(1 << 20)
	var computed atomic.Int32
	computing, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	get := func() {
		got, err := c.get(context.Background(), key(1), func() ([]float32, error) {
			computed.Add(1)
			close(computing)
			<-finish
			return pictureFeatures(1, 10), nil
		})
		assert.NoError(t, err)
		assert.Equal(t, float32(1), got[0])
	}
	wg.Go(get)
	<-computing
	for range 8 {
		wg.Go(get)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.get(ended, key(1), func() ([]float32, error) { panic("somebody else computes it") })
	require.ErrorIs(t, err, context.Canceled, "waiting ends with the waiter's context")
	close(finish)
	wg.Wait()
	assert.Equal(t, int32(1), computed.Load())
	assert.Empty(t, c.flights)
}

// TestImageCacheFailure: who waited for a call that failed computes for itself.
func TestImageCacheFailure(t *testing.T) {
	c := newImageCache(1 << 20)
	computing, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.get(context.Background(), key(1), func() ([]float32, error) {
			close(computing)
			<-finish
			return nil, errPoison
		})
		assert.ErrorIs(t, err, errPoison)
	})
	<-computing
	wg.Go(func() {
		got, err := c.get(context.Background(), key(1), func() ([]float32, error) { return pictureFeatures(1, 10), nil })
		assert.NoError(t, err)
		assert.Equal(t, float32(1), got[0])
	})
	close(finish)
	wg.Wait()
	assert.Len(t, c.entries, 1)

	assert.Panics(t, func() {
		_, _ = c.get(context.Background(), key(2), func() ([]float32, error) { panic("out of memory, say") })
	})
	_, err := c.get(context.Background(), key(2), func() ([]float32, error) { return nil, errors.New("tried again") })
	assert.ErrorContains(t, err, "tried again", "a panic leaves nobody waiting")
}

// TestImageCacheUnderLoad holds the cache to its bound under many goroutines.
func TestImageCacheUnderLoad(t *testing.T) {
	const floats, room = 50, 7
	c := newImageCache(room * (4*floats + entryOverhead))
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, g))
			for range 500 {
				i := byte(random.IntN(20))
				got, err := c.get(context.Background(), key(i), func() ([]float32, error) { return pictureFeatures(i, floats), nil })
				if !assert.NoError(t, err) || !assert.Equal(t, float32(i), got[0]) {
					return
				}
				c.mu.Lock()
				assert.LessOrEqual(t, c.used, c.limit)
				c.mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Len(t, c.entries, room)
	assert.Empty(t, c.flights)
}
