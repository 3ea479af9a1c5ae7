package hub

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
)

// blob makes sure that the cache has a file's bytes.
func (p *puller) blob(ctx context.Context, f File) error {
	unlock, err := p.r.lock(ctx, f.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	name := blobName(f.Digest)
	if ok, err := p.r.hasBlob(ctx, f, p.o.Verify); err != nil || ok {
		p.advance(f, f.Size, f.Size) // another program has made it meanwhile
		return err
	}
	out, err := p.r.openIncomplete(f.Digest)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := p.fetch(ctx, f, out); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := p.r.root.Rename(name+incomplete, name); err != nil {
		return err
	}
	if d, err := p.r.root.Open("blobs"); err == nil {
		_ = d.Sync() // some file systems cannot sync a folder: the rename stands all the same
		_ = d.Close()
	}
	return nil
}

// fetch downloads a file, and once more from the start where what came is not what was wanted: an earlier run may have
// left what a crash has garbled.
func (p *puller) fetch(ctx context.Context, f File, out *os.File) error {
	fileDone := int64(0)
	d := &download{
		src: p.c.source(p.listing.Repo, p.listing.Commit, f),
		out: out,
		count: func(n int64) {
			p.mu.Lock()
			defer p.mu.Unlock()
			fileDone += n
			p.report(f, n, fileDone)
		},
	}
	err := d.run(ctx, true)
	if !errors.Is(err, ErrDigest) {
		return err
	}
	if err = d.run(ctx, false); errors.Is(err, ErrDigest) {
		// Nothing of it can be used.
		return errors.Join(err, p.r.root.Remove(blobName(f.Digest)+incomplete))
	}
	return err
}

// A download is a file on its way to the disk.
type download struct {
	src   *source
	out   *os.File
	count func(int64) // as a transfer's
}

// run completes the file, from what is there already. A wrong digest empties it and is an error.
func (d *download) run(ctx context.Context, ranges bool) error {
	f := d.src.file
	have, err := d.out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > f.Size {
		if err := d.restart(); err != nil {
			return err
		}
		have = 0
	}
	// Pulls have several files under way, among which the connections are shared.
	t := &transfer{src: d.src, out: d, sum: f.Digest.hash(f.Size), ahead: d.src.c.o.Connections / 2, count: d.count}
	if err := d.rehash(ctx, t, have); err != nil {
		return err
	}
	err = t.finish(ctx, ranges)
	if errors.Is(err, ErrDigest) {
		d.count(-f.Size)
		return errors.Join(err, d.restart())
	}
	if err != nil {
		return err
	}
	return d.out.Sync()
}

// restart forgets what was written.
func (d *download) restart() error {
	if err := d.out.Truncate(0); err != nil {
		return err
	}
	_, err := d.out.Seek(0, io.SeekStart)
	return err
}

// rehash reads what an earlier run has left.
func (d *download) rehash(ctx context.Context, t *transfer, have int64) error {
	if _, err := d.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for t.at < have {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := io.CopyN(t.sum, d.out, min(maxPiece, have-t.at))
		t.at += n
		if err != nil {
			return err
		}
	}
	d.count(have)
	return nil
}

// Write appends to the file.
func (d *download) Write(b []byte) (int, error) {
	n, err := d.src.c.write(d.out, b)
	if errors.Is(err, syscall.ENOSPC) {
		err = failf(ErrSpace, "%v: make room and pull again, it goes on from here", err)
	}
	return n, err
}
