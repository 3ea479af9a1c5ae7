package tests

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// goList runs go list at the module's root and returns the lines that it prints.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "go"), append([]string{"list"}, args...)...)
	cmd.Dir = testenv.Root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}

// TestStaticTagCompilesNoC shows that under the build tag bgevl_static cgo compiles none of the C side, all of which is in
// the static library: a file without the constraint would be linked twice.
func TestStaticTagCompilesNoC(t *testing.T) {
	const files = `{{range .CFiles}}{{.}} {{end}}{{range .CXXFiles}}{{.}} {{end}}{{range .SFiles}}{{.}} {{end}}`
	for _, tags := range []string{"bgevl_static", "bgevl_static,bgevl_libjpeg"} {
		assert.Empty(t, goList(t, "-tags", tags, "-f", files, "./csrc"),
			"these lack a first line //go:build !bgevl_static, tags %s", tags)
		for _, path := range goList(t, "-deps", "-tags", tags, "./cmd/bgevl") {
			assert.False(t, strings.HasPrefix(path, ggml), "%s is compiled with tags %s", path, tags)
		}
	}
	assert.Contains(t, goList(t, "-f", files, "./csrc"), "graph.cpp") // without the tag
}
