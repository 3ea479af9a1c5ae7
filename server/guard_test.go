package server

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckAddress(t *testing.T) {
	key := []string{"k"}
	for _, c := range []struct {
		address string
		keys    []string
		ok      bool
	}{
		{"127.0.0.1:8080", nil, true}, {"127.8.9.1:0", nil, true}, {"localhost:8080", nil, true}, {"[::1]:8080", nil, true},
		{"0.0.0.0:8080", nil, false}, {":8080", nil, false}, {"[::]:8080", nil, false}, {"192.168.0.7:8080", nil, false},
		{"example.com:8080", nil, false}, {"localhost.example.com:8080", nil, false}, {"0:8080", nil, false}, {"127.1:8080", nil, false},
		{"0.0.0.0:8080", key, true}, {":8080", key, true}, {"example.com:8080", key, true},
		{"8080", key, false}, {"", nil, false},
	} {
		assert.Equal(t, c.ok, CheckAddress(c.address, c.keys) == nil, c.address)
	}
}

// TestServeRefusesOpenAddress is the last line against a server that anybody could reach.
func TestServeRefusesOpenAddress(t *testing.T) {
	ln, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	assert.ErrorContains(t, newTest(t, newFake(), nil).Serve(t.Context(), ln), "set an API key")
	_, err = ln.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"empty key": {APIKeys: []string{"good", ""}}, "key with a space": {APIKeys: []string{"a b"}},
		"MaxBody": {MaxBody: -1}, "MaxInputs": {MaxInputs: -1}, "queue below inputs": {MaxQueue: 4}, "MaxHeld": {MaxHeld: 1 << 20},
		"host with scheme": {AllowedHosts: []string{"http://x"}}, "image host": {ImageURLs: []string{"https://x.com/"}},
		"image address": {ImageURLs: []string{"127.0.0.1"}}, "Workers": {Workers: -2},
	} {
		_, err := New(newFake(), &o)
		assert.ErrorContains(t, err, "server: ", name)
	}
	s, err := New(newFake(), nil)
	require.NoError(t, err)
	assert.Equal(t, 1, s.opt.MaxBatch, "a processor gains nothing by batches")
	onDevice := newFake()
	onDevice.info.DeviceLayers = 24
	s, err = New(onDevice, nil)
	require.NoError(t, err)
	assert.Equal(t, 32, s.opt.MaxBatch)
}

// paths returns a path for every route of a server.
func paths(s *Server) map[string]string {
	all := map[string]string{}
	for pattern, rt := range s.table {
		method, path, _ := strings.Cut(pattern, " ")
		if !rt.open {
			all[strings.ReplaceAll(strings.ReplaceAll(path, "{id...}", "x"), "{$}", "")] = method
		}
	}
	return all
}

// TestKeyOnEveryRoute plays twelve tricks against the key on every route but liveness.
func TestKeyOnEveryRoute(t *testing.T) {
	const key = "secret-key"
	m := newFake()
	s := newTest(t, m, &Options{APIKeys: []string{key, "another"}})
	h := s.Handler()
	require.GreaterOrEqual(t, len(paths(s)), 4)
	for path, method := range paths(s) {
		for name, try := range map[string]func() reply{
			"none":       func() reply { return ask(h, method, path, "{}") },
			"empty":      func() reply { return ask(h, method, path, "{}", "Authorization", "Bearer ", "X-Api-Key", "") },
			"prefix":     func() reply { return ask(h, method, path, "{}", "Authorization", "Bearer "+key[:9]) },
			"longer":     func() reply { return ask(h, method, path, "{}", "Authorization", "Bearer "+key+"x") },
			"case":       func() reply { return ask(h, method, path, "{}", "Authorization", "Bearer "+strings.ToUpper(key)) },
			"scheme":     func() reply { return ask(h, method, path, "{}", "Authorization", "Token "+key) },
			"bare":       func() reply { return ask(h, method, path, "{}", "Authorization", key) },
			"two joined": func() reply { return ask(h, method, path, "{}", "Authorization", "Bearer x, Bearer "+key) },
			"second header": func() reply {
				return ask(h, method, path, "{}", "Authorization", "Bearer x", "Authorization", "Bearer "+key)
			},
			"query":          func() reply { return ask(h, method, path+"?api_key="+key+"&key="+key, "{}") },
			"user, not pass": func() reply { return ask(h, method, path, "{}", "Authorization", "Basic c2VjcmV0LWtleTo=") },
			"cookie": func() reply {
				return ask(h, method, path, "{}", "Cookie", "api_key="+key+"; Authorization=Bearer "+key)
			},
			"proxy says": func() reply {
				return ask(h, method, path, "{}", "X-Forwarded-For", "127.0.0.1", "X-Original-URL", "/ping")
			},
			"other method": func() reply { return ask(h, http.MethodOptions, path, "", "X-HTTP-Method-Override", method) },
			"HEAD":         func() reply { return ask(h, http.MethodHead, path, "") },
			"double slash": func() reply { return ask(h, method, "//"+path, "{}") },
			"dots":         func() reply { return ask(h, method, "/ping/.."+path, "{}") },
			"escaped":      func() reply { return ask(h, method, "/%2e"+path, "{}") },
			"absolute":     func() reply { return ask(h, method, "http://localhost/ping/../"+path, "{}") },
		} {
			assert.Equal(t, 401, try().status, "%s %s: %s", method, path, name)
		}
	}
	assert.Empty(t, m.seen(), "nothing was computed for anybody")
	for _, path := range []string{"/nothing", "/ping/", "/ping/x", "/Ping", "/"} {
		assert.Equal(t, 401, ask(h, "GET", path, "").status, path)
	}
	assert.Equal(t, 401, ask(h, "POST", "/ping", "{}").status, "another method than liveness has")
	assert.Equal(t, 200, ask(h, "GET", "/ping", "").status)
}

