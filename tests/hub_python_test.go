package tests

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/hub"
	"github.com/bgevl/bgevl/internal/fakehub"
	"github.com/bgevl/bgevl/internal/testenv"
)

// pythonSnapshot is what a person would type.
const pythonSnapshot = `
import sys
from huggingface_hub import snapshot_download
print(snapshot_download("` + hubRepo + `", revision=sys.argv[1], allow_patterns=["*.json", "*.txt", "*.safetensors"]))
`

// hubPython finds a Python with huggingface_hub: $BGEVL_PYTHON, that of tools/hub-python.sh, or the system's.
func hubPython(t *testing.T) string {
	t.Helper()
	for _, p := range []string{os.Getenv("BGEVL_PYTHON"), filepath.Join(testenv.Root(t), "build", "python", "bin", "python"), "python3"} {
		if p != "" && exec.Command(p, "-c", "import huggingface_hub").Run() == nil {
			return p
		}
	}
	testenv.Missing(t, "no Python has huggingface_hub: run tools/hub-python.sh, or set BGEVL_PYTHON")
	return ""
}

// pythonCmd prepares snapshot_download on a cache of Python's own or a shared one.
func pythonCmd(t *testing.T, h *fakehub.Hub, home, revision string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(hubPython(t), "-c", pythonSnapshot, revision)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "HF_HOME=" + home, "HF_ENDPOINT=" + h.URL, "NO_PROXY=*", "HF_HUB_DISABLE_TELEMETRY=1",
		"HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DISABLE_XET=1",
	}, env...)
	return cmd
}

// pythonPull returns the folder that Python says that the snapshot is in.
func pythonPull(t *testing.T, h *fakehub.Hub, home, revision string, env ...string) string {
	t.Helper()
	dir, err := runPython(pythonCmd(t, h, home, revision, env...))
	require.NoError(t, err)
	return dir
}

