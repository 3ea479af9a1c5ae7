package bulk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// rooted reads one file below a root. It is opened when it is first read, so that inputs that wait hold no descriptor.
type rooted struct {
	root *os.Root
	name string

	mu     sync.Mutex // Close comes from another goroutine than Read
	f      *os.File
	closed bool
}

// newRooted refuses names that lead out of the root by themselves. Links that do are refused when the file is opened.
func newRooted(root *os.Root, name string) (*rooted, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("image %s: not below the image root: give a relative path that has no .. in it", name)
	}
	return &rooted{root: root, name: name}, nil
}

func (r *rooted) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, os.ErrClosed
	}
	if r.f == nil {
		f, err := openRegular(r.root, r.name)
		if err != nil {
			return 0, err
		}
		r.f = f
	}
	n, err := r.f.Read(b)
	return n, reason(err)
}

// Close gives the descriptor back. The file cannot be read after it. A nil rooted has none.
func (r *rooted) Close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.f != nil {
		r.f.Close()
	}
}

// openRegular opens a regular file. Opening without waiting keeps a pipe in the folder from stopping everything.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, reason(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, reason(err)
	}
	return f, nil
}

// reason takes the path out of a file error: the item's message names the picture.
func reason(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
