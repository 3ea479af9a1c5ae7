//go:build unix

package gguf

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the file read-only. A parsed file is never empty, so neither is the mapping.
func mapFile(file *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(m []byte) error { return unix.Munmap(m) }

// releasePages drops whole pages of a mapping from the resident set. They come back from the file when touched.
func releasePages(pages []byte) error { return unix.Madvise(pages, unix.MADV_DONTNEED) }
