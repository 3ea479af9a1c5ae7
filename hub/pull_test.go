package hub_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bgevl/bgevl/hub"
	"github.com/bgevl/bgevl/internal/fakehub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	repo  = "BAAI/BGE-VL-test"
	token = "hf_secret"
)

// noise is bytes that no two seeds have in common.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// checkpoint is a repository with one file of weights of several pieces, and files that nobody wants.
func checkpoint() map[string][]byte {
	return map[string][]byte{
		"config.json":              []byte(`{"model_type": "clip"}`),
		"preprocessor_config.json": []byte(`{}`),
		"tokenizer.json":           []byte(`{"version": "1.0"}`),
		"model.safetensors":        noise(1, 5*hub.MinPiece+123),
		"pytorch_model.bin":        noise(2, 1000),
		"modeling_clip.py":         []byte("import os"),
		"README.md":                []byte("# a model"),
		"onnx/model.safetensors":   noise(3, 1000),
	}
}

// wanted are the files of checkpoint that a pull takes.
func wanted() []string {
	return []string{"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"}
}

// client returns a client of a fake hub with an empty cache of its own, and with no patience.
func client(t *testing.T, h *fakehub.Hub, change ...func(*hub.Options)) *hub.Client {
	t.Helper()
	o := &hub.Options{Endpoint: h.URL, CacheDir: t.TempDir(), RetryWait: time.Millisecond, IdleTimeout: time.Minute}
	for _, f := range change {
		f(o)
	}
	c, err := hub.New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func in(dir string) func(*hub.Options) { return func(o *hub.Options) { o.CacheDir = dir } }

func offline(o *hub.Options) { o.Offline = true }

// requireFiles makes sure that a snapshot has files with their content, and no others.
func requireFiles(t *testing.T, s *hub.Snapshot, files map[string][]byte, names ...string) {
	t.Helper()
	var got []string
	require.NoError(t, filepath.WalkDir(s.Dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(s.Dir, p)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	}))
	require.ElementsMatch(t, names, got)
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(n)))
		require.NoError(t, err)
		require.True(t, string(files[n]) == string(data), "%s has other bytes", n)
	}
}

// requireSound makes sure that all that stands under a blob's final name is what the name says, whatever went before.
func requireSound(t *testing.T, cache string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(cache, "models--*", "blobs", "*"))
	require.NoError(t, err)
	for _, b := range blobs {
		name := filepath.Base(b)
		if strings.HasSuffix(name, ".incomplete") || len(name) != sha256.Size*2 {
			continue
		}
		data, err := os.ReadFile(b)
		require.NoError(t, err)
		require.Equal(t, name, sha256Hex(data), "a blob under a name that is not its digest")
	}
	left, err := filepath.Glob(filepath.Join(cache, "models--*", "tmp_*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary files are left")
}

func pull(t *testing.T, c *hub.Client, revision string, o *hub.PullOptions) *hub.Snapshot {
	t.Helper()
	s, err := c.Pull(t.Context(), repo, revision, o)
	require.NoError(t, err)
	requireSound(t, c.CacheDir())
	return s
}

