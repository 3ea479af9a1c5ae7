package tests

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/internal/testenv"
)

// jsonKey returns one value of a JSON object, as JSON.
func jsonKey(t testing.TB, text, key string) string {
	t.Helper()
	var object map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	return string(object[key])
}

// An embedded is a line of the output.
type embedded struct {
	ID        json.RawMessage `json:"id"`
	Embedding []float32       `json:"embedding"`
	Truncated bool            `json:"truncated"`
	Error     string          `json:"error"`
}

func parseLines(t testing.TB, text string) []embedded {
	t.Helper()
	var out []embedded
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var e embedded
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		require.NotEqual(t, e.Embedding == nil, e.Error == "", "either an embedding or an error: %s", line)
		out = append(out, e)
	}
	return out
}

func picture(t testing.TB, name string) string {
	return filepath.Join(testenv.Root(t), "examples", "pictures", name)
}

// byLibrary embeds one input with the library.
func byLibrary(t testing.TB, text, image string) []float32 {
	t.Helper()
	e, err := bgevl.Open(modelPath(t), nil)
	require.NoError(t, err)
	defer e.Close()
	var in bgevl.Input
	if text != "" {
		in.Text = &text
	}
	if image != "" {
		in.Image = bgevl.ImageFile(image)
	}
	rows, err := e.Embed(context.Background(), []bgevl.Input{in})
	require.NoError(t, err)
	return rows[0]
}

// requireAlike compares embeddings that were computed in batches of different sizes.
func requireAlike(t testing.TB, want, got []float32, what string) {
	t.Helper()
	const minCos = 0.99999
	require.Len(t, got, len(want), what)
	require.Greater(t, float64(bgevl.Score(want, got)), minCos, what)
}

func TestEmbedIsTheLibrarysEmbedding(t *testing.T) {
	dog, boat := "a dog, in the snow", picture(t, "harbour_day.jpg")
	for _, c := range []struct{ text, image string }{{dog, ""}, {"", boat}, {dog, boat}} {
		args := []string{"embed", "-m", modelPath(t), "--threads", "1"}
		if c.text != "" {
			args = append(args, "--text", c.text)
		}
		if c.image != "" {
			args = append(args, "--image", c.image)
		}
		lines := parseLines(t, good(t, args...))
		require.Len(t, lines, 1)
		require.Equal(t, "1", string(lines[0].ID))
		requireAlike(t, byLibrary(t, c.text, c.image), lines[0].Embedding, fmt.Sprint(c))
	}
}

func TestEmbedSeveral(t *testing.T) {
	lines := parseLines(t, good(t, "embed", "-m", modelPath(t), "--text", "a", "--text=b", "--text", "-c"))
	require.Len(t, lines, 3)
	requireAlike(t, byLibrary(t, "-c", ""), lines[2].Embedding, "a text that looks like an option")
	pairs := parseLines(t, good(t, "embed", "-m", modelPath(t), "--text", "a", "--image", picture(t, "forest.jpg"),
		"--text", "b", "--image", picture(t, "street.png")))
	require.Len(t, pairs, 2)
	requireAlike(t, byLibrary(t, "b", picture(t, "street.png")), pairs[1].Embedding, "the second pair")

	cmd := bgevlCmd(t, "embed", "--text", "a")
	cmd.Env = append(cmd.Env, "BGEVL_MODEL="+modelPath(t))
	out, err := cmd.Output()
	require.NoError(t, err, "the model from the environment")
	require.Equal(t, lines[0].Embedding, parseLines(t, string(out))[0].Embedding)
}

func TestEmbedTruncates(t *testing.T) {
	long := strings.Repeat("dog ", 200)
	r := bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", long)
	require.Equal(t, statusSomeFailed, r.status)
	requireComplaint(t, r, "1 of 1 inputs failed", "tokens")
	require.Contains(t, parseLines(t, r.out)[0].Error, "the model takes 77")
	r = bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", long, "--truncate")
	require.Equal(t, statusOK, r.status)
	requireComplaint(t, r, "1 texts were cut")
	require.True(t, parseLines(t, r.out)[0].Truncated)
}

