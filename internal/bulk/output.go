package bulk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bgevl/bgevl/internal/atomicfile"
)

// Formats returns the names of the formats that Create writes, the usual one first.
func Formats() []string { return []string{"jsonl", "json", "npy"} }

// OutputOptions say what Create makes. There is no default format.
type OutputOptions struct {
	Path   string       // of the file, which appears when it is whole; empty for Stdout
	Stdout io.Writer    // where records go as they come, if there is no Path
	Format string       // one of Formats
	Dim    int          // floats of an embedding
	Failed func(Record) // is told of rows that the npy format has no place for
}

// An Output is a Sink with the place that it writes to. It ends with Commit, or with Discard, which does nothing after
// Commit and can be deferred.
type Output struct {
	Sink
	file  *atomicfile.File // nil for standard output
	spool *os.File         // where npy gathers when it cannot go back to the header in the place itself
	to    io.Writer        // where the spool goes in the end
}

// Create opens an output.
func Create(o OutputOptions) (*Output, error) {
	out := &Output{to: o.Stdout}
	if o.Path != "" {
		f, err := atomicfile.Create(o.Path)
		if err != nil {
			return nil, err
		}
		out.file, out.to = f, f
	}
	var err error
	switch o.Format {
	case "jsonl":
		out.Sink = NewJSONL(out.to)
	case "json":
		out.Sink = NewJSON(out.to)
	case "npy":
		err = out.npy(o)
	default:
		err = fmt.Errorf("format %q: want one of %v", o.Format, Formats())
	}
	if err != nil {
		return nil, errors.Join(err, out.Discard())
	}
	return out, nil
}

func (o *Output) npy(opt OutputOptions) error {
	if o.file != nil && !o.file.InPlace() {
		o.Sink = NewNPY(o.file, opt.Dim, opt.Failed)
		return nil
	}
	spool, err := os.CreateTemp("", "bgevl-*.npy")
	if err != nil {
		return err
	}
	o.spool = spool
	o.Sink = NewNPY(spool, opt.Dim, opt.Failed)
	return nil
}

// Commit ends the format and makes the file appear.
func (o *Output) Commit() error {
	if err := o.Close(); err != nil {
		return err
	}
	if o.spool != nil {
		if _, err := o.spool.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(o.to, o.spool); err != nil {
			return err
		}
		if err := o.dropSpool(); err != nil {
			return err
		}
	}
	if o.file != nil {
		return o.file.Commit()
	}
	return nil
}

// Discard gives up what was written, where it was not written to standard output, a pipe or a device at once.
func (o *Output) Discard() error {
	err := o.dropSpool()
	if o.file != nil {
		err = errors.Join(err, o.file.Discard())
	}
	return err
}

func (o *Output) dropSpool() error {
	if o.spool == nil {
		return nil
	}
	name := o.spool.Name()
	err := errors.Join(o.spool.Close(), os.Remove(name))
	o.spool = nil
	return err
}
