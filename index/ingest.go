package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/pixels"
)

// Model is what fills a collection; *bgevl.Embedder is one.
type Model interface {
	// Stream yields one result for each input, in order.
	Stream(ctx context.Context, inputs iter.Seq2[bgevl.Input, error]) iter.Seq2[bgevl.Result, error]
	Fingerprint(ctx context.Context) (bgevl.Fingerprint, error)
}

// Failure is a picture or a text that could not be added, and why.
type Failure struct {
	Source, Name string
	Err          error
}

// Progress says how far a call has come.
type Progress struct {
	Done, Failed int // of Total: items that were added or were there, and those that failed
	Total        int // 0 while the source is being listed
}

// IngestOptions are how a source is taken in. A nil pointer means the zero value.
type IngestOptions struct {
	Progress func(Progress) // called on one goroutine after each item
	Failed   func(Failure)  // called on the same one for each failure
}

// maxFailures is how many failures a collection remembers: enough to see what is wrong.
const maxFailures = 100

// Ingest embeds the pictures of a source and adds them. What is a picture is told by content; other files are passed
// over. A picture that fails is reported and passed over too. Items that the collection has already are not embedded
// again. It fails where the model is another than the collection's, where the source cannot be listed, and where ctx
// ended; what was added stays.
func (c *Collection) Ingest(ctx context.Context, m Model, src Source, o *IngestOptions) (Progress, error) {
	in, err := c.begin(ctx, m, o)
	if err != nil {
		return Progress{}, err
	}
	if err := c.register(src); err != nil {
		return Progress{}, err
	}
	for name, err := range src.List(ctx) {
		switch {
		case err != nil && name == "":
			return in.progress, fmt.Errorf("index: list %s: %w", src.Name(), err)
		case err != nil:
			in.fail(Item{Source: src.Name(), Name: name}, err)
			continue
		}
		item := Item{ID: ItemID(src.Name(), name), Source: src.Name(), Name: name, Kind: KindImage}
		if c.has(item.ID) {
			in.progress.Done++
			continue
		}
		if ok, err := isPicture(src, name); err != nil {
			in.fail(item, err)
		} else if ok {
			in.items = append(in.items, item)
		}
	}
	if err := ctx.Err(); err != nil {
		return in.progress, fmt.Errorf("index: list %s: %w", src.Name(), err)
	}
	return in.run(ctx, m, func(item Item) (bgevl.Input, func()) {
		r := &lazy{open: func() (io.ReadCloser, error) { return src.Open(item.Name) }}
		return bgevl.Input{Image: bgevl.ImageReader(r), Role: bgevl.RoleCandidate}, r.Close
	})
}

// IngestTexts embeds texts and adds them as items of a source of that name, called "1", "2" and so on. It goes about it
// as Ingest does.
func (c *Collection) IngestTexts(ctx context.Context, m Model, source string, texts []string, o *IngestOptions) (Progress, error) {
	in, err := c.begin(ctx, m, o)
	if err != nil {
		return Progress{}, err
	}
	for i, text := range texts {
		name := fmt.Sprint(i + 1)
		item := Item{ID: ItemID(source, name), Source: source, Name: name, Kind: KindText, Text: text}
		if c.has(item.ID) {
			in.progress.Done++
			continue
		}
		in.items = append(in.items, item)
	}
	return in.run(ctx, m, func(item Item) (bgevl.Input, func()) {
		return bgevl.Input{Text: &item.Text, Role: bgevl.RoleCandidate}, func() {}
	})
}

// ingestion is one call of Ingest.
type ingestion struct {
	c           *Collection
	o           IngestOptions
	fingerprint bgevl.Fingerprint
	items       []Item // to embed
	progress    Progress
}

// begin looks at the model before anything is read.
func (c *Collection) begin(ctx context.Context, m Model, o *IngestOptions) (*ingestion, error) {
	f, err := m.Fingerprint(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.checkModel(f); err != nil {
		return nil, err
	}
	in := &ingestion{c: c, fingerprint: f}
	if o != nil {
		in.o = *o
	}
	return in, nil
}

// run embeds the items and adds them. open makes an item's input, and a function that gives back what it holds.
func (in *ingestion) run(ctx context.Context, m Model, open func(Item) (bgevl.Input, func())) (Progress, error) {
	in.progress.Total = in.progress.Done + in.progress.Failed + len(in.items)
	in.report()
	var held sync.Map // index of an item to what closes it
	defer held.Range(func(_, done any) bool { done.(func())(); return true })
	inputs := func(yield func(bgevl.Input, error) bool) {
		for i, item := range in.items {
			input, done := open(item)
			held.Store(i, done)
			if !yield(input, nil) {
				return
			}
		}
	}
	for r, err := range m.Stream(ctx, inputs) {
		if err != nil {
			return in.progress, fmt.Errorf("index: embed: %w", err)
		}
		if done, ok := held.LoadAndDelete(r.Index); ok {
			done.(func())()
		}
		in.take(in.items[r.Index], r)
	}
	return in.progress, nil
}

// take adds an item that was embedded.
func (in *ingestion) take(item Item, r bgevl.Result) {
	err := r.Err
	if failure, ok := errors.AsType[*bgevl.InputError](err); ok {
		err = failure.Err
	}
	if err == nil {
		err = in.c.Add(in.fingerprint, item, r.Embedding)
	}
	if err != nil && !errors.Is(err, ErrDuplicate) { // another call was faster
		in.fail(item, err)
	} else {
		in.progress.Done++
	}
	in.report()
}

func (in *ingestion) fail(item Item, err error) {
	in.progress.Failed++
	f := Failure{Source: item.Source, Name: item.Name, Err: err}
	in.c.mu.Lock()
	in.c.failed++
	if len(in.c.failures) < maxFailures {
		in.c.failures = append(in.c.failures, f)
	}
	in.c.mu.Unlock()
	if in.o.Failed != nil {
		in.o.Failed(f)
	}
}

func (in *ingestion) report() {
	if in.o.Progress != nil {
		in.o.Progress(in.progress)
	}
}

// isPicture reports whether a file begins as a picture does.
func isPicture(src Source, name string) (bool, error) {
	if _, ok := src.(picturesOnly); ok {
		return true, nil
	}
	f, err := src.Open(name)
	if errors.Is(err, errNotRegular) {
		return false, nil // a link to a folder, say
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, pixels.HeadSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, reason(err)
	}
	return pixels.Known(head[:n]), nil
}

// lazy opens what it reads when it is first read, so that inputs that wait hold no descriptor.
type lazy struct {
	open func() (io.ReadCloser, error)

	mu     sync.Mutex // Close comes from another goroutine than Read
	f      io.ReadCloser
	closed bool
}

func (l *lazy) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	if l.f == nil {
		f, err := l.open()
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	n, err := l.f.Read(b)
	return n, reason(err)
}

// Close gives the file back.
func (l *lazy) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.f != nil {
		l.f.Close()
	}
}
