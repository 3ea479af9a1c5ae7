package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// maxSmallPart bounds every part of a tokenizer.json that isn't the vocabulary or the merges.
const maxSmallPart = 4 << 20

// FromJSON makes a tokenizer from the text of a tokenizer.json. It keeps no reference to the text. It fails, naming
// the field, on whatever this package can't follow exactly, such as another normalizer or another model.
func FromJSON(tokenizerJSON []byte) (Tokenizer, error) {
	t, err := parseJSON(tokenizerJSON)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	return t, nil
}

// A document is what a tokenizer.json says, as far as it was read.
type document struct {
	model modelPart
	parts map[string][]byte // raw text of the other fields
}

// A modelPart is the field "model".
type modelPart struct {
	vocab  *vocab
	merges *pairTable
	pairs  int // merges that the file lists
	modelFlags
}

type modelFlags struct {
	Type                    *string  `json:"type"`
	Dropout                 *float64 `json:"dropout"`
	UnkToken                *string  `json:"unk_token"`
	ContinuingSubwordPrefix *string  `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string  `json:"end_of_word_suffix"`
	FuseUnk                 bool     `json:"fuse_unk"`
	ByteFallback            bool     `json:"byte_fallback"`
	IgnoreMerges            bool     `json:"ignore_merges"`
}

func parseJSON(data []byte) (*bpe, error) {
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("%d bytes long, want at most %d", len(data), maxFile)
	case !utf8.Valid(data):
		return nil, fmt.Errorf("not UTF-8 text")
	}
	doc := document{parts: map[string][]byte{}}
	s := &scanner{data: data}
	err := s.object(func(key []byte) error {
		name := string(key)
		if _, twice := doc.parts[name]; twice {
			return fmt.Errorf("field %.40q is there twice", name)
		}
		if len(doc.parts) > maxDepth {
			return fmt.Errorf("more than %d fields", maxDepth)
		}
		var err error
		if name == "model" {
			doc.parts[name] = nil
			err = doc.model.read(s)
		} else {
			doc.parts[name], err = s.raw()
		}
		return wrap(name, err)
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	return doc.build()
}

// wrap puts the field's name in front of an error.
func wrap(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%.40s: %w", field, err)
}

func (m *modelPart) read(s *scanner) error {
	flags := map[string]json.RawMessage{}
	var deferred *scanner // at the merges, where they came before the vocabulary
	seen := map[string]bool{}
	err := s.object(func(key []byte) error {
		name := string(key)
		if seen[name] || len(seen) > maxDepth {
			return fmt.Errorf("field %.40q is there twice, or there are more than %d fields", name, maxDepth)
		}
		seen[name] = true
		switch {
		case name == "vocab":
			return wrap(name, m.readVocab(s))
		case name == "merges" && m.vocab == nil:
			s.peek()
			deferred = &scanner{data: s.data, pos: s.pos, depth: s.depth}
			return wrap(name, s.skip())
		case name == "merges":
			return wrap(name, m.readMerges(s))
		}
		raw, err := s.raw()
		if len(raw) > maxSmallPart {
			return wrap(name, fmt.Errorf("larger than %d bytes", maxSmallPart))
		}
		flags[name] = raw
		return wrap(name, err)
	})
	if err != nil {
		return err
	}
	if m.vocab == nil || m.merges == nil && deferred == nil {
		return fmt.Errorf("want a vocab and merges, as a BPE model has them")
	}
	if deferred != nil {
		if err := wrap("merges", m.readMerges(deferred)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(flags)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &m.modelFlags)
}

func (m *modelPart) readVocab(s *scanner) error {
	if s.peek() != '{' {
		return s.unexpected("an object of tokens and ids")
	}
	// An entry takes about 20 bytes; a wrong guess costs time only.
	m.vocab = newVocab(min(maxTokens, (len(s.data)-s.pos)/60))
	return s.object(func(key []byte) error {
		if len(key) > maxTokenSize {
			return fmt.Errorf("token %.40q...: %d bytes long, want at most %d", key, len(key), maxTokenSize)
		}
		// The value has no string in it, so the key stays good while it is read.
		id, err := s.id(maxTokens)
		if err != nil {
			return fmt.Errorf("token %.40q: %w", key, err)
		}
		return m.vocab.add(key, id)
	})
}

func (m *modelPart) readMerges(s *scanner) error {
	m.merges = newPairTable(min(maxMerges, (len(s.data)-s.pos)/30))
	var left, both []byte
	return s.array(func() error {
		var right []byte
		switch s.peek() {
		case '"':
			line, err := s.str()
			if err != nil {
				return err
			}
			if bytes.HasPrefix(line, []byte("#version")) {
				return nil
			}
			l, r, ok := bytes.Cut(line, []byte(" "))
			if !ok || bytes.IndexByte(r, ' ') >= 0 {
				return fmt.Errorf("%.60q: want two tokens and a space between them", line)
			}
			left, right = append(left[:0], l...), r
		case '[':
			n := 0
			err := s.array(func() error {
				token, err := s.str()
				if n++; n == 1 {
					left = append(left[:0], token...)
				} else {
					right = token
				}
				return err
			})
			if err != nil {
				return err
			}
			if n != 2 {
				return fmt.Errorf("merge %d: want two tokens, got %d", m.pairs, n)
			}
		default:
			return s.unexpected("a pair of tokens")
		}
		both = append(append(both[:0], left...), right...)
		return m.addMerge(left, right, both)
	})
}

// addMerge gives the pair the next rank.
func (m *modelPart) addMerge(left, right, both []byte) error {
	if m.pairs++; m.pairs > maxMerges {
		return fmt.Errorf("more than %d merges", maxMerges)
	}
	ids := [3]int32{m.vocab.id(left), m.vocab.id(right), m.vocab.id(both)}
	for i, token := range [3][]byte{left, right, both} {
		if ids[i] == noToken {
			return fmt.Errorf("merge %d: %.40q + %.40q: token %.60q isn't in the vocabulary", m.pairs-1, left, right, token)
		}
	}
	m.merges.add(ids[0], ids[1], ids[2])
	return nil
}

// small decodes one of the parts that are no vocabulary.
func (d *document) small(name string, into any) error {
	raw := d.parts[name]
	if len(raw) == 0 {
		return nil
	}
	if len(raw) > maxSmallPart {
		return wrap(name, fmt.Errorf("larger than %d bytes", maxSmallPart))
	}
	return wrap(name, json.Unmarshal(raw, into))
}

// build checks the parts against each other and makes the tokenizer.
func (d *document) build() (*bpe, error) {
	if _, ok := d.parts["model"]; !ok {
		return nil, fmt.Errorf("model: missing")
	}
	t := &bpe{vocab: d.model.vocab, merges: d.model.merges, mergeCount: d.model.pairs}
	if err := wrap("model", t.setModel(d.model.modelFlags)); err != nil {
		return nil, err
	}
	var config struct {
		Normalizer    *normalizerJSON
		PreTokenizer  *preTokenizerJSON
		PostProcessor *postJSON
		Decoder       *decoderJSON
		AddedTokens   []AddedToken
	}
	for _, part := range []struct {
		name string
		into any
	}{
		{"normalizer", &config.Normalizer}, {"pre_tokenizer", &config.PreTokenizer},
		{"post_processor", &config.PostProcessor}, {"decoder", &config.Decoder}, {"added_tokens", &config.AddedTokens},
	} {
		if err := d.small(part.name, part.into); err != nil {
			return nil, err
		}
	}
	if err := wrap("normalizer", t.setNormalizer(config.Normalizer)); err != nil {
		return nil, err
	}
	if err := wrap("pre_tokenizer", t.setPreTokenizer(config.PreTokenizer)); err != nil {
		return nil, err
	}
	if err := wrap("added_tokens", t.setAdded(config.AddedTokens)); err != nil {
		return nil, err
	}
	if err := wrap("post_processor", t.setPost(config.PostProcessor)); err != nil {
		return nil, err
	}
	return t, wrap("decoder", t.setDecoder(config.Decoder))
}
