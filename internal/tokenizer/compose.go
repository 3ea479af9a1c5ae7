package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A composer writes the text of a tokenizer.json in the order and with the fields that transformers saves.
type composer struct {
	buf bytes.Buffer
	enc *json.Encoder
	err error
}

func newComposer() *composer {
	c := &composer{}
	c.enc = json.NewEncoder(&c.buf)
	c.enc.SetEscapeHTML(false)
	return c
}

func (c *composer) text(s string) { c.buf.WriteString(s) }

// value writes any value without the line end that the encoder adds.
func (c *composer) value(v any) {
	if err := c.enc.Encode(v); err != nil && c.err == nil {
		c.err = err
	}
	if n := c.buf.Len(); n > 0 && c.buf.Bytes()[n-1] == '\n' {
		c.buf.Truncate(n - 1)
	}
}

// token writes a spelling. Most need no escape, and the encoder is slow for so many.
func (c *composer) token(s string) {
	plain := func(r rune) bool {
		return r >= ' ' && r != '"' && r != '\\' && r != '\u2028' && r != '\u2029' && r != utf8.RuneError
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) >= 0 {
		c.value(s)
		return
	}
	c.buf.WriteByte('"')
	c.buf.WriteString(s)
	c.buf.WriteByte('"')
}

// model writes the vocabulary in order of ids and the merges in order of rank, and closes the document.
func (c *composer) model(flags string, tokens []string, merges [][2]string) ([]byte, error) {
	c.text(`,"model":{"type":"BPE","dropout":null,` + flags + `,"vocab":{`)
	for id, token := range tokens {
		if id > 0 {
			c.text(",")
		}
		c.token(token)
		c.buf.WriteByte(':')
		c.buf.Write(strconv.AppendInt(c.buf.AvailableBuffer(), int64(id), 10))
	}
	c.text(`},"merges":[`)
	// The older form, a line for a pair, is half as long, but can't tell a space in a token from the one between.
	lines := true
	for _, m := range merges {
		lines = lines && m[0] != "" && m[1] != "" && !strings.Contains(m[0], " ") && !strings.Contains(m[1], " ") &&
			!strings.HasPrefix(m[0], "#version")
	}
	for i, m := range merges {
		if i > 0 {
			c.text(",")
		}
		if lines {
			c.token(m[0] + " " + m[1])
		} else {
			c.value(m)
		}
	}
	c.text("]}}")
	return c.buf.Bytes(), c.err
}

// tokenIDs maps spellings to their places; of two that are the same the later one counts.
func tokenIDs(tokens []string) map[string]int32 {
	ids := make(map[string]int32, len(tokens))
	for id, token := range tokens {
		ids[token] = int32(id)
	}
	return ids
}

// clipText makes the text of a CLIP tokenizer. Special tokens that the configuration doesn't name are OpenAI's.
func clipText(tokens []string, merges [][2]string, special specialFiles) ([]byte, error) {
	for name, usual := range map[*specialName]string{
		&special.BOS: "<|startoftext|>", &special.EOS: "<|endoftext|>",
		&special.Unknown: "<|endoftext|>", &special.Padding: "<|endoftext|>",
	} {
		if name.Content == "" {
			name.AddedToken = AddedToken{Content: usual, Normalized: true}
		}
	}
	ids := tokenIDs(tokens)
	added, err := special.added(ids)
	if err != nil {
		return nil, err
	}
	for _, a := range added {
		ids[a.Content] = a.ID
	}
	pair := func(n specialName) []any { return []any{n.Content, ids[n.Content]} }
	c := newComposer()
	c.text(`{"version":"1.0","truncation":null,"padding":null,"added_tokens":`)
	c.value(added)
	c.text(`,"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},` +
		`{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},` +
		`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":`)
	c.value(clipPattern)
	c.text(`},"behavior":"Removed","invert":true},` +
		`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]},` +
		`"post_processor":{"type":"RobertaProcessing","sep":`)
	c.value(pair(special.EOS))
	c.text(`,"cls":`)
	c.value(pair(special.BOS))
	c.text(`,"trim_offsets":false,"add_prefix_space":false},` +
		`"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}`)
	unk, err := json.Marshal(special.Unknown.Content)
	if err != nil {
		return nil, err
	}
	return c.model(`"unk_token":`+string(unk)+`,"continuing_subword_prefix":"","end_of_word_suffix":"</w>",`+
		`"fuse_unk":false,"byte_fallback":false,"ignore_merges":false`, tokens, merges)
}

// A mistral is what makes a tokenizer.json of Mistral's kind.
type mistral struct {
	tokens         []string
	merges         [][2]string
	added          []AddedToken
	unknown        string
	bos, eos       string // spelling of the tokens that are put around a text, empty for none
	legacy         bool   // normalizers put the prefix in front of every piece; else Metaspace, of the first only
	addPrefixSpace bool
}

func (m *mistral) text() ([]byte, error) {
	c := newComposer()
	c.text(`{"version":"1.0","truncation":null,"padding":null,"added_tokens":`)
	c.value(m.added)
	replace := `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	switch {
	case !m.legacy && m.addPrefixSpace:
		c.text(`,"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}`)
	case !m.legacy:
		c.text(`,"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false}`)
	case m.addPrefixSpace:
		c.text(`,"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` + replace + `]},"pre_tokenizer":null`)
	default:
		c.text(`,"normalizer":{"type":"Sequence","normalizers":[` + replace + `]},"pre_tokenizer":null`)
	}
	ids := tokenIDs(m.tokens)
	for _, a := range m.added {
		ids[a.Content] = a.ID
	}
	c.text(`,"post_processor":`)
	if err := m.template(c, ids); err != nil {
		return nil, err
	}
	c.text(`,"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},` +
		`{"type":"ByteFallback"},{"type":"Fuse"}`)
	if m.addPrefixSpace {
		c.text(`,{"type":"Strip","content":" ","start":1,"stop":0}`)
	}
	unk, err := json.Marshal(m.unknown)
	if err != nil {
		return nil, err
	}
	c.text(`]}`)
	return c.model(`"unk_token":`+string(unk)+`,"continuing_subword_prefix":null,"end_of_word_suffix":null,`+
		`"fuse_unk":true,"byte_fallback":true,"ignore_merges":false`, m.tokens, m.merges)
}

// template writes the post-processor.
func (m *mistral) template(c *composer, ids map[string]int32) error {
	type item map[string]any
	named := func(id string, typ int) map[string]any { return item{"id": id, "type_id": typ} }
	special := item{}
	sequence := func(text string, typ int) (out []item) {
		for _, token := range []string{m.bos, "", m.eos} {
			if token == "" {
				continue
			}
			out = append(out, item{"SpecialToken": named(token, typ)})
			special[token] = item{"id": token, "ids": []int32{ids[token]}, "tokens": []string{token}}
		}
		at := 0
		if m.bos != "" {
			at = 1
		}
		return append(out[:at:at], append([]item{{"Sequence": named(text, typ)}}, out[at:]...)...)
	}
	for _, token := range []string{m.bos, m.eos} {
		if _, ok := ids[token]; token != "" && !ok {
			return fmt.Errorf("special token %.40q isn't in the vocabulary", token)
		}
	}
	single := sequence("A", 0)
	c.text(`{"type":"TemplateProcessing","single":`)
	c.value(single)
	c.text(`,"pair":`)
	c.value(append(single, sequence("B", 1)...))
	c.text(`,"special_tokens":`)
	c.value(special)
	c.text("}")
	return nil
}
