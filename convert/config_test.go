package convert

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An empty configuration is transformers' CLIPConfig(): ViT-B/32.
func TestConfigDefaults(t *testing.T) {
	want := &clipConfig{
		projection: 512,
		text:       tower{512, 2048, 12, 8, 1e-5, "quick_gelu"},
		vocab:      49408, context: 77, eos: 49407,
		vision:    tower{768, 3072, 12, 12, 1e-5, "quick_gelu"},
		imageSide: 224, patch: 32,
	}
	for _, text := range []string{
		`{}`,
		`{"model_type": "clip", "text_config": {}, "vision_config": {}}`,
		`{"text_config": null, "vision_config": null, "text_config_dict": null, "vision_config_dict": null}`,
		`{"text_config": {"projection_dim": 9, "unheard_of": [1]}, "vision_config": {"projection_dim": 9}}`,
	} {
		got, err := parseCLIPConfig([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestConfigFields(t *testing.T) {
	got, err := parseCLIPConfig([]byte(`{"projection_dim": 96,
		"text_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
			"layer_norm_eps": 1e-6, "hidden_act": "gelu", "vocab_size": 1000, "max_position_embeddings": 50, "eos_token_id": 2},
		"vision_config": {"hidden_size": 48, "intermediate_size": 65536, "num_hidden_layers": 4, "num_attention_heads": 3,
			"layer_norm_eps": 1e-4, "hidden_act": "gelu", "image_size": 336, "patch_size": 14, "num_channels": 3}}`))
	require.NoError(t, err)
	require.Equal(t, &clipConfig{
		projection: 96,
		text:       tower{32, 64, 3, 2, 1e-6, "gelu"},
		vocab:      1000, context: 50, eos: 2,
		vision:    tower{48, 65536, 4, 3, 1e-4, "gelu"},
		imageSide: 336, patch: 14,
	}, got)
	require.EqualValues(t, 577, got.positions())

	// The older key wins, as in transformers.
	got, err = parseCLIPConfig([]byte(`{"text_config": {"hidden_size": 64}, "text_config_dict": {"hidden_size": 128},
		"vision_config_dict": {"patch_size": 16}}`))
	require.NoError(t, err)
	require.EqualValues(t, 128, got.text.width)
	require.EqualValues(t, 16, got.patch)
}

func TestConfigRefuses(t *testing.T) {
	text := func(field string) string { return `{"text_config": {` + field + `}}` }
	vision := func(field string) string { return `{"vision_config": {` + field + `}}` }
	cases := []struct{ config, want string }{
		{``, "want a JSON object"},
		{`{`, "want a JSON object"},
		{`[]`, "want a JSON object"},
		{`{} {}`, "want a JSON object"},
		{`{"text_config": 1}`, "text_config: want a JSON object"},
		{`{"vision_config": "x"}`, "vision_config: want a JSON object"},
		{`{"projection_dim": 0}`, "projection_dim: want 1 to 16384, got 0"},
		{text(`"hidden_act": "relu"`), `text_config.hidden_act: want "quick_gelu" or "gelu", got "relu"`},
		{text(`"hidden_act": "gelu_new"`), `hidden_act: want "quick_gelu" or "gelu"`},
		{text(`"hidden_act": null`), "hidden_act: want a string, got \"null\""},
		{text(`"hidden_act": 1`), "hidden_act: want a string"},
		{text(`"hidden_act": "gelu"`), `text_config has "gelu" and vision_config "quick_gelu"`},
		{text(`"num_attention_heads": 7`), "hidden_size 512 cannot be split among num_attention_heads 7"},
		{text(`"eos_token_id": 49408`), "eos_token_id: want less than vocab_size 49408, got 49408"},
		{text(`"vocab_size": 1000`), "eos_token_id: want less than vocab_size 1000, got 49407"},
		{text(`"eos_token_id": [2]`), "eos_token_id: want a whole number"},
		{vision(`"num_channels": 1`), "num_channels: want 3 to 3, got 1"},
		{vision(`"patch_size": 15`), "image_size 224 is not a multiple of patch_size 15"},
		{vision(`"patch_size": 448`), "image_size 224 is not a multiple of patch_size 448"},
		{vision(`"image_size": 4096, "patch_size": 1`), "make 16777216 patches: want at most 16384"},
		{text(`"layer_norm_eps": 0`), "layer_norm_eps: want more than 0 and less than 1, got 0"},
		{text(`"layer_norm_eps": 1`), "layer_norm_eps: want more than 0"},
		{text(`"layer_norm_eps": -1e-5`), "layer_norm_eps: want more than 0"},
		{text(`"layer_norm_eps": 1e-60`), "layer_norm_eps: want more than 0"}, // nothing, as a float32
		{text(`"layer_norm_eps": "1e-5"`), "layer_norm_eps: want a number"},
		{text(`"layer_norm_eps": null`), "layer_norm_eps: want a number"},
		{text(`"hidden_size": 1e999`), "hidden_size: want a whole number"},
		{text(`"hidden_size": "` + strings.Repeat("x", 1000) + `"`), "... (1002 bytes)"},
	}
	for _, c := range cases {
		_, err := parseCLIPConfig([]byte(c.config))
		require.ErrorContains(t, err, c.want, c.config)
		require.Less(t, len(err.Error()), 300)
	}
}

// Every size at zero, minus one, and past what any machine can hold.
func TestConfigHostileSizes(t *testing.T) {
	values := []string{"0", "-1", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "2147483648",
		"1e300", "0.5", "512.0", "true", "null", `"512"`, "{}", "[512]", "1048577"}
	fields := map[string][]string{
		"text_config": {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
			"max_position_embeddings"},
		"vision_config": {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size",
			"patch_size", "num_channels"},
	}
	for section, names := range fields {
		for _, name := range names {
			for _, v := range values {
				_, err := parseCLIPConfig([]byte(`{"` + section + `": {"` + name + `": ` + v + `}}`))
				require.ErrorContains(t, err, section+"."+name+": want", v)
			}
		}
	}
	for _, v := range values {
		_, err := parseCLIPConfig([]byte(`{"projection_dim": ` + v + `}`))
		require.ErrorContains(t, err, "projection_dim: want", v)
	}
}

func TestModelType(t *testing.T) {
	got, err := modelType([]byte(`{"model_type": "clip"}`))
	require.NoError(t, err)
	require.Equal(t, "clip", got)
	for config, want := range map[string]string{
		`{}`:                   "model_type is missing",
		`{"model_type": ""}`:   "model_type is missing",
		`{"model_type": 1}`:    "model_type: want a string",
		`{"model_type": null}`: "model_type: want a string",
		`nonsense`:             "want a JSON object",
	} {
		_, err := modelType([]byte(config))
		require.ErrorContains(t, err, want, config)
	}
}

// Whatever the file says, parsing it ends in a sound configuration or an error.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{`{}`, `{"text_config": {"hidden_size": 64, "num_attention_heads": 2}}`,
		`{"vision_config": {"image_size": 336, "patch_size": 14}, "projection_dim": 1}`, `{"text_config_dict": {"vocab_size": 3}}`,
		`{"text_config": {"layer_norm_eps": 1e-5, "hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}}`, `[`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCLIPConfig(text)
		if err != nil {
			return
		}
		// A few enormous ones would only be slow.
		if c.text.layers+c.vision.layers > 64 {
			return
		}
		for _, w := range c.weights() {
			if w.elements() <= 0 || w.row() <= 0 || w.elements()%w.row() != 0 {
				t.Fatalf("%s has the shape %v", w.hub, w.shape)
			}
		}
	})
}
