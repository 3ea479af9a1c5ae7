//go:build bgevl_libjpeg

package pixels

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBothJPEGDecodersAgree compares the two on whole files and on files whose data is damaged behind the headers: where
// both decode one, they do so to the same image.
func TestBothJPEGDecodersAgree(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "pillow", "*.jpg"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		want, err := decodeJPEG(data, Limits{})
		require.NoError(t, err, name)
		got, err := decodeJPEGInGo(data, Limits{})
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}
