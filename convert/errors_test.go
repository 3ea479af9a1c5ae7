package convert_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
)

func TestMain(m *testing.M) {
	if out := os.Getenv(childOut); out != "" {
		convertInChild(os.Getenv(childDir), out, os.Getenv(childType))
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(template.dir)
		_ = os.RemoveAll(mllmTemplate.dir)
		os.Exit(code)
	}))
}

// mustFail converts, and checks the error and that nothing is left behind.
func mustFail(t *testing.T, dir string, o *convert.Options, wants ...string) {
	t.Helper()
	folder := t.TempDir()
	r, err := convert.Run(t.Context(), dir, filepath.Join(folder, "model.gguf"), o)
	require.Error(t, err)
	require.Nil(t, r)
	for _, want := range append(wants, "convert: ") {
		require.ErrorContains(t, err, want)
	}
	left, dirErr := os.ReadDir(folder)
	require.NoError(t, dirErr)
	require.Empty(t, left)
}

func TestRefusesFolders(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	mustFail(t, nowhere, nil, "nowhere", "want the folder of a downloaded checkpoint")
	_, err := convert.Run(t.Context(), nowhere, filepath.Join(t.TempDir(), "model.gguf"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	file := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o666))
	mustFail(t, file, nil, "model.safetensors is a file: want the folder of a checkpoint")
	file = filepath.Join(t.TempDir(), "model.GGUF")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o666))
	mustFail(t, file, nil, "is a GGUF file already")
	mustFail(t, t.TempDir(), nil, "config.json", "it holds the model's geometry; download the whole checkpoint")
}

// A file of the checkpoint that is missing, damaged, or of another model.
func TestRefusesFiles(t *testing.T) {
	remove := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
			}
		}
	}
	put := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
		}
	}
	json := func(name string, change func(map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { editJSON(t, filepath.Join(dir, name), change) }
	}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		wants  []string
	}{
		"no config":       {remove("config.json"), []string{"config.json", "download the whole checkpoint"}},
		"no preprocessor": {remove("preprocessor_config.json"), []string{"preprocessor_config.json", "how images are prepared"}},
		"no tokenizer":    {remove("vocab.json", "merges.txt"), []string{"want tokenizer.json, vocab.json with merges.txt", "download the whole checkpoint"}},
		"no merges":       {remove("merges.txt"), []string{"merges.txt"}},
		"no weights": {remove("model.safetensors"),
			[]string{"neither model.safetensors nor model.safetensors.index.json is there"}},
		"pickled weights": {func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "pytorch_model.bin")))
		}, []string{"pytorch_model.bin only", "download model.safetensors"}},
		"config of nothing": {put("config.json", ""), []string{"config.json: want a JSON object"}},
		"config cut short":  {put("config.json", `{"model_type": "clip"`), []string{"config.json: want a JSON object"}},
		"config too large":  {put("config.json", strings.Repeat(" ", 1<<20+1)), []string{"config.json: want at most 1048576 bytes"}},
		"another model":     {put("config.json", `{"model_type": "llava"}`), []string{`model_type is "llava": want "clip"`, `"llava_next"`}},
		"no model type":     {put("config.json", `{}`), []string{"model_type is missing"}},
		"config of defaults": {put("config.json", `{"model_type": "clip", "vision_config": {"image_size": 64}}`),
			[]string{"has the wrong shape", "want [49408 512]"}},
		"preprocessor of junk": {put("preprocessor_config.json", "[1]"), []string{"preprocessor_config.json"}},
		"another image size": {json("preprocessor_config.json", func(v map[string]any) { delete(v, "crop_size") }),
			[]string{"makes images of 224x224", "reads 64x64"}},
		"tokenizer of junk": {put("tokenizer.json", "{}"), []string{"tokenizer"}},
		"tokenizer of a larger model": {json("vocab.json", func(v map[string]any) {
			for i := len(v); i < 9000; i++ {
				v[fmt.Sprintf("extra%d", i)] = i
			}
		}), []string{"the tokenizer has 9000 tokens and config.json's text tower knows 8914"}},
		"weights of nothing": {put("model.safetensors", ""), []string{"model.safetensors"}},
		"weights of junk":    {put("model.safetensors", strings.Repeat("junk", 100)), []string{"model.safetensors", "no safetensors file"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newCheckpoint(t, small())
			c.change(t, dir)
			mustFail(t, dir, nil, c.wants...)
		})
	}
}

