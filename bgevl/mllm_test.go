package bgevl_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/llamatest"
)

// openMLLM opens a tiny model with its projector.
func openMLLM(t testing.TB, o *bgevl.Options) *bgevl.Embedder {
	t.Helper()
	return openAt(t, llamatest.Write(t, llamatest.Model(), llamatest.Projector()), o)
}

func openAt(t testing.TB, path string, o *bgevl.Options) *bgevl.Embedder {
	t.Helper()
	if o == nil {
		o = &bgevl.Options{}
	}
	o.Threads = 1 // so small a model computes no faster with more, and much slower where others compute too
	e, err := bgevl.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// query and candidate are inputs of these models.
func query(instruction, text string, im *bgevl.Image) bgevl.Input {
	return bgevl.Input{Text: &text, Image: im, Instruction: &instruction}
}

func candidate(text string) bgevl.Input {
	return bgevl.Input{Text: &text, Role: bgevl.RoleCandidate}
}

// mixedMLLM returns n inputs of both roles: texts, images and both, with one of two instructions or none.
func mixedMLLM(t testing.TB, n int) []bgevl.Input {
	inputs := make([]bgevl.Input, n)
	for i := range inputs {
		in := &inputs[i]
		if i%4 == 1 {
			in.Role = bgevl.RoleCandidate
		} else if i%5 != 0 {
			in.Instruction = new([]string{"Find it: ", "Describe it."}[i%2])
		}
		if i%3 != 1 {
			in.Text = new(fmt.Sprintf("the cat %d", i))
		}
		if i%3 != 0 {
			in.Image = bgevl.ImageBytes(picture(t, i%7))
		}
	}
	return inputs
}

func TestMLLMOpen(t *testing.T) {
	path := llamatest.Write(t, llamatest.Model(), llamatest.Projector())
	e := openAt(t, path, nil)
	info := e.Info()
	assert.Positive(t, info.Parameters)
	assert.NotEmpty(t, info.Device)
	info.Parameters, info.Device, info.DeviceLayers = 0, "", 0
	assert.Equal(t, bgevl.Info{Family: "mllm", Name: "tiny", Path: path, Type: "f32", Dim: llamatest.Width, Context: llamatest.Context,
		ImageSize: llamatest.TileSize, Instructions: true, Projector: filepath.Join(filepath.Dir(path), "mmproj-tiny.gguf")}, info)

	elsewhere := llamatest.WriteTo(t, llamatest.Projector(), t.TempDir(), "vision.gguf")
	path = llamatest.Write(t, llamatest.Model(), nil)
	assert.Equal(t, elsewhere, openAt(t, path, &bgevl.Options{Projector: elsewhere}).Info().Projector)
	assert.Empty(t, openAt(t, path, nil).Info().Projector)
	assert.Equal(t, 100, openAt(t, path, &bgevl.Options{Context: 100}).Info().Context)
}

// TestMLLMOpenRefuses: each error names the file at fault and the remedy.
func TestMLLMOpenRefuses(t *testing.T) {
	whole := func() (model, projector *llamatest.File) { return llamatest.Model(), llamatest.Projector() }
	for name, c := range map[string]struct {
		change func(model, projector *llamatest.File)
		o      bgevl.Options
		want   []string
	}{
		"template":     {func(m, _ *llamatest.File) { m.Keys["bgevl.template"] = "other" }, bgevl.Options{}, []string{"tiny.gguf", "bgevl.template", "newer version"}},
		"foreign":      {func(_, p *llamatest.File) { p.Keys["bgevl.fingerprint"] = strings.Repeat("0a", 32) }, bgevl.Options{}, []string{"tiny.gguf", "mmproj-tiny.gguf", "another checkpoint", "convert"}},
		"no projector": {nil, bgevl.Options{Projector: "none.gguf"}, []string{"none.gguf", "no such file"}},
		"context":      {nil, bgevl.Options{Context: llamatest.Context + 1}, []string{"301", "300"}},
		"bad context":  {nil, bgevl.Options{Context: -1}, []string{"Context: want 0 to"}},
		"bad cache":    {nil, bgevl.Options{ImageCacheBytes: -1}, []string{"ImageCacheBytes: want 0 to"}},
		"no image token": {func(m, _ *llamatest.File) {
			delete(m.Keys, "bgevl.image_token_id")
			tokens := m.Keys["tokenizer.ggml.tokens"].([]string)
			for i, token := range tokens {
				if token == "<image>" {
					tokens[i] = "<picture>"
				}
			}
		}, bgevl.Options{}, []string{"tiny.gguf", "no <image> token", "bgevl convert"}},
		"tokenizer": {func(m, _ *llamatest.File) {
			m.Drop("output.weight")
			t := m.Tensor("token_embd.weight")
			t.Shape[0] = 20
			t.Data = t.Data[:20*llamatest.Width]
			m.Keys["llama.vocab_size"] = uint32(20)
			m.Keys["bgevl.image_token_id"] = uint32(3)
		}, bgevl.Options{}, []string{"token_embd.weight", "20 rows", "convert the checkpoint again"}},
	} {
		m, p := whole()
		if c.change != nil {
			c.change(m, p)
		}
		_, err := bgevl.Open(llamatest.Write(t, m, p), &c.o)
		for _, want := range c.want {
			assert.ErrorContains(t, err, want, name)
		}
	}
	for name, remove := range map[string][]string{"bgevl's": nil, "llama.cpp's": {"bgevl.family", "bgevl.fingerprint"}} {
		p := llamatest.Projector()
		for _, key := range remove {
			delete(p.Keys, key)
		}
		path := llamatest.WriteTo(t, p, t.TempDir(), "mmproj.gguf")
		_, err := bgevl.Open(path, nil)
		assert.ErrorContains(t, err, path, name)
		assert.ErrorContains(t, err, "give the language model", name)
	}
}

// TestMLLMThirdParty opens what llama.cpp's converter writes of such a model: none of bgevl's keys.
func TestMLLMThirdParty(t *testing.T) {
	m, p := llamatest.Model(), llamatest.Projector()
	own := openAt(t, llamatest.Write(t, llamatest.Model(), llamatest.Projector()), nil)
	for _, f := range []*llamatest.File{m, p} {
		for key := range f.Keys {
			if strings.HasPrefix(key, "bgevl.") {
				delete(f.Keys, key)
			}
		}
	}
	e := openAt(t, llamatest.Write(t, m, p), nil)
	assert.Equal(t, "mllm", e.Info().Family)
	inputs := []bgevl.Input{candidate("a cat"), query("Find it.", "a cat", bgevl.ImageBytes(picture(t, 2)))}
	want, got := embed(t, own, inputs...), embed(t, e, inputs...)
	for i := range want {
		assert.Greater(t, dot(want[i], got[i]), minCosSplit)
	}
}

// TestMLLMSplits: an embedding is the same alone and in any batch and order, and a repeat is the same to the bit.
func TestMLLMSplits(t *testing.T) {
	inputs := mixedMLLM(t, 12)
	alone := make([][]float32, len(inputs))
	one := openMLLM(t, &bgevl.Options{BatchSize: 1})
	for i, in := range inputs {
		alone[i] = embed(t, one, in)[0]
	}
	for batch, cache := range map[int]int64{2: 1 << 20, 8: 0} {
		e := openMLLM(t, &bgevl.Options{BatchSize: batch, ImageCacheBytes: cache})
		order := rand.New(rand.NewPCG(2, uint64(batch))).Perm(len(inputs))
		shuffled := make([]bgevl.Input, len(inputs))
		for i, from := range order {
			shuffled[i] = inputs[from]
		}
		rows := embed(t, e, shuffled...)
		require.Equal(t, rows, embed(t, e, shuffled...))
		for i, row := range rows {
			assert.Greater(t, dot(alone[order[i]], row), minCosSplit, "batch %d, cache %d, row %d", batch, cache, i)
		}
	}
}

// TestMLLMBounded: of many pictures few are taken before one is answered, whatever the number of workers.
func TestMLLMBounded(t *testing.T) {
	const ahead = 2*2 + 2 + 1 // two batches of one picture and what may pass each, a share of the workers' room, the one asked for
	e := openMLLM(t, &bgevl.Options{Workers: 16})
	in := bgevl.Input{Image: bgevl.ImageBytes(picture(t, 1)), Role: bgevl.RoleCandidate}
	var taken atomic.Int64
	done := int64(0)
	for r, err := range e.Stream(context.Background(), func(yield func(bgevl.Input, error) bool) {
		for range 20 {
			taken.Add(1)
			if !yield(in, nil) {
				return
			}
		}
	}) {
		require.NoError(t, err)
		require.NoError(t, r.Err)
		done++
		require.LessOrEqual(t, taken.Load()-done, int64(ahead))
	}
	assert.Equal(t, int64(20), done)
}

// TestMLLMReads checks that all that an input holds is in its embedding.
func TestMLLMReads(t *testing.T) {
	e := openMLLM(t, nil)
	im, other := bgevl.ImageBytes(picture(t, 1)), bgevl.ImageBytes(picture(t, 5))
	inputs := []bgevl.Input{
		query("Find it.", "a cat", im), query("Find it.", "a cat", other), query("Find it.", "a dog", im), query("Find it!", "a cat", im),
		query("", "a cat", im), {Text: new("a cat"), Image: im}, {Text: new("a cat"), Image: im, Role: bgevl.RoleCandidate},
		query("Find it.", "a cat", nil), candidate("a cat"), {Image: im, Role: bgevl.RoleCandidate}, {Image: im},
	}
	rows := embed(t, e, inputs...)
	for i := range rows {
		for j := range i {
			assert.Less(t, dot(rows[i], rows[j]), 0.99999, "inputs %d and %d are the same to the model", i, j)
		}
	}
}

func TestMLLMWarning(t *testing.T) {
	e := openMLLM(t, nil)
	results, err := e.EmbedResults(context.Background(), []bgevl.Input{{Text: new("a cat")}, query("", "a cat", nil), candidate("a cat")})
	require.NoError(t, err)
	assert.Equal(t, bgevl.WarnNoInstruction, results[0].Warning)
	assert.Empty(t, results[1].Warning)
	assert.Empty(t, results[2].Warning)
	assert.Positive(t, results[0].Tokens)
	for _, r := range results {
		assert.NoError(t, r.Err)
	}
}

// TestMLLMBadInputs puts one of each kind of bad input among good ones.
func TestMLLMBadInputs(t *testing.T) {
	e := openMLLM(t, nil)
	im := bgevl.ImageBytes(picture(t, 1))
	long := strings.Repeat("cat ", llamatest.Context)
	for _, c := range []struct {
		name, operand string
		in            bgevl.Input
		is            error
		match         string
	}{
		{"nothing", "", bgevl.Input{}, bgevl.ErrEmptyInput, "neither"},
		{"candidate's instruction", "instruction", bgevl.Input{Text: new("a"), Role: bgevl.RoleCandidate, Instruction: new("Find it.")}, nil, "leave it out"},
		{"image's word in a text", "text", query("Find it.", "see <image> there", im), nil, "it holds <image>"},
		{"image's word in an instruction", "instruction", query("See <image>.", "a", im), nil, "it holds <image>"},
		{"text not UTF-8", "text", query("Find it.", "caf\xe9", nil), nil, "UTF-8"},
		{"instruction not UTF-8", "instruction", query("caf\xe9", "a", nil), nil, "UTF-8"},
		{"long text", "text", query("Find it.", long, nil), bgevl.ErrTooLong, "the model takes 300: shorten it"},
		{"long candidate", "text", candidate(long), bgevl.ErrTooLong, "the model takes 300: shorten it"},
		{"long instruction", "instruction", query(long, "a", nil), bgevl.ErrTooLong, "the model takes 300: shorten it"},
		{"long with an image", "text", query("Find it.", strings.Repeat("cat ", llamatest.Context-80), im), bgevl.ErrTooLong, "the model takes 300"},
		{"no file", "image none.png", bgevl.Input{Image: bgevl.ImageFile("none.png")}, os.ErrNotExist, "none.png"},
		{"no picture", "image", bgevl.Input{Image: bgevl.ImageBytes([]byte("GIF, or is it"))}, bgevl.ErrImage, ""},
	} {
		results, err := e.EmbedResults(context.Background(), []bgevl.Input{candidate("first"), c.in, candidate("last")})
		require.NoError(t, err)
		assert.NoError(t, results[0].Err, c.name)
		assert.NoError(t, results[2].Err, c.name)
		failure, ok := errors.AsType[*bgevl.InputError](results[1].Err)
		if !assert.True(t, ok, c.name) {
			continue
		}
		assert.Equal(t, c.operand, failure.Operand, c.name)
		assert.ErrorContains(t, failure, c.match, c.name)
		if c.is != nil {
			assert.ErrorIs(t, failure, c.is, c.name)
		}
	}
	one := image.NewGray(image.Rect(0, 0, 1, 1)) // the reference takes it here, unlike in CLIP models
	embed(t, e, bgevl.Input{Image: bgevl.ImageFrom(one), Role: bgevl.RoleCandidate})
}

// TestMLLMImageWord: without an image the word is a token like any other.
func TestMLLMImageWord(t *testing.T) {
	rows := embed(t, openMLLM(t, nil), candidate("see <image> there"), candidate("see there"))
	assert.Less(t, dot(rows[0], rows[1]), 0.99999)
}

func TestMLLMWithoutProjector(t *testing.T) {
	e := openAt(t, llamatest.Write(t, llamatest.Model(), nil), nil)
	_, err := e.Embed(context.Background(), []bgevl.Input{{Image: bgevl.ImageFile("a.png")}})
	require.ErrorIs(t, err, bgevl.ErrNoProjector)
	assert.ErrorContains(t, err, "input 0: image a.png: no projector: looked for ")
	assert.ErrorContains(t, err, "mmproj-tiny.gguf")
	assert.Zero(t, e.Info().ImageSize)
	want := embed(t, openMLLM(t, nil), candidate("a cat"))
	assert.Equal(t, want, embed(t, e, candidate("a cat")), "texts do not need it")
}

// TestMLLMTruncate: see TestMLLMCut for where a text is cut.
func TestMLLMTruncate(t *testing.T) {
	long := strings.Repeat("the cat on a mat ", llamatest.Context)
	e := openMLLM(t, &bgevl.Options{Truncate: true})
	inputs := []bgevl.Input{query("Find it.", long, bgevl.ImageBytes(picture(t, 1))), candidate("a cat"), query(long, "a", nil)}
	results, err := e.EmbedResults(context.Background(), inputs)
	require.NoError(t, err)
	assert.True(t, results[0].Truncated)
	assert.Greater(t, results[0].Tokens, llamatest.Context)
	assert.Len(t, results[0].Embedding, e.Dim())
	assert.False(t, results[1].Truncated)
	assert.ErrorIs(t, results[2].Err, bgevl.ErrTooLong, "an instruction is never cut")
}

func TestMLLMFingerprint(t *testing.T) {
	ctx := context.Background()
	base, err := openMLLM(t, nil).Fingerprint(ctx)
	require.NoError(t, err)
	assert.Equal(t, "mllm", base.Family)
	assert.Contains(t, base.Template, "bge-vl-mllm")
	for field, change := range map[string]func(m, p *llamatest.File){
		"model": func(_, p *llamatest.File) { delete(p.Keys, "bgevl.fingerprint") },
		"preprocessing": func(_, p *llamatest.File) {
			p.Keys["bgevl.preprocessor_config"] = strings.Replace(llamatest.Preprocessor(), "0.48145466", "0.5", 1)
		},
		"tokenizer": func(m, _ *llamatest.File) { m.Keys["tokenizer.ggml.tokens"].([]string)[0] = "<nil>" },
	} {
		m, p := llamatest.Model(), llamatest.Projector()
		change(m, p)
		if field == "model" { // a foreign file would be refused
			delete(m.Keys, "bgevl.projector_fingerprint")
		}
		other, err := openAt(t, llamatest.Write(t, m, p), nil).Fingerprint(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{field}, base.Diff(other))
	}
	without, err := openAt(t, llamatest.Write(t, llamatest.Model(), nil), nil).Fingerprint(ctx)
	require.NoError(t, err)
	assert.Contains(t, base.Diff(without), "preprocessing")
	closed := openMLLM(t, nil)
	require.NoError(t, closed.Close())
	_, err = closed.Fingerprint(ctx)
	require.ErrorIs(t, err, bgevl.ErrClosed)
}

func TestMLLMRank(t *testing.T) {
	e := openMLLM(t, nil)
	candidates := []bgevl.Input{{Text: new("a dog")}, {Image: bgevl.ImageBytes(picture(t, 2))}, {Image: bgevl.ImageFile("none.png")},
		{Text: new("a"), Instruction: new("Find it.")}}
	ranked, err := e.Rank(context.Background(), query("Find it.", "a cat", nil), candidates)
	assert.ErrorContains(t, err, "none.png")
	assert.ErrorContains(t, err, "input 3: instruction: ")
	assert.Len(t, ranked, 2)
}

// TestMLLMConcurrent shares an Embedder with its cache among goroutines.
func TestMLLMConcurrent(t *testing.T) {
	e := openMLLM(t, &bgevl.Options{Contexts: 2, BatchSize: 2, ImageCacheBytes: 1 << 16})
	inputs := mixedMLLM(t, 12)
	want := embed(t, e, inputs...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, row := range embed(t, e, inputs...) {
				assert.Greater(t, dot(want[i], row), minCosSplit)
			}
		})
	}
	wg.Wait()
}

