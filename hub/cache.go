package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	incomplete = ".incomplete"
	lockPoll   = 100 * time.Millisecond
	maxCached  = 10_000 // files looked at in one snapshot
)

// repository is one repository's folder in the cache. Nothing is opened outside it, wherever links lead.
type repository struct {
	root *os.Root
	name string // "models--ORG--NAME"
	c    *Client
}

// repository opens the folder, and makes it where it is missing and wanted.
func (c *Client) repository(repo string, make bool) (*repository, error) {
	name := folderName(repo)
	dir := filepath.Join(c.o.CacheDir, name)
	if make {
		for _, d := range []string{filepath.Join(dir, "blobs"), filepath.Join(c.o.CacheDir, ".locks", name)} {
			if err := os.MkdirAll(d, 0o777); err != nil {
				return nil, err
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &repository{root, name, c}, nil
}

func (r *repository) Close() error { return r.root.Close() }

// path returns where something in the folder is for programs that know nothing of roots.
func (r *repository) path(name string) string {
	return filepath.Join(r.root.Name(), filepath.FromSlash(name))
}

func blobName(d Digest) string { return "blobs/" + string(d) }

func snapshotName(commit, file string) string { return path.Join("snapshots", commit, file) }

// lock waits until no other program downloads a blob.
func (r *repository) lock(ctx context.Context, d Digest) (unlock func(), err error) {
	l := flock.New(filepath.Join(r.c.o.CacheDir, ".locks", r.name, string(d)+".lock"), flock.SetPermissions(0o666))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("lock %s: %w: set HF_HUB_CACHE to a folder on a disk with locks", l.Path(), err)
	}
	// The file stays: unlinking it would let two hold it.
	return func() { _ = l.Close() }, nil
}

// hasBlob reports whether a blob is there in full length. Where check is set its digest counts too.
func (r *repository) hasBlob(ctx context.Context, f File, check bool) (bool, error) {
	st, err := r.root.Stat(blobName(f.Digest))
	if err != nil || !st.Mode().IsRegular() || st.Size() != f.Size {
		return false, nil
	}
	if !check {
		return true, nil
	}
	return r.digestIs(ctx, blobName(f.Digest), f)
}

// digestIs reads a file of the repository's folder and compares it.
func (r *repository) digestIs(ctx context.Context, name string, f File) (bool, error) {
	in, err := r.root.Open(name)
	if err != nil {
		return false, err
	}
	defer in.Close()
	h := f.Digest.hash(f.Size)
	for {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		_, err := io.CopyN(h, in, maxPiece)
		if errors.Is(err, io.EOF) {
			return sumOf(h) == f.Digest, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// started returns how much of a blob an earlier run has left.
func (r *repository) started(f File) int64 {
	st, err := r.root.Lstat(blobName(f.Digest) + incomplete)
	if err != nil || !st.Mode().IsRegular() || st.Size() > f.Size {
		return 0
	}
	return st.Size()
}

// openIncomplete opens what an earlier run has left of a blob, or begins it.
func (r *repository) openIncomplete(d Digest) (*os.File, error) {
	name := blobName(d) + incomplete
	if st, err := r.root.Lstat(name); err == nil && !st.Mode().IsRegular() {
		if err := r.root.Remove(name); err != nil {
			return nil, err
		}
	}
	return r.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
}

// target is where a snapshot's link leads to.
func target(f File) string {
	return strings.Repeat("../", strings.Count(f.Path, "/")+2) + blobName(f.Digest)
}

// linked reports whether a snapshot has a file.
func (r *repository) linked(ctx context.Context, commit string, f File) (bool, error) {
	name := snapshotName(commit, f.Path)
	st, err := r.root.Lstat(name)
	if err != nil {
		return false, nil
	}
	blob, blobErr := r.root.Stat(blobName(f.Digest))
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		to, err := r.root.Readlink(name)
		return err == nil && filepath.ToSlash(to) == target(f) && blobErr == nil && blob.Size() == f.Size, nil
	case !st.Mode().IsRegular() || st.Size() != f.Size:
		return false, nil
	case blobErr == nil && os.SameFile(st, blob):
		return true, nil
	}
	return r.digestIs(ctx, name, f) // a copy
}

// link puts a blob into a snapshot: a relative link, or where the file system has none a hard link or a copy.
func (r *repository) link(commit string, f File) error {
	name := snapshotName(commit, f.Path)
	if err := r.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	temporary := "tmp_" + rand.Text()
	defer r.root.Remove(temporary) //nolint:errcheck // it is gone where all went well
	err := r.c.symlink(r.root, filepath.FromSlash(target(f)), temporary)
	if err != nil {
		err = r.c.hardlink(r.root, blobName(f.Digest), temporary)
	}
	if err != nil {
		err = r.copy(blobName(f.Digest), temporary)
	}
	if err != nil {
		return err
	}
	return r.root.Rename(temporary, name)
}

func (r *repository) copy(from, to string) error {
	in, err := r.root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := r.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// setRef notes which commit a branch or tag points to.
func (r *repository) setRef(revision, commit string) error {
	name := "refs/" + revision
	if old, err := r.root.ReadFile(name); err == nil && string(old) == commit {
		return nil
	}
	if err := r.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	temporary := "tmp_" + rand.Text()
	defer r.root.Remove(temporary) //nolint:errcheck // it is gone where all went well
	if err := r.root.WriteFile(temporary, []byte(commit), 0o666); err != nil {
		return err
	}
	return r.root.Rename(temporary, name)
}

// commit returns the commit that a revision is or was when it was last pulled.
func (r *repository) commit(revision string) (string, bool) {
	if commitPattern.MatchString(revision) {
		return revision, true
	}
	text, err := r.root.ReadFile("refs/" + revision)
	commit := strings.TrimSpace(string(text))
	return commit, err == nil && commitPattern.MatchString(commit)
}

// cached lists the files of a snapshot that can be read.
func (r *repository) cached(commit string) ([]File, error) {
	var files []File
	top := path.Join("snapshots", commit)
	err := fs.WalkDir(r.root.FS(), top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		st, err := r.root.Stat(name)
		if err != nil || !st.Mode().IsRegular() {
			return nil // a link to a blob that is gone
		}
		if len(files) == maxCached {
			return fs.SkipAll
		}
		f := File{Path: strings.TrimPrefix(name, top+"/"), Size: st.Size()}
		if to, err := r.root.Readlink(name); err == nil && Digest(path.Base(filepath.ToSlash(to))).check() == nil {
			f.Digest = Digest(path.Base(filepath.ToSlash(to)))
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// removeUnused removes files from a snapshot, and the blobs that no other snapshot has.
func (r *repository) removeUnused(ctx context.Context, commit string, files []File) error {
	for _, f := range files {
		if err := r.root.Remove(snapshotName(commit, f.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	used := map[Digest]bool{}
	err := fs.WalkDir(r.root.FS(), "snapshots", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if to, err := r.root.Readlink(name); err == nil {
			used[Digest(path.Base(filepath.ToSlash(to)))] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Digest == "" || used[f.Digest] {
			continue
		}
		unlock, err := r.lock(ctx, f.Digest)
		if err != nil {
			return err
		}
		err = r.root.Remove(blobName(f.Digest))
		unlock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
