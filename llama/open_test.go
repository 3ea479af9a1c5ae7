package llama_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bgevl/bgevl/internal/cliptest"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/llama"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a model and its projector, nil for none, for a test, which closes it.
func open(t testing.TB, model, projector *llamatest.File, o *llama.Options) *llama.Model {
	t.Helper()
	return openPath(t, llamatest.Write(t, model, projector), o)
}

// openPath opens a model with one thread unless options say otherwise: with more, small graphs spend their time waiting
// where the machine has other work.
func openPath(t testing.TB, path string, o *llama.Options) *llama.Model {
	t.Helper()
	if o == nil {
		o = &llama.Options{Threads: 1}
	}
	m, err := llama.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// whole opens the model that nothing is wrong with.
func whole(t testing.TB, o *llama.Options) *llama.Model {
	t.Helper()
	return open(t, llamatest.Model(), llamatest.Projector(), o)
}

func TestOpen(t *testing.T) {
	path := llamatest.Write(t, llamatest.Model(), llamatest.Projector())
	m := openPath(t, path, nil)
	info := m.Info()
	assert.Positive(t, info.Parameters)
	assert.Positive(t, info.ProjectorParameters)
	info.Parameters, info.ProjectorParameters = 0, 0
	assert.NotEmpty(t, info.Device)
	assert.NotEmpty(t, info.ProjectorDevice)
	info.Device, info.ProjectorDevice, info.DeviceLayers = "", "", 0
	assert.Equal(t, llama.Info{
		Name: "tiny", Type: "f32", Width: llamatest.Width, Layers: llamatest.Layers, FFN: llamatest.FFN, Heads: llamatest.Heads,
		HeadsKV: llamatest.HeadsKV, HeadWidth: llamatest.HeadWidth, Vocab: llamatest.Rows(), Trained: llamatest.Context,
		Context: llamatest.Context, ImageToken: llamatest.Image(), Family: "mllm", Pooling: "last", Template: "bge-vl-mllm",
		Projector: filepath.Join(filepath.Dir(path), "mmproj-tiny.gguf"), ProjectorType: "f32",
		TileSize: llamatest.TileSize, PatchSize: llamatest.PatchSize, TileFeatures: 16, VisionLayers: llamatest.VisionLayers,
	}, info)
	id, ok := m.ImageToken()
	assert.True(t, ok)
	assert.Equal(t, llamatest.Image(), id)
}

func TestOpenNoModel(t *testing.T) {
	_, err := llama.Open(t.TempDir()+"/none.gguf", nil)
	assert.ErrorContains(t, err, "none.gguf")
	path := llamatest.Write(t, llamatest.Model(), nil)
	for _, o := range []llama.Options{{Threads: -1}, {Contexts: -1}, {Threads: 1 << 20}, {Contexts: 1 << 20},
		{Context: -1}, {Context: llamatest.Context + 1}, {TextOnly: true, Projector: "x"}} {
		_, err := llama.Open(path, &o)
		assert.ErrorContains(t, err, "options")
	}
	f := llamatest.Model()
	f.Keys["llama.context_length"] = uint32(1 << 20)
	assert.Equal(t, 8192, open(t, f, nil, nil).Info().Context)
	assert.Equal(t, 100000, open(t, f, nil, &llama.Options{Context: 100000}).Info().Context)
}

// keysOf returns the files that a test of a key needs, and the one of them that the key belongs to.
func keysOf(key string) (model, projector, f *llamatest.File) {
	model = llamatest.Model()
	if !strings.HasPrefix(key, "clip.") {
		return model, nil, model
	}
	projector = llamatest.Projector()
	return model, projector, projector
}

// hyperparameters are the keys that hold a number which shapes the model.
func hyperparameters() []string {
	var keys []string
	for _, leaf := range []string{"block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size",
		"attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count"} {
		keys = append(keys, "llama."+leaf)
	}
	for _, leaf := range []string{"image_size", "patch_size", "embedding_length", "feed_forward_length", "block_count", "attention.head_count"} {
		keys = append(keys, "clip.vision."+leaf)
	}
	return append(keys, "bgevl.format_version", "bgevl.image_token_id", "tokenizer.ggml.eos_token_id")
}

// TestOpenHyperparameters sets each to the values that break programs. A value is either refused with a typed error
// that names the culprit, or the model works.
func TestOpenHyperparameters(t *testing.T) {
	harmless := func(key string, v any) bool {
		n := fmt.Sprint(v)
		switch key {
		case "clip.vision.attention.head_count", "bgevl.format_version":
			return n == "1" // a single head divides every width and no tensor's shape tells of it
		case "llama.context_length":
			return n == "1" || n == "255"
		case "bgevl.image_token_id", "tokenizer.ggml.eos_token_id":
			return n == "0" || n == "1" || n == "255"
		}
		return false
	}
	values := []any{uint32(0), uint32(1), int32(1), int32(-1), int32(math.MaxInt32), int32(math.MinInt32), uint32(math.MaxUint32),
		int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64), uint8(255), int8(-1), float32(2), "2", true, []uint32{2}}
	for _, key := range hyperparameters() {
		for _, v := range values {
			t.Run(fmt.Sprintf("%s=%v/%T", key, v, v), func(t *testing.T) {
				switch v.(type) {
				case float32, string, bool, []uint32:
					mustRefuse(t, key, v, key)
				default:
					if harmless(key, v) {
						mustWork(t, key, v)
					} else {
						mustRefuse(t, key, v, key)
					}
				}
			})
		}
	}
}

