package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
)

// TestLlamaCpp loads both files of converted MLLM checkpoints in llama.cpp and compares what it computes with what this
// project does: tools/llamacpp/check.py says what. llama.cpp comes by a Python package that takes a quarter of an hour to
// compile, so that this test, as the fixtures, is for those who have it.
func TestLlamaCpp(t *testing.T) {
	python := os.Getenv("BGEVL_LLAMACPP")
	if python == "" {
		t.Skip("no llama.cpp: set BGEVL_LLAMACPP to a Python that has llama-cpp-python")
	}
	root, dir := testenv.Root(t), t.TempDir()
	program := filepath.Join(dir, "llamacpp")
	build := exec.Command(testenv.Tool(t, "go"), "build", "-o", program, "./tools/llamacpp")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	const (
		minCos   = "0.999"
		minCosQ8 = "0.99" // llama.cpp rounds what it multiplies with such weights to 8 bits too
	)
	for name, c := range map[string]struct {
		spec     randmodel.MLLMSpec
		typ, min string
	}{
		"legacy":    {randmodel.MLLMSpec{Seed: 1}, "f16", minCos},
		"metaspace": {randmodel.MLLMSpec{Seed: 2, Metaspace: true, NewNames: true}, "f16", minCos},
		"tied":      {randmodel.MLLMSpec{Seed: 3, Tied: true}, "bf16", minCos},
		"no output": {randmodel.MLLMSpec{Seed: 4, NoOutput: true}, "f32", minCos},
		// The k types want rows of a multiple of 256, which these are not.
		"q8_0": {randmodel.MLLMSpec{Seed: 5}, "q8_0", minCosQ8},
	} {
		t.Run(name, func(t *testing.T) {
			checkpoint, gguf := filepath.Join(dir, name), filepath.Join(dir, name+".gguf")
			require.NoError(t, randmodel.MLLM(checkpoint, c.spec))
			_, err := convert.Run(t.Context(), checkpoint, gguf, &convert.Options{Types: []string{c.typ}})
			require.NoError(t, err)
			cmd := exec.Command(python, filepath.Join(root, "tools/llamacpp/check.py"), gguf, "--ours", program, "--min", c.min)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			t.Log(string(out))
		})
	}
}