func TestRefusesShards(t *testing.T) {
	spec := small()
	spec.Shards = 3
	dir := newCheckpoint(t, spec)
	shard := filepath.Join(dir, "model-00002-of-00003.safetensors")
	text, err := os.ReadFile(shard)
	require.NoError(t, err)
	require.NoError(t, os.Remove(shard))
	mustFail(t, dir, nil, "shard model-00002-of-00003.safetensors", "missing")
	require.NoError(t, os.WriteFile(shard, text[:len(text)-1], 0o666))
	mustFail(t, dir, nil, "model-00002-of-00003.safetensors", "cut short")
	require.NoError(t, os.WriteFile(shard, text, 0o666))
	editJSON(t, filepath.Join(dir, "model.safetensors.index.json"), func(v map[string]any) {
		v["weight_map"].(map[string]any)["logit_scale"] = "../model-00001-of-00003.safetensors"
	})
	mustFail(t, dir, nil, "logit_scale", "want the plain name")
}

func TestRefusesTensors(t *testing.T) {
	const query = "vision_model.encoder.layers.1.self_attn.q_proj.weight"
	for name, c := range map[string]struct {
		change func([]tensor) []tensor
		wants  []string
	}{
		"missing": {func(list []tensor) []tensor {
			return slices.DeleteFunc(list, func(x tensor) bool { return x.name == query })
		}, []string{"tensor is missing: " + query}},
		"a whole tower missing": {func(list []tensor) []tensor {
			return slices.DeleteFunc(list, func(x tensor) bool { return strings.HasPrefix(x.name, "vision_model.") })
		}, []string{"tensor is missing: vision_model.embeddings.class_embedding; ", "; and 36 more"}},
		"unknown": {func(list []tensor) []tensor {
			return append(list, tensor{"text_model.lora.weight", safetensors.F16, []int64{1}, []byte{0, 0}})
		}, []string{`tensor is unknown: config.json asks for no such weight: "text_model.lora.weight"`}},
		"one layer more": {func(list []tensor) []tensor {
			return append(list, tensor{"text_model.encoder.layers.3.layer_norm1.bias", safetensors.F16, []int64{64}, make([]byte, 128)})
		}, []string{"is unknown", "layers.3.layer_norm1.bias"}},
		"renamed": {one(query, func(x *tensor) { x.name = "vision_model.encoder.layers.01.self_attn.q_proj.weight" }),
			[]string{"is missing: " + query, "is unknown", "layers.01."}},
		"swapped shape": {one("vision_model.encoder.layers.1.mlp.fc1.weight", func(x *tensor) { slices.Reverse(x.shape) }),
			[]string{"vision_model.encoder.layers.1.mlp.fc1.weight: want [256 96], got [96 256]"}},
		"one dimension more": {one("text_projection.weight", func(x *tensor) { x.shape = append(x.shape, 1) }),
			[]string{"text_projection.weight: want [32 64], got [32 64 1]"}},
		"too few rows": {one("text_projection.weight", func(x *tensor) { x.shape[0], x.data = 31, x.data[:31*128] }),
			[]string{"text_projection.weight: want [32 64], got [31 64]"}},
		"empty": {one("text_projection.weight", func(x *tensor) { x.shape, x.data = []int64{0, 64}, nil }),
			[]string{"text_projection.weight: want [32 64], got [0 64]"}},
		"integers": {one("text_projection.weight", func(x *tensor) { x.dtype = safetensors.I16 }),
			[]string{"wrong element type: text_projection.weight: want F32, F16 or BF16, got I16"}},
		"doubles": {one("text_projection.weight", func(x *tensor) { x.dtype, x.data = safetensors.F64, make([]byte, 32*64*8) }),
			[]string{"text_projection.weight: want F32, F16 or BF16, got F64"}},
		"float8": {one("text_projection.weight", func(x *tensor) { x.dtype, x.data = safetensors.F8E4M3, x.data[:32*64] }),
			[]string{"text_projection.weight: want F32, F16 or BF16, got F8_E4M3"}},
		"logit_scale of two": {one("logit_scale", func(x *tensor) { x.shape, x.data = []int64{2}, make([]byte, 4) }),
			[]string{"tensor logit_scale: want one number, got shape [2]"}},
		"logit_scale of integers": {one("logit_scale", func(x *tensor) { x.dtype = safetensors.I16 }),
			[]string{"tensor logit_scale: want F32, F16 or BF16"}},
		"logit_scale of NaN": {one16("logit_scale", 0, 0x7e00), []string{"tensor logit_scale is NaN"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newCheckpoint(t, small())
			edit(t, dir, c.change)
			mustFail(t, dir, nil, c.wants...)
		})
	}
}