func TestOpenFloats(t *testing.T) {
	for _, key := range []string{"llama.attention.layer_norm_rms_epsilon", "clip.vision.attention.layer_norm_epsilon"} {
		for _, v := range []any{float32(0), float32(1), float32(-1), float32(math.MaxFloat32), float32(math.Inf(1)),
			float32(math.NaN()), float64(1e-60), uint32(1), "1e-5"} {
			mustRefuse(t, key, v, key)
		}
		mustWork(t, key, float32(1e-3))
		mustWork(t, key, float64(1e-6))
	}
	for _, v := range []any{float32(0), float32(1), float32(-1), float32(1e13), float32(math.Inf(1)), float32(math.NaN()), uint32(10000)} {
		mustRefuse(t, "llama.rope.freq_base", v, "llama.rope.freq_base")
	}
	mustWork(t, "llama.rope.freq_base", float32(5e5))
}

// mustWork checks that a model with key at v opens and computes.
func mustWork(t *testing.T, key string, v any) {
	t.Helper()
	model, projector, f := keysOf(key)
	f.Keys[key] = v
	m := open(t, model, projector, &llama.Options{Threads: 1})
	_, err := m.TokenEmbeddings(context.Background(), []int32{llamatest.BOS})
	require.NoError(t, err)
	if projector == nil {
		return
	}
	p, err := m.Preprocess(picture(30, 20))
	require.NoError(t, err)
	_, err = m.EncodePicture(context.Background(), p)
	require.NoError(t, err)
}

// mustRefuse checks that a model with key at v (or, at nil, without it) does not open, and that the error is typed and
// contains want unless a tensor is what contradicts the key.
func mustRefuse(t *testing.T, key string, v any, want string) {
	t.Helper()
	model, projector, f := keysOf(key)
	f.Keys[key] = v
	if v == nil {
		delete(f.Keys, key)
	}
	refused(t, model, projector, want)
}

func refused(t *testing.T, model, projector *llamatest.File, want string) error {
	t.Helper()
	m, err := llama.Open(llamatest.Write(t, model, projector), nil)
	if !assert.Error(t, err) {
		m.Close()
		return nil
	}
	where, ok := errors.AsType[*llama.OpenError](err)
	require.True(t, ok, "%T: %v", err, err)
	assert.Contains(t, err.Error(), where.Path)
	if tensor, ok := errors.AsType[*llama.TensorError](err); ok {
		assert.Contains(t, err.Error(), tensor.Name)
		return err
	}
	_, ok = errors.AsType[*llama.KeyError](err)
	require.True(t, ok, "%T: %v", err, err)
	assert.Contains(t, err.Error(), want)
	return err
}

