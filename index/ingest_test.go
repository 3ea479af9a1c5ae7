package index_test

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"image"
	"image/png"
	"io"
	"iter"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/index"
	"github.com/bgevl/bgevl/internal/randmodel"
)

// openModel returns a small model with random weights.
func openModel(t *testing.T) *bgevl.Embedder {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, randmodel.CLIP(filepath.Join(dir, "checkpoint"), randmodel.Spec{Seed: 3}))
	_, err := convert.Run(context.Background(), filepath.Join(dir, "checkpoint"), filepath.Join(dir, "m.gguf"), nil)
	require.NoError(t, err)
	e, err := bgevl.Open(filepath.Join(dir, "m.gguf"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func modelCollection(t *testing.T, m index.Model) *index.Collection {
	t.Helper()
	f, err := m.Fingerprint(context.Background())
	require.NoError(t, err)
	c, err := index.New(f)
	require.NoError(t, err)
	return c
}

// picture encodes a small picture that depends on its name.
func picture(t *testing.T, name string) []byte {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(name))
	im := image.NewNRGBA(image.Rect(0, 0, 20, 14))
	for i := range im.Pix {
		h.Write([]byte{1})
		im.Pix[i] = byte(h.Sum64()) | 3
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, im))
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// TestIngestFolder takes in a folder with all that a folder may hold.
func TestIngestFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "b.png"), picture(t, "b"))
	write(t, filepath.Join(dir, "a", "deep", "no extension"), picture(t, "a"))
	write(t, filepath.Join(dir, "notes.txt"), []byte("no picture"))
	write(t, filepath.Join(dir, "empty.png"), nil)
	write(t, filepath.Join(dir, "cut.png"), picture(t, "cut")[:60])
	write(t, filepath.Join(dir, ".hidden", "x.png"), picture(t, "hidden"))
	write(t, filepath.Join(dir, ".x.png"), picture(t, "hidden"))
	write(t, filepath.Join(outside, "secret.png"), picture(t, "secret"))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.png"), filepath.Join(dir, "out.png")))
	require.NoError(t, os.Symlink("b.png", filepath.Join(dir, "link.png")))
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "loop")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.png"), 0o600))

	m := openModel(t)
	c := modelCollection(t, m)
	src, err := index.OpenFolder(dir, "photos")
	require.NoError(t, err)
	defer src.Close()
	var seen []index.Progress
	failed := map[string]error{}
	got, err := c.Ingest(context.Background(), m, src, &index.IngestOptions{
		Progress: func(p index.Progress) { seen = append(seen, p) }, Failed: func(f index.Failure) { failed[f.Name] = f.Err }})
	require.NoError(t, err)
	assert.Equal(t, index.Progress{Done: 3, Failed: 3, Total: 6}, got)
	require.NotEmpty(t, seen)
	assert.Equal(t, got, seen[len(seen)-1])
	assert.Len(t, failed, 3, "%v", failed)
	assert.ErrorIs(t, failed["cut.png"], bgevl.ErrImage)
	assert.ErrorContains(t, failed["out.png"], "escapes")
	assert.ErrorIs(t, failed["dangling"], os.ErrNotExist)
	assert.Equal(t, 3, c.Stats().Images)
	assert.Equal(t, 3, c.Stats().Failed)
	assert.Len(t, c.Stats().Failures, 3)

	// Each is found by itself, and can be opened by its id.
	for name, want := range map[string][]byte{"b.png": picture(t, "b"), "a/deep/no extension": picture(t, "a"), "link.png": picture(t, "b")} {
		id := index.ItemID("photos", name)
		item, v, ok := c.Item(id)
		require.True(t, ok, name)
		assert.Equal(t, index.Item{ID: id, Source: "photos", Name: name, Kind: index.KindImage}, item)
		alone, err := m.Embed(context.Background(), []bgevl.Input{{Image: bgevl.ImageBytes(want), Role: bgevl.RoleCandidate}})
		require.NoError(t, err)
		assert.Greater(t, bgevl.Score(alone[0], v), float32(0.99999), "it is this picture's vector")
		r, err := c.Open(id)
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		assert.Equal(t, want, data)
	}
	_, err = c.Open(index.ItemID("photos", "out.png"))
	assert.ErrorIs(t, err, index.ErrNotFound)

	// A second time only what is new is embedded.
	write(t, filepath.Join(dir, "new.png"), picture(t, "new"))
	got, err = c.Ingest(context.Background(), m, src, nil)
	require.NoError(t, err)
	assert.Equal(t, index.Progress{Done: 4, Failed: 3, Total: 7}, got)
	assert.Equal(t, 4, c.Stats().Images)
}

