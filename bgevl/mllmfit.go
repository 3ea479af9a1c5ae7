package bgevl

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/bgevl/bgevl/llama"
)

// fit sets an input's tokens, the text cut if it must and may be. ids are those of the whole prompt. The prompt's end,
// which the embedding is read from, always stays.
func (e *mllmEngine) fit(p *prepared, in *Input, ids []int32) error {
	limit := e.model.Info().Context
	p.tokens, p.length = ids, expanded(ids, p.picture)
	if p.length <= limit {
		return nil
	}
	// What is left of the prompt when all of the text is gone shows whose fault the length is.
	short := *in
	if in.Text != nil {
		short.Text = new("")
	}
	rest, err := e.promptLength(&short, p.picture)
	switch {
	case err != nil:
		return err
	case rest > limit && in.Instruction != nil:
		return &operandError{"instruction", &TooLongError{Tokens: p.length, Limit: limit, remedy: e.larger("shorten it")}}
	case rest > limit:
		return &TooLongError{Tokens: p.length, Limit: limit, remedy: e.larger("")}
	case !e.truncate:
		return &operandError{"text", &TooLongError{Tokens: p.length, Limit: limit, remedy: e.larger("shorten it, or allow truncation")}}
	}
	return e.cut(p, in, rest, limit)
}

// larger adds to a remedy that a larger context may be asked for, where the model was trained for one.
func (e *mllmEngine) larger(remedy string) string {
	info := e.model.Info()
	if info.Context >= info.Trained {
		if remedy == "" {
			return "the model takes no more"
		}
		return remedy
	}
	if remedy != "" {
		remedy += ", or "
	}
	return fmt.Sprintf("%sraise the context, up to %d", remedy, info.Trained)
}

// cut shortens an input's text to the longest beginning that fits; rest is the prompt's length without any of it.
func (e *mllmEngine) cut(p *prepared, in *Input, rest, limit int) error {
	short := *in
	end, err := longestFit(*in.Text, rest, p.length, limit, func(beginning string) (int, error) {
		short.Text = &beginning
		return e.promptLength(&short, p.picture)
	})
	if err != nil {
		return err
	}
	short.Text = new((*in.Text)[:end])
	if p.tokens, err = e.tokenize(&short); err != nil {
		return err
	}
	p.truncated = true
	return nil
}

// promptLength returns how many positions an input's prompt takes.
func (e *mllmEngine) promptLength(in *Input, picture *llama.Picture) (int, error) {
	ids, err := e.tokenize(in)
	return expanded(ids, picture), err
}

// expanded returns how many positions tokens take when a picture's vectors stand in place of its token.
func expanded(ids []int32, picture *llama.Picture) int {
	if picture == nil {
		return len(ids)
	}
	return len(ids) - 1 + picture.Features()
}

// longestFit returns where to cut a text, between two characters, so that length of what is left is at most limit:
// at the last such place, if a longer beginning never has fewer tokens. The lengths of nothing and of all of it, one
// below and one past the limit, are given.
func longestFit(text string, ofNothing, ofAll, limit int, length func(string) (int, error)) (int, error) {
	if ofNothing > limit || ofAll <= limit {
		return 0, errors.New("the limit is not between the lengths")
	}
	low, high, atLow, atHigh := 0, len(text), ofNothing, ofAll
	for guess := true; ; guess = !guess {
		// A guess by proportion finds the place in most texts at once; halving bounds the steps in all others.
		at := low + (high-low)/2
		if guess {
			at = low + int(float64(high-low)*float64(limit-atLow)/float64(atHigh-atLow))
		}
		at = between(text, low, high, at)
		if at <= low {
			return low, nil
		}
		n, err := length(text[:at])
		if err != nil {
			return 0, err
		}
		if n <= limit {
			low, atLow = at, n
		} else {
			high, atHigh = at, n
		}
	}
}

// between returns the boundary of characters nearest before at that lies between low and high, or else the first one
// after low; low itself where there is none.
func between(text string, low, high, at int) int {
	for at > low && (at >= high || !utf8.RuneStart(text[at])) {
		at--
	}
	if at > low {
		return at
	}
	_, size := utf8.DecodeRuneInString(text[low:])
	if low+size < high {
		return low + size
	}
	return low
}
