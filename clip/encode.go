package clip

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unicode/utf8"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// Tokenize turns a text into token ids, with the start and end tokens that the model's tokenizer adds.
//
// A text of more than Context tokens fails with ErrTooLong, or with truncate set is cut so that it has Context tokens,
// the last of which is the end-of-text token. length is the number of tokens before a cut: more than len(ids) says that
// there was one, and it is set too where the text is too long.
func (m *Model) Tokenize(text string, truncate bool) (ids []int32, length int, err error) {
	ids, err = m.TokenizeWhole(text)
	if err != nil {
		return nil, 0, err
	}
	length = len(ids)
	if length <= m.params.context {
		return ids, length, nil
	}
	if !truncate {
		return nil, length, &TooLongError{Tokens: length, Limit: m.params.context}
	}
	end := ids[length-1]
	ids = ids[:m.params.context:m.params.context]
	ids[len(ids)-1] = end
	return ids, length, nil
}

// TokenizeWhole is Tokenize without a limit: the ids may be more than the model takes.
func (m *Model) TokenizeWhole(text string) ([]int32, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("text is not valid UTF-8")
	}
	return m.tokenizer.Encode(text), nil
}

// Token returns what a token id stands for, "cat" or "<|endoftext|>", and whether it is special. The text is empty where
// no token has the id.
func (m *Model) Token(id int32) (text string, special bool) { return tokenizer.Spell(m.tokenizer, id) }

// Preprocess turns a decoded picture into the pixels that EncodeImage takes: PixelCount floats in dst.
//
// A picture one pixel high fails: the reference takes its height for the number of colours and refuses it, whatever its
// width.
func (m *Model) Preprocess(im *pixels.Image, dst []float32) error {
	if len(dst) != m.PixelCount() {
		return fmt.Errorf("clip: preprocess: want a buffer of %d floats, got %d", m.PixelCount(), len(dst))
	}
	if im.Height == 1 {
		return fmt.Errorf("clip: preprocess: the image has %dx1 pixels: want a height of at least 2", im.Width)
	}
	return m.preprocess.CLIP(im, dst)
}

// EncodeText tokenises texts and writes their features to dst: Dim floats a text, in order, not normalised. It fails
// before computing anything if a text is too long, joining one *RowError for each, and otherwise as EncodeTokens does.
func (m *Model) EncodeText(ctx context.Context, texts []string, dst []float32) error {
	rows := make([][]int32, len(texts))
	var errs []error
	for i, text := range texts {
		ids, _, err := m.Tokenize(text, false)
		if err != nil {
			errs = append(errs, &RowError{Row: i, Err: err})
		}
		rows[i] = ids
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return m.EncodeTokens(ctx, rows, dst)
}

// EncodeTokens writes the features of rows of token ids to dst: Dim floats a row, in order, not normalised. All rows go
// through the model in one call, whose memory grows with their number; a row's features do not depend on the others.
//
// A row whose features are not finite is zeroed in dst and reported by a *RowError that wraps ErrNonFinite, one joined
// for each; the other rows are good then. After any other error dst means nothing.
func (m *Model) EncodeTokens(ctx context.Context, rows [][]int32, dst []float32) error {
	if len(dst) != len(rows)*m.Dim() {
		return fmt.Errorf("clip: encode text: want a buffer of %d floats for %d rows, got %d", len(rows)*m.Dim(), len(rows), len(dst))
	}
	if len(rows) == 0 {
		return nil
	}
	if err := m.encodeRows(ctx, rows, dst); err != nil {
		return err
	}
	for i := 0; len(rows) > 1 && i < len(rows); i++ {
		// Where ggml attends, which it does to rows of different lengths as to one, what is not finite in a row reaches
		// the others: each is asked by itself.
		if row := dst[i*m.Dim() : (i+1)*m.Dim()]; !modelfile.Finite(row) {
			if err := m.encodeRows(ctx, rows[i:i+1], row); err != nil {
				return err
			}
		}
	}
	return m.checkRows(dst)
}

// encodeRows writes the features of rows to dst, finite or not.
func (m *Model) encodeRows(ctx context.Context, rows [][]int32, dst []float32) error {
	ids := make([]int32, 0, len(rows)*m.params.context)
	lengths, pool := make([]int32, len(rows)), make([]int32, len(rows))
	for i, row := range rows {
		at, err := m.pool(row)
		if err != nil {
			return fmt.Errorf("clip: encode text: %w", &RowError{Row: i, Err: err})
		}
		ids = append(ids, row...)
		lengths[i], pool[i] = int32(len(row)), at
	}
	err := m.runner.Use(ctx, onlyPart, func(c *csrc.Context) error { return c.EncodeText(ctx, ids, lengths, pool, dst) })
	runtime.KeepAlive(m)
	return err
}

// pool checks a row and returns the position whose state is the text's: that of the end-of-text token.
func (m *Model) pool(row []int32) (int32, error) {
	if len(row) == 0 || len(row) > m.params.context {
		return 0, fmt.Errorf("want 1 to %d tokens, got %d", m.params.context, len(row))
	}
	for i, id := range row {
		if id < 0 || int(id) >= m.params.vocab {
			return 0, fmt.Errorf("position %d: want a token id from 0 to %d, got %d", i, m.params.vocab-1, id)
		}
	}
	if m.params.eos == openaiEOS {
		// OpenAI's files state 2, which is not the id that their texts end with: the reference takes the first
		// position of the largest id instead, and so must whoever wants its features.
		return int32(slices.Index(row, slices.Max(row))), nil
	}
	at := slices.Index(row, int32(m.params.eos))
	if at < 0 {
		return 0, fmt.Errorf("no end-of-text token, id %d", m.params.eos)
	}
	return int32(at), nil
}

// EncodeImage writes the features of preprocessed images to dst: Dim floats an image, in order, not normalised. pixels
// holds PixelCount floats an image. All images go through the model in one call, whose memory grows with their number.
// Rows that are not finite are treated as EncodeTokens treats them.
func (m *Model) EncodeImage(ctx context.Context, pixels []float32, dst []float32) error {
	n := len(pixels) / m.PixelCount()
	if len(pixels) != n*m.PixelCount() || len(dst) != n*m.Dim() {
		return fmt.Errorf("clip: encode image: want %d floats in and %d out an image, got %d and %d",
			m.PixelCount(), m.Dim(), len(pixels), len(dst))
	}
	if n == 0 {
		return nil
	}
	err := m.runner.Use(ctx, onlyPart, func(c *csrc.Context) error { return c.EncodeImage(ctx, pixels, n, dst) })
	runtime.KeepAlive(m)
	if err != nil {
		return err
	}
	return m.checkRows(dst)
}

// checkRows zeroes each row of features that holds NaN or infinity, and reports it.
func (m *Model) checkRows(features []float32) error {
	var errs []error
	dim := m.Dim()
	for i := 0; i*dim < len(features); i++ {
		row := features[i*dim : (i+1)*dim]
		if !modelfile.Finite(row) {
			clear(row)
			errs = append(errs, &RowError{Row: i, Err: ErrNonFinite})
		}
	}
	return errors.Join(errs...)
}
