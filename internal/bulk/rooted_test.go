package bulk

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// readBelow returns what a line's picture holds, or why it may not be read.
func readBelow(t *testing.T, dir, name string) (string, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	file, err := newRooted(root, name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	return string(b), err
}

func TestNothingOutsideTheRootIsRead(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "sub"), 0o755))
	secret := filepath.Join(top, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "sub", "in"), []byte("inside"), 0o600))
	for link, to := range map[string]string{"up": "..", "abs": top, "file": secret, "rel": "../secret", "loop": "loop",
		"sub/up2": "../..", "good": "sub/in", "dir": "sub"} {
		require.NoError(t, os.Symlink(to, filepath.Join(root, link)))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))

	for _, name := range []string{"sub/in", "good", "dir/in", "./sub/../sub/in", "sub//in"} {
		got, err := readBelow(t, root, name)
		require.NoError(t, err, name)
		require.Equal(t, "inside", got, name)
	}
	for _, name := range []string{
		"../secret", "sub/../../secret", secret, "up/secret", "abs/secret", "file", "rel", "sub/up2/secret", "loop",
		"sub", ".", "..", "fifo", "none", "sub/in/x", "good/../../secret", "\x00", strings.Repeat("a/", 3000) + "b",
	} {
		got, err := readBelow(t, root, name)
		require.Error(t, err, name)
		require.Empty(t, got, name)
		require.NotContains(t, err.Error(), top+"/root", "the root's own path in an error")
	}
}

func TestClosedFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	file, err := newRooted(root, "a")
	require.NoError(t, err)
	file.Close()
	file.Close()
	_, err = file.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrClosed)
}
