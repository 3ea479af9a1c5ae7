package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// configured returns the tokenizer.json text with what a tokenizer_config.json beside it changes, as transformers 4.45.2
// applies it when it loads both: flags of added tokens and further ones, and for a LlamaTokenizer the tokens around a text.
// Where nothing changes, as in a checkpoint saved in one go, that is the text itself.
func configured(text []byte, f specialFiles) ([]byte, error) {
	t, err := parseJSON(text)
	if err != nil {
		return nil, wrap("tokenizer.json", err)
	}
	added := t.addedList()
	changed := false
	for _, id := range sortedKeys(f.Added) {
		a := f.Added[id].AddedToken
		a.ID = id
		i := slices.IndexFunc(added, func(b AddedToken) bool { return b.Content == a.Content })
		if i < 0 {
			added = append(added, a)
			changed = true
			continue
		}
		if f.idsOnly {
			continue
		}
		// Whether it is looked for before or after the normalizer stays as the tokenizer.json has it.
		a.ID, a.Normalized, a.Special = added[i].ID, added[i].Normalized, a.Special || added[i].Special
		changed = changed || added[i] != a
		added[i] = a
	}
	parts := map[string][]byte{}
	if changed {
		if parts["added_tokens"], err = json.Marshal(added); err != nil {
			return nil, err
		}
	}
	if f.isLlama() {
		bos, eos := f.around()
		if !t.surroundedBy(bos, eos) {
			ids := map[string]int32{}
			for _, token := range []string{bos, eos} {
				ids[token], _ = t.ID(token)
			}
			c := newComposer()
			if err := (&mistral{bos: bos, eos: eos}).template(c, ids); err != nil {
				return nil, err
			}
			parts["post_processor"] = c.buf.Bytes()
		}
	}
	if len(parts) == 0 {
		return text, nil
	}
	return replaceParts(text, parts)
}

func (f *specialFiles) isLlama() bool {
	return f.TokenizerClass == "LlamaTokenizer" || f.TokenizerClass == "LlamaTokenizerFast"
}

// around returns the spellings that a LlamaTokenizer puts around a text.
func (f *specialFiles) around() (bos, eos string) {
	name := func(n specialName, usual string) string {
		if n.Content == "" {
			return usual
		}
		return n.Content
	}
	if f.AddBOS == nil || *f.AddBOS {
		bos = name(f.BOS, "<s>")
	}
	if f.AddEOS != nil && *f.AddEOS {
		eos = name(f.EOS, "</s>")
	}
	return bos, eos
}

func (t *bpe) surroundedBy(bos, eos string) bool {
	same := func(ids []int32, token string) bool {
		id, ok := t.ID(token)
		return token == "" && len(ids) == 0 || ok && slices.Equal(ids, []int32{id})
	}
	return same(t.before, bos) && same(t.after, eos)
}

// addedList returns the added tokens in the order of their ids.
func (t *bpe) addedList() []AddedToken {
	list := make([]AddedToken, 0, len(t.addedByID))
	for _, id := range sortedKeys(t.addedByID) {
		list = append(list, t.addedByID[id])
	}
	return list
}

func sortedKeys[V any](m map[int32]V) []int32 {
	keys := make([]int32, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// replaceParts returns a checked JSON object with other values in some of its fields. Those that it lacks are added.
func replaceParts(text []byte, parts map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	done := 0
	s := &scanner{data: text}
	err := s.object(func(key []byte) error {
		part, ok := parts[string(key)]
		delete(parts, string(key))
		s.peek()
		start := s.pos
		if err := s.skip(); err != nil || !ok {
			return err
		}
		out.Write(text[done:start])
		out.Write(part)
		done = s.pos
		return nil
	})
	if err != nil {
		return nil, err
	}
	end := s.pos - 1 // the closing brace: the object has a model, so it isn't empty
	out.Write(text[done:end])
	for name, part := range parts {
		fmt.Fprintf(&out, ",%q:%s", name, part)
	}
	out.Write(text[end:])
	return out.Bytes(), nil
}