// NaN and infinities are named, in whatever type, copied or not; so is what a type cannot hold.
func TestRefusesValues(t *testing.T) {
	const table, bias = "text_model.embeddings.token_embedding.weight", "vision_model.post_layernorm.bias"
	last := (8000+914)*64 - 1 // of the last, shorter chunk
	for _, typ := range []string{"f32", "f16", "bf16", "q8_0", "q4_k_m"} {
		for bits, shown := range map[uint16]string{0x7e00: "NaN", 0x7c01: "NaN", 0x7c00: "+Inf", 0xfc00: "-Inf"} {
			dir := newCheckpoint(t, small())
			edit(t, dir, one16(table, last, bits))
			mustFail(t, dir, &convert.Options{Types: []string{typ}}, table, fmt.Sprintf("element %d is %s", last, shown))
		}
		dir := newCheckpoint(t, small())
		edit(t, dir, one16(bias, 95, 0x7e00))
		mustFail(t, dir, &convert.Options{Types: []string{typ}}, "tensor "+bias+": element 95 is NaN: the checkpoint is damaged")
	}
	spec := small()
	spec.DType = safetensors.BF16
	for _, typ := range []string{"f16", "q8_0", "q4_k"} {
		dir := newCheckpoint(t, spec)
		edit(t, dir, one16(table, 5, 0x4780)) // 65536
		mustFail(t, dir, &convert.Options{Types: []string{typ}}, table+": element 5 is 65536", "cannot hold: use f32 or bf16")
	}
	// The same weight is fine where it fits, and so is a large one in a vector, which is kept as f32.
	dir := newCheckpoint(t, spec)
	edit(t, dir, one16(table, 5, 0x4780))
	edit(t, dir, one16(bias, 5, 0x4780))
	toGGUF(t, dir, &convert.Options{Types: []string{"bf16"}})
	dir = newCheckpoint(t, spec)
	edit(t, dir, one16(bias, 5, 0x4780))
	toGGUF(t, dir, &convert.Options{Types: []string{"q8_0"}})
}

func TestRefusesOptions(t *testing.T) {
	dir := newCheckpoint(t, small())
	mustFail(t, dir, &convert.Options{Types: []string{"q7"}}, `unknown type "q7": want one of f32, f16`)
	mustFail(t, dir, &convert.Options{Types: []string{"iq1_s"}}, "importance matrix")
	mustFail(t, dir, &convert.Options{Threads: -1}, "threads: want at least 1")
}

