package convert_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
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

// mllm is the checkpoint that most tests convert, in one file, so that edit can change it.
func mllm() randmodel.MLLMSpec { return randmodel.MLLMSpec{Seed: 1, Shards: 1, ExtraVocab: 33} }

func newMLLM(t testing.TB, spec randmodel.MLLMSpec) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	if spec != mllm() {
		require.NoError(t, randmodel.MLLM(dir, spec))
		return dir
	}
	mllmTemplate.copyTo(t, dir, func(dir string) error { return randmodel.MLLM(dir, spec) })
	return dir
}

// pair is what one type of an MLLM became.
type pair struct {
	language, projector *gguf.File
	made                *convert.Result
}

// toPair converts an MLLM to one type and opens both files.
func toPair(t *testing.T, dir string, o *convert.Options) pair {
	t.Helper()
	folder := t.TempDir()
	out := filepath.Join(folder, "model.gguf")
	r, err := convert.Run(t.Context(), dir, out, o)
	require.NoError(t, err)
	require.Equal(t, "mllm", r.Family)
	require.Len(t, r.Files, 2)
	require.Equal(t, out, r.Files[0].Path)
	require.Equal(t, filepath.Join(folder, "mmproj-model.gguf"), r.Files[1].Path)
	require.False(t, r.Files[0].Projector)
	require.True(t, r.Files[1].Projector)
	require.Equal(t, []string{"mmproj-model.gguf", "model.gguf"}, namesIn(t, folder))
	return pair{openMade(t, r.Files[0]), openMade(t, r.Files[1]), r}
}

