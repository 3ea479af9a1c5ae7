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

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/safetensors"
)

// A file of an MLLM checkpoint that is missing, damaged, of another model, or beyond what runs.
func TestRefusesMLLMFiles(t *testing.T) {
	json := func(name string, change func(map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { editJSON(t, filepath.Join(dir, name), change) }
	}
	config := func(key string, value any) func(*testing.T, string) {
		return json("config.json", func(v map[string]any) {
			at := v
			if section, leaf, nested := strings.Cut(key, "."); nested {
				at, key = v[section].(map[string]any), leaf
			}
			at[key] = value
		})
	}
	preprocessor := func(key string, value any) func(*testing.T, string) {
		return json("preprocessor_config.json", func(v map[string]any) {
			if v[key] = value; value == nil {
				delete(v, key)
			}
		})
	}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		wants  []string
	}{
		"features with the class token": {config("vision_feature_select_strategy", "full"), []string{`want "default", got "full"`}},
		"another projector":             {config("projector_hidden_act", "relu"), []string{"projector_hidden_act"}},
		"a window":                      {config("text_config.sliding_window", 1024), []string{"config.json: text_config.sliding_window", "not supported"}},
		"biases":                        {config("text_config.attention_bias", true), []string{"attention_bias"}},
		"scaled positions":              {config("text_config.rope_scaling", map[string]any{"type": "dynamic"}), []string{"rope_scaling.type"}},
		"another decoder":               {config("text_config.model_type", "gemma"), []string{`got "gemma"`}},
		"another vision tower":          {config("vision_config.model_type", "siglip_vision_model"), []string{"siglip_vision_model"}},
		"another image token":           {config("image_token_index", 7), []string{"image_token_index is 7", "<image>, which has it as 754"}},
		"another size of tiles":         {preprocessor("crop_size", map[string]int{"height": 28, "width": 28}), []string{"makes images of 28x28", "reads 56x56"}},
		"another grid": {preprocessor("image_grid_pinpoints", [][]int{{56, 112}}),
			[]string{"preprocessor_config.json has [[56 112]] and config.json [[56 112] [112 56]", "want the same in both"}},
		"no grid": {preprocessor("image_grid_pinpoints", nil), []string{"image_grid_pinpoints is missing from preprocessor_config.json"}},
		"tokens past the table": {config("text_config.vocab_size", 755),
			[]string{"the tokenizer has 756 tokens and config.json's language model knows 755"}},
		"no image token": {func(t *testing.T, dir string) {
			for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
				text, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				text = []byte(strings.ReplaceAll(string(text), `<image>`, `<picture>`))
				text = []byte(strings.ReplaceAll(string(text), `\u003cimage\u003e`, `<picture>`))
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o666))
			}
		}, []string{"image_token_index is 754", "<image>, which has no such token"}},
		"no tokenizer": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer.json"))) },
			[]string{"want tokenizer.json", "download the whole checkpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newMLLM(t, mllm())
			c.change(t, dir)
			mustFail(t, dir, nil, c.wants...)
		})
	}
}

func TestRefusesMLLMTensors(t *testing.T) {
	const query = "language_model.model.layers.1.self_attn.q_proj.weight"
	extra := func(name string) func([]tensor) []tensor {
		return func(list []tensor) []tensor {
			return append(list, tensor{name, safetensors.BF16, []int64{1}, []byte{0, 0}})
		}
	}
	for name, c := range map[string]struct {
		change func([]tensor) []tensor
		wants  []string
	}{
		"missing": {func(list []tensor) []tensor {
			return slices.DeleteFunc(list, func(x tensor) bool { return x.name == query || x.name == "image_newline" })
		}, []string{"tensor is missing: image_newline; " + query}},
		"foreign":                {extra("language_model.model.layers.0.lora_A.weight"), []string{"tensor is unknown", "lora_A"}},
		"a bias":                 {extra("language_model.model.layers.0.self_attn.q_proj.bias"), []string{"is unknown", "q_proj.bias"}},
		"a vision layer more":    {extra("vision_tower.vision_model.encoder.layers.3.layer_norm1.bias"), []string{"is unknown", "layers.3."}},
		"names of both versions": {extra("model.language_model.embed_tokens.weight"), []string{"is unknown", "model.language_model.embed_tokens.weight"}},
		"heads of another size": {one(query, func(x *tensor) { x.shape[0], x.data = 64, x.data[:64*64*2] }),
			[]string{query + ": want [128 64], got [64 64]"}},
		"keys like queries": {one(strings.Replace(query, "q_proj", "k_proj", 1), func(x *tensor) {
			x.shape[0], x.data = 128, append(x.data, x.data...)
		}), []string{"k_proj.weight: want [64 64], got [128 64]"}},
		"a NaN in a reordered row": {one16(query, 64*64+3, 0x7fc0), []string{"tensor " + query + ": element ", " is NaN"}},
		"a NaN in the projector":   {one16("multi_modal_projector.linear_2.bias", 3, 0x7fc0), []string{"linear_2.bias: element 3 is NaN"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newMLLM(t, mllm())
			edit(t, dir, c.change)
			mustFail(t, dir, &convert.Options{Types: []string{"q8_0"}}, c.wants...)
		})
	}
	// Buffers that are computed are passed over.
	dir := newMLLM(t, mllm())
	edit(t, dir, extra("language_model.model.layers.0.self_attn.rotary_emb.inv_freq"))
	edit(t, dir, extra("vision_tower.vision_model.embeddings.position_ids"))
	toPair(t, dir, nil)
}

