package convert_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/testenv"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// toGGUF converts a CLIP checkpoint to one file and opens that.
func toGGUF(t *testing.T, dir string, o *convert.Options) (*gguf.File, convert.File) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model.gguf")
	r, err := convert.Run(t.Context(), dir, out, o)
	require.NoError(t, err)
	require.Equal(t, "clip", r.Family)
	require.Positive(t, r.Duration)
	require.Len(t, r.Files, 1)
	require.Equal(t, out, r.Files[0].Path)
	return openMade(t, r.Files[0]), r.Files[0]
}

// openMade opens a file that was made and holds what is said of it against it.
func openMade(t *testing.T, made convert.File) *gguf.File {
	t.Helper()
	f, err := gguf.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	info, err := os.Stat(made.Path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), made.Bytes)
	require.Len(t, f.Tensors(), made.Tensors)
	types := map[string]int{}
	for _, one := range f.Tensors() {
		types[one.Type.String()]++
	}
	require.Equal(t, types, made.Types)
	fingerprint, err := f.String("bgevl.fingerprint")
	require.NoError(t, err)
	require.Equal(t, made.Fingerprint, fingerprint)
	return f
}

// ggufNames says independently what the hub's names become.
func ggufName(hub string) string {
	exact := map[string]string{
		"text_model.embeddings.token_embedding.weight":      "t.token_embd.weight",
		"text_model.embeddings.position_embedding.weight":   "t.position_embd.weight",
		"text_model.final_layer_norm.weight":                "t.post_ln.weight",
		"text_model.final_layer_norm.bias":                  "t.post_ln.bias",
		"text_projection.weight":                            "text_projection.weight",
		"vision_model.embeddings.class_embedding":           "v.class_embd",
		"vision_model.embeddings.patch_embedding.weight":    "v.patch_embd.weight",
		"vision_model.embeddings.position_embedding.weight": "v.position_embd.weight",
		"vision_model.pre_layrnorm.weight":                  "v.pre_ln.weight",
		"vision_model.pre_layrnorm.bias":                    "v.pre_ln.bias",
		"vision_model.post_layernorm.weight":                "v.post_ln.weight",
		"vision_model.post_layernorm.bias":                  "v.post_ln.bias",
		"visual_projection.weight":                          "visual_projection.weight",
	}
	if name, ok := exact[hub]; ok {
		return name
	}
	parts := regexp.MustCompile(`^(text|vision)_model\.encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$`).FindStringSubmatch(hub)
	if parts == nil {
		return ""
	}
	leaf := map[string]string{
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
		"self_attn.out_proj": "attn_out", "layer_norm1": "ln1", "layer_norm2": "ln2", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
	}[parts[3]]
	return fmt.Sprintf("%s.blk.%s.%s.%s", parts[1][:1], parts[2], leaf, parts[4])
}

// maxRMS is what a round trip of normally distributed weights may lose, relative to them; see csrc's tests.
func maxRMS(t gguf.Type) float64 {
	return map[gguf.Type]float64{
		gguf.F32: 0, gguf.F16: 2.5e-4, gguf.BF16: 2e-3, gguf.Q8_0: 0.0065, gguf.Q6_K: 0.0215, gguf.Q5_K: 0.044, gguf.Q5_1: 0.045,
		gguf.Q5_0: 0.051, gguf.Q4_K: 0.086, gguf.Q4_1: 0.094, gguf.Q4_0: 0.103, gguf.IQ4NL: 0.092, gguf.Q3_K: 0.18, gguf.Q2_K: 0.36,
		gguf.IQ4XS: 0.092, gguf.MXFP4: 0.15, gguf.IQ3S: 0.2, gguf.IQ3XXS: 0.26, gguf.IQ2S: 0.32, gguf.TQ1_0: 0.95, gguf.TQ2_0: 0.95,
	}[t]
}

// Every weight arrives under its name, in its shape, with what its type keeps of it: for every type, from every source.
func TestEveryWeightArrives(t *testing.T) {
	for _, source := range []safetensors.DType{safetensors.F16, safetensors.BF16, safetensors.F32} {
		spec := small()
		spec.DType = source
		dir := newCheckpoint(t, spec)
		tensors := readTensors(t, dir)
		for _, typ := range convert.Types() {
			if source != safetensors.F16 && strings.Contains(typ.Name, "q") || strings.HasPrefix(typ.Name, "iq2") {
				continue // the same code after the first step; and minutes to make, respectively
			}
			t.Run(fmt.Sprintf("%s to %s", source, typ.Name), func(t *testing.T) {
				f, r := toGGUF(t, dir, &convert.Options{Types: []string{typ.Name}})
				require.Len(t, tensors, r.Tensors+1, "all but logit_scale")
				for _, want := range tensors {
					if want.name == "logit_scale" {
						continue
					}
					compareTensor(t, f, want)
				}
			})
		}
	}
}

