package bgevl

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// mllmSide is how many pixels a side the published code scales every picture to, in its own mode, before the
// checkpoint's own preprocessing sees it. It belongs to these models and is in none of their files.
const mllmSide = 512

// mllmResize is that step as the fingerprint has it.
const mllmResize = "512x512 bicubic in the image's mode, RGB, "

// mllmTextBytes of a text weigh as much as another text: with the prompt around it a short one has fewer tokens than
// these bytes have.
const mllmTextBytes = 512

// mllmTokens is how many tokens go through the decoder in one call, unless one input alone has more. A call of so many
// uses the processor as well as any larger one, and takes the memory that an input with a picture takes anyhow.
const mllmTokens = 3072

// mllmEngine embeds with a LLaVA-NeXT model: the state of a prompt's last token.
type mllmEngine struct {
	path       string
	model      *llama.Model
	loader     *loader
	cache      *imageCache
	imageToken int32
	truncate   bool
	full       int64 // weight of a full batch
}

// openMLLM opens the model in f, which it takes over unless it fails.
func openMLLM(path string, f *gguf.File, o Options, l *loader) (engine, error) {
	m, err := llama.OpenFile(path, f, &llama.Options{Threads: o.Threads, Contexts: o.Contexts, Context: o.Context,
		Projector: o.Projector, Device: o.Device, DeviceLayers: o.DeviceLayers})
	if err != nil {
		return nil, err
	}
	e := &mllmEngine{path: path, model: m, loader: l, cache: newImageCache(o.ImageCacheBytes), truncate: o.Truncate}
	e.full, _ = e.weights(o.BatchSize)
	if err := e.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("bgevl: open %s: %w", path, err), m.Close())
	}
	return e, nil
}

// check fails for a language model that is none of this family, whose files say so or at least know a picture's token.
func (e *mllmEngine) check() error {
	info := e.model.Info()
	if info.Template != "" {
		if err := checkTemplate(info.Template); err != nil {
			return err
		}
	}
	id, ok := e.model.ImageToken()
	if !ok {
		return fmt.Errorf("no BGE-VL model: its tokenizer has no %s token: give a model made by bgevl convert, or llama.cpp's "+
			"conversion of one with its tokenizer whole", imageWord)
	}
	e.imageToken = id
	return nil
}

func (e *mllmEngine) info() Info {
	i := e.model.Info()
	return Info{Family: familyMLLM, Name: i.Name, Path: e.path, Type: i.Type, Dim: i.Width,
		Parameters: i.Parameters + i.ProjectorParameters, Context: i.Context, ImageSize: i.TileSize, Instructions: true,
		Projector: i.Projector, Device: i.Device, DeviceLayers: i.DeviceLayers}
}

// weights make a picture fill a batch: one of them keeps a processor busy for seconds, and its result should not wait
// for others'.
func (*mllmEngine) weights(batch int) (full, heaviest int64) {
	full = imageWeight * int64(batch)
	return full, full
}

func (e *mllmEngine) weight(in *Input) int64 {
	if in.Image != nil {
		return e.full
	}
	return min(e.full, textWeight+int64(len(*in.Text))/mllmTextBytes)
}

func (e *mllmEngine) prepare(ctx context.Context, in *Input) (*prepared, error) {
	p := &prepared{}
	if in.Role == RoleQuery && in.Instruction == nil {
		p.warning = WarnNoInstruction
	}
	if in.Instruction != nil {
		p.prefix = *in.Instruction
	}
	ids, err := e.tokens(in)
	if err != nil {
		return nil, err
	}
	if in.Image != nil {
		if p.picture, err = e.preprocess(ctx, in.Image); err != nil {
			return nil, err
		}
	}
	return p, e.fit(p, in, ids)
}

func (e *mllmEngine) tokens(in *Input) ([]int32, error) {
	if in.Role == RoleCandidate && in.Instruction != nil {
		return nil, &operandError{"instruction", errors.New("a candidate has none with these models: leave it out, or make the input a query")}
	}
	return e.tokenize(in)
}

