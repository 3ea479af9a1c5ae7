package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// Keys of the preprocessing: the checkpoint's own file, or without it what llama.cpp's CLIP files state.
const (
	preprocessKey = "bgevl.preprocessor_config"
	meanKey       = "clip.vision.image_mean"
	stdKey        = "clip.vision.image_std"
)

// readPreprocess reads how pictures become pixels, and checks that it makes what the vision tower takes.
func readPreprocess(f *gguf.File, p *params) (*pixels.Config, error) {
	key, text, err := preprocessor(f, p)
	if err != nil {
		return nil, err
	}
	c, err := pixels.ParseConfig(text)
	if err != nil {
		return nil, &KeyError{Key: key, Reason: err.Error(), Err: err}
	}
	if w, h := c.OutputSize(); w != p.imageSize || h != p.imageSize {
		return nil, &KeyError{Key: key, Reason: fmt.Sprintf("makes images of %dx%d, but clip.vision.image_size is %d", w, h, p.imageSize)}
	}
	return c, nil
}

// preprocessor returns the text of a preprocessor_config.json and the key that it comes from.
func preprocessor(f *gguf.File, p *params) (key string, text []byte, err error) {
	own, err := f.String(preprocessKey)
	if err == nil {
		return preprocessKey, []byte(own), nil
	}
	if !errors.Is(err, gguf.ErrNoKey) {
		return "", nil, &KeyError{Key: preprocessKey, Reason: err.Error(), Err: err}
	}
	config := map[string]any{
		"size":      map[string]int{"shortest_edge": p.imageSize},
		"crop_size": map[string]int{"height": p.imageSize, "width": p.imageSize},
		"do_resize": true, "do_center_crop": true, "do_rescale": true, "do_normalize": true, "do_convert_rgb": true,
		"resample": 3, "rescale_factor": 1.0 / 255,
	}
	for name, key := range map[string]string{"image_mean": meanKey, "image_std": stdKey} {
		v, err := f.Floats(key)
		if errors.Is(err, gguf.ErrNoKey) {
			return "", nil, &KeyError{Key: key, Reason: "missing, and so is " + preprocessKey + ": convert the checkpoint again", Err: err}
		}
		if err != nil {
			return "", nil, &KeyError{Key: key, Reason: err.Error(), Err: err}
		}
		config[name] = v
	}
	text, err = json.Marshal(config) // fails for NaN and infinity
	if err != nil {
		return "", nil, &KeyError{Key: meanKey, Reason: "want finite numbers in it and in " + stdKey, Err: err}
	}
	return meanKey, text, nil
}

// readTokenizer reads the tokenizer and checks that its ids have rows in the embedding table and that its texts end as
// the text tower's pooling needs.
func readTokenizer(f *gguf.File, p *params) (tokenizer.Tokenizer, error) {
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, err
	}
	if t.VocabSize() > p.vocab {
		return nil, &TensorError{Name: tokenEmbedding,
			Reason: fmt.Sprintf("has %d rows, but the tokenizer has %d tokens: it belongs to another model", p.vocab, t.VocabSize())}
	}
	ids := t.Encode("")
	if len(ids) < 2 || len(ids) > p.context {
		return nil, fmt.Errorf("tokenizer: want a start and an end token around an empty text, got %d tokens", len(ids))
	}
	if end := int64(ids[len(ids)-1]); p.eos != openaiEOS && end != p.eos {
		return nil, &KeyError{Key: "bgevl.text.eos_token_id",
			Reason: fmt.Sprintf("is %d, but the tokenizer ends a text with %d: convert the checkpoint again with the tokenizer that it was trained with", p.eos, end)}
	}
	return t, nil
}

// readInfo describes a model whose tensors were checked.
func readInfo(f *gguf.File, p *params) Info {
	info := Info{Dim: p.projection, Context: p.context, Vocab: p.vocab, ImageSize: p.imageSize, PatchSize: p.patchSize,
		Text: p.text.public(), Vision: p.vision.public()}
	info.Name, _ = f.String("general.name")
	bytes := map[gguf.Type]int64{}
	for _, t := range f.Tensors() {
		n := int64(1)
		for _, d := range t.Dims {
			n *= d
		}
		info.Parameters += n
		bytes[t.Type] += t.Size
	}
	// general.file_type is a number that not every writer sets; what most of the bytes are is always true.
	most := gguf.F32
	for t, n := range bytes {
		if n > bytes[most] || n == bytes[most] && t < most {
			most = t
		}
	}
	info.Type = strings.ToLower(most.String())
	return info
}

func (t tower) public() Tower {
	return Tower{Layers: t.layers, Width: t.width, FFN: t.ffn, Heads: t.heads}
}
