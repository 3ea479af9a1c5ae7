package convert

import "github.com/bgevl/bgevl/internal/gguf"

// setLanguage announces the metadata of an MLLM's language model.
func setLanguage(w *gguf.Writer, c *mllmConfig, src *checkpoint, s scheme, name string, prints []string) {
	t := c.text
	setGeneral(w, "llama", name, s)
	w.SetUint32("llama.block_count", uint32(t.layers))
	w.SetUint32("llama.context_length", uint32(t.context))
	w.SetUint32("llama.embedding_length", uint32(t.width))
	w.SetUint32("llama.feed_forward_length", uint32(t.ffn))
	w.SetUint32("llama.vocab_size", uint32(t.vocab))
	w.SetUint32("llama.attention.head_count", uint32(t.heads))
	w.SetUint32("llama.attention.head_count_kv", uint32(t.kvHeads))
	w.SetUint32("llama.attention.key_length", uint32(t.headDim))
	w.SetUint32("llama.attention.value_length", uint32(t.headDim))
	w.SetFloat32("llama.attention.layer_norm_rms_epsilon", float32(t.eps))
	w.SetUint32("llama.rope.dimension_count", uint32(t.headDim))
	w.SetFloat32("llama.rope.freq_base", float32(t.theta))

	w.SetString("bgevl.family", "mllm")
	w.SetUint32("bgevl.format_version", formatVersion)
	w.SetString("bgevl.pooling", "last")
	w.SetString("bgevl.template", "bge-vl-mllm")
	w.SetUint32("bgevl.image_token_id", uint32(c.imageToken))
	w.SetString("bgevl.source_config", string(src.config))
	w.SetString("bgevl.fingerprint", prints[modelPart])
	w.SetString("bgevl.projector_fingerprint", prints[projectorPart])
	setTokenizer(w, src)
}

// setProjector announces the metadata of an MLLM's vision tower and projector.
func setProjector(w *gguf.Writer, c *mllmConfig, src *checkpoint, s scheme, name string, prints []string) error {
	setGeneral(w, "clip", name, s)
	w.SetString("general.type", "mmproj")
	w.SetBool("clip.has_text_encoder", false)
	w.SetBool("clip.has_vision_encoder", true)
	w.SetBool("clip.has_llava_projector", true)
	w.SetString("clip.projector_type", "mlp")
	w.SetBool("clip.use_gelu", c.vision.act == "gelu")
	vision := c.vision
	vision.layers = c.runs
	setTower(w, "clip.vision.", vision, c.text.width)
	w.SetUint32("clip.vision.image_size", uint32(c.imageSide))
	w.SetUint32("clip.vision.patch_size", uint32(c.patch))
	if err := setMeanStd(w, src.preprocessor); err != nil {
		return err
	}
	// llama.cpp runs one layer less than a file has, unless it is told which one's output is wanted.
	w.SetInt32s("clip.vision.feature_layer", []int32{int32(c.runs)})
	var points []int32
	for _, p := range c.pinpoints {
		points = append(points, int32(p[0]), int32(p[1]))
	}
	w.SetInt32s("clip.vision.image_grid_pinpoints", points)
	w.SetString("clip.vision.mm_patch_merge_type", "spatial_unpad")
	w.SetString("clip.vision.image_aspect_ratio", "anyres")
	w.SetUint32("clip.vision.image_crop_resolution", uint32(c.imageSide))

	w.SetString("bgevl.family", "mllm-projector")
	w.SetUint32("bgevl.format_version", formatVersion)
	w.SetString("bgevl.preprocessor_config", string(src.preprocessor))
	w.SetString("bgevl.fingerprint", prints[projectorPart])
	return nil
}
