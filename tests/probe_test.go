package tests

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// TestProbe chooses among devices that are made up.
func TestProbe(t *testing.T) {
	root := testenv.Root(t)
	program := filepath.Join(t.TempDir(), "probe")
	out, err := exec.Command(testenv.Tool(t, "c++"), "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
		"-fsanitize=address,undefined", "-I"+filepath.Join(root, "csrc"), filepath.Join(root, "tests/probe/probe_test.cpp"),
		filepath.Join(root, "csrc/probe.cpp"), "-o", program).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command(program).CombinedOutput()
	require.NoError(t, err, string(out))
}
