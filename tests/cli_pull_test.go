package tests

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/fakehub"
)

const hubRepo = "BAAI/BGE-VL-test"

// checkpointFiles are those of the small checkpoint that the binary's tests use.
func checkpointFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(checkpointDir(t))
	require.NoError(t, err)
	for _, e := range entries {
		files[e.Name()], err = os.ReadFile(filepath.Join(checkpointDir(t), e.Name()))
		require.NoError(t, err)
	}
	return files
}

// bigFiles are a repository whose weights take several requests. They are no model.
func bigFiles() map[string][]byte {
	weights := make([]byte, 24<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(weights)
	return map[string][]byte{"config.json": []byte("{}"), "model.safetensors": weights}
}

// hubCmd prepares a run of the binary that sees a fake hub and has a home of its own.
func hubCmd(t *testing.T, h *fakehub.Hub, home string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := bgevlCmd(t, args...)
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "HF_") || strings.HasPrefix(v, "HUGGING") || strings.HasPrefix(v, "TRANSFORMERS_") {
			name, _, _ := strings.Cut(v, "=")
			cmd.Env = append(cmd.Env, name+"=")
		}
	}
	cmd.Env = append(cmd.Env, "HF_ENDPOINT="+h.URL, "HF_HOME="+filepath.Join(home, "hf"), "BGEVL_CACHE="+filepath.Join(home, "bgevl"), "NO_PROXY=*")
	return cmd
}

func hubRun(t *testing.T, h *fakehub.Hub, home string, args ...string) result {
	t.Helper()
	cmd := hubCmd(t, h, home, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	return result{status: statusOf(t, cmd.Run()), out: out.String(), err: err.String()}
}

type pulled struct {
	Repo, Revision, Path string
	Files                []struct {
		Path, Digest string
		Bytes        int64
	}
	Bytes, Downloaded int64
	Kept              bool
	Converted         json.RawMessage
}

func hubPull(t *testing.T, h *fakehub.Hub, home string, args ...string) pulled {
	t.Helper()
	r := hubRun(t, h, home, append([]string{"pull", "--json"}, args...)...)
	require.Equal(t, statusOK, r.status, r.err)
	require.Empty(t, r.err)
	var p pulled
	require.NoError(t, json.Unmarshal([]byte(r.out), &p))
	return p
}

func TestPullCommand(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := checkpointFiles(t)
	files["pytorch_model.bin"] = []byte("pickle")
	commit := h.Commit(hubRepo, "main", files)
	h.Protect(hubRepo, "hf_secret", false)

	r := hubRun(t, h, home, "pull", hubRepo)
	require.Equal(t, statusError, r.status)
	requireComplaint(t, r, hubRepo, "HF_TOKEN")
	require.NoError(t, os.MkdirAll(filepath.Join(home, "hf"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, "hf", "token"), []byte("hf_secret\n"), 0o600))

	r = hubRun(t, h, home, "pull", hubRepo)
	require.Equal(t, statusOK, r.status, r.err)
	require.Empty(t, r.err)
	require.Contains(t, r.out, filepath.Join(home, "hf", "hub", "models--BAAI--BGE-VL-test", "snapshots", commit)+": "+hubRepo+", ")
	for _, q := range h.Requests() {
		require.False(t, q.CDN && q.Authorization != "", "the token went to another host")
	}

	p := hubPull(t, h, home, hubRepo, "--revision", commit)
	require.Equal(t, commit, p.Revision)
	require.Zero(t, p.Downloaded)
	require.True(t, p.Kept)
	for _, f := range p.Files {
		data, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(files[filepath.Base(f.Path)], data), f.Path)
		require.NotContains(t, f.Path, ".bin")
	}

	model := filepath.Join(home, "m.gguf")
	made := hubPull(t, h, home, hubRepo, "-o", model, "--type", "q8_0", "--keep-checkpoint=false")
	require.False(t, made.Kept)
	require.Contains(t, string(made.Converted), `"q8_0"`)
	require.NoDirExists(t, filepath.Join(p.Path, "model.safetensors"))
	blobs, err := filepath.Glob(filepath.Join(home, "hf", "hub", "models--*", "blobs", "*"))
	require.NoError(t, err)
	require.Empty(t, blobs, "the checkpoint was not to be kept")
	require.NotEmpty(t, good(t, "embed", "-m", model, "--text", "a"))

	h.Forget()
	r = hubRun(t, h, home, "pull", hubRepo, "-o", model)
	require.Equal(t, statusError, r.status)
	requireComplaint(t, r, model, "--force")
	require.Empty(t, h.Requests(), "nothing is downloaded that cannot be written")

	h.Commit("a/gguf", "main", map[string][]byte{"m.gguf": readFile(t, model)})
	r = hubRun(t, h, home, "pull", "a/gguf", "-o", filepath.Join(home, "n.gguf"))
	require.Equal(t, statusError, r.status)
	requireComplaint(t, r, "m.gguf is a GGUF file already: leave out -o")
	for _, q := range h.Requests() {
		require.False(t, q.CDN, "nothing is downloaded that cannot be converted")
	}
}

