package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgevl/bgevl/internal/atomicfile"
)

// output is a file under way.
type output struct {
	target    string
	overwrite bool
	file      *atomicfile.File
	made      os.FileInfo // the finished file, once it is complete
	old       string      // another name of the file that was replaced, kept until all of a conversion's files are in place
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
		return &ExistsError{target} // a link to nothing: what it should become is not for this program to guess
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
		return &ExistsError{target}
	}
	return nil
}

// ExistsError says that a file is there which may not be replaced. errors.Is(err, fs.ErrExist) holds.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("write %s: %v: remove it, choose another name, or ask for it to be overwritten", e.Path, fs.ErrExist)
}

// Unwrap gives fs.ErrExist.
func (e *ExistsError) Unwrap() error { return fs.ErrExist }

// checkSpace returns an error where the file system of target is known to have less room than files need together.
func checkSpace(target string, sizes []int64, free func(folder string) (int64, bool)) error {
	need := int64(0)
	for _, n := range sizes {
		need += n
	}
	have, known := free(filepath.Dir(target))
	if !known || have >= need {
		return nil
	}
	what := "it takes "
	if n := len(sizes); n > 1 {
		what = fmt.Sprintf("the %d files take ", n)
	}
	return fmt.Errorf("write %s: %s%s and %s are free: make room, or choose another folder or a smaller type", target, what,
		megabytes(need), megabytes(have))
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

// complete puts all of the file on the disk, as far as that can fail. What was not written of its size is zeros.
func (o *output) complete(size int64) error {
	if err := o.file.Truncate(size); err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return err
	}
	var err error
	o.made, err = o.file.Stat()
	return err
}

// commit puts the file under its name, durably. A file that it replaces keeps a hidden name until settle, so that revert
// can bring it back, where the file system has links.
func (o *output) commit() error {
	if !o.overwrite {
		err := o.file.CommitNew()
		if errors.Is(err, fs.ErrExist) {
			return &ExistsError{o.target}
		}
		return err
	}
	if old := o.file.Name() + ".old"; os.Link(o.real(), old) == nil {
		o.old = old
	}
	if err := o.file.Commit(); err != nil {
		o.settle()
		return err
	}
	return nil
}

// real returns the target, or the file that it is a link to.
func (o *output) real() string {
	if real, err := filepath.EvalSymlinks(o.target); err == nil {
		return real
	}
	return o.target
}

// revert undoes commit, unless what stands under the name now is somebody else's.
func (o *output) revert() error {
	path := o.real()
	if now, err := os.Lstat(path); err != nil || !os.SameFile(now, o.made) {
		o.settle()
		return nil
	}
	if o.old == "" {
		return os.Remove(path)
	}
	return os.Rename(o.old, path)
}

// settle gives up what was replaced.
func (o *output) settle() {
	if o.old != "" {
		_ = os.Remove(o.old) // a hidden file that nobody needs
		o.old = ""
	}
}

// discard removes the temporary file, if it is still there.
func (o *output) discard() { _ = o.file.Discard() } // nothing of it is kept