func namesIn(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mllmName says independently what a weight becomes; "" for one that no embedding depends on.
func mllmName(hub string, visionLayersThatRun int) string {
	exact := map[string]string{
		"language_model.model.embed_tokens.weight":                       "token_embd.weight",
		"language_model.model.norm.weight":                               "output_norm.weight",
		"language_model.lm_head.weight":                                  "output.weight",
		"vision_tower.vision_model.embeddings.class_embedding":           "v.class_embd",
		"vision_tower.vision_model.embeddings.patch_embedding.weight":    "v.patch_embd.weight",
		"vision_tower.vision_model.embeddings.position_embedding.weight": "v.position_embd.weight",
		"vision_tower.vision_model.pre_layrnorm.weight":                  "v.pre_ln.weight",
		"vision_tower.vision_model.pre_layrnorm.bias":                    "v.pre_ln.bias",
		"multi_modal_projector.linear_1.weight":                          "mm.0.weight",
		"multi_modal_projector.linear_1.bias":                            "mm.0.bias",
		"multi_modal_projector.linear_2.weight":                          "mm.2.weight",
		"multi_modal_projector.linear_2.bias":                            "mm.2.bias",
		"image_newline":                                                  "model.image_newline",
	}
	if name, ok := exact[hub]; ok {
		return name
	}
	if rest, ok := strings.CutPrefix(hub, "vision_tower."); ok {
		name := ggufName(rest)
		var layer int
		if n, _ := fmt.Sscanf(name, "v.blk.%d.", &layer); n != 1 || layer >= visionLayersThatRun {
			return ""
		}
		return name
	}
	parts := regexp.MustCompile(`^language_model\.model\.layers\.(\d+)\.(.*)\.weight$`).FindStringSubmatch(hub)
	leaf := map[string]string{
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
		"mlp.down_proj": "ffn_down",
	}[parts[2]]
	return fmt.Sprintf("blk.%s.%s.weight", parts[1], leaf)
}

// rotated puts a projection's rows where llama.cpp's files have them: of each head's rows, the two that turn together,
// half a head apart, side by side.
func rotated(x tensor, head int) tensor {
	row := len(x.data) / int(x.shape[0])
	moved := make([]byte, len(x.data))
	for from := range int(x.shape[0]) {
		first, within := from/head*head, from%head
		half, i := within/(head/2), within%(head/2)
		copy(moved[(first+2*i+half)*row:], x.data[from*row:][:row])
	}
	x.data = moved
	return x
}

// requireAll holds every tensor of a checkpoint against the two files, and that they have no others.
func requireAll(t *testing.T, tensors []tensor, p pair, head, runs int) {
	t.Helper()
	counts := [2]int{}
	for _, x := range tensors {
		name := mllmName(x.name, runs)
		if name == "" {
			continue
		}
		if regexp.MustCompile(`^language_model.*self_attn\.[qk]_proj\.weight$`).MatchString(x.name) {
			x = rotated(x, head)
		}
		f, which := p.language, 0
		if strings.HasPrefix(name, "v.") || strings.HasPrefix(name, "m") {
			f, which = p.projector, 1
		}
		compareAs(t, f, name, x)
		counts[which]++
	}
	require.Equal(t, counts, [2]int{p.made.Files[0].Tensors, p.made.Files[1].Tensors}, "and no more")
}

// Every weight arrives in the file it belongs to, under its name, in its shape, with what its type keeps of it, from every
// source. The types beyond these take no other way; TestEveryWeightArrives has them all.
func TestEveryWeightOfAnMLLMArrives(t *testing.T) {
	for _, source := range []safetensors.DType{safetensors.BF16, safetensors.F16, safetensors.F32} {
		spec := mllm()
		spec.DType, spec.Shards = source, 3
		spec.Text = randmodel.Decoder{Layers: 3, Width: 96, FFN: 256, Heads: 6, KVHeads: 3, HeadDim: 16}
		dir := newMLLM(t, spec)
		tensors := readTensors(t, dir)
		for _, typ := range []string{"f32", "f16", "bf16", "q8_0", "q5_0", "q4_k_m", "q3_k_m"} {
			if source != safetensors.BF16 && strings.Contains(typ, "q") {
				continue // the same code after the first step
			}
			t.Run(fmt.Sprintf("%s to %s", source, typ), func(t *testing.T) {
				p := toPair(t, dir, &convert.Options{Types: []string{typ}, MMProjType: typ})
				requireAll(t, tensors, p, 16, 2)
			})
		}
	}
}

// What the reordered rows are for: turning neighbouring pairs of the file's queries and keys gives the scores that
// turning halves of the checkpoint's gives, at every pair of positions.
func TestRotaryScores(t *testing.T) {
	spec := mllm()
	spec.DType = safetensors.F32
	dir := newMLLM(t, spec)
	p := toPair(t, dir, &convert.Options{Types: []string{"f32"}})
	const head, width, theta = 32, 64, 1e6
	random := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float64, width), make([]float64, width)
	for i := range width {
		x[i], y[i] = random.NormFloat64(), random.NormFloat64()
	}
	source := map[string][]float32{}
	for _, one := range readTensors(t, dir) {
		source[one.name] = one.floats()
	}
	file := func(name string) []float32 {
		tensor, ok := p.language.Tensor(name)
		require.True(t, ok)
		v := make([]float32, tensor.Dims[0]*tensor.Dims[1])
		require.NoError(t, csrc.Dequantize(uint32(tensor.Type), p.language.Data(tensor), v))
		return v
	}
	const layer = "language_model.model.layers.1.self_attn."
	for h := range 4 {
		for _, at := range [][2]int{{0, 0}, {5, 3}, {1000, 17}} {
			halves := func(w []float32, h int, x []float64, at int) []float64 {
				return turn(head, theta, at, project(w, h*head, head, x), func(i int) (int, int) { return i, i + head/2 })
			}
			pairs := func(w []float32, h int, x []float64, at int) []float64 {
				return turn(head, theta, at, project(w, h*head, head, x), func(i int) (int, int) { return 2 * i, 2*i + 1 })
			}
			want := dot(halves(source[layer+"q_proj.weight"], h, x, at[0]), halves(source[layer+"k_proj.weight"], h/2, y, at[1]))
			got := dot(pairs(file("blk.1.attn_q.weight"), h, x, at[0]), pairs(file("blk.1.attn_k.weight"), h/2, y, at[1]))
			require.InDelta(t, want, got, 1e-9*math.Abs(want)+1e-12)
		}
	}
}

