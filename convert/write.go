package convert

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

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
	part   int
	scheme scheme
	sink   *gguf.Writer
	late   *lateWriter
	output *output // nil until it is made
}

func newOutFile(path string, s scheme, part int) *outFile {
	late := &lateWriter{}
	return &outFile{
		File: File{Path: path, Projector: part == projectorPart, Type: s.name, Types: map[string]int{}},
		part: part, scheme: s, sink: gguf.NewWriter(late), late: late,
	}
}

// conversion makes the files of a model.
type conversion struct {
	src     *checkpoint
	model   *model
	files   []*outFile
	jobs    []job
	options Options
}

func (c *conversion) run(ctx context.Context, free func(string) (int64, bool)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Fingerprints are known when the weights have been read; until then something else of their size stands for them.
	var places []string
	var prints []*fingerprint
	for range c.model.parts {
		places, prints = append(places, newPlaceholder()), append(prints, newFingerprint())
	}
	if err := c.announce(places, free); err != nil {
		return err
	}
	defer c.discard()
	if err := c.create(places); err != nil {
		return err
	}
	s := &stream{jobs: c.jobs, read: c.src.reader, threads: c.options.Threads, progress: c.options.Progress, prints: prints}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.src.dir, err)
	}
	var sums []string
	for _, p := range prints {
		sums = append(sums, p.hex())
	}
	return c.finish(sums)
}

// announce tells the writers what they will write, which tells how large the files will be.
func (c *conversion) announce(places []string, free func(string) (int64, bool)) error {
	for _, f := range c.files {
		if err := c.model.parts[f.part].announce(f.sink, f.scheme, c.options.Name, places); err != nil {
			return err
		}
	}
	for i := range c.jobs {
		j := &c.jobs[i]
		for _, to := range j.targets {
			if err := to.file.sink.AddTensor(j.name, j.types[to.typ], j.dims()); err != nil {
				return err
			}
		}
	}
	var sizes []int64
	for _, f := range c.files {
		f.Bytes = f.sink.Size()
		sizes = append(sizes, f.Bytes)
	}
	return checkSpace(c.files[0].Path, sizes, free)
}

// create makes the files and writes their headers.
func (c *conversion) create(places []string) error {
	for _, f := range c.files {
		var err error
		if f.output, err = createOutput(f.Path, c.options.Overwrite); err != nil {
			return err
		}
		f.late.Writer = f.output
		if err := f.output.writeHeader(f.sink.WriteHeader, places); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

// finish puts all files under their names, or none.
func (c *conversion) finish(sums []string) error {
	for _, f := range c.files {
		if err := f.sink.Close(); err != nil {
			return err
		}
		f.Fingerprint = sums[f.part]
		if err := f.output.complete(sums); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
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

// newPlaceholder returns what stands in a header for a fingerprint until the weights have been read: random, so that
// nothing else in the header is the same.
func newPlaceholder() string {
	var b [sha256.Size]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// lateWriter gets its destination after it was handed on.
type lateWriter struct{ io.Writer }

func (w *lateWriter) Write(b []byte) (int, error) {
	if w.Writer == nil {
		return 0, errors.New("internal fault: written to before the file was made")
	}
	return w.Writer.Write(b)
}
