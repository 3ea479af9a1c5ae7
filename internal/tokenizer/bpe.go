package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// A bpe is a checked tokenizer of either kind. Nothing in it changes after it was made but the pool.
type bpe struct {
	vocab      *vocab
	merges     *pairTable
	mergeCount int
	added      map[string]int32
	addedByID  map[int32]AddedToken
	bound      int32 // above every id

	verbatim, normalized *matcher
	chars                *charTable // nil unless some part needs it
	normalizers          []normalizer
	cut                  *charTable // of CLIP: cuts a text into words, which are encoded by bytes; nil otherwise
	meta                 *metaspace // of sentencepiece's newer kind; nil otherwise

	unk           int32
	suffix        string
	fuseUnk       bool
	byteFallback  bool
	ofByte        [256]int32 // CLIP: the token of each byte
	ofLastByte    [256]int32 // CLIP: the same with the end-of-word suffix
	fallback      [256]int32 // sentencepiece: the token <0xNN> of each byte
	before, after []int32    // special tokens around a text
	decoder       []decodeStep

	pool sync.Pool // of *symbols
}

// A metaspace writes spaces as a character that can stand in tokens, and puts one in front.
type metaspace struct {
	replacement string
	scheme      string // always; first: in front of the text's first piece only; never
	split       bool
}

func (t *bpe) VocabSize() int { return int(t.bound) }

func (t *bpe) ID(token string) (int32, bool) {
	if id, ok := t.added[token]; ok {
		return id, true
	}
	id := t.vocab.id([]byte(token))
	return id, id != noToken
}

func (t *bpe) Token(id int32) (string, bool) {
	if a, ok := t.addedByID[id]; ok {
		return a.Content, true
	}
	if !t.vocab.has(id) {
		return "", false
	}
	return string(t.vocab.bytes(id)), true
}

func (t *bpe) normalize(text string) string {
	for _, n := range t.normalizers {
		text = n.normalize(text)
	}
	return text
}

func (t *bpe) Encode(text string) []int32 {
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	w, _ := t.pool.Get().(*symbols)
	if w == nil {
		w = &symbols{}
	}
	ids := append(make([]int32, 0, len(text)/3+len(t.before)+len(t.after)), t.before...)
	first := true
	t.verbatim.split(text, func(piece string, id int32) {
		if id != noToken {
			ids = append(ids, id)
		} else {
			t.normalized.split(t.normalize(piece), func(piece string, id int32) {
				if id != noToken {
					ids = append(ids, id)
				} else {
					ids = t.encodePiece(ids, w, piece, first)
				}
				first = false
			})
		}
		first = false
	})
	if cap(w.list) <= maxPooled {
		t.pool.Put(w)
	}
	return append(ids, t.after...)
}

// encodePiece appends the ids of a normalised text that holds no added token. first: nothing lies before it.
func (t *bpe) encodePiece(ids []int32, w *symbols, piece string, first bool) []int32 {
	if t.cut != nil {
		t.cut.cutWords(piece, func(word string) {
			t.startBytes(w, word)
			ids = t.merge(ids, w)
		})
		return ids
	}
	m := t.meta
	if m == nil {
		t.startRunes(w, piece)
		return t.merge(ids, w)
	}
	piece = strings.ReplaceAll(piece, " ", m.replacement)
	if (m.scheme == "always" || m.scheme == "first" && first) && !strings.HasPrefix(piece, m.replacement) {
		piece = m.replacement + piece
	}
	for m.split { // before each replacement but one at the start
		size := len(m.replacement)
		if !strings.HasPrefix(piece, m.replacement) {
			size = 0
		}
		i := strings.Index(piece[size:], m.replacement)
		if i < 0 {
			break
		}
		t.startRunes(w, piece[:size+i])
		ids = t.merge(ids, w)
		piece = piece[size+i:]
	}
	t.startRunes(w, piece)
	return t.merge(ids, w)
}

// cutWords calls f for each match of clipPattern. What lies between is white space and left out.
func (c *charTable) cutWords(text string, f func(word string)) {
	for i := 0; i < len(text); {
		if text[i] == '\'' {
			if n := contraction(text[i:]); n > 0 {
				f(text[i : i+n])
				i += n
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		end := i + size
		switch bits := c.at(r) & isWordChar; {
		case bits&isSpaceChar != 0:
		case bits&isNumber != 0:
			f(text[i:end])
		default: // letters, or symbols
			for _, r := range text[end:] {
				if c.at(r)&isWordChar != bits {
					break
				}
				end += utf8.RuneLen(r)
			}
			f(text[i:end])
		}
		i = end
	}
}

// contraction returns the length of the contraction that text begins with, 0 for none.
func contraction(text string) int {
	for _, c := range [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	return 0
}

// byteRune is the character that stands for a byte in a byte-level vocabulary: itself where it can be seen.
func byteRune(b byte) rune {
	hidden := func(b byte) bool { return b <= ' ' || 0x7f <= b && b <= 0xa0 || b == 0xad }
	if !hidden(b) {
		return rune(b)
	}
	n := rune(0)
	for c := range b {
		if hidden(c) {
			n++
		}
	}
	return 0x100 + n
}
