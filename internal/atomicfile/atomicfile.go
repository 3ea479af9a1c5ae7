// Package atomicfile writes files that appear under their name only when they are whole.
//
// Create opens a temporary file beside the target, for its owner's eyes only; Commit puts it in the target's place,
// CommitNew does so unless the name is taken, Discard removes it. Whoever reads the target meanwhile, or after a crash,
// finds the old file or none, never a part of the new one. A process that is killed leaves the temporary file behind.
//
// A File is for one goroutine. It lives until one of these three; Discard after the others does nothing, so that it can
// be deferred right after Create.
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
	target string      // where Commit moves the file; empty when the target is written in place
	mode   fs.FileMode // of the finished file
	done   bool
}

// Create makes a file that will replace path. The folder must exist. A symbolic link is followed: the file that it
// points to is replaced, and keeps its permissions. What is no regular file (a pipe, a device) cannot be replaced and is
// written as it is.
func Create(path string) (*File, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	var mode fs.FileMode // zero: that of any new file
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
	f, err := createBeside(path)
	if err != nil {
		return nil, err
	}
	file := &File{File: f, target: path, mode: mode}
	if err := file.hide(); err != nil {
		return nil, errors.Join(err, file.Discard())
	}
	return file, nil
}

// createBeside makes a new file in the folder of path, hidden and named after it.
func createBeside(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	const attempts = 10000 // as os.CreateTemp, which would ignore the umask
	for i := range attempts {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%d-%d.tmp", base, os.Getpid(), i))
		// Made as any program makes a file, to learn what the umask leaves of its mode; nothing is in it yet.
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("write %s: no free name for a temporary file beside it: remove old .%s.*.tmp files", path, base)
}

// hide keeps others from reading what is half written.
func (f *File) hide() error {
	if f.mode == 0 {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		f.mode = st.Mode().Perm()
	}
	return f.Chmod(0o600)
}

// InPlace reports whether the target is no regular file, so that what is written is seen at once.
func (f *File) InPlace() bool { return f.target == "" }

// Commit makes the file durable and puts it in the target's place. After an error the target is as it was and the
// temporary file is gone.
func (f *File) Commit() error { return f.commit(os.Rename) }

// CommitNew is Commit that fails, with an error for which errors.Is(err, fs.ErrExist) holds, where the target's name has
// been taken meanwhile.
func (f *File) CommitNew() error {
	return f.commit(func(from, to string) error {
		// A link fails where the name is taken; a rename would replace what is there.
		err := os.Link(from, to)
		if err == nil {
			return os.Remove(from)
		}
		if _, statErr := os.Lstat(to); statErr == nil || errors.Is(err, fs.ErrExist) {
			return &fs.PathError{Op: "write", Path: to, Err: fs.ErrExist}
		}
		return os.Rename(from, to) // file systems without links
	})
}

func (f *File) commit(move func(from, to string) error) error {
	if f.done {
		return fmt.Errorf("write %s: committed or discarded before", f.Name())
	}
	f.done = true
	if f.InPlace() {
		return f.Close()
	}
	if err := errors.Join(f.Chmod(f.mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := move(f.Name(), f.target); err != nil {
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