func TestOpenMissingKey(t *testing.T) {
	for _, key := range []string{"general.architecture", "llama.block_count", "llama.context_length", "llama.embedding_length",
		"llama.feed_forward_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
		"clip.vision.image_size", "clip.vision.patch_size", "clip.vision.embedding_length", "clip.vision.feed_forward_length",
		"clip.vision.block_count", "clip.vision.attention.head_count", "clip.vision.attention.layer_norm_epsilon"} {
		model, projector, f := keysOf(key)
		delete(f.Keys, key)
		assert.ErrorIs(t, refused(t, model, projector, key), gguf.ErrNoKey, key)
	}
	for _, key := range []string{"clip.has_vision_encoder", "clip.has_llava_projector"} {
		mustRefuse(t, key, nil, key)
	}
	// The width of a head is the model's over the heads where nothing states it, which is another model here.
	mustRefuse(t, "llama.attention.key_length", nil, "llama.attention.value_length")
}

func TestOpenWrongKey(t *testing.T) {
	for _, c := range []struct {
		key string
		v   any
	}{
		{"general.architecture", "clip"}, {"general.architecture", "qwen2"}, {"general.architecture", uint32(1)},
		{"bgevl.family", "clip"}, {"bgevl.family", uint32(1)}, {"bgevl.pooling", "mean"}, {"bgevl.format_version", uint32(2)},
		{"bgevl.fingerprint", int64(1)}, {"bgevl.projector_fingerprint", int64(1)}, {"bgevl.embedding_only", "yes"},
		{"general.alignment", uint32(8)},
		{"llama.expert_count", uint32(8)}, {"llama.attention.sliding_window", uint32(4096)}, {"llama.attention.causal", false},
		{"llama.rope.scaling.type", "yarn"}, {"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", float32(8)},
		{"llama.attention.scale", float32(0.1)}, {"llama.logit_scale", float32(0.5)}, {"llama.logit_scale", "1"},
		{"llama.use_parallel_residual", true}, {"llama.rope.scale_linear", float32(4)},
		{"clip.has_vision_encoder", "true"}, {"clip.has_llava_projector", false}, {"clip.projector_type", "ldp"},
		{"clip.vision.feature_layer", []int32{0}}, {"clip.vision.feature_layer", []int32{3}}, {"clip.vision.feature_layer", []int32{1, 2}},
		{"clip.vision.feature_layer", []int32{}}, {"clip.vision.feature_layer", "2"},
		{"clip.vision.mm_patch_merge_type", "flat"}, {"clip.use_gelu", "no"},
	} {
		mustRefuse(t, c.key, c.v, c.key)
	}
	for key, v := range map[string]any{"llama.rope.scaling.type": "none", "llama.expert_count": uint32(0), "llama.logit_scale": float32(1)} {
		mustWork(t, key, v)
	}
}

// TestOpenTensors damages each tensor of both files.
func TestOpenTensors(t *testing.T) {
	damageEach(t, llamatest.Model, func(f *llamatest.File) (model, projector *llamatest.File) { return f, nil })
	damageEach(t, llamatest.Projector, func(f *llamatest.File) (model, projector *llamatest.File) { return llamatest.Model(), f })
	f := llamatest.Model()
	f.Tensors = append(f.Tensors, f.Tensors[1])
	f.Tensors[len(f.Tensors)-1].Name = "rope_freqs.weight"
	assert.ErrorContains(t, refused(t, f, nil, ""), "tensor rope_freqs.weight: unknown")
}

