package clip

import (
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Bounds of the hyperparameters. They are wider than any CLIP model known and narrow enough that no product of two of
// them overflows and that no allocation made from them is unreasonable before the tensors' shapes confirm them.
const (
	maxLayers     = 256
	maxWidth      = 16384
	maxFFN        = 65536
	maxHeads      = 256
	maxContext    = 4096
	maxVocab      = 1 << 20
	maxImageSize  = 4096
	maxPatches    = 1 << 14 // attention's memory grows with its square
	maxProjection = 16384
	formatVersion = 1 // of the bgevl.* keys, the newest that this package knows
	familyCLIP    = "clip"
	openaiEOS     = 2 // the end-of-text id that old configurations state and that no text ends with
)

// tower holds the hyperparameters of one transformer encoder.
type tower struct {
	layers, width, ffn, heads int
	eps                       float32
}

// params holds the hyperparameters of a model, checked by readParams.
type params struct {
	text, vision         tower
	vocab, context       int
	imageSize, patchSize int
	projection           int
	gelu                 bool // GELU by erf rather than quick GELU
	eos                  int64
}

// patches returns the number of patches of an image.
func (p *params) patches() int { n := p.imageSize / p.patchSize; return n * n }

// readParams reads the hyperparameters of a CLIP model and checks each of them, alone and against the others.
func readParams(f *gguf.File) (*params, error) {
	if err := checkFamily(f); err != nil {
		return nil, err
	}
	r := keyReader{f: f}
	p := &params{
		text:       r.tower("clip.text."),
		vision:     r.tower("clip.vision."),
		context:    r.int("clip.text.context_length", 2, maxContext),
		imageSize:  r.int("clip.vision.image_size", 1, maxImageSize),
		patchSize:  r.int("clip.vision.patch_size", 1, maxImageSize),
		projection: r.int("clip.vision.projection_dim", 1, maxProjection),
		gelu:       r.optionalBool("clip.use_gelu", false),
		eos:        r.optionalInt("bgevl.text.eos_token_id", openaiEOS),
	}
	textProjection := r.int("clip.text.projection_dim", 1, maxProjection)
	if r.err != nil {
		return nil, r.err
	}
	if textProjection != p.projection {
		return nil, &KeyError{Key: "clip.text.projection_dim",
			Reason: fmt.Sprintf("is %d, but clip.vision.projection_dim is %d: the towers do not share a space", textProjection, p.projection)}
	}
	if p.imageSize%p.patchSize != 0 || p.patches() > maxPatches {
		return nil, &KeyError{Key: "clip.vision.patch_size",
			Reason: fmt.Sprintf("want a divisor of clip.vision.image_size, %d, that makes at most %d patches, got %d", p.imageSize, maxPatches, p.patchSize)}
	}
	vocab, err := readVocab(f)
	if err != nil {
		return nil, err
	}
	p.vocab = vocab
	if p.eos < 0 || p.eos >= int64(vocab) {
		return nil, &KeyError{Key: "bgevl.text.eos_token_id",
			Reason: fmt.Sprintf("want an id of the vocabulary, 0 to %d, got %d", vocab-1, p.eos)}
	}
	return p, nil
}

// checkFamily refuses files that hold something else than a CLIP model of two towers.
func checkFamily(f *gguf.File) error {
	r := keyReader{f: f}
	arch := r.string("general.architecture")
	family := r.optionalString("bgevl.family", familyCLIP)
	pooling := r.optionalString("bgevl.pooling", familyCLIP)
	version := r.optionalInt("bgevl.format_version", formatVersion)
	text, vision := r.optionalBool("clip.has_text_encoder", false), r.optionalBool("clip.has_vision_encoder", false)
	switch {
	case r.err != nil:
		return r.err
	case arch != familyCLIP:
		return &KeyError{Key: "general.architecture", Reason: fmt.Sprintf("want %q, got %q: not a CLIP model", familyCLIP, arch)}
	case family != familyCLIP:
		return &KeyError{Key: "bgevl.family", Reason: fmt.Sprintf("want %q, got %q: not a CLIP model", familyCLIP, family)}
	case version < 1 || version > formatVersion:
		return &KeyError{Key: "bgevl.format_version",
			Reason: fmt.Sprintf("want 1 to %d, got %d: the file needs a newer bgevl, or is damaged", formatVersion, version)}
	case pooling != familyCLIP:
		return &KeyError{Key: "bgevl.pooling", Reason: fmt.Sprintf("want %q, got %q", familyCLIP, pooling)}
	case !text || !vision:
		key := "clip.has_text_encoder"
		if text {
			key = "clip.has_vision_encoder"
		}
		return &KeyError{Key: key, Reason: "want true: the file holds one tower only, perhaps the projector of a language model; convert a whole CLIP checkpoint"}
	}
	return nil
}

// readVocab returns the number of rows of the token embedding table.
func readVocab(f *gguf.File) (int, error) {
	t, ok := f.Tensor(tokenEmbedding)
	if !ok {
		return 0, &TensorError{Name: tokenEmbedding, Reason: "missing"}
	}
	if len(t.Dims) != 2 || t.Dims[1] < 1 || t.Dims[1] > maxVocab {
		return 0, &TensorError{Name: tokenEmbedding, Reason: fmt.Sprintf("want two dimensions and 1 to %d rows, got %s", maxVocab, shapeString(outerFirst(t.Dims)))}
	}
	return int(t.Dims[1]), nil
}

// keyReader reads keys until one fails; the first failure stays in err.
type keyReader struct {
	f   *gguf.File
	err error
}

func (r *keyReader) fail(key, reason string, err error) {
	if r.err == nil {
		r.err = &KeyError{Key: key, Reason: reason, Err: err}
	}
}

// unread is the failure of a key that is missing or of another kind than wanted.
func (r *keyReader) unread(key, want string, err error) {
	if errors.Is(err, gguf.ErrNoKey) {
		r.fail(key, "missing: convert the checkpoint again", err)
		return
	}
	reason := "want " + want
	if v, ok := r.f.Value(key); ok {
		reason += ", got " + v.Kind()
	}
	r.fail(key, reason, err)
}

// read reads one key; a missing one fails unless it is optional, and then gives absent.
func read[T any](r *keyReader, get func(string) (T, error), key, want string, optional bool, absent T) T {
	v, err := get(key)
	switch {
	case err == nil:
		return v
	case optional && errors.Is(err, gguf.ErrNoKey):
	default:
		r.unread(key, want, err)
	}
	return absent
}

// int reads a whole number that must lie between low and high.
func (r *keyReader) int(key string, low, high int64) int {
	v, err := r.f.Int(key)
	switch {
	case err != nil:
		r.unread(key, fmt.Sprintf("%d to %d", low, high), err)
		return 0
	case v < low || v > high:
		r.fail(key, fmt.Sprintf("want %d to %d, got %d", low, high, v), nil)
		return 0
	}
	return int(v)
}

func (r *keyReader) optionalInt(key string, absent int64) int64 {
	return read(r, r.f.Int, key, "a whole number", true, absent)
}

func (r *keyReader) optionalBool(key string, absent bool) bool {
	return read(r, r.f.Bool, key, "true or false", true, absent)
}

func (r *keyReader) string(key string) string {
	return read(r, r.f.String, key, "a string", false, "")
}

func (r *keyReader) optionalString(key, absent string) string {
	return read(r, r.f.String, key, "a string", true, absent)
}

// epsilon reads a layer norm's epsilon.
func (r *keyReader) epsilon(key string) float32 {
	v := read(r, r.f.Float, key, "a floating-point number", false, 0)
	// The comparison is written so that NaN fails it.
	if !(float32(v) > 0 && float32(v) < 1) {
		r.fail(key, fmt.Sprintf("want a number above 0 and below 1, got %g", v), nil)
	}
	return float32(v)
}

// tower reads the hyperparameters that both towers have.
func (r *keyReader) tower(prefix string) tower {
	t := tower{
		layers: r.int(prefix+"block_count", 1, maxLayers),
		width:  r.int(prefix+"embedding_length", 1, maxWidth),
		ffn:    r.int(prefix+"feed_forward_length", 1, maxFFN),
		heads:  r.int(prefix+"attention.head_count", 1, maxHeads),
		eps:    r.epsilon(prefix + "attention.layer_norm_epsilon"),
	}
	if r.err == nil && t.width%t.heads != 0 {
		r.fail(prefix+"attention.head_count", fmt.Sprintf("want a divisor of the width, %d, got %d", t.width, t.heads), nil)
	}
	return t
}
