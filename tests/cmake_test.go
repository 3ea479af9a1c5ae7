package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// configure runs cmake for a preset into a folder of its own and returns what it says, in one line, and whether it failed.
func configure(t *testing.T, preset string, env []string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "cmake"), append([]string{"--preset", preset, "-B", t.TempDir()}, args...)...)
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return strings.Join(strings.Fields(string(out)), " "), err
}

// TestPresetsNameWhatIsMissing configures each preset without a tool that it needs. The message must name the tool and
// what to do.
func TestPresetsNameWhatIsMissing(t *testing.T) {
	// CMake's own tools are given, so that the folders of others can be hidden from it.
	var tools []string
	for variable, name := range map[string]string{"C_COMPILER": "cc", "CXX_COMPILER": "c++", "MAKE_PROGRAM": "make",
		"AR": "ar", "RANLIB": "ranlib"} {
		tools = append(tools, "-DCMAKE_"+variable+"="+testenv.Tool(t, name))
	}
	goTool := testenv.Tool(t, "go")
	hidden := "-DCMAKE_IGNORE_PATH=/usr/bin;/bin;/usr/local/bin;" + filepath.Dir(goTool)
	for _, c := range []struct {
		name, preset string
		env, args    []string
		absent       string // the case is left out where this program is installed and cannot be hidden
		want         []string
	}{
		{name: "go", preset: "cpu", args: []string{hidden},
			want: []string{"go was not found", "https://go.dev/dl"}},
		{name: "module", preset: "cpu", env: []string{"GOMODCACHE=" + t.TempDir(), "GOPROXY=off", "GOFLAGS=-mod=readonly"},
			want: []string{"Go module is not there", "go mod download github.com/ollama/ollama"}},
		{name: "glslc", preset: "vulkan", args: []string{hidden, "-DGO_PROGRAM=" + goTool},
			want: []string{"glslc was not found", "install glslc"}},
		{name: "vulkan", preset: "vulkan", args: []string{"-DCMAKE_IGNORE_PATH=/usr/include"},
			want: []string{"Vulkan's C++ headers or loader were not found", "libvulkan-dev"}},
		{name: "nvcc", preset: "cuda", absent: "nvcc",
			want: []string{"nvcc was not found", "-DCMAKE_CUDA_COMPILER=FILE", "tools/cuda.sh"}},
		{name: "rocm", preset: "hip", absent: "hipcc", want: []string{"ROCm's compiler was not found", "install ROCm 6.1"}},
		{name: "mac", preset: "metal", absent: "xcrun", want: []string{"Metal is Apple's", "take another preset"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := os.Stat("/usr/include/vulkan/vulkan.hpp"); err != nil && c.name == "glslc" {
				testenv.Missing(t, "Vulkan's headers are not installed (libvulkan-dev), which are looked for first")
			}
			if path, err := exec.LookPath(c.absent); c.absent != "" && err == nil {
				t.Skipf("%s is installed", path)
			}
			output, err := configure(t, c.preset, c.env, append(slices.Clone(tools), c.args...)...)
			require.Error(t, err, output)
			for _, want := range c.want {
				assert.Contains(t, output, want)
			}
		})
	}
}
