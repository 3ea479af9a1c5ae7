package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/randmodel"
)

// mllmCheckpoint is a small LLaVA-NeXT checkpoint with random weights.
func mllmCheckpoint(t *testing.T, spec randmodel.MLLMSpec) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mllm")
	require.NoError(t, randmodel.MLLM(dir, spec))
	return dir
}

// A converted is the documented JSON of convert.
type converted struct {
	convertedFile
	Name, Family  string
	EmbeddingOnly bool `json:"embedding_only"`
	Files         []convertedFile
	Seconds       float64
}

type convertedFile struct {
	Path, Type, Fingerprint string
	Projector               bool
	Bytes                   int64
	Tensors                 int
	Types                   map[string]int
	Fallbacks               []struct {
		Tensor, Wanted, Took string
		Row                  int64
	}
}

// An MLLM becomes two files, which fit each other.
func TestConvertMLLM(t *testing.T) {
	dir, folder := mllmCheckpoint(t, randmodel.MLLMSpec{}), t.TempDir()
	path := filepath.Join(folder, "m.gguf")
	projector := filepath.Join(folder, "mmproj-m.gguf")
	out := good(t, "convert", dir, "-o", path, "--type", "q8_0")
	require.Regexp(t, `^`+regexp.QuoteMeta(path)+`: q8_0, 21 tensors, .+, in \d+\.\d s\n`, out)
	require.Regexp(t, `(?m)^`+regexp.QuoteMeta(projector)+`: f16, 42 tensors, .+, in \d+\.\d s$`, out)

	language, err := gguf.Open(path)
	require.NoError(t, err)
	defer language.Close()
	eyes, err := gguf.Open(projector)
	require.NoError(t, err)
	defer eyes.Close()
	want, err := eyes.String("bgevl.fingerprint")
	require.NoError(t, err)
	got, err := language.String("bgevl.projector_fingerprint")
	require.NoError(t, err)
	require.Equal(t, want, got)

	// One of the two that is there is reason enough to stop.
	require.NoError(t, os.Remove(path))
	r := bgevlRun(t, "", "convert", dir, "-o", path)
	require.Equal(t, statusError, r.status)
	requireComplaint(t, r, projector, "--force")
	good(t, "convert", dir, "-o", path, "--force")
}

// Several types come out of one run, with one projector, and JSON says what was made.
func TestConvertSeveralTypes(t *testing.T) {
	dir, folder := mllmCheckpoint(t, randmodel.MLLMSpec{NoOutput: true}), t.TempDir()
	out := good(t, "convert", dir, "-o", filepath.Join(folder, "m.gguf"), "-t", "q8_0,Q4_K_M", "--mmproj-type", "q8_0", "--json")
	var c converted
	require.NoError(t, json.Unmarshal([]byte(out), &c))
	require.Equal(t, "mllm", c.Name)
	require.Equal(t, "mllm", c.Family)
	require.True(t, c.EmbeddingOnly)
	require.Len(t, c.Files, 3)
	require.Equal(t, c.Files[0], c.convertedFile, "the first file's keys stand at the top")
	for i, want := range []struct {
		path, typ string
		projector bool
	}{{"m-q8_0.gguf", "q8_0", false}, {"m-q4_k_m.gguf", "q4_k_m", false}, {"mmproj-m.gguf", "q8_0", true}} {
		f := c.Files[i]
		require.Equal(t, filepath.ToSlash(filepath.Join(folder, want.path)), f.Path)
		require.Equal(t, want.typ, f.Type)
		require.Equal(t, want.projector, f.Projector)
		info, err := os.Stat(f.Path)
		require.NoError(t, err)
		require.Equal(t, info.Size(), f.Bytes)
		require.Regexp(t, "^[0-9a-f]{64}$", f.Fingerprint)
	}
	require.NotEmpty(t, c.Files[1].Fallbacks, "rows of 64 are no blocks of 256")

	text := good(t, "convert", dir, "-o", filepath.Join(folder, "text.gguf"))
	require.Contains(t, text, "the checkpoint has no lm_head: the model embeds and cannot predict text\n")
}

func TestConvertRefusesTypes(t *testing.T) {
	dir, folder := mllmCheckpoint(t, randmodel.MLLMSpec{}), t.TempDir()
	path := filepath.Join(folder, "m.gguf")
	for _, args := range [][]string{{"--type", "q8_0,q9"}, {"--type", "q8_0,"}, {"--type", ""}, {"--mmproj-type", "q9"}} {
		r := bgevlRun(t, "", append([]string{"convert", dir, "-o", path}, args...)...)
		require.Equal(t, statusUsage, r.status, args)
		requireComplaint(t, r, args[0], "--list-types")
	}
	for want, args := range map[string][]string{
		"asked for twice":            {dir, "-o", path, "--type", "f16,F16"},
		"ends in .gguf":              {dir, "-o", filepath.Join(folder, "m"), "--type", "f16,f32"},
		"a CLIP checkpoint has none": {checkpointDir(t), "-o", path, "--mmproj-type", "f16"},
	} {
		r := bgevlRun(t, "", append([]string{"convert"}, args...)...)
		require.Equal(t, statusError, r.status, args)
		requireComplaint(t, r, want)
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, entries)
}