func damageEach(t *testing.T, file func() *llamatest.File, beside func(*llamatest.File) (model, projector *llamatest.File)) {
	for _, tensor := range file().Tensors {
		damage := func(t *testing.T, do func(f *llamatest.File)) error {
			f := file()
			do(f)
			model, projector := beside(f)
			return refused(t, model, projector, "")
		}
		t.Run(tensor.Name, func(t *testing.T) {
			if tensor.Name != "output.weight" {
				err := damage(t, func(f *llamatest.File) { f.Drop(tensor.Name) })
				assert.ErrorContains(t, err, "tensor "+tensor.Name+": missing")
			}
			err := damage(t, func(f *llamatest.File) {
				x := f.Tensor(tensor.Name)
				inner := len(x.Shape) - 1
				x.Data = append(x.Data, make([]float32, len(x.Data)/int(x.Shape[inner]))...)
				x.Shape[inner]++
			})
			assert.ErrorContains(t, err, tensor.Name)
			if len(tensor.Shape) < 4 { // GGUF has no fifth dimension
				_ = damage(t, func(f *llamatest.File) {
					x := f.Tensor(tensor.Name)
					x.Shape = append([]int64{1}, x.Shape...)
				})
			}
		})
	}
}

func TestOpenTokenizer(t *testing.T) {
	f := llamatest.Model()
	rows := int64(llamatest.Rows() - llamatest.SpareRows - 1)
	delete(f.Keys, "llama.vocab_size")
	for _, name := range []string{"token_embd.weight", "output.weight"} {
		x := f.Tensor(name)
		x.Shape[0], x.Data = rows, x.Data[:rows*x.Shape[1]]
	}
	f.Keys["bgevl.image_token_id"] = uint32(5)
	err := refused(t, f, nil, "")
	assert.ErrorContains(t, err, fmt.Sprintf("has %d rows, but the tokenizer has %d tokens", rows, rows+1))

	f = llamatest.Model()
	f.Keys["tokenizer.huggingface.json"] = "{}"
	_, err = llama.Open(f.Write(t), nil)
	assert.ErrorContains(t, err, "tokenizer")
}

// TestOpenForeign opens files as other converters write them: without the project's own keys, and without those that
// have a default.
func TestOpenForeign(t *testing.T) {
	model, projector := llamatest.Model(), llamatest.Projector()
	for _, f := range []*llamatest.File{model, projector} {
		for key := range f.Keys {
			if strings.HasPrefix(key, "bgevl.") {
				delete(f.Keys, key)
			}
		}
	}
	for _, key := range []string{"llama.vocab_size", "llama.attention.value_length", "llama.rope.dimension_count"} {
		delete(model.Keys, key)
	}
	projector.Tensors = append(projector.Tensors, *projector.Tensor("v.pre_ln.bias"))
	projector.Tensors[len(projector.Tensors)-1].Name = "v.post_ln.bias" // nothing reads it
	m := open(t, model, projector, nil)
	ours := whole(t, nil)
	for _, size := range [][2]int{{40, 30}, {9, 50}} {
		assert.Equal(t, spanStates(t, ours, size[0], size[1]), spanStates(t, m, size[0], size[1]))
	}
	id, ok := m.ImageToken()
	assert.True(t, ok, "found by its spelling")
	assert.Equal(t, llamatest.Image(), id)

	delete(projector.Keys, "clip.vision.image_grid_pinpoints")
	assert.ErrorContains(t, refused(t, model, projector, "clip.vision.image_grid_pinpoints"), "LLaVA-NeXT")
	projector.Keys["clip.vision.image_grid_pinpoints"] = []int32{24, 24, 48}
	refused(t, model, projector, "clip.vision.image_grid_pinpoints")
	projector.Keys["clip.vision.image_grid_pinpoints"] = []int32{24, 25}
	refused(t, model, projector, "image_grid_pinpoints")
}

// TestOpenPlainAttention opens a model whose files state no more than the heads: keys have as many as queries, and a head
// its share of the width.
func TestOpenPlainAttention(t *testing.T) {
	f := llamatest.Model()
	for _, key := range []string{"llama.attention.head_count_kv", "llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count"} {
		delete(f.Keys, key)
	}
	for i := range llamatest.Layers {
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			x := f.Tensor(fmt.Sprintf("blk.%d.%s.weight", i, name))
			x.Shape, x.Data = []int64{llamatest.Width, llamatest.Width}, make([]float32, llamatest.Width*llamatest.Width)
		}
	}
	info := open(t, f, nil, nil).Info()
	assert.Equal(t, llamatest.Heads, info.HeadsKV)
	assert.Equal(t, llamatest.Width/llamatest.Heads, info.HeadWidth)
}

