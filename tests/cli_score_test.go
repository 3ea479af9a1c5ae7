package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/testenv"
)

// A ranking is the documented JSON of score.
type ranking struct {
	Model string
	Query struct {
		Text        *string
		Image       string
		Instruction *string
	}
	Results []struct {
		Rank, Index int
		Score       float32
		Image       string
		Text        *string
	}
	Errors []struct {
		Index int
		Image string
		Text  *string
		Error string
	}
}

func parseRanking(t testing.TB, text string) ranking {
	t.Helper()
	var r ranking
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&r), text)
	return r
}

func TestScoreRanksAsTheLibraryDoes(t *testing.T) {
	query, text := picture(t, "harbour_day.jpg"), "the same harbour, at night"
	images := []string{picture(t, "forest.jpg"), picture(t, "harbour_night.jpg"), picture(t, "street.png")}
	args := append([]string{"score", "-m", modelPath(t), "--image", query, "--text", text, "--candidate-text", "a boat, at sea"}, images...)
	got := parseRanking(t, good(t, append(args, "--json")...))

	e, err := bgevl.Open(modelPath(t), nil)
	require.NoError(t, err)
	defer e.Close()
	candidates := []bgevl.Input{}
	for _, path := range images {
		candidates = append(candidates, bgevl.Input{Image: bgevl.ImageFile(path)})
	}
	candidates = append(candidates, bgevl.Input{Text: new("a boat, at sea")})
	want, err := e.Rank(context.Background(), bgevl.Input{Image: bgevl.ImageFile(query), Text: &text}, candidates)
	require.NoError(t, err)

	require.Equal(t, modelPath(t), got.Model)
	require.Equal(t, text, *got.Query.Text)
	require.Equal(t, query, got.Query.Image)
	require.Len(t, got.Results, 4)
	require.Empty(t, got.Errors)
	table := strings.Split(strings.TrimSpace(good(t, args...)), "\n")
	require.Len(t, table, 5)
	for i, r := range got.Results {
		require.Equal(t, i+1, r.Rank)
		require.Equal(t, want[i].Index, r.Index)
		require.Equal(t, want[i].Score, r.Score)
		name := fmt.Sprintf("%q", "a boat, at sea")
		if r.Index < 3 {
			require.Equal(t, images[r.Index], r.Image)
			name = r.Image
		} else {
			require.Equal(t, "a boat, at sea", *r.Text)
		}
		require.Equal(t, []string{fmt.Sprint(r.Rank), fmt.Sprintf("%.4f", r.Score), name}, splitRow(table[i+1]))
	}
}