func TestPull(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	commit := h.Commit(repo, "main", files)
	c := client(t, h)
	var plan hub.Plan
	var last hub.Progress
	s := pull(t, c, "main", &hub.PullOptions{
		Plan: func(p hub.Plan) error { plan = p; return nil },
		Progress: func(p hub.Progress) {
			require.GreaterOrEqual(t, p.Done, last.Done, "progress went back")
			require.LessOrEqual(t, p.FileDone, p.FileTotal)
			last = p
		},
	})
	require.Equal(t, commit, s.Commit)
	require.NoError(t, s.Unreachable)
	requireFiles(t, s, files, wanted()...)
	require.Equal(t, last.Total, last.Done)
	require.Equal(t, plan.Total, last.Total)
	require.Equal(t, plan.Missing, s.Missing)
	require.Equal(t, plan.Total, plan.Missing)

	// The layout that Python's tools share.
	folder := filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test")
	require.Equal(t, filepath.Join(folder, "snapshots", commit), s.Dir)
	ref, err := os.ReadFile(filepath.Join(folder, "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, commit, string(ref))
	to, err := os.Readlink(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, "../../blobs/"+sha256Hex(files["model.safetensors"]), filepath.ToSlash(to))
	blobs, err := os.ReadDir(filepath.Join(folder, "blobs"))
	require.NoError(t, err)
	require.Len(t, blobs, len(wanted()))

	var ranges int
	for _, r := range h.Requests() {
		if r.CDN && r.Range != "" {
			ranges++
		}
	}
	require.Greater(t, ranges, 1, "one file came by one request")

	// What is there is not asked for again: one look at the branch, none at a commit.
	h.Forget()
	again := pull(t, c, "main", nil)
	require.Zero(t, again.Missing)
	require.Len(t, h.Requests(), 2, "a branch takes a look at its commit and its listing")
	h.Forget()
	require.Equal(t, s.Dir, pull(t, c, commit, nil).Dir)
	require.Empty(t, h.Requests(), "a commit that is there needs no network")
}

func TestPullShards(t *testing.T) {
	h := fakehub.Start(t)
	h.PageSize = 3
	files := map[string][]byte{
		"config.json": []byte(`{}`),
		"model.safetensors.index.json": []byte(`{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors",
			"b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}`),
		"model-00001-of-00002.safetensors": noise(1, 3000),
		"model-00002-of-00002.safetensors": noise(2, 3000),
		"other-00001-of-00001.safetensors": noise(3, 3000),
	}
	h.Commit(repo, "main", files)
	c := client(t, h)
	s := pull(t, c, "main", nil)
	requireFiles(t, s, files, "config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
		"model-00002-of-00002.safetensors")
	total := int64(0)
	for _, f := range s.Files {
		total += f.Size
	}
	require.Equal(t, total, s.Missing, "the index is looked into before the rest is planned, and counts")
	off := pull(t, client(t, h, in(c.CacheDir()), offline), "main", nil)
	require.Equal(t, s.Dir, off.Dir)
	require.Len(t, off.Files, 4)

	delete(files, "model-00002-of-00002.safetensors")
	h.Commit(repo, "broken", files)
	_, err := c.Pull(t.Context(), repo, "broken", nil)
	require.ErrorIs(t, err, hub.ErrNotFound)
	require.ErrorContains(t, err, "model-00002-of-00002.safetensors")
}

func TestPullGGUF(t *testing.T) {
	h := fakehub.Start(t)
	files := map[string][]byte{
		"README.md": []byte("#"), "a-q4.gguf": noise(1, 100), "a-q8.gguf": noise(2, 100), "mmproj-a.gguf": noise(3, 100),
		"b/b.gguf": noise(4, 100), "b/mmproj-b.gguf": noise(5, 100), "b/mmproj-c.gguf": noise(6, 100),
	}
	h.Commit(repo, "main", files)
	h.Commit(repo, "one", map[string][]byte{"x.gguf": noise(7, 100)})
	c := client(t, h)
	_, err := c.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrChoice)
	require.ErrorContains(t, err, "a-q4.gguf")
	requireFiles(t, pull(t, c, "main", &hub.PullOptions{Files: []string{"*q8.gguf"}}), files, "a-q8.gguf", "mmproj-a.gguf")
	s := pull(t, c, "main", &hub.PullOptions{Files: []string{"b/b.gguf"}})
	requireFiles(t, s, files, "a-q8.gguf", "mmproj-a.gguf", "b/b.gguf", "b/mmproj-b.gguf")
	requireFiles(t, pull(t, c, "one", nil), map[string][]byte{"x.gguf": noise(7, 100)}, "x.gguf")
	_, err = c.Pull(t.Context(), repo, "main", &hub.PullOptions{Files: []string{"nothing*"}})
	require.ErrorIs(t, err, hub.ErrNotFound)
	h.Commit(repo, "none", map[string][]byte{"README.md": []byte("#")})
	_, err = c.Pull(t.Context(), repo, "none", nil)
	require.ErrorIs(t, err, hub.ErrChoice)
}

// What runs or unpickles is never pulled, even when it is asked for.
func TestNoCode(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	for _, p := range []string{"*.py", "*.bin", "*", "pytorch_model.bin"} {
		_, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{Files: []string{p}})
		require.ErrorIs(t, err, hub.ErrName, p)
	}
}