// streamLines are inputs good and bad, with the error each must give, or none.
func streamLines() (input string, wantErrors []string) {
	for _, l := range [][2]string{
		{`{"id": "text", "text": "a dog"}`, ""},
		{`{"id": "image", "image": "forest.jpg"}`, ""},
		{`{"id": "broken", "text": `, "line 3: malformed JSON"},
		{`{"id": 4, "image": "none.jpg", "text": "a"}`, "line 4: image none.jpg: no such file"},
		{`{"id": "both", "image": "street.png", "text": "at night", "role": "candidate", "instruction": "x"}`, ""},
		{`{"id": "long", "text": "` + strings.Repeat("dog ", 200) + `"}`, "line 6: text: 202 tokens"},
		{`{"id": "up", "image": "../pictures/forest.jpg"}`, "line 7: image ../pictures/forest.jpg: not below the image root"},
		{`{"id": "abs", "image": "/etc/passwd"}`, "line 8: image /etc/passwd: not below the image root"},
		{`{"id": "text2", "image": "notes.txt"}`, "line 9: image notes.txt: "},
		{`{"id": "link", "image": "link.png"}`, "line 10: image link.png: "},
		{`{"id": "last", "text": ""}`, ""},
	} {
		input += l[0] + "\n"
		wantErrors = append(wantErrors, l[1])
	}
	return input, wantErrors
}

// imageRoot is a folder of pictures with a text among them and a link that leads out.
func imageRoot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"forest.jpg", "street.png"} {
		b, err := os.ReadFile(picture(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no picture"), 0o600))
	require.NoError(t, os.Symlink(picture(t, "street.png"), filepath.Join(dir, "link.png")))
	return dir
}

func TestEmbedStream(t *testing.T) {
	input, wantErrors := streamLines()
	failures := 0
	root := imageRoot(t)
	dir := t.TempDir()
	inPath, outPath := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	require.NoError(t, os.WriteFile(inPath, []byte(input), 0o600))

	r := bgevlRun(t, "", "embed", "-m", modelPath(t), "--input", inPath, "--image-root", root, "--output", outPath)
	require.Equal(t, statusSomeFailed, r.status, r.err)
	require.Empty(t, r.out)
	requireComplaint(t, r, "7 of 11 inputs failed; the first, line 3: malformed JSON")
	out, err := os.ReadFile(outPath)
	require.NoError(t, err)
	lines := parseLines(t, string(out))
	require.Len(t, lines, len(wantErrors))
	for i, want := range wantErrors {
		if want == "" {
			require.Empty(t, lines[i].Error)
			continue
		}
		failures++
		require.True(t, strings.HasPrefix(lines[i].Error, want), "want %q, got %q", want, lines[i].Error)
	}
	require.Equal(t, 7, failures)
	require.Equal(t, `"both"`, string(lines[4].ID))
	require.Equal(t, "4", string(lines[3].ID))
	requireAlike(t, byLibrary(t, "at night", picture(t, "street.png")), lines[4].Embedding, "both")

	piped := bgevlRun(t, input, "embed", "-m", modelPath(t), "--input", "-", "--image-root", root)
	require.Equal(t, statusSomeFailed, piped.status)
	require.Equal(t, string(out), piped.out, "the pipe gives what the file gives")
}

func TestEmbedAnswersWhileItReads(t *testing.T) {
	cmd := bgevlCmd(t, "embed", "-m", modelPath(t), "--input", "-")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	answers := bufio.NewReader(out)
	for i := range 3 {
		_, err = fmt.Fprintf(in, "{\"id\": %d, \"text\": \"a\"}\n", i)
		require.NoError(t, err)
		line, err := answers.ReadString('\n') // blocks for ever if the answer waits for more input
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(parseLines(t, line)[0].ID))
	}
	require.NoError(t, in.Close())
	rest, err := io.ReadAll(answers)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, cmd.Wait())
}

