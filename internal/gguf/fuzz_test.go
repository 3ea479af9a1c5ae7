package gguf_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bgevl/bgevl/internal/gguf"
)

// FuzzParse looks for files that make Parse panic, or that it accepts although they are not what it promises.
//
//	go test -fuzz FuzzParse ./internal/gguf
func FuzzParse(f *testing.F) {
	good, _ := sound().encode()
	f.Add(good)
	for _, c := range malformedCases() {
		if b := c.file(); len(b) < 1<<16 {
			f.Add(b)
		}
	}
	for i := range uint64(64) {
		f.Add(mutate(i))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, gguf.ErrMalformed) && !errors.Is(err, gguf.ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if err := exercise(file); err != nil {
			t.Fatal(err)
		}
	})
}