func compareTensor(t *testing.T, f *gguf.File, want tensor) {
	t.Helper()
	compareAs(t, f, ggufName(want.name), want)
}

// compareAs holds the tensor of a name against a source, to the precision of its type.
func compareAs(t *testing.T, f *gguf.File, name string, want tensor) {
	t.Helper()
	got, ok := f.Tensor(name)
	require.True(t, ok, "%s as %q", want.name, name)
	dims := slices.Clone(want.shape)
	slices.Reverse(dims)
	require.Equal(t, dims, got.Dims, want.name)
	source := want.floats()
	back := make([]float32, len(source))
	require.NoError(t, csrc.Dequantize(uint32(got.Type), f.Data(got), back))
	if sameType := strings.EqualFold(string(want.dtype), got.Type.String()); sameType {
		require.True(t, bytes.Equal(want.data, f.Data(got)), "%s is not copied bit by bit", want.name)
	}
	if got.Type == gguf.F32 || got.Type == gguf.F16 && want.dtype == safetensors.F16 {
		require.Equal(t, source, back, want.name)
		return
	}
	var lost, all float64
	for i := range source {
		lost += math.Pow(float64(back[i]-source[i]), 2)
		all += math.Pow(float64(source[i]), 2)
	}
	require.LessOrEqual(t, math.Sqrt(lost/all), maxRMS(got.Type), "%s as %s", want.name, got.Type)
}

func TestMetadata(t *testing.T) {
	spec := small()
	spec.Act = "gelu"
	dir := newCheckpoint(t, spec)
	f, r := toGGUF(t, dir, &convert.Options{Types: []string{"q4_k_m"}, Name: "a name"})
	str := func(key string) string {
		v, err := f.String(key)
		require.NoError(t, err)
		return v
	}
	num := func(key string) uint64 {
		v, err := f.Uint(key)
		require.NoError(t, err)
		return v
	}
	for key, want := range map[string]string{"general.architecture": "clip", "general.name": "a name", "bgevl.family": "clip",
		"bgevl.pooling": "clip", "bgevl.fingerprint": r.Fingerprint} {
		require.Equal(t, want, str(key), key)
	}
	require.Regexp(t, "^[0-9a-f]{64}$", r.Fingerprint)
	for key, file := range map[string]string{"bgevl.source_config": "config.json",
		"bgevl.preprocessor_config": "preprocessor_config.json"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.Equal(t, string(text), str(key), key)
	}
	for key, want := range map[string]uint64{
		"general.file_type": 15, "general.quantization_version": 2, "bgevl.format_version": 1,
		"clip.text.context_length": 77, "clip.text.embedding_length": 64, "clip.text.feed_forward_length": 256,
		"clip.text.block_count": 3, "clip.text.projection_dim": 32, "clip.text.attention.head_count": 2,
		"clip.vision.image_size": 64, "clip.vision.patch_size": 16, "clip.vision.embedding_length": 96,
		"clip.vision.feed_forward_length": 256, "clip.vision.block_count": 2, "clip.vision.projection_dim": 32,
		"clip.vision.attention.head_count": 3, "bgevl.text.eos_token_id": 913,
	} {
		require.Equal(t, want, num(key), key)
	}
	for _, key := range []string{"clip.has_text_encoder", "clip.has_vision_encoder", "clip.use_gelu"} {
		v, err := f.Bool(key)
		require.NoError(t, err)
		require.True(t, v, key)
	}
	for key, want := range map[string]float64{"clip.text.attention.layer_norm_epsilon": 1e-5,
		"clip.vision.attention.layer_norm_epsilon": 1e-5, "bgevl.logit_scale": math.Log(100)} {
		v, err := f.Float(key)
		require.NoError(t, err)
		require.InEpsilon(t, want, v, 1e-3, key)
	}
	mean, err := f.Floats("clip.vision.image_mean")
	require.NoError(t, err)
	require.InDeltaSlice(t, []float64{0.48145466, 0.4578275, 0.40821073}, mean, 1e-7)
	std, err := f.Floats("clip.vision.image_std")
	require.NoError(t, err)
	require.InDeltaSlice(t, []float64{0.26862954, 0.26130258, 0.27577711}, std, 1e-7)
}

