package bgevl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
)

// minCosSplit is how alike an embedding must be however its inputs are split into batches and calls.
const minCosSplit = 0.99999

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, f *cliptest.File, o *bgevl.Options) *bgevl.Embedder {
	t.Helper()
	e, err := bgevl.Open(f.Write(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// picture returns a PNG that differs with seed.
func picture(t testing.TB, seed int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, drawn(seed)))
	return b.Bytes()
}

func drawn(seed int) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, 40+seed, 50))
	for y := range 50 {
		for x := range 40 + seed {
			im.Set(x, y, color.RGBA{uint8(x * (seed + 3)), uint8(y*5 + seed), uint8(x * y >> (seed % 5)), 255})
		}
	}
	return im
}

// mixed returns n inputs of texts, images, and both.
func mixed(t testing.TB, n int) []bgevl.Input {
	inputs := make([]bgevl.Input, n)
	for i := range inputs {
		if i%3 != 1 {
			inputs[i].Text = new(fmt.Sprintf("the cat %d", i))
		}
		if i%3 != 0 {
			inputs[i].Image = bgevl.ImageBytes(picture(t, i))
		}
	}
	return inputs
}

func embed(t testing.TB, e *bgevl.Embedder, inputs ...bgevl.Input) [][]float32 {
	t.Helper()
	rows, err := e.Embed(context.Background(), inputs)
	require.NoError(t, err)
	require.Len(t, rows, len(inputs))
	for _, row := range rows {
		require.Len(t, row, e.Dim())
		require.InDelta(t, 1, bgevl.Score(row, row), 1e-6)
	}
	return rows
}

func TestOpen(t *testing.T) {
	f := cliptest.New()
	path := f.Write(t)
	e, err := bgevl.Open(path, nil)
	require.NoError(t, err)
	defer e.Close()
	info := e.Info()
	assert.Positive(t, info.Parameters)
	assert.NotEmpty(t, info.Device)
	info.Parameters, info.Device, info.DeviceLayers = 0, "", 0
	assert.Equal(t, bgevl.Info{Family: "clip", Name: "tiny", Path: path, Type: "f32", Dim: cliptest.Projection,
		Context: cliptest.Context, ImageSize: cliptest.ImageSize}, info)
	assert.Equal(t, cliptest.Projection, e.Dim())
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.gguf")
	_, err := bgevl.Open(missing, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, 1, strings.Count(err.Error(), missing), "%v", err)

	text := filepath.Join(t.TempDir(), "text.gguf")
	require.NoError(t, os.WriteFile(text, []byte("not a model"), 0o600))
	_, err = bgevl.Open(text, nil)
	require.Error(t, err)

	for key, v := range map[string]any{"bgevl.family": "mllm", "clip.text.block_count": uint32(0), "general.architecture": "bert"} {
		f := cliptest.New()
		if key == "general.architecture" {
			delete(f.Keys, "bgevl.family")
		}
		f.Keys[key] = v
		_, err := bgevl.Open(f.Write(t), nil)
		assert.Error(t, err, key)
	}
	for _, o := range []bgevl.Options{{BatchSize: -1}, {BatchSize: 1 << 20}, {Threads: -1}, {Contexts: -1}, {Workers: -1},
		{MaxImageBytes: -1}, {MaxPixels: -1}, {MaxSide: -1}} {
		_, err := bgevl.Open(cliptest.New().Write(t), &o)
		assert.ErrorContains(t, err, "options")
	}
}

// TestFusion checks that a text with an image is the normalised sum of raw features: the direction of a sum of two
// normalised vectors is another one, which the test would notice.
func TestFusion(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	im := bgevl.ImageBytes(picture(t, 1))
	rows := embed(t, e, bgevl.Input{Text: new("a dog")}, bgevl.Input{Image: im}, bgevl.Input{Text: new("a dog"), Image: im})
	// rows[2] * n = rows[0] * a + rows[1] * b for some positive a and b: it lies in the plane of the two.
	tt, ii, ti := 1.0, 1.0, dot(rows[0], rows[1])
	t2, i2 := dot(rows[0], rows[2]), dot(rows[1], rows[2])
	det := tt*ii - ti*ti
	a, b := (t2*ii-i2*ti)/det, (i2*tt-t2*ti)/det
	for i := range rows[2] {
		assert.InDelta(t, a*float64(rows[0][i])+b*float64(rows[1][i]), rows[2][i], 1e-5)
	}
	assert.Positive(t, a)
	assert.Positive(t, b)
	assert.Greater(t, math.Abs(a-b), 1e-3, "the features have different norms, which fusion keeps")
}

