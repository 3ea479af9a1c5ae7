package convert

import (
	"encoding/json"
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
)

const (
	// formatVersion is bgevl.format_version: a reader refuses a file of a later one.
	formatVersion = 1
	// quantizationVersion is general.quantization_version: the edition of ggml's block layouts.
	quantizationVersion = 2
)

// setCLIP announces the metadata of a CLIP file.
func setCLIP(w *gguf.Writer, c *clipConfig, src *checkpoint, s scheme, name, fingerprint string) error {
	setGeneral(w, "clip", name, s)
	w.SetBool("clip.has_text_encoder", true)
	w.SetBool("clip.has_vision_encoder", true)
	w.SetBool("clip.use_gelu", c.text.act == "gelu") // false: quick_gelu, and the two towers have the same
	setTower(w, "clip.text.", c.text, c.projection)
	w.SetUint32("clip.text.context_length", uint32(c.context))
	w.SetUint32("clip.text.vocab_size", uint32(c.vocab))
	setTower(w, "clip.vision.", c.vision, c.projection)
	w.SetUint32("clip.vision.image_size", uint32(c.imageSide))
	w.SetUint32("clip.vision.patch_size", uint32(c.patch))
	if err := setMeanStd(w, src.preprocessor); err != nil {
		return err
	}
	w.SetString("bgevl.family", "clip")
	w.SetUint32("bgevl.format_version", formatVersion)
	w.SetString("bgevl.pooling", "clip")
	w.SetUint32("bgevl.text.eos_token_id", uint32(c.eos))
	w.SetString("bgevl.preprocessor_config", string(src.preprocessor))
	w.SetString("bgevl.source_config", string(src.config))
	w.SetString("bgevl.fingerprint", fingerprint)
	if src.scale != nil {
		v, err := src.scale.value()
		if err != nil {
			return err
		}
		w.SetFloat32("bgevl.logit_scale", v)
	}
	setTokenizer(w, src)
	return nil
}

// setGeneral announces what GGUF asks of every file.
func setGeneral(w *gguf.Writer, architecture, name string, s scheme) {
	w.SetString("general.architecture", architecture)
	w.SetString("general.name", name)
	w.SetUint32("general.file_type", s.fileType)
	w.SetUint32("general.quantization_version", quantizationVersion)
}

func setTokenizer(w *gguf.Writer, src *checkpoint) {
	w.SetString("tokenizer.huggingface.json", string(src.tokenizer))
	for _, k := range src.keys {
		w.Set(k.Name, k.Value)
	}
}

func setMeanStd(w *gguf.Writer, preprocessor []byte) error {
	mean, std, err := meanStd(preprocessor)
	if err != nil {
		return err
	}
	w.SetFloat32s("clip.vision.image_mean", mean)
	w.SetFloat32s("clip.vision.image_std", std)
	return nil
}

func setTower(w *gguf.Writer, prefix string, t tower, projection int64) {
	w.SetUint32(prefix+"embedding_length", uint32(t.width))
	w.SetUint32(prefix+"feed_forward_length", uint32(t.ffn))
	w.SetUint32(prefix+"block_count", uint32(t.layers))
	w.SetUint32(prefix+"projection_dim", uint32(projection))
	w.SetUint32(prefix+"attention.head_count", uint32(t.heads))
	w.SetFloat32(prefix+"attention.layer_norm_epsilon", float32(t.eps))
}

// checkPreprocessor holds a preprocessor_config.json against the vision tower.
func checkPreprocessor(text []byte, c *clipConfig) error {
	p, err := pixels.ParseConfig(text)
	if err != nil {
		return err
	}
	return checkOutputSize(p, c.imageSide)
}

func checkOutputSize(p *pixels.Config, side int64) error {
	if w, h := p.OutputSize(); int64(w) != side || int64(h) != side {
		return fmt.Errorf("preprocessor_config.json makes images of %dx%d and config.json's vision tower reads %dx%d", w, h, side,
			side)
	}
	return nil
}

// meanStd returns the normalisation of a preprocessor_config.json that pixels.ParseConfig has accepted, for readers that
// know GGUF's keys and not the JSON text.
func meanStd(text []byte) (mean, std []float32, err error) {
	var p struct {
		DoNormalize *bool           `json:"do_normalize"`
		Mean        json.RawMessage `json:"image_mean"`
		Std         json.RawMessage `json:"image_std"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, nil, fmt.Errorf("preprocessor_config.json: %w", err)
	}
	if p.DoNormalize != nil && !*p.DoNormalize {
		return []float32{0, 0, 0}, []float32{1, 1, 1}, nil
	}
	// The defaults are CLIPImageProcessor's.
	if mean, err = channels(p.Mean, []float32{0.48145466, 0.4578275, 0.40821073}); err != nil {
		return nil, nil, fmt.Errorf("preprocessor_config.json: image_mean: %w", err)
	}
	if std, err = channels(p.Std, []float32{0.26862954, 0.26130258, 0.27577711}); err != nil {
		return nil, nil, fmt.Errorf("preprocessor_config.json: image_std: %w", err)
	}
	return mean, std, nil
}

// channels reads one number for all channels, or three.
func channels(raw json.RawMessage, absent []float32) ([]float32, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return absent, nil
	}
	var one float32
	if json.Unmarshal(raw, &one) == nil {
		return []float32{one, one, one}, nil
	}
	var three []float32
	if err := json.Unmarshal(raw, &three); err != nil || len(three) != maxChannels {
		return nil, fmt.Errorf("want one number or three, got %s", short(raw))
	}
	return three, nil
}
