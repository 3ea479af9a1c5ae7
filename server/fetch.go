package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Bounds of fetching pictures.
const (
	fetchTime      = 10 * time.Second // for one picture, redirects included
	fetchBytes     = 20 << 20
	fetchRedirects = 3
	fetchesCall    = 4  // at a time, of a request
	fetchesServer  = 16 // at a time, of all requests
)

// fetcher gets pictures from public https servers that the operator has listed. Whatever goes wrong has one and the same
// error, so that nobody can learn from it what lies in the server's network.
type fetcher struct {
	hosts  []string // "example.com", ".example.com" for those below it, "" for any
	client *http.Client
	slots  *semaphore.Weighted
	dialer *net.Dialer // whose Control looks at every address, after names were resolved
}

// newFetcher returns a fetcher for patterns of Options.ImageURLs.
func newFetcher(patterns []string) (*fetcher, error) {
	f := &fetcher{slots: semaphore.NewWeighted(fetchesServer)}
	for _, p := range patterns {
		host := strings.ToLower(p)
		switch {
		case host == "*":
			host = ""
		case strings.HasPrefix(host, "*."):
			host = host[1:]
		}
		if host != "" && !publicName("x"+host) {
			return nil, fmt.Errorf("server: option ImageURLs: %q: want a name, *.NAME or *", p)
		}
		f.hosts = append(f.hosts, host)
	}
	f.dialer = &net.Dialer{Timeout: fetchTime, Control: controlPublic}
	f.client = &http.Client{CheckRedirect: f.redirect, Transport: &http.Transport{
		Proxy:                  nil, // a proxy would connect to what only it has resolved
		DialContext:            f.dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true, // a connection is of one request, so that each has its address checked
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	return f, nil
}

func (f *fetcher) off() bool { return len(f.hosts) == 0 }

// controlPublic refuses to connect to anything but the https port of a public address.
func controlPublic(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || to.Port() != 443 || !publicAddress(to.Addr()) {
		return errRefused
	}
	return nil
}

var errRefused = errors.New("refused")

// reserved are the networks within what is otherwise public that are none of the Internet's: IANA's special-purpose
// registries, and those that carry another address inside.
func reserved() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
		"192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// publicAddress reports whether an address is one of the public Internet. Of IPv6 only 2000::/3 is: IPv4 in disguise,
// NAT64 and all that is local lie elsewhere or are reserved.
func publicAddress(a netip.Addr) bool {
	if a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	if a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return false
	}
	return !slices.ContainsFunc(reserved(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// publicName reports whether a host, in lower case, is a name of more than one part, and no address in any of the ways
// that those are written: all of them end in a part that begins with a digit, or have a colon.
func publicName(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if len(host) > 253 || len(last) == len(host) || last == "" || last[0] >= '0' && last[0] <= '9' {
		return false
	}
	for part := range strings.SplitSeq(host, ".") {
		if part == "" || len(part) > 63 {
			return false
		}
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// allowed reports whether a URL may be asked for. What its name stands for is looked at when it is connected to.
func (f *fetcher) allowed(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Port() != "" && u.Port() != "443" || !publicName(host) {
		return false
	}
	return slices.ContainsFunc(f.hosts, func(h string) bool {
		return h == "" || h == host || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h)
	})
}

// redirect is http.Client's CheckRedirect.
func (f *fetcher) redirect(r *http.Request, via []*http.Request) error {
	if len(via) > fetchRedirects || !f.allowed(r.URL) {
		return errRefused
	}
	r.Header.Del("Referer") // the URL before may hold a secret
	return nil
}

// fetch gets a picture. The error says to the operator what went wrong, and nothing of it is for the client.
func (f *fetcher) fetch(ctx context.Context, raw string, l *lease) ([]byte, error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return nil, errRefused
	}
	u, err := url.Parse(raw)
	if err != nil || !f.allowed(u) {
		return nil, errRefused
	}
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer f.slots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errRefused
	}
	r.Header.Set("User-Agent", "bgevl")
	r.Header.Set("Accept", "image/*")
	response, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ContentLength > fetchBytes {
		return nil, fmt.Errorf("status %d, length %d", response.StatusCode, response.ContentLength)
	}
	return readLeased(response.Body, l)
}

// readLeased reads at most fetchBytes, which the lease holds as they come.
func readLeased(r io.Reader, l *lease) ([]byte, error) {
	const piece = 256 << 10
	var data []byte
	for {
		if !l.take(piece) {
			return nil, noMemory()
		}
		n := len(data)
		data = slices.Grow(data, piece)[:n+piece]
		got, err := io.ReadFull(r, data[n:])
		data = data[:n+got]
		switch {
		case len(data) > fetchBytes:
			return nil, errors.New("too large")
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return data, nil
		case err != nil:
			return nil, err
		}
	}
}

// fetchPictures gets the pictures of inputs that are URLs.
func (s *Server) fetchPictures(ctx context.Context, c *call, inputs []input) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(fetchesCall)
	for i := range inputs {
		p := inputs[i].picture
		if p == nil || p.url == "" {
			continue
		}
		g.Go(func() error {
			data, err := s.fetcher.fetch(inner, p.url, c.lease)
			if e, ok := errors.AsType[*apiError](err); ok {
				return e
			}
			if err != nil {
				s.log.DebugContext(ctx, "an image URL failed", "error", err)
				return badPicture(inputs[i].param, "the image URL cannot be fetched")
			}
			p.data, p.url = data, ""
			return nil
		})
	}
	return g.Wait()
}
