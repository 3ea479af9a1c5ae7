package llama

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// Options are how a model is opened. The zero value works, and so does a nil pointer.
type Options struct {
	// Threads is how many threads one call computes with. 0: as many as the process may run at once.
	Threads int

	// Contexts is how many calls compute at the same time, a picture's and a text's alike. 0: one. More only help where
	// Threads is less than the processor has; each costs the memory of its largest batch.
	Contexts int

	// Context is the most tokens that an input may have, each vector of a picture counting as one. 0: what the model was
	// trained for, but at most 8,192, since memory and time grow with it. More than the model was trained for fails.
	Context int

	// Projector is the path of the mmproj file that makes pictures into embeddings. "": mmproj-NAME.gguf beside
	// NAME.gguf, or else the mmproj*.gguf beside it that was converted from the same checkpoint, of several the one that
	// is named most like it.
	Projector string

	// TextOnly opens the model without a projector, and looks for none.
	TextOnly bool

	// Device is what computes: "cpu" for the processor, names of the devices that bgevl devices lists, with commas
	// between, or "auto" for the fastest that computes right. "": what BGEVL_DEVICE names, or else "auto".
	Device string

	// DeviceLayers is how many layers of the decoder and of the vision tower lie on devices, the last ones. 0: as many as
	// have room there.
	DeviceLayers int
}

func (o *Options) placement() (csrc.Placement, error) {
	return modelfile.Devices{Device: o.Device, Layers: o.DeviceLayers}.Placement()
}

// defaultContext bounds the context where Options state none: three times a picture with its instructions, and buffers
// that a machine which holds the weights has room for.
const defaultContext = 8192

// Model is a language model, with or without the projector that lets it see. It is safe for any number of goroutines;
// see the package's documentation.
type Model struct {
	params    *params
	info      Info
	tokenizer tokenizer.Tokenizer
	decoder   tokenizer.Decoder // the same
	bytes     bool              // <0xNN> stands for a byte
	runner    *modelfile.Runner
	projector *projector // nil: none
	missing   error      // why there is none
	identity  modelfile.Once[Identity]
	cleanup   runtime.Cleanup
}

// Info describes a model.
type Info struct {
	Name       string // general.name, which may be empty
	Type       string // type of the weights, as "f16" or "q8_0"
	Parameters int64  // of the decoder
	Width      int    // floats of a state
	Layers     int
	FFN        int
	Heads      int
	HeadsKV    int
	HeadWidth  int
	Vocab      int
	Trained    int // tokens that the model was trained for
	Context    int // tokens that an input may have

	ImageToken int32 // stands for a picture among the tokens; -1: the vocabulary has none

	EmbeddingOnly bool // the checkpoint came without the output layer: no predictions

	// What bgevl's own files say of the model's use, "" in those of other converters.
	Family, Pooling, Template string

	Projector           string // path of the projector's file, "" where there is none
	ProjectorType       string // type of its weights
	TileSize            int    // pixels a side of the square images that the vision tower sees
	PatchSize           int    // pixels a side
	TileFeatures        int    // vectors that a tile becomes
	VisionLayers        int
	ProjectorParameters int64 // the vision tower's included

	Device          string // what computes the decoder, in words: "avx2", or "Vulkan0 (32 of 32 layers)"
	ProjectorDevice string // and the vision side
	DeviceLayers    int    // of the decoder, that lie on devices other than the processor
}

