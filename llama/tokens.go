package llama

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// readTokenizer reads the tokenizer and checks that its ids have rows in the embedding table.
func (m *Model) readTokenizer(f *gguf.File) error {
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		return err
	}
	p := m.params
	if t.VocabSize() > p.vocab {
		return &TensorError{Name: tokenEmbedding, Reason: fmt.Sprintf(
			"has %d rows, but the tokenizer has %d tokens: it belongs to another model; convert the checkpoint again with its own tokenizer",
			p.vocab, t.VocabSize())}
	}
	d, ok := t.(tokenizer.Decoder)
	if !ok {
		return fmt.Errorf("tokenizer: %T cannot decode", t)
	}
	m.tokenizer, m.decoder = t, d
	if id, ok := t.ID(byteToken); ok {
		m.bytes = d.Decode([]int32{id}, false) != byteToken
	}
	if id, ok := t.ID(imageSpelling); ok && p.imageToken == noToken {
		p.imageToken = id
	}
	return nil
}

const (
	imageSpelling = "<image>" // of the token that files without bgevl's own keys mark a picture by
	byteToken     = "<0x41>"  // a token that stands for a byte where the tokenizer falls back to bytes
)

// Tokenize turns a text into token ids, with the beginning-of-text token that the model's tokenizer adds. A text that
// spells an added token, as "<image>", is that token. It fails for a text that is not UTF-8, and never cuts one.
func (m *Model) Tokenize(text string) ([]int32, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("llama: tokenize: the text is not valid UTF-8")
	}
	return m.tokenizer.Encode(text), nil
}

// Detokenize turns token ids into text, special tokens spelled out. Ids that no token has are left out.
func (m *Model) Detokenize(ids []int32) string { return m.decoder.Decode(ids, false) }

// Token returns what a token id stands for, "cat" or "</s>", and whether it is special. The text is empty where no token
// has the id.
func (m *Model) Token(id int32) (text string, special bool) { return tokenizer.Spell(m.tokenizer, id) }

// ImageToken returns the token that stands for a picture among an input's tokens, and whether the vocabulary has one.
func (m *Model) ImageToken() (int32, bool) {
	return m.params.imageToken, m.params.imageToken != noToken
}
