package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
)

// windowSize is how much of a file is read at once. The metadata of a CLIP model is 4 MB: a few reads of this size.
const windowSize = 256 << 10

// scanner reads a part of a file from front to back through a small window. Its position never passes the end, so
// what the file claims about lengths cannot make it read or allocate more than there is.
type scanner struct {
	r   io.ReaderAt
	pos int64 // of the next byte, from the file's start
	end int64
	win []byte // allocated once
	buf []byte // what of win is unread; its first byte is at pos
}

func newScanner(r io.ReaderAt, start, end int64) *scanner {
	return &scanner{r: r, pos: start, end: end, win: make([]byte, min(windowSize, end-start))}
}

func (s *scanner) remaining() int64 { return s.end - s.pos }

// truncated is the error for a part that would pass the end.
func (s *scanner) truncated(what string, want uint64) error {
	return malformed("%s at byte %d needs %d bytes, but %d are left: the file is cut short or corrupt",
		what, s.pos, want, s.remaining())
}

// take returns the next n bytes, valid until the next call. n is at most windowSize.
func (s *scanner) take(n int, what string) ([]byte, error) {
	if int64(n) > s.remaining() {
		return nil, s.truncated(what, uint64(n))
	}
	if len(s.buf) < n {
		if err := s.fill(n, what); err != nil {
			return nil, err
		}
	}
	b := s.buf[:n]
	s.buf = s.buf[n:]
	s.pos += int64(n)
	return b, nil
}

// fill reads until at least n bytes, which the caller knows to be there, are in the window.
func (s *scanner) fill(n int, what string) error {
	have := copy(s.win, s.buf)
	want := int(min(int64(len(s.win)), s.remaining()))
	got, err := s.r.ReadAt(s.win[have:want], s.pos+int64(have))
	s.buf = s.win[:have+got]
	if len(s.buf) < n {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %s at byte %d: %w", what, s.pos, err)
	}
	return nil
}

// skip passes over n bytes without reading them.
func (s *scanner) skip(n uint64, what string) error {
	if n > uint64(s.remaining()) {
		return s.truncated(what, n)
	}
	s.buf = s.buf[min(uint64(len(s.buf)), n):]
	s.pos += int64(n)
	return nil
}

func (s *scanner) u32(what string) (uint32, error) {
	b, err := s.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (s *scanner) u64(what string) (uint64, error) {
	b, err := s.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// text reads a length and as many bytes, at most limit of them.
func (s *scanner) text(what string, limit uint64) (string, error) {
	n, err := s.u64("the length of " + what)
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", malformed("%s at byte %d is %d bytes long: want at most %d", what, s.pos, n, limit)
	}
	b, err := s.take(int(n), what)
	if err != nil {
		return "", err
	}
	return string(b), nil
}
