package index

import (
	"cmp"
	"container/heap"
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
		all = append(all, b.rows...)
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
		score := bgevl.Score(s.query.Vector, s.vectors[at*s.dim:(at+1)*s.dim])
		if s.query.MinScore != nil && score < *s.query.MinScore {
			continue
		}
		b.add(scored{at, score})
	}
	return ctx.Err()
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
	rows
}

func (b *best) add(s scored) {
	b.matched++
	switch {
	case len(b.rows) < b.k:
		heap.Push(&b.rows, s)
	case order(s, b.rows[0]) < 0:
		b.rows[0] = s
		heap.Fix(&b.rows, 0)
	}
}

// rows is a heap.Interface.
type rows []scored

func (r rows) Len() int           { return len(r) }
func (r rows) Less(i, j int) bool { return order(r[i], r[j]) > 0 }
func (r rows) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *rows) Push(x any)        { *r = append(*r, x.(scored)) }
func (r *rows) Pop() any          { panic("index: rows are replaced and never taken out") }

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