func TestMLLMCancelAndClose(t *testing.T) {
	e := openMLLM(t, &bgevl.Options{ImageCacheBytes: 1 << 20})
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	for r, err := range e.Stream(ctx, sequence(mixedMLLM(t, 100))) {
		if n++; n == 5 {
			cancel()
		}
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		require.NoError(t, r.Err)
	}
	assert.Less(t, n, 100)
	cancel()
	require.NoError(t, e.Close())
	_, err := e.Embed(context.Background(), mixedMLLM(t, 3))
	require.ErrorIs(t, err, bgevl.ErrClosed)
}

// TestMLLMDamaged: no NaN comes out, and what is damaged on one side fails only those who need that side.
func TestMLLMDamaged(t *testing.T) {
	p := llamatest.Projector()
	zero := float32(0)
	p.Fill("model.image_newline", zero/zero)
	e := openAt(t, llamatest.Write(t, llamatest.Model(), p), nil)
	rows, err := e.Embed(context.Background(), []bgevl.Input{candidate("a"), {Image: bgevl.ImageBytes(picture(t, 1))}, candidate("b")})
	require.ErrorIs(t, err, bgevl.ErrNonFinite)
	assert.NotNil(t, rows[0])
	assert.Nil(t, rows[1])
	assert.NotNil(t, rows[2])
}
