package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/index"
	"github.com/bgevl/bgevl/server"
)

// collection is a collection of package index as package server wants it, and what fills it.
type collection struct {
	*index.Collection
	fingerprint bgevl.Fingerprint // of the server's model
	sources     []string

	mu    sync.Mutex
	state server.Indexing
}

// Search is the index's, with the types of package server.
func (c *collection) Search(ctx context.Context, q server.SearchQuery) (*server.SearchResult, error) {
	found, err := c.Collection.Search(ctx, index.Query{Vector: q.Vector, Fingerprint: c.fingerprint, K: q.K, MinScore: q.MinScore,
		Filter: index.Filter{Kind: index.Kind(q.Filter.Kind), Source: q.Filter.Source, Name: q.Filter.Name, Exclude: q.Filter.Exclude}})
	if err != nil {
		return nil, err
	}
	out := &server.SearchResult{Matched: found.Matched}
	for _, h := range found.Hits {
		out.Hits = append(out.Hits, server.SearchHit{Item: servedItem(h.Item), Score: h.Score})
	}
	return out, nil
}

// Item is the index's.
func (c *collection) Item(id string) (server.Item, []float32, bool) {
	item, vector, ok := c.Collection.Item(id)
	return servedItem(item), vector, ok
}

// Open is the index's.
func (c *collection) Open(id string) (io.ReadCloser, error) { return c.Collection.Open(id) }

func servedItem(i index.Item) server.Item {
	return server.Item{ID: i.ID, Name: i.Name, Source: i.Source, Kind: string(i.Kind), Text: i.Text}
}

// Status says how far the collection is.
func (c *collection) Status() server.CollectionStatus {
	const most = 20 // failures that a page has room for
	stats := c.Stats()
	c.mu.Lock()
	out := server.CollectionStatus{Images: stats.Images, Texts: stats.Texts, Sources: c.sources, Indexing: c.state, Failed: stats.Failed}
	c.mu.Unlock()
	for _, f := range stats.Failures[:min(len(stats.Failures), most)] {
		out.Failures = append(out.Failures, server.ItemFailure{Source: f.Source, Name: f.Name, Reason: publicReason(f.Err)})
	}
	return out
}

func (c *collection) set(state string, p index.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = server.Indexing{State: state, Done: p.Done + p.Failed, Total: p.Total}
}

// publicReason is what clients may know of why an item failed.
func publicReason(err error) string {
	switch {
	case errors.Is(err, bgevl.ErrTooLarge):
		return "too large a picture"
	case errors.Is(err, bgevl.ErrImage):
		return "a damaged picture"
	case errors.Is(err, bgevl.ErrNoProjector):
		return "the model was opened without its vision side"
	case errors.Is(err, bgevl.ErrTooLong):
		return "too long a text"
	case errors.Is(err, bgevl.ErrNonFinite), errors.Is(err, bgevl.ErrZero):
		return "the model failed on it"
	}
	return "it cannot be read"
}

// fill takes in sources and texts, one after another, and draws how far it is. What fails is said on standard error, and
// does not end the server.
func (c *collection) fill(ctx context.Context, s *streams, m index.Model, sources []index.Source, texts []string) {
	var b *bar
	defer func() { b.finish() }()
	before := index.Progress{} // of the sources that are in
	said := 0
	options := &index.IngestOptions{
		Progress: func(p index.Progress) {
			sum := index.Progress{Done: before.Done + p.Done, Failed: before.Failed + p.Failed, Total: before.Total + p.Total}
			c.set("running", sum)
			b.set(int64(p.Done + p.Failed))
			if b == nil {
				b = s.progress("indexing", int64(p.Total), false)
			}
		},
		Failed: func(f index.Failure) {
			const most = 10 // a folder of damaged pictures should not fill the screen
			if said++; said <= most {
				s.complain(fmt.Sprintf("serve: %s/%s: %v", f.Source, f.Name, f.Err))
			}
		},
	}
	one := func(name string, p index.Progress, err error) bool {
		before = index.Progress{Done: before.Done + p.Done, Failed: before.Failed + p.Failed, Total: before.Total + p.Total}
		b.finish()
		b = nil
		if err != nil && ctx.Err() == nil {
			s.complain(fmt.Sprintf("serve: indexing %s: %v", name, err))
			c.set("failed", before)
		}
		return err == nil
	}
	for _, src := range sources {
		p, err := c.Ingest(ctx, m, src, options)
		if !one(src.Name(), p, err) {
			return
		}
	}
	if len(texts) > 0 {
		p, err := c.IngestTexts(ctx, m, textsSource, texts, options)
		if !one(textsSource, p, err) {
			return
		}
	}
	c.set("done", before)
	stats := c.Stats()
	s.complain(fmt.Sprintf("serve: %d pictures and %d texts can be searched, %d failed", stats.Images, stats.Texts, stats.Failed))
}
