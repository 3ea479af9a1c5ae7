//go:build unix

package csrc_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// guards is memory whose next page may not be touched: reading or writing past its end ends the process.
type guards struct{ all [][]byte }

func newGuards(t *testing.T) *guards {
	g := &guards{}
	t.Cleanup(g.free)
	return g
}

// free gives all back; what was handed out must not be used any more.
func (g *guards) free() {
	for _, m := range g.all {
		_ = syscall.Munmap(m) // what was mapped here
	}
	g.all = nil
}

// bytes returns n bytes that end where the memory does.
func (g *guards) bytes(t require.TestingT, n int) []byte {
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	g.all = append(g.all, m)
	require.NoError(t, syscall.Mprotect(m[size:], syscall.PROT_NONE))
	return m[size-n : size : size]
}