// TestFeatureLayer leaves out the layers behind the one whose state the features are.
func TestFeatureLayer(t *testing.T) {
	features := func(blocks uint32, layer any) []float32 {
		f := llamatest.Projector()
		f.Keys["clip.vision.block_count"] = blocks
		if layer != nil {
			f.Keys["clip.vision.feature_layer"] = layer
		}
		if blocks == 1 {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(x cliptest.Tensor) bool { return strings.HasPrefix(x.Name, "v.blk.1.") })
		}
		m := open(t, llamatest.Model(), f, nil)
		assert.Equal(t, llamatest.TileSize, m.Info().TileSize)
		return encoded(t, m, 30, 30)
	}
	assert.Equal(t, features(2, nil), features(2, []int32{2}))
	assert.Equal(t, features(1, nil), features(2, []int32{1}))
	assert.NotEqual(t, features(1, nil), features(2, nil))
}

func TestProjectorFound(t *testing.T) {
	dir := t.TempDir()
	path := llamatest.WriteTo(t, llamatest.Model(), dir, "tiny-q8_0.gguf")
	none := openPath(t, path, nil)
	assert.Empty(t, none.Info().Projector)
	_, err := none.Preprocess(picture(30, 30))
	require.ErrorIs(t, err, llama.ErrNoProjector)
	assert.ErrorContains(t, err, filepath.Join(dir, "mmproj-tiny-q8_0.gguf"))
	assert.ErrorContains(t, err, "convert the checkpoint again")
	_, err = none.EncodePicture(context.Background(), nil)
	require.ErrorIs(t, err, llama.ErrNoProjector)

	// One projector serves several types of a model: it is told by its fingerprint among others.
	other := llamatest.Projector()
	other.Keys["bgevl.fingerprint"] = strings.Repeat("00", 32)
	llamatest.WriteTo(t, other, dir, "mmproj-other.gguf")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mmproj-broken.gguf"), []byte("GGUF"), 0o600))
	shared := llamatest.WriteTo(t, llamatest.Projector(), dir, "mmproj-tiny.gguf")
	assert.Equal(t, shared, openPath(t, path, nil).Info().Projector)

	// Several have the same weights: the name decides.
	llamatest.WriteTo(t, llamatest.Projector(), dir, "mmproj-tiny-f16.gguf")
	second := llamatest.WriteTo(t, llamatest.Projector(), dir, "mmproj-a.gguf")
	assert.Equal(t, shared, openPath(t, path, nil).Info().Projector)
	assert.Equal(t, second, openPath(t, path, &llama.Options{Projector: second}).Info().Projector)
	assert.Empty(t, openPath(t, path, &llama.Options{TextOnly: true}).Info().Projector)

	// Its own name goes before all.
	own := llamatest.WriteTo(t, llamatest.Projector(), dir, "mmproj-tiny-q8_0.gguf")
	assert.Equal(t, own, openPath(t, path, nil).Info().Projector)
}