func TestOffline(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	commit := h.Commit(repo, "main", files)
	c := client(t, h)
	off := client(t, h, in(c.CacheDir()), offline)
	_, err := off.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrOffline)
	require.ErrorContains(t, err, "pull it with a network first")
	s := pull(t, c, "main", nil)
	h.Forget()
	for _, rev := range []string{"main", commit} {
		got := pull(t, off, rev, nil)
		require.Equal(t, s.Dir, got.Dir)
		require.Len(t, got.Files, len(wanted()))
	}
	for _, rev := range []string{"other", strings.Repeat("0", 40)} {
		_, err = off.Pull(t.Context(), repo, rev, nil)
		require.ErrorIs(t, err, hub.ErrOffline)
	}
	_, err = off.List(t.Context(), repo, "main")
	require.ErrorIs(t, err, hub.ErrOffline)
	require.Empty(t, h.Requests(), "offline means no connection")

	// Part of a model is not a model.
	require.NoError(t, os.Remove(filepath.Join(s.Dir, "config.json")))
	_, err = off.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrOffline)
}

// Where the hub is down, what was pulled before still serves.
func TestUnreachable(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h, func(o *hub.Options) { o.Retries = 1 })
	h.Inject(fakehub.Which{}, 2, fakehub.Status(503))
	_, err := c.Pull(t.Context(), repo, "main", nil)
	require.ErrorContains(t, err, "503 Service Unavailable")
	s := pull(t, c, "main", nil)
	h.Inject(fakehub.Which{}, -1, fakehub.Status(503))
	again := pull(t, c, "main", nil)
	require.Equal(t, s.Dir, again.Dir)
	require.ErrorContains(t, again.Unreachable, "503")

	dead := client(t, h, in(c.CacheDir()), func(o *hub.Options) { o.Endpoint, o.Retries = "http://127.0.0.1:1", -1 })
	again = pull(t, dead, "main", nil)
	require.Error(t, again.Unreachable)
	_, err = dead.Pull(t.Context(), "BAAI/other", "main", nil)
	require.ErrorContains(t, err, "connection refused")
}

func TestBranchMoves(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	first := pull(t, c, "main", nil)
	files["config.json"] = []byte(`{"new": true}`)
	h.Commit(repo, "main", files)
	second := pull(t, c, "main", nil)
	require.NotEqual(t, first.Commit, second.Commit)
	requireFiles(t, second, files, wanted()...)
	require.Equal(t, int64(len(files["config.json"])), second.Missing, "the weights are there already")

	// Removing the older one leaves the newer one whole.
	require.NoError(t, c.Remove(t.Context(), first, first.Files))
	requireFiles(t, second, files, wanted()...)
	require.NoError(t, c.Remove(t.Context(), second, second.Files))
	blobs, err := filepath.Glob(filepath.Join(c.CacheDir(), "models--*", "blobs", "*"))
	require.NoError(t, err)
	require.Empty(t, blobs)
}

func TestWithoutLinks(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	c.SetSymlink(func(*os.Root, string, string) error { return errors.ErrUnsupported })
	s := pull(t, c, "main", nil)
	requireFiles(t, s, files, wanted()...)
	st, err := os.Lstat(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, st.Mode().IsRegular())
	require.Zero(t, pull(t, c, "main", nil).Missing)
	require.Equal(t, s.Dir, pull(t, client(t, h, in(c.CacheDir()), offline), "main", nil).Dir)

	// A copy alone, as Python's tools leave it where links fail.
	require.NoError(t, os.RemoveAll(filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test", "blobs")))
	require.Zero(t, pull(t, c, "main", nil).Missing)
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "tokenizer.json"), []byte(`{"version": "6.6"}`), 0o600))
	require.Equal(t, int64(len(files["tokenizer.json"])), pull(t, c, "main", nil).Missing, "same size, other bytes")
	requireFiles(t, s, files, wanted()...)
}