func TestPullArguments(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	for _, args := range [][]string{
		{}, {"a/b", "c/d"}, {"a/b", "--keep-checkpoint=false"}, {"a/b", "--type", "q8_0"}, {"a/b", "-o", "x", "--type", "q9"}, {"--list-models", "a"},
		{"a/b", "--stream"}, {"a/b", "-o", "x", "--stream", "--keep-checkpoint"},
	} {
		r := hubRun(t, h, home, append([]string{"pull"}, args...)...)
		require.Equal(t, statusUsage, r.status, "%q: %s", args, r.err)
	}
	for _, args := range [][]string{{"nonsense"}, {"../.."}, {"a/b", "--revision", "../x"}, {"a/b", "-o", "/no/such/folder/x.gguf"}} {
		r := hubRun(t, h, home, append([]string{"pull"}, args...)...)
		require.Equal(t, statusError, r.status, "%q", args)
		require.True(t, strings.HasPrefix(r.err, "bgevl: "), r.err)
	}
	require.Empty(t, h.Requests())
	r := hubRun(t, h, home, "pull", "--list-models")
	require.Equal(t, statusOK, r.status)
	for _, want := range []string{"base", "v1.5-mmeb", "BAAI/BGE-VL-large", "cc4c733ed997dbee4ac70ccffb911e70c9c24b93"} {
		require.Contains(t, r.out, want)
	}
}

// slowly sends bodies in small steps, so that a process can be caught in the middle.
func slowly(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&slowWriter{w, r}, r)
}

type slowWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (s *slowWriter) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := s.ResponseWriter.Write(b[n:min(n+(32<<10), len(b))])
		n += m
		if err != nil {
			return n, err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-s.r.Context().Done():
			return n, s.r.Context().Err()
		}
	}
	return n, nil
}

// incompleteBytes is how much of the weights is on the disk.
func incompleteBytes(t *testing.T, home string) int64 {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(home, "hf", "hub", "models--*", "blobs", "*.incomplete"))
	require.NoError(t, err)
	total := int64(0)
	for _, f := range found {
		if st, err := os.Stat(f); err == nil {
			total += st.Size()
		}
	}
	return total
}

