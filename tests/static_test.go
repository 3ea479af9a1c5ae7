package tests

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// goList runs go list at the module's root and returns the lines that it prints.
func goList(t *testing.T, env []string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "go"), append([]string{"list"}, args...)...)
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), env...)
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
		assert.Empty(t, goList(t, nil, "-tags", tags, "-f", files, "./csrc"),
			"these lack a first line //go:build !bgevl_static, tags %s", tags)
		for _, path := range goList(t, nil, "-deps", "-tags", tags, "./cmd/bgevl") {
			assert.False(t, strings.HasPrefix(path, ggml), "%s is compiled with tags %s", path, tags)
		}
	}
	assert.Contains(t, goList(t, nil, "-f", files, "./csrc"), "graph.cpp") // without the tag
}

// TestMacsCompileMetal shows that a plain go build compiles ggml's Metal backend on a Mac with Apple's processor, with
// the frameworks it needs. It reads what would be compiled: there is no Mac here.
func TestMacsCompileMetal(t *testing.T) {
	const files = `{{.ImportPath}} {{range .MFiles}}{{.}} {{end}}{{range .CgoLDFLAGS}}{{.}} {{end}}`
	mac := []string{"GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=1"}
	listed := goList(t, mac, "-deps", "-f", files, "./cmd/bgevl")
	for _, want := range []string{ggml + "/ml/backend/ggml/ggml/src/ggml-metal", "ggml-metal-context.m",
		"ggml-metal-device.m", "Metal", "MetalKit", "Foundation", "Accelerate"} {
		assert.Contains(t, listed, want)
	}
}
