package tests

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// TestCrew runs the threads that run kernels, as they are and under ThreadSanitizer.
func TestCrew(t *testing.T) {
	root := testenv.Root(t)
	for name, flags := range map[string][]string{"plain": nil, "thread sanitizer": {"-fsanitize=thread"}} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "crew")
			args := append([]string{"-std=c++17", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-I" + filepath.Join(root, "csrc"),
				filepath.Join(root, "tests/crew/crew_test.cpp"), filepath.Join(root, "csrc/crew.cpp"), "-lpthread", "-o", program}, flags...)
			out, err := exec.Command(testenv.Tool(t, "c++"), args...).CombinedOutput()
			require.NoError(t, err, string(out))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program)
			cmd.Env = append(cmd.Environ(), "TSAN_OPTIONS=halt_on_error=1")
			out, err = cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}