func (e *mllmEngine) token(id int32) (string, bool) { return e.model.Token(id) }

// tokenize returns the tokens of an input's prompt, which hold the picture's token once if there is a picture.
func (e *mllmEngine) tokenize(in *Input) ([]int32, error) {
	for _, part := range []struct {
		operand string
		text    *string
	}{{"instruction", in.Instruction}, {"text", in.Text}} {
		if part.text == nil {
			continue
		}
		if !utf8.ValidString(*part.text) {
			return nil, &operandError{part.operand, errors.New("it is not valid UTF-8")}
		}
		if in.Image == nil {
			continue // then the token is a word like any other, as in the reference
		}
		ids, err := e.model.Tokenize(*part.text)
		if err != nil {
			return nil, &operandError{part.operand, err}
		}
		if slices.Contains(ids, e.imageToken) {
			return nil, &operandError{part.operand, fmt.Errorf("it holds %s, which stands for the image beside it: write it another way, "+
				"as \"< image >\", or leave the image out", imageWord)}
		}
	}
	ids, err := e.model.Tokenize(prompt(in.Role, in.Instruction, in.Text, in.Image != nil))
	if err != nil {
		return nil, err
	}
	if in.Image == nil {
		return ids, nil
	}
	// The parts hold none, and no part of the prompt ends or begins inside of the word.
	if n := count(ids, e.imageToken); n != 1 {
		return nil, fmt.Errorf("the prompt holds the image's token %d times, want once: the model's tokenizer does not fit it: "+
			"convert the checkpoint again", n)
	}
	return ids, nil
}

func count(ids []int32, id int32) int {
	n := 0
	for _, x := range ids {
		if x == id {
			n++
		}
	}
	return n
}

// preprocess makes a picture into what the vision side takes.
func (e *mllmEngine) preprocess(ctx context.Context, im *Image) (*llama.Picture, error) {
	if e.model.Info().Projector == "" { // decoding it would be for nothing
		_, err := e.model.Preprocess(nil)
		return nil, &operandError{im.operand(), projectorError(err)}
	}
	decoded, err := e.loader.load(ctx, im)
	if err != nil {
		return nil, &operandError{im.operand(), err}
	}
	scaled, err := decoded.Resize(mllmSide, mllmSide, pixels.Bicubic)
	if err != nil {
		return nil, &operandError{im.operand(), imageError(err)}
	}
	p, err := e.model.Preprocess(scaled.RGB())
	if long, ok := errors.AsType[*llama.TooLongError](err); ok {
		return nil, &operandError{im.operand(), &TooLongError{Tokens: long.Tokens, Limit: long.Limit, remedy: e.larger("")}}
	}
	if err != nil {
		return nil, &operandError{im.operand(), imageError(err)}
	}
	return p, nil
}

// projectorError is package llama's error of a picture without a projector as this package's.
func projectorError(err error) error {
	return &tagged{ErrNoProjector, errors.New(strings.TrimPrefix(err.Error(), "llama: "))}
}

func (e *mllmEngine) fingerprint(ctx context.Context) (Fingerprint, error) {
	id, err := e.model.Identity(ctx)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("bgevl: fingerprint: %w", modelError(err))
	}
	f := Fingerprint{Family: familyMLLM, Model: id.Weights, Type: id.Type, Dim: e.model.Info().Width, Tokenizer: id.Tokenizer,
		Preprocessing: "none", Pooling: "last", Template: templateDigest()}
	if id.Projector != "" {
		f.Model += "+" + id.Projector
		f.Type += "+" + id.ProjectorType
		sum := sha256.Sum256([]byte(mllmResize + id.Preprocessing))
		f.Preprocessing = hex.EncodeToString(sum[:])
	}
	return f, nil
}

func (e *mllmEngine) close() error { return e.model.Close() }
