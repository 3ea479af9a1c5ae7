package tokenizer

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// An AddedToken is a spelling that is found in a text before all else, and what may stand around it.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no letter, digit or underscore stands beside it
	LStrip     bool   `json:"lstrip"`      // takes the white space before it
	RStrip     bool   `json:"rstrip"`      // takes the white space after it
	Normalized bool   `json:"normalized"`  // is looked for in the normalised text, itself normalised
	Special    bool   `json:"special"`     // controls the model; a decoder may leave it out
}

// setAdded checks the added tokens and makes the two matchers. The normalizers must be set.
func (t *bpe) setAdded(tokens []AddedToken) error {
	if len(tokens) > maxAdded {
		return fmt.Errorf("%d tokens, want at most %d", len(tokens), maxAdded)
	}
	t.added = make(map[string]int32, len(tokens))
	t.addedByID = make(map[int32]AddedToken, len(tokens))
	t.bound = int32(len(t.vocab.spans))
	total := 0
	for i, a := range tokens {
		if a.Content == "" || len(a.Content) > maxAddedSize {
			return fmt.Errorf("token %d: content: want 1 to %d bytes, got %d", i, maxAddedSize, len(a.Content))
		}
		if total += len(a.Content); total > maxAddedText {
			return fmt.Errorf("token %d: the added tokens take more than %d bytes", i, maxAddedText)
		}
		if _, twice := t.added[a.Content]; twice {
			return fmt.Errorf("token %q is there twice", a.Content)
		}
		// The reference doesn't look at the id in the file: it looks the token up, or takes the next free number.
		want := t.vocab.id([]byte(a.Content))
		if want == noToken {
			want = t.bound
		}
		if a.ID != want || want >= maxTokens {
			return fmt.Errorf("token %q: id %d: want %d, its place in the vocabulary or the next one free", a.Content, a.ID, want)
		}
		t.bound = max(t.bound, want+1)
		t.added[a.Content] = a.ID
		t.addedByID[a.ID] = a
	}
	return t.setMatchers(tokens)
}

// setMatchers puts special tokens first: of two with the same text they are the ones that the reference finds.
func (t *bpe) setMatchers(tokens []AddedToken) error {
	var verbatim, normalized []pattern
	total := 0
	for _, special := range []bool{true, false} {
		for _, a := range tokens {
			if a.Special != special {
				continue
			}
			p := pattern{text: a.Content, token: a}
			if !a.Normalized {
				verbatim = append(verbatim, p)
			} else if p.text = t.normalize(a.Content); p.text != "" {
				normalized = append(normalized, p)
			}
			if total += len(p.text); total > maxAddedText {
				return fmt.Errorf("the added tokens, normalised, take more than %d bytes", maxAddedText)
			}
		}
	}
	t.verbatim, t.normalized = newMatcher(verbatim), newMatcher(normalized)
	return nil
}

type pattern struct {
	text  string
	token AddedToken
}

// A matcher finds added tokens: the leftmost, and of those the longest. It is a trie over bytes.
type matcher struct {
	nodes []node
	first [256]bool // bytes that some pattern begins with
}

// A node's children are a chain: of node 0, which is the root, no other node is the parent or sibling.
type node struct {
	child, sibling int32
	token          *AddedToken // of the pattern that ends here
	b              byte        // leads here from the parent
}

// newMatcher returns nil for no patterns. Of two with the same text the first counts.
func newMatcher(patterns []pattern) *matcher {
	if len(patterns) == 0 {
		return nil
	}
	m := &matcher{nodes: make([]node, 1)}
	for _, p := range patterns {
		at := int32(0)
		for i := range len(p.text) {
			next := m.step(at, p.text[i])
			if next == 0 {
				next = int32(len(m.nodes))
				m.nodes = append(m.nodes, node{sibling: m.nodes[at].child, b: p.text[i]})
				m.nodes[at].child = next
			}
			at = next
		}
		if m.nodes[at].token == nil {
			m.nodes[at].token = &p.token
		}
		m.first[p.text[0]] = true
	}
	return m
}

// step returns the node that b leads to, 0 for none.
func (m *matcher) step(at int32, b byte) int32 {
	next := m.nodes[at].child
	for next != 0 && m.nodes[next].b != b {
		next = m.nodes[next].sibling
	}
	return next
}

// match returns the longest pattern that text begins with.
func (m *matcher) match(text string) (size int, token *AddedToken) {
	at := int32(0)
	for i := range len(text) {
		if at = m.step(at, text[i]); at == 0 {
			break
		}
		if m.nodes[at].token != nil {
			size, token = i+1, m.nodes[at].token
		}
	}
	return size, token
}

// split calls f for each piece of text in order: added tokens (with their id) and what lies between them (noToken).
// No piece between is empty.
func (m *matcher) split(text string, f func(piece string, id int32)) {
	done := 0 // end of the last piece
	for at := 0; m != nil && at < len(text); at++ {
		if !m.first[text[at]] {
			continue
		}
		size, token := m.match(text[at:])
		if token == nil {
			continue
		}
		start, stop := at, at+size
		at = stop - 1
		if token.SingleWord && (wordBefore(text[:start]) || wordAfter(text[stop:])) {
			continue
		}
		if token.LStrip {
			start = max(trimRight(text[:start]), done)
		}
		if token.RStrip {
			stop += leadingSpace(text[stop:])
		}
		if done < start {
			f(text[done:start], noToken)
		}
		f(text[start:stop], token.ID)
		done = stop
	}
	if done < len(text) {
		f(text[done:], noToken)
	}
}

func wordBefore(s string) bool {
	r, size := utf8.DecodeLastRuneInString(s)
	return size > 0 && isWord(r)
}

func wordAfter(s string) bool {
	r, size := utf8.DecodeRuneInString(s)
	return size > 0 && isWord(r)
}

// isWord is \w of the reference's regular expressions for added tokens.
func isWord(r rune) bool {
	_, found := slices.BinarySearchFunc(words[:], r, func(x [2]rune, r rune) int { return compareRange(x[0], x[1], r) })
	return found
}

// trimRight returns the length of s without the white space at its end.
func trimRight(s string) int {
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		if !isSpace(r) {
			break
		}
		s = s[:len(s)-size]
	}
	return len(s)
}

func leadingSpace(s string) int {
	for i, r := range s {
		if !isSpace(r) {
			return i
		}
	}
	return len(s)
}
