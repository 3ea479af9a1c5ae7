package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// ggmlInclude returns the folder of the pinned module's real ggml headers.
func ggmlInclude(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ollama/ollama")
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	require.NoError(t, err)
	dir := filepath.Join(strings.TrimSpace(string(out)), "ml", "backend", "ggml", "ggml", "include")
	require.DirExists(t, dir)
	return dir
}

// syntaxCheck compiles one file without producing anything.
func syntaxCheck(t *testing.T, compiler, std, file string, includes ...string) ([]byte, error) {
	t.Helper()
	args := []string{"-std=" + std, "-fsyntax-only", "-Wall", "-Werror"}
	for _, dir := range includes {
		args = append(args, "-I", dir)
	}
	return exec.Command(testenv.Tool(t, compiler), append(args, file)...).CombinedOutput()
}

// TestGGMLDeclarations holds the hand-written ggml declarations to the module's real headers.
func TestGGMLDeclarations(t *testing.T) {
	root, include := testenv.Root(t), ggmlInclude(t)
	csrc := filepath.Join(root, "csrc")
	out, err := syntaxCheck(t, "cc", "gnu11", filepath.Join(root, "tests/ggmlcheck/prototypes.c"), include, csrc)
	require.NoError(t, err, string(out))
	out, err = syntaxCheck(t, "c++", "gnu++17", filepath.Join(root, "tests/ggmlcheck/layout.cpp"), include, csrc)
	require.NoError(t, err, string(out))
}

// TestGGMLDeclarationsCatchDrift shows that the check above fails when a declaration drifts from the real one.
func TestGGMLDeclarationsCatchDrift(t *testing.T) {
	root, include := testenv.Root(t), ggmlInclude(t)
	drift := func(file, old, changed string) string {
		dir := t.TempDir()
		for _, name := range []string{"ggml_types.h", "ggml_api.h"} {
			text, err := os.ReadFile(filepath.Join(root, "csrc", name))
			require.NoError(t, err)
			if name == file {
				require.Contains(t, string(text), old)
				text = []byte(strings.Replace(string(text), old, changed, 1))
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		}
		return dir
	}
	for _, c := range []struct{ file, old, changed string }{
		{"ggml_types.h", "GGML_TYPE_BF16 = 30", "GGML_TYPE_BF16 = 31"},
		{"ggml_types.h", "size_t view_offs;", "int32_t view_offs;"},
		{"ggml_types.h", "#define GGML_MAX_SRC 10", "#define GGML_MAX_SRC 11"},
	} {
		out, err := syntaxCheck(t, "c++", "gnu++17", filepath.Join(root, "tests/ggmlcheck/layout.cpp"), include,
			drift(c.file, c.old, c.changed))
		require.Error(t, err, c.changed)
		require.Contains(t, string(out), "static assertion failed", c.changed)
	}
	out, err := syntaxCheck(t, "cc", "gnu11", filepath.Join(root, "tests/ggmlcheck/prototypes.c"), include,
		drift("ggml_api.h", "int64_t ggml_blck_size", "int32_t ggml_blck_size"))
	require.Error(t, err)
	require.Contains(t, string(out), "conflicting types")
}

// TestHeaderIsC11 holds the C API's header to plain C.
func TestHeaderIsC11(t *testing.T) {
	root := testenv.Root(t)
	file := filepath.Join(t.TempDir(), "header.c")
	require.NoError(t, os.WriteFile(file, []byte("#include \"bge.h\"\nint unused(void);\n"), 0o600))
	out, err := exec.Command(testenv.Tool(t, "cc"), "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror",
		"-fsyntax-only", "-I", filepath.Join(root, "csrc"), file).CombinedOutput()
	require.NoError(t, err, string(out))
}