// runPython is the part of pythonPull that any goroutine may run.
func runPython(cmd *exec.Cmd) (dir string, err error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func goClient(t *testing.T, h *fakehub.Hub, home string) *hub.Client {
	t.Helper()
	c, err := hub.New(&hub.Options{Endpoint: h.URL, CacheDir: filepath.Join(home, "hub"), RetryWait: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// cacheTree describes all files of a repository in a cache: what links lead to, and the content of the rest.
func cacheTree(t *testing.T, home string) map[string]string {
	t.Helper()
	top := filepath.Join(home, "hub", "models--BAAI--BGE-VL-test")
	tree := map[string]string{}
	require.NoError(t, filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		if to, err := os.Readlink(p); err == nil {
			tree[rel] = "-> " + to
			return nil
		}
		data, err := os.ReadFile(p)
		tree[rel] = string(data)
		return err
	}))
	return tree
}

// shared is a repository that is a model for bgevl, and has nothing else.
func shared(t *testing.T) map[string][]byte {
	files := checkpointFiles(t)
	for name := range files {
		switch filepath.Ext(name) {
		case ".json", ".txt", ".safetensors":
		default:
			delete(files, name)
		}
	}
	return files
}

// Python's own client takes the fake hub for the real one, and both fill a cache in the same way, file by file.
func TestPythonFillsTheSameCache(t *testing.T) {
	h, ours, theirs := fakehub.Start(t), t.TempDir(), t.TempDir()
	files := shared(t)
	commit := h.Commit(hubRepo, "main", files)
	require.Equal(t, filepath.Join(theirs, "hub", "models--BAAI--BGE-VL-test", "snapshots", commit), pythonPull(t, h, theirs, "main"))
	s, err := goClient(t, h, ours).Pull(t.Context(), hubRepo, "main", nil)
	require.NoError(t, err)
	require.Equal(t, commit, s.Commit)
	a, b := cacheTree(t, ours), cacheTree(t, theirs)
	require.Len(t, a, 2*len(files)+1, "a blob and a link for each file, and a ref")
	require.True(t, mapsEqual(a, b), "the caches differ")
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

// What one has pulled the other finds, with the network and without.
func TestPythonSharesTheCache(t *testing.T) {
	h := fakehub.Start(t)
	files := shared(t)
	commit := h.Commit(hubRepo, "main", files)
	fromHub := func() (n int) {
		for _, r := range h.Requests() {
			if r.CDN || strings.Contains(r.Path, "/resolve/") && r.Method == http.MethodGet {
				n++
			}
		}
		h.Forget()
		return n
	}

	home := t.TempDir() // Go first
	s, err := goClient(t, h, home).Pull(t.Context(), hubRepo, "main", nil)
	require.NoError(t, err)
	require.NotZero(t, fromHub())
	require.Equal(t, s.Dir, pythonPull(t, h, home, "main"))
	require.Zero(t, fromHub(), "Python downloaded what was there")
	require.Equal(t, s.Dir, pythonPull(t, h, home, "main", "HF_HUB_OFFLINE=1"))
	require.Equal(t, s.Dir, pythonPull(t, h, home, commit, "HF_HUB_OFFLINE=1"))

	home = t.TempDir() // Python first
	dir := pythonPull(t, h, home, "main")
	require.NotZero(t, fromHub())
	s, err = goClient(t, h, home).Pull(t.Context(), hubRepo, "main", &hub.PullOptions{Verify: true})
	require.NoError(t, err)
	require.Equal(t, dir, s.Dir)
	require.Zero(t, s.Missing)
	require.Zero(t, fromHub(), "Go downloaded what was there")
}

// What Go has begun Python ends: what is on the disk has no gap.
func TestPythonResumes(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := bigFiles()
	h.Commit(hubRepo, "main", files)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := goClient(t, h, home).Pull(ctx, hubRepo, "main", &hub.PullOptions{Progress: func(p hub.Progress) {
		if p.FileDone > 6<<20 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	found, err := filepath.Glob(filepath.Join(home, "hub", "models--*", "blobs", "*.incomplete"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	st, err := os.Stat(found[0])
	require.NoError(t, err)
	require.Positive(t, st.Size())
	h.Forget()
	dir := pythonPull(t, h, home, "main")
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["model.safetensors"], data))
	for _, r := range h.Requests() {
		require.False(t, r.CDN && r.Range == "", "Python began again")
	}
	s, err := goClient(t, h, home).Pull(t.Context(), hubRepo, "main", &hub.PullOptions{Verify: true})
	require.NoError(t, err)
	require.Zero(t, s.Missing)
}

// Both at once download each file once: they wait for each other's locks.
func TestPythonWaits(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := bigFiles()
	h.Commit(hubRepo, "main", files)
	h.Inject(fakehub.Which{CDN: true}, -1, slowly)
	client, cmd := goClient(t, h, home), pythonCmd(t, h, home, "main")
	var wg sync.WaitGroup
	var goErr, pythonErr error
	var dir string
	wg.Go(func() { _, goErr = client.Pull(context.Background(), hubRepo, "main", nil) })
	wg.Go(func() { dir, pythonErr = runPython(cmd) })
	wg.Wait()
	require.NoError(t, goErr)
	require.NoError(t, pythonErr)
	begun := 0
	for _, r := range h.Requests() {
		if r.CDN && (r.Range == "" || strings.HasPrefix(r.Range, "bytes=0-")) {
			begun++
		}
	}
	require.Equal(t, 1, begun, "the weights were begun so often")
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["model.safetensors"], data))
}

// The fake is as strict as the real one: Python needs the token too, and sends it to the hub alone.
func TestPythonToken(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	h.Commit(hubRepo, "main", shared(t))
	h.Protect(hubRepo, "hf_secret", false)
	require.Error(t, pythonCmd(t, h, home, "main").Run())
	h.Forget()
	pythonPull(t, h, home, "main", "HF_TOKEN=hf_secret")
	seen := false
	for _, r := range h.Requests() {
		require.False(t, r.CDN && r.Authorization != "")
		seen = seen || r.Authorization != ""
	}
	require.True(t, seen)
}
