package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"
)

// Source is where pictures come from. Its methods may be called by many goroutines at once. A Source is comparable, as
// pointers are.
type Source interface {
	// Name tells the source apart from others of a collection.
	Name() string

	// List yields the names of files that may be pictures, the same ones in the same order while nothing changes. An
	// error beside a name says that it could not be looked at, and the list goes on; one beside the empty name ends it.
	List(ctx context.Context) iter.Seq2[string, error]

	// Open opens the file of a name that List gave.
	Open(name string) (io.ReadCloser, error)
}

// picturesOnly is a Source that knows that all it lists are pictures, so that nobody has to open them to see.
type picturesOnly interface{ PicturesOnly() }

// Folder is a folder of the file system with all folders below it. Nothing outside it is opened, whatever a link or a
// name says. It is made by OpenFolder.
type Folder struct {
	name string
	root *os.Root
}

// OpenFolder opens a folder as a source of that name; an empty name is the folder's own.
func OpenFolder(path, name string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("index: folder %s: %w", path, reason(err))
	}
	if name == "" {
		full, err := filepath.Abs(path)
		if err != nil {
			return nil, errors.Join(err, root.Close())
		}
		name = filepath.Base(full)
	}
	return &Folder{name: name, root: root}, nil
}

// Name returns the source's name.
func (f *Folder) Name() string { return f.name }

// Rename changes the source's name, before it is used.
func (f *Folder) Rename(name string) { f.name = name }

// Close gives the folder's descriptor back. Pictures cannot be opened after it.
func (f *Folder) Close() error { return f.root.Close() }

// List yields every file below the folder, in lexical order. Links to files are yielded, and fail in Open where they
// lead out of the folder; links to folders are not followed, so that no walk goes round in circles. Names that begin
// with a dot are passed over.
func (f *Folder) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil && name == ".":
				return reason(err)
			case err != nil:
				if !yield(name, reason(err)) {
					return fs.SkipAll
				}
				return nil
			case name != "." && hidden(name) && d.IsDir():
				return fs.SkipDir
			case d.IsDir() || hidden(name) || !d.Type().IsRegular() && d.Type()&fs.ModeSymlink == 0:
				return nil
			}
			if !yield(name, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield("", err)
		}
	}
}

func hidden(name string) bool { return filepath.Base(name)[0] == '.' }

// Open opens a regular file below the folder. Opening without waiting keeps a pipe from stopping everything.
func (f *Folder) Open(name string) (io.ReadCloser, error) {
	file, err := f.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, reason(err)
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		file.Close()
		return nil, reason(err)
	}
	return file, nil
}

var errNotRegular = errors.New("not a regular file")

// reason takes the path out of a file error: whoever reports it names the file.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
