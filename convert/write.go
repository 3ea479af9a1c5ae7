package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
)

// model is a checkpoint whose configuration has been read: what its files are to hold.
type model struct {
	family        string
	embeddingOnly bool
	parts         []part
	skipped       map[string]bool // the hub's names of weights that no embedding depends on
}

// part is what goes to files of one kind. A CLIP model has one; an MLLM has its language model and its projector.
type part struct {
	weights  []expected
	announce func(w *gguf.Writer, s scheme, name string, prints []string) error // sets the metadata
}

// The parts by index, which is that of their fingerprints too.
const (
	modelPart = iota
	projectorPart
)

// outFile is one of the files under way.
type outFile struct {
	File
	part    int
	scheme  scheme
	targets []*target // in the order of the file
	output  *output   // nil until it is made
}

func newOutFile(path string, s scheme, part int) *outFile {
	return &outFile{
		File: File{Path: path, Projector: part == projectorPart, Type: s.name, Types: map[string]int{}},
		part: part, scheme: s,
	}
}

// conversion makes the files of a model. Tensor data is written as the checkpoint's files have it, each tensor to its
// place; headers come last, as what stands in them of the weights is known only then.
type conversion struct {
	src     *checkpoint
	model   *model
	files   []*outFile
	jobs    []*job // in the order of the files
	options Options
}

func (c *conversion) run(ctx context.Context, free func(string) (int64, bool)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.layOut(free); err != nil {
		return err
	}
	defer c.discard()
	for _, f := range c.files {
		var err error
		if f.output, err = createOutput(f.Path, c.options.Overwrite); err != nil {
			return err
		}
	}
	s := &stream{src: c.src, jobs: c.jobs, threads: c.options.Threads, progress: c.options.Progress}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.src.dir, err)
	}
	prints := make([]string, len(c.model.parts))
	for i := range prints {
		prints[i] = fingerprint(c.jobs, i)
	}
	if err := c.complete(prints); err != nil {
		return err
	}
	return c.commit()
}

// layOut finds the place of every tensor, and whether there is room for all files.
func (c *conversion) layOut(free func(string) (int64, bool)) error {
	// Nothing is known of the weights yet, but how long their fingerprints are.
	prints := slices.Repeat([]string{strings.Repeat("0", hex.EncodedLen(sha256.Size))}, len(c.model.parts))
	var sizes []int64
	for _, f := range c.files {
		w, err := c.header(f, io.Discard, prints)
		if err != nil {
			return err
		}
		start, tensors := w.Layout()
		for i, t := range f.targets {
			t.at = start + tensors[i].Offset
		}
		f.Bytes = w.Size()
		sizes = append(sizes, f.Bytes)
	}
	return checkSpace(c.files[0].Path, sizes, free)
}

// header returns a writer that has been told all that goes into a file's header.
func (c *conversion) header(f *outFile, to io.Writer, prints []string) (*gguf.Writer, error) {
	w := gguf.NewWriter(to)
	if err := c.model.parts[f.part].announce(w, f.scheme, c.options.Name, prints); err != nil {
		return nil, err
	}
	for _, t := range f.targets {
		if err := w.AddTensor(t.job.name, t.typ(), t.job.dims()); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// complete writes the headers and puts all of the files on the disk, as far as that can fail.
func (c *conversion) complete(prints []string) error {
	for _, f := range c.files {
		w, err := c.header(f, io.NewOffsetWriter(f.output.file, 0), prints)
		if err != nil {
			return fmt.Errorf("%s: %w", c.src.dir, err)
		}
		if n := w.Size(); n != f.Bytes {
			return fmt.Errorf("write %s: internal fault: laid out for %d bytes, %d after all", f.Path, f.Bytes, n)
		}
		err = w.WriteHeader()
		if err == nil {
			err = f.output.complete(f.Bytes)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
		f.Fingerprint = prints[f.part]
	}
	return nil
}

// commit puts all files under their names, or none.
func (c *conversion) commit() error {
	// The projector comes first, so that nobody finds a model that still lacks it.
	for i := len(c.files) - 1; i >= 0; i-- {
		f := c.files[i]
		if err := f.output.commit(); err != nil {
			if exists := new(ExistsError); !errors.As(err, &exists) { // which says all of it
				err = fmt.Errorf("write %s: %w", f.Path, err)
			}
			for _, done := range c.files[i+1:] {
				err = errors.Join(err, done.output.revert())
			}
			return err
		}
	}
	for _, f := range c.files {
		f.output.settle()
	}
	return nil
}

func (c *conversion) discard() {
	for _, f := range c.files {
		if f.output != nil {
			f.output.discard()
		}
	}
}
