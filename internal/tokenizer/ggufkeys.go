package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Key is one key of a GGUF file and its value: a string, []string, []float32, []int32, uint32 or bool.
type Key struct {
	Name  string
	Value any
}

// KeysOptions says what a tokenizer.json doesn't. The zero value takes it from the tokenizer itself.
type KeysOptions struct {
	Rows    int     // of the model's embedding table: the token list is filled up to as many; 0 for VocabSize
	Special Special // as ReadSpecial has it
}

// GGUFKeys returns the tokenizer.ggml.* keys of a tokenizer that this package made, in an order that doesn't vary, so that
// the file loads in llama.cpp and [FromGGUF] makes the same tokenizer of them. The tokenizer.json text itself
// (tokenizer.huggingface.json) isn't among them. One key is bgevl's own: bgevl.tokenizer.prepend_scheme "first",
// for a tokenizer that puts the prefix space at the start of a text only, which llama.cpp can't.
func GGUFKeys(t Tokenizer, o KeysOptions) ([]Key, error) {
	b, ok := t.(*bpe)
	if !ok {
		return nil, fmt.Errorf("tokenizer: GGUF keys: want a tokenizer of this package, got %T", t)
	}
	keys, err := b.ggufKeys(o)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF keys: %w", err)
	}
	return keys, nil
}

func (t *bpe) ggufKeys(o KeysOptions) ([]Key, error) {
	rows := max(o.Rows, int(t.bound))
	if o.Rows != 0 && o.Rows < int(t.bound) {
		return nil, fmt.Errorf("the model has %d rows of embeddings, but the tokenizer has %d ids: the checkpoint's files don't fit together",
			o.Rows, t.bound)
	}
	if rows > maxTokens {
		return nil, fmt.Errorf("%d rows: want at most %d", rows, maxTokens)
	}
	tokens, types := t.tokenList(rows)
	var keys []Key
	add := func(name string, value any) { keys = append(keys, Key{name, value}) }
	merges := t.mergeList()
	switch {
	case t.cut != nil && t.suffix == "</w>":
		lines := make([]string, len(merges))
		for i, m := range merges {
			lines[i] = tokens[m[0]] + " " + tokens[m[1]]
			if strings.Count(lines[i], " ") != 1 {
				return nil, fmt.Errorf("merge %d: %q + %q: a space in a token can't be written", i, tokens[m[0]], tokens[m[1]])
			}
		}
		add(keyModel, "gpt2")
		add(keyPre, "clip")
		add(keyTokens, tokens)
		add(keyMerges, lines)
		add(keyTypes, types)
	case t.cut == nil && t.byteFallback:
		prefix, scheme, err := t.prefixSpace()
		if err != nil {
			return nil, err
		}
		add(keyModel, "llama")
		add(keyPre, "default")
		add(keyTokens, tokens)
		add(keyScores, t.scores(merges, rows))
		add(keyTypes, types)
		add(keyAddPrefix, prefix)
		if scheme == "first" {
			add(keyScheme, scheme)
		}
	default:
		return nil, errors.New("neither CLIP's kind nor sentencepiece with byte fallback")
	}
	return t.specialKeys(keys, o.Special)
}

// tokenList returns the spellings and types by id. Ids without a token get one that no text can hold.
func (t *bpe) tokenList(rows int) ([]string, []int32) {
	tokens, types := make([]string, rows), make([]int32, rows)
	for i := range tokens {
		id := int32(i)
		token, ok := t.Token(id)
		added, isAdded := t.addedByID[id]
		tokens[i], types[i] = token, typeNormal
		switch _, isByte := byteOf(token); {
		case !ok:
			tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), typeUnused
		case id == t.unk && t.byteFallback:
			types[i] = typeUnknown
		case isAdded && added.Special:
			types[i] = typeControl
		case isAdded:
			types[i] = typeUserDefined
		case isByte && t.byteFallback:
			types[i] = typeByte
		}
	}
	return tokens, types
}

// mergeList returns the merged pairs in order of rank.
func (t *bpe) mergeList() [][2]int32 {
	type ranked struct {
		rank int32
		pair [2]int32
	}
	list := make([]ranked, 0, t.merges.count)
	for _, s := range t.merges.slots {
		if s.key != 0 {
			list = append(list, ranked{s.rank, [2]int32{int32((s.key - 1) >> 32), int32(uint32(s.key - 1))}})
		}
	}
	slices.SortFunc(list, func(a, b ranked) int { return int(a.rank - b.rank) })
	pairs := make([][2]int32, len(list))
	for i, m := range list {
		pairs[i] = m.pair
	}
	return pairs
}

// scores returns scores that put the merges in the order of their ranks: mergesByScore gives the same list. Tokens whose
// merges overlap in rank had the same score.
func (t *bpe) scores(merges [][2]int32, rows int) []float32 {
	const none = -1
	last := make([]int, rows) // rank of the last merge that makes the token
	for i := range last {
		last[i] = none
	}
	for rank, m := range merges {
		made, _ := t.merges.get(m[0], m[1])
		last[made.id] = rank
	}
	scores := make([]float32, rows)
	level, end := float32(0), none
	for rank, m := range merges {
		if rank > end { // no token before is still being made
			level--
		}
		made, _ := t.merges.get(m[0], m[1])
		scores[made.id] = level
		end = max(end, last[made.id])
	}
	for id := range scores { // single characters, which nothing is merged into, come last
		if _, added := t.addedByID[int32(id)]; last[id] == none && !added {
			if _, isByte := byteOf(string(t.spelling(int32(id)))); !isByte {
				scores[id] = level - 1
			}
		}
	}
	return scores
}

func (t *bpe) spelling(id int32) []byte {
	if !t.vocab.has(id) {
		return nil
	}
	return t.vocab.bytes(id)
}

// prefixSpace says whether a space is put in front, and of what.
func (t *bpe) prefixSpace() (prefix bool, scheme string, err error) {
	switch n := t.normalizers; {
	case t.meta != nil && len(n) == 0 && t.meta.replacement == "▁" && !t.meta.split:
		return t.meta.scheme != "never", t.meta.scheme, nil
	case t.meta == nil && slices.Equal(n, []normalizer{prepend{"▁"}, replace{" ", "▁"}}):
		return true, "always", nil
	case t.meta == nil && slices.Equal(n, []normalizer{replace{" ", "▁"}}):
		return false, "never", nil
	}
	return false, "", errors.New("a sentencepiece tokenizer whose normalizer and pre_tokenizer aren't Mistral's")
}

// specialKeys appends the ids of the special tokens and what is put around a text.
func (t *bpe) specialKeys(keys []Key, s Special) ([]Key, error) {
	if len(t.before) > 1 || len(t.after) > 1 {
		return nil, errors.New("the post-processor adds more than one token before or after a text")
	}
	for _, x := range []struct {
		key, name string
		fallback  []int32
	}{
		{keyBOS, s.BOS, t.before}, {keyEOS, s.EOS, t.after}, {keyUnknown, s.Unknown, []int32{t.unk}}, {keyPadding, s.Padding, nil},
	} {
		id := noToken
		if len(x.fallback) > 0 {
			id = x.fallback[0]
		}
		if x.name != "" {
			var ok bool
			if id, ok = t.ID(x.name); !ok {
				return nil, fmt.Errorf("special token %.40q isn't in the vocabulary", x.name)
			}
		}
		if id != noToken {
			keys = append(keys, Key{x.key, uint32(id)})
		}
	}
	return append(keys, Key{keyAddBOS, len(t.before) > 0}, Key{keyAddEOS, len(t.after) > 0}), nil
}
