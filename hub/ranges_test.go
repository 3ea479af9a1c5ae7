package hub

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever the speed, the pieces follow one another from the start to the end of the file, none too large.
func TestPlanner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 200<<20).Draw(t, "size")
		from := rapid.Int64Range(0, size).Draw(t, "from")
		p := newPlanner(from, size)
		at := from
		for {
			s, ok := p.take()
			if !ok {
				break
			}
			require.Equal(t, at, s.from, "a gap or an overlap")
			require.Positive(t, s.length())
			require.LessOrEqual(t, s.length(), int64(maxPiece))
			require.True(t, s.length() >= minPiece || s.to == size, "a short piece in the middle")
			at = s.to
			p.took(s.length(), time.Duration(rapid.Int64Range(-1, int64(time.Minute)).Draw(t, "took")))
		}
		require.Equal(t, size, at)
		_, again := p.take()
		require.False(t, again)
	})
}

// What a header says of a span is what is read back from it.
func TestRangeHeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1<<50).Draw(t, "size")
		from := rapid.Int64Range(0, size-1).Draw(t, "from")
		s := span{from, rapid.Int64Range(from+1, size).Draw(t, "to")}
		interval, _ := strings.CutPrefix(s.header(), "bytes=")
		r, ok := parseContentRange("bytes " + interval + "/*")
		require.True(t, ok)
		require.Equal(t, contentRange{s, -1}, r)
	})
	for _, bad := range []string{
		"", "bytes", "bytes 1-2", "bytes 2-1/5", "bytes 0-5/5", "bytes -1-2/5", "bytes +1-2/5", "bytes 1-2/-5", "items 1-2/5", "bytes 1-2/5/6", "bytes 0x1-2/5",
		"bytes 1-2 /5", "bytes */5", "bytes 1-9223372036854775807/*", "bytes 1-2/99999999999999999999", "bytes ١-٢/٥", "bytes=1-2/5",
	} {
		_, ok := parseContentRange(bad)
		require.False(t, ok, bad)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes 0-4611686018427387903/4611686018427387904", "bytes 1-0/1", "bytes  1-2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := parseContentRange(text); ok {
			require.True(t, r.from >= 0 && r.to > r.from && (r.size < 0 || r.size >= r.to), "%q: %+v", text, r)
		}
	})
}

func FuzzLink(f *testing.F) {
	for _, s := range []string{
		`<https://a/b?c=d>; rel="next"`, `<x>; rel=prev, <y>; rel=next`, `<x>; title="a, <b>"; rel="next"`, `<`, `<>;rel=next`, `; rel=next`, `<x>;;rel = "NEXT"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		require.Contains(t, text, nextLink([]string{text}))
	})
}

func TestNextLink(t *testing.T) {
	for text, want := range map[string]string{
		`<https://a/b?c=d>; rel="next"`: "https://a/b?c=d", `<x>; rel=prev, <y>; rel=next`: "y", `<x>; rel="prev"`: "", "": "", `<x`: "", `x; rel=next`: "",
		`<x>; a=b; REL=NEXT`: "x",
	} {
		require.Equal(t, want, nextLink([]string{text}), text)
	}
	require.Equal(t, "y", nextLink([]string{`<x>; rel=first`, `<y>; rel=next`}))
}

// Whatever a listing says, what is taken from it can be stored below a folder.
func FuzzListing(f *testing.F) {
	oid := strings.Repeat("a", 40)
	for _, s := range []string{
		`[{"type":"file","oid":"` + oid + `","size":12,"path":"config.json"}]`,
		`[{"type":"file","oid":"` + oid + `","size":12,"path":"x.gguf","lfs":{"oid":"` + strings.Repeat("b", 64) + `","size":12,"pointerSize":134}}]`,
		`[{"type":"directory","oid":"x","size":0,"path":".."},{"type":"file","path":"../x.json"}]`, `[]`, `null`, `[{}]`, `[{"type":"file","size":1e30}]`,
		`[{"type":"file","path":"a\u0000","oid":"` + oid + `"}]`, `[{"type":"file","path":"nul.json","oid":"` + oid + `"}]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var entries []entry
		if json.Unmarshal([]byte(text), &entries) != nil {
			return
		}
		l := &Listing{}
		if l.add(entries) != nil || l.check() != nil {
			return
		}
		wanted, err := choose(l.Files, []string{"*"}, checkWanted, func(File) ([]byte, error) { return []byte("{}"), nil })
		if err != nil {
			return
		}
		for _, file := range wanted {
			require.Empty(t, portable(file.Path))
			require.NoError(t, file.Digest.check())
			require.True(t, file.Size >= 0)
			require.False(t, strings.ContainsAny(file.Path, "\\\x00"))
		}
	})
}

// Whatever a Location says, it leads to the web, and never from https to http.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"https://cdn/x?sig=1", "/a/b", "//host/x", "http://host/x", "file:///etc/passwd", "javascript:1", "", "https://a:b@c/", "\x00", "https://[::1", "http:x"} {
		f.Add(s)
	}
	from, err := url.Parse("https://hub/a/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		to, err := redirect(from, location)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.Equal(t, "https", to.Scheme)
		require.NotEmpty(t, to.Host)
		require.Nil(t, to.User)
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "x": 0, "1e9": 0, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:05 GMT": 0,
	} {
		h := http.Header{}
		h.Set("Retry-After", text)
		require.Equal(t, want, retryAfter(h, now), text)
	}
}

// The token goes where the endpoint is and nowhere else.
func TestTokenScope(t *testing.T) {
	for _, c := range []struct {
		endpoint, to string
		goes         bool
	}{
		{"https://hub", "https://hub/a", true}, {"https://hub", "https://HUB:443/a", true}, {"https://hub", "https://hub:444/a", false},
		{"https://hub", "http://hub/a", false}, {"https://hub", "https://hub.evil/a", false}, {"https://hub", "https://evil/hub", false},
		{"https://hub", "https://cdn.hub/a", false}, {"http://hub", "http://hub/a", false}, {"http://127.0.0.1:80", "http://127.0.0.1/a", true},
		{"http://localhost:8", "http://localhost:8/a", true}, {"http://localhost:8", "http://127.0.0.1:8/a", false},
	} {
		client, err := New(&Options{Endpoint: c.endpoint, Token: "t", CacheDir: t.TempDir()})
		require.NoError(t, err)
		u, err := url.Parse(c.to)
		require.NoError(t, err)
		require.Equal(t, c.goes, client.mayHaveToken(u), "%s -> %s", c.endpoint, c.to)
	}
}
