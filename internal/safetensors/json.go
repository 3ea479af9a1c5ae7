package safetensors

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// cursor reads the JSON of a header or an index. It knows only what those consist of, never recurses further than
// maxDepth, and returns names as parts of the text.
type cursor struct {
	text   string
	pos    int
	copied bool // what str returned last is no part of text
}

// maxDepth is how deep the values that an index may hold, and that nothing reads, may nest.
const maxDepth = 64

func (c *cursor) space() {
	for c.pos < len(c.text) {
		switch c.text[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

// peek returns the next byte that is not white space, or 0 at the end.
func (c *cursor) peek() byte {
	c.space()
	if c.pos == len(c.text) {
		return 0
	}
	return c.text[c.pos]
}

// accept passes over the byte if it comes next.
func (c *cursor) accept(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.pos++
	return true
}

// wrong says what was wanted where the cursor stands.
func (c *cursor) wrong(want string) error {
	if c.pos >= len(c.text) {
		return malformed("JSON ends at byte %d: want %s", c.pos, want)
	}
	r, _ := utf8.DecodeRuneInString(c.text[c.pos:])
	return malformed("JSON has %q at byte %d: want %s", r, c.pos, want)
}

// members reads an object's names one by one. After next returned a name, the caller reads its value.
type members struct {
	c       *cursor
	started bool
}

// members begins an object.
func (c *cursor) members(what string) (members, error) {
	if !c.accept('{') {
		return members{}, c.wrong("an object, " + what)
	}
	return members{c: c}, nil
}

// next returns the next name, and false after the last.
func (m *members) next() (string, bool, error) {
	c := m.c
	if c.accept('}') {
		return "", false, nil
	}
	if m.started && !c.accept(',') {
		return "", false, c.wrong("a comma or the object's end")
	}
	m.started = true
	if c.peek() != '"' {
		return "", false, c.wrong("a name in quotes")
	}
	name, err := c.str("a name")
	if err != nil {
		return "", false, err
	}
	if !c.accept(':') {
		return "", false, c.wrong("a colon")
	}
	return name, true, nil
}

// object calls f with each name of an object, in order. f must read the value.
func (c *cursor) object(what string, f func(name string) error) error {
	m, err := c.members(what)
	for err == nil {
		var name string
		var ok bool
		if name, ok, err = m.next(); !ok || err != nil {
			return err
		}
		err = f(name)
	}
	return err
}

// str reads a string. Without escapes the result is a part of the text, not a copy.
func (c *cursor) str(what string) (string, error) {
	if !c.accept('"') {
		return "", c.wrong(what + ", a string")
	}
	start, escaped := c.pos, false
	for c.pos < len(c.text) {
		switch b := c.text[c.pos]; {
		case b == '"':
			raw := c.text[start:c.pos]
			c.pos++
			if c.copied = escaped; escaped {
				return unescape(raw, start)
			}
			return raw, nil
		case b == '\\':
			escaped = true
			c.pos++ // what it escapes is no end
		case b < ' ':
			return "", c.wrong("no control character in a string")
		}
		c.pos++
	}
	c.pos = len(c.text)
	return "", c.wrong("the string's end")
}

// keep returns the string that str read last as one that does not keep the whole text in memory.
func (c *cursor) keep(s string) string {
	if c.copied {
		return s
	}
	return strings.Clone(s)
}

// unescape returns what the inside of a string, which starts at a byte of the text, stands for.
func unescape(raw string, at int) (string, error) {
	var sb strings.Builder
	sb.Grow(len(raw)) // no escape is shorter than what it stands for
	for rest := raw; rest != ""; {
		i := strings.IndexByte(rest, '\\')
		if i < 0 {
			sb.WriteString(rest)
			break
		}
		sb.WriteString(rest[:i])
		r, n := escape(rest[i:])
		if n == 0 {
			return "", malformed("the string at byte %d of the JSON has a bad escape", at)
		}
		if utf16.IsSurrogate(r) { // different names would become one
			return "", malformed("the string at byte %d of the JSON escapes half a surrogate pair", at)
		}
		sb.WriteRune(r)
		rest = rest[i+n:]
	}
	return sb.String(), nil
}

// escape returns the character that s, which starts with a backslash, stands for, and how many bytes spell it: 0 where
// it is no escape. Half a surrogate pair is returned as it is.
func escape(s string) (r rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	if s[1] == 'u' {
		return unicodeEscape(s)
	}
	const letters, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(letters, s[1])
	if i < 0 {
		return 0, 0
	}
	return rune(meant[i]), 2
}

func unicodeEscape(s string) (r rune, n int) {
	const length = len(`\u0000`)
	unit := func(s string) (rune, bool) {
		if len(s) < length || s[:2] != `\u` {
			return 0, false
		}
		v, err := strconv.ParseUint(s[2:length], 16, 16)
		return rune(v), err == nil
	}
	r, ok := unit(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := unit(s[length:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 2 * length
			}
		}
	}
	return r, length
}

// natural reads a whole number from 0 to the largest int64: no sign, fraction, exponent or leading zero. Headers hold
// hundreds of thousands, so nothing is allocated unless it fails.
func (c *cursor) natural(what string) (int64, error) {
	c.space()
	start, n := c.pos, int64(0)
	for c.pos < len(c.text) && c.text[c.pos] >= '0' && c.text[c.pos] <= '9' {
		d := int64(c.text[c.pos] - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, malformed("%s at byte %d of the JSON is too large", what, start)
		}
		n = n*10 + d
		c.pos++
	}
	digits := c.pos - start
	if digits == 0 || digits > 1 && c.text[start] == '0' {
		c.pos = start
		return 0, c.wrong(what + ", a whole number")
	}
	return n, nil
}

// naturals reads an array of whole numbers, at most as many as fit in list, and returns how many there are.
func (c *cursor) naturals(what string, list []int64) (int, error) {
	if !c.accept('[') {
		return 0, c.wrong(what + ", an array")
	}
	if c.accept(']') {
		return 0, nil
	}
	for n := range list {
		var err error
		if list[n], err = c.natural(what); err != nil {
			return 0, err
		}
		if c.accept(']') {
			return n + 1, nil
		}
		if !c.accept(',') {
			return 0, c.wrong("a comma or the array's end")
		}
	}
	return 0, malformed("%s has more than %d numbers", what, len(list))
}

// skip passes over any value.
func (c *cursor) skip(depth int) error {
	if depth > maxDepth {
		return malformed("JSON nests deeper than %d at byte %d", maxDepth, c.pos)
	}
	switch c.peek() {
	case '{':
		return c.object("a value", func(string) error { return c.skip(depth + 1) })
	case '[':
		return c.skipArray(depth)
	case '"':
		_, err := c.str("a value")
		return err
	}
	start := c.pos
	for c.pos < len(c.text) && !strings.ContainsRune(" \t\r\n,:]}[{\"", rune(c.text[c.pos])) {
		c.pos++
	}
	// What is left are numbers, true, false and null.
	if !json.Valid([]byte(c.text[start:c.pos])) {
		c.pos = start
		return c.wrong("a value")
	}
	return nil
}

func (c *cursor) skipArray(depth int) error {
	c.pos++
	if c.accept(']') {
		return nil
	}
	for {
		if err := c.skip(depth + 1); err != nil {
			return err
		}
		if c.accept(']') {
			return nil
		}
		if !c.accept(',') {
			return c.wrong("a comma or the array's end")
		}
	}
}

// end checks that nothing but white space is left.
func (c *cursor) end() error {
	if c.peek(); c.pos != len(c.text) {
		return c.wrong("the end")
	}
	return nil
}
