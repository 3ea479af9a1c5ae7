package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/examples"
	"github.com/bgevl/bgevl/index"
	"github.com/bgevl/bgevl/internal/testenv"
)

// A serving is a running bgevl serve.
type serving struct {
	url string
	key string
	err *lockedBuffer // standard error
	end func() int    // sends a signal and returns the exit status
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServe starts the binary in an empty folder, on a free port, with a cache of its own unless env has one.
func startServe(t *testing.T, env []string, args ...string) *serving {
	t.Helper()
	cmd := bgevlCmd(t, append([]string{"serve", "--address", "127.0.0.1:0"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(cmd.Env, "BGEVL_API_KEY=", "BGEVL_CACHE="+t.TempDir()), env...)
	s := &serving{err: &lockedBuffer{}}
	cmd.Stderr = s.err
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var once sync.Once
	var status int
	s.end = func() int {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			status = statusOf(t, cmd.Wait())
		})
		return status
	}
	t.Cleanup(func() { s.end() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, s.err.String())
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/\n$`, line)
	s.url = strings.TrimSuffix(line, "/\n")
	return s
}

// call sends a request and decodes the answer. A nil body is a GET.
func (s *serving) call(t *testing.T, path string, body, to any) int {
	t.Helper()
	method, content := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		data, err := json.Marshal(body)
		require.NoError(t, err)
		method, content = http.MethodPost, bytes.NewReader(data)
	}
	r, err := http.NewRequest(method, s.url+path, content)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	return s.send(t, r, to)
}

func (s *serving) send(t *testing.T, r *http.Request, to any) int {
	t.Helper()
	if s.key != "" {
		r.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err, s.err.String())
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if to != nil {
		require.NoError(t, json.Unmarshal(data, to), string(data))
	}
	return resp.StatusCode
}

type servedStatus struct {
	Demo                         bool
	Items, Images, Texts, Failed int
	Sources                      []string
	Indexing                     struct{ State string }
	Failures                     []struct{ Source, Name, Error string }
	Model                        struct{ Name string }
}

// ready waits until all is taken in.
func (s *serving) ready(t *testing.T) servedStatus {
	t.Helper()
	var status servedStatus
	require.Eventually(t, func() bool {
		require.Equal(t, 200, s.call(t, "/v1/index", nil, &status))
		return status.Indexing.State != "running"
	}, time.Minute, 50*time.Millisecond, "taking pictures in")
	require.Equal(t, "done", status.Indexing.State, s.err.String())
	return status
}

type servedResults struct {
	Results []struct {
		Score               float32
		ID, Name, Thumbnail string
		Text                *string
	}
}

// TestServeDemo starts the binary with nothing beside it: no model, no folder, no cache. What the page offers is found.
func TestServeDemo(t *testing.T) {
	cache := t.TempDir()
	s := startServe(t, []string{"BGEVL_CACHE=" + cache})
	assert.Contains(t, s.err.String(), "this is the demo model, which knows drawn shapes and nothing else; -m base takes a real one")
	status := s.ready(t)
	assert.True(t, status.Demo)
	assert.Equal(t, "demo-clip", status.Model.Name)
	assert.Equal(t, []string{"drawings"}, status.Sources)
	assert.Greater(t, status.Images, 300)
	assert.Zero(t, status.Failed)

	// Drawings are named after what they show.
	captions := map[string]*regexp.Regexp{
		"orange stars at night":          regexp.MustCompile(`orange.* star`),
		"three yellow rings":             regexp.MustCompile(`yellow.* ring`),
		"a large red star in the middle": regexp.MustCompile(`red.* star`),
		"purple heart":                   regexp.MustCompile(`(purple|violet).* heart.*`),
	}
	changes := 0
	drawings := examples.NewDrawings()
	for _, q := range drawings.Queries() {
		query := map[string]any{"text": q.Text}
		if q.Negative != "" {
			query["negative"] = q.Negative
		}
		if q.Picture != "" {
			query["id"] = index.ItemID(drawings.Name(), q.Picture)
		}
		var found servedResults
		require.Equal(t, 200, s.call(t, "/v1/search", map[string]any{"query": query, "k": 5}, &found))
		require.Len(t, found.Results, 5)
		if q.Picture != "" {
			changes++
			assert.Equal(t, drawings.Answer(q), found.Results[0].Name, "%s: a picture and a text find their answer first", q.Text)
			continue
		}
		want, ok := captions[q.Text]
		require.True(t, ok, q.Text)
		delete(captions, q.Text)
		right := 0
		for _, r := range found.Results {
			if want.MatchString(r.Name) {
				right++
			}
		}
		assert.GreaterOrEqual(t, right, 3, "%s, not %s: %v", q.Text, q.Negative, found.Results)
	}
	assert.Equal(t, 4, changes)
	assert.Empty(t, captions)
	assert.Equal(t, 0, s.end(), "a signal ends it cleanly")

	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the converted model and nothing else: %v", entries)
	assert.Regexp(t, `^demo-clip-[0-9a-f]{12}-f16\.gguf$`, entries[0].Name())
}

// TestServeDemoAtOnce starts several processes with one empty cache: each gets the whole model.
func TestServeDemoAtOnce(t *testing.T) {
	cache := t.TempDir()
	var all []*serving
	for range 3 {
		all = append(all, startServe(t, []string{"BGEVL_CACHE=" + cache}))
	}
	for _, s := range all {
		var out struct {
			Data []struct{ Embedding []float32 }
		}
		require.Equal(t, 200, s.call(t, "/v1/embeddings", map[string]any{"input": "a red star"}, &out), s.err.String())
		assert.Len(t, out.Data[0].Embedding, 128)
		assert.Equal(t, 0, s.end())
	}
	// Without a cache there is a folder for the time being.
	none := startServe(t, []string{"BGEVL_CACHE=" + filepath.Join(modelPath(t), "no")}, "--threads", "1")
	assert.Equal(t, 200, none.call(t, "/v1/index", nil, nil))
	assert.Equal(t, 0, none.end())
}

// TestServeFolder serves a folder with a damaged picture, and texts, behind a key.
func TestServeFolder(t *testing.T) {
	dir := t.TempDir()
	photos := filepath.Join(dir, "photos")
	require.NoError(t, os.CopyFS(photos, os.DirFS(filepath.Join(testenv.Root(t), "examples", "pictures"))))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "more", "photos"), 0o755))
	street, err := os.ReadFile(filepath.Join(photos, "street.png"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more", "photos", "copy of a street"), street, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(photos, "damaged.png"), street[:200], 0o600))
	require.NoError(t, os.Symlink("/etc", filepath.Join(photos, "etc")))
	keys, texts := filepath.Join(dir, "keys"), filepath.Join(dir, "texts")
	require.NoError(t, os.WriteFile(keys, []byte("first-key\n\nsecond-key\n"), 0o600))
	require.NoError(t, os.WriteFile(texts, []byte("a street\n\n a harbour at night\n"), 0o600))

	s := startServe(t, nil, "-m", modelPath(t), "--api-key-file", keys, "--texts", texts, photos, filepath.Join(dir, "more", "photos"))
	assert.Equal(t, 401, s.call(t, "/v1/index", nil, nil))
	s.key = "second-key"
	status := s.ready(t)
	assert.False(t, status.Demo)
	assert.Equal(t, []string{"photos", "photos (2)", "texts"}, status.Sources)
	assert.Equal(t, 7, status.Images)
	assert.Equal(t, 2, status.Texts)
	failures := map[string]string{}
	for _, f := range status.Failures {
		failures[f.Name] = f.Error
	}
	assert.Equal(t, map[string]string{"damaged.png": "a damaged picture", "etc": "it cannot be read"}, failures)
	assert.Contains(t, s.err.String(), "bgevl: serve: photos/damaged.png: ")

	var served, program struct{ Version string }
	require.Equal(t, 200, s.call(t, "/api/version", nil, &served))
	require.NoError(t, json.Unmarshal([]byte(bgevlRun(t, "", "version", "--json").out), &program))
	assert.Equal(t, program.Version, served.Version)

	// An upload finds itself, and the copy of it.
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile("image", "street.png")
	require.NoError(t, err)
	_, err = f.Write(street)
	require.NoError(t, err)
	require.NoError(t, w.WriteField("k", "2"))
	require.NoError(t, w.Close())
	r, err := http.NewRequest(http.MethodPost, s.url+"/v1/search", &b)
	require.NoError(t, err)
	r.Header.Set("Content-Type", w.FormDataContentType())
	var found servedResults
	require.Equal(t, 200, s.send(t, r, &found))
	require.Len(t, found.Results, 2)
	assert.Equal(t, "street.png", found.Results[0].Name)
	assert.Equal(t, "copy of a street", found.Results[1].Name)
	assert.InDelta(t, 1, found.Results[0].Score, 1e-4)
	require.Equal(t, 200, s.call(t, "/v1/search", map[string]any{"query": map[string]any{"text": "a street"}, "k": 1,
		"filter": map[string]any{"kind": "text"}}, &found))
	assert.Equal(t, "a street", *found.Results[0].Text)
	assert.Equal(t, 0, s.end())
}

// TestServeRefuses looks at mistakes of the command line.
func TestServeRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--address", "0.0.0.0:0"}, statusUsage, "set an API key"},
		{[]string{"--address", "nonsense"}, statusUsage, "want HOST:PORT"},
		{[]string{"none"}, statusError, "none"},
		{[]string{"--api-key-file", empty}, statusError, "holds no key"},
		{[]string{"--texts", "none"}, statusError, "none"},
		{[]string{"-m", "none.gguf", "--address", "127.0.0.1:0"}, statusError, "none.gguf"},
		{[]string{"--threads", "0", "--address", "127.0.0.1:0"}, statusUsage, "--threads 0"},
		{[]string{"--max-inputs", "0", "--address", "127.0.0.1:0"}, statusUsage, "--max-inputs 0"},
		{[]string{"--image-urls", "https://a/b", "-m", modelPath(t), "--address", "127.0.0.1:0"}, statusError, "a/b"},
	} {
		r := bgevlRun(t, "", append([]string{"serve"}, c.args...)...)
		assert.Equal(t, c.status, r.status, "%v: %s", c.args, r.err)
		assert.Empty(t, r.out, "%v", c.args)
		requireComplaint(t, r, c.want)
	}
	s := startServe(t, nil, "-m", modelPath(t), "--max-inputs", "300")
	texts := slices.Repeat([]string{"a street"}, 300) // more than a queue has by default
	assert.Equal(t, 200, s.call(t, "/v1/embeddings", map[string]any{"input": texts}, nil))
	assert.Equal(t, 413, s.call(t, "/v1/embeddings", map[string]any{"input": append(texts, "one more")}, nil))
	r := bgevlRun(t, "", "serve", "-m", modelPath(t), "--address", strings.TrimPrefix(s.url, "http://"))
	assert.Equal(t, statusError, r.status)
	requireComplaint(t, r, "address already in use")
	assert.Equal(t, 0, s.ready(t).Items, "a model without a folder has nothing to search")
}
