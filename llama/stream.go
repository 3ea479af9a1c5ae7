package llama

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// stream turns chosen tokens into text, and gives out what is certain of it.
type stream struct {
	m        *Model
	anchor   []int32 // the last token that has a text, before which spaces are as inside of a text
	broken   []byte  // the beginning of a character whose other bytes are to come
	held     string  // may be the beginning of a stop word
	stop     []string
	callback func(string) bool
	text     strings.Builder // what was given out
}

// newStream makes a stream that continues a prompt.
func newStream(m *Model, prompt []int32, o PredictOptions) *stream {
	s := &stream{m: m, stop: o.Stop, callback: o.Callback}
	for i := len(prompt) - 1; i >= 0 && s.anchor == nil; i-- {
		s.setAnchor(prompt[i])
	}
	return s
}

func (s *stream) setAnchor(id int32) {
	if _, isByte := s.byteOf(id); !isByte && s.m.decoder.Decode([]int32{id}, true) != "" {
		s.anchor = []int32{id}
	}
}

// byteOf returns the byte that a token of the form <0xNN> stands for.
func (s *stream) byteOf(id int32) (byte, bool) {
	token, ok := s.m.tokenizer.Token(id)
	if !s.m.bytes || !ok || len(token) != len(byteToken) || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

// add takes the next token. It returns why the text ends with it, "" where it goes on.
func (s *stream) add(id int32) Reason {
	if b, ok := s.byteOf(id); ok {
		s.broken = append(s.broken, b)
		return s.give(s.whole(), false)
	}
	before := s.m.decoder.Decode(s.anchor, true)
	after := s.m.decoder.Decode(append(s.anchor[:len(s.anchor):len(s.anchor)], id), true)
	text, ok := strings.CutPrefix(after, before)
	if !ok {
		text = s.m.decoder.Decode([]int32{id}, true)
	}
	if text != "" {
		s.setAnchor(id)
		text = s.rest() + text
	}
	return s.give(text, false)
}

// finish gives out all that is held back, unless a stop word is in it. It returns why the text ends: reason, or a later
// one.
func (s *stream) finish(reason Reason) Reason {
	if ended := s.give(s.rest(), true); ended != "" {
		return ended
	}
	return reason
}

// whole takes the characters off broken that are whole, with U+FFFD for each byte that can begin none.
func (s *stream) whole() string {
	var out []byte
	for len(s.broken) > 0 && utf8.FullRune(s.broken) {
		r, size := utf8.DecodeRune(s.broken)
		out = utf8.AppendRune(out, r)
		s.broken = s.broken[size:]
	}
	return string(out)
}

// rest takes all off broken, since what comes next continues no character.
func (s *stream) rest() string {
	text := strings.Repeat(string(utf8.RuneError), len(s.broken))
	s.broken = nil
	return text
}

// give puts text behind what is held, and gives out what cannot be part of a stop word; at the end, all.
func (s *stream) give(text string, end bool) Reason {
	s.held += text
	if start, found := firstStop(s.held, s.stop); found {
		s.out(s.held[:start])
		return ReasonStop
	}
	keep := 0
	if !end {
		keep = mayBeStop(s.held, s.stop)
	}
	now := s.held[:len(s.held)-keep]
	s.held = s.held[len(now):]
	if !s.out(now) {
		return ReasonCallback
	}
	return ""
}

// out gives text out. It reports whether the caller wants more.
func (s *stream) out(text string) bool {
	if text == "" {
		return true
	}
	s.text.WriteString(text)
	return s.callback == nil || s.callback(text)
}

// firstStop returns where the stop word begins that is whole first; of several that end together, the longest. That does
// not depend on the pieces in which a text comes.
func firstStop(text string, words []string) (start int, found bool) {
	end := len(text) + 1
	for _, word := range words {
		at := strings.Index(text, word)
		if at < 0 {
			continue
		}
		if e := at + len(word); e < end || e == end && at < start {
			start, end, found = at, e, true
		}
	}
	return start, found
}

// mayBeStop returns how many bytes at the end of text may be the beginning of a stop word.
func mayBeStop(text string, words []string) int {
	most := 0
	for _, word := range words {
		for n := min(len(word)-1, len(text)); n > most; n-- {
			if strings.HasSuffix(text, word[:n]) {
				most = n
				break
			}
		}
	}
	return most
}
