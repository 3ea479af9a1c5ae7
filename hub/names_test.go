package hub_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/hub"
	"github.com/bgevl/bgevl/internal/fakehub"
)

// hostile are names of files that must not be taken from anybody: 40 and some.
func hostile() []string {
	return []string{
		"", ".", "..", "/", "../x.json", "../../x.json", "a/../../x.json", "a/../x.json", "./x.json", "a/./x.json", "a//x.json", "a/", "/etc/x.json",
		"//host/x.json", `..\x.json`, `a\..\..\x.json`, `\\host\share\x.json`, `C:\x.json`, "C:x.json", "c:/x.json", "x.json:stream",
		"x\x00.json", "x\n.json", "x\x1b[31m.json", "x\u202enosj.json", "x\u200b.json", "x\u0085.json", "con.json", "NUL.json", "a/aux.json", "COM1.json",
		"lpt9.tar.json", "com¹.json", "CONIN$.json", "prn .json", "x.json.", "x.json ", " x.json", "a./x.json", "a /x.json", ".git/x.json", "a/.GIT/x.json",
		"x?.json", "x*.json", `x".json`, "x|.json", "x<y>.json", strings.Repeat("a", 250) + ".json", strings.Repeat("a/", 500) + "x.json",
		strings.Repeat("a", 5000) + ".json", "\uFFFD.json", ".../../../x.json", "%2e%2e/../x.json",
	}
}

// everything lists what is below a folder.
func everything(t *testing.T, dir string) []string {
	t.Helper()
	var got []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		got = append(got, p)
		return err
	}))
	return got
}

// A listing with a hostile name is refused, and nothing is made for it, in the cache or beside it.
func TestHostileFiles(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	top := t.TempDir()
	cache := filepath.Join(top, "a", "b", "cache")
	require.NoError(t, os.MkdirAll(cache, 0o700))
	c := client(t, h, in(cache))
	require.Greater(t, len(hostile()), 40)
	for _, name := range hostile() {
		h.RewriteListing(func(_ string, e []fakehub.Entry) []fakehub.Entry {
			evil := e[0]
			evil.Path = name
			return append([]fakehub.Entry{}, evil)
		})
		for _, files := range [][]string{{name}, {"*"}, {"*.json"}, {"x.json"}} {
			_, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{Files: files})
			require.Error(t, err, "%q by %q", name, files)
			require.NotContains(t, err.Error(), "\x1b")
			require.NotContains(t, err.Error(), "\n")
		}
		_, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{Files: []string{name}})
		require.Error(t, err, "%q", name)
	}
	h.RewriteListing(nil)
	for _, p := range everything(t, top) {
		rel, err := filepath.Rel(cache, p)
		require.NoError(t, err)
		require.NotContains(t, rel, "x.json")
		if strings.HasPrefix(rel, "..") {
			require.True(t, strings.HasPrefix(cache, p), "%s was made outside the cache", p)
		}
	}
	for _, r := range h.Requests() {
		require.NotContains(t, r.Path, "/resolve/", "a file was asked for")
	}
}

// Names that cannot stand side by side.
func TestFilesThatCollide(t *testing.T) {
	h := fakehub.Start(t)
	h.Commit(repo, "main", checkpoint())
	c := client(t, h)
	for _, names := range [][]string{{"a.json", "A.json"}, {"a.json", "a.json/b.json"}, {"A.JSON/b.json", "a.json"}, {"é.json", "É.json"}} {
		h.RewriteListing(func(_ string, e []fakehub.Entry) []fakehub.Entry {
			var out []fakehub.Entry
			for _, n := range names {
				evil := e[0]
				evil.Path = n
				out = append(out, evil)
			}
			return out
		})
		_, err := c.Pull(t.Context(), repo, "main", &hub.PullOptions{Files: names})
		require.ErrorIs(t, err, hub.ErrName, "%q", names)
	}
}

// Shards that an index names are names of files too.
func TestHostileShards(t *testing.T) {
	h := fakehub.Start(t)
	c := client(t, h)
	for _, shard := range []string{"../x.safetensors", "/x.safetensors", "a/x.safetensors", `a\\x.safetensors`, "nul.safetensors", "x.bin", "", "x\\u0000.safetensors"} {
		h.Commit(repo, "main", map[string][]byte{
			"config.json": []byte("{}"), "model.safetensors.index.json": []byte(`{"weight_map": {"w": "` + shard + `"}}`), "x.bin": noise(1, 10),
		})
		_, err := c.Pull(t.Context(), repo, "main", nil)
		require.ErrorIs(t, err, hub.ErrName, shard)
	}
	for _, text := range []string{"", "{}", "[]", `{"weight_map": []}`, `{"weight_map": {"a": 1}}`} {
		h.Commit(repo, "main", map[string][]byte{"config.json": []byte("{}"), "model.safetensors.index.json": []byte(text)})
		_, err := c.Pull(t.Context(), repo, "main", nil)
		require.ErrorIs(t, err, hub.ErrProtocol, text)
	}
}