// TestKeyIsTaken sends the key in every way that clients do.
func TestKeyIsTaken(t *testing.T) {
	h := newTest(t, newFake(), &Options{APIKeys: []string{"first", "second"}}).Handler()
	for _, header := range [][2]string{
		{"Authorization", "Bearer first"}, {"Authorization", "bearer second"}, {"Authorization", "Bearer  second "},
		{"x-api-key", "second"}, {"api-key", "first"}, {"Authorization", "Basic OnNlY29uZA=="}, {"Authorization", "Basic dXNlcjpmaXJzdA=="},
	} {
		assert.Equal(t, 200, ask(h, "GET", "/v1/models", "", header[0], header[1]).status, header)
	}
	r := ask(h, "GET", "/v1/models", "", "Accept", "text/html,*/*")
	assert.Equal(t, []string{`Bearer realm="bgevl"`, `Basic realm="bgevl: the password is the API key", charset="UTF-8"`}, r.header.Values("WWW-Authenticate"))
	r = ask(h, "GET", "/v1/models", "")
	assert.Equal(t, []string{`Bearer realm="bgevl"`}, r.header.Values("WWW-Authenticate"))
	assert.NotContains(t, r.body, "first")
}

// TestHostAndOrigin plays a web page's tricks on a server on loopback.
func TestHostAndOrigin(t *testing.T) {
	h := newTest(t, newFake(), &Options{AllowedHosts: []string{"bge.example.org"}}).Handler()
	for _, c := range []struct {
		host, origin string
		ok           bool
	}{
		{"localhost:8080", "", true}, {"127.0.0.1:8080", "", true}, {"[::1]:8080", "", true}, {"LOCALHOST", "", true},
		{"bge.example.org", "", true}, {"bge.example.org:443", "https://bge.example.org", true},
		{"localhost:8080", "http://localhost:8080", true}, {"127.0.0.1", "http://127.0.0.1", true}, {"localhost:80", "http://localhost", true},
		{"localhost:8080", "https://bge.example.org", true},

		{"evil.example", "", false}, {"localhost.evil.example:8080", "", false}, {"127.0.0.1.evil.example", "", false},
		{"evil.example:8080", "http://evil.example:8080", false}, {"0.0.0.0:8080", "", false}, {"192.168.0.1:8080", "", false},
		{"", "", false}, {"bge.example.org.", "", false}, {"x.bge.example.org", "", false},
		{"localhost:8080", "http://evil.example", false}, {"localhost:8080", "http://localhost:3000", false},
		{"localhost:8080", "http://127.0.0.1:8080", false}, {"localhost:8080", "null", false}, {"localhost:8080", "file://", false},
		{"localhost:8080", "http://localhost:8080@evil.example", false}, {"localhost:8080", "http://localhost:8080.evil.example", false},
		{"localhost:8080", "chrome-extension://localhost:8080", false}, {"localhost:8080", "http://x@localhost:8080", false},
		{"localhost:8080", "https://x.bge.example.org", false}, {"localhost:8080", "http://bge.example.org.evil.example", false},
	} {
		header := []string{"Host", c.host}
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		want := 403
		if c.ok {
			want = 200
		}
		for _, method := range []string{"GET", "POST"} {
			path := map[string]string{"GET": "/v1/models", "POST": "/v1/embeddings"}[method]
			r := ask(h, method, path, `{"input":"x"}`, append(header, "Content-Type", "application/json")...)
			assert.Equal(t, want, r.status, "%s host %q, origin %q", method, c.host, c.origin)
			assert.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
		}
	}
	assert.Equal(t, 403, ask(h, "GET", "/v1/models", "", "Origin", "http://localhost:8080", "Origin", "http://evil.example").status)
}