func TestEmbedFormats(t *testing.T) {
	root := imageRoot(t)
	input, wantErrors := streamLines()
	args := []string{"embed", "-m", modelPath(t), "--input", "-", "--image-root", root}
	lines := parseLines(t, bgevlRun(t, input, args...).out)

	var array []embedded
	r := bgevlRun(t, input, append(args, "--format", "json")...)
	require.Equal(t, statusSomeFailed, r.status)
	require.NoError(t, json.Unmarshal([]byte(r.out), &array))
	require.Equal(t, lines, array)

	path := filepath.Join(t.TempDir(), "out.npy") // the format comes from the name
	r = bgevlRun(t, input, append(args, "-o", path)...)
	require.Equal(t, statusSomeFailed, r.status)
	require.Equal(t, 8, strings.Count(r.err, "\nbgevl: ")+1, "a line for each failure and one for their number: %s", r.err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	rows := readNPY(t, b)
	require.Len(t, rows, len(lines))
	for i, want := range wantErrors {
		if want != "" {
			for _, x := range rows[i] {
				require.True(t, math.IsNaN(float64(x)), "row %d: %v", i, x)
			}
			continue
		}
		require.Equal(t, lines[i].Embedding, rows[i])
	}
	r = bgevlRun(t, input, append(args, "--format", "npy")...)
	require.Equal(t, string(b), r.out, "standard output gets the same bytes")
	require.Empty(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--input", "-").out)
	require.Equal(t, "[]\n", bgevlRun(t, "", "embed", "-m", modelPath(t), "--input", "-", "--format", "json").out)
	require.Empty(t, readNPY(t, []byte(bgevlRun(t, "", "embed", "-m", modelPath(t), "--input", "-", "--format", "npy").out)))
}

// readNPY parses a matrix as numpy.load does.
func readNPY(t testing.TB, b []byte) [][]float32 {
	t.Helper()
	require.True(t, strings.HasPrefix(string(b), "\x93NUMPY\x01\x00"))
	n := int(binary.LittleEndian.Uint16(b[8:]))
	require.Zero(t, (10+n)%64, "data is aligned")
	head := string(b[10 : 10+n])
	require.True(t, strings.HasSuffix(head, "\n"))
	m := regexp.MustCompile(`^\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \} *\n$`).FindStringSubmatch(head)
	require.NotNil(t, m, head)
	var count, dim int
	_, err := fmt.Sscan(m[1], &count)
	require.NoError(t, err)
	_, err = fmt.Sscan(m[2], &dim)
	require.NoError(t, err)
	data := b[10+n:]
	require.Len(t, data, count*dim*4)
	rows := make([][]float32, count)
	for i := range rows {
		for j := range dim {
			rows[i] = append(rows[i], math.Float32frombits(binary.LittleEndian.Uint32(data[(i*dim+j)*4:])))
		}
	}
	return rows
}

// TestOutputIsWholeOrAbsent ends a run that has answered some lines, in several ways.
func TestOutputIsWholeOrAbsent(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		status int // -1: by the signal itself
		left   int // files beside the output
	}{
		{"SIGINT", syscall.SIGINT, statusInterrupted, 0},
		{"SIGTERM", syscall.SIGTERM, statusInterrupted, 0},
		{"SIGKILL", syscall.SIGKILL, -1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "out.jsonl")
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
			cmd := bgevlCmd(t, "embed", "-m", modelPath(t), "--input", "-", "--output", path)
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			_, err = io.WriteString(in, strings.Repeat("{\"id\": 1, \"text\": \"a\"}\n", 100))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return sizeOfHidden(dir) > 1000 }, 20*time.Second, 5*time.Millisecond,
				"answers are written beside the output")
			require.NoError(t, cmd.Process.Signal(c.signal))
			require.Equal(t, c.status, statusOf(t, cmd.Wait()))
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "old", string(b))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, entries, 1+c.left)
			if c.status == statusInterrupted {
				require.Equal(t, "bgevl: interrupted\n", stderr.String())
			}
		})
	}
}

// sizeOfHidden returns the size of the hidden file in dir.
func sizeOfHidden(dir string) int64 {
	found, _ := filepath.Glob(filepath.Join(dir, ".*"))
	for _, f := range found {
		if st, err := os.Stat(f); err == nil {
			return st.Size()
		}
	}
	return 0
}

// mllmPath returns a tiny MLLM with random weights, its vision side beside it.
func mllmPath(t testing.TB) string {
	t.Helper()
	return llamatest.Write(t, llamatest.Model(), llamatest.Projector())
}

