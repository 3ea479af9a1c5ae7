package server

import (
	"context"
	"io"
)

// Collection is what POST /v1/search searches. Its methods may be called by many goroutines at once.
type Collection interface {
	// Search finds the items whose vectors have the largest inner product with the query's. The vector is the model's.
	Search(ctx context.Context, q SearchQuery) (*SearchResult, error)

	// Item returns the item of an id and its vector.
	Item(id string) (Item, []float32, bool)

	// Open opens the picture of an item. It fails for an id that no picture has.
	Open(id string) (io.ReadCloser, error)

	// Status says what the collection holds, and how far it has been filled.
	Status() CollectionStatus
}

// SearchOptions are the collection of a Server and what its page says of it. Without a collection there are no routes
// for search, and no page.
type SearchOptions struct {
	Collection Collection

	// Instruction is that of queries that have none, for models with instructions. Nil: one of the published ones, which
	// fits what the query holds.
	Instruction *string

	// Demo says that the model is the small one that knows drawn shapes and nothing else: the page tells.
	Demo bool

	// Examples are queries that the page offers.
	Examples []Example
}

// Example is a query that the page offers: a text, or the picture of an item with a text that says what to change.
type Example struct {
	ID       string // of the item; empty for a text alone
	Text     string
	Negative string // what results should not be like; empty for none
}

// SearchQuery is a search as a Collection sees it.
type SearchQuery struct {
	Vector   []float32
	K        int
	MinScore *float32
	Filter   SearchFilter
}

// SearchFilter bounds a search to some items. The zero SearchFilter lets all pass.
type SearchFilter struct {
	Kind    string   `json:"kind"`    // "image" or "text"
	Source  string   `json:"source"`  // items of this source
	Name    string   `json:"name"`    // items whose name, or whose text, holds this
	Exclude []string `json:"exclude"` // ids of items to leave out
}

// SearchResult is what a Collection found.
type SearchResult struct {
	Hits    []SearchHit // best first
	Matched int         // items that passed the filter and the lowest score
}

// SearchHit is an item that was found.
type SearchHit struct {
	Item  Item
	Score float32
}

// Item is one thing that can be found.
type Item struct {
	ID     string
	Name   string
	Source string
	Kind   string // "image" or "text"
	Text   string // of a text
}

// CollectionStatus says what a collection holds.
type CollectionStatus struct {
	Images, Texts int
	Sources       []string
	Indexing      Indexing
	Failed        int
	Failures      []ItemFailure // the first of them
}

// Indexing is how far a collection has been filled.
type Indexing struct {
	State string // "running", "done" or "failed"
	Done  int    // of Total: items that were taken in, and those that failed
	Total int    // 0 while it is not known
}

// ItemFailure is an item that could not be taken in. Clients see Reason.
type ItemFailure struct {
	Source, Name, Reason string
}