func project(w []float32, first, rows int, x []float64) []float64 {
	out := make([]float64, rows)
	for r := range rows {
		for i, v := range x {
			out[r] += float64(w[(first+r)*len(x)+i]) * v
		}
	}
	return out
}

// turn applies rotary positions to a head, where pair says which two elements turn together.
func turn(head int, theta float64, at int, v []float64, pair func(i int) (int, int)) []float64 {
	out := make([]float64, head)
	for i := range head / 2 {
		sin, cos := math.Sincos(float64(at) * math.Pow(theta, -2*float64(i)/float64(head)))
		a, b := pair(i)
		out[a], out[b] = v[a]*cos-v[b]*sin, v[a]*sin+v[b]*cos
	}
	return out
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// Whatever transformers called the weights, the files are the same, bit for bit.
func TestNamesOfWeights(t *testing.T) {
	renamed := func(from, to string) func([]tensor) []tensor {
		return func(list []tensor) []tensor {
			for i := range list {
				if rest, ok := strings.CutPrefix(list[i].name, from); ok {
					list[i].name = to + rest
				}
			}
			return list
		}
	}
	convertAll := func(spec randmodel.MLLMSpec, changes ...func([]tensor) []tensor) [][]byte {
		dir := newMLLM(t, spec)
		for _, change := range changes {
			edit(t, dir, change)
		}
		p := toPair(t, dir, &convert.Options{Types: []string{"q8_0"}, Name: "a name"})
		var files [][]byte
		for _, f := range p.made.Files {
			text, err := os.ReadFile(f.Path)
			require.NoError(t, err)
			files = append(files, text)
		}
		return files
	}
	same := func(a, b [][]byte, what string) {
		for i := range a {
			require.True(t, bytes.Equal(a[i], b[i]), what)
		}
	}
	want := convertAll(mllm())
	newer := mllm()
	newer.NewNames = true
	same(want, convertAll(newer), "newer names")
	newer.Shards = 4
	same(want, convertAll(newer), "newer names in shards")
	same(want, convertAll(mllm(), renamed("vision_tower.vision_model.", "vision_tower.")), "a vision tower without its class")
	same(want, convertAll(mllm(), renamed("language_model.model.", "language_model.")), "a language model without its class")
}

func TestMLLMMetadata(t *testing.T) {
	spec := mllm()
	spec.Text = randmodel.Decoder{Layers: 3, Width: 96, FFN: 256, Heads: 6, KVHeads: 2, HeadDim: 20}
	dir := newMLLM(t, spec)
	p := toPair(t, dir, &convert.Options{Types: []string{"q4_k_m"}, Name: "a name"})
	file := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(text)
	}
	language, projector := p.made.Files[0].Fingerprint, p.made.Files[1].Fingerprint
	require.NotEqual(t, language, projector)
	requireKeys(t, p.language, map[string]any{
		"general.architecture": "llama", "general.name": "a name", "general.file_type": uint64(15),
		"general.quantization_version": uint64(2), "llama.block_count": uint64(3), "llama.context_length": uint64(4096),
		"llama.embedding_length": uint64(96), "llama.feed_forward_length": uint64(256), "llama.vocab_size": uint64(789),
		"llama.attention.head_count": uint64(6), "llama.attention.head_count_kv": uint64(2), "llama.attention.key_length": uint64(20),
		"llama.attention.value_length": uint64(20), "llama.attention.layer_norm_rms_epsilon": 1e-5,
		"llama.rope.dimension_count": uint64(20), "llama.rope.freq_base": 1e6,
		"bgevl.family": "mllm", "bgevl.format_version": uint64(1), "bgevl.pooling": "last", "bgevl.template": "bge-vl-mllm",
		"bgevl.image_token_id": uint64(754), "bgevl.source_config": file("config.json"), "bgevl.fingerprint": language,
		"bgevl.projector_fingerprint": projector, "tokenizer.huggingface.json": file("tokenizer.json"),
		"tokenizer.ggml.model": "llama",
	})
	requireKeys(t, p.projector, map[string]any{
		"general.architecture": "clip", "general.type": "mmproj", "general.name": "a name", "general.file_type": uint64(1),
		"clip.has_text_encoder": false, "clip.has_vision_encoder": true, "clip.has_llava_projector": true,
		"clip.projector_type": "mlp", "clip.use_gelu": false, "clip.vision.image_size": uint64(56), "clip.vision.patch_size": uint64(14),
		"clip.vision.embedding_length": uint64(96), "clip.vision.feed_forward_length": uint64(192), "clip.vision.block_count": uint64(2),
		"clip.vision.projection_dim": uint64(96), "clip.vision.attention.head_count": uint64(3),
		"clip.vision.attention.layer_norm_epsilon": 1e-5, "clip.vision.mm_patch_merge_type": "spatial_unpad",
		"clip.vision.image_aspect_ratio": "anyres", "clip.vision.image_crop_resolution": uint64(56),
		"clip.vision.image_grid_pinpoints": []int64{56, 112, 112, 56, 112, 112, 168, 56, 56, 168}, "clip.vision.feature_layer": []int64{2},
		"bgevl.family": "mllm-projector", "bgevl.format_version": uint64(1),
		"bgevl.preprocessor_config": file("preprocessor_config.json"), "bgevl.fingerprint": projector,
	})
	for key, want := range map[string][]float64{"clip.vision.image_mean": {0.48145466, 0.4578275, 0.40821073},
		"clip.vision.image_std": {0.26862954, 0.26130258, 0.27577711}} {
		got, err := p.projector.Floats(key)
		require.NoError(t, err)
		require.InDeltaSlice(t, want, got, 1e-7)
	}
	_, err := p.language.Bool("bgevl.embedding_only")
	require.ErrorIs(t, err, gguf.ErrNoKey)
}

