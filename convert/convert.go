package convert

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bgevl/bgevl/internal/diskspace"
	"github.com/bgevl/bgevl/internal/safetensors"
)

// Options says how to convert. The zero value makes f16 with all processors.
type Options struct {
	// Types says what the weights are stored as, each one of Types(); none is f16. Several make a file each, in one pass
	// over the checkpoint.
	Types []string

	// MMProjType is the type of an MLLM's projector file; "" is f32 where f32 is among Types, bf16 where Types is bf16
	// alone, and otherwise f16. A CLIP checkpoint has no such file, and a type for it is an error.
	MMProjType string

	Name      string // general.name of the files; "" is the folder's name
	Threads   int    // that quantise; 0 is one a processor
	Overwrite bool   // replace files that are there

	// Streams are weights that the folder lacks, by the name of their file, model.safetensors or one of the shards that an
	// index in the folder names. Run reads each to its end, one after another, and closes all before it returns.
	Streams map[string]Stream

	// Progress, where set, is called on one goroutine after each piece that was written.
	Progress func(Progress)
}

// A Stream is a safetensors file whose bytes come once, in order, as a download's do. An error in place of io.EOF says that
// they were not the right ones, and fails the conversion.
type Stream = safetensors.Stream

// Progress says how far Run has come.
type Progress struct {
	Tensor      string // GGUF name of the tensor that was written last
	Done, Total int64  // bytes of the checkpoint's weights
}

// Result says what Run made.
type Result struct {
	Name     string // general.name
	Family   string // "clip" or "mllm"
	Files    []File // in the order of Options.Types; an MLLM's projector is the last
	Duration time.Duration

	// EmbeddingOnly says that the checkpoint lacks the weights of the output layer (lm_head): the model embeds as any
	// other, and cannot predict.
	EmbeddingOnly bool
}

// File is one of the files that Run made.
type File struct {
	Path        string
	Projector   bool   // an MLLM's vision tower and projector
	Type        string // as in Options
	Fingerprint string // of the source weights that went into it: 64 hexadecimal digits
	Tensors     int
	Bytes       int64          // size of the file
	Types       map[string]int // tensors of each type
	Fallbacks   []Fallback     // tensors that the type asked for could not store
}

// Fallback is a weight whose rows are not whole blocks of the type meant for it.
type Fallback struct {
	Tensor       string
	Row          int64 // elements
	Wanted, Took string
}

// Run converts a checkpoint folder. A CLIP model becomes one GGUF file, out; an MLLM becomes out and, beside it,
// mmproj- and the name of out. Of several types each has its own file, NAME-TYPE.gguf for an out of NAME.gguf, and an
// MLLM one projector for all, mmproj-NAME.gguf.
//
// Until all files are whole, none stands under its name, and what stood there before stays; after a failure or a
// cancellation nothing is left behind. It fails with an error for which errors.Is(err, fs.ErrExist) holds where one of
// the files is there and Overwrite is not set. Every weight is read once. Memory stays below 300 MB for checkpoints of
// any size.
func Run(ctx context.Context, dir, out string, o *Options) (*Result, error) {
	if o == nil {
		o = &Options{}
	}
	defer func() {
		for _, s := range o.Streams {
			_ = s.Close() // what it had to say was said by Read
		}
	}()
	r, err := run(ctx, dir, out, *o, diskspace.Free)
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	return r, nil
}

// CheckOutput fails where Run would fail for out and options alone, whatever the checkpoint: for those who have yet to
// download one. A projector's file is left out, since only a checkpoint says whether there will be one.
func CheckOutput(out string, o *Options) error {
	if o == nil {
		o = &Options{}
	}
	schemes, err := o.schemes()
	if err == nil {
		_, err = modelFiles(out, schemes, o)
	}
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	return nil
}

// run is Run with the question for free space open to tests.
func run(ctx context.Context, dir, out string, o Options, free func(string) (int64, bool)) (*Result, error) {
	start := time.Now()
	if err := o.complete(dir); err != nil {
		return nil, err
	}
	schemes, err := o.schemes()
	if err != nil {
		return nil, err
	}
	src, err := openCheckpoint(dir, o.Streams)
	if err != nil {
		return nil, err
	}
	defer src.weights.Close()
	m, err := src.model()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	files, err := outputs(m, out, schemes, &o)
	if err != nil {
		return nil, err
	}
	jobs, err := plan(src.weights.Tensors(), m, files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	c := &conversion{src: src, model: m, files: files, jobs: jobs, options: o}
	if err := c.run(ctx, free); err != nil {
		return nil, err
	}
	r := &Result{Name: o.Name, Family: m.family, EmbeddingOnly: m.embeddingOnly}
	for _, f := range files {
		r.Files = append(r.Files, f.File)
	}
	r.Duration = time.Since(start)
	return r, nil
}

// complete checks options and fills in what is absent.
func (o *Options) complete(dir string) error {
	if o.Threads < 0 {
		return fmt.Errorf("threads: want at least 1, or 0 for one a processor, got %d", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Name == "" {
		full, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		o.Name = filepath.Base(full)
	}
	o.Name = strings.ToValidUTF8(o.Name, "?")
	return nil
}

// schemes returns what Types stands for.
func (o *Options) schemes() ([]scheme, error) {
	names := o.Types
	if len(names) == 0 {
		names = []string{"f16"}
	}
	var list []scheme
	for _, name := range names {
		s, err := findScheme(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(other scheme) bool { return other.name == s.name }) {
			return nil, fmt.Errorf("type %s is asked for twice", s.name)
		}
		list = append(list, s)
	}
	return list, nil
}

// outputs returns the files to make, the model's first, after a look at whether they can be made.
func outputs(m *model, out string, schemes []scheme, o *Options) ([]*outFile, error) {
	files, err := modelFiles(out, schemes, o)
	switch {
	case err != nil:
		return nil, err
	case len(m.parts) <= projectorPart && o.MMProjType != "":
		return nil, errors.New("a type for the projector was given, and a CLIP checkpoint has none: leave it out")
	case len(m.parts) <= projectorPart:
		return files, nil
	}
	s, err := o.projectorScheme(schemes)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(filepath.Dir(out), "mmproj-"+filepath.Base(out))
	return append(files, newOutFile(path, s, projectorPart)), checkTarget(path, o.Overwrite)
}

// modelFiles returns the model's own file in each type, after the same look.
func modelFiles(out string, schemes []scheme, o *Options) ([]*outFile, error) {
	var files []*outFile
	extension := filepath.Ext(out)
	for _, s := range schemes {
		path := out
		if len(schemes) > 1 {
			if !strings.EqualFold(extension, ".gguf") {
				return nil, fmt.Errorf("write %q: want a name that ends in .gguf: each type gets a file named after it", out)
			}
			path = strings.TrimSuffix(out, extension) + "-" + s.name + extension
		}
		if err := checkTarget(path, o.Overwrite); err != nil {
			return nil, err
		}
		files = append(files, newOutFile(path, s, modelPart))
	}
	return files, nil
}

// projectorScheme returns how the projector is stored: as asked, or as exactly as any of the model's files wants it.
func (o *Options) projectorScheme(schemes []scheme) (scheme, error) {
	name := o.MMProjType
	if name == "" {
		name = "f16"
		switch {
		case slices.ContainsFunc(schemes, func(s scheme) bool { return s.name == "f32" }):
			name = "f32"
		case len(schemes) == 1 && schemes[0].name == "bf16":
			name = "bf16"
		}
	}
	s, err := findScheme(name)
	if err != nil {
		return s, fmt.Errorf("the projector's type: %w", err)
	}
	return s, nil
}
