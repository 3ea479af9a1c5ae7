// Package atomicfile writes files that appear under their name only when they are whole.
//
// Create opens a temporary file beside the target; Commit puts it in the target's place, Discard removes it. Whoever
// reads the target meanwhile, or after a crash, finds the old file or none, never a part of the new one.
//
// A File is for one goroutine. It lives until Commit or Discard; Discard after Commit does nothing, so that it can be
// deferred right after Create.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is written like an os.File, and is not there for others before Commit.
type File struct {
	*os.File
	target string // where Commit moves the file; empty when the target is written in place
	done   bool
}

// Create makes a file that will replace path. The folder must exist. A symbolic link is followed: the file that it
// points to is replaced, and keeps its permissions. What is no regular file (a pipe, a device) cannot be replaced and is
// written as it is.
func Create(path string) (*File, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o666) // less the umask, as any new file
	switch st, err := os.Stat(path); {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("write %s: is a folder: name a file in it", path)
	case err == nil && !st.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{File: f}, err
	case err == nil:
		mode = st.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f, err := createBeside(path, mode)
	if err != nil {
		return nil, err
	}
	return &File{File: f, target: path}, nil
}

// createBeside makes a new file in the folder of path, hidden and named after it.
func createBeside(path string, mode fs.FileMode) (*os.File, error) {
	dir, base := filepath.Split(path)
	const attempts = 10000 // as os.CreateTemp, which would ignore the umask
	for i := range attempts {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%d-%d.tmp", base, os.Getpid(), i))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("write %s: no free name for a temporary file beside it: remove old .%s.*.tmp files", path, base)
}

// InPlace reports whether the target is no regular file, so that what is written is seen at once.
func (f *File) InPlace() bool { return f.target == "" }

// Commit makes the file durable and puts it in the target's place. After an error the target is as it was and the
// temporary file is gone.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("write %s: committed or discarded before", f.Name())
	}
	f.done = true
	if f.InPlace() {
		return f.Close()
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), f.target); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(f.target))
}

// Discard closes and removes the temporary file. It does nothing after Commit.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	if f.InPlace() {
		return f.Close()
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// syncDir makes a rename in dir durable. Some file systems cannot sync a folder: the rename stands all the same.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	_ = d.Sync()
	return d.Close()
}
