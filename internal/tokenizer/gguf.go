package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Keys of the GGUF specification. keyScheme is bgevl's own: how the prefix space is put, "always" (before every piece,
// as llama.cpp does it) or "first", which llama.cpp can't do.
const (
	keyJSON      = "tokenizer.huggingface.json"
	keyModel     = "tokenizer.ggml.model"
	keyPre       = "tokenizer.ggml.pre"
	keyTokens    = "tokenizer.ggml.tokens"
	keyScores    = "tokenizer.ggml.scores"
	keyTypes     = "tokenizer.ggml.token_type"
	keyMerges    = "tokenizer.ggml.merges"
	keyBOS       = "tokenizer.ggml.bos_token_id"
	keyEOS       = "tokenizer.ggml.eos_token_id"
	keyUnknown   = "tokenizer.ggml.unknown_token_id"
	keyPadding   = "tokenizer.ggml.padding_token_id"
	keyAddBOS    = "tokenizer.ggml.add_bos_token"
	keyAddEOS    = "tokenizer.ggml.add_eos_token"
	keyAddPrefix = "tokenizer.ggml.add_space_prefix"
	keyScheme    = "bgevl.tokenizer.prepend_scheme"
)

// Token types of the GGUF specification.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
	typeByte        = 6
)

// FromGGUF makes the tokenizer of a GGUF file: by tokenizer.huggingface.json if the file has it, else by the
// tokenizer.ggml.* keys of CLIP (model "gpt2", pre "clip") or of sentencepiece BPE (model "llama"). It keeps no
// reference to the file.
func FromGGUF(f *gguf.File) (Tokenizer, error) {
	t, err := fromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", f.Path(), err)
	}
	return t, nil
}

func fromGGUF(f *gguf.File) (*bpe, error) {
	text, err := f.String(keyJSON)
	if errors.Is(err, gguf.ErrNoKey) {
		var composed []byte
		if composed, err = composeGGUF(f); err != nil {
			return nil, err
		}
		return parseJSON(composed)
	}
	if err != nil {
		return nil, err
	}
	t, err := parseJSON([]byte(text))
	return t, wrap(keyJSON, err)
}

// composeGGUF makes the tokenizer.json that the tokenizer.ggml.* keys stand for.
func composeGGUF(f *gguf.File) ([]byte, error) {
	model, err := f.String(keyModel)
	if err != nil {
		return nil, err
	}
	g := ggufVocab{file: f}
	if err := g.read(); err != nil {
		return nil, err
	}
	pre, err := f.String(keyPre)
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return nil, err
	}
	switch {
	case model == "gpt2" && pre == "clip":
		return g.clip()
	case model == "llama":
		return g.llama()
	}
	return nil, fmt.Errorf(`%s %.40q with %s %.40q: want "gpt2" with "clip", or "llama": convert the checkpoint anew, so that %s is kept`,
		keyModel, model, keyPre, pre, keyJSON)
}

// A ggufVocab is what both kinds share.
type ggufVocab struct {
	file   *gguf.File
	tokens []string
	types  []int64 // empty where the file has none
}

func (g *ggufVocab) read() (err error) {
	if g.tokens, err = g.file.Strings(keyTokens); err != nil {
		return err
	}
	if len(g.tokens) == 0 || len(g.tokens) > maxTokens {
		return fmt.Errorf("%s: %d tokens, want 1 to %d", keyTokens, len(g.tokens), maxTokens)
	}
	if g.types, err = g.file.Ints(keyTypes); err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return err
	}
	if err == nil && len(g.types) != len(g.tokens) {
		return fmt.Errorf("%s: want %d of them, as many as tokens, got %d", keyTypes, len(g.tokens), len(g.types))
	}
	return nil
}

// special returns the spelling of a special token, or the default where the key is missing.
func (g *ggufVocab) special(key string, id int) (string, error) {
	n, err := g.file.Int(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		if id < 0 || id >= len(g.tokens) {
			return "", nil
		}
		n = int64(id)
	case err != nil:
		return "", err
	case n < 0 || n >= int64(len(g.tokens)):
		return "", fmt.Errorf("%s: %d: want less than %d, the number of tokens", key, n, len(g.tokens))
	}
	return g.tokens[n], nil
}

