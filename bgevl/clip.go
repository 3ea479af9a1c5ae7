package bgevl

import (
	"context"
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/gguf"
)

// clipEngine embeds with a CLIP model of two towers.
type clipEngine struct {
	path     string
	model    *clip.Model
	loader   *loader
	truncate bool
}

// openCLIP opens the model in f, which it takes over unless it fails.
func openCLIP(path string, f *gguf.File, o Options, l *loader) (engine, error) {
	if o.Projector != "" {
		return nil, fmt.Errorf("bgevl: open %s: a CLIP model, which has no projector: drop the option Projector", path)
	}
	m, err := clip.OpenFile(path, f, &clip.Options{Threads: o.Threads, Contexts: o.Contexts, Device: o.Device, DeviceLayers: o.DeviceLayers})
	if err != nil {
		return nil, err
	}
	return &clipEngine{path: path, model: m, loader: l, truncate: o.Truncate}, nil
}

func (e *clipEngine) info() Info {
	i := e.model.Info()
	return Info{Family: familyCLIP, Name: i.Name, Path: e.path, Type: i.Type, Dim: i.Dim, Parameters: i.Parameters,
		Context: i.Context, ImageSize: i.ImageSize, Device: i.Device, DeviceLayers: i.DeviceLayers}
}

func (*clipEngine) weights(batch int) (full, heaviest int64) {
	return imageWeight * int64(batch), imageWeight
}

func (*clipEngine) weight(in *Input) int64 {
	if in.Image != nil {
		return imageWeight
	}
	return textWeight
}

func (e *clipEngine) prepare(ctx context.Context, in *Input) (*prepared, error) {
	p := &prepared{}
	if in.Text != nil {
		ids, length, err := e.model.Tokenize(*in.Text, e.truncate)
		if err != nil {
			return nil, &operandError{"text", textError(err)}
		}
		p.tokens, p.length, p.truncated = ids, length, length > len(ids)
	}
	if in.Image == nil {
		return p, nil
	}
	im, err := e.loader.load(ctx, in.Image)
	if err != nil {
		return nil, &operandError{in.Image.operand(), err}
	}
	p.pixels = make([]float32, e.model.PixelCount())
	if err := e.model.Preprocess(im, p.pixels); err != nil {
		return nil, &operandError{in.Image.operand(), imageError(err)}
	}
	return p, nil
}

func (e *clipEngine) tokens(in *Input) ([]int32, error) {
	if in.Text == nil {
		return nil, nil
	}
	ids, err := e.model.TokenizeWhole(*in.Text)
	if err != nil {
		return nil, &operandError{"text", err}
	}
	return ids, nil
}

func (e *clipEngine) token(id int32) (string, bool) { return e.model.Token(id) }

// textError turns package clip's errors about a text into this package's.
func textError(err error) error {
	if long, ok := errors.AsType[*clip.TooLongError](err); ok {
		return &TooLongError{Tokens: long.Tokens, Limit: long.Limit}
	}
	return err
}

// compute adds the towers' raw features, text first; normalising the sum is left to the caller.
func (e *clipEngine) compute(ctx context.Context, batch []*prepared) error {
	if err := e.computeTexts(ctx, batch); err != nil {
		return modelError(err)
	}
	return modelError(e.computeImages(ctx, batch))
}

func (e *clipEngine) computeTexts(ctx context.Context, batch []*prepared) error {
	var owners []*prepared
	var rows [][]int32
	for _, p := range batch {
		if p.tokens != nil {
			owners, rows = append(owners, p), append(rows, p.tokens)
		}
	}
	features := make([]float32, len(rows)*e.model.Dim())
	err := e.model.EncodeTokens(ctx, rows, features)
	return e.deal("text", owners, features, err)
}

func (e *clipEngine) computeImages(ctx context.Context, batch []*prepared) error {
	var owners []*prepared
	for _, p := range batch {
		if p.pixels != nil && p.err == nil {
			owners = append(owners, p)
		}
	}
	var pixels []float32
	if len(owners) == 1 {
		pixels = owners[0].pixels // no copy for a single picture
	} else {
		pixels = make([]float32, 0, len(owners)*e.model.PixelCount())
		for _, p := range owners {
			pixels = append(pixels, p.pixels...)
		}
	}
	features := make([]float32, len(owners)*e.model.Dim())
	err := e.model.EncodeImage(ctx, pixels, features)
	return e.deal("image", owners, features, err)
}

// deal adds rows of features to their owners, and gives an owner whose row failed its error. It returns err if that is
// not about rows.
func (e *clipEngine) deal(operand string, owners []*prepared, features []float32, err error) error {
	failed, ok := rowErrors(err)
	if !ok {
		return err
	}
	for _, f := range failed {
		owners[f.Row].err = &operandError{operand, nonFinite(f.Err)}
	}
	dim := e.model.Dim()
	for i, p := range owners {
		row := features[i*dim : (i+1)*dim : (i+1)*dim]
		if p.raw == nil {
			p.raw = row
			continue
		}
		for j, x := range row {
			p.raw[j] += x
		}
	}
	return nil
}

func (e *clipEngine) fingerprint(ctx context.Context) (Fingerprint, error) {
	id, err := e.model.Identity(ctx)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("bgevl: fingerprint: %w", modelError(err))
	}
	return Fingerprint{Family: familyCLIP, Model: id.Weights, Type: id.Type, Dim: e.model.Dim(), Tokenizer: id.Tokenizer,
		Preprocessing: id.Preprocessing, Pooling: id.Pooling, Template: noTemplate}, nil
}

func (e *clipEngine) close() error { return e.model.Close() }
