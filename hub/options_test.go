package hub_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/hub"
)

// env is an environment of its own.
func env(v map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := v[name]
		return value, ok
	}
}

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "my-token")
	require.NoError(t, os.WriteFile(file, []byte(" hf_file\r\n"), 0o600))
	stored := filepath.Join(home, "hf")
	require.NoError(t, os.MkdirAll(stored, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(stored, "token"), []byte("hf_stored\n"), 0o600))
	for _, c := range []struct {
		name string
		env  map[string]string
		want hub.Options
	}{
		{"nothing", map[string]string{"HOME": home}, hub.Options{CacheDir: home + "/.cache/huggingface/hub"}},
		{"XDG", map[string]string{"XDG_CACHE_HOME": "/x"}, hub.Options{CacheDir: "/x/huggingface/hub"}},
		{"home", map[string]string{"HF_HOME": stored}, hub.Options{CacheDir: stored + "/hub", Token: "hf_stored"}},
		{"home with ~ and a variable", map[string]string{"HOME": home, "WHERE": "hf", "HF_HOME": "~/$WHERE"}, hub.Options{CacheDir: stored + "/hub", Token: "hf_stored"}},
		{"cache", map[string]string{"HF_HOME": "/h", "HF_HUB_CACHE": "/c", "HUGGINGFACE_HUB_CACHE": "/d"}, hub.Options{CacheDir: "/c"}},
		{"old cache", map[string]string{"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/d"}, hub.Options{CacheDir: "/d"}},
		{"token", map[string]string{"HF_HOME": stored, "HF_TOKEN": "hf_a\n", "HUGGING_FACE_HUB_TOKEN": "hf_b"}, hub.Options{CacheDir: stored + "/hub", Token: "hf_a"}},
		{"old token", map[string]string{"HF_HOME": stored, "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "hf_b"}, hub.Options{CacheDir: stored + "/hub", Token: "hf_b"}},
		{"token file", map[string]string{"HF_HOME": stored, "HF_TOKEN_PATH": file}, hub.Options{CacheDir: stored + "/hub", Token: "hf_file"}},
		{"no implicit token", map[string]string{"HF_HOME": stored, "HF_TOKEN": "x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, hub.Options{CacheDir: stored + "/hub"}},
		{"mirror, offline, timeout", map[string]string{"HF_HOME": "/h", "HF_ENDPOINT": "https://mirror/hf/", "HF_HUB_OFFLINE": "yes", "HF_HUB_DOWNLOAD_TIMEOUT": "7"},
			hub.Options{CacheDir: "/h/hub", Endpoint: "https://mirror/hf/", Offline: true, IdleTimeout: 7 * time.Second}},
		{"not offline", map[string]string{"HF_HOME": "/h", "HF_HUB_OFFLINE": "0"}, hub.Options{CacheDir: "/h/hub"}},
	} {
		got, err := hub.FromEnvironment(env(c.env))
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got, c.name)
	}
	_, err := hub.FromEnvironment(env(map[string]string{"HF_TOKEN_PATH": home}))
	require.ErrorContains(t, err, "HF_TOKEN")
}

func TestNewRefuses(t *testing.T) {
	for _, endpoint := range []string{"huggingface.co", "ftp://x", "file:///etc", "https://", "https://a:secret@x", "https://x?y", "https://x#y", "://"} {
		_, err := hub.New(&hub.Options{Endpoint: endpoint})
		require.ErrorContains(t, err, "HF_ENDPOINT", endpoint)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, tok := range []string{"hf a", "hf\nX-Evil: 1", "hf\x00", "hfü"} {
		_, err := hub.New(&hub.Options{Token: tok})
		require.ErrorContains(t, err, "HF_TOKEN")
		require.NotContains(t, err.Error(), tok)
	}
	c, err := hub.New(nil)
	require.NoError(t, err)
	require.Equal(t, hub.DefaultEndpoint, c.Endpoint())
	c.Close()
}
