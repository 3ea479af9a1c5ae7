package index

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/bgevl/bgevl/bgevl"
)

// Kind is what an item is.
type Kind string

// The kinds of items.
const (
	KindImage Kind = "image"
	KindText  Kind = "text"
)

// Item is one thing that can be found.
type Item struct {
	ID     string // see ItemID
	Source string // name of the source that it came from
	Name   string // within the source: of a picture in a folder its path below it, with slashes
	Kind   Kind
	Text   string // of a text
}

// ItemID returns the id of an item: 32 hexadecimal digits that depend on the names of the item and of its source alone,
// so that it is the same in every run, and tells nobody a path.
func ItemID(source, name string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + name))
	return hex.EncodeToString(sum[:16])
}

var (
	// ErrFingerprint is what a vector of another model is refused with; errors.As gives the *FingerprintError.
	ErrFingerprint = errors.New("index: the vector is of another model")

	// ErrVector is what a vector is refused with that has another length than the collection's or is not finite.
	ErrVector = errors.New("index: unusable vector")

	// ErrDuplicate is what an item is refused with whose id the collection has.
	ErrDuplicate = errors.New("index: the collection has the item")

	// ErrNotFound is what an id leads to that no item, or no picture, has.
	ErrNotFound = errors.New("index: no such item")
)

// FingerprintError says in what a vector's origin differs from the collection's. errors.Is(err, ErrFingerprint) holds.
type FingerprintError struct {
	Fields []string // of bgevl.Fingerprint, as Fingerprint.Diff names them; none where the vector's origin is unknown
}

func (e *FingerprintError) Error() string {
	if len(e.Fields) == 0 {
		return "index: it is not known what made the vector: give the fingerprint of the model that did"
	}
	return "index: the collection was embedded with another " + strings.Join(e.Fields, ", ") +
		": search it with the model that it was made with, or make it anew with this one"
}

// Is reports whether target is ErrFingerprint.
func (e *FingerprintError) Is(target error) bool { return target == ErrFingerprint }

// Collection is items with their vectors, in memory.
type Collection struct {
	fingerprint bgevl.Fingerprint
	dim         int

	mu       sync.RWMutex
	items    []Item
	vectors  []float32      // row-major, dim floats an item; rows are never changed once they are there
	position map[string]int // of an item's id
	sources  map[string]Source
	images   int
	failures []Failure // the first ones
	failed   int
}

// New returns an empty collection of vectors of the model with that fingerprint.
func New(f bgevl.Fingerprint) (*Collection, error) {
	if f == (bgevl.Fingerprint{}) {
		return nil, &FingerprintError{}
	}
	if f.Dim < 1 {
		return nil, fmt.Errorf("index: a model whose vectors have %d floats: want at least 1", f.Dim)
	}
	return &Collection{fingerprint: f, dim: f.Dim, position: map[string]int{}, sources: map[string]Source{}}, nil
}

// Fingerprint returns what the collection's vectors depend on.
func (c *Collection) Fingerprint() bgevl.Fingerprint { return c.fingerprint }

// Stats counts what is in a collection.
type Stats struct {
	Images, Texts int
	Failed        int       // pictures and texts that could not be added, over all calls of Ingest
	Failures      []Failure // the first of them
	Bytes         int64     // of the vectors
}

// Stats returns the collection's counts.
func (c *Collection) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Stats{Images: c.images, Texts: len(c.items) - c.images, Failed: c.failed,
		Failures: append([]Failure{}, c.failures...), Bytes: 4 * int64(len(c.vectors))}
}

// Add adds an item with its vector, of which it keeps a copy. f is the fingerprint of what made the vector. It fails
// with ErrFingerprint, ErrVector or ErrDuplicate, and has then added nothing.
func (c *Collection) Add(f bgevl.Fingerprint, item Item, vector []float32) error {
	if err := c.check(f, vector); err != nil {
		return err
	}
	if item.Kind != KindImage && item.Kind != KindText {
		return fmt.Errorf("index: an item of kind %q: want %s or %s", item.Kind, KindImage, KindText)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.position[item.ID]; ok {
		return ErrDuplicate
	}
	c.position[item.ID] = len(c.items)
	c.items = append(c.items, item)
	c.vectors = append(c.vectors, vector...)
	if item.Kind == KindImage {
		c.images++
	}
	return nil
}

// checkModel returns why what a model makes must not meet the collection's vectors.
func (c *Collection) checkModel(f bgevl.Fingerprint) error {
	if f == (bgevl.Fingerprint{}) {
		return &FingerprintError{}
	}
	if fields := c.fingerprint.Diff(f); len(fields) > 0 {
		return &FingerprintError{Fields: fields}
	}
	return nil
}

// check returns why a vector must not meet the collection's.
func (c *Collection) check(f bgevl.Fingerprint, vector []float32) error {
	if err := c.checkModel(f); err != nil {
		return err
	}
	if len(vector) != c.dim {
		return fmt.Errorf("%w: want %d floats, got %d", ErrVector, c.dim, len(vector))
	}
	for i, x := range vector {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("%w: float %d is %v", ErrVector, i, x)
		}
	}
	return nil
}

// Item returns the item of an id and a copy of its vector.
func (c *Collection) Item(id string) (Item, []float32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at, ok := c.position[id]
	if !ok {
		return Item{}, nil, false
	}
	return c.items[at], append([]float32{}, c.vectors[at*c.dim:(at+1)*c.dim]...), true
}

// Open opens the picture of an item. It fails with ErrNotFound for an id that no picture has.
func (c *Collection) Open(id string) (io.ReadCloser, error) {
	c.mu.RLock()
	at, ok := c.position[id]
	var item Item
	var src Source
	if ok {
		item = c.items[at]
		src = c.sources[item.Source]
	}
	c.mu.RUnlock()
	if src == nil || item.Kind != KindImage {
		return nil, ErrNotFound
	}
	return src.Open(item.Name)
}

// has reports whether an id is taken.
func (c *Collection) has(id string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.position[id]
	return ok
}

// register keeps a source for Open.
func (c *Collection) register(src Source) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.sources[src.Name()]; ok && old != src {
		return fmt.Errorf("index: a source called %s is there already: give this one another name", src.Name())
	}
	c.sources[src.Name()] = src
	return nil
}