// both are options that make three files of an MLLM.
func both() *convert.Options { return &convert.Options{Types: []string{"q8_0", "f16"}} }

// Any of the files that is there is reason not to begin, and is named.
func TestEachFileCounts(t *testing.T) {
	dir := newMLLM(t, mllm())
	for _, name := range []string{"m-q8_0.gguf", "m-f16.gguf", "mmproj-m.gguf"} {
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("kept"), 0o666))
		o := both()
		_, err := convert.Run(t.Context(), dir, filepath.Join(folder, "m.gguf"), o)
		require.ErrorIs(t, err, fs.ErrExist)
		var exists *convert.ExistsError
		require.ErrorAs(t, err, &exists)
		require.Equal(t, filepath.Join(folder, name), exists.Path)
		require.Equal(t, []string{name}, namesIn(t, folder))
		o.Overwrite = true
		_, err = convert.Run(t.Context(), dir, filepath.Join(folder, "m.gguf"), o)
		require.NoError(t, err)
		require.Equal(t, []string{"m-f16.gguf", "m-q8_0.gguf", "mmproj-m.gguf"}, namesIn(t, folder))
	}
}

// Cancelled at any point, none of the files is left.
func TestCancellationOfSeveralFiles(t *testing.T) {
	dir := newMLLM(t, mllm())
	folder := t.TempDir()
	for _, after := range []int{1, 20, 60} {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		o := both()
		o.Progress = func(convert.Progress) {
			if calls++; calls == after {
				require.Len(t, namesIn(t, folder), 3)
				cancel()
			}
		}
		_, err := convert.Run(ctx, dir, filepath.Join(folder, "m.gguf"), o)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, namesIn(t, folder))
	}
}

// meanwhile converts, and does something once while the files are being written.
func meanwhile(t *testing.T, dir, out string, o *convert.Options, do func()) error {
	t.Helper()
	done := false
	o.Progress = func(convert.Progress) {
		if !done {
			done = true
			do()
		}
	}
	_, err := convert.Run(t.Context(), dir, out, o)
	require.True(t, done)
	return err
}

// Where one of the names is taken meanwhile, none of the files appears, and what took the name stays.
func TestOneNameTakenMeanwhile(t *testing.T) {
	dir := newMLLM(t, mllm())
	for _, name := range []string{"m-q8_0.gguf", "m-f16.gguf", "mmproj-m.gguf"} {
		folder := t.TempDir()
		err := meanwhile(t, dir, filepath.Join(folder, "m.gguf"), both(), func() {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("somebody else's"), 0o666))
		})
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, name)
		require.Equal(t, []string{name}, namesIn(t, folder))
		text, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		require.Equal(t, "somebody else's", string(text))
	}
}

// Where one of the files cannot take its place, those that were replaced before come back.
func TestReplacedFilesComeBack(t *testing.T) {
	dir := newMLLM(t, mllm())
	names := []string{"m-f16.gguf", "m-q8_0.gguf", "mmproj-m.gguf"}
	for _, blocked := range names {
		folder := t.TempDir()
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("the old "+name), 0o640))
		}
		o := both()
		o.Overwrite = true
		err := meanwhile(t, dir, filepath.Join(folder, "m.gguf"), o, func() {
			// A file cannot take the place of a folder.
			require.NoError(t, os.Remove(filepath.Join(folder, blocked)))
			require.NoError(t, os.Mkdir(filepath.Join(folder, blocked), 0o777))
		})
		require.ErrorContains(t, err, blocked)
		require.Equal(t, names, namesIn(t, folder))
		for _, name := range names {
			if name != blocked {
				text, err := os.ReadFile(filepath.Join(folder, name))
				require.NoError(t, err)
				require.Equal(t, "the old "+name, string(text))
			}
		}
	}
}

// Links are followed, each file's own, and files that are replaced keep their modes.
func TestOverwritesSeveral(t *testing.T) {
	dir := newMLLM(t, mllm())
	folder, elsewhere := t.TempDir(), t.TempDir()
	old := filepath.Join(elsewhere, "old.gguf")
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o600))
	require.NoError(t, os.Symlink(old, filepath.Join(folder, "mmproj-m.gguf")))
	_, err := convert.Run(t.Context(), dir, filepath.Join(folder, "m.gguf"), &convert.Options{Overwrite: true})
	require.NoError(t, err)
	require.Equal(t, []string{"m.gguf", "mmproj-m.gguf"}, namesIn(t, folder))
	require.Equal(t, []string{"old.gguf"}, namesIn(t, elsewhere))
	info, err := os.Stat(old)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	require.Greater(t, info.Size(), int64(100_000))
}

// A checkpoint that is cut short while rows are read out of order is an error, not a wrong file.
func TestMLLMCutShortMeanwhile(t *testing.T) {
	dir := newMLLM(t, mllm())
	folder := t.TempDir()
	for _, size := range []int64{20_000, 120_000, 400_000} {
		require.NoError(t, os.RemoveAll(dir))
		dir = newMLLM(t, mllm())
		o := both()
		o.Threads = 1
		err := meanwhile(t, dir, filepath.Join(folder, "m.gguf"), o, func() {
			require.NoError(t, os.Truncate(filepath.Join(dir, "model.safetensors"), size))
		})
		require.ErrorContains(t, err, "read: ", fmt.Sprint(size))
		require.False(t, errors.Is(err, fs.ErrExist))
		require.Empty(t, namesIn(t, folder))
	}
}
