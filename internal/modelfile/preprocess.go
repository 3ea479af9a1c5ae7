package modelfile

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
)

// PreprocessKey holds the checkpoint's preprocessor_config.json.
const PreprocessKey = "bgevl.preprocessor_config"

// Keys of llama.cpp's CLIP files that say how pictures become pixels.
const (
	meanKey = "clip.vision.image_mean"
	stdKey  = "clip.vision.image_std"
)

// Preprocess reads how pictures become the pixels of a vision tower of imageSize, and checks that they do. Where the file
// lacks the checkpoint's own preprocessor_config.json, one is made of what llama.cpp's files state and of more, which
// are further keys of that file. text is what was read or made.
func Preprocess(f *gguf.File, imageSize int, more map[string]any) (c *pixels.Config, text []byte, err error) {
	key, text, err := preprocessor(f, imageSize, more)
	if err != nil {
		return nil, nil, err
	}
	c, err = pixels.ParseConfig(text)
	if err != nil {
		return nil, nil, &KeyError{Key: key, Reason: err.Error(), Err: err}
	}
	if w, h := c.OutputSize(); w != imageSize || h != imageSize {
		return nil, nil, &KeyError{Key: key,
			Reason: fmt.Sprintf("makes images of %dx%d, but clip.vision.image_size is %d", w, h, imageSize)}
	}
	return c, text, nil
}

// preprocessor returns the text of a preprocessor_config.json and the key that it comes from.
func preprocessor(f *gguf.File, imageSize int, more map[string]any) (key string, text []byte, err error) {
	own, err := f.String(PreprocessKey)
	if err == nil {
		return PreprocessKey, []byte(own), nil
	}
	if !errors.Is(err, gguf.ErrNoKey) {
		return "", nil, &KeyError{Key: PreprocessKey, Reason: err.Error(), Err: err}
	}
	config := map[string]any{
		"size":      map[string]int{"shortest_edge": imageSize},
		"crop_size": map[string]int{"height": imageSize, "width": imageSize},
		"do_resize": true, "do_center_crop": true, "do_rescale": true, "do_normalize": true, "do_convert_rgb": true,
		"resample": 3, "rescale_factor": 1.0 / 255,
	}
	for name, value := range more {
		config[name] = value
	}
	for name, key := range map[string]string{"image_mean": meanKey, "image_std": stdKey} {
		v, err := f.Floats(key)
		if errors.Is(err, gguf.ErrNoKey) {
			return "", nil, &KeyError{Key: key, Reason: "missing, and so is " + PreprocessKey + ": convert the checkpoint again", Err: err}
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
