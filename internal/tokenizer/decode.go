package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Decoder turns ids back into text. The tokenizers of this package all implement it.
type Decoder interface {
	// Decode returns the text of ids, as the reference's decode does. Ids that no token has are left out, and so are
	// special tokens if skipSpecial is set.
	Decode(ids []int32, skipSpecial bool) string
}

// A decodeStep rewrites the list of spellings on its way to a text.
type decodeStep func(tokens []string) []string

type decoderJSON struct {
	Type          string         `json:"type"`
	Decoders      []*decoderJSON `json:"decoders"`
	Pattern       patternJSON    `json:"pattern"`
	Content       string         `json:"content"`
	Start         int            `json:"start"`
	Stop          int            `json:"stop"`
	Replacement   string         `json:"replacement"`
	PrependScheme string         `json:"prepend_scheme"`
}

func (t *bpe) setDecoder(d *decoderJSON) error {
	if d == nil {
		return nil
	}
	if len(t.decoder) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	var step decodeStep
	switch d.Type {
	case "Sequence":
		for _, step := range d.Decoders {
			if err := t.setDecoder(step); err != nil {
				return err
			}
		}
		return nil
	case "Replace":
		old := d.Pattern.String
		if old == nil || *old == "" || len(d.Content) > maxGrowth*len(*old) {
			return fmt.Errorf("Replace: pattern: want a string")
		}
		step = eachToken(func(_ int, s string) string { return strings.ReplaceAll(s, *old, d.Content) })
	case "Metaspace":
		step = eachToken(func(i int, s string) string {
			if i == 0 && d.PrependScheme != "never" {
				return strings.ReplaceAll(s, d.Replacement, "")
			}
			return strings.ReplaceAll(s, d.Replacement, " ")
		})
		if d.Replacement == "" {
			return fmt.Errorf("Metaspace: replacement: want one character")
		}
	case "ByteFallback":
		step = joinBytes
	case "Fuse":
		step = func(tokens []string) []string { return []string{strings.Join(tokens, "")} }
	case "Strip":
		if len(d.Content) == 0 {
			return fmt.Errorf("Strip: content: want one character")
		}
		step = eachToken(func(_ int, s string) string { return strip(s, d.Content, d.Start, d.Stop) })
	case "ByteLevel":
		step = t.byteLevel()
	default:
		return fmt.Errorf("type: want Sequence, Replace, Metaspace, ByteFallback, Fuse, Strip or ByteLevel, got %.40q", d.Type)
	}
	t.decoder = append(t.decoder, step)
	return nil
}

// Decode implements [Decoder].
func (t *bpe) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		token, ok := t.Token(id)
		if !ok || skipSpecial && t.addedByID[id].Special {
			continue
		}
		tokens = append(tokens, token)
	}
	if len(t.decoder) == 0 {
		return strings.Join(tokens, " ")
	}
	for _, step := range t.decoder {
		tokens = step(tokens)
	}
	return strings.Join(tokens, "")
}

// Spell returns what a token stands for by itself, and whether it is special. The spelling of the vocabulary, such as
// "▁", stands in where a decoder leaves nothing of a token or cannot make text of it, as of a byte of a character. The
// text is empty where no token has the id.
func Spell(t Tokenizer, id int32) (text string, special bool) {
	spelling, ok := t.Token(id)
	d, decodes := t.(Decoder)
	if !ok || !decodes {
		return spelling, false
	}
	text = d.Decode([]int32{id}, false)
	special = text != "" && d.Decode([]int32{id}, true) == ""
	if text == "" || strings.ContainsRune(text, utf8.RuneError) {
		text = spelling
	}
	return text, special
}

func eachToken(f func(i int, s string) string) decodeStep {
	return func(tokens []string) []string {
		for i, s := range tokens {
			tokens[i] = f(i, s)
		}
		return tokens
	}
}

// joinBytes turns runs of <0xNN> into the characters they spell, or each into U+FFFD if the run isn't UTF-8.
func joinBytes(tokens []string) []string {
	out := tokens[:0:0]
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			out = append(out, strings.Repeat("\ufffd", len(run)))
		}
		run = run[:0]
	}
	for _, s := range tokens {
		if b, ok := byteOf(s); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, s)
	}
	flush()
	return out
}

// byteOf reads a token of the form <0xNN>.
func byteOf(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

func strip(s, content string, start, stop int) string {
	for ; start > 0 && strings.HasPrefix(s, content); start-- {
		s = s[len(content):]
	}
	for ; stop > 0 && strings.HasSuffix(s, content); stop-- {
		s = s[:len(s)-len(content)]
	}
	return s
}

// byteLevel turns the characters that stand for bytes back into them. As CLIP's tokenizer does it, the suffix that ends
// a word then becomes a space, and the ends are trimmed.
func (t *bpe) byteLevel() decodeStep {
	bytesOf := make(map[rune]byte, 256)
	for b := range 256 {
		bytesOf[byteRune(byte(b))] = byte(b)
	}
	return func(tokens []string) []string {
		var text []byte
		for _, s := range tokens {
			start := len(text)
			for _, r := range s {
				b, ok := bytesOf[r]
				if !ok {
					text = append(text[:start], s...)
					break
				}
				text = append(text, b)
			}
		}
		out := lossy(text)
		if t.suffix != "" {
			out = strings.TrimFunc(strings.ReplaceAll(out, t.suffix, " "), isPythonSpace)
		}
		return []string{out}
	}
}

// isPythonSpace is what Python's str.strip takes off: white space, and the four separators of ASCII.
func isPythonSpace(r rune) bool { return isSpace(r) || 0x1c <= r && r <= 0x1f }

// lossy decodes UTF-8 with one U+FFFD for the longest start of a character that is cut off or broken, as Rust does.
func lossy(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			size = brokenSize(text)
		}
		b.WriteRune(r)
		text = text[size:]
	}
	return b.String()
}

// brokenSize returns how many bytes at the start of text, which begins with no whole character, could have begun one.
func brokenSize(text []byte) int {
	lo, hi, need := byte(0x80), byte(0xbf), 0
	switch c := text[0]; {
	case 0xc2 <= c && c <= 0xdf:
		need = 1
	case 0xe0 <= c && c <= 0xef:
		need = 2
		if c == 0xe0 {
			lo = 0xa0
		}
		if c == 0xed {
			hi = 0x9f
		}
	case 0xf0 <= c && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			lo = 0x90
		}
		if c == 0xf4 {
			hi = 0x8f
		}
	}
	size := 1
	for size <= need && size < len(text) && lo <= text[size] && text[size] <= hi {
		lo, hi = 0x80, 0xbf
		size++
	}
	return size
}
