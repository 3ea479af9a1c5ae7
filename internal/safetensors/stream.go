package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Stream is a file whose bytes come once, in order, as a download's do. Reading it to io.EOF is what finds out whether
// they were the right ones, for those that can tell. Close ends a Read under way, and may be called again.
type Stream interface {
	io.ReadCloser
	Size() int64 // of the whole file

	// Peek returns the next n bytes, which Read returns again, or an error where there are not so many.
	Peek(n int) ([]byte, error)
}

// openStream checks a file's header as Open does, and leaves the stream at what follows it.
func openStream(s Stream, name string) (*File, error) {
	f := &File{name: name, size: s.Size(), stream: s, close: s.Close}
	head, err := peekHeader(s)
	if err == nil {
		f.src = bytes.NewReader(head)
		err = f.parse()
	}
	f.src = nowhere{}
	if err == nil {
		_, err = io.CopyN(io.Discard, s, f.dataStart)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// peekHeader returns the file's header with its length, or what there is of it where parse will refuse it.
func peekHeader(s Stream) ([]byte, error) {
	if s.Size() < lengthBytes {
		return nil, nil
	}
	head, err := s.Peek(lengthBytes)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head)
	if n > maxHeader || n > uint64(s.Size()-lengthBytes) {
		return head, nil
	}
	return s.Peek(lengthBytes + int(n))
}

// nowhere stands for the bytes of a stream where somebody asks for them in another order.
type nowhere struct{}

func (nowhere) ReadAt([]byte, int64) (int, error) {
	return 0, errors.New("the file is a stream: its Data is all that can be read")
}

// StreamCheckpoint is OpenCheckpoint for a folder that lacks weights: the files that streams are named after come from
// there, and their tensors can be read by File.Data alone. Close closes the streams that are read; where StreamCheckpoint
// fails, that is left to the caller.
func StreamCheckpoint(dir string, streams map[string]Stream) (*Checkpoint, error) {
	c, err := openCheckpoint(dir, streams)
	if err != nil {
		return nil, fmt.Errorf("safetensors: open checkpoint %s: %w", dir, err)
	}
	return c, nil
}