// Open opens the language model in a GGUF file and the projector that belongs to it. It fails with an *OpenError for a
// GGUF file that is not one or does not fit together, wrapping a *KeyError or *TensorError that names the culprit, and
// for a projector that is damaged or another model's, wrapping a *ProjectorError. A nil o means the zero Options.
func Open(path string, o *Options) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err) // names the path itself
	}
	m, err := OpenFile(path, f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// OpenFile is Open for a file that is open already; path is for messages and says where to look for the projector. The
// model takes f over and closes it, unless OpenFile fails.
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
	if o.TextOnly && o.Projector != "" {
		return nil, fmt.Errorf("options: a projector, %s, and texts only: want one of them", o.Projector)
	}
	m, tensors, err := read(f, o)
	if err != nil {
		return nil, err
	}
	at, err := o.placement()
	if err != nil {
		return nil, err
	}
	var eyes modelfile.Part // first: where a device has no room for all, the decoder's first layers are what stays away
	if m.projector, eyes, m.missing, err = openProjector(path, m.params, o, at); err != nil {
		return nil, err
	}
	model, err := csrc.NewLlama(m.params.csrc(at), tensors)
	if err != nil {
		if m.projector != nil {
			err = errors.Join(err, eyes.Close())
		}
		return nil, err
	}
	m.info = readInfo(f, m.params, m.projector)
	m.info.Device, m.info.DeviceLayers = model.Where(), model.DeviceLayers()
	parts := []modelfile.Part{decoderPart: {Model: model, File: f}}
	if m.projector != nil {
		parts = append(parts, eyes)
		m.info.ProjectorDevice = eyes.Model.Where()
	}
	m.runner = modelfile.NewRunner("llama", ErrClosed, limits, parts...)
	m.cleanup = runtime.AddCleanup(m, func(r *modelfile.Runner) { _ = r.Close() }, m.runner)
	return m, nil
}

// What a model's runner runs.
const (
	decoderPart = iota
	projectorPart
)

// compute runs one call on a context of one of the parts.
func (m *Model) compute(ctx context.Context, part int, call func(*csrc.Context) error) error {
	defer runtime.KeepAlive(m) // or it might be cleaned up meanwhile
	return m.runner.Use(ctx, part, call)
}

// read checks all of a file that needs no other one.
func read(f *gguf.File, o *Options) (*Model, []csrc.Tensor, error) {
	p, err := readParams(f)
	if err != nil {
		return nil, nil, err
	}
	if o.Context < 0 || o.Context > p.trained {
		return nil, nil, fmt.Errorf("options: context of %d tokens: want 0 to %d, which the model was trained for", o.Context, p.trained)
	}
	p.context = o.Context
	if p.context == 0 {
		p.context = min(p.trained, defaultContext)
	}
	tensors, err := readTensors(f, p)
	if err != nil {
		return nil, nil, err
	}
	m := &Model{params: p}
	return m, tensors, m.readTokenizer(f)
}

// readInfo describes a model whose tensors were checked.
func readInfo(f *gguf.File, p *params, v *projector) Info {
	info := Info{Width: p.width, Layers: p.layers, FFN: p.ffn, Heads: p.heads, HeadsKV: p.headsKV, HeadWidth: p.headWidth,
		Vocab: p.vocab, Trained: p.trained, Context: p.context, ImageToken: p.imageToken,
		EmbeddingOnly: p.embeddingOnly, Family: p.family, Pooling: p.pooling, Template: p.template}
	info.Name, info.Type, info.Parameters = modelfile.Describe(f)
	if v != nil {
		info.Projector, info.ProjectorType, info.ProjectorParameters = v.path, v.typ, v.parameters
		info.TileSize, info.PatchSize, info.TileFeatures = v.imageSize, v.patchSize, v.side*v.side
		info.VisionLayers = v.vision.Layers
	}
	return info
}

// Info returns the model's description.
func (m *Model) Info() Info { return m.info }

// Close lets calls that are computing finish, fails those that wait, and gives back the weights and the files. Later
// calls fail with ErrClosed. It may be called more than once, by any goroutine; each returns when all is given back.
func (m *Model) Close() error {
	m.cleanup.Stop()
	err := m.runner.Close()
	runtime.KeepAlive(m)
	return err
}

// Free is Close for those who know it by that name. What Close may report, a file that would not close, is lost.
func (m *Model) Free() { _ = m.Close() }
