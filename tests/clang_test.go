package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// TestClangAcceptsTheSources has clang look at every C and C++ file of csrc: Macs compile with it, and it refuses things
// that GCC takes.
func TestClangAcceptsTheSources(t *testing.T) {
	clang := testenv.Tool(t, "clang")
	files, err := filepath.Glob(filepath.Join(testenv.Root(t), "csrc", "*.c*"))
	require.NoError(t, err)
	seen := 0
	for _, file := range files {
		std, ok := map[string]string{".c": "c11", ".cpp": "c++17"}[filepath.Ext(file)]
		if !ok || strings.HasPrefix(filepath.Base(file), "jpeg_") { // wants libjpeg's header
			continue
		}
		seen++
		out, err := syntaxCheck(t, clang, std, file)
		assert.NoError(t, err, string(out))
	}
	assert.Greater(t, seen, 15)
}
