package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckAddress returns why an address to listen on, HOST:PORT, is refused: it is none of loopback and there is no API
// key, so that whoever reaches the machine could use it. Call it before listening; Serve checks again.
func CheckAddress(address string, keys []string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("server: address %q: want HOST:PORT", address)
	}
	if len(keys) > 0 || loopbackHost(host) {
		return nil
	}
	return fmt.Errorf("server: address %q: others could reach it: set an API key, or listen on 127.0.0.1", address)
}

// loopbackHost reports whether a host, as in an address or a Host header, without its port, can only mean this machine.
func loopbackHost(host string) bool {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// hostname returns the host of a Host header or of an Origin's authority, in lower case and without its port.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]"))
}

// call is what the server knows of a request beside its body.
type call struct {
	client  string // who takes turns: an API key's number where there are several, otherwise an address
	started time.Time
	lease   *lease // bytes that are held for the request
}

type callKey struct{}

// callOf returns the call of a request's context. Handlers are always called with one.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{client: "unknown", started: time.Now(), lease: &lease{}}
}

// Security headers of every response. A page that needs more than nothing sets a policy of its own.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

// guard is the outermost handler: it finds the route, refuses who may not use it, and bounds what the request may take.
func (s *Server) guard(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	out := &response{ResponseWriter: w, timeout: s.times.write}
	rt, next := s.find(r)
	c := &call{started: time.Now(), client: s.clientOf(r)}
	c.lease = s.held.lease(c.client)
	defer c.lease.end()
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	s.boundBody(out, r, c.lease)
	defer s.done(out, r, rt, c)
	if err := cmp.Or(s.checkHost(r), s.checkOrigin(r)); err != nil {
		s.fail(out, r, rt.dialect, err)
		return
	}
	if !rt.open && !s.authorized(r) {
		// A browser asks for the key as a password; a program reads the first challenge.
		out.Header().Add("WWW-Authenticate", `Bearer realm="bgevl"`)
		if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
			out.Header().Add("WWW-Authenticate", `Basic realm="bgevl: the password is the API key", charset="UTF-8"`)
		}
		s.fail(out, r, rt.dialect, &apiError{status: http.StatusUnauthorized, code: codeKey, message: "no API key, or a wrong one"})
		return
	}
	next.ServeHTTP(out, r)
}

// find returns the route of a request and what answers it. A request that has none gets a route that says so.
func (s *Server) find(r *http.Request) (route, http.Handler) {
	next, pattern := s.mux.Handler(r)
	if rt, ok := s.table[pattern]; ok {
		return rt, s.mux // not next, which would lack the path's values
	}
	none := route{pattern: "none", dialect: openAIError}
	return none, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe := &statusOnly{header: http.Header{}}
		next.ServeHTTP(probe, r)
		err := &apiError{status: http.StatusNotFound, code: codeNotFound, message: "no such route"}
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			err = &apiError{status: probe.status, code: codeMethod, message: "the route has other methods: see the header Allow"}
		}
		s.fail(w, r, none.dialect, err)
	})
}

// statusOnly is a response that keeps its status and header.
type statusOnly struct {
	header http.Header
	status int
}

func (o *statusOnly) Header() http.Header         { return o.header }
func (o *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (o *statusOnly) WriteHeader(status int)      { o.status = status }

func forbidden(message string) *apiError {
	return &apiError{status: http.StatusForbidden, code: codeForbidden, message: message}
}

// checkHost refuses requests to loopback under a name that is none of its own: a web page whose name was bound to
// 127.0.0.1 after it was loaded would send such.
func (s *Server) checkHost(r *http.Request) error {
	if len(s.keys) > 0 && !localLoopback(r) {
		return nil
	}
	host := hostname(r.Host)
	if loopbackHost(host) || slices.Contains(s.opt.AllowedHosts, host) {
		return nil
	}
	return forbidden("the header Host has a name that this server does not go by: start it with that name as an allowed host")
}

// localLoopback reports whether a request came in on a loopback address, or on something that has none.
func localLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return true
	}
	tcp, ok := addr.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// checkOrigin refuses what a browser sends for a page of somebody else. There is no CORS: such a page could not read the
// answer, but it could make the server work.
func (s *Server) checkOrigin(r *http.Request) error {
	const refusal = "requests from pages of other origins are refused: start the server with their name as an allowed host"
	origins := r.Header.Values("Origin")
	if len(origins) > 1 {
		return forbidden(refusal)
	}
	if len(origins) == 1 {
		u, err := url.Parse(origins[0])
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return forbidden(refusal)
		}
		if slices.Contains(s.opt.AllowedHosts, hostname(u.Host)) {
			return nil
		}
		if !sameAuthority(u, r.Host) {
			return forbidden(refusal)
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		navigates := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if !navigates {
			return forbidden(refusal)
		}
	}
	return nil
}

// sameAuthority reports whether an origin is of the host and port of a Host header.
func sameAuthority(origin *url.URL, host string) bool {
	standard := map[string]string{"http": "80", "https": "443"}[origin.Scheme]
	port := func(authority string) string {
		if _, port, err := net.SplitHostPort(authority); err == nil {
			return port
		}
		return standard
	}
	return hostname(origin.Host) == hostname(host) && port(origin.Host) == port(host)
}

// hashKeys returns the digests that keys are compared by.
func hashKeys(keys []string) ([][sha256.Size]byte, error) {
	var hashed [][sha256.Size]byte
	for i, key := range keys {
		bad := strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
		if key == "" || bad {
			return nil, fmt.Errorf("server: API key %d: want one or more printable ASCII characters without spaces", i+1)
		}
		hashed = append(hashed, sha256.Sum256([]byte(key)))
	}
	return hashed, nil
}

// keyIndex returns the place of the key that a request has, or -1. How long it takes tells nothing about the keys:
// digests are compared, in constant time, and all of them.
func (s *Server) keyIndex(r *http.Request) int {
	found := -1
	for _, given := range givenKeys(r) {
		digest := sha256.Sum256([]byte(given))
		for i := range s.keys {
			found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], s.keys[i][:]), i, found)
		}
	}
	return found
}

// givenKeys returns what a request offers as keys, one a header that can hold one.
func givenKeys(r *http.Request) []string {
	var keys []string
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		keys = append(keys, strings.TrimSpace(token))
	}
	if _, password, ok := r.BasicAuth(); ok {
		keys = append(keys, password)
	}
	for _, name := range []string{"X-Api-Key", "Api-Key"} {
		if key := r.Header.Get(name); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func (s *Server) authorized(r *http.Request) bool { return len(s.keys) == 0 || s.keyIndex(r) >= 0 }

// clientOf says who a request is of. Addresses are without ports, and of IPv6 the network, of which one machine may have
// every address.
func (s *Server) clientOf(r *http.Request) string {
	if len(s.keys) > 1 {
		if i := s.keyIndex(r); i >= 0 {
			return "key " + strconv.Itoa(i)
		}
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	addr := remote.Addr().Unmap().WithZone("")
	if prefix, err := addr.Prefix(64); addr.Is6() && err == nil {
		return prefix.String()
	}
	return addr.String()
}