func dot(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// TestRoleIgnored: CLIP models know no roles and no instructions.
func TestRoleIgnored(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	rows := embed(t, e, bgevl.Input{Text: new("a dog")},
		bgevl.Input{Text: new("a dog"), Role: bgevl.RoleCandidate, Instruction: new("find it"), ID: "x"})
	assert.Equal(t, rows[0], rows[1])
}

// TestImageSources embeds one picture from everywhere that it can come from.
func TestImageSources(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	data := picture(t, 2)
	path := filepath.Join(t.TempDir(), "named.jpg") // it is told by its content
	require.NoError(t, os.WriteFile(path, data, 0o600))
	rows := embed(t, e,
		bgevl.Input{Image: bgevl.ImageBytes(data)}, bgevl.Input{Image: bgevl.ImageFile(path)},
		bgevl.Input{Image: bgevl.ImageReader(bytes.NewReader(data))}, bgevl.Input{Image: bgevl.ImageFrom(drawn(2))},
		bgevl.Input{Image: bgevl.ImageReader(iotest.OneByteReader(bytes.NewReader(data)))},
		bgevl.Input{Image: bgevl.ImageReader(iotest.DataErrReader(bytes.NewReader(data)))})
	for _, row := range rows[1:] {
		assert.Greater(t, dot(rows[0], row), minCosSplit)
	}
}

// TestBadInputs puts one of each kind of bad input among good ones: the good ones are embedded, and every failure names
// its input, its operand and what is wrong.
func TestBadInputs(t *testing.T) {
	e := open(t, cliptest.New(), &bgevl.Options{MaxImageBytes: 1 << 16, MaxPixels: 1 << 20, MaxSide: 2048})
	dir := t.TempDir()
	wide, large := new(bytes.Buffer), new(bytes.Buffer)
	require.NoError(t, png.Encode(wide, image.NewGray(image.Rect(0, 0, 4096, 2))))
	require.NoError(t, png.Encode(large, image.NewGray(image.Rect(0, 0, 1500, 1500))))
	one := new(bytes.Buffer)
	require.NoError(t, png.Encode(one, image.NewGray(image.Rect(0, 0, 1, 1))))
	spent := bgevl.ImageReader(bytes.NewReader(picture(t, 1)))
	embed(t, e, bgevl.Input{Image: spent})
	good := picture(t, 3)
	cases := []struct {
		name  string
		in    bgevl.Input
		is    error
		match string
	}{
		{"nothing", bgevl.Input{}, bgevl.ErrEmptyInput, "neither"},
		{"role", bgevl.Input{Text: new("a"), Role: 7}, nil, "role 7"},
		{"long text", bgevl.Input{Text: new(strings.Repeat("cat ", 30))}, bgevl.ErrTooLong, "text: 32 tokens, the model takes 20"},
		{"long text, good image", bgevl.Input{Text: new(strings.Repeat("cat ", 30)), Image: bgevl.ImageBytes(good)}, bgevl.ErrTooLong, "text: "},
		{"not UTF-8", bgevl.Input{Text: new("caf\xe9")}, nil, "UTF-8"},
		{"no file", bgevl.Input{Image: bgevl.ImageFile(filepath.Join(dir, "none.png"))}, os.ErrNotExist, "none.png"},
		{"folder", bgevl.Input{Image: bgevl.ImageFile(dir)}, nil, "not a regular file"},
		{"no bytes", bgevl.Input{Image: bgevl.ImageBytes(nil)}, bgevl.ErrImage, "image: "},
		{"no picture", bgevl.Input{Image: bgevl.ImageBytes([]byte("GIF, or is it"))}, bgevl.ErrImage, "image: "},
		{"cut short", bgevl.Input{Image: bgevl.ImageBytes(good[:len(good)/2])}, bgevl.ErrImage, "image: "},
		{"one pixel", bgevl.Input{Image: bgevl.ImageBytes(one.Bytes())}, bgevl.ErrImage, "1x1"},
		{"side", bgevl.Input{Image: bgevl.ImageBytes(wide.Bytes())}, bgevl.ErrTooLarge, "4096"},
		{"pixels", bgevl.Input{Image: bgevl.ImageBytes(large.Bytes())}, bgevl.ErrTooLarge, "1500"},
		{"bytes", bgevl.Input{Image: bgevl.ImageBytes(make([]byte, 1<<16+1))}, bgevl.ErrTooLarge, "65536 bytes"},
		{"endless", bgevl.Input{Image: bgevl.ImageReader(endless{})}, bgevl.ErrTooLarge, "65536 bytes"},
		{"broken reader", bgevl.Input{Image: bgevl.ImageReader(iotest.ErrReader(io.ErrClosedPipe))}, io.ErrClosedPipe, "image: "},
		{"panicking reader", bgevl.Input{Image: bgevl.ImageReader(panicking{})}, nil, "panic"},
		{"spent reader", bgevl.Input{Image: spent}, nil, "another input"},
		{"no image in Image", bgevl.Input{Image: &bgevl.Image{}}, nil, "ImageFile"},
	}
	inputs := []bgevl.Input{{Text: new("first")}}
	for _, c := range cases {
		c.in.ID = c.name
		inputs = append(inputs, c.in, bgevl.Input{Image: bgevl.ImageBytes(good)})
	}
	rows, err := e.Embed(context.Background(), inputs)
	require.Error(t, err)
	require.Len(t, rows, len(inputs))
	failures := map[int]*bgevl.InputError{}
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	for _, one := range joined.Unwrap() {
		failure, ok := errors.AsType[*bgevl.InputError](one)
		require.True(t, ok)
		failures[failure.Index] = failure
	}
	assert.Len(t, failures, len(cases))
	want := embed(t, e, bgevl.Input{Image: bgevl.ImageBytes(good)})[0]
	for i, c := range cases {
		failure := failures[1+2*i]
		if !assert.NotNil(t, failure, c.name) {
			continue
		}
		assert.Nil(t, rows[1+2*i], c.name)
		assert.Equal(t, c.name, failure.ID)
		assert.ErrorContains(t, failure, fmt.Sprintf("input %d (%s): ", 1+2*i, c.name))
		assert.ErrorContains(t, failure, c.match, c.name)
		if c.is != nil {
			assert.ErrorIs(t, failure, c.is, c.name)
		}
		assert.Greater(t, dot(want, rows[2+2*i]), minCosSplit, "the good input after %q", c.name)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a reader's own fault") }

func TestTruncate(t *testing.T) {
	long, fits := strings.Repeat("cat ", 30), strings.Repeat("cat ", cliptest.Context-2)
	e := open(t, cliptest.New(), &bgevl.Options{Truncate: true})
	results, err := e.EmbedResults(context.Background(), []bgevl.Input{{Text: &long, ID: "long"}, {Text: &fits}})
	require.NoError(t, err)
	assert.Equal(t, bgevl.Result{Index: 0, ID: "long", Embedding: results[0].Embedding, Tokens: 32, Truncated: true}, results[0])
	assert.Equal(t, bgevl.Result{Index: 1, Embedding: results[1].Embedding, Tokens: cliptest.Context}, results[1])
	assert.Greater(t, dot(results[0].Embedding, results[1].Embedding), minCosSplit)
}

// TestDamagedWeights is row 22 of the reliability scoreboard: no NaN, no infinity and no zero vector comes out.
func TestDamagedWeights(t *testing.T) {
	both := bgevl.Input{Text: new(""), Image: bgevl.ImageFrom(image.NewRGBA(image.Rect(0, 0, 64, 64)))} // empty, black
	t.Run("NaN", func(t *testing.T) {
		f := cliptest.New()
		f.Fill("visual_projection.weight", float32(math.NaN()))
		rows, err := open(t, f, nil).Embed(context.Background(), []bgevl.Input{{Text: new("a")}, both, {Text: new("b")}})
		require.ErrorIs(t, err, bgevl.ErrNonFinite)
		assert.ErrorContains(t, err, "input 1: image: ")
		assert.Nil(t, rows[1])
		assert.NotNil(t, rows[0])
		assert.NotNil(t, rows[2])
	})
	t.Run("zero", func(t *testing.T) {
		f := cliptest.New()
		f.Fill("text_projection.weight", 0)
		e := open(t, f, nil)
		rows, err := e.Embed(context.Background(), []bgevl.Input{{Text: new("a")}, both})
		require.ErrorIs(t, err, bgevl.ErrZero)
		assert.Nil(t, rows[0])
		assert.NotNil(t, rows[1], "the image has a direction")
	})
	t.Run("sum overflows", func(t *testing.T) {
		f := cliptest.New()
		f.Fill("t.post_ln.weight", 0)
		f.Fill("t.post_ln.bias", 1)
		f.Fill("text_projection.weight", math.MaxFloat32/2/cliptest.TextWidth*1.5)
		f.Fill("v.post_ln.weight", 0)
		f.Fill("v.post_ln.bias", 1)
		f.Fill("visual_projection.weight", math.MaxFloat32/2/cliptest.VisionWidth*1.5)
		rows, err := open(t, f, nil).Embed(context.Background(), []bgevl.Input{{Text: new("a")}, both})
		require.ErrorIs(t, err, bgevl.ErrNonFinite)
		assert.Nil(t, rows[1])
		require.NotNil(t, rows[0], "large features have a direction")
		assert.InDelta(t, 1, bgevl.Score(rows[0], rows[0]), 1e-6)
	})
	t.Run("whole", func(t *testing.T) { embed(t, open(t, cliptest.New(), nil), both) })
}

// TestSplits is row 19 of the reliability scoreboard, at the level of inputs.
func TestSplits(t *testing.T) {
	const n = 16
	inputs := mixed(t, n)
	var reference [][]float32
	for _, threads := range []int{1, 2} {
		for _, batch := range []int{1, 2, 3, 5, 8, 16} { // package clip's own test has every size
			e := open(t, cliptest.New(), &bgevl.Options{Threads: threads, BatchSize: batch})
			order := rand.New(rand.NewPCG(1, uint64(batch))).Perm(n)
			shuffled := make([]bgevl.Input, n)
			for i, from := range order {
				shuffled[i] = inputs[from]
			}
			first, again := embed(t, e, shuffled...), embed(t, e, shuffled...)
			require.Equal(t, first, again, "a repeat is the same to the bit")
			rows := make([][]float32, n)
			for i, from := range order {
				rows[from] = first[i]
			}
			if reference == nil {
				reference = rows
			}
			for i := range rows {
				require.Greater(t, dot(reference[i], rows[i]), minCosSplit, "batch %d, threads %d, row %d", batch, threads, i)
			}
		}
	}
}

func TestRank(t *testing.T) {
	assert.Equal(t, []bgevl.Ranked{{2, 1}, {0, 0.5}, {4, 0.5}, {3, -1}},
		bgevl.Rank([]float32{1, 0}, [][]float32{{0.5, 9}, nil, {1, 0}, {-1, 0}, {0.5, -9}}))
	assert.Empty(t, bgevl.Rank([]float32{1}, nil))
	assert.Panics(t, func() { bgevl.Score([]float32{1}, []float32{1, 2}) })
}

func TestEmbedderRank(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	ctx := context.Background()
	candidates := slices.Insert(mixed(t, 6), 2, bgevl.Input{})
	query := candidates[4]
	query.Role = bgevl.RoleCandidate // Rank sets roles
	ranked, err := e.Rank(ctx, query, candidates)
	failure, ok := errors.AsType[*bgevl.InputError](err)
	require.True(t, ok)
	assert.Equal(t, 2, failure.Index)
	require.Len(t, ranked, 6)
	assert.Equal(t, 4, ranked[0].Index, "a candidate that is the query matches best")
	assert.InDelta(t, 1, ranked[0].Score, 1e-5)
	assert.True(t, slices.IsSortedFunc(ranked, func(a, b bgevl.Ranked) int { return int(math.Copysign(1, float64(b.Score-a.Score))) }))

	ranked, err = e.Rank(ctx, bgevl.Input{}, candidates)
	assert.ErrorIs(t, err, bgevl.ErrEmptyInput)
	assert.ErrorContains(t, err, "bgevl: query: ")
	assert.Nil(t, ranked)
}

func TestParseRole(t *testing.T) {
	for s, want := range map[string]bgevl.Role{"": bgevl.RoleQuery, "query": bgevl.RoleQuery, "candidate": bgevl.RoleCandidate, "Query": bgevl.RoleQuery} {
		got, err := bgevl.ParseRole(s)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Contains(t, []string{"query", "candidate"}, got.String())
	}
	_, err := bgevl.ParseRole("passage")
	assert.ErrorContains(t, err, "query or candidate")
}

func TestFingerprint(t *testing.T) {
	ctx := context.Background()
	e := open(t, cliptest.New(), nil)
	base, err := e.Fingerprint(ctx)
	require.NoError(t, err)
	assert.Empty(t, base.Diff(base))
	assert.Len(t, base.Sum(), 64)
	for field, change := range map[string]func(*cliptest.File){
		"model": func(f *cliptest.File) { f.Keys["bgevl.fingerprint"] = strings.Repeat("1e", 32) },
		"preprocessing": func(f *cliptest.File) {
			f.Keys["bgevl.preprocessor_config"] = strings.Replace(cliptest.Preprocessor(32), "0.48145466", "0.5", 1)
		},
		"pooling":   func(f *cliptest.File) { f.Keys["bgevl.text.eos_token_id"] = uint32(cliptest.End()) },
		"tokenizer": func(f *cliptest.File) { f.Keys["tokenizer.huggingface.json"] = " " + string(cliptest.TokenizerJSON()) },
	} {
		f := cliptest.New()
		change(f)
		other, err := open(t, f, nil).Fingerprint(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{field}, base.Diff(other))
		assert.NotEqual(t, base.Sum(), other.Sum())
	}
	closed := open(t, cliptest.New(), nil)
	require.NoError(t, closed.Close())
	_, err = closed.Fingerprint(ctx)
	require.ErrorIs(t, err, bgevl.ErrClosed)
}
