package bgevl

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrClosed is what a call on a closed Embedder fails with.
	ErrClosed = errors.New("bgevl: the embedder is closed")

	// ErrTooLong is what a text past the model's context fails with; errors.As gives the *TooLongError.
	ErrTooLong = errors.New("bgevl: text too long")

	// ErrEmptyInput is what an input without text and image fails with.
	ErrEmptyInput = errors.New("neither a text nor an image")

	// ErrTooLarge is what an image fails with that has more bytes, pixels or a longer side than Options allow.
	ErrTooLarge = errors.New("over the limit")

	// ErrNoProjector is what an image fails with where the file with the vision side of an MLLM model was not found.
	ErrNoProjector = errors.New("no projector")

	// ErrImage is what an image fails with that could be read but not decoded or used.
	ErrImage = errors.New("unusable image")

	// ErrNonFinite is what an input fails with whose embedding would hold NaN or infinity.
	ErrNonFinite = errors.New("the features hold NaN or infinity: the model's weights are damaged")

	// ErrZero is what an input fails with whose features are all zero, so that no direction can be given.
	ErrZero = errors.New("the features are all zero: the model's weights are damaged")
)

// TooLongError says how long a text was. errors.Is(err, ErrTooLong) holds.
type TooLongError struct {
	Tokens int // tokens of the text, with those that the model adds; for MLLM models of the whole input, an image's included
	Limit  int // tokens that the model takes

	remedy string // what else than shortening helps; empty where truncation does
}

func (e *TooLongError) Error() string {
	remedy := e.remedy
	if remedy == "" {
		remedy = "shorten it, or allow truncation"
	}
	return fmt.Sprintf("%d tokens, the model takes %d: %s", e.Tokens, e.Limit, remedy)
}

// Is reports whether target is ErrTooLong.
func (e *TooLongError) Is(target error) bool { return target == ErrTooLong }

// InputError is the failure of one input. The others of its call are not affected.
type InputError struct {
	Index   int    // position among the call's inputs, from 0; -1 for the query of Rank
	ID      string // Input.ID, where there was one
	Operand string // what of the input is at fault: "text", "instruction", "image cat.jpg", or "" for the input as a whole
	Err     error
}

func (e *InputError) Error() string {
	var b strings.Builder
	if e.Index < 0 {
		b.WriteString("bgevl: query")
	} else {
		fmt.Fprintf(&b, "bgevl: input %d", e.Index)
	}
	if e.ID != "" {
		fmt.Fprintf(&b, " (%s)", e.ID)
	}
	b.WriteString(": ")
	if e.Operand != "" {
		b.WriteString(e.Operand + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap gives the reason.
func (e *InputError) Unwrap() error { return e.Err }

// operandError is an InputError in the making: an engine does not know the input's position.
type operandError struct {
	operand string
	err     error
}

func (e *operandError) Error() string { return e.operand + ": " + e.err.Error() }
func (e *operandError) Unwrap() error { return e.err }

// inputError places the failure of an input.
func inputError(index int, id string, err error) *InputError {
	if placed, ok := errors.AsType[*operandError](err); ok {
		return &InputError{Index: index, ID: id, Operand: placed.operand, Err: placed.err}
	}
	return &InputError{Index: index, ID: id, Err: err}
}

// tagged is an error with a sentinel that its text does not repeat.
type tagged struct {
	tag error
	err error
}

func (e *tagged) Error() string   { return e.err.Error() }
func (e *tagged) Unwrap() []error { return []error{e.tag, e.err} }