func requireKeys(t *testing.T, f *gguf.File, want map[string]any) {
	t.Helper()
	for key, v := range want {
		var got any
		var err error
		switch v := v.(type) {
		case string:
			got, err = f.String(key)
		case uint64:
			got, err = f.Uint(key)
		case bool:
			got, err = f.Bool(key)
		case []int64:
			got, err = f.Ints(key)
		case float64:
			x, floatErr := f.Float(key)
			require.NoError(t, floatErr)
			require.InEpsilon(t, v, x, 1e-6, key)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, v, got, key)
	}
}

// The tokenizer of both kinds is whole in the file, in the checkpoint's words and in other programs', and its list of
// tokens is as long as the model's table.
func TestMLLMTokenizers(t *testing.T) {
	for _, metaspace := range []bool{false, true} {
		spec := mllm()
		spec.Metaspace = metaspace
		p := toPair(t, newMLLM(t, spec), nil)
		text, err := p.language.String("tokenizer.huggingface.json")
		require.NoError(t, err)
		want, err := tokenizer.FromJSON([]byte(text))
		require.NoError(t, err)
		image, ok := want.ID("<image>")
		require.True(t, ok)
		got, err := p.language.Uint("bgevl.image_token_id")
		require.NoError(t, err)
		require.EqualValues(t, image, got)
		table, ok := p.language.Tensor("token_embd.weight")
		require.True(t, ok)
		tokens, err := p.language.Strings("tokenizer.ggml.tokens")
		require.NoError(t, err)
		require.Len(t, tokens, int(table.Dims[1]))
		again, err := tokenizer.FromGGUF(p.language)
		require.NoError(t, err)
		for _, text := range []string{"", "[INST] \n <instruct> x <query>  <image> [/INST]", "the dog</s> runs", "\u4e16 \U0001f600"} {
			require.Equal(t, want.Encode(text), again.Encode(text), text)
		}
	}
}