// The tokenizer is there twice: in the checkpoint's words and in those of other programs.
func TestTokenizerMetadata(t *testing.T) {
	f, _ := toGGUF(t, newCheckpoint(t, small()), nil)
	text, err := f.String("tokenizer.huggingface.json")
	require.NoError(t, err)
	tok, err := tokenizer.FromJSON([]byte(text))
	require.NoError(t, err)
	require.Equal(t, 914, tok.VocabSize())
	for key, want := range map[string]string{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "clip"} {
		got, err := f.String(key)
		require.NoError(t, err)
		require.Equal(t, want, got, key)
	}
	tokens, err := f.Strings("tokenizer.ggml.tokens")
	require.NoError(t, err)
	require.Len(t, tokens, 914)
	num := func(which string) uint64 {
		id, err := f.Uint("tokenizer.ggml." + which + "_token_id")
		require.NoError(t, err)
		return id
	}
	require.Equal(t, "<|endoftext|>", tokens[num("eos")])
	require.Equal(t, "<|startoftext|>", tokens[num("bos")])
	require.Equal(t, "<|endoftext|>", tokens[num("padding")])
	merges, err := f.Strings("tokenizer.ggml.merges")
	require.NoError(t, err)
	require.Len(t, merges, 400)
	types, err := f.Ints("tokenizer.ggml.token_type")
	require.NoError(t, err)
	require.Len(t, types, 914)
	again, err := tokenizer.FromGGUF(f)
	require.NoError(t, err)
	const caption = "A photo of the dog: 世界!"
	require.Equal(t, tok.Encode(caption), again.Encode(caption))
}

// The file depends on the weights and the options alone: not on threads, shards or where the checkpoint lies.
func TestSameWeightsSameFile(t *testing.T) {
	first := newCheckpoint(t, small())
	sharded := small()
	sharded.Shards = 3
	second := newCheckpoint(t, sharded)
	a, ra := toGGUF(t, first, &convert.Options{Types: []string{"q4_k_m"}, Threads: 1})
	_, rb := toGGUF(t, second, &convert.Options{Types: []string{"q4_k_m"}, Threads: 7})
	one, err := os.ReadFile(ra.Path)
	require.NoError(t, err)
	other, err := os.ReadFile(rb.Path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(one, other))
	require.NotEmpty(t, a.Tensors())

	// The fingerprint is of the source: the same for another type, another for another weight.
	_, rc := toGGUF(t, first, &convert.Options{Types: []string{"f32"}})
	require.Equal(t, ra.Fingerprint, rc.Fingerprint)
	edit(t, first, one16("text_projection.weight", 1, 0x3c00))
	_, rd := toGGUF(t, first, &convert.Options{Types: []string{"f32"}})
	require.NotEqual(t, ra.Fingerprint, rd.Fingerprint)
}

// The fingerprint, computed here from the checkpoint alone: of every weight its GGUF name, type, shape and digest, in the
// order of the file.
func TestFingerprint(t *testing.T) {
	dir := newCheckpoint(t, small())
	f, r := toGGUF(t, dir, &convert.Options{Types: []string{"q8_0"}})
	lines := map[string]string{}
	for _, x := range readTensors(t, dir) {
		name := ggufName(x.name)
		lines[name] = fmt.Sprintf("%s f16 %v %x\n", name, x.shape, sha256.Sum256(x.data))
	}
	var text strings.Builder
	for _, x := range f.Tensors() {
		text.WriteString(lines[x.Name])
	}
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte(text.String()))), r.Fingerprint)
}

// one16 returns an edit that sets a 16-bit element.
func one16(name string, element int, bits uint16) func([]tensor) []tensor {
	return one(name, func(t *tensor) { t.data[2*element], t.data[2*element+1] = byte(bits), byte(bits>>8) })
}

func TestDefaults(t *testing.T) {
	dir := newCheckpoint(t, small())
	f, r := toGGUF(t, dir, nil)
	require.Equal(t, "f16", r.Type)
	name, err := f.String("general.name")
	require.NoError(t, err)
	require.Equal(t, "checkpoint", name, "the folder's name")
	require.Empty(t, r.Fallbacks)
	total := 0
	for _, n := range r.Types {
		total += n
	}
	require.Equal(t, r.Tensors, total)
}

