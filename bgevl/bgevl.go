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

	// Device is what computes: "cpu" for the processor, names of Devices with commas between, or "auto" for the one that
	// is Device.Default, on which as many layers lie as it has memory for. Empty: what the environment variable
	// BGEVL_DEVICE names, or else "auto".
	Device string

	// DeviceLayers is how many layers of each of a model's networks lie on devices, the last ones; the processor computes
	// the others. 0: as many as the devices have memory for.
	DeviceLayers int

	// BatchSize is how many images go through the model at once; of texts without an image it is four times as many. A
	// larger one takes more memory and gains little on a processor. An MLLM model computes images one at a time, whatever
	// it is. 0: 8.
	BatchSize int

	// Truncate cuts texts that are too long, keeping what the model adds at their end, instead of failing them with
	// ErrTooLong. Result.Truncated says which were cut. Instructions are never cut.
	Truncate bool

	// Projector is the file with the vision side of an MLLM model. Empty: mmproj-NAME.gguf beside NAME.gguf, or the
	// mmproj*.gguf there that was converted from the same checkpoint, of several the one that is named most like it.
	Projector string

	// Context is the most tokens that an input of an MLLM model may have, an image's included; memory for the longest
	// input grows with it. 0: what the model was trained for, but at most 8,192. CLIP models have their own.
	Context int

	// ImageCacheBytes is how much memory may hold what the vision side of an MLLM model made of recent images, so that
	// an image that comes again, with another text or none, skips it: 48 MB an image for the published models. 0: none.
	ImageCacheBytes int64

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
	maxCacheBytes        = 1 << 46 // more than any machine has
	maxContext           = 1 << 20 // far more than any model was trained for
)

// What Info.Family and the file's bgevl.family key say; familyProjector is the vision side of an MLLM model.
const (
	familyCLIP      = "clip"
	familyMLLM      = "mllm"
	familyProjector = "mllm-projector"
)

// Info describes an opened model.
type Info struct {
	Family     string // "clip" or "mllm"
	Name       string // what the file calls the model, which may be empty
	Path       string // as given to Open
	Type       string // type of the weights, as "f16" or "q8_0"
	Dim        int    // floats of an embedding
	Parameters int64
	Context    int // tokens that an input may have
	ImageSize  int // pixels a side that the vision tower sees, of each tile for MLLM models; 0 where images fail

	// Device says in words what computes: the processor's instruction set, as "avx2", or "Vulkan0 (24 of 24 layers)".
	Device string

	// DeviceLayers is how many layers lie on devices other than the processor, of the decoder alone for MLLM models.
	DeviceLayers int

	// Instructions says that queries should have an instruction and that roles matter.
	Instructions bool

	// Projector is the path of the file with the vision side of an MLLM model. It is empty for CLIP models, which are one
	// file, and where none was found: images fail then, and the error says what was looked for.
	Projector string
}

// Embedder turns inputs into embeddings. It is safe for any number of goroutines and lives until Close.
type Embedder struct {
	engine  engine
	info    Info
	workers *semaphore.Weighted // inputs being prepared
	nWork   int64               // of workers

	budget, heaviest int64 // weights of a full batch and of an input
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
	return newEmbedder(eng, opt), nil
}

// newEmbedder returns what runs an engine. The options are resolved ones.
func newEmbedder(eng engine, o Options) *Embedder {
	e := &Embedder{engine: eng, info: eng.info(), workers: semaphore.NewWeighted(int64(o.Workers)), nWork: int64(o.Workers)}
	e.budget, e.heaviest = eng.weights(o.BatchSize)
	return e
}

// openEngine opens the model in f with the family that its metadata asks for.
func openEngine(path string, f *gguf.File, o Options, l *loader) (engine, error) {
	family, err := fileFamily(f)
	if err != nil {
		return nil, fmt.Errorf("bgevl: open %s: %w", path, err)
	}
	switch family {
	case familyCLIP:
		return openCLIP(path, f, o, l)
	case familyMLLM:
		return openMLLM(path, f, o, l)
	case familyProjector:
		return nil, fmt.Errorf("bgevl: open %s: this is the vision side (mmproj) of a model: give the language model, NAME.gguf, "+
			"which finds this file if it is called mmproj-NAME.gguf and lies beside it", path)
	}
	return nil, fmt.Errorf("bgevl: open %s: a model of family %q: want a BGE-VL model of family clip or mllm, made by bgevl convert", path, family)
}

// fileFamily returns the family that a file's metadata says, or for a file of another converter the one that its
// architecture stands for.
func fileFamily(f *gguf.File) (string, error) {
	family, err := f.String("bgevl.family")
	if !errors.Is(err, gguf.ErrNoKey) {
		return family, err
	}
	architecture, err := f.String("general.architecture")
	if err != nil {
		return "", err
	}
	switch architecture {
	case "llama":
		return familyMLLM, nil
	case "clip":
		if text, err := f.Bool("clip.has_text_encoder"); err == nil && !text {
			return familyProjector, nil
		}
	}
	return architecture, nil
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
		{"MaxSide", int64(opt.MaxSide), maxImageBytes}, {"ImageCacheBytes", opt.ImageCacheBytes, maxCacheBytes},
		{"Context", int64(opt.Context), maxContext},
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
