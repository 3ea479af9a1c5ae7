package server

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"runtime"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"github.com/bgevl/bgevl/internal/pixels"
)

// Bounds of what thumbnails take.
const (
	thumbnailSide  = 384      // twice what the page shows, for fine screens
	thumbnailCache = 512      // thumbnails of some 20 kB each
	maxItemBytes   = 20 << 20 // of a picture's file, as when it was embedded
	largePicture   = 8 << 20  // pixels from which on one picture is decoded at a time
)

// thumbnails makes small pictures of large ones. Few are decoded at a time, and of large ones, which take a quarter of a
// gigabyte each, one.
type thumbnails struct {
	made  *lru.Cache[string, []byte] // JPEG files by id
	all   *semaphore.Weighted
	large *semaphore.Weighted
}

func newThumbnails() (*thumbnails, error) {
	made, err := lru.New[string, []byte](thumbnailCache)
	if err != nil {
		return nil, err
	}
	return &thumbnails{made, semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), semaphore.NewWeighted(1)}, nil
}

func thumbnailPath(id string) string { return "/v1/index/" + id + "/thumbnail" }

// thumbnail answers GET /v1/index/{id}/thumbnail with a JPEG file of at most thumbnailSide pixels a side.
func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	item, _, ok := s.opt.Search.Collection.Item(id)
	if !ok || item.Kind != "image" {
		return errNoItem()
	}
	small, ok := s.thumbs.made.Get(id)
	if !ok {
		var err error
		if small, err = s.makeThumbnail(r.Context(), id); err != nil {
			return err
		}
		s.thumbs.made.Add(id, small)
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=600")
	_, err := w.Write(small)
	if err != nil {
		return nil // the client has gone: there is nobody to tell
	}
	return nil
}

// makeThumbnail reads, decodes and shrinks a picture.
func (s *Server) makeThumbnail(ctx context.Context, id string) ([]byte, error) {
	if err := s.thumbs.all.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.thumbs.all.Release(1)
	data, err := s.readItem(ctx, id)
	if err != nil {
		return nil, err
	}
	small, err := shrink(data, pixels.Limits{MaxPixels: largePicture})
	if errors.Is(err, pixels.ErrLimit) {
		if err := s.thumbs.large.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer s.thumbs.large.Release(1)
		small, err = shrink(data, pixels.Limits{})
	}
	if err != nil {
		s.log.WarnContext(ctx, "no thumbnail can be made", "id", id, "error", err.Error())
		return nil, errNoItem()
	}
	return small, nil
}

// shrink decodes a picture and encodes a small one.
func shrink(data []byte, limits pixels.Limits) ([]byte, error) {
	im, err := pixels.Decode(data, limits)
	if err != nil {
		return nil, err
	}
	if longer := max(im.Width, im.Height); longer > thumbnailSide {
		fit := func(side int) int { return max(1, (side*thumbnailSide+longer/2)/longer) }
		if im, err = im.Resize(fit(im.Width), fit(im.Height), pixels.Bilinear); err != nil {
			return nil, err
		}
	}
	rgb := im.RGB()
	out := image.NewRGBA(image.Rect(0, 0, rgb.Width, rgb.Height))
	for i, j := 0, 0; i+3 <= len(rgb.Pix); i, j = i+3, j+4 {
		copy(out.Pix[j:j+3], rgb.Pix[i:i+3])
		out.Pix[j+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, &jpeg.Options{Quality: 88}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readBounded reads r to its end, where that comes within limit, and takes what it reads from a lease.
func readBounded(r io.Reader, limit int64, l *lease) ([]byte, error) {
	var b bytes.Buffer
	for {
		n, err := io.CopyN(&b, r, 256<<10)
		switch {
		case !l.take(n):
			return nil, noMemory()
		case int64(b.Len()) > limit:
			return nil, errors.New("the file is too large")
		case errors.Is(err, io.EOF):
			return b.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
}
