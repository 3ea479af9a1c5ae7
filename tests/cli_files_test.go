package tests

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/testenv"
)

func TestConvertCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q8.gguf")
	out := good(t, "convert", checkpointDir(t), "-o", path, "--type", "Q8_0") // options after the operand
	require.Regexp(t, `^`+regexp.QuoteMeta(path)+`: q8_0, \d+ tensors, .+, in \d+\.\d s\n`, out)

	r := bgevlRun(t, "", "convert", checkpointDir(t), "-o", path)
	require.Equal(t, statusError, r.status, "the file is there")
	requireComplaint(t, r, path, "--force")

	made := good(t, "convert", "--force", "--json", "--name", "mine", "--type", "bf16", "-o", path, checkpointDir(t))
	require.JSONEq(t, `"bf16"`, jsonKey(t, made, "type"))
	require.JSONEq(t, `"mine"`, jsonKey(t, made, "name"))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	fingerprint, err := f.String("bgevl.fingerprint")
	require.NoError(t, err)
	require.JSONEq(t, `"`+fingerprint+`"`, jsonKey(t, made, "fingerprint"))
	for _, key := range []string{"path", "bytes", "tensors", "types", "fallbacks", "seconds"} {
		require.NotEmpty(t, jsonKey(t, made, key), key)
	}
	lines := parseLines(t, good(t, "embed", "-m", path, "--text", "a"))
	require.NotEmpty(t, lines[0].Embedding)
}

func TestListTypes(t *testing.T) {
	table := good(t, "convert", "--list-types")
	var types []struct {
		Name string  `json:"name"`
		Bits float64 `json:"bits_per_weight"`
	}
	require.NoError(t, json.Unmarshal([]byte(good(t, "convert", "--list-types", "--json")), &types))
	require.Greater(t, len(types), 10)
	for _, typ := range types {
		require.Regexp(t, `(?m)^`+typ.Name+` +`, table)
		require.Greater(t, typ.Bits, 1.0, typ.Name)
		require.LessOrEqual(t, typ.Bits, 32.0, typ.Name)
	}
}

// slowCheckpoint is one that takes seconds to convert to slowType.
func slowCheckpoint(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "slow")
	tower := randmodel.Tower{Layers: 4, Width: 512, FFN: 2048, Heads: 8}
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{Text: tower, Vision: tower}))
	return dir
}

const slowType = "iq3_s"

func TestInterruptedConversionLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.gguf")
	cmd := bgevlCmd(t, "convert", slowCheckpoint(t), "-o", path, "--type", slowType)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return sizeOfHidden(dir) > 0 }, 20*time.Second, time.Millisecond, "a file under way")
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, statusInterrupted, statusOf(t, cmd.Wait()))
	require.Equal(t, "bgevl: interrupted\n", stderr.String())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// onTerminal runs a shell command line with a terminal of 80 columns at its ends, and returns what it showed.
func onTerminal(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "script"), "-qec", "stty cols 80 rows 24; "+line, "/dev/null")
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), "TERM=xterm", "SHELL=/bin/sh")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

func TestProgressIsForTerminals(t *testing.T) {
	const typ = "q4_k_m"
	out := filepath.Join(t.TempDir(), "out.gguf")
	line := cli(t) + " convert " + checkpointDir(t) + " --force -o " + out + " --type " + typ
	shown := onTerminal(t, line)
	require.Contains(t, shown, "converting")
	require.Regexp(t, `\d+%`, shown)
	require.Contains(t, shown[strings.LastIndex(shown, "\r")+1:], out+": "+typ, "the bar gave way to the result")
	require.NotContains(t, onTerminal(t, line+" 2>&1 | cat"), "converting")
	require.Empty(t, bgevlRun(t, "", "convert", checkpointDir(t), "--force", "-o", out, "--type", typ).err)

	in := filepath.Join(t.TempDir(), "in.jsonl")
	require.NoError(t, os.WriteFile(in, bytes.Repeat([]byte("{\"id\":1,\"text\":\"a\"}\n"), 500), 0o600))
	embed := cli(t) + " embed -m " + modelPath(t) + " --input " + in
	require.Contains(t, onTerminal(t, embed+" --output "+out), "embedding  ")
	require.NotContains(t, onTerminal(t, embed), "embedding  ", "the bar would be torn by the results")
}

func TestTablesFitTheirReader(t *testing.T) {
	model, boat := modelPath(t), "examples/pictures/harbour_day.jpg"
	long := strings.Repeat("a very long caption, ", 5) + "the end"
	for _, args := range []string{"inspect " + model, "convert --list-types",
		"score -m " + model + " --text boat " + boat + " --candidate-text '" + long + "'"} {
		shown := onTerminal(t, cli(t)+" "+args)
		require.Contains(t, shown, "│", args)
		for _, l := range strings.Split(shown, "\n") {
			if !strings.HasPrefix(l, "file ") { // a path is never cut
				require.LessOrEqual(t, len([]rune(l)), 80, "%s: %s", args, l)
			}
		}
		piped := onTerminal(t, cli(t)+" "+args+" | cat")
		require.NotRegexp(t, `[│─┌\x1b]`, piped, args)
	}
	require.Contains(t, good(t, "score", "-m", model, "--text", "boat", "--candidate-text", long), long, "nothing is cut in a pipe")
}

