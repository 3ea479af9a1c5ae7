package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

const (
	module = "github.com/bgevl/bgevl"
	ggml   = "github.com/ollama/ollama"
)

// goPackage is what go list says of a package, as far as the rules need it. Its tests are not held to the rules.
type goPackage struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

// list returns the module's packages under build tags.
func list(t *testing.T, tags string) []goPackage {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "go"), "list", "-json=ImportPath,Imports,CgoFiles", "-tags", tags, "./...")
	cmd.Dir = testenv.Root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
	require.NotEmpty(t, packages)
	return packages
}

// layer returns the place of a package in the one direction of imports, the higher ones importing the lower ones:
//
//	cmd -> server, eval, index -> bgevl -> clip, llama -> csrc -> ggml
//
// Packages beside that line have the highest layer that they may be imported from: convert and hub stand beside bgevl,
// what is internal serves all but csrc. Tools and tests may import anything.
func layer(path string) (at int, known bool) {
	folder, _, _ := strings.Cut(path, "/")
	switch folder {
	case "cmd", "tools", "tests", "bench":
		return 6, true
	case "server", "eval", "index":
		return 5, true
	case "bgevl", "convert", "hub", "examples":
		return 4, true
	case "clip", "llama":
		return 3, true
	case "csrc":
		return 1, true
	case "internal":
		return internalLayer(path)
	}
	return 0, false
}

// internalLayer is layer for what is internal. Most of it is below every model.
func internalLayer(path string) (at int, known bool) {
	switch path {
	case "internal/bulk": // the jobs of the command line, over bgevl's API
		return 5, true
	case "internal/modelfile": // over csrc, for clip and llama
		return 2, true
	case "internal/cliptest", "internal/llamatest", "internal/randmodel": // for tests and demonstrations
		return 2, true
	}
	return 1, true
}

// top reports whether a package lies in one of the module's folders.
func top(path string, folders ...string) bool {
	folder, _, _ := strings.Cut(path, "/")
	return slices.Contains(folders, folder)
}

// mayImport reports whether one of the module's packages may import another. Paths are below the module's.
func mayImport(from, to string) bool {
	switch {
	case to == "csrc":
		// bgevl and what is above reach C through clip and llama only; convert quantises.
		// internal/pixels resizes and decodes.
		return top(from, "clip", "llama", "convert", "tests", "bench", "tools") || from == "internal/modelfile" ||
			from == "internal/pixels"
	case from == "csrc":
		return false
	case to == "clip" || to == "llama":
		// What is above bgevl speaks of embeddings, not of towers.
		return from == "bgevl" || top(from, "tests", "bench", "tools")
	case to == "internal/cliptest" || to == "internal/llamatest" || to == "internal/fakehub" || strings.HasPrefix(to, "internal/testenv"):
		// Beside test files, which are not held to this.
		return top(from, "tests", "bench") || from == "internal/llamatest" && to == "internal/cliptest"
	}
	high, ok := layer(from)
	low, also := layer(to)
	if !ok || !also || low > high {
		return false
	}
	// Within a layer, only what is internal builds on its neighbours.
	return low < high || strings.HasPrefix(from, "internal/") && strings.HasPrefix(to, "internal/")
}

// TestImports holds the whole module to the one direction of imports.
func TestImports(t *testing.T) {
	for _, tags := range []string{"", "bgevl_libjpeg", "bgevl_static"} {
		for _, p := range list(t, tags) {
			from := strings.TrimPrefix(p.ImportPath, module+"/")
			if strings.HasPrefix(from, "build/") {
				continue // scratch that git ignores
			}
			_, known := layer(from)
			assert.True(t, known, "%s has no place among the layers: see tests/imports_test.go", from)
			if from != "csrc" {
				assert.Empty(t, p.CgoFiles, "%s: only csrc uses cgo", from)
			}
			for _, imported := range p.Imports {
				checkImport(t, from, imported)
			}
		}
	}
}

func checkImport(t *testing.T, from, imported string) {
	t.Helper()
	to, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case imported == "C":
		assert.Equal(t, "csrc", from, "only csrc imports C")
	case strings.HasPrefix(imported, ggml):
		assert.Equal(t, "csrc", from, "only csrc imports ggml, not %s", from)
	case !ours:
	default:
		assert.True(t, mayImport(from, to), "%s must not import %s", from, to)
	}
}

// TestImportRules makes sure that the rules refuse what they are there to refuse.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/bgevl", "bgevl", true}, {"cmd/bgevl", "convert", true}, {"cmd/bgevl", "internal/gguf", true},
		{"server", "bgevl", true}, {"bgevl", "clip", true}, {"bgevl", "llama", true}, {"clip", "csrc", true},
		{"llama", "internal/gguf", true}, {"convert", "csrc", true}, {"internal/tokenizer", "internal/gguf", true},
		{"clip", "llama", false}, {"llama", "clip", false}, {"clip", "bgevl", false}, {"bgevl", "csrc", false},
		{"bgevl", "server", false}, {"server", "index", false}, {"server", "clip", false}, {"cmd/bgevl", "csrc", false},
		{"csrc", "internal/gguf", false}, {"internal/gguf", "csrc", false}, {"internal/gguf", "clip", false},
		{"bgevl", "convert", false}, {"convert", "bgevl", false}, {"bgevl", "internal/cliptest", false}, {"new", "bgevl", false},
	} {
		assert.Equal(t, c.ok, mayImport(c.from, c.to), "%s -> %s", c.from, c.to)
	}
}