func TestCopies(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	c := client(t, h)
	none := func(*os.Root, string, string) error { return errors.ErrUnsupported }
	c.SetSymlink(none)
	c.SetHardlink(none)
	s := pull(t, c, "main", nil)
	requireFiles(t, s, files, wanted()...)
	require.Zero(t, pull(t, c, "main", nil).Missing)
	commit, ok := c.Commit(repo, "main")
	require.True(t, ok)
	require.Equal(t, s.Commit, commit)
	for _, f := range s.Files {
		require.FileExists(t, s.Path(f))
	}
	for _, rev := range []string{"other", "../main", ""} {
		_, ok = c.Commit(repo, rev)
		require.False(t, ok, rev)
	}
}

func TestVerify(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	commit := h.Commit(repo, "main", files)
	c := client(t, h)
	s := pull(t, c, commit, nil)
	path, err := filepath.EvalSymlinks(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	data := slices.Clone(files["model.safetensors"])
	data[1000] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	s, err = c.Pull(t.Context(), repo, commit, &hub.PullOptions{Verify: true})
	require.NoError(t, err)
	requireFiles(t, s, files, wanted()...)
	require.NotZero(t, s.Missing)

	// A blob that was cut short is seen without that.
	require.NoError(t, os.Truncate(path, 10))
	requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
}

func TestSpace(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	c.SetFree(func(string) (int64, bool) { return 1e6, true })
	_, err := c.Pull(t.Context(), repo, "main", nil)
	require.ErrorIs(t, err, hub.ErrSpace)
	require.ErrorContains(t, err, "HF_HUB_CACHE")
	for _, r := range h.Requests() {
		require.False(t, r.CDN, "weights were asked for")
	}
}

func TestPlanRefuses(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	no := errors.New("no")
	_, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{Plan: func(hub.Plan) error { return no }})
	require.ErrorIs(t, err, no)
	blobs, err := filepath.Glob(filepath.Join(c.CacheDir(), "models--*", "blobs", "*"))
	require.NoError(t, err)
	require.Empty(t, blobs)
}

// Several pullers of one cache download each file once.
func TestPullersAtOnce(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	h.Commit(repo, "main", files)
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		c := client(t, h, in(dir))
		wg.Go(func() { _, errs[i] = c.Pull(context.Background(), repo, "main", nil) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	requireSound(t, dir)
	s := pull(t, client(t, h, in(dir), offline), "main", nil)
	requireFiles(t, s, files, wanted()...)
	asked := map[string]int{}
	for _, r := range h.Requests() {
		if r.CDN {
			asked[fmt.Sprint(r.Path, r.Range)]++
		}
	}
	for what, n := range asked {
		require.Equal(t, 1, n, what)
	}
}

func TestKnownModels(t *testing.T) {
	for name, want := range map[string]string{
		"base": "BAAI/BGE-VL-base@cc4c733ed997dbee4ac70ccffb911e70c9c24b93", "LARGE": "BAAI/BGE-VL-large@main",
		"baai/bge-vl-mllm-s1": "BAAI/BGE-VL-MLLM-S1@455ac20c111813fbb263dd0f22d47d173a971582",
		"v1.5-zs":             "BAAI/BGE-VL-v1.5-zs@a7ca46102a1a8be517e85cc1f03d1df39498e56c", "me/mine": "me/mine@main",
	} {
		r, rev, err := hub.Resolve(name, "")
		require.NoError(t, err)
		require.Equal(t, want, r+"@"+rev)
	}
	r, rev, err := hub.Resolve("s2", "v2")
	require.NoError(t, err)
	require.Equal(t, "BAAI/BGE-VL-MLLM-S2@v2", r+"@"+rev)
	for _, bad := range []string{"", "bass", "a/b/c", "../etc", "a/..", "https://huggingface.co/a/b"} {
		_, _, err := hub.Resolve(bad, "")
		require.ErrorIs(t, err, hub.ErrName, bad)
	}
	_, _, err = hub.Resolve("base", "../x")
	require.ErrorIs(t, err, hub.ErrName)
	require.Len(t, hub.Models(), 6)
}
