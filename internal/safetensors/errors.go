package safetensors

import (
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// ErrMalformed is in every error about a file or checkpoint whose content is at fault.
var ErrMalformed = errors.New("malformed safetensors")

// contentError is an error whose text says what is wrong and whose kind is ErrMalformed.
type contentError string

func (e contentError) Error() string { return string(e) }
func (e contentError) Unwrap() error { return ErrMalformed }

func malformed(format string, args ...any) error {
	return contentError(fmt.Sprintf(format, args...))
}

// shownName is the most of a name that an error repeats: names come from the file and may be of any length.
const shownName = 120

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

// checkName accepts UTF-8 without control characters: names are printed on terminals and handed to C.
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
