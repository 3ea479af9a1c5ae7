//go:build !unix

package gguf

import (
	"io"
	"os"
)

// mapFile reads the whole file: without a mapping its size counts as memory of the program.
func mapFile(file *os.File, size int) ([]byte, error) {
	m := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(file, 0, int64(size)), m)
	return m, err
}

func unmapFile([]byte) error { return nil }

func releasePages([]byte) error { return nil }