// What could not be stored as asked is reported.
func TestFallbacksAreReported(t *testing.T) {
	spec := small()
	spec.Vision = randmodel.Tower{Layers: 2, Width: 80, FFN: 256, Heads: 2}
	_, r := toGGUF(t, newCheckpoint(t, spec), &convert.Options{Types: []string{"q4_k"}})
	took := map[string]convert.Fallback{}
	for _, f := range r.Fallbacks {
		took[f.Tensor] = f
	}
	require.Equal(t, convert.Fallback{Tensor: "t.blk.0.attn_q.weight", Row: 64, Wanted: "q4_k", Took: "q5_0"},
		took["t.blk.0.attn_q.weight"])
	require.Equal(t, "f16", took["v.blk.0.attn_q.weight"].Took)
	require.NotContains(t, took, "t.blk.0.ffn_down.weight")
	require.NotContains(t, took, "v.patch_embd.weight")
}

// Progress counts every byte of the weights once.
func TestProgress(t *testing.T) {
	dir := newCheckpoint(t, small())
	var last convert.Progress
	calls := 0
	toGGUF(t, dir, &convert.Options{Progress: func(p convert.Progress) {
		require.Greater(t, p.Done, last.Done)
		require.LessOrEqual(t, p.Done, p.Total)
		require.NotEmpty(t, p.Tensor)
		last = p
		calls++
	}})
	require.Equal(t, last.Total, last.Done)
	require.Greater(t, calls, 60)
	bytes := int64(0)
	for _, one := range readTensors(t, dir) {
		if one.name != "logit_scale" {
			bytes += int64(len(one.data))
		}
	}
	require.Equal(t, bytes, last.Total)
}

// Buffers that are not learned are passed over, in whatever type; logit_scale may be a vector of one, or absent.
func TestTensorsWithoutAnEmbedding(t *testing.T) {
	dir := newCheckpoint(t, small())
	plain, r := toGGUF(t, dir, nil)
	edit(t, dir, func(list []tensor) []tensor {
		list = slices.DeleteFunc(list, func(t tensor) bool { return t.name == "logit_scale" })
		return append(list,
			tensor{"text_model.embeddings.position_ids", safetensors.I64, []int64{1, 77}, make([]byte, 8*77)},
			tensor{"vision_model.embeddings.position_ids", safetensors.F64, []int64{17}, make([]byte, 8*17)})
	})
	f, r2 := toGGUF(t, dir, nil)
	require.Equal(t, plain.Tensors(), f.Tensors())
	require.Equal(t, r.Fingerprint, r2.Fingerprint)
	_, err := f.Float("bgevl.logit_scale")
	require.ErrorIs(t, err, gguf.ErrNoKey)
	edit(t, dir, func(list []tensor) []tensor {
		return append(list, tensor{"logit_scale", safetensors.BF16, []int64{1}, []byte{0x80, 0x3f}})
	})
	f, _ = toGGUF(t, dir, nil)
	scale, err := f.Float("bgevl.logit_scale")
	require.NoError(t, err)
	require.InDelta(t, 1, scale, 0)
}

// One checkpoint may mix element types.
func TestMixedSources(t *testing.T) {
	dir := newCheckpoint(t, small())
	const name = "text_model.encoder.layers.0.mlp.fc1.weight"
	edit(t, dir, one(name, func(x *tensor) {
		var wide []byte
		for _, v := range x.floats() {
			bits := math.Float32bits(v)
			wide = append(wide, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		}
		x.dtype, x.data = safetensors.F32, wide
	}))
	f, _ := toGGUF(t, dir, nil)
	for _, want := range readTensors(t, dir) {
		if want.name == name {
			compareTensor(t, f, want)
		}
	}
}

// The reference checkpoints convert, in both forms of their tokenizer's files.
func TestReferenceCheckpoints(t *testing.T) {
	shared := testenv.Shared(t)
	for _, name := range []string{"clip-base-tiny", "clip-large-tiny"} {
		dir := filepath.Join(shared, "fixtures", "checkpoints", name)
		f, r := toGGUF(t, dir, &convert.Options{Types: []string{"f32"}})
		require.Equal(t, map[string]int{"f32": r.Tensors}, r.Types)
		for _, want := range readTensors(t, dir) {
			if want.name != "logit_scale" {
				compareTensor(t, f, want)
			}
		}
		text, err := f.String("tokenizer.huggingface.json")
		require.NoError(t, err)
		tok, err := tokenizer.FromJSON([]byte(text))
		require.NoError(t, err)
		require.Equal(t, 49408, tok.VocabSize())
	}
}
