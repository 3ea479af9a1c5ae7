package gguf

import (
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrNoKey is in every error of a getter whose key the file does not have.
	ErrNoKey = errors.New("no such key")
	// ErrMalformed is in every error about a file whose content breaks the format.
	ErrMalformed = errors.New("malformed GGUF")
	// ErrUnsupported is in every error about a file that may be sound but that this package does not read:
	// big-endian, version 1, or a version of the future.
	ErrUnsupported = errors.New("unsupported GGUF")
)

// kindError is an error whose text says what is wrong and whose kind is one of the sentinels.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }

func malformed(format string, args ...any) error {
	return &kindError{ErrMalformed, fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &kindError{ErrUnsupported, fmt.Sprintf(format, args...)}
}

// shownName is the most of a name that an error repeats: names come from the file and may be of any length.
const shownName = 80

// quote makes a name from a file fit for an error: escaped where it is not plain, and not endless.
func quote(name string) string {
	cut := name
	if len(cut) > shownName {
		cut = cut[:shownName]
	}
	if checkName(cut) != nil {
		cut = strconv.QuoteToASCII(cut)
	}
	if len(name) > shownName {
		return fmt.Sprintf("%s... (%d bytes)", cut, len(name))
	}
	return cut
}

// checkName accepts UTF-8 without control characters: a NUL would end the name early in C, and an escape sequence
// would reach the terminal that a name is printed on.
func checkName(name string) error {
	if name == "" {
		return errors.New("it is empty")
	}
	if !utf8.ValidString(name) {
		return errors.New("it is not UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("it holds the control character %U", r)
		}
	}
	return nil
}
