package diskspace_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/diskspace"
)

func TestFree(t *testing.T) {
	n, ok := diskspace.Free(t.TempDir())
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		require.False(t, ok)
		return
	}
	require.True(t, ok)
	require.Positive(t, n)
	_, ok = diskspace.Free(filepath.Join(t.TempDir(), "missing"))
	require.False(t, ok)
}