// splitRow takes a line of a plain table apart.
func splitRow(line string) []string {
	var cells []string
	for _, cell := range strings.Split(strings.TrimSpace(line), "  ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

func TestScoreGoesOnPastABadCandidate(t *testing.T) {
	args := []string{"score", "-m", modelPath(t), "--text", "a boat", "none.png", picture(t, "forest.jpg"), "go.mod"}
	r := bgevlRun(t, "", args...)
	require.Equal(t, statusSomeFailed, r.status)
	requireComplaint(t, r, "2 of 3 inputs failed", "none.png: no such file")
	require.Regexp(t, `(?m)^ +1 +-?0\.\d{4}  .*forest\.jpg$`, r.out)
	require.Regexp(t, `(?m)^ +- +failed  none\.png: no such file`, r.out)
	r = bgevlRun(t, "", append(args, "--json")...)
	require.Equal(t, statusSomeFailed, r.status)
	got := parseRanking(t, r.out)
	require.Len(t, got.Results, 1)
	require.Equal(t, 1, got.Results[0].Index)
	require.Len(t, got.Errors, 2)
	require.Equal(t, []int{0, 2}, []int{got.Errors[0].Index, got.Errors[1].Index})
	require.Equal(t, "go.mod", got.Errors[1].Image)
	require.NotEmpty(t, got.Errors[1].Error)
}

// TestScoreInstruction: the query's instruction counts with an MLLM model, its absence is said once, and candidates are
// embedded as such.
func TestScoreInstruction(t *testing.T) {
	path := mllmPath(t)
	args := []string{"score", "-m", path, "--text", "a cat", "--candidate-text", "the cat sat", "--candidate-text", "a dog",
		picture(t, "forest.jpg"), "--json"}
	task, _ := bgevl.FindTask("caption-to-image")
	named := parseRanking(t, good(t, append(args, "--task", "caption-to-image")...))
	require.Equal(t, named, parseRanking(t, good(t, append(args, "--instruction", task.Instruction)...)))
	require.Equal(t, task.Instruction, *named.Query.Instruction)

	e, err := bgevl.Open(path, nil)
	require.NoError(t, err)
	defer e.Close()
	want, err := e.Rank(context.Background(), bgevl.Input{Text: new("a cat"), Instruction: &task.Instruction}, []bgevl.Input{
		{Image: bgevl.ImageFile(picture(t, "forest.jpg"))}, {Text: new("the cat sat")}, {Text: new("a dog")}})
	require.NoError(t, err)
	for i, r := range named.Results {
		require.Equal(t, want[i].Index, r.Index)
		require.InDelta(t, want[i].Score, r.Score, 1e-5)
	}
	bare := bgevlRun(t, "", args...)
	require.Equal(t, statusOK, bare.status)
	requireComplaint(t, bare, "score: ", "without an instruction", "--task", "--list-tasks")
	require.NotEqual(t, named.Results, parseRanking(t, bare.out).Results)
	require.Empty(t, *parseRanking(t, good(t, append(args, "--instruction", "")...)).Query.Instruction, "an empty one is one")
}

// shell runs one of the shells that completion is for, with the binary in its path.
func shell(t *testing.T, command ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, command[0]), command[1:]...)
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(cli(t))+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "TERM=xterm")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// completions are what a shell must offer for a line, and what it must not.
var completions = []struct{ line, yes, no string }{
	{"bgevl em", "embed", "score"},
	{"bgevl embed --tru", "--truncate", "--text"},
	{"bgevl embed --format ", "npy", "--text"},
	{"bgevl embed --role c", "candidate", "query"},
	{"bgevl embed --task comp", "composed-retrieval", "caption-to-image"},
	{"bgevl score --task image-to-c", "image-to-caption", "composed"},
	{"bgevl convert --type q4_k", "q4_k_m", "q8_0"},
	{"bgevl completion ", "fish", "convert"},
	{"bgevl score -m m.gguf examples/pictures/b", "examples/pictures/balloon.png", "forest"},
	{"bgevl convert exam", "examples", "README"},
	{"bgevl embed --image-root exam", "examples", "README"},
}

func TestBashCompletion(t *testing.T) {
	for _, c := range completions {
		words := strings.Split(c.line, " ")
		script := `source <(bgevl completion bash); compopt() { :; }; COMP_WORDS=(` + strings.Join(words, " ")
		if words[len(words)-1] == "" {
			script += ` ""`
		}
		got := shell(t, "bash", "-c", script+`); COMP_CWORD=`+fmt.Sprint(len(words)-1)+`; _bgevl; printf '%s\n' "${COMPREPLY[@]}"`)
		require.Contains(t, strings.Fields(got), c.yes, c.line)
		require.NotContains(t, got, c.no, c.line)
	}
}

func TestFishCompletion(t *testing.T) {
	for _, c := range completions {
		got := shell(t, "fish", "--no-config", "-c", `bgevl completion fish | source; complete -C "`+c.line+`"`)
		var offered []string // each with its description after a tab
		for _, line := range strings.Split(got, "\n") {
			word, _, _ := strings.Cut(line, "\t")
			offered = append(offered, word)
		}
		require.Contains(t, strings.Join(offered, "\n"), c.yes, c.line)
		require.NotContains(t, strings.Join(offered, "\n"), c.no, c.line)
	}
}

// TestZshCompletion types into a zsh on a terminal of its own, since zsh completes nowhere else.
func TestZshCompletion(t *testing.T) {
	const session = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; autoload -U compinit; compinit -u -D; source <(bgevl completion zsh); LISTMAX=0"
zpty -w z "bindkey '^I' list-choices; zstyle ':completion:*' list-prompt ''; print READY"
zpty -r z out '*READY*READY*'
for line in "$@"; do
	zpty -w -n z "$line"$'\t'
	sleep 1
	zpty -w z $'\x15print DONE'
	all=
	while zpty -r z out; do all+=$out; [[ $all == *DONE*DONE* ]] && break; done
	print -r -- "$all=END="
done
zpty -d z`
	path := filepath.Join(t.TempDir(), "session.zsh")
	require.NoError(t, os.WriteFile(path, []byte(session), 0o600))
	command := []string{"zsh", "-f", path}
	for _, c := range completions {
		command = append(command, c.line)
	}
	shown := strings.Split(shell(t, command...), "=END=")
	require.Len(t, shown, len(completions)+1)
	for i, c := range completions {
		require.Contains(t, shown[i], filepath.Base(c.yes), c.line)
	}
}
