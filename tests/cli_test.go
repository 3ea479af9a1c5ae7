package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
)

// The exit statuses that the help and README.md promise.
const (
	statusOK          = 0
	statusError       = 1
	statusUsage       = 2
	statusSomeFailed  = 3
	statusInterrupted = 130
)

// cliDir is where the binary and its model are, made when a test first asks.
var cliDir string

func TestMain(m *testing.M) {
	status := m.Run()
	if cliDir != "" {
		_ = os.RemoveAll(cliDir)
	}
	os.Exit(status)
}

// buildCLI builds the binary, makes a checkpoint with random weights and converts it, once for all tests.
var buildCLI = sync.OnceValue(func() error {
	var err error
	if cliDir, err = os.MkdirTemp("", "bgevl-cli-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v0-test", "-o", filepath.Join(cliDir, "bgevl"),
		"github.com/bgevl/bgevl/cmd/bgevl")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	checkpoint := filepath.Join(cliDir, "checkpoint")
	if err := randmodel.CLIP(checkpoint, randmodel.Spec{Seed: 7}); err != nil {
		return err
	}
	convert := exec.Command(filepath.Join(cliDir, "bgevl"), "convert", checkpoint, "-o", filepath.Join(cliDir, "model.gguf"), "--type", "f32")
	if out, err := convert.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

// cli returns the binary's path.
func cli(t testing.TB) string {
	t.Helper()
	require.NoError(t, buildCLI())
	return filepath.Join(cliDir, "bgevl")
}

// modelPath returns a small model with random weights in f32, and checkpointDir what it was converted from.
func modelPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(filepath.Dir(cli(t)), "model.gguf")
}

func checkpointDir(t testing.TB) string {
	t.Helper()
	return filepath.Join(filepath.Dir(cli(t)), "checkpoint")
}

// A result is what a run of the binary left.
type result struct {
	out, err string
	status   int
}

// bgevlCmd prepares a run of the binary in the project's root, where examples/pictures are.
func bgevlCmd(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(cli(t), args...)
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), "BGEVL_MODEL=", "TERM=xterm")
	return cmd
}

