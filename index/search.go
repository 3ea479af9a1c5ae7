package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bgevl/bgevl/bgevl"
)

// Query is what a search looks for.
type Query struct {
	Vector      []float32
	Fingerprint bgevl.Fingerprint // of what made the vector
	K           int               // how many items to find, at least 1
	MinScore    *float32          // leaves out items of a lower score; nil for none
	Filter      Filter
}

// Filter bounds a search to some items. The zero Filter lets all pass.
type Filter struct {
	Kind    Kind     // items of this kind
	Source  string   // items of the source of this name
	Name    string   // items whose name, or whose text, holds this; case does not count
	Exclude []string // ids of items to leave out
}

// Hit is an item that was found. Score is the inner product of its vector and the query's: for unit vectors the cosine.
type Hit struct {
	Item  Item
	Score float32
}

// Result is what a search found.
type Result struct {
	Hits    []Hit // best first; equal scores in the order in which the items were added
	Matched int   // items that passed the filter and the lowest score, K of which are Hits
}

// chunk is how many rows are searched before the context is looked at, and the least work that is worth a goroutine.
const chunk = 4096

// Search finds the K items whose vectors have the largest inner product with the query's. It computes all of them.
func (c *Collection) Search(ctx context.Context, q Query) (*Result, error) {
	if err := c.check(q.Fingerprint, q.Vector); err != nil {
		return nil, err
	}
	if q.K < 1 {
		return nil, fmt.Errorf("index: search for %d items: want at least 1", q.K)
	}
	if q.MinScore != nil && *q.MinScore != *q.MinScore {
		return nil, errors.New("index: the lowest score is no number")
	}
	c.mu.RLock()
	items, vectors := c.items, c.vectors // rows that are there stay as they are
	c.mu.RUnlock()
	s := &search{query: q, items: items, vectors: vectors, dim: c.dim, keep: q.Filter.compile()}
	return s.run(ctx)
}

// search is one call of Search.
type search struct {
	query   Query
	items   []Item
	vectors []float32
	dim     int
	keep    func(*Item) bool // nil: all
}

// run searches the rows in parts, a goroutine each.
func (s *search) run(ctx context.Context) (*Result, error) {
	parts := min(runtime.GOMAXPROCS(0), len(s.items)/chunk+1)
	found := make([]best, parts)
	group, ctx := errgroup.WithContext(ctx)
	for p := range parts {
		group.Go(func() error {
			found[p].k = s.query.K
			return s.part(ctx, len(s.items)*p/parts, len(s.items)*(p+1)/parts, &found[p])
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("index: search: %w", err)
	}
	out := &Result{Hits: []Hit{}}
	var all []scored
	for _, b := range found {
		out.Matched += b.matched
		all = append(all, b.heap...)
	}
	slices.SortFunc(all, order)
	for _, f := range all[:min(len(all), s.query.K)] {
		out.Hits = append(out.Hits, Hit{Item: s.items[f.at], Score: f.score})
	}
	return out, nil
}

// part searches the rows from lo to hi.
func (s *search) part(ctx context.Context, lo, hi int, b *best) error {
	for at := lo; at < hi; at++ {
		if (at-lo)%chunk == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.keep != nil && !s.keep(&s.items[at]) {
			continue
		}
		score := dot(s.query.Vector, s.vectors[at*s.dim:(at+1)*s.dim])
		if s.query.MinScore != nil && score < *s.query.MinScore {
			continue
		}
		b.add(scored{at, score})
	}
	return ctx.Err()
}

// dot returns the inner product, summed in float64. Four sums, since one would wait for itself.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return float32((s0 + s1) + (s2 + s3))
}

// scored is a row and its score.
type scored struct {
	at    int
	score float32
}

// order puts the higher score first, and of equal ones the item that was added first.
func order(a, b scored) int {
	if c := cmp.Compare(b.score, a.score); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at)
}

// best keeps the first k rows by order: a heap with the last of them at its top.
type best struct {
	k, matched int
	heap       []scored
}

func (b *best) add(s scored) {
	b.matched++
	if len(b.heap) < b.k {
		b.heap = append(b.heap, s)
		b.up(len(b.heap) - 1)
		return
	}
	if order(s, b.heap[0]) < 0 {
		b.heap[0] = s
		b.down()
	}
}

func (b *best) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if order(b.heap[i], b.heap[parent]) <= 0 {
			return
		}
		b.heap[i], b.heap[parent] = b.heap[parent], b.heap[i]
		i = parent
	}
}

func (b *best) down() {
	for i := 0; ; {
		last := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(b.heap) && order(b.heap[child], b.heap[last]) > 0 {
				last = child
			}
		}
		if last == i {
			return
		}
		b.heap[i], b.heap[last] = b.heap[last], b.heap[i]
		i = last
	}
}

// compile returns the filter as a function, or nil where it lets all pass.
func (f Filter) compile() func(*Item) bool {
	if f.Kind == "" && f.Source == "" && f.Name == "" && len(f.Exclude) == 0 {
		return nil
	}
	name, out := strings.ToLower(f.Name), map[string]bool{}
	for _, id := range f.Exclude {
		out[id] = true
	}
	return func(item *Item) bool {
		return (f.Kind == "" || item.Kind == f.Kind) && (f.Source == "" || item.Source == f.Source) && !out[item.ID] &&
			(name == "" || strings.Contains(strings.ToLower(item.Name), name) || strings.Contains(strings.ToLower(item.Text), name))
	}
}
