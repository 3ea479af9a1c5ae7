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
)

// output is the file under way: a hidden temporary file beside the target, which takes the target's name when it is
// whole, and is removed otherwise. A process that is killed leaves only the hidden file behind.
type output struct {
	target    string
	overwrite bool
	file      *os.File
	mode      fs.FileMode // of the finished file

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

// createOutput makes the temporary file. Where target is a link, what it points to is replaced.
func createOutput(target string, overwrite bool) (*output, error) {
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	var file *os.File
	var err error
	for i := 0; i < 1000; i++ { // more leftovers than that are not by chance
		name := filepath.Join(filepath.Dir(target), fmt.Sprintf(".%s.%d-%d.part", filepath.Base(target), os.Getpid(), i))
		// Made as any program makes a file, to learn what the umask leaves of its mode; nothing is in it yet.
		file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", target, err)
	}
	o := &output{target: target, overwrite: overwrite, file: file}
	info, err := file.Stat()
	if err == nil {
		o.mode = info.Mode().Perm()
		err = file.Chmod(0o600)
	}
	if old, statErr := os.Stat(target); statErr == nil {
		o.mode = old.Mode().Perm()
	}
	if err != nil {
		o.discard()
		return nil, fmt.Errorf("write %s: %w", target, err)
	}
	return o, nil
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
	if err := o.file.Chmod(o.mode); err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return err
	}
	if err := o.file.Close(); err != nil {
		return err
	}
	if err := o.rename(); err != nil {
		return err
	}
	syncFolder(filepath.Dir(o.target))
	return nil
}

func (o *output) rename() error {
	if o.overwrite {
		return os.Rename(o.file.Name(), o.target)
	}
	// A link fails where the name has been taken since it was checked; a rename would replace what is there.
	err := os.Link(o.file.Name(), o.target)
	if err == nil {
		return os.Remove(o.file.Name())
	}
	if _, statErr := os.Lstat(o.target); statErr == nil || errors.Is(err, fs.ErrExist) {
		return existsError(o.target)
	}
	return os.Rename(o.file.Name(), o.target) // file systems without links
}

// discard removes the temporary file, if it is still there.
func (o *output) discard() {
	_ = o.file.Close() // nothing of it is kept
	_ = os.Remove(o.file.Name())
}

// syncFolder makes a rename durable where the system can do that; where it cannot, the file is whole all the same.
func syncFolder(folder string) {
	if d, err := os.Open(folder); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

var _ io.Writer = (*output)(nil)
