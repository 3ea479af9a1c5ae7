package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"image/color"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeDNS resolves names for a fetcher that would ask the network, and records where the fetcher would have connected to.
// An address that its Control lets through is replaced by a server of the test's.
type fakeDNS struct {
	names map[string][]string // addresses, one for each time that the name is asked for; the last one stays

	mu      sync.Mutex
	asked   map[string]int
	allowed []string // addresses that Control let through
	refused int
}

// install makes a fetcher resolve with d and connect to the test server in place of everything public.
func (d *fakeDNS) install(f *fetcher, public *httptest.Server) {
	d.asked = map[string]int{}
	transport := f.client.Transport.(*http.Transport)
	control := f.dialer.Control
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// What net.Dialer does: resolve, then let Control look at the address, then connect.
		to := net.JoinHostPort(d.resolve(host), port)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := control(network, to, nil); err != nil {
			d.refused++
			return nil, err
		}
		d.allowed = append(d.allowed, to)
		return net.Dial("tcp", public.Listener.Addr().String())
	}
	pool := x509.NewCertPool()
	pool.AddCert(public.Certificate())
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "example.com"} // that of httptest's certificate
}

func (d *fakeDNS) resolve(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	addresses := d.names[host]
	if len(addresses) == 0 {
		return "93.184.215.14" // a public one
	}
	i := min(d.asked[host], len(addresses)-1)
	d.asked[host]++
	return addresses[i]
}

// publicServer answers as some host of the Internet would: /redirect?to=URL redirects, others are as their name says.
func publicServer(t *testing.T, picture []byte) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/cat.png", func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Referer"))
		assert.Empty(t, r.Header.Get("Authorization"))
		assert.Empty(t, r.Header.Get("Cookie"))
		w.Write(picture)
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		w.Header()["Location"] = []string{r.URL.Query().Get("to")}
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/loop/{n}", func(w http.ResponseWriter, r *http.Request) {
		n := len(r.PathValue("n"))
		to := "/loop/" + strings.Repeat("x", n-1)
		if n == 1 {
			to = "/cat.png"
		}
		http.Redirect(w, r, to, http.StatusMovedPermanently)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 21 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/declared", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999999") })
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<17)) })
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// fetching returns a server that may fetch from any public host, and what stands in for the network.
func fetching(t *testing.T, hosts ...string) (*Server, *fakeDNS) {
	t.Helper()
	s := newTest(t, newFake(), &Options{ImageURLs: hosts})
	d := &fakeDNS{names: map[string][]string{
		"local.test": {"127.0.0.1"}, "six.test": {"::1"}, "meta.test": {"169.254.169.254"}, "ten.test": {"10.1.2.3"},
		"metadata.google.internal": {"169.254.169.254"}, "mapped.test": {"::ffff:127.0.0.1"}, "nat64.test": {"64:ff9b::7f00:1"},
		"rebind.test": {"93.184.215.14", "127.0.0.1"}, "zero.test": {"0.0.0.0"}, "cgnat.test": {"100.64.1.1"}, "ula.test": {"fd00::1"},
		"link.test": {"fe80::1"}, "sixtofour.test": {"2002:7f00:1::"}, "teredo.test": {"2001:0:7f00:1::"}, "multi.test": {"224.0.0.1"},
		"broad.test": {"255.255.255.255"}, "doc.test": {"192.0.2.1"}, "bench.test": {"198.18.0.1"}, "compat.test": {"::127.0.0.1"},
		"private.test": {"192.168.1.1"}, "other.test": {"172.16.0.1"}, "local64.test": {"64:ff9b:1::7f00:1"},
		"127.0.0.1.nip.io": {"127.0.0.1"}, "sitelocal.test": {"fec0::1"},
	}}
	d.install(s.fetcher, publicServer(t, pngBytes(t, color.White)))
	return s, d
}

