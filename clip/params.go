package clip

import (
	"fmt"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Bounds of the hyperparameters that only these models have, as modelfile's are.
const (
	maxContext    = 4096
	maxProjection = 16384
	formatVersion = 1 // of the bgevl.* keys, the newest that this package knows
	familyCLIP    = "clip"
	openaiEOS     = 2 // the end-of-text id that old configurations state and that no text ends with
)

// params holds the hyperparameters of a model, checked by readParams.
type params struct {
	text, vision         modelfile.Tower
	vocab, context       int
	imageSize, patchSize int
	projection           int
	gelu                 bool // GELU by erf rather than quick GELU
	eos                  int64
}

// readParams reads the hyperparameters of a CLIP model and checks each of them, alone and against the others.
func readParams(f *gguf.File) (*params, error) {
	if err := checkFamily(f); err != nil {
		return nil, err
	}
	k := modelfile.NewKeys(f)
	p := &params{
		text:       k.Tower("clip.text."),
		vision:     k.Tower("clip.vision."),
		context:    k.Int("clip.text.context_length", 2, maxContext),
		projection: k.Int("clip.vision.projection_dim", 1, maxProjection),
		gelu:       k.Bool("clip.use_gelu", false),
		eos:        k.AnyInt("bgevl.text.eos_token_id", openaiEOS),
	}
	p.imageSize, p.patchSize = k.Patches("clip.vision.")
	if n := k.Int("clip.text.projection_dim", 1, maxProjection); n != p.projection {
		k.Fail("clip.text.projection_dim",
			fmt.Sprintf("is %d, but clip.vision.projection_dim is %d: the towers do not share a space", n, p.projection), nil)
	}
	if err := k.Err(); err != nil {
		return nil, err
	}
	vocab, err := modelfile.Rows(f, tokenEmbedding, modelfile.MaxVocab)
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
	k := modelfile.NewKeys(f)
	arch := k.String("general.architecture")
	family := k.StringOr("bgevl.family", familyCLIP)
	pooling := k.StringOr("bgevl.pooling", familyCLIP)
	text, vision := k.Bool("clip.has_text_encoder", false), k.Bool("clip.has_vision_encoder", false)
	switch {
	case arch != familyCLIP:
		k.Fail("general.architecture", fmt.Sprintf("want %q, got %q: not a CLIP model", familyCLIP, arch), nil)
	case family != familyCLIP:
		k.Fail("bgevl.family", fmt.Sprintf("want %q, got %q: not a CLIP model", familyCLIP, family), nil)
	case pooling != familyCLIP:
		k.Fail("bgevl.pooling", fmt.Sprintf("want %q, got %q", familyCLIP, pooling), nil)
	}
	k.Newest(formatVersion)
	if !text || !vision {
		key := "clip.has_text_encoder"
		if text {
			key = "clip.has_vision_encoder"
		}
		k.Fail(key, "want true: the file holds one tower only, perhaps the projector of a language model; convert a whole CLIP checkpoint", nil)
	}
	return k.Err()
}

// csrc gives the hyperparameters to C.
func (p *params) csrc(at csrc.Placement) csrc.CLIPParams {
	return csrc.CLIPParams{Text: p.text.C(p.gelu), Vocab: p.vocab, Context: p.context, Vision: p.vision.C(p.gelu),
		ImageSize: p.imageSize, PatchSize: p.patchSize, Projection: p.projection, Placement: at}
}
