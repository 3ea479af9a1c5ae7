package convert

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// defaultMLLM is transformers' LlavaNextConfig() without parts: Llama 7B and ViT-L/14 at 336 pixels, but for the image
// token, which that leaves outside the vocabulary.
func defaultMLLM() *mllmConfig {
	return &mllmConfig{
		text: decoder{width: 4096, ffn: 11008, layers: 32, heads: 32, kvHeads: 32, headDim: 128, vocab: 32000, context: 2048,
			eps: 1e-6, theta: 10000},
		vision: tower{1024, 4096, 24, 16, 1e-5, "quick_gelu"}, imageSide: 336, patch: 14, runs: 23,
		imageToken: 5, pinpoints: [][2]int64{{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}},
	}
}

func TestMLLMConfigDefaults(t *testing.T) {
	for _, text := range []string{
		`{"image_token_index": 5}`,
		`{"image_token_index": 5, "text_config": null, "vision_config": null, "image_grid_pinpoints": null}`,
		`{"image_token_index": 5, "text_config": {}}`,
		`{"image_token_index": 5, "text_config": {"num_key_value_heads": null, "head_dim": null, "rope_scaling": null}}`,
		`{"image_token_index": 5, "text_config": {"model_type": "llama", "sliding_window": 7}}`, // Llama knows no window
	} {
		got, err := parseMLLMConfig([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, defaultMLLM(), got, text)
	}

	// A vision_config that is there has CLIPVisionConfig's defaults, and Mistral has its own.
	got, err := parseMLLMConfig([]byte(`{"image_token_index": 5, "vision_config": {}, "image_grid_pinpoints": [[224, 448]],
		"text_config": {"model_type": "mistral", "sliding_window": null}}`))
	require.NoError(t, err)
	want := defaultMLLM()
	want.vision, want.imageSide, want.patch, want.runs = tower{768, 3072, 12, 12, 1e-5, "quick_gelu"}, 224, 32, 11
	want.pinpoints = [][2]int64{{224, 448}}
	want.text.ffn, want.text.kvHeads, want.text.context = 14336, 8, 1<<17
	require.Equal(t, want, got)

	got, err = parseMLLMConfig([]byte(`{"image_token_index": 5,
		"text_config": {"model_type": "mistral", "sliding_window": null, "num_key_value_heads": null}}`))
	require.NoError(t, err)
	require.EqualValues(t, 32, got.text.kvHeads)
}

func TestMLLMConfigFields(t *testing.T) {
	got, err := parseMLLMConfig([]byte(`{"image_token_index": 7, "vision_feature_layer": 3, "tie_word_embeddings": true,
		"vision_feature_select_strategy": "default", "projector_hidden_act": "gelu", "image_grid_pinpoints": [[64, 128], [128, 64]],
		"text_config": {"model_type": "mistral", "hidden_size": 48, "intermediate_size": 65536, "num_hidden_layers": 5,
			"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 20, "vocab_size": 1000, "max_position_embeddings": 4096,
			"rms_norm_eps": 1e-4, "rope_theta": 5e5, "sliding_window": 4096, "tie_word_embeddings": true, "hidden_act": "silu",
			"attention_bias": false, "mlp_bias": false},
		"vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
			"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": 64, "patch_size": 8,
			"num_channels": 3}}`))
	require.NoError(t, err)
	require.Equal(t, &mllmConfig{
		text: decoder{width: 48, ffn: 65536, layers: 5, heads: 6, kvHeads: 3, headDim: 20, vocab: 1000, context: 4096, eps: 1e-4,
			theta: 5e5, tied: true},
		tied: true, vision: tower{32, 64, 4, 2, 1e-6, "gelu"}, imageSide: 64, patch: 8, runs: 3, imageToken: 7,
		pinpoints: [][2]int64{{64, 128}, {128, 64}},
	}, got)

	// Newer files keep the base of the rotary positions elsewhere.
	got, err = parseMLLMConfig([]byte(`{"image_token_index": 7,
		"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}}`))
	require.NoError(t, err)
	require.InDelta(t, 1e6, got.text.theta, 0)
}

func TestMLLMConfigRefuses(t *testing.T) {
	top := func(field string) string { return `{"image_token_index": 5, ` + field + `}` }
	text := func(field string) string { return top(`"text_config": {` + field + `}`) }
	mistral := func(field string) string { return text(`"model_type": "mistral", ` + field) }
	vision := func(field string) string { return top(`"vision_config": {` + field + `}`) }
	for _, c := range []struct{ config, want string }{
		{``, "want a JSON object"},
		{`[]`, "want a JSON object"},
		{`{}`, "image_token_index: want less than text_config.vocab_size 32000, got 32000"},
		{`{"image_token_index": -1}`, "image_token_index: want 0 to 1048575, got -1"},
		{top(`"text_config": 1`), "text_config: want a JSON object"},
		{top(`"vision_config": []`), "vision_config: want a JSON object"},
		{top(`"vision_feature_select_strategy": "full"`), `vision_feature_select_strategy: want "default", got "full"`},
		{top(`"projector_hidden_act": "gelu_new"`), `projector_hidden_act: want "gelu", got "gelu_new"`},
		{top(`"multimodal_projector_bias": false`), "a projector without biases is not supported"},
		{top(`"vision_feature_layer": [-2, -5]`), "vision_feature_layer: want a whole number"},
		{top(`"vision_feature_layer": 0`), "want the state after one of the vision tower's 24 layers, got 0"},
		{top(`"vision_feature_layer": 25`), "want the state after one of the vision tower's 24 layers, got 25"},
		{top(`"vision_feature_layer": -25`), "want the state after one of the vision tower's 24 layers, got -25"},
		{top(`"image_grid_pinpoints": []`), "image_grid_pinpoints: want 1 to 256 resolutions, got 0"},
		{top(`"image_grid_pinpoints": [[336]]`), "image_grid_pinpoints: want [height, width]"},
		{top(`"image_grid_pinpoints": [[336, 0]]`), "image_grid_pinpoints: want [height, width] of 1 to 8192"},
		{top(`"image_grid_pinpoints": [[336, 672.5]]`), "image_grid_pinpoints: want a list"},
		{top(`"image_grid_pinpoints": "x"`), "image_grid_pinpoints: want a list"},
		{top(`"image_grid_pinpoints": [[336, 500]]`), "want multiples of vision_config.image_size 336, got [336 500]"},
		{text(`"model_type": "qwen2"`), `text_config.model_type: want "mistral" or "llama", got "qwen2"`},
		{text(`"attention_bias": true`), "text_config.attention_bias: want false"},
		{text(`"mlp_bias": true`), "text_config.mlp_bias: want false"},
		{text(`"attention_bias": 1`), "attention_bias: want true or false"},
		{text(`"hidden_act": "gelu"`), `text_config.hidden_act: want "silu", got "gelu"`},
		{text(`"rope_scaling": {"type": "linear", "factor": 2.0}`), `text_config.rope_scaling.type: want "default", got "linear"`},
		{text(`"rope_scaling": {"rope_type": "llama3"}`), `rope_scaling.rope_type: want "default", got "llama3"`},
		{text(`"rope_parameters": {"rope_type": "yarn"}`), `rope_parameters.rope_type: want "default", got "yarn"`},
		{text(`"rope_scaling": 3`), "rope_scaling: want a JSON object"},
		{text(`"rope_theta": 0`), "text_config.rope_theta: want 1 to 1e+12, got 0"},
		{text(`"rope_theta": null`), "text_config.rope_theta: want a number"},
		{text(`"rope_theta": 1e999`), "text_config.rope_theta: want a number"},
		{text(`"num_key_value_heads": 5`), "num_attention_heads 32 cannot share num_key_value_heads 5"},
		{text(`"head_dim": 33`), "text_config.head_dim: want an even number"},
		{text(`"head_dim": 0`), "text_config.head_dim: want 2 to 1024, got 0"},
		{text(`"rms_norm_eps": 0`), "rms_norm_eps: want more than 0"},
		{text(`"vocab_size": 5`), "image_token_index: want less than text_config.vocab_size 5"},
		{mistral(`"x": 0`), "sliding_window: want null or at least max_position_embeddings, 131072, got 4096"}, // Mistral's default
		{mistral(`"sliding_window": 4096, "max_position_embeddings": 4097`), "attention over a sliding window is not supported"},
		{vision(`"model_type": "siglip_vision_model"`), `vision_config.model_type: want "clip_vision_model", got "siglip_vision_model"`},
		{vision(`"hidden_act": "relu"`), `vision_config.hidden_act: want "quick_gelu" or "gelu", got "relu"`},
		{vision(`"num_attention_heads": 5`), "hidden_size 768 cannot be split among num_attention_heads 5"},
		{vision(`"patch_size": 15`), "image_size 224 is not a multiple of patch_size 15"},
		{vision(`"num_channels": 1`), "num_channels: want 3 to 3, got 1"},
	} {
		_, err := parseMLLMConfig([]byte(c.config))
		require.ErrorContains(t, err, c.want, c.config)
		require.Less(t, len(err.Error()), 400)
	}
	_, err := parseMLLMConfig([]byte(mistral(`"sliding_window": 4096, "max_position_embeddings": 4096`)))
	require.NoError(t, err, "a window that the context fits into changes nothing")
}

// Every size at zero, minus one, and past what any machine can hold.
func TestMLLMConfigHostileSizes(t *testing.T) {
	values := []string{"0", "-1", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "2147483648", "1e300", "0.5",
		"512.0", "true", `"512"`, "{}", "[512]", "1048577"}
	fields := map[string][]string{
		"text_config": {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
			"head_dim", "vocab_size", "max_position_embeddings"},
		"vision_config": {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"},
	}
	for section, names := range fields {
		for _, name := range names {
			for _, v := range values {
				_, err := parseMLLMConfig([]byte(`{"` + section + `": {"` + name + `": ` + v + `}}`))
				require.ErrorContains(t, err, section+"."+name+": want", v)
			}
		}
	}
}

// Whatever the file says, parsing it ends in a sound configuration or an error.
func FuzzMLLMConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[`, `null`, `{"image_token_index": 5}`,
		`{"image_token_index": 5, "text_config": {"model_type": "mistral", "sliding_window": null, "num_key_value_heads": 4, "head_dim": 6}}`,
		`{"image_token_index": 5, "vision_config": {"image_size": 28, "patch_size": 14}, "image_grid_pinpoints": [[28, 56]]}`,
		`{"image_token_index": 5, "vision_feature_layer": -1, "text_config": {"rope_parameters": {"rope_theta": 1e6}, "vocab_size": 6}}`,
		`{"vision_feature_layer": [1], "image_grid_pinpoints": [[1], []], "text_config": {"rope_scaling": {"type": "linear"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseMLLMConfig(text)
		if err != nil || c.text.layers+c.vision.layers > 64 { // a few enormous ones would only be slow
			return
		}
		if c.runs < 1 || c.runs > c.vision.layers || len(c.pinpoints) == 0 || c.text.heads%c.text.kvHeads != 0 {
			t.Fatalf("unsound: %+v", c)
		}
		names := findNaming(func(string) bool { return false })
		seen := map[string]bool{}
		for _, w := range append(append(c.language(names, true), c.projector(names)...), c.unused(names)...) {
			if w.elements() <= 0 || w.row() <= 0 || w.elements()%w.row() != 0 || seen[w.hub] {
				t.Fatalf("%s has the shape %v", w.hub, w.shape)
			}
			if w.heads > 0 && w.shape[0]%(2*w.heads) != 0 {
				t.Fatalf("%s has %d rows for %d heads", w.hub, w.shape[0], w.heads)
			}
			seen[w.hub] = true
		}
	})
}

// The published models' geometry has the size that was published, and q4_k_m one that runs in 8 GB.
func TestWeightsOfThe7B(t *testing.T) {
	c := sevenBillion()
	names := findNaming(func(string) bool { return false })
	parameters := int64(0)
	for _, w := range append(append(c.language(names, true), c.projector(names)...), c.unused(names)...) {
		require.Less(t, len(w.name), 64)
		parameters += w.elements()
	}
	require.InDelta(t, 7.567, float64(parameters)/1e9, 0.001)
	for name, want := range map[string][2]float64{"f16": {14.4, 14.6}, "q8_0": {7.6, 7.8}, "q4_k_m": {4.3, 4.8}, "q4_k_s": {4.0, 4.4}} {
		s, err := findScheme(name)
		require.NoError(t, err)
		bytes := weighed(s, c.language(names, true)) / 8
		require.Greater(t, bytes/1e9, want[0], name)
		require.Less(t, bytes/1e9, want[1], name)
	}
}

// The configuration of the published models, as their files have it.
func TestPublishedConfig(t *testing.T) {
	text, err := json.Marshal(map[string]any{
		"model_type": "llava_next", "image_token_index": 32000, "projector_hidden_act": "gelu", "vision_feature_layer": -2,
		"vision_feature_select_strategy": "default", "tie_word_embeddings": false,
		"image_grid_pinpoints": [][]int{{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}},
		"text_config": map[string]any{"model_type": "mistral", "intermediate_size": 14336, "max_position_embeddings": 32768,
			"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": nil, "vocab_size": 32064},
		"vision_config": map[string]any{"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336,
			"intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
			"vocab_size": 32000},
	})
	require.NoError(t, err)
	got, err := parseMLLMConfig(text)
	require.NoError(t, err)
	require.Equal(t, sevenBillion(), got)
}
