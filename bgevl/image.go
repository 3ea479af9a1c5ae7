package bgevl

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/bgevl/bgevl/internal/pixels"
)

// Image is a picture that is yet to be read and decoded. It is made by one of the constructors below, none of which
// touches the picture. What the data is, JPEG, PNG, GIF, WebP, BMP or TIFF, is told by its content.
type Image struct {
	path   string
	data   []byte
	reader io.Reader
	source image.Image
	spent  atomic.Bool // reader has been given to an input
}

// ImageFile is the image in a file, which is read when it is embedded.
func ImageFile(path string) *Image { return &Image{path: path} }

// ImageBytes is the image that data encodes. The caller does not change data while it is in use.
func ImageBytes(data []byte) *Image {
	if data == nil {
		data = []byte{}
	}
	return &Image{data: data}
}

// ImageReader is the image that r gives until its end. r is read once, by one goroutine, to at most one byte past
// Options.MaxImageBytes, and not closed; using the Image a second time is an error. A Read that blocks is not
// interrupted: where the call's context ends meanwhile, the call returns and leaves the Read behind.
func ImageReader(r io.Reader) *Image { return &Image{reader: r} }

// ImageFrom is an image that is decoded already. The caller does not change it while it is in use.
func ImageFrom(im image.Image) *Image { return &Image{source: im} }

// operand names the image in errors.
func (im *Image) operand() string {
	if im.path != "" {
		return "image " + im.path
	}
	return "image"
}

// largeDecode is the number of pixels from which on only one picture is decoded at a time: a picture at the default
// limit of 64 megapixels takes a quarter of a gigabyte, so that decoding as many of them as there are processors would
// take whatever memory there is.
const largeDecode = 8 << 20

// loader reads and decodes images within an Embedder's limits. It is safe for many goroutines.
type loader struct {
	maxBytes int64
	limits   pixels.Limits
	large    *semaphore.Weighted // one holder: see largeDecode
}

// load reads and decodes an image. Its errors name what is wrong, not which image.
func (l *loader) load(ctx context.Context, im *Image) (*pixels.Image, error) {
	if im.source != nil {
		decoded, err := pixels.FromImage(im.source)
		return decoded, imageError(err)
	}
	data, err := l.read(im)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	decoded, err := pixels.Decode(data, l.small())
	if !errors.Is(err, pixels.ErrLimit) {
		return decoded, imageError(err)
	}
	if err := l.large.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer l.large.Release(1)
	decoded, err = pixels.Decode(data, l.limits)
	return decoded, imageError(err)
}

// small returns the limits of a picture that is decoded beside others.
func (l *loader) small() pixels.Limits {
	s := l.limits
	if s.MaxPixels <= 0 || s.MaxPixels > largeDecode {
		s.MaxPixels = largeDecode
	}
	return s
}

// imageError tags what package pixels reports.
func imageError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pixels.ErrLimit):
		return &tagged{ErrTooLarge, err}
	}
	return &tagged{ErrImage, err}
}

// read returns an encoded image's bytes.
func (l *loader) read(im *Image) ([]byte, error) {
	switch {
	case im.data != nil:
		if int64(len(im.data)) > l.maxBytes {
			return nil, l.tooManyBytes()
		}
		return im.data, nil
	case im.reader != nil:
		if im.spent.Swap(true) {
			return nil, errors.New("its reader was read for another input already: make an Image for each")
		}
		return l.readAll(im.reader, 0)
	case im.path != "":
		return l.readFile(im.path)
	}
	return nil, errors.New("no picture in it: make it with ImageFile, ImageBytes, ImageReader or ImageFrom")
}

func (l *loader) readFile(path string) ([]byte, error) {
	// Looked at before it is opened: opening a pipe waits until someone writes to it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	return l.readAll(f, info.Size())
}

// readAll reads r to its end. size is how much is expected, 0 where nobody knows.
func (l *loader) readAll(r io.Reader, size int64) ([]byte, error) {
	if size > l.maxBytes {
		return nil, l.tooManyBytes()
	}
	// One more than expected lets a single Read see the end.
	buf := make([]byte, 0, size+512)
	limited := io.LimitReader(r, l.maxBytes+1)
	for {
		n, err := limited.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > l.maxBytes:
			return nil, l.tooManyBytes()
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, reason(err)
		case len(buf) == cap(buf):
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

func (l *loader) tooManyBytes() error {
	return &tagged{ErrTooLarge, fmt.Errorf("more than %d bytes: raise MaxImageBytes to allow it", l.maxBytes)}
}

// reason takes the path out of a file error, since the operand names it.
func reason(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