// Tied to the token table, or saved without the output layer: no output.weight either way, and the second is said.
func TestOutputLayer(t *testing.T) {
	spec := mllm()
	plain := toPair(t, newMLLM(t, spec), nil)
	_, there := plain.language.Tensor("output.weight")
	require.True(t, there)
	require.False(t, plain.made.EmbeddingOnly)

	spec.Tied = true
	tied := toPair(t, newMLLM(t, spec), nil)
	_, there = tied.language.Tensor("output.weight")
	require.False(t, there)
	require.False(t, tied.made.EmbeddingOnly)

	spec.Tied, spec.NoOutput = false, true
	dir := newMLLM(t, spec)
	without := toPair(t, dir, nil)
	_, there = without.language.Tensor("output.weight")
	require.False(t, there)
	require.True(t, without.made.EmbeddingOnly)
	only, err := without.language.Bool("bgevl.embedding_only")
	require.NoError(t, err)
	require.True(t, only)

	// The older place of the key counts as well, where there is no output layer to say otherwise.
	editJSON(t, filepath.Join(dir, "config.json"), func(v map[string]any) { v["tie_word_embeddings"] = true })
	top := toPair(t, dir, nil)
	require.False(t, top.made.EmbeddingOnly)

	// A tied table that was saved twice is one.
	dir = newMLLM(t, mllm())
	editJSON(t, filepath.Join(dir, "config.json"), func(v map[string]any) {
		v["text_config"].(map[string]any)["tie_word_embeddings"] = true
	})
	twice := toPair(t, dir, nil)
	require.Equal(t, tied.made.Files[0].Tensors, twice.made.Files[0].Tensors)
}

// The layers of the vision tower that don't run are in no file, and need not be in the checkpoint.
func TestFeatureLayer(t *testing.T) {
	for layer, runs := range map[int]int{-1: 3, -2: 2, -3: 1, 1: 1, 3: 3} {
		spec := mllm()
		spec.FeatureLayer = layer
		p := toPair(t, newMLLM(t, spec), nil)
		requireKeys(t, p.projector, map[string]any{"clip.vision.block_count": uint64(runs)})
		_, there := p.projector.Tensor(fmt.Sprintf("v.blk.%d.ln1.weight", runs-1))
		require.True(t, there)
		_, there = p.projector.Tensor(fmt.Sprintf("v.blk.%d.ln1.weight", runs))
		require.False(t, there)
		_, there = p.projector.Tensor("v.post_ln.weight")
		require.False(t, there)
	}
	dir := newMLLM(t, mllm())
	want := toPair(t, dir, nil)
	edit(t, dir, func(list []tensor) []tensor {
		return slices.DeleteFunc(list, func(x tensor) bool {
			return strings.Contains(x.name, "post_layernorm") || strings.Contains(x.name, "encoder.layers.2.")
		})
	})
	got := toPair(t, dir, nil)
	require.Equal(t, want.made.Files[1].Fingerprint, got.made.Files[1].Fingerprint)
}

// The projector's type follows the model's, unless one is asked for.
func TestProjectorType(t *testing.T) {
	dir := newMLLM(t, mllm())
	for _, c := range []struct {
		types []string
		asked string
		want  string
	}{
		{nil, "", "f16"}, {[]string{"f32"}, "", "f32"}, {[]string{"bf16"}, "", "bf16"}, {[]string{"q4_k_m"}, "", "f16"},
		{[]string{"q8_0", "f32"}, "", "f32"}, {[]string{"bf16", "q8_0"}, "", "f16"}, {[]string{"f32"}, "q8_0", "q8_0"},
		{[]string{"q8_0"}, "BF16", "bf16"},
	} {
		r, err := convert.Run(t.Context(), dir, filepath.Join(t.TempDir(), "model.gguf"), &convert.Options{Types: c.types, MMProjType: c.asked})
		require.NoError(t, err)
		last := r.Files[len(r.Files)-1]
		require.Equal(t, c.want, last.Type, "%+v", c)
		f := openMade(t, last)
		weight, ok := f.Tensor("mm.0.weight")
		require.True(t, ok)
		require.Equal(t, c.want, weight.Type.String())
	}
}

