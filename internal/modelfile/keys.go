package modelfile

import (
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Keys reads a file's metadata until one key fails; the first failure, a *KeyError, stays in Err, and what is read after
// it means nothing.
type Keys struct {
	f   *gguf.File
	err error
}

// NewKeys begins to read the keys of f.
func NewKeys(f *gguf.File) *Keys { return &Keys{f: f} }

// Err returns the first failure.
func (k *Keys) Err() error { return k.err }

// Fail records that a key's value cannot be used, unless another failed before. err may be nil.
func (k *Keys) Fail(key, reason string, err error) {
	if k.err == nil {
		k.err = &KeyError{Key: key, Reason: reason, Err: err}
	}
}

// Has reports whether the file has a key.
func (k *Keys) Has(key string) bool {
	_, ok := k.f.Value(key)
	return ok
}

// unread is the failure of a key that is missing or of another kind than wanted.
func (k *Keys) unread(key, want string, err error) {
	if errors.Is(err, gguf.ErrNoKey) {
		k.Fail(key, "missing: convert the checkpoint again", err)
		return
	}
	reason := "want " + want
	if v, ok := k.f.Value(key); ok {
		reason += ", got " + v.Kind()
	}
	k.Fail(key, reason, err)
}

// read reads one key; a missing one fails unless it is optional, and then gives absent.
func read[T any](k *Keys, get func(string) (T, error), key, want string, optional bool, absent T) T {
	v, err := get(key)
	switch {
	case err == nil:
		return v
	case optional && errors.Is(err, gguf.ErrNoKey):
	default:
		k.unread(key, want, err)
	}
	return absent
}

// Int reads a whole number that must lie between low and high.
func (k *Keys) Int(key string, low, high int64) int {
	v, err := k.f.Int(key)
	switch {
	case err != nil:
		k.unread(key, fmt.Sprintf("%d to %d", low, high), err)
		return 0
	case v < low || v > high:
		k.Fail(key, fmt.Sprintf("want %d to %d, got %d", low, high, v), nil)
		return 0
	}
	return int(v)
}

// IntOr is Int for a key that may be missing.
func (k *Keys) IntOr(key string, absent int, low, high int64) int {
	if !k.Has(key) {
		return absent
	}
	return k.Int(key, low, high)
}

// AnyInt reads a whole number that may be missing, without bounds.
func (k *Keys) AnyInt(key string, absent int64) int64 {
	return read(k, k.f.Int, key, "a whole number", true, absent)
}

// Bool reads a truth value that may be missing.
func (k *Keys) Bool(key string, absent bool) bool {
	return read(k, k.f.Bool, key, "true or false", true, absent)
}

// String reads a string.
func (k *Keys) String(key string) string {
	return read(k, k.f.String, key, "a string", false, "")
}

// StringOr is String for a key that may be missing.
func (k *Keys) StringOr(key, absent string) string {
	return read(k, k.f.String, key, "a string", true, absent)
}

// Float reads a number that must lie above low and below high. NaN lies nowhere.
func (k *Keys) Float(key string, low, high float64) float32 {
	v := read(k, k.f.Float, key, "a floating-point number", false, 0)
	// As a float32, which is what it is used as: a number above 0 may round to 0.
	if narrow := float64(float32(v)); !(narrow > low && narrow < high) {
		k.Fail(key, fmt.Sprintf("want a number above %g and below %g, got %g", low, high, v), nil)
	}
	return float32(v)
}

// Epsilon reads what a norm adds before it divides: a number above 0 and below 1.
func (k *Keys) Epsilon(key string) float32 { return k.Float(key, 0, 1) }

// Newest checks the version of the bgevl.* keys, which files of other converters do not have.
func (k *Keys) Newest(version int64) {
	const key = "bgevl.format_version"
	if got := k.AnyInt(key, version); k.err == nil && (got < 1 || got > version) {
		k.Fail(key, fmt.Sprintf("want 1 to %d, got %d: the file needs a newer bgevl, or is damaged", version, got), nil)
	}
}
