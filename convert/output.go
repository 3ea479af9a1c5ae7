package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgevl/bgevl/internal/atomicfile"
)

// output is the file under way, with the place in its header that is filled in last.
type output struct {
	target    string
	overwrite bool
	file      *atomicfile.File

	header *bytes.Buffer // non-nil while the header is being written
	offset int64         // where the fingerprint stands
}

// checkTarget returns an error unless a file can be made at a path. It changes nothing.
func checkTarget(target string, overwrite bool) error {
	if target == "" || strings.HasSuffix(target, string(filepath.Separator)) {
		return fmt.Errorf("write %q: want the name of a file, such as model.gguf", target)
	}
	folder, err := os.Stat(filepath.Dir(target))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: the folder %s does not exist: create it first", target, filepath.Dir(target))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	if !folder.IsDir() {
		return fmt.Errorf("write %s: %s is not a folder", target, filepath.Dir(target))
	}
	old, err := os.Stat(target)
	if _, linkErr := os.Lstat(target); linkErr == nil && errors.Is(err, fs.ErrNotExist) {
		return existsError(target) // a link to nothing: what it should become is not for this program to guess
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", target, err)
	case old.IsDir():
		return fmt.Errorf("write %s: it is a folder: name a file in it", target)
	case !old.Mode().IsRegular():
		return fmt.Errorf("write %s: it is not a regular file", target)
	case !overwrite:
		return existsError(target)
	}
	return nil
}

func existsError(target string) error {
	return fmt.Errorf("write %s: %w: remove it, choose another name, or ask for it to be overwritten", target, fs.ErrExist)
}

// checkSpace returns an error where the file system of target is known to have less room than a file needs.
func checkSpace(target string, need int64, free func(folder string) (int64, bool)) error {
	have, known := free(filepath.Dir(target))
	if !known || have >= need {
		return nil
	}
	return fmt.Errorf("write %s: it takes %s and %s are free: make room, or choose another folder or a smaller type",
		target, megabytes(need), megabytes(have))
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// createOutput begins the file. Where target is a link, what it points to is replaced.
func createOutput(target string, overwrite bool) (*output, error) {
	file, err := atomicfile.Create(target)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", target, err)
	}
	return &output{target: target, overwrite: overwrite, file: file}, nil
}

// Write implements io.Writer for the gguf.Writer.
func (o *output) Write(b []byte) (int, error) {
	if o.header != nil {
		return o.header.Write(b)
	}
	return o.file.Write(b)
}

// writeHeader writes what fill writes, in which placeholder must stand exactly once, and remembers where.
func (o *output) writeHeader(fill func() error, placeholder string) error {
	o.header = new(bytes.Buffer)
	err := fill()
	text := o.header.Bytes()
	o.header = nil
	if err != nil {
		return err
	}
	at := bytes.Index(text, []byte(placeholder))
	if at < 0 || bytes.Count(text, []byte(placeholder)) != 1 {
		return errors.New("internal fault: the place of the fingerprint was not found in the header")
	}
	o.offset = int64(at)
	_, err = o.file.Write(text)
	return err
}

// commit puts the fingerprint in its place and the file under its name, durably.
func (o *output) commit(fingerprint string) error {
	if _, err := o.file.WriteAt([]byte(fingerprint), o.offset); err != nil {
		return err
	}
	if o.overwrite {
		return o.file.Commit()
	}
	err := o.file.CommitNew()
	if errors.Is(err, fs.ErrExist) {
		return existsError(o.target)
	}
	return err
}

// discard removes the temporary file, if it is still there.
func (o *output) discard() { _ = o.file.Discard() } // nothing of it is kept

var _ io.Writer = (*output)(nil)