// insideURLs try to reach what they must not.
func insideURLs() []string {
	urls := []string{
		// No https, or no URL at all.
		"http://example.com/cat.png", "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1:70/_x",
		"dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "jar:https://example.com!/x", "javascript:alert(1)", "HTTP://127.0.0.1/", "//127.0.0.1/x:",
		"https:127.0.0.1", "https:///127.0.0.1:443", "https://", "https://:443/", "unix:/var/run/docker.sock",
		// Addresses, in every spelling.
		"https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://0x7f.1/",
		"https://017700000001/", "https://127.0.0.1./", "https://0/", "https://0.0.0.0/", "https://[::1]/", "https://[::]/",
		"https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[fe80::1%25lo]/", "https://[::127.0.0.1]/",
		"https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://192.168.1.1/", "https://93.184.215.14/",
		// Names that mean this machine, or are none.
		"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost1/", "https://intranet/", "https://①②⑦.⓪.⓪.①/",
		// What two parsers read differently.
		"https://example.com\\@127.0.0.1/", "https://127.0.0.1\\@example.com/", "https://example.com@127.0.0.1/", "https://user:pass@example.com/cat.png",
		"https://example.com%2f@127.0.0.1/", "https://example.com\t.evil.com/", "https://exa mple.com/", "https://example.com:22/", "https://example.com:8443/",
		"https://example.com:0443x/", "https://127.0.0.1#@example.com/", "https://127.0.0.1?@example.com/", "https://example.com\r\nHost: x/", "\\\\127.0.0.1\\share:x",
	}
	for _, name := range []string{"local", "six", "meta", "ten", "mapped", "nat64", "zero", "cgnat", "ula", "link", "sixtofour", "teredo", "multi", "broad",
		"doc", "bench", "compat", "private", "other", "local64", "sitelocal"} {
		urls = append(urls, "https://"+name+".test/cat.png")
	}
	for _, to := range []string{"http://example.com/cat.png", "https://local.test/", "https://127.0.0.1/", "https://[::1]/", "//meta.test/", "file:///etc/passwd",
		"https://user@example.com/cat.png", "https://example.com:22/", "https://2130706433/", "https://localhost/", "https://metadata.google.internal/"} {
		urls = append(urls, "https://example.com/redirect?to="+to)
	}
	return append(urls, "https://metadata.google.internal/computeMetadata/v1/", "https://127.0.0.1.nip.io/", "https://example.com/loop/xxxx",
		"https://example.com/large", "https://example.com/declared", "https://example.com/header", "https://example.com/missing",
		"https://rebind.test/redirect?to=https://rebind.test/cat.png")
}

// TestInsideURLs sends all of them: nothing connects but to public addresses, and the answer is always the same.
func TestInsideURLs(t *testing.T) {
	s, d := fetching(t, "*")
	urls := insideURLs()
	require.GreaterOrEqual(t, len(urls), 60)
	h := s.Handler()
	first := ""
	for _, u := range urls {
		r := post(h, "/v1/embeddings", mustJSON(t, map[string]any{"input": []any{map[string]string{"image": u}}}))
		assert.Equal(t, 400, r.status, u)
		if first == "" {
			first = r.body
		}
		assert.Equal(t, first, r.body, u)
	}
	for _, to := range d.allowed {
		assert.Equal(t, "93.184.215.14:443", to)
	}
	assert.GreaterOrEqual(t, d.refused, 25, "names were resolved and refused by address")
	assert.Contains(t, first, "cannot be fetched")
	assert.Zero(t, s.held.inUse())
}

// TestFetch gets pictures where that is allowed.
func TestFetch(t *testing.T) {
	s, d := fetching(t, "example.com", "*.images.test")
	h := s.Handler()
	status := func(u string) int {
		return post(h, "/v1/embeddings", mustJSON(t, map[string]any{"input": []string{u}, "modality": "image"})).status
	}
	for _, u := range []string{"https://example.com/cat.png", "HTTPS://EXAMPLE.com:443/cat.png?x=1#y", "https://a.images.test/cat.png",
		"https://example.com/loop/xxx", "https://example.com/redirect?to=https://b.images.test/cat.png"} {
		assert.Equal(t, 200, status(u), u)
	}
	for _, u := range []string{"https://images.test/cat.png", "https://example.org/cat.png", "https://xexample.com/cat.png", "https://example.com.evil.test/cat.png",
		"https://example.com./cat.png", "https://evilimages.test/cat.png", "https://example.com/redirect?to=https://example.org/cat.png"} {
		assert.Equal(t, 400, status(u), u)
	}
	for _, to := range d.allowed {
		assert.Equal(t, "93.184.215.14:443", to)
	}
	var many []string
	for range 32 {
		many = append(many, "https://example.com/cat.png")
	}
	r := post(h, "/v1/embeddings", mustJSON(t, map[string]any{"input": many, "modality": "image"}))
	assert.Equal(t, 200, r.status, r.body)
	many[17] = "https://example.com/missing"
	r = post(h, "/v1/embeddings", mustJSON(t, map[string]any{"input": many, "modality": "image"}))
	assert.Equal(t, 400, r.status)
	assert.Contains(t, r.body, `"param":"input[17]"`)
}