// flag returns a key's value, or the default where it is missing.
func (g *ggufVocab) flag(key string, value bool) (bool, error) {
	v, err := g.file.Bool(key)
	if errors.Is(err, gguf.ErrNoKey) {
		return value, nil
	}
	return v, err
}

func (g *ggufVocab) typeOf(id int) int64 {
	if len(g.types) == 0 {
		return typeNormal
	}
	return g.types[id]
}

// trim cuts the places at the end that only fill the embedding table up.
func (g *ggufVocab) trim() {
	n := len(g.tokens)
	for n > 0 && g.typeOf(n-1) == typeUnused {
		n--
	}
	g.tokens = g.tokens[:n]
}

func (g *ggufVocab) clip() ([]byte, error) {
	g.trim()
	var special specialFiles
	special.Added = map[int32]specialName{}
	for key, to := range map[string]*specialName{
		keyBOS: &special.BOS, keyEOS: &special.EOS, keyUnknown: &special.Unknown, keyPadding: &special.Padding,
	} {
		token, err := g.special(key, -1)
		if err != nil {
			return nil, err
		}
		to.AddedToken = AddedToken{Content: token, Normalized: true}
	}
	for id, token := range g.tokens {
		if typ := g.typeOf(id); typ == typeControl || typ == typeUserDefined {
			special.Added[int32(id)] = specialName{AddedToken{Content: token, Normalized: true, Special: typ == typeControl}}
		}
	}
	if special.Unknown.Content == "" {
		special.Unknown = special.EOS
	}
	lines, err := g.file.Strings(keyMerges)
	if err != nil {
		return nil, err
	}
	if len(lines) > maxMerges {
		return nil, fmt.Errorf("%s: %d of them, want at most %d", keyMerges, len(lines), maxMerges)
	}
	merges := make([][2]string, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("%s: merge %d: %.60q: want two tokens and a space between them", keyMerges, i, line)
		}
		merges[i] = [2]string{left, right}
	}
	return clipText(g.tokens, merges, special)
}

func (g *ggufVocab) llama() ([]byte, error) {
	g.trim()
	scores, err := g.file.Floats(keyScores)
	if err != nil {
		return nil, err
	}
	if len(scores) < len(g.tokens) {
		return nil, fmt.Errorf("%s: want one for each of %d tokens, got %d", keyScores, len(g.tokens), len(scores))
	}
	m := mistral{tokens: g.tokens}
	var bos, eos string
	for key, to := range map[string]struct {
		name *string
		id   int
	}{keyUnknown: {&m.unknown, 0}, keyBOS: {&bos, 1}, keyEOS: {&eos, 2}} {
		if *to.name, err = g.special(key, to.id); err != nil {
			return nil, err
		}
	}
	addBOS, err := g.flag(keyAddBOS, true)
	if err != nil {
		return nil, err
	}
	addEOS, err := g.flag(keyAddEOS, false)
	if err != nil {
		return nil, err
	}
	if m.addPrefixSpace, err = g.flag(keyAddPrefix, true); err != nil {
		return nil, err
	}
	if addBOS {
		m.bos = bos
	}
	if addEOS {
		m.eos = eos
	}
	scheme, err := g.file.String(keyScheme)
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return nil, err
	}
	m.legacy = scheme != "first"
	for id, token := range g.tokens {
		if math.IsNaN(scores[id]) {
			return nil, fmt.Errorf("%s: token %d: not a number", keyScores, id)
		}
		switch g.typeOf(id) {
		case typeControl, typeUnknown, typeUserDefined:
			m.added = append(m.added, AddedToken{ID: int32(id), Content: token, Special: g.typeOf(id) != typeUserDefined})
		}
	}
	if m.merges, err = mergesByScore(g.tokens, scores); err != nil {
		return nil, err
	}
	return m.text()
}