func TestRefusesTargets(t *testing.T) {
	dir := newCheckpoint(t, small())
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, []byte("kept"), 0o640))
	fail := func(out, want string, o *convert.Options) {
		t.Helper()
		_, err := convert.Run(t.Context(), dir, out, o)
		require.ErrorContains(t, err, want)
		require.Equal(t, strings.Contains(want, "overwritten"), errors.Is(err, fs.ErrExist))
	}
	overwrite := &convert.Options{Overwrite: true}
	fail("", "want the name of a file", nil)
	fail(folder+"/", "want the name of a file", nil)
	fail(filepath.Join(folder, "missing", "x.gguf"), "missing does not exist: create it first", nil)
	fail(filepath.Join(file, "x.gguf"), "file", nil)
	fail(folder, "it is a folder: name a file in it", overwrite)
	fail(os.DevNull, "it is not a regular file", overwrite)
	fail(file, "ask for it to be overwritten", nil)
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink("nothing", link))
	fail(link, "overwritten", nil)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// A file that is replaced keeps its mode; a link to it stays a link. A new file has the mode of any new file.
func TestOverwrites(t *testing.T) {
	dir := newCheckpoint(t, randmodel.Spec{})
	folder := t.TempDir()
	old, link := filepath.Join(folder, "old.gguf"), filepath.Join(folder, "link.gguf")
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o600))
	require.NoError(t, os.Chmod(old, 0o640))
	require.NoError(t, os.Symlink("old.gguf", link))
	_, err := convert.Run(t.Context(), dir, link, &convert.Options{Overwrite: true})
	require.NoError(t, err)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink)
	info, err = os.Lstat(old)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	require.Greater(t, info.Size(), int64(100_000))

	plain := filepath.Join(folder, "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o666))
	want, err := os.Stat(plain)
	require.NoError(t, err)
	fresh := filepath.Join(folder, "fresh.gguf")
	_, err = convert.Run(t.Context(), dir, fresh, nil)
	require.NoError(t, err)
	got, err := os.Stat(fresh)
	require.NoError(t, err)
	require.Equal(t, want.Mode(), got.Mode())
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 4)
}

// Cancelled at any point, Run leaves nothing behind and says why. While it runs, others cannot read the part.
func TestCancellation(t *testing.T) {
	dir := newCheckpoint(t, small())
	folder := t.TempDir()
	out := filepath.Join(folder, "model.gguf")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := convert.Run(cancelled, dir, out, nil)
	require.ErrorIs(t, err, context.Canceled)
	why := errors.New("the test wants it")
	for _, after := range []int{1, 2, 10, 60} {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		_, err := convert.Run(ctx, dir, out, &convert.Options{Types: []string{"q4_k"}, Threads: 3, Progress: func(convert.Progress) {
			if calls++; calls == after {
				left, err := os.ReadDir(folder)
				require.NoError(t, err)
				require.Len(t, left, 1)
				info, err := left[0].Info()
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o600), info.Mode())
				cancel(why)
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, after, calls)
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// A name that is taken while Run works is not overwritten.
func TestNameTakenMeanwhile(t *testing.T) {
	dir := newCheckpoint(t, randmodel.Spec{})
	out := filepath.Join(t.TempDir(), "model.gguf")
	done := false
	_, err := convert.Run(t.Context(), dir, out, &convert.Options{Progress: func(convert.Progress) {
		if !done {
			done = true
			require.NoError(t, os.WriteFile(out, []byte("somebody else's"), 0o666))
		}
	}})
	require.ErrorIs(t, err, fs.ErrExist)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "somebody else's", string(text))
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// A checkpoint that changes under the converter's hands is an error, not a wrong file.
func TestCheckpointCutShortMeanwhile(t *testing.T) {
	dir := newCheckpoint(t, small())
	folder := t.TempDir()
	done := false
	_, err := convert.Run(t.Context(), dir, filepath.Join(folder, "model.gguf"), &convert.Options{Threads: 1,
		Progress: func(convert.Progress) {
			if !done {
				done = true
				require.NoError(t, os.Truncate(filepath.Join(dir, "model.safetensors"), 10_000))
			}
		}})
	require.ErrorContains(t, err, "read: ")
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)
}
