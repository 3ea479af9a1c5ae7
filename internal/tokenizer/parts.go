package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// clipPattern is the regular expression that CLIP's words match. It is followed in code: see cutWords.
const clipPattern = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`

// maxSteps bounds how many normalizers, pre-tokenizers or processors a sequence may have.
const maxSteps = 16

// maxGrowth bounds the strings that a normalizer puts into a text, so that a file can't make a short text long.
const maxGrowth = 16

func (t *bpe) setModel(f modelFlags) error {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	switch {
	case f.Type != nil && *f.Type != "BPE":
		return fmt.Errorf("type: want BPE, got %.40q", *f.Type)
	case f.Dropout != nil && *f.Dropout != 0:
		return fmt.Errorf("dropout: want none, got %g", *f.Dropout)
	case text(f.ContinuingSubwordPrefix) != "":
		return fmt.Errorf("continuing_subword_prefix: want none, got %.40q", *f.ContinuingSubwordPrefix)
	case f.IgnoreMerges:
		return fmt.Errorf("ignore_merges: want false")
	case len(text(f.EndOfWordSuffix)) > maxGrowth:
		return fmt.Errorf("end_of_word_suffix: longer than %d bytes", maxGrowth)
	}
	t.unk = noToken
	if f.UnkToken != nil {
		if t.unk = t.vocab.id([]byte(*f.UnkToken)); t.unk == noToken {
			return fmt.Errorf("unk_token: %.40q isn't in the vocabulary", *f.UnkToken)
		}
	}
	t.suffix, t.fuseUnk, t.byteFallback = text(f.EndOfWordSuffix), f.FuseUnk, f.ByteFallback
	t.setByteTokens()
	return nil
}

type normalizerJSON struct {
	Type        string            `json:"type"`
	Normalizers []*normalizerJSON `json:"normalizers"`
	Prepend     string            `json:"prepend"`
	Content     string            `json:"content"`
	Pattern     patternJSON       `json:"pattern"`
}

type patternJSON struct {
	String *string
	Regex  *string
}

func (t *bpe) setNormalizer(n *normalizerJSON) error {
	if n == nil {
		return nil
	}
	if len(t.normalizers) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	if len(n.Prepend) > maxGrowth || len(n.Content) > maxGrowth {
		return fmt.Errorf("%.40s: prepend and content: want at most %d bytes", n.Type, maxGrowth)
	}
	add := func(step normalizer) error {
		t.normalizers = append(t.normalizers, step)
		return nil
	}
	switch n.Type {
	case "Sequence":
		for _, step := range n.Normalizers {
			if err := t.setNormalizer(step); err != nil {
				return err
			}
		}
		return nil
	case "NFC":
		return add(nfc{t.charTable()})
	case "Lowercase":
		return add(lowercase{t.charTable()})
	case "Prepend":
		return add(prepend{n.Prepend})
	case "Replace":
		switch p := n.Pattern; {
		case p.Regex != nil && *p.Regex == `\s+`:
			return add(spaces{n.Content})
		case p.String != nil && *p.String != "" && len(n.Content) <= maxGrowth*len(*p.String):
			return add(replace{*p.String, n.Content})
		}
		return fmt.Errorf(`Replace: pattern: want a string or the regular expression \s+`)
	}
	return fmt.Errorf("type: want Sequence, NFC, Lowercase, Prepend or Replace, got %.40q", n.Type)
}

// charTable returns the one that the parts share.
func (t *bpe) charTable() *charTable {
	if t.chars == nil {
		t.chars = newCharTable()
	}
	return t.chars
}

type preTokenizerJSON struct {
	Type           string              `json:"type"`
	Pretokenizers  []*preTokenizerJSON `json:"pretokenizers"`
	Pattern        patternJSON         `json:"pattern"`
	Behavior       string              `json:"behavior"`
	Invert         bool                `json:"invert"`
	AddPrefixSpace *bool               `json:"add_prefix_space"`
	Replacement    string              `json:"replacement"`
	PrependScheme  *string             `json:"prepend_scheme"`
	Split          *bool               `json:"split"`
}

func (t *bpe) setPreTokenizer(p *preTokenizerJSON) error {
	if p == nil {
		return nil
	}
	switch {
	case p.Type == "Metaspace":
		return t.setMetaspace(p)
	case p.Type != "Sequence":
		return fmt.Errorf("type: want Sequence or Metaspace, got %.40q", p.Type)
	case len(p.Pretokenizers) == 1 && p.Pretokenizers[0] != nil && p.Pretokenizers[0].Type == "Metaspace":
		return t.setMetaspace(p.Pretokenizers[0])
	case len(p.Pretokenizers) != 2 || p.Pretokenizers[0] == nil || p.Pretokenizers[1] == nil:
		return fmt.Errorf("want Split and ByteLevel, as CLIP has them, or Metaspace")
	}
	split, level := p.Pretokenizers[0], p.Pretokenizers[1]
	switch {
	case split.Type != "Split" || split.Pattern.Regex == nil || *split.Pattern.Regex != clipPattern:
		return fmt.Errorf("want a Split by CLIP's regular expression: %s", clipPattern)
	case !strings.EqualFold(split.Behavior, "Removed") || !split.Invert:
		return fmt.Errorf("Split: want behavior Removed and invert true")
	case level.Type != "ByteLevel" || level.AddPrefixSpace == nil || *level.AddPrefixSpace:
		return fmt.Errorf("want ByteLevel with add_prefix_space false after Split")
	case t.byteFallback:
		return fmt.Errorf("ByteLevel and the model's byte_fallback exclude each other")
	}
	// ByteLevel's own regular expression finds nothing to cut in a word of CLIP's.
	t.cut = t.charTable()
	return nil
}

func (t *bpe) setMetaspace(p *preTokenizerJSON) error {
	if utf8.RuneCountInString(p.Replacement) != 1 {
		return fmt.Errorf("Metaspace: replacement: want one character, got %.40q", p.Replacement)
	}
	scheme := "always"
	switch {
	case p.PrependScheme != nil:
		scheme = *p.PrependScheme
	case p.AddPrefixSpace != nil && !*p.AddPrefixSpace:
		scheme = "never"
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return fmt.Errorf("Metaspace: prepend_scheme: want always, first or never, got %.40q", scheme)
	}
	t.meta = &metaspace{replacement: p.Replacement, scheme: scheme, split: p.Split == nil || *p.Split}
	return nil
}

type postJSON struct {
	Type          string                     `json:"type"`
	Processors    []*postJSON                `json:"processors"`
	Sep           json.RawMessage            `json:"sep"`
	Cls           json.RawMessage            `json:"cls"`
	Single        []templateJSON             `json:"single"`
	SpecialTokens map[string]specialTokenIDs `json:"special_tokens"`
}

type templateJSON struct {
	SpecialToken *struct{ ID string }
	Sequence     *struct{ ID string }
}

type specialTokenIDs struct {
	IDs []int32 `json:"ids"`
}

func (t *bpe) setPost(p *postJSON) error {
	if p == nil {
		return nil
	}
	var before, after []int32
	switch p.Type {
	case "ByteLevel": // moves offsets only
	case "Sequence":
		if len(p.Processors) > maxSteps {
			return fmt.Errorf("more than %d steps", maxSteps)
		}
		for _, step := range p.Processors {
			if err := t.setPost(step); err != nil {
				return err
			}
		}
	case "RobertaProcessing", "BertProcessing":
		cls, err := t.namedID(p.Cls)
		if err != nil {
			return wrap("cls", err)
		}
		sep, err := t.namedID(p.Sep)
		if err != nil {
			return wrap("sep", err)
		}
		before, after = []int32{cls}, []int32{sep}
	case "TemplateProcessing":
		var err error
		if before, after, err = t.template(p); err != nil {
			return wrap("single", err)
		}
	default:
		return fmt.Errorf("type: want TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel or Sequence, got %.40q", p.Type)
	}
	t.before, t.after = append(before, t.before...), append(t.after, after...)
	if len(t.before)+len(t.after) > maxSteps {
		return fmt.Errorf("adds more than %d tokens", maxSteps)
	}
	return nil
}

// namedID reads ["token", id].
func (t *bpe) namedID(raw json.RawMessage) (int32, error) {
	var token string
	var id int32
	pair := []any{&token, &id}
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
		return 0, fmt.Errorf("want a token and its id, got %.80s", raw)
	}
	if got, ok := t.ID(token); !ok || got != id {
		return 0, fmt.Errorf("token %.40q with id %d isn't in the vocabulary", token, id)
	}
	return id, nil
}

func (t *bpe) template(p *postJSON) (before, after []int32, err error) {
	texts := 0
	for _, item := range p.Single {
		if item.Sequence != nil {
			texts++
			continue
		}
		if item.SpecialToken == nil {
			return nil, nil, fmt.Errorf("want SpecialToken or Sequence")
		}
		ids := p.SpecialTokens[item.SpecialToken.ID].IDs
		if len(ids) == 0 {
			return nil, nil, fmt.Errorf("token %.40q: no ids in special_tokens", item.SpecialToken.ID)
		}
		for _, id := range ids {
			if _, ok := t.Token(id); !ok {
				return nil, nil, fmt.Errorf("token %.40q: id %d isn't in the vocabulary", item.SpecialToken.ID, id)
			}
		}
		if texts == 0 {
			before = append(before, ids...)
		} else {
			after = append(after, ids...)
		}
		if len(before)+len(after) > maxSteps {
			return nil, nil, fmt.Errorf("adds more than %d tokens", maxSteps)
		}
	}
	if texts != 1 {
		return nil, nil, fmt.Errorf("want the text (Sequence) once, got it %d times", texts)
	}
	return before, after, nil
}
