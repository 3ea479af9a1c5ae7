package hub

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

// streamPatience is how many times as long as a pull a Stream bears with a network that is down: it cannot go on from
// where it was another day.
const streamPatience = 4

// A Stream is a file of a snapshot that is read from the hub, once and in order, and stored nowhere. Read ends with io.EOF
// where the digest is that of the commit's listing, and else with ErrDigest after all bytes: what they were used for may
// not be trusted before. Broken connections are gone on with. It is for one goroutine, but for Close.
type Stream struct {
	repo   string
	t      *transfer
	ctx    context.Context // from opening to Close, as that of a request is
	cancel context.CancelFunc
	head   bytes.Buffer // what was peeked at and not yet read

	mu      sync.Mutex
	started bool // the transfer has the pipe's other end
	closed  bool
	ended   chan struct{}
	in      *io.PipeReader
	out     *io.PipeWriter
}

// Stream opens a file of a snapshot, most likely one that was skipped. Nothing is requested before it is read. It ends
// with ctx, and must be closed.
func (c *Client) Stream(ctx context.Context, s *Snapshot, f File) (*Stream, error) {
	err := CheckRepo(s.Repo)
	if err == nil && !commitPattern.MatchString(s.Commit) {
		err = failf(ErrName, "commit %s: want 40 hexadecimal digits", quote(s.Commit))
	}
	if err == nil {
		err = checkWanted(f)
	}
	if err != nil {
		return nil, fmt.Errorf("hub: stream %s: %w", s.Repo, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	src := c.source(s.Repo, s.Commit, f)
	src.retries *= streamPatience
	t := &transfer{src: src, sum: f.Digest.hash(f.Size), ahead: c.o.Connections, count: func(int64) {}}
	in, out := io.Pipe()
	return &Stream{repo: s.Repo, t: t, ctx: ctx, cancel: cancel, ended: make(chan struct{}), in: in, out: out}, nil
}

// Size returns the size of the whole file.
func (s *Stream) Size() int64 { return s.t.src.file.Size }

// Peek returns the next n bytes, which Read returns again. They come by a request of their own; more of the file is not
// fetched before Read wants it. It is for the file's beginning: after a Read past what was peeked at it fails.
func (s *Stream) Peek(n int) ([]byte, error) {
	if more := int64(n - s.head.Len()); more > 0 {
		if s.started || more > s.Size()-s.t.at {
			return nil, s.wrap(io.ErrUnexpectedEOF)
		}
		s.t.out = &s.head
		if err := s.t.sequential(s.ctx, s.t.at+more); err != nil {
			return nil, s.wrap(err)
		}
	}
	return s.head.Bytes()[:n], nil
}

// Read returns the bytes that come next.
func (s *Stream) Read(b []byte) (int, error) {
	if s.head.Len() > 0 {
		n, err := s.head.Read(b)
		if s.head.Len() == 0 {
			s.head = bytes.Buffer{} // its memory is not needed again
		}
		return n, err
	}
	s.start()
	return s.in.Read(b)
}

// start fetches the rest of the file as far ahead as it may.
func (s *Stream) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return
	}
	s.started = true
	s.t.out = s.out
	go func() {
		defer close(s.ended)
		_ = s.out.CloseWithError(s.wrap(s.t.finish(s.ctx, true))) // it returns nil always
	}()
}

// Close ends the download, wherever it is, and a Read that waits for it.
func (s *Stream) Close() error {
	s.cancel()
	_ = s.in.Close() // it returns nil always
	s.mu.Lock()
	started := s.started
	s.closed = true
	s.mu.Unlock()
	if started {
		<-s.ended
	}
	return nil
}

func (s *Stream) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("hub: stream %s: %s: %w", s.repo, quote(s.t.src.file.Path), err)
}