// TestFetchMetadata refuses what a browser says comes from elsewhere, but for following a link to a page.
func TestFetchMetadata(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	with := func(method, site, mode, dest string) int {
		return ask(h, method, "/v1/models", "", "Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest).status
	}
	assert.Equal(t, 200, with("GET", "same-origin", "cors", "empty"))
	assert.Equal(t, 200, with("GET", "none", "navigate", "document"))
	assert.Equal(t, 200, with("GET", "cross-site", "navigate", "document"))
	assert.Equal(t, 403, with("GET", "cross-site", "no-cors", "image"))
	assert.Equal(t, 403, with("GET", "same-site", "cors", "empty"), "another port of this machine")
	assert.Equal(t, 403, with("GET", "cross-site", "navigate", "iframe"))
	assert.Equal(t, 403, with("POST", "cross-site", "navigate", "document"), "a form")
}

// TestHostWithKey leaves names alone where a key is asked for and the address is none of loopback.
func TestHostWithKey(t *testing.T) {
	h := newTest(t, newFake(), &Options{APIKeys: []string{"k"}}).Handler()
	ask := func(local net.Addr) int {
		r := httptest.NewRequest(http.MethodGet, "/v1/models", nil)
		r.Host = "bge.example.org"
		r.Header.Set("Authorization", "Bearer k")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(contextWithLocal(r, local)))
		return w.Code
	}
	assert.Equal(t, 200, ask(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}))
	assert.Equal(t, 403, ask(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}))
}

func TestSecurityHeaders(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	for _, r := range []reply{ask(h, "GET", "/v1/models", ""), ask(h, "GET", "/nothing", ""), ask(h, "GET", "/metrics", "")} {
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin"} {
			assert.Equal(t, want, r.header.Get(name), name)
		}
	}
}

func TestNoSuchRoute(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	r := ask(h, "GET", "/nothing", "")
	assert.Equal(t, 404, r.status)
	assert.Contains(t, r.body, `"code":"not_found"`)
	r = ask(h, "GET", "/v1/embeddings", "")
	assert.Equal(t, 405, r.status)
	assert.Equal(t, "POST", r.header.Get("Allow"))
	assert.Contains(t, r.body, `"code":"method_not_allowed"`)
}

// TestClients says whom requests are counted against.
func TestClients(t *testing.T) {
	one := newTest(t, newFake(), &Options{APIKeys: []string{"k"}})
	two := newTest(t, newFake(), &Options{APIKeys: []string{"k", "l"}})
	client := func(s *Server, remote, key string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Api-Key", key)
		r.Header.Set("X-Forwarded-For", "9.9.9.9")
		return s.clientOf(r)
	}
	assert.Equal(t, "192.0.2.1", client(one, "192.0.2.1:5", "k"))
	assert.Equal(t, "192.0.2.1", client(one, "[::ffff:192.0.2.1]:5", "k"))
	assert.Equal(t, "2001:db8:1:2::/64", client(one, "[2001:db8:1:2:3:4:5:6]:5", "k"))
	assert.Equal(t, "key 0", client(two, "192.0.2.1:5", "k"))
	assert.Equal(t, "key 1", client(two, "192.0.2.1:5", "l"))
	assert.Equal(t, "192.0.2.1", client(two, "192.0.2.1:5", "wrong"))
	assert.Equal(t, "unknown", client(two, "@", "wrong"))
}