// bgevlRun runs the binary with standard input and returns what it left.
func bgevlRun(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	cmd := bgevlCmd(t, args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	return result{status: statusOf(t, cmd.Run()), out: out.String(), err: err.String()}
}

func statusOf(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

// good runs the binary where nothing may go wrong or be said on standard error.
func good(t testing.TB, args ...string) string {
	t.Helper()
	r := bgevlRun(t, "", args...)
	require.Equal(t, statusOK, r.status, r.err)
	require.Empty(t, r.err)
	return r.out
}

// requireComplaint sees to it that standard error is one line that says all of want.
func requireComplaint(t testing.TB, r result, want ...string) {
	t.Helper()
	require.Equal(t, 1, strings.Count(r.err, "\n"), "want one line: %q", r.err)
	require.True(t, strings.HasPrefix(r.err, "bgevl: "), r.err)
	require.False(t, strings.HasPrefix(r.err, "bgevl: bgevl"), r.err)
	for _, w := range want {
		require.Contains(t, r.err, w)
	}
}

var cliCommands = []string{"pull", "convert", "inspect", "embed", "score", "serve", "version", "devices", "completion"}

func TestHelpReadsWell(t *testing.T) {
	top := good(t, "--help")
	require.Equal(t, top, good(t, "help"))
	helps := map[string]string{"": top}
	for _, name := range cliCommands {
		require.Contains(t, top, "\n  "+name+" ", "the list of commands")
		helps[name] = good(t, name, "--help")
		require.Equal(t, helps[name], good(t, "help", name))
		require.Equal(t, helps[name], good(t, name, "-h"))
	}
	for name, help := range helps {
		require.Contains(t, help, "Usage:\n  bgevl ", name)
		require.Contains(t, help, "\nExamples:\n", name)
		require.Regexp(t, `(?m)^  .*bgevl `+name, help[strings.Index(help, "\nExamples:\n"):], "%s: an example that calls it", name)
		for _, status := range []string{"0 ", "1 ", "2 ", "3 ", "130 "} {
			require.Contains(t, help[strings.Index(help, "Exit status:"):], "\n  "+status, name)
		}
		for _, line := range strings.Split(help, "\n") {
			require.LessOrEqual(t, len(line), 80, "%s: %s", name, line)
			require.Equal(t, strings.TrimRight(line, " "), line, name)
		}
	}
}

// TestExamplesUseOptionsThatExist parses every example of every help text.
func TestExamplesUseOptionsThatExist(t *testing.T) {
	for _, name := range cliCommands {
		help := good(t, name, "--help")
		at := strings.Index(help, "\nExamples:\n")
		options := help[strings.Index(help, "\nOptions:\n"):at]
		for _, o := range regexp.MustCompile(` --?[a-z][a-z-]*`).FindAllString(help[at:], -1) {
			if o == " -c" || o == " -r" { // jq's
				continue
			}
			require.Regexp(t, `(?m)^ +(-., )?`+regexp.QuoteMeta(strings.TrimSpace(o))+`\b`, options, "%s: example with %s", name, o)
		}
	}
}

func TestVersion(t *testing.T) {
	require.Regexp(t, `^bgevl v0-test \(go1\.\d+.*, \w+/\w+\)\n$`, good(t, "version"))
	require.Contains(t, good(t, "--version"), "v0-test")
	require.JSONEq(t, `"v0-test"`, jsonKey(t, good(t, "version", "--json"), "version"))
}

func TestUsageErrors(t *testing.T) {
	model := func(args ...string) []string { return append(args, "-m", modelPath(t)) }
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"scor"}, "scor: no such command (did you mean score?)"},
		{[]string{"frobnicate"}, "frobnicate: no such command"},
		{[]string{"--frob"}, "no such option: --frob"},
		{[]string{"embed", "--txt", "a"}, "no such option: --txt (did you mean --text?)"},
		{[]string{"embed", "--threads", "two", "--text", "a"}, `--threads "two": `},
		{[]string{"embed", "--text"}, "--text: needs a value"},
		{[]string{"convert", "a", "-o"}, "-o: needs a value"},
		{[]string{"embed", "--text", "a"}, "give -m MODEL"},
		{model("embed"), "nothing to embed"},
		{model("embed", "operand", "--text", "a"), "operand: takes no operand"},
		{model("embed", "--text", "a", "--threads", "0"), "--threads 0: want at least 1"},
		{model("embed", "--text", "a", "--batch-size", "-1"), "--batch-size -1: want at least 1"},
		{model("embed", "--text", "a", "--format", "xml"), "--format xml: want jsonl, json or npy"},
		{model("embed", "--text", "a", "--role", "judge"), "--role judge: want query or candidate"},
		{model("embed", "--text", "a", "--image", "x", "--image", "y"), "1 --text and 2 --image"},
		{model("embed", "--text", "a", "--input", "-"), "--input goes without"},
		{model("embed", "--role", "query", "--input", "-"), "put them into its lines"},
		{model("embed", "--text", "a", "--image-root", "."), "--image-root is for"},
		{model("embed", "--input", modelPath(t), "--output", modelPath(t)), "is the input"},
		{model("score", "a.png"), "no query"},
		{model("score", "--text", "a"), "no candidates"},
		{[]string{"score", "--text", "a", "b.png"}, "give -m MODEL"},
		{[]string{"convert"}, "no checkpoint"},
		{[]string{"convert", "a", "b", "-o", "c"}, "b: one checkpoint at a time"},
		{[]string{"convert", "a"}, "no output: give -o FILE"},
		{[]string{"convert", "a", "-o", "b", "--type", "q9"}, "--type q9: no such type"},
		{[]string{"convert", "--list-types", "a"}, "takes no operand"},
		{[]string{"inspect"}, "nothing to inspect"},
		{[]string{"inspect", "a", "b"}, "b: one file at a time"},
		{[]string{"version", "a"}, "a: takes no operand"},
		{[]string{"completion"}, "bash, zsh or fish"},
		{[]string{"completion", "tcsh"}, "tcsh: no such shell"},
	} {
		r := bgevlRun(t, "", c.args...)
		require.Equal(t, statusUsage, r.status, "%v: %s", c.args, r.err)
		require.Empty(t, r.out, "%v", c.args)
		requireComplaint(t, r, c.want, "--help")
	}
	r := bgevlRun(t, "")
	require.Equal(t, statusUsage, r.status)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "Usage:", "a call without a command shows the help")
}

