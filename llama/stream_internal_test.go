package llama

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/llamatest"
)

// textModel has the tokenizer alone.
func textModel(t testing.TB) *Model {
	t.Helper()
	f, err := gguf.Open(llamatest.Write(t, llamatest.Model(), nil))
	require.NoError(t, err)
	defer f.Close()
	m := &Model{params: &params{vocab: llamatest.Rows(), imageToken: noToken}}
	require.NoError(t, m.readTokenizer(f))
	return m
}

// streamed feeds ids and returns the pieces given out, and why the text ended.
func streamed(m *Model, o PredictOptions, prompt []int32, ids ...int32) (pieces []string, reason Reason) {
	o.Callback = func(text string) bool {
		pieces = append(pieces, text)
		return true
	}
	s := newStream(m, prompt, o)
	for _, id := range ids {
		if reason := s.add(id); reason != "" {
			return pieces, reason
		}
	}
	return pieces, s.finish(ReasonLength)
}

// byteIDs spells text in byte tokens.
func byteIDs(text string) []int32 {
	var ids []int32
	for _, b := range []byte(text) {
		ids = append(ids, llamatest.FirstByte+int32(b))
	}
	return ids
}

func TestStreamRunes(t *testing.T) {
	m := textModel(t)
	the, cat, e := llamatest.ID("▁the"), llamatest.ID("▁cat"), llamatest.ID("é")
	for name, c := range map[string]struct {
		prompt, ids []int32
		want        []string
	}{
		"words":                     {[]int32{1, the}, []int32{cat, the}, []string{" cat", " the"}},
		"at the start of a text":    {[]int32{1}, []int32{cat, the}, []string{"cat", " the"}},
		"after nothing":             {nil, []int32{the}, []string{"the"}},
		"after a picture":           {[]int32{1, the, llamatest.Image()}, []int32{cat}, []string{" cat"}},
		"after bytes":               {append([]int32{1, the}, byteIDs("€")...), []int32{cat}, []string{" cat"}},
		"whole character":           {[]int32{1, the}, []int32{e}, []string{"é"}},
		"bytes of a character":      {[]int32{1, the}, byteIDs("€"), []string{"€"}},
		"four bytes":                {[]int32{1, the}, append(byteIDs("👏"), byteIDs("a👏")...), []string{"👏", "a", "👏"}},
		"newline":                   {[]int32{1, the}, append(byteIDs("\n"), cat), []string{"\n", " cat"}},
		"broken, then a word":       {[]int32{1, the}, append(byteIDs("€"[:2]), cat), []string{"\ufffd\ufffd cat"}},
		"broken, then a byte":       {[]int32{1, the}, byteIDs("\xe2\x82a"), []string{"\ufffd\ufffda"}},
		"broken at the end":         {[]int32{1, the}, byteIDs("\xf0\x9f"), []string{"\ufffd\ufffd"}},
		"never a beginning":         {[]int32{1, the}, byteIDs("\x82\xff"), []string{"\ufffd", "\ufffd"}},
		"too long a form":           {[]int32{1, the}, byteIDs("\xc0\x80"), []string{"\ufffd", "\ufffd"}},
		"special tokens":            {[]int32{1, the}, []int32{cat, 1, 2, the}, []string{" cat", " the"}},
		"special inside of a rune":  {[]int32{1, the}, append(append(byteIDs("€"[:1]), 1), byteIDs("€"[1:])...), []string{"€"}},
		"unknown and unused places": {[]int32{1, the}, []int32{int32(llamatest.Rows() - 1), cat}, []string{" cat"}},
	} {
		got, reason := streamed(m, PredictOptions{}, c.prompt, c.ids...)
		assert.Equal(t, c.want, got, name)
		assert.Equal(t, ReasonLength, reason)
	}
}

// TestStreamStop ends at stop words that come in one piece, over borders, inside of each other, and not quite.
func TestStreamStop(t *testing.T) {
	m := textModel(t)
	for _, c := range []struct {
		text, want string
		stop       []string
		reason     Reason
	}{
		{"one two three", "one ", []string{"two"}, ReasonStop},
		{"one two three", "one two three", []string{"four"}, ReasonLength},
		{"one two three", "one two thr", []string{"ee"}, ReasonStop},
		{"one two thre", "one two thre", []string{"ee"}, ReasonLength},
		{"aaab", "", []string{"aaa"}, ReasonStop},
		{"aab aaab", "aab ", []string{"aaab"}, ReasonStop},
		{"ababac", "ab", []string{"abac"}, ReasonStop},
		{"abc", "a", []string{"abcd", "bc"}, ReasonStop},
		{"abcd", "a", []string{"bcd", "cd"}, ReasonStop},
		{"xabc", "xa", []string{"abc", "b"}, ReasonStop},
		{"stop", "", []string{"stop", "s"}, ReasonStop},
		{"na\u20acve", "na", []string{"\u20acv"}, ReasonStop},
		{"na\u20acxe", "na\u20acxe", []string{"\u20acv"}, ReasonLength},
		{"end</s", "end</s", []string{"</s>"}, ReasonLength},
		{"", "", []string{"a"}, ReasonLength},
	} {
		pieces, reason := streamed(m, PredictOptions{Stop: c.stop}, []int32{1, llamatest.ID("▁the")}, byteIDs(c.text)...)
		assert.Equal(t, c.want, strings.Join(pieces, ""), "%q with %q", c.text, c.stop)
		assert.Equal(t, c.reason, reason, "%q with %q", c.text, c.stop)
		for _, p := range pieces {
			assert.NotEmpty(t, p)
		}
	}
}

// TestStreamPieces cuts random texts into pieces in random ways: what is given out is the same however they come, holds
// no stop word, and at every moment is a prefix of the text without what may yet be one.
func TestStreamPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	alphabet := []string{"a", "b", "€", "ab"}
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(alphabet[rng.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 3000 {
		text := word(rng.IntN(14))
		var stop []string
		for range rng.IntN(3) {
			stop = append(stop, word(1+rng.IntN(3)))
		}
		want, end := text, false
		for at := range len(text) + 1 { // the plain way: the first place where a word is whole, the longest that ends there
			for _, w := range stop {
				if strings.HasSuffix(text[:at], w) && (!end || at-len(w) < len(want)) {
					want, end = text[:at-len(w)], true
				}
			}
			if end {
				break
			}
		}
		var given strings.Builder
		s := &stream{stop: stop, callback: func(piece string) bool {
			given.WriteString(piece)
			require.True(t, utf8.ValidString(piece))
			require.True(t, strings.HasPrefix(want, given.String()), "%q of %q with %q", given.String(), text, stop)
			return true
		}}
		reason := Reason("")
		for rest := text; rest != "" && reason == ""; {
			_, n := utf8.DecodeRuneInString(rest)
			for n < len(rest) && rng.IntN(2) == 0 {
				_, more := utf8.DecodeRuneInString(rest[n:])
				n += more
			}
			reason = s.give(rest[:n], false)
			rest = rest[n:]
		}
		if reason == "" {
			reason = s.finish(ReasonLength)
		}
		require.Equal(t, want, given.String(), "%q with %q", text, stop)
		require.Equal(t, want, s.text.String())
		require.Equal(t, end, reason == ReasonStop)
	}
}
