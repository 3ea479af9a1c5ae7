package bgevl

import (
	"container/list"
	"context"
	"sync"
)

// imageCache keeps what the vision side made of pictures, so that one picture beside many texts goes through it once.
// It holds at most limit bytes and drops what was not asked for longest. A nil cache keeps nothing. It is safe for many
// goroutines; what get returns is shared and not to be changed.
type imageCache struct {
	limit int64

	mu      sync.Mutex
	used    int64
	entries map[cacheKey]*list.Element // of *cacheEntry
	recent  *list.List                 // the latest use in front
	flights map[cacheKey]chan struct{} // being computed; closed at the end
}

// cacheKey is a picture as its model sees it.
type cacheKey struct {
	model   string   // Fingerprint.Sum
	picture [32]byte // digest of the preprocessed pixels and of how they are laid out
}

type cacheEntry struct {
	key      cacheKey
	features []float32
}

// entryOverhead is about what an entry takes beside its features.
const entryOverhead = 512

func (e *cacheEntry) bytes() int64 { return 4*int64(cap(e.features)) + entryOverhead }

// newImageCache returns a cache of at most limit bytes, nil for none.
func newImageCache(limit int64) *imageCache {
	if limit <= 0 {
		return nil
	}
	return &imageCache{limit: limit, entries: map[cacheKey]*list.Element{}, recent: list.New(), flights: map[cacheKey]chan struct{}{}}
}

// get returns the features of a picture, by compute where the cache has none. Of several calls for one picture one
// computes, and the others wait for it, or for their ctx to end; where it fails, the next of them tries for itself, so
// that nobody gets another's error.
func (c *imageCache) get(ctx context.Context, key cacheKey, compute func() ([]float32, error)) ([]float32, error) {
	if c == nil {
		return compute()
	}
	for {
		features, flight, mine := c.enter(key)
		if features != nil {
			return features, nil
		}
		if mine {
			return c.compute(key, flight, compute)
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// enter looks a picture up: its features, or the flight that computes them, which may be the caller's to do.
func (c *imageCache) enter(key cacheKey) (features []float32, flight chan struct{}, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[key]; ok {
		c.recent.MoveToFront(at)
		return at.Value.(*cacheEntry).features, nil, false
	}
	if flight, ok := c.flights[key]; ok {
		return nil, flight, false
	}
	flight = make(chan struct{})
	c.flights[key] = flight
	return nil, flight, true
}

// compute ends the caller's flight, whatever compute does.
func (c *imageCache) compute(key cacheKey, flight chan struct{}, compute func() ([]float32, error)) (features []float32, err error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		if features != nil && err == nil {
			c.put(&cacheEntry{key, features})
		}
		close(flight)
	}()
	return compute()
}

// put keeps an entry that fits, and drops others until all do. The caller holds mu.
func (c *imageCache) put(e *cacheEntry) {
	if e.bytes() > c.limit {
		return
	}
	c.entries[e.key] = c.recent.PushFront(e)
	c.used += e.bytes()
	for c.used > c.limit {
		last := c.recent.Back()
		gone := c.recent.Remove(last).(*cacheEntry)
		delete(c.entries, gone.key)
		c.used -= gone.bytes()
	}
}
