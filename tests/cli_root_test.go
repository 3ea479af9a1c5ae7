package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestImageRootHoldsAgainstLinkedFolders gives paths whose last part is a plain picture and whose folder is a link: those
// that stay below the root are read, those that leave it are refused, and the lines between them are answered.
func TestImageRootHoldsAgainstLinkedFolders(t *testing.T) {
	top, pixels := t.TempDir(), readFile(t, picture(t, "street.png"))
	root := filepath.Join(top, "root")
	for _, dir := range []string{root, filepath.Join(root, "inner"), filepath.Join(top, "secret")} {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	for _, dir := range []string{filepath.Join(root, "inner"), filepath.Join(top, "secret")} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.png"), pixels, 0o600))
	}
	for link, to := range map[string]string{"stays": "inner", "up": "..", "relative": "../secret", "absolute": filepath.Join(top, "secret")} {
		require.NoError(t, os.Symlink(to, filepath.Join(root, link)))
	}

	cases := []struct {
		path string
		good bool
	}{
		{"inner/a.png", true},
		{"relative/a.png", false},
		{"stays/a.png", true},
		{"absolute/a.png", false},
		{"up/secret/a.png", false},
		{"stays/../inner/a.png", true},
		{"inner/../../secret/a.png", false},
	}
	var input string
	for _, c := range cases {
		line, err := json.Marshal(map[string]string{"id": c.path, "image": c.path})
		require.NoError(t, err)
		input += string(line) + "\n"
	}
	// Without a root every path is read, so what the root refuses below is refused for where it leads alone.
	cmd := bgevlCmd(t, "embed", "-m", modelPath(t), "--input", "-")
	cmd.Dir, cmd.Stdin = root, strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	r := bgevlRun(t, input, "embed", "-m", modelPath(t), "--input", "-", "--image-root", root)
	require.Equal(t, statusSomeFailed, r.status)
	requireComplaint(t, r, "4 of 7 inputs failed", "relative/a.png")
	lines := parseLines(t, r.out)
	require.Len(t, lines, len(cases))
	for i, c := range cases {
		require.Equal(t, c.path, idOf(t, lines[i]), "the order of the input")
		if c.good {
			require.Empty(t, lines[i].Error, c.path)
			continue
		}
		require.Contains(t, lines[i].Error, c.path)
		require.NotContains(t, lines[i].Error, top, "where the root lies is nobody's business")
	}
}

func idOf(t *testing.T, line embedded) string {
	t.Helper()
	var id string
	require.NoError(t, json.Unmarshal(line.ID, &id))
	return id
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}