// TestProjectorForeign names what does not fit together.
func TestProjectorForeign(t *testing.T) {
	for name, damage := range map[string]func(f *llamatest.File){
		"fingerprint": func(f *llamatest.File) { f.Keys["bgevl.fingerprint"] = strings.Repeat("00", 32) },
		"a model":     func(f *llamatest.File) { *f = *llamatest.Model() },
		"width": func(f *llamatest.File) {
			for _, x := range []string{"mm.0.weight", "mm.0.bias", "mm.2.weight", "mm.2.bias", "model.image_newline"} {
				f.Fill(x, 1)
				f.Tensor(x).Shape[0]--
				n := int64(1)
				for _, d := range f.Tensor(x).Shape {
					n *= d
				}
				f.Tensor(x).Data = f.Tensor(x).Data[:n]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := llamatest.Projector()
			damage(f)
			path := llamatest.Write(t, llamatest.Model(), f)
			_, err := llama.Open(path, nil)
			foreign, ok := errors.AsType[*llama.ProjectorError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, path, foreign.Model)
			for _, part := range []string{path, "mmproj-tiny.gguf", "convert the checkpoint again", "name the right projector"} {
				assert.ErrorContains(t, err, part)
			}
		})
	}
	t.Run("damaged", func(t *testing.T) {
		path := llamatest.Write(t, llamatest.Model(), nil)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "mmproj-tiny.gguf"), []byte("GGUF and no more"), 0o600))
		_, err := llama.Open(path, nil)
		_, ok := errors.AsType[*llama.ProjectorError](err)
		require.True(t, ok, "%v", err)
		openPath(t, path, &llama.Options{TextOnly: true})
		_, err = llama.Open(path, &llama.Options{Projector: path + ".none"})
		assert.ErrorContains(t, err, ".none")
	})
}

func TestIdentity(t *testing.T) {
	ctx := context.Background()
	base, err := whole(t, nil).Identity(ctx)
	require.NoError(t, err)
	assert.Equal(t, llamatest.Model().Keys["bgevl.fingerprint"], base.Weights)
	assert.Equal(t, llamatest.Fingerprint, base.Projector)
	for name, change := range map[string]func(model, projector *llamatest.File){
		"weights": func(m, _ *llamatest.File) { m.Keys["bgevl.fingerprint"] = strings.Repeat("1e", 32) },
		"projector": func(m, p *llamatest.File) {
			m.Keys["bgevl.projector_fingerprint"] = strings.Repeat("1e", 32)
			p.Keys["bgevl.fingerprint"] = strings.Repeat("1e", 32)
		},
		"preprocessing": func(_, p *llamatest.File) {
			p.Keys["bgevl.preprocessor_config"] = strings.Replace(llamatest.Preprocessor(), "0.48145466", "0.5", 1)
		},
		"tokenizer": func(m, _ *llamatest.File) { m.Keys["tokenizer.ggml.tokens"].([]string)[300] = "▁xyz" },
	} {
		model, projector := llamatest.Model(), llamatest.Projector()
		change(model, projector)
		id, err := open(t, model, projector, nil).Identity(ctx)
		require.NoError(t, err)
		assert.NotEqual(t, base, id, name)
	}
	spaced := llamatest.Projector()
	spaced.Keys["bgevl.preprocessor_config"] = strings.ReplaceAll(llamatest.Preprocessor(), ",", " ,\n ")
	id, err := open(t, llamatest.Model(), spaced, nil).Identity(ctx)
	require.NoError(t, err)
	assert.Equal(t, base, id, "spaces in JSON mean nothing")

	text, err := open(t, llamatest.Model(), nil, nil).Identity(ctx)
	require.NoError(t, err)
	assert.Equal(t, llama.Identity{Weights: base.Weights, Type: base.Type, Tokenizer: base.Tokenizer}, text)
}

// TestIdentityForeign takes the digests of weights that no converter recorded.
func TestIdentityForeign(t *testing.T) {
	model, projector := llamatest.Model(), llamatest.Projector()
	delete(model.Keys, "bgevl.fingerprint")
	delete(model.Keys, "bgevl.projector_fingerprint")
	delete(projector.Keys, "bgevl.fingerprint")
	m := open(t, model, projector, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := m.Identity(ctx)
	require.ErrorIs(t, err, context.Canceled)
	first, err := m.Identity(context.Background())
	require.NoError(t, err)
	model.Tensor("output_norm.weight").Data[3]++
	second, err := open(t, model, projector, nil).Identity(context.Background())
	require.NoError(t, err)
	assert.NotEqual(t, first.Weights, second.Weights)
	assert.Equal(t, first.Projector, second.Projector)
}
