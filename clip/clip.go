package clip

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// Options are how a model is opened. The zero value works, and so does a nil pointer.
type Options struct {
	// Threads is how many threads one call computes with. 0: as many as the process may run at once.
	Threads int

	// Contexts is how many calls compute at the same time. 0: one. More only help where Threads is less than the
	// processor has; each costs the memory of its largest batch.
	Contexts int

	// Device is what computes: "cpu" for the processor, names of the devices that bgevl devices lists, with commas
	// between, or "auto" for the fastest that computes right. "": what BGEVL_DEVICE names, or else "auto".
	Device string

	// DeviceLayers is how many layers of each tower lie on devices, the last ones. 0: as many as have room there.
	DeviceLayers int
}

// Model is a CLIP model of two towers. It is safe for any number of goroutines; see the package's documentation.
type Model struct {
	path       string
	params     *params
	info       Info
	tokenizer  tokenizer.Tokenizer
	preprocess *pixels.Config
	runner     *modelfile.Runner
	identity   modelfile.Once[Identity]
	cleanup    runtime.Cleanup
}

// onlyPart is what the model's runner runs: both towers lie in one file.
const onlyPart = 0

// Info describes a model.
type Info struct {
	Name       string // general.name, which may be empty
	Type       string // type of the weights, as "f16" or "q8_0"
	Parameters int64
	Dim        int // of the features
	Context    int // tokens of the longest text, start and end tokens included
	Vocab      int
	ImageSize  int // pixels a side
	PatchSize  int
	Text       Tower
	Vision     Tower
	Device     string // what computes, in words: "avx2", or "Vulkan0 (24 of 24 layers)"

	DeviceLayers int // of both towers, that lie on devices other than the processor
}

// Tower describes one of a model's two encoders.
type Tower struct{ Layers, Width, FFN, Heads int }

// Open opens the CLIP model in a GGUF file. It fails with an *OpenError for a GGUF file that is not one or does not
// fit together, wrapping a *KeyError or *TensorError that names the culprit. A nil o means the zero Options.
func Open(path string, o *Options) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("clip: %w", err) // names the path itself
	}
	m, err := OpenFile(path, f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// OpenFile is Open for a file that is open already; path is for messages. The model takes f over and closes it, unless
// OpenFile fails.
func OpenFile(path string, f *gguf.File, o *Options) (*Model, error) {
	m, err := open(path, f, o)
	if err != nil {
		return nil, &OpenError{Path: path, Err: err}
	}
	return m, nil
}

func open(path string, f *gguf.File, o *Options) (*Model, error) {
	if o == nil {
		o = &Options{}
	}
	limits, err := modelfile.Limits{Threads: o.Threads, Contexts: o.Contexts}.Resolve()
	if err != nil {
		return nil, err
	}
	p, err := readParams(f)
	if err != nil {
		return nil, err
	}
	tensors, err := readTensors(f, p)
	if err != nil {
		return nil, err
	}
	prep, _, err := modelfile.Preprocess(f, p.imageSize, nil)
	if err != nil {
		return nil, err
	}
	tok, err := readTokenizer(f, p)
	if err != nil {
		return nil, err
	}
	at, err := modelfile.Devices{Device: o.Device, Layers: o.DeviceLayers}.Placement()
	if err != nil {
		return nil, err
	}
	model, err := csrc.NewCLIP(p.csrc(at), tensors)
	if err != nil {
		return nil, err
	}
	info := readInfo(f, p)
	info.Device, info.DeviceLayers = model.Where(), model.DeviceLayers()
	m := &Model{path: path, params: p, info: info, tokenizer: tok, preprocess: prep,
		runner: modelfile.NewRunner("clip", ErrClosed, limits, modelfile.Part{Model: model, File: f})}
	m.cleanup = runtime.AddCleanup(m, func(r *modelfile.Runner) { _ = r.Close() }, m.runner)
	return m, nil
}

// Info returns the model's description.
func (m *Model) Info() Info { return m.info }

// Dim returns the number of floats of a row of features.
func (m *Model) Dim() int { return m.params.projection }

// Context returns the most tokens that a text may have, the start and end tokens included.
func (m *Model) Context() int { return m.params.context }

// PixelCount returns the number of floats of one preprocessed image: 3 planes of ImageSize by ImageSize.
func (m *Model) PixelCount() int { return 3 * m.params.imageSize * m.params.imageSize }

// Close lets calls that are computing finish, fails those that wait, and gives back the weights and the file. Later
// calls fail with ErrClosed. It may be called more than once, by any goroutine; each returns when all is given back.
func (m *Model) Close() error {
	m.cleanup.Stop()
	err := m.runner.Close()
	runtime.KeepAlive(m)
	return err
}
