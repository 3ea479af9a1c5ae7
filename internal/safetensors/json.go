package safetensors

import (
	"encoding/json"
	"math"
	"strings"
	"unicode/utf8"
)

// cursor reads the JSON of a header or an index. It knows only what those consist of, never recurses further than
// maxDepth, and returns names as parts of the text.
type cursor struct {
	text string
	pos  int
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

func (c *cursor) expect(b byte, what string) error {
	if !c.accept(b) {
		return c.wrong(what)
	}
	return nil
}

// wrong says what was wanted where the cursor stands.
func (c *cursor) wrong(want string) error {
	if c.pos >= len(c.text) {
		return malformed("JSON ends at byte %d: want %s", c.pos, want)
	}
	r, _ := utf8.DecodeRuneInString(c.text[c.pos:])
	return malformed("JSON has %q at byte %d: want %s", r, c.pos, want)
}

// object calls f with each name of an object, in order. f must read the value.
func (c *cursor) object(what string, f func(name string) error) error {
	if err := c.expect('{', "an object, "+what); err != nil {
		return err
	}
	if c.accept('}') {
		return nil
	}
	for {
		if c.peek() != '"' {
			return c.wrong("a name in quotes")
		}
		name, err := c.str("a name")
		if err != nil {
			return err
		}
		if err := c.expect(':', "a colon"); err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
		if c.accept('}') {
			return nil
		}
		if err := c.expect(',', "a comma or the object's end"); err != nil {
			return err
		}
	}
}

// str reads a string. Without escapes the result is a part of the text, not a copy.
func (c *cursor) str(what string) (string, error) {
	if err := c.expect('"', what+", a string"); err != nil {
		return "", err
	}
	start, escaped := c.pos, false
	for c.pos < len(c.text) {
		switch b := c.text[c.pos]; {
		case b == '"':
			raw := c.text[start:c.pos]
			c.pos++
			if escaped {
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

func unescape(raw string, at int) (string, error) {
	var s string
	if err := json.Unmarshal([]byte(`"`+raw+`"`), &s); err != nil {
		return "", malformed("the string at byte %d of the JSON has a bad escape: %v", at, err)
	}
	// encoding/json puts U+FFFD for half a surrogate pair: different names would become one.
	if strings.ContainsRune(s, utf8.RuneError) {
		return "", malformed("the string at byte %d of the JSON escapes half a surrogate pair", at)
	}
	return s, nil
}

// natural reads a whole number from 0 to the largest int64: no sign, fraction, exponent or leading zero.
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

// naturals reads an array of at most limit whole numbers.
func (c *cursor) naturals(what string, limit int) ([]int64, error) {
	if err := c.expect('[', what+", an array"); err != nil {
		return nil, err
	}
	var buf [maxRank]int64
	list := buf[:0]
	if c.accept(']') {
		return []int64{}, nil
	}
	for {
		if len(list) == limit {
			return nil, malformed("%s has more than %d numbers", what, limit)
		}
		n, err := c.natural("a number of " + what)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		if c.accept(']') {
			return append(make([]int64, 0, len(list)), list...), nil
		}
		if err := c.expect(',', "a comma or the array's end"); err != nil {
			return nil, err
		}
	}
}

// skip passes over any value.
func (c *cursor) skip(depth int) error {
	if depth > maxDepth {
		return malformed("JSON nests deeper than %d at byte %d", maxDepth, c.pos)
	}
	switch b := c.peek(); {
	case b == '{':
		return c.object("a value", func(string) error { return c.skip(depth + 1) })
	case b == '[':
		return c.skipArray(depth)
	case b == '"':
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
		if err := c.expect(',', "a comma or the array's end"); err != nil {
			return err
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
