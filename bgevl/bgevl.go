package bgevl

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
)

// Options are how a model is opened. The zero value works, and so does a nil pointer.
type Options struct {
	// Threads is how many threads one batch is computed with. 0: as many as the process may run at once.
	Threads int

	// Contexts is how many batches of different calls are computed at the same time. 0: one.
	Contexts int

	// BatchSize is how many images go through the model at once; of texts without an image it is four times as many. A
	// larger one takes more memory and gains little on a processor. 0: 8.
	BatchSize int

	// Truncate cuts texts that are too long, keeping the end-of-text token, instead of failing them with ErrTooLong.
	// Result.Truncated says which were cut.
	Truncate bool

	// MaxImageBytes is the most bytes that an encoded image may have. 0: 20 MiB.
	MaxImageBytes int64

	// MaxPixels and MaxSide bound an image's width times height and its longer side, which are read from its header
	// before anything is decoded. 0: 64 megapixels and 16,384.
	MaxPixels int64
	MaxSide   int

	// Workers is how many inputs are read, decoded and tokenised at a time, over all calls. 0: as many as the process
	// may run at once.
	Workers int
}

// Defaults and bounds of Options.
const (
	defaultBatchSize     = 8 // past it, a processor's throughput is flat and memory is not
	defaultMaxImageBytes = 20 << 20
	maxBatchSize         = 1024
	maxWorkers           = 1024
	maxImageBytes        = 1 << 31 // what one slice should never grow past here
)

// familyCLIP is what Info.Family and the file's bgevl.family key say for CLIP models.
const familyCLIP = "clip"

// Info describes an opened model.
type Info struct {
	Family     string // "clip"
	Name       string // what the file calls the model, which may be empty
	Path       string // as given to Open
	Type       string // type of the weights, as "f16" or "q8_0"
	Dim        int    // floats of an embedding
	Parameters int64
	Context    int // tokens that an input may have
	ImageSize  int // pixels a side that the vision tower sees
}

// Embedder turns inputs into embeddings. It is safe for any number of goroutines and lives until Close.
type Embedder struct {
	engine  engine
	info    Info
	workers *semaphore.Weighted // inputs being prepared
	nWork   int64               // of workers
	budget  int64               // weight of a full batch
}

// Open opens the model in a GGUF file. It reads metadata only; weights are read when they are first needed. The error
// for a file that is damaged or of an unknown kind names the key or tensor at fault. A nil o means the zero Options.
func Open(path string, o *Options) (*Embedder, error) {
	opt, err := o.resolve()
	if err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("bgevl: %w", err) // names the path itself
	}
	l := &loader{maxBytes: opt.MaxImageBytes, large: semaphore.NewWeighted(1),
		limits: pixels.Limits{MaxPixels: opt.MaxPixels, MaxSide: opt.MaxSide}}
	eng, err := openEngine(path, f, opt, l)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Embedder{engine: eng, info: eng.info(), workers: semaphore.NewWeighted(int64(opt.Workers)),
		nWork: int64(opt.Workers), budget: imageWeight * int64(opt.BatchSize)}, nil
}

// openEngine opens the model in f with the family that its metadata asks for.
func openEngine(path string, f *gguf.File, o Options, l *loader) (engine, error) {
	family, err := f.String("bgevl.family")
	if errors.Is(err, gguf.ErrNoKey) {
		// A file of another converter: its architecture is the family.
		family, err = f.String("general.architecture")
	}
	if err != nil {
		return nil, fmt.Errorf("bgevl: open %s: %w", path, err)
	}
	if family == familyCLIP {
		return openCLIP(path, f, o, l)
	}
	return nil, fmt.Errorf("bgevl: open %s: a model of family %q: this version embeds with clip", path, family)
}

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (Options, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	for _, v := range []struct {
		name       string
		value, max int64
	}{
		{"Threads", int64(opt.Threads), maxWorkers}, {"Contexts", int64(opt.Contexts), maxWorkers},
		{"BatchSize", int64(opt.BatchSize), maxBatchSize}, {"Workers", int64(opt.Workers), maxWorkers},
		{"MaxImageBytes", opt.MaxImageBytes, maxImageBytes}, {"MaxPixels", opt.MaxPixels, maxImageBytes},
		{"MaxSide", int64(opt.MaxSide), maxImageBytes},
	} {
		if v.value < 0 || v.value > v.max {
			return opt, fmt.Errorf("bgevl: options: %s: want 0 to %d, got %d", v.name, v.max, v.value)
		}
	}
	if opt.BatchSize == 0 {
		opt.BatchSize = defaultBatchSize
	}
	if opt.MaxImageBytes == 0 {
		opt.MaxImageBytes = defaultMaxImageBytes
	}
	if opt.Workers == 0 {
		opt.Workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return opt, nil
}

// Info returns the model's description.
func (e *Embedder) Info() Info { return e.info }

// Dim returns the number of floats of an embedding.
func (e *Embedder) Dim() int { return e.info.Dim }

// Fingerprint returns what the embeddings depend on. It may read the whole file the first time.
func (e *Embedder) Fingerprint(ctx context.Context) (Fingerprint, error) {
	return e.engine.fingerprint(ctx)
}

// Close lets batches that are being computed finish, fails other calls with ErrClosed and gives back the weights. It
// may be called more than once, by any goroutine.
func (e *Embedder) Close() error { return e.engine.close() }