func TestHostileRepositoriesAndRevisions(t *testing.T) {
	h := fakehub.Start(t)
	c := client(t, h)
	for _, name := range []string{
		"", ".", "..", "../..", "a/..", "../a", "a/b/c", "/a", "a/", "a\\b", "a--b/c", "a..b/c", "a/b.git", "a/b\x00", "a/b\n", "a b/c", "a/b?x=1", "a/b#x",
		"a/%2e%2e", "http://a/b", "nul/b", "a/con", "-a/b", ".a/b", "a/b.", "a/ü", strings.Repeat("a", 97), "~/a", "$HOME/a", "a/b:c",
	} {
		_, err := c.Pull(t.Context(), name, "main", nil)
		require.ErrorIs(t, err, hub.ErrName, "%q", name)
		require.ErrorIs(t, c.Remove(t.Context(), &hub.Snapshot{Repo: name, Commit: strings.Repeat("a", 40)}, nil), hub.ErrName, "%q", name)
	}
	for _, rev := range []string{
		"", ".", "..", "../main", "a/../b", "/main", "main/", "a//b", ".hidden", "a/.b", "x.lock", "x.lock/y", "-x", "a b\x00", "a\nb", "a~1", "a^", "a:b", "a?b",
		"a*", "a[b", "a\\b", "@", "a@{1}", "nul", "a/con", "x.", strings.Repeat("a", 201),
	} {
		_, err := c.Pull(t.Context(), repo, rev, nil)
		require.ErrorIs(t, err, hub.ErrName, "%q", rev)
	}
	for _, rev := range []string{"main", "v1.0", "refs/pr/12", "feature/x", strings.Repeat("a", 40)} {
		require.NoError(t, hub.CheckRevision(rev))
	}
	require.Empty(t, h.Requests())
	require.Error(t, c.Remove(t.Context(), &hub.Snapshot{Repo: repo, Commit: ".."}, nil))
	require.Error(t, c.Remove(t.Context(), &hub.Snapshot{Repo: repo, Commit: strings.Repeat("a", 40)}, []hub.File{{Path: "../../x"}}))
	require.Error(t, c.Remove(t.Context(), &hub.Snapshot{Repo: repo, Commit: strings.Repeat("a", 40)}, []hub.File{{Path: "x", Digest: "../x"}}))
}

// Links that somebody has put into the cache's folder of a repository do not lead out of it.
func TestLinksLeadNowhere(t *testing.T) {
	h := fakehub.Start(t)
	files := checkpoint()
	commit := h.Commit(repo, "main", files)
	data := files["model.safetensors"]
	for name, plant := range map[string]func(t *testing.T, folder, outside string){
		"blobs": func(t *testing.T, folder, outside string) {
			require.NoError(t, os.Symlink(outside, filepath.Join(folder, "blobs")))
		},
		"snapshots": func(t *testing.T, folder, outside string) {
			require.NoError(t, os.Symlink(outside, filepath.Join(folder, "snapshots")))
		},
		"snapshot": func(t *testing.T, folder, outside string) {
			require.NoError(t, os.MkdirAll(filepath.Join(folder, "snapshots"), 0o700))
			require.NoError(t, os.Symlink(outside, filepath.Join(folder, "snapshots", commit)))
		},
		"refs": func(t *testing.T, folder, outside string) {
			require.NoError(t, os.Symlink(outside, filepath.Join(folder, "refs")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, h)
			outside, folder := t.TempDir(), filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test")
			require.NoError(t, os.MkdirAll(folder, 0o700))
			plant(t, folder, outside)
			_, err := c.Pull(t.Context(), repo, "main", nil)
			require.Error(t, err)
			require.Len(t, everything(t, outside), 1, "something was written outside")
		})
	}
	t.Run("unfinished blob", func(t *testing.T) {
		c := client(t, h)
		victim := filepath.Join(t.TempDir(), "victim")
		require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
		blobs := filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test", "blobs")
		require.NoError(t, os.MkdirAll(blobs, 0o700))
		require.NoError(t, os.Symlink(victim, filepath.Join(blobs, sha256Hex(data)+".incomplete")))
		requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
		left, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "precious", string(left))
	})
	t.Run("file", func(t *testing.T) {
		c := client(t, h)
		victim := filepath.Join(t.TempDir(), "victim")
		require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
		snapshot := filepath.Join(c.CacheDir(), "models--BAAI--BGE-VL-test", "snapshots", commit)
		require.NoError(t, os.MkdirAll(snapshot, 0o700))
		require.NoError(t, os.Symlink(victim, filepath.Join(snapshot, "config.json")))
		requireFiles(t, pull(t, c, "main", nil), files, wanted()...)
		left, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "precious", string(left))
	})
}
