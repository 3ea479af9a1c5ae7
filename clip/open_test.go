package clip_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/cliptest"
	"github.com/bgevl/bgevl/internal/gguf"
)

// open opens a model for a test, which closes it.
func open(t testing.TB, f *cliptest.File, o *clip.Options) *clip.Model {
	t.Helper()
	m, err := clip.Open(f.Write(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

func TestOpen(t *testing.T) {
	m := open(t, cliptest.New(), nil)
	info := m.Info()
	assert.Positive(t, info.Parameters)
	assert.NotEmpty(t, info.Device)
	info.Parameters, info.Device, info.DeviceLayers = 0, "", 0
	assert.Equal(t, clip.Info{
		Name: "tiny", Type: "f32", Dim: cliptest.Projection, Context: cliptest.Context, Vocab: cliptest.VocabSize(),
		ImageSize: cliptest.ImageSize, PatchSize: cliptest.PatchSize,
		Text:   clip.Tower{Layers: 2, Width: cliptest.TextWidth, FFN: cliptest.TextFFN, Heads: cliptest.TextHeads},
		Vision: clip.Tower{Layers: 2, Width: cliptest.VisionWidth, FFN: cliptest.VisionFFN, Heads: cliptest.VisionHeads},
	}, info)
	assert.Equal(t, 3*cliptest.ImageSize*cliptest.ImageSize, m.PixelCount())
}

func TestOpenNoModel(t *testing.T) {
	_, err := clip.Open(t.TempDir()+"/none.gguf", nil)
	assert.ErrorContains(t, err, "none.gguf")
	for _, o := range []clip.Options{{Threads: -1}, {Contexts: -1}, {Threads: 1 << 20}, {Contexts: 1 << 20}} {
		_, err := clip.Open(cliptest.New().Write(t), &o)
		assert.ErrorContains(t, err, "options")
	}
}

// hyperparameters are the keys that hold a number which shapes the model.
func hyperparameters() []string {
	keys := []string{"clip.text.context_length", "clip.text.projection_dim", "clip.vision.image_size",
		"clip.vision.patch_size", "clip.vision.projection_dim", "bgevl.format_version", "bgevl.text.eos_token_id"}
	for _, tower := range []string{"clip.text.", "clip.vision."} {
		for _, leaf := range []string{"embedding_length", "feed_forward_length", "block_count", "attention.head_count"} {
			keys = append(keys, tower+leaf)
		}
	}
	return keys
}

// TestOpenHyperparameters sets each to the values that break programs. A value is either refused with a typed error
// that names the culprit, or the model works.
func TestOpenHyperparameters(t *testing.T) {
	// A single head divides every width and no tensor's shape tells of it.
	harmless := map[string]bool{
		"clip.text.attention.head_count=1": true, "clip.vision.attention.head_count=1": true, "bgevl.format_version=1": true,
	}
	values := []any{uint32(0), uint32(1), int32(1), int32(-1), int32(math.MaxInt32), int32(math.MinInt32), uint32(math.MaxUint32),
		int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64), uint8(255), int8(-1), float32(2), "2", true, []uint32{2}}
	for _, key := range hyperparameters() {
		for _, v := range values {
			name := fmt.Sprintf("%s=%v", key, v)
			t.Run(fmt.Sprintf("%s/%T", name, v), func(t *testing.T) {
				_, whole := v.(uint32)
				if _, signed := v.(int32); harmless[name] && (whole || signed) {
					mustWork(t, key, v)
				} else {
					mustRefuse(t, key, v, key)
				}
			})
		}
	}
}

func TestOpenEpsilon(t *testing.T) {
	for _, key := range []string{"clip.text.attention.layer_norm_epsilon", "clip.vision.attention.layer_norm_epsilon"} {
		for _, v := range []any{float32(0), float32(1), float32(-1), float32(math.MaxFloat32), float32(math.Inf(1)),
			float32(math.NaN()), float64(1e-60), uint32(1), "1e-5"} {
			mustRefuse(t, key, v, key)
		}
		mustWork(t, key, float32(1e-3))
		mustWork(t, key, float64(1e-6))
	}
}

func mustWork(t *testing.T, key string, v any) {
	t.Helper()
	f := cliptest.New()
	f.Keys[key] = v
	m := open(t, f, &clip.Options{Threads: 1})
	dst := make([]float32, m.Dim())
	require.NoError(t, m.EncodeText(context.Background(), []string{"the cat"}, dst))
	require.NoError(t, m.EncodeImage(context.Background(), make([]float32, m.PixelCount()), dst))
}

// mustRefuse checks that a model with key at v (or, at nil, without it) does not open, and that the error is typed and
// contains want unless a tensor is what contradicts the key.
func mustRefuse(t *testing.T, key string, v any, want string) {
	t.Helper()
	f := cliptest.New()
	f.Keys[key] = v
	if v == nil {
		delete(f.Keys, key)
	}
	refused(t, f, want)
}

func refused(t *testing.T, f *cliptest.File, want string) error {
	t.Helper()
	m, err := clip.Open(f.Write(t), nil)
	if !assert.Error(t, err) {
		m.Close()
		return nil
	}
	where, ok := errors.AsType[*clip.OpenError](err)
	require.True(t, ok, "%T: %v", err, err)
	assert.Contains(t, err.Error(), where.Path)
	if tensor, ok := errors.AsType[*clip.TensorError](err); ok {
		assert.Contains(t, err.Error(), tensor.Name)
		return err
	}
	_, ok = errors.AsType[*clip.KeyError](err)
	require.True(t, ok, "%T: %v", err, err)
	assert.Contains(t, err.Error(), want)
	return err
}

func TestOpenMissingKey(t *testing.T) {
	keys := []string{"general.architecture", "clip.has_text_encoder", "clip.has_vision_encoder",
		"clip.text.attention.layer_norm_epsilon", "clip.vision.attention.layer_norm_epsilon"}
	for _, key := range append(keys, hyperparameters()...) {
		if strings.HasPrefix(key, "bgevl.") {
			continue // what other converters do not write has a default
		}
		f := cliptest.New()
		delete(f.Keys, key)
		err := refused(t, f, key)
		if !strings.Contains(key, "has_") {
			assert.ErrorIs(t, err, gguf.ErrNoKey, key)
		}
	}
}

func TestOpenWrongKey(t *testing.T) {
	for _, c := range []struct {
		key string
		v   any
	}{
		{"general.architecture", "llama"}, {"general.architecture", uint32(1)}, {"general.architecture", ""},
		{"bgevl.family", "mllm"}, {"bgevl.family", uint32(1)}, {"bgevl.pooling", "last"}, {"bgevl.format_version", uint32(2)},
		{"clip.has_text_encoder", false}, {"clip.has_vision_encoder", false}, {"clip.has_vision_encoder", "true"},
		{"clip.use_gelu", "no"}, {"general.alignment", uint32(8)},
		{"bgevl.preprocessor_config", "{"}, {"bgevl.preprocessor_config", uint32(1)},
		{"bgevl.preprocessor_config", cliptest.Preprocessor(2 * cliptest.ImageSize)},
	} {
		mustRefuse(t, c.key, c.v, c.key)
	}
}

func TestOpenTokenizer(t *testing.T) {
	t.Run("more tokens than rows", func(t *testing.T) {
		f := cliptest.New()
		rows := f.Tensor("t.token_embd.weight")
		rows.Shape[0]--
		rows.Data = rows.Data[:rows.Shape[0]*rows.Shape[1]]
		err := refused(t, f, "")
		assert.ErrorContains(t, err, "another model")
	})
	t.Run("other end of text", func(t *testing.T) {
		mustRefuse(t, "bgevl.text.eos_token_id", uint32(7), "bgevl.text.eos_token_id")
		mustRefuse(t, "bgevl.text.eos_token_id", uint32(cliptest.VocabSize()), "bgevl.text.eos_token_id")
	})
	t.Run("damaged", func(t *testing.T) {
		f := cliptest.New()
		f.Keys["tokenizer.huggingface.json"] = "{}"
		_, err := clip.Open(f.Write(t), nil)
		assert.ErrorContains(t, err, "tokenizer")
	})
}

func TestOpenTensors(t *testing.T) {
	for _, tensor := range cliptest.New().Tensors {
		t.Run(tensor.Name, func(t *testing.T) {
			t.Run("missing", func(t *testing.T) {
				f := cliptest.New()
				f.Drop(tensor.Name)
				assert.ErrorContains(t, refused(t, f, ""), "tensor "+tensor.Name+": missing")
			})
			t.Run("longer", func(t *testing.T) {
				f := cliptest.New()
				x := f.Tensor(tensor.Name)
				inner := len(x.Shape) - 1
				x.Data = append(x.Data, make([]float32, len(x.Data)/int(x.Shape[inner]))...)
				x.Shape[inner]++
				err := refused(t, f, "")
				assert.ErrorContains(t, err, tensor.Name)
			})
			t.Run("one more dimension", func(t *testing.T) {
				f := cliptest.New()
				x := f.Tensor(tensor.Name)
				if len(x.Shape) == 4 {
					t.Skip("GGUF has no fifth dimension")
				}
				x.Shape = append([]int64{1}, x.Shape...)
				refused(t, f, "")
			})
		})
	}
}

func TestOpenTensorMessage(t *testing.T) {
	f := cliptest.New()
	x := f.Tensor("v.blk.1.attn_q.weight")
	x.Shape = []int64{cliptest.VisionWidth, 40}
	x.Data = x.Data[:cliptest.VisionWidth*40]
	assert.ErrorContains(t, refused(t, f, ""), "tensor v.blk.1.attn_q.weight: want 48x48, got 48x40")
}

func TestOpenUnknownTensor(t *testing.T) {
	f := cliptest.New()
	f.Tensors = append(f.Tensors, cliptest.Tensor{Name: "v.blk.2.ln1.weight", Shape: []int64{48}, Data: make([]float32, 48)})
	assert.ErrorContains(t, refused(t, f, ""), "tensor v.blk.2.ln1.weight: unknown")
}

// TestOpenSwapped opens a file as old converters wrote it, with the feed-forward layers' names exchanged.
func TestOpenSwapped(t *testing.T) {
	f := cliptest.New()
	for i := range f.Tensors {
		name := &f.Tensors[i].Name
		switch {
		case strings.Contains(*name, "ffn_up"):
			*name = strings.Replace(*name, "ffn_up", "ffn_down", 1)
		case strings.Contains(*name, "ffn_down"):
			*name = strings.Replace(*name, "ffn_down", "ffn_up", 1)
		}
	}
	assert.Equal(t, features(t, open(t, cliptest.New(), nil)), features(t, open(t, f, nil)))

	// Exchanged in one layer only is no converter's file.
	f.Tensor("t.blk.1.ffn_up.weight").Name = "x"
	f.Tensor("t.blk.1.ffn_down.weight").Name = "t.blk.1.ffn_up.weight"
	f.Tensor("x").Name = "t.blk.1.ffn_down.weight"
	assert.ErrorContains(t, refused(t, f, ""), "t.blk.1.ffn_")
}

// features returns those of a text and of an image, one after the other.
func features(t testing.TB, m *clip.Model) []float32 {
	t.Helper()
	dst := make([]float32, 2*m.Dim())
	require.NoError(t, m.EncodeText(context.Background(), []string{"the cat on the dog"}, dst[:m.Dim()]))
	require.NoError(t, m.EncodeImage(context.Background(), picture(m, 1), dst[m.Dim():]))
	return dst
}

// picture returns the pixels of a picture that differs with seed.
func picture(m *clip.Model, seed int) []float32 {
	pixels := make([]float32, m.PixelCount())
	for i := range pixels {
		pixels[i] = float32(math.Sin(float64(i*seed)*0.37 + float64(seed)))
	}
	return pixels
}

// TestOpenForeign opens a file as other converters write it: without the project's own keys.
func TestOpenForeign(t *testing.T) {
	f := cliptest.New()
	for key := range f.Keys {
		if strings.HasPrefix(key, "bgevl.") {
			delete(f.Keys, key)
		}
	}
	m := open(t, f, nil)
	assert.Equal(t, features(t, open(t, cliptest.New(), nil)), features(t, m))

	delete(f.Keys, "clip.vision.image_std")
	refused(t, f, "clip.vision.image_std")
}

func TestIdentity(t *testing.T) {
	ctx := context.Background()
	base, err := open(t, cliptest.New(), nil).Identity(ctx)
	require.NoError(t, err)
	assert.Equal(t, cliptest.New().Keys["bgevl.fingerprint"], base.Weights)

	changes := map[string]func(*cliptest.File){
		"weights": func(f *cliptest.File) { f.Keys["bgevl.fingerprint"] = strings.Repeat("1e", 32) },
		"preprocessing": func(f *cliptest.File) {
			f.Keys["bgevl.preprocessor_config"] = strings.Replace(cliptest.Preprocessor(32), "0.48145466", "0.5", 1)
		},
		"pooling": func(f *cliptest.File) { f.Keys["bgevl.text.eos_token_id"] = uint32(cliptest.End()) },
		"tokenizer": func(f *cliptest.File) {
			f.Keys["tokenizer.huggingface.json"] = strings.Replace(string(cliptest.TokenizerJSON()), `"NFC"`, `"NFC" `, 1)
		},
	}
	for name, change := range changes {
		f := cliptest.New()
		change(f)
		id, err := open(t, f, nil).Identity(ctx)
		require.NoError(t, err)
		assert.NotEqual(t, base, id, name)
	}

	spaced := cliptest.New()
	spaced.Keys["bgevl.preprocessor_config"] = strings.ReplaceAll(cliptest.Preprocessor(32), ",", " ,\n ")
	id, err := open(t, spaced, nil).Identity(ctx)
	require.NoError(t, err)
	assert.Equal(t, base, id, "spaces in JSON mean nothing")
}

// TestIdentityForeign takes the digest of weights that no converter recorded.
func TestIdentityForeign(t *testing.T) {
	f := cliptest.New()
	delete(f.Keys, "bgevl.fingerprint")
	m := open(t, f, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := m.Identity(ctx)
	require.ErrorIs(t, err, context.Canceled)
	first, err := m.Identity(context.Background())
	require.NoError(t, err)
	f.Tensor("v.post_ln.bias").Data[3]++
	second, err := open(t, f, nil).Identity(context.Background())
	require.NoError(t, err)
	assert.NotEqual(t, first.Weights, second.Weights)
}
