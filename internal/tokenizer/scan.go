package tokenizer

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a JSON text: a tokenizer.json is 6 deep.
const maxDepth = 64

// A scanner reads a JSON text once, from front to back, without building values: a vocabulary of 50,000 entries
// takes milliseconds. It accepts exactly what RFC 8259 calls JSON. After an error it must not be used any more.
type scanner struct {
	data    []byte
	pos     int
	depth   int
	scratch []byte // of the last string that held an escape
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("JSON byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c || s.pos == len(s.data) {
		return s.unexpected(fmt.Sprintf("%q", c))
	}
	s.pos++
	return nil
}

func (s *scanner) unexpected(want string) error {
	if s.pos >= len(s.data) {
		return s.errorf("the text ends where %s was expected", want)
	}
	return s.errorf("want %s, got %q", want, s.data[s.pos])
}

// end fails unless only white space is left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return s.unexpected("the end of the text")
	}
	return nil
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxDepth {
		return s.errorf("nested deeper than %d", maxDepth)
	}
	return nil
}

// object calls f at the value of each member; f must read the value and may keep no reference to the key.
func (s *scanner) object(f func(key []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

// array calls f at each element; f must read it.
func (s *scanner) array(f func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

// next reads the comma before another member, or the closing bracket.
func (s *scanner) next(closing byte) (done bool, err error) {
	switch s.peek() {
	case ',':
		s.pos++
		return false, nil
	case closing:
		if s.pos < len(s.data) {
			s.pos++
			s.depth--
			return true, nil
		}
	}
	return false, s.unexpected(fmt.Sprintf("',' or %q", closing))
}

// str reads a string. The result is good until the next call.
func (s *scanner) str() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return nil, s.errorf("control character in a string")
		}
		s.pos++
	}
	return nil, s.errorf("the text ends inside a string")
}

// escaped reads on in a string that began at start and has its first escape here.
func (s *scanner) escaped(start int) ([]byte, error) {
	out := append(s.scratch[:0], s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			s.scratch = out
			return out, nil
		case c < 0x20:
			return nil, s.errorf("control character in a string")
		case c != '\\':
			out = append(out, c)
			continue
		}
		if s.pos >= len(s.data) {
			break
		}
		c = s.data[s.pos]
		s.pos++
		if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[i])
			continue
		}
		if c != 'u' {
			return nil, s.errorf("unknown escape \\%c", c)
		}
		r, err := s.unicodeEscape()
		if err != nil {
			return nil, err
		}
		out = utf8.AppendRune(out, r)
	}
	return nil, s.errorf("the text ends inside a string")
}

// unicodeEscape reads the digits after \u, and the second half of a surrogate pair.
func (s *scanner) unicodeEscape() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if bytes.HasPrefix(s.data[s.pos:], []byte(`\u`)) {
		s.pos += 2
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, s.errorf("half a surrogate pair, which is no character")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.data)-s.pos < 4 {
		return 0, s.errorf("the text ends inside an escape")
	}
	var r rune
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.errorf("want four hexadecimal digits")
		}
		r = r<<4 | rune(c)
	}
	s.pos += 4
	return r, nil
}

// id reads a token id: an integer from 0 to limit-1.
func (s *scanner) id(limit int32) (int32, error) {
	s.peek()
	start, n := s.pos, int64(0)
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		n = n*10 + int64(s.data[s.pos]-'0')
		s.pos++
		if n >= int64(limit) {
			return 0, s.errorf("token id: want less than %d", limit)
		}
	}
	switch {
	case s.pos == start:
		return 0, s.unexpected("a token id")
	case s.data[start] == '0' && s.pos-start > 1:
		return 0, s.errorf("number with a leading zero")
	}
	return int32(n), nil
}

// raw reads any value and returns its text.
func (s *scanner) raw() ([]byte, error) {
	s.peek()
	start := s.pos
	if err := s.skip(); err != nil {
		return nil, err
	}
	return s.data[start:s.pos], nil
}

// skip reads any value.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) error { return s.skip() })
	case c == '[':
		return s.array(s.skip)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	for _, word := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return s.unexpected("a value")
}

func (s *scanner) number() error {
	digits := func() bool {
		start := s.pos
		for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > start
	}
	at := func(set string) bool {
		if s.pos < len(s.data) && bytes.IndexByte([]byte(set), s.data[s.pos]) >= 0 {
			s.pos++
			return true
		}
		return false
	}
	at("-")
	if !at("0") && !digits() {
		return s.unexpected("a digit")
	}
	if at(".") && !digits() {
		return s.unexpected("a digit")
	}
	if at("eE") {
		at("+-")
		if !digits() {
			return s.unexpected("a digit")
		}
	}
	return nil
}