// TestPictureThatBecameALink changes a picture into a link out of the folder between listing and opening.
func TestPictureThatBecameALink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in", "a.png"), picture(t, "a"))
	write(t, filepath.Join(dir, "secret.png"), picture(t, "secret"))
	m := openModel(t)
	c := modelCollection(t, m)
	src, err := index.OpenFolder(filepath.Join(dir, "in"), "")
	require.NoError(t, err)
	defer src.Close()
	require.Equal(t, "in", src.Name())
	_, err = c.Ingest(context.Background(), m, src, nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "in", "a.png")))
	require.NoError(t, os.Symlink("../secret.png", filepath.Join(dir, "in", "a.png")))
	_, err = c.Open(index.ItemID("in", "a.png"))
	assert.Error(t, err)
	_, err = src.Open("../secret.png")
	assert.Error(t, err)
}

func TestIngestTexts(t *testing.T) {
	m := openModel(t)
	c := modelCollection(t, m)
	texts := []string{"a dog", "", "a cat in the snow"}
	got, err := c.IngestTexts(context.Background(), m, "captions", texts, nil)
	require.NoError(t, err)
	assert.Equal(t, index.Progress{Done: 3, Total: 3}, got)
	v, err := m.Embed(context.Background(), []bgevl.Input{{Text: &texts[2]}})
	require.NoError(t, err)
	found, err := c.Search(context.Background(), index.Query{Vector: v[0], Fingerprint: c.Fingerprint(), K: 1})
	require.NoError(t, err)
	assert.Equal(t, index.Item{ID: index.ItemID("captions", "3"), Source: "captions", Name: "3", Kind: index.KindText, Text: texts[2]},
		found.Hits[0].Item)
	_, err = c.Open(found.Hits[0].Item.ID)
	assert.ErrorIs(t, err, index.ErrNotFound, "a text is no picture")
	long := make([]byte, 1000)
	for i := range long {
		long[i] = "a "[i%2]
	}
	got, err = c.IngestTexts(context.Background(), m, "more", []string{string(long), "short"}, nil)
	require.NoError(t, err)
	assert.Equal(t, index.Progress{Done: 1, Failed: 1, Total: 2}, got, "one that is too long fails alone")
}

// otherModel is one with another fingerprint.
type otherModel struct{ index.Model }

func (m otherModel) Fingerprint(ctx context.Context) (bgevl.Fingerprint, error) {
	f, err := m.Model.Fingerprint(ctx)
	f.Type = "q4_0"
	return f, err
}

// listSource is a source whose list is a function.
type listSource struct {
	name string
	list func(yield func(string, error) bool)
	open func(string) (io.ReadCloser, error)
}

func (s *listSource) Name() string                                  { return s.name }
func (s *listSource) List(context.Context) iter.Seq2[string, error] { return s.list }
func (s *listSource) Open(name string) (io.ReadCloser, error)       { return s.open(name) }

// TestIngestStops ends calls from within, and looks at what they leave.
func TestIngestStops(t *testing.T) {
	m := openModel(t)
	c := modelCollection(t, m)
	var names []string // of more pictures than are computed at a time
	for i := range 60 {
		names = append(names, string(rune('a'+i)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	src := &listSource{"s", func(yield func(string, error) bool) {
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
	}, func(name string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(picture(t, name))), nil }}
	_, err := c.Ingest(ctx, otherModel{m}, src, nil)
	require.ErrorIs(t, err, index.ErrFingerprint)
	_, err = c.Ingest(ctx, m, src, &index.IngestOptions{Progress: func(p index.Progress) {
		if p.Done == 1 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	assert.GreaterOrEqual(t, c.Stats().Images, 1, "what was added stays")
	assert.Less(t, c.Stats().Images, len(names))
	_, err = c.Ingest(context.Background(), m, &listSource{name: "s", list: src.list}, nil)
	assert.ErrorContains(t, err, "another name")

	broken := errors.New("the disk is gone")
	_, err = c.Ingest(context.Background(), m, &listSource{"t", func(yield func(string, error) bool) {
		_ = yield("a", nil) && yield("", broken)
	}, src.open}, nil)
	assert.ErrorIs(t, err, broken)
	before := c.Stats().Images
	got, err := c.Ingest(context.Background(), m, &listSource{"u", src.list, func(name string) (io.ReadCloser, error) {
		if name == "b" {
			return nil, broken
		}
		return src.open(name)
	}}, nil)
	require.NoError(t, err)
	assert.Equal(t, index.Progress{Done: 59, Failed: 1, Total: 60}, got)
	assert.Equal(t, before+59, c.Stats().Images)
}

func TestFolderThatIsNone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), nil)
	_, err := index.OpenFolder(filepath.Join(dir, "none"), "")
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "none")
	_, err = index.OpenFolder(filepath.Join(dir, "file"), "")
	assert.Error(t, err)
	src, err := index.OpenFolder(dir, "")
	require.NoError(t, err)
	require.NoError(t, src.Close())
	next, stop := iter.Pull2(src.List(context.Background()))
	defer stop()
	name, err, _ := next()
	assert.Empty(t, name)
	assert.Error(t, err)
	assert.Len(t, index.ItemID("a", "b"), 32)
}