// TestFetchOff fetches nothing where nobody asked for it.
func TestFetchOff(t *testing.T) {
	s := newTest(t, newFake(), nil)
	d := &fakeDNS{}
	d.install(s.fetcher, publicServer(t, pngBytes(t, color.White)))
	r := post(s.Handler(), "/v1/embeddings", `{"input":"https://example.com/cat.png","modality":"image"}`)
	assert.Equal(t, 400, r.status)
	assert.Contains(t, r.body, "image URLs are off")
	assert.Empty(t, d.allowed)
	assert.Zero(t, d.refused)
}

// TestDialerControl makes sure that the check is where the real dialer calls it.
func TestDialerControl(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	s := newTest(t, newFake(), &Options{ImageURLs: []string{"*"}})
	transport := s.fetcher.client.Transport.(*http.Transport)
	for _, address := range []string{ln.Addr().String(), strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)} {
		_, err = transport.DialContext(t.Context(), "tcp", address)
		assert.ErrorIs(t, err, errRefused, address)
	}
	assert.Nil(t, transport.Proxy, "a proxy would resolve names itself")
}

// TestPublicAddress lists edges of what is public.
func TestPublicAddress(t *testing.T) {
	for address, public := range map[string]bool{
		"8.8.8.8": true, "93.184.215.14": true, "100.63.255.255": true, "100.128.0.0": true, "172.15.255.255": true, "172.32.0.0": true,
		"2606:4700::1111": true, "2a00:1450::1": true, "2001:4860:4860::8888": true, "2001:200::1": true,
		"0.1.2.3": false, "10.0.0.0": false, "100.64.0.0": false, "100.127.255.255": false, "127.255.255.255": false, "169.254.0.1": false,
		"172.16.0.0": false, "172.31.255.255": false, "192.0.0.8": false, "192.168.255.255": false, "198.19.255.255": false, "203.0.113.9": false,
		"224.0.0.251": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:8.8.8.8": false, "64:ff9b::8.8.8.8": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false,
		"2001:db8::1": false, "2001:20::1": false, "2002:808:808::1": false, "3fff::1": false, "5f00::1": false, "fc00::1": false, "fdff::1": false,
		"fe80::1": false, "febf::1": false, "fec0::1": false, "ff02::1": false, "4000::1": false,
	} {
		assert.Equal(t, public, publicAddress(netip.MustParseAddr(address)), address)
	}
	assert.Error(t, controlPublic("tcp", "8.8.8.8:80", syscall.RawConn(nil)))
	assert.NoError(t, controlPublic("tcp", "8.8.8.8:443", nil))
	assert.Error(t, controlPublic("tcp", "nonsense", nil))
}

// TestFetchHolds counts what is fetched against the bytes that may be held.
func TestFetchHolds(t *testing.T) {
	s, _ := fetching(t, "*")
	s.held.total = 4 << 20
	r := post(s.Handler(), "/v1/embeddings", `{"input":"https://example.com/large","modality":"image"}`)
	assert.Equal(t, 429, r.status, r.body)
	assert.Zero(t, s.held.inUse())
	r = post(s.Handler(), "/v1/embeddings", `{"input":"https://example.com/cat.png","modality":"image"}`)
	assert.Equal(t, 200, r.status, r.body)
}

// TestNewPicture reads what strings in bodies may hold.
func TestNewPicture(t *testing.T) {
	s := newTest(t, newFake(), nil)
	data := []byte{0xfb, 0xff, 0xfe, 1, 2, 3, 4} // base64 of which needs - and _
	for _, ref := range []string{
		base64.StdEncoding.EncodeToString(data), base64.RawStdEncoding.EncodeToString(data), base64.URLEncoding.EncodeToString(data),
		base64.RawURLEncoding.EncodeToString(data), "data:image/png;base64," + base64.StdEncoding.EncodeToString(data),
		"DATA:;BASE64," + base64.StdEncoding.EncodeToString(data), "data:image/png;charset=x;base64," + base64.RawURLEncoding.EncodeToString(data),
		base64.StdEncoding.EncodeToString(data) + "\n",
	} {
		p, err := s.newPicture(ref, "p")
		if assert.NoError(t, err, ref) {
			assert.Equal(t, data, p.data)
		}
	}
	for _, ref := range []string{"", "=", "====", "data:", "data:,", "data:;base64,", "data:image/png,x", "data:image/png;base64", "not base64!", "ab cd", "a",
		"/etc/passwd.", "../../x.png", "C:\\x.png", "http://x", "file:x", "\x00", "AAAA=A", "é"} {
		_, err := s.newPicture(ref, "p")
		if assert.Error(t, err, ref) {
			e := seen(err)
			assert.Equal(t, fmt.Sprint(400, codeImage, "p"), fmt.Sprint(e.status, e.code, e.param))
		}
	}
}
