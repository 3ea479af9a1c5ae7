package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/atomicfile"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCommitReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o640))

	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("new")
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(before), "the target changed before Commit")

	require.NoError(t, f.Commit())
	require.NoError(t, f.Discard(), "Discard after Commit")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(after))
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), st.Mode().Perm())
	require.Equal(t, []string{"out"}, names(t, dir))
	require.Error(t, f.Commit(), "a second Commit")
}

func TestCommitNewReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("ours")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("theirs"), 0o600))
	require.ErrorIs(t, f.CommitNew(), os.ErrExist)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(got))
	require.Equal(t, []string{"out"}, names(t, dir))

	require.NoError(t, os.Remove(path))
	f, err = atomicfile.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.CommitNew())
	require.Equal(t, []string{"out"}, names(t, dir))
}

// A new file gets the mode of any new file, an old one keeps its own, and until then only the owner can read.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	plain, path := filepath.Join(dir, "plain"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(plain, nil, 0o666))
	mode := func(path string) os.FileMode {
		st, err := os.Stat(path)
		require.NoError(t, err)
		return st.Mode().Perm()
	}
	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), mode(f.Name()))
	require.NoError(t, f.Commit())
	require.Equal(t, mode(plain), mode(path))

	require.NoError(t, os.Chmod(path, 0o666)) // more than an umask usually leaves
	f, err = atomicfile.Create(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), mode(f.Name()))
	require.NoError(t, f.Commit())
	require.Equal(t, os.FileMode(0o666), mode(path))
}

func TestDiscardLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := atomicfile.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	_, err = f.WriteString("half")
	require.NoError(t, err)
	require.NoError(t, f.Discard())
	require.Empty(t, names(t, dir))
}

func TestTwoWritersAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	a, err := atomicfile.Create(path)
	require.NoError(t, err)
	b, err := atomicfile.Create(path)
	require.NoError(t, err)
	_, err = a.WriteString("a")
	require.NoError(t, err)
	_, err = b.WriteString("b")
	require.NoError(t, err)
	require.NoError(t, a.Commit())
	require.NoError(t, b.Commit())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "b", string(got), "the last Commit wins, whole")
}

func TestLinkIsFollowed(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(real, []byte("old"), 0o600))
	require.NoError(t, os.Symlink(real, link))
	f, err := atomicfile.Create(link)
	require.NoError(t, err)
	_, err = f.WriteString("new")
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	st, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&os.ModeSymlink, "the link was replaced")
	got, err := os.ReadFile(real)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
}

func TestDeviceIsWrittenInPlace(t *testing.T) {
	f, err := atomicfile.Create(os.DevNull)
	require.NoError(t, err)
	require.True(t, f.InPlace())
	_, err = f.WriteString("gone")
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	st, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.False(t, st.Mode().IsRegular(), "the device was replaced by a file")
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	_, err := atomicfile.Create(dir)
	require.ErrorContains(t, err, "is a folder")
	_, err = atomicfile.Create(filepath.Join(dir, "no", "such"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
