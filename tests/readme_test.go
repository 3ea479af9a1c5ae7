package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// TestReadmeProgramsBuild compiles every Go program that README.md shows.
func TestReadmeProgramsBuild(t *testing.T) {
	root := testenv.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		// Inside the module, so that its packages are found; build is ignored by git.
		parent := filepath.Join(root, "build")
		require.NoError(t, os.MkdirAll(parent, 0o750))
		dir, err := os.MkdirTemp(parent, "readme")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program[1], 0o600))
		cmd := exec.Command("go", "vet", "./"+filepath.Base(dir))
		cmd.Dir = parent
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}
