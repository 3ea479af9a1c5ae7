package convert

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// Options says how to convert. The zero value makes f16 with all processors.
type Options struct {
	Type      string // one of Types; "" is f16
	Name      string // general.name of the file; "" is the folder's name
	Threads   int    // that quantise; 0 is one a processor
	Overwrite bool   // replace a file that is there

	// Progress, where set, is called on one goroutine after each piece that was written.
	Progress func(Progress)
}

// Progress says how far Run has come.
type Progress struct {
	Tensor      string // GGUF name of the tensor that was written last
	Done, Total int64  // bytes of the checkpoint's weights
}

// Result says what Run made.
type Result struct {
	Path        string
	Name        string // general.name
	Type        string // as in Options
	Fingerprint string // of the source weights: 64 hexadecimal digits
	Tensors     int
	Bytes       int64          // size of the file
	Types       map[string]int // tensors of each type
	Fallbacks   []Fallback     // tensors that the type asked for could not store
	Duration    time.Duration
}

// Fallback is a weight whose rows are not whole blocks of the type meant for it.
type Fallback struct {
	Tensor       string
	Row          int64 // elements
	Wanted, Took string
}

// Run converts a checkpoint folder to a GGUF file. Until it has succeeded, nothing stands under the file's name, and
// what stood there before stays; after a failure or a cancellation nothing is left behind. It fails with an error for
// which errors.Is(err, fs.ErrExist) holds where the file is there and Overwrite is not set. Memory stays below 300 MB
// for checkpoints of any size.
func Run(ctx context.Context, dir, out string, o *Options) (*Result, error) {
	if o == nil {
		o = &Options{}
	}
	r, err := run(ctx, dir, out, *o, freeSpace)
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	return r, nil
}

// run is Run with the question for free space open to tests.
func run(ctx context.Context, dir, out string, o Options, free func(string) (int64, bool)) (*Result, error) {
	start := time.Now()
	if err := o.complete(dir); err != nil {
		return nil, err
	}
	s, err := findScheme(o.Type)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(out, o.Overwrite); err != nil {
		return nil, err
	}
	src, err := openCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	defer src.weights.Close()
	c, err := src.clipConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	jobs, err := plan(src.weights.Tensors(), c.weights(), s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	r := &Result{Path: out, Name: o.Name, Type: s.name, Tensors: len(jobs), Types: map[string]int{}}
	r.count(jobs)
	announce := func(w *gguf.Writer, fingerprint string) error { return setCLIP(w, c, src, s, o.Name, fingerprint) }
	if err := write(ctx, r, jobs, src, announce, o, free); err != nil {
		return nil, err
	}
	r.Duration = time.Since(start)
	return r, nil
}

// newPlaceholder returns what stands in the header for the fingerprint until the weights have been read: random, so that
// nothing else in the header is the same.
func newPlaceholder() string {
	var b [sha256.Size]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// complete checks options and fills in what is absent.
func (o *Options) complete(dir string) error {
	if o.Threads < 0 {
		return fmt.Errorf("threads: want at least 1, or 0 for one a processor, got %d", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Type == "" {
		o.Type = "f16"
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

// clipConfig parses and checks the small files of a CLIP checkpoint against each other.
func (c *checkpoint) clipConfig() (*clipConfig, error) {
	config, err := parseCLIPConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if err := checkPreprocessor(c.preprocessor, config); err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromJSON(c.tokenizer)
	if err != nil {
		return nil, err
	}
	if n := int64(tok.VocabSize()); n > config.vocab {
		return nil, fmt.Errorf("the tokenizer has %d tokens and config.json's text tower knows %d: they are of different models",
			n, config.vocab)
	}
	special, err := tokenizer.ReadSpecial(c.dir)
	if err != nil {
		return nil, err
	}
	c.keys, err = tokenizer.GGUFKeys(tok, tokenizer.KeysOptions{Special: special})
	return config, err
}

func (r *Result) count(jobs []job) {
	for _, j := range jobs {
		r.Types[j.typ.String()]++
		if j.typ != j.wanted {
			r.Fallbacks = append(r.Fallbacks, Fallback{j.name, j.row(), j.wanted.String(), j.typ.String()})
		}
	}
}

// write makes the file of r from jobs.
func write(ctx context.Context, r *Result, jobs []job, src *checkpoint, announce func(*gguf.Writer, string) error, o Options,
	free func(string) (int64, bool)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The writer is made first, as it says how large the file will be.
	file := &lateWriter{}
	w := gguf.NewWriter(file)
	placeholder := newPlaceholder()
	if err := announce(w, placeholder); err != nil {
		return err
	}
	total := int64(0)
	for _, j := range jobs {
		if err := w.AddTensor(j.name, j.typ, j.dims()); err != nil {
			return err
		}
		total += j.elements() * j.from.TypeSize()
	}
	r.Bytes = w.Size()
	if err := checkSpace(r.Path, r.Bytes, free); err != nil {
		return err
	}
	part, err := createOutput(r.Path, o.Overwrite)
	if err != nil {
		return err
	}
	defer part.discard()
	file.Writer = part
	if err := part.writeHeader(w.WriteHeader, placeholder); err != nil {
		return fmt.Errorf("write %s: %w", r.Path, err)
	}
	print := newFingerprint()
	read := func(t safetensors.Tensor) io.Reader { return src.weights.Reader(t) }
	s := &stream{jobs: jobs, read: read, sink: w, threads: o.Threads, progress: o.Progress, total: total, print: print}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", src.dir, err)
	}
	if err := w.Close(); err != nil {
		return err
	}
	r.Fingerprint = print.hex()
	if err := part.commit(r.Fingerprint); err != nil {
		return fmt.Errorf("write %s: %w", r.Path, err)
	}
	return nil
}

// lateWriter gets its destination after it was handed on.
type lateWriter struct{ io.Writer }

func (w *lateWriter) Write(b []byte) (int, error) {
	if w.Writer == nil {
		return 0, errors.New("internal fault: written to before the file was made")
	}
	return w.Writer.Write(b)
}