// Several types in one pass give what as many runs would, bit for bit, and one projector.
func TestSeveralTypes(t *testing.T) {
	types := []string{"q8_0", "Q4_K_M", "f16", "bf16", "q4_k"}
	clip, mllm := newCheckpoint(t, small()), newMLLM(t, mllm())
	for _, dir := range []string{clip, mllm} {
		folder := t.TempDir()
		var calls, last int64
		r, err := convert.Run(t.Context(), dir, filepath.Join(folder, "m.GGUF"), &convert.Options{Types: types, Progress: func(p convert.Progress) {
			require.Greater(t, p.Done, last, "every weight is read once")
			calls, last = calls+1, p.Done
			require.LessOrEqual(t, p.Done, p.Total)
		}})
		require.NoError(t, err)
		names := []string{"m-bf16.GGUF", "m-f16.GGUF", "m-q4_k.GGUF", "m-q4_k_m.GGUF", "m-q8_0.GGUF"}
		if dir == mllm {
			names = append(names, "mmproj-m.GGUF")
		}
		require.Equal(t, names, namesIn(t, folder))
		require.Len(t, r.Files, len(names))
		alone := t.TempDir()
		for i, typ := range types {
			one, err := convert.Run(t.Context(), dir, filepath.Join(alone, typ+".gguf"), &convert.Options{Types: []string{typ}})
			require.NoError(t, err)
			requireSameFile(t, one.Files[0], r.Files[i])
			if dir == mllm && typ == "f16" {
				requireSameFile(t, one.Files[1], r.Files[len(types)])
			}
		}
	}
	_, err := convert.Run(t.Context(), clip, filepath.Join(t.TempDir(), "model"), &convert.Options{Types: []string{"f16", "f32"}})
	require.ErrorContains(t, err, "want a name that ends in .gguf")
	_, err = convert.Run(t.Context(), clip, filepath.Join(t.TempDir(), "m.gguf"), &convert.Options{Types: []string{"f16", "F16"}})
	require.ErrorContains(t, err, "type f16 is asked for twice")
	_, err = convert.Run(t.Context(), clip, filepath.Join(t.TempDir(), "m.gguf"), &convert.Options{MMProjType: "f16"})
	require.ErrorContains(t, err, "a CLIP checkpoint has none")
}

func requireSameFile(t *testing.T, want, got convert.File) {
	t.Helper()
	a, err := os.ReadFile(want.Path)
	require.NoError(t, err)
	b, err := os.ReadFile(got.Path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b), "%s and %s", want.Path, got.Path)
	want.Path = got.Path
	require.Equal(t, want, got)
}

// The reference checkpoints convert, with both kinds of tokenizer and head sizes other than the width's share.
func TestReferenceMLLMs(t *testing.T) {
	shared := testenv.Shared(t)
	for name, head := range map[string]int{"mllm-tiny": 32, "mllm-tiny-v15": 16} {
		dir := filepath.Join(shared, "fixtures", "checkpoints", name)
		p := toPair(t, dir, &convert.Options{Types: []string{"f32"}})
		requireAll(t, readTensors(t, dir), p, head, 3)
		for _, f := range p.made.Files {
			require.Equal(t, map[string]int{"f32": f.Tensors}, f.Types)
		}
		tokens, err := p.language.Strings("tokenizer.ggml.tokens")
		require.NoError(t, err)
		require.Len(t, tokens, 32064)
	}
}