// Killed and interrupted over and over, a pull gets further each time and loses nothing; nothing stands under its final
// name that is not whole.
func TestPullSurvivesKilling(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := bigFiles()
	h.Commit(hubRepo, "main", files)
	h.Inject(fakehub.Which{CDN: true}, -1, slowly)
	have := int64(0)
	for _, signal := range []os.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		cmd := hubCmd(t, h, home, "pull", hubRepo)
		require.NoError(t, cmd.Start())
		for end := time.Now().Add(time.Minute); incompleteBytes(t, home) < have+(1<<20) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, cmd.Process.Signal(signal))
		status := statusOf(t, cmd.Wait())
		if signal != syscall.SIGKILL {
			require.Equal(t, statusInterrupted, status)
		}
		require.GreaterOrEqual(t, incompleteBytes(t, home), have, "something was lost")
		have = incompleteBytes(t, home)
		require.Positive(t, have)
		found, err := filepath.Glob(filepath.Join(home, "hf", "hub", "models--*", "snapshots", "*", "*"))
		require.NoError(t, err)
		require.Empty(t, found, "a model that is not whole")
	}
	h.Heal()
	h.Forget()
	p := hubPull(t, h, home, hubRepo)
	require.LessOrEqual(t, p.Downloaded, int64(24<<20)-have+100)
	data, err := os.ReadFile(filepath.Join(p.Path, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["model.safetensors"], data))
	require.Zero(t, incompleteBytes(t, home))
	for _, r := range h.Requests() {
		require.False(t, r.CDN && (r.Range == "" || strings.HasPrefix(r.Range, "bytes=0-")), "it began again: %q", r.Range)
	}
}

// Two programs that pull the same model at once download it once.
func TestTwoPrograms(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := bigFiles()
	h.Commit(hubRepo, "main", files)
	h.Inject(fakehub.Which{CDN: true}, -1, slowly)
	var wg sync.WaitGroup
	outs := make([]pulled, 2)
	for i := range outs {
		wg.Go(func() { outs[i] = hubPull(t, h, home, hubRepo) })
	}
	wg.Wait()
	require.Equal(t, outs[0].Path, outs[1].Path)
	seen := map[string]bool{}
	for _, r := range h.Requests() {
		if r.CDN {
			require.False(t, seen[r.Range], "%s came twice", r.Range)
			seen[r.Range] = true
		}
	}
	data, err := os.ReadFile(filepath.Join(outs[0].Path, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["model.safetensors"], data))
}

// A model of the hub is pulled and converted when -m first names it, with a word about its size, and after that no
// network is needed.
func TestModelByName(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	commit := h.Commit(hubRepo, "main", checkpointFiles(t))
	first := hubRun(t, h, home, "embed", "-m", hubRepo, "--text", "a")
	require.Equal(t, statusOK, first.status, first.err)
	require.Regexp(t, `^bgevl: pulling BAAI/BGE-VL-test: .+ to download\nbgevl: converting BAAI/BGE-VL-test to .+\n$`, first.err)
	file := filepath.Join(home, "bgevl", "BAAI--BGE-VL-test-"+commit[:12]+"-f16.gguf")
	require.FileExists(t, file)

	h.Forget()
	second := hubRun(t, h, home, "embed", "-m", hubRepo, "--text", "a")
	require.Equal(t, result{out: first.out, status: statusOK}, second)
	require.Empty(t, h.Requests())
	require.Equal(t, first.out, hubRun(t, h, home, "embed", "-m", file, "--text", "a").out)

	r := hubRun(t, h, home, "embed", "-m", hubRepo+":q8_0", "--text", "a")
	require.Equal(t, statusOK, r.status, r.err)
	require.FileExists(t, strings.Replace(file, "-f16", "-q8_0", 1))
	require.Equal(t, statusUsage, hubRun(t, h, home, "embed", "-m", hubRepo+":q9", "--text", "a").status)

	h.Commit("a/gguf", "main", map[string][]byte{"m.gguf": readFile(t, file), "README.md": []byte("#")})
	r = hubRun(t, h, home, "embed", "-m", "a/gguf", "--text", "a")
	require.Equal(t, statusOK, r.status, r.err)
	require.Equal(t, first.out, r.out)

	h.Forget() // what is a file's name, or nobody's, asks no hub
	for _, name := range []string{"missing.gguf", "nobody", "./a/b", "a/b/c", "a/b.gguf"} {
		r = hubRun(t, h, home, "embed", "-m", name, "--text", "a")
		require.Equal(t, statusError, r.status, name)
		require.Contains(t, r.err, "no such file", name)
	}
	require.Empty(t, h.Requests())
}