func TestErrorsNameTheOperand(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.gguf")
	whole, err := os.ReadFile(modelPath(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(broken, whole[:len(whole)/2], 0o600))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	hostile := filepath.Join(dir, "a\nb\x1b[31m.gguf")
	for _, c := range []struct{ args, want []string }{
		{[]string{"embed", "-m", "none.gguf", "--text", "a"}, []string{"none.gguf", "no such file"}},
		{[]string{"embed", "-m", broken, "--text", "a"}, []string{broken}},
		{[]string{"embed", "-m", hostile, "--text", "a"}, []string{`b\x1b[31m.gguf`, "no such file"}},
		{[]string{"embed", "-m", checkpointDir(t), "--text", "a"}, []string{"is a folder", "bgevl convert " + checkpointDir(t)}},
		{[]string{"embed", "-m", modelPath(t), "--input", "none.jsonl"}, []string{"none.jsonl", "no such file"}},
		{[]string{"embed", "-m", modelPath(t), "--input", dir}, []string{dir, "is a folder"}},
		{[]string{"embed", "-m", modelPath(t), "--input", "-", "--image-root", "none"}, []string{"--image-root", "none"}},
		{[]string{"embed", "-m", modelPath(t), "--text", "a", "-o", filepath.Join(dir, "no", "out")}, []string{"no such file"}},
		{[]string{"embed", "-m", modelPath(t), "--text", "a", "-o", dir}, []string{dir, "is a folder"}},
		{[]string{"score", "-m", modelPath(t), "--image", "none.png", "README.md"}, []string{"query", "none.png"}},
		{[]string{"score", "-m", modelPath(t), "--image", "README.md", "README.md"}, []string{"query", "README.md"}},
		{[]string{"convert", "none", "-o", filepath.Join(dir, "x.gguf")}, []string{"none"}},
		{[]string{"convert", dir, "-o", filepath.Join(dir, "x.gguf")}, []string{dir, "config.json"}},
		{[]string{"convert", checkpointDir(t), "-o", modelPath(t)}, []string{modelPath(t), "--force"}},
		{[]string{"inspect", "none"}, []string{"none", "no such file"}},
		{[]string{"inspect", "README.md"}, []string{"README.md", "neither GGUF nor safetensors"}},
		{[]string{"inspect", empty}, []string{empty, "empty"}},
		{[]string{"inspect", broken}, []string{broken}},
		{[]string{"inspect", dir}, []string{dir, "model.safetensors"}},
	} {
		r := bgevlRun(t, "", c.args...)
		require.Equal(t, statusError, r.status, "%v: %s", c.args, r.err)
		require.Empty(t, r.out, "%v", c.args)
		requireComplaint(t, r, c.want...)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "something was left beside broken.gguf and empty: %v", entries)
}

// TestReadmeCommandsExist checks every call of bgevl that README.md shows against the commands' own help.
func TestReadmeCommandsExist(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(testenv.Root(t), "README.md"))
	require.NoError(t, err)
	calls := regexp.MustCompile("(?m)(?:^    |^    \\$ |`)bgevl ([a-z]+)([^`#\n]*)").FindAllStringSubmatch(string(readme), -1)
	require.Greater(t, len(calls), 4)
	for _, call := range calls {
		require.Contains(t, cliCommands, call[1])
		help := good(t, call[1], "--help")
		for _, o := range regexp.MustCompile(` --?[a-z][a-z-]*`).FindAllString(call[2], -1) {
			require.Regexp(t, `(?m)^ +(-., )?`+regexp.QuoteMeta(strings.TrimSpace(o))+`\b`, help, call[0])
		}
	}
	for _, line := range strings.Split(good(t, "--help"), "\n") { // the same words for the exit status in both
		if m := regexp.MustCompile(`^  (\d+) +(.+)$`).FindStringSubmatch(line); m != nil {
			require.Contains(t, string(readme), "| "+m[1]+" | "+m[2]+" |\n")
		}
	}
}