// An inspected is the documented JSON of inspect.
type inspected struct {
	Path, Format      string
	Bytes, Parameters int64
	Metadata          map[string]struct {
		Type  string
		Value any
	}
	Tensors []struct {
		Name, Type string
		Shape      []int64
		Bytes      int64
	}
}

func inspectJSON(t *testing.T, args ...string) inspected {
	t.Helper()
	var in inspected
	dec := json.NewDecoder(strings.NewReader(good(t, append([]string{"inspect", "--json"}, args...)...)))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&in))
	return in
}

func TestInspectGGUF(t *testing.T) {
	f, err := gguf.Open(modelPath(t))
	require.NoError(t, err)
	defer f.Close()
	in := inspectJSON(t, modelPath(t))
	require.Equal(t, "gguf", in.Format)
	require.Len(t, in.Metadata, len(f.Keys()))
	require.Len(t, in.Tensors, len(f.Tensors()))
	require.Equal(t, f.Size(), in.Bytes)
	for i, tensor := range f.Tensors() {
		require.Equal(t, tensor.Name, in.Tensors[i].Name)
		require.Equal(t, tensor.Dims, in.Tensors[i].Shape)
		require.Equal(t, tensor.Size, in.Tensors[i].Bytes)
	}
	whole, err := f.String("tokenizer.huggingface.json")
	require.NoError(t, err)
	require.Equal(t, whole, in.Metadata["tokenizer.huggingface.json"].Value, "JSON is never cut")
	require.EqualValues(t, 64, in.Metadata["clip.vision.image_size"].Value)

	require.Nil(t, inspectJSON(t, modelPath(t), "--metadata").Tensors)
	require.Nil(t, inspectJSON(t, modelPath(t), "--tensors").Metadata)
	table := good(t, "inspect", modelPath(t))
	require.Contains(t, table, "general.architecture")
	require.Contains(t, table, "visual_projection.weight")
	require.Less(t, len(table), len(whole), "long values are cut")
	require.NotContains(t, good(t, "inspect", modelPath(t), "--metadata"), "visual_projection.weight")
	require.NotContains(t, good(t, "inspect", modelPath(t), "--tensors"), "general.architecture")
}

func TestInspectCheckpoints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sharded")
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{Seed: 7, Shards: 3}))
	c, err := safetensors.OpenCheckpoint(dir)
	require.NoError(t, err)
	defer c.Close()
	in := inspectJSON(t, dir)
	require.Equal(t, "checkpoint", in.Format)
	require.Len(t, in.Tensors, len(c.Tensors()))
	require.Contains(t, good(t, "inspect", dir), "3 files")

	file := c.Files()[0].Path()
	in = inspectJSON(t, file)
	require.Equal(t, "safetensors", in.Format)
	require.Len(t, in.Tensors, len(c.Files()[0].Tensors()))
	require.Contains(t, good(t, "inspect", file), in.Tensors[0].Name)
}

// TestInspectShowsStrangersFilesSafely inspects a file whose names and values want to drive the terminal, and numbers
// that JSON does not have.
func TestInspectShowsStrangersFilesSafely(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostile.gguf")
	file, err := os.Create(path)
	require.NoError(t, err)
	w := gguf.NewWriter(file)
	w.SetString("general.architecture", "x\x1b[2J\x07\u009b31m\u202edlrow")
	w.SetFloat32("a.nan", float32(math.NaN()))
	w.SetFloat32s("a.infs", []float32{1, float32(math.Inf(1)), float32(math.Inf(-1))})
	w.SetStrings("a.strings", []string{"one", "\x1b[31m", "3", "4", "5", "6", "seventh"})
	require.NoError(t, w.AddTensor("t\u202emirrored", gguf.F32, []int64{1}))
	require.NoError(t, w.WriteHeader())
	tensor, err := w.WriteTensor("t\u202emirrored")
	require.NoError(t, err)
	_, err = tensor.Write(make([]byte, 4))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, file.Close())

	table := good(t, "inspect", path)
	require.NotRegexp(t, `[\x00-\x09\x0b-\x1f\x7f-\x9f\x{202e}]`, table)
	require.Contains(t, table, `x\x1b[2J\x07\u009b31m\u202edlrow`)
	require.Contains(t, table, "NaN")
	require.NotContains(t, table, "seventh", "a long array is cut")
	in := inspectJSON(t, path)
	require.Equal(t, "NaN", in.Metadata["a.nan"].Value)
	require.Equal(t, []any{1.0, "+Inf", "-Inf"}, in.Metadata["a.infs"].Value)
	require.Len(t, in.Metadata["a.strings"].Value, 7)
}