// TestEmbedInstruction embeds lines with every way to give an instruction, and says once what the queries without miss.
func TestEmbedInstruction(t *testing.T) {
	path := mllmPath(t)
	input := `{"id": "none", "text": "a cat"}
{"id": "task", "text": "a cat", "task": "caption-to-image"}
{"id": "dataset", "text": "a cat", "task": "MSCOCO_t2i"}
{"id": "own", "text": "a cat", "instruction": "Find me an everyday image that matches the given caption:"}
{"id": "candidate", "text": "a cat", "role": "candidate"}
{"id": "both", "text": "a cat", "task": "caption-to-image", "instruction": "Find it."}
{"id": "unknown", "text": "a cat", "task": "caption"}
{"id": "wrong", "text": "a cat", "role": "candidate", "task": "caption-to-image"}
{"id": "word", "text": "an <image> of a cat", "image": "` + picture(t, "forest.jpg") + `"}
{"id": "none2", "image": "` + picture(t, "forest.jpg") + `"}
`
	r := bgevlRun(t, input, "embed", "-m", path, "--input", "-", "--image-cache", "1MB")
	require.Equal(t, statusSomeFailed, r.status, r.err)
	complaints := strings.Split(strings.TrimSpace(r.err), "\n")
	require.Len(t, complaints, 2, r.err)
	require.Contains(t, complaints[0], "embed: 2 of 10 inputs: a query without an instruction")
	require.Contains(t, complaints[0], `"task"`)
	require.Contains(t, complaints[1], "4 of 10 inputs failed")
	lines := parseLines(t, r.out)
	for i, want := range map[int]string{5: `"task" and "instruction": want one of them`, 6: "--list-tasks",
		7: "instruction: a candidate has none", 8: "text: it holds <image>"} {
		require.Contains(t, lines[i].Error, want)
	}
	requireAlike(t, lines[1].Embedding, lines[2].Embedding, "by the task's and by the dataset's name")
	requireAlike(t, lines[1].Embedding, lines[3].Embedding, "by name and by its words")
	require.NotEqual(t, lines[0].Embedding, lines[1].Embedding)
	require.NotEqual(t, lines[0].Embedding, lines[4].Embedding)

	named := parseLines(t, good(t, "embed", "-m", path, "--text", "a cat", "--task", "caption-to-image"))
	requireAlike(t, lines[1].Embedding, named[0].Embedding, "the options say what a line says")
	candidate := parseLines(t, good(t, "embed", "-m", path, "--text", "a cat", "--role", "candidate"))
	requireAlike(t, lines[4].Embedding, candidate[0].Embedding, "a candidate")
	bare := bgevlRun(t, "", "embed", "-m", path, "--text", "a cat", "--text", "a dog")
	require.Equal(t, statusOK, bare.status)
	requireComplaint(t, bare, "2 of 2 inputs: a query without an instruction", "--task", "--role candidate")
	require.Empty(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", "a cat").err, "CLIP models miss none")
	good(t, "embed", "-m", modelPath(t), "--text", "a cat", "--task", "caption-to-image")
}

// TestEmbedProjector: the vision side is found, named, missing or another model's.
func TestEmbedProjector(t *testing.T) {
	alone := llamatest.Write(t, llamatest.Model(), nil)
	elsewhere := llamatest.WriteTo(t, llamatest.Projector(), t.TempDir(), "vision.gguf")
	args := []string{"embed", "--image", picture(t, "forest.jpg"), "--role", "candidate"}
	found := parseLines(t, good(t, append(args, "-m", mllmPath(t))...))
	named := parseLines(t, good(t, append(args, "-m", alone, "--mmproj", elsewhere)...))
	requireAlike(t, found[0].Embedding, named[0].Embedding, "the same files")
	r := bgevlRun(t, "", append(args, "-m", alone)...)
	require.Equal(t, statusSomeFailed, r.status)
	requireComplaint(t, r, "forest.jpg: no projector: looked for", "mmproj-tiny.gguf", "convert the checkpoint again")
	other := llamatest.Projector()
	other.Keys["bgevl.fingerprint"] = strings.Repeat("0a", 32)
	foreign := llamatest.WriteTo(t, other, t.TempDir(), "foreign.gguf")
	for _, c := range []struct{ args, want []string }{
		{[]string{"-m", alone, "--mmproj", foreign}, []string{alone, foreign, "another checkpoint"}},
		{[]string{"-m", alone, "--mmproj", "none.gguf"}, []string{"none.gguf", "no such file"}},
		{[]string{"-m", elsewhere}, []string{elsewhere, "give the language model"}},
		{[]string{"-m", modelPath(t), "--mmproj", elsewhere}, []string{"a CLIP model"}},
	} {
		r := bgevlRun(t, "", append(args, c.args...)...)
		require.Equal(t, statusError, r.status, r.err)
		require.Empty(t, r.out)
		requireComplaint(t, r, c.want...)
	}
}

func TestListTasks(t *testing.T) {
	table := good(t, "embed", "--list-tasks")
	var listed []bgevl.Task
	require.NoError(t, json.Unmarshal([]byte(good(t, "embed", "--list-tasks", "--format", "json")), &listed))
	require.Len(t, listed, len(bgevl.Tasks()))
	for i, task := range bgevl.Tasks() {
		require.Regexp(t, `(?m)^`+regexp.QuoteMeta(task.Name)+` +`+task.Query+` +`+regexp.QuoteMeta(strings.TrimSpace(task.Instruction))+`$`, table)
		require.Equal(t, task.Instruction, listed[i].Instruction)
		require.Equal(t, len(task.Datasets), len(listed[i].Datasets))
	}
}

func TestEmbedInstructionUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"embed", "--text", "a", "--task", "x"}, "--task x: no such task (bgevl embed --list-tasks)"},
		{[]string{"embed", "--text", "a", "--task", "caption-to-image", "--instruction", "x"}, "--instruction and --task: want one of them"},
		{[]string{"score", "--text", "a", "--task", "caption-to-image", "--instruction", "x", "b.png"}, "--instruction and --task: want one of them"},
		{[]string{"score", "--text", "a", "--task", "x", "b.png"}, "--task x: no such task"},
		{[]string{"embed", "--input", "-", "--task", "caption-to-image"}, "put them into its lines"},
		{[]string{"embed", "--text", "a", "--image-cache", "much"}, "--image-cache much: want a size, as 512MB or 2GiB"},
		{[]string{"embed", "--text", "a", "--image-cache", "-1"}, "--image-cache -1: want a size"},
		{[]string{"embed", "--text", "a", "--image-cache", "9999999TB"}, "more than any machine has"},
		{[]string{"embed", "--text", "a", "--image-cache", "1XB"}, "want a size"},
		{[]string{"embed", "--text", "a", "--context", "0"}, "--context 0: want at least 1"},
		{[]string{"embed", "--list-tasks", "x"}, "--list-tasks takes no operand"},
		{[]string{"embed", "--list-tasks", "--format", "npy"}, "--list-tasks prints a table, or json"},
	} {
		r := bgevlRun(t, "", append(c.args, "-m", modelPath(t))...)
		require.Equal(t, statusUsage, r.status, "%v: %s", c.args, r.err)
		require.Empty(t, r.out, "%v", c.args)
		requireComplaint(t, r, c.want, "--help")
	}
	for _, size := range []string{"0", "1000", "1.5kB", "2KiB", "1 GB", "3g"} {
		good(t, "embed", "-m", modelPath(t), "--text", "a", "--image-cache", size)
	}
}

// TestInspectMLLM: a table says at once which of the two files of a model it shows.
func TestInspectMLLM(t *testing.T) {
	path := mllmPath(t)
	require.Regexp(t, `(?m)^model +language model of a BGE-VL MLLM model; its vision side is mmproj-tiny\.gguf$`, good(t, "inspect", path))
	vision := filepath.Join(filepath.Dir(path), "mmproj-tiny.gguf")
	require.Regexp(t, `(?m)^model +vision side \(mmproj\) of an MLLM model`, good(t, "inspect", vision))
	require.NoError(t, os.Remove(vision))
	require.Regexp(t, `(?m)^model +.*no vision side \(mmproj\) beside it, which pictures need$`, good(t, "inspect", path))
	require.Regexp(t, `(?m)^model +BGE-VL CLIP model$`, good(t, "inspect", modelPath(t)))
}
