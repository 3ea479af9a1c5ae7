package hub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bgevl/bgevl/internal/diskspace"
)

// DefaultEndpoint is the hub itself.
const DefaultEndpoint = "https://huggingface.co"

// Options says how to reach the hub and where the cache is. The zero value is the public hub without a token, and the
// cache in the user's home. FromEnvironment returns what the environment of the process asks for.
type Options struct {
	Endpoint string // of the hub or a mirror: "https://huggingface.co" where empty
	Token    string // sent to the endpoint's host alone, and only by https or to this machine
	CacheDir string // ~/.cache/huggingface/hub where empty
	Offline  bool   // use what the cache has and open no connection

	Connections int           // at most, over all files; 0 is 8
	IdleTimeout time.Duration // without a byte before a connection is given up; 0 is 30 s. Nothing limits a whole download
	Retries     int           // failures in a row without progress before giving up; 0 is 5, below 0 is none
	RetryWait   time.Duration // before the first repetition, doubled each time up to 30 s; 0 is half a second

	UserAgent string      // "bgevl" where empty
	TLS       *tls.Config // nil is the system's
}

// What the zero value of Options stands for.
const (
	defaultConnections = 8
	defaultIdle        = 30 * time.Second
	defaultRetries     = 5
	defaultWait        = 500 * time.Millisecond
	maxWait            = 30 * time.Second
	// maxRetryAfter is the longest that a hub may ask to wait: past it the user decides.
	maxRetryAfter = 2 * time.Minute
)

// FromEnvironment returns the options that the variables of Python's huggingface_hub ask for: HF_ENDPOINT, HF_TOKEN (or
// HUGGING_FACE_HUB_TOKEN) or else the file HF_TOKEN_PATH (HF_HOME/token) unless HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_CACHE
// (or HUGGINGFACE_HUB_CACHE), HF_HOME, XDG_CACHE_HOME, HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE), HF_HUB_DOWNLOAD_TIMEOUT.
// lookup is os.LookupEnv or the like. A token file that cannot be read is an error.
func FromEnvironment(lookup func(string) (string, bool)) (Options, error) {
	env := environment(lookup)
	home := env.path("HF_HOME")
	if home == "" {
		base := env.path("XDG_CACHE_HOME")
		if base == "" {
			base = env.expand("~/.cache")
		}
		home = filepath.Join(base, "huggingface")
	}
	o := Options{
		Endpoint: env.first("HF_ENDPOINT"),
		CacheDir: env.path("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
		Offline:  truth(env.first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(home, "hub")
	}
	if s := env.first("HF_HUB_DOWNLOAD_TIMEOUT"); s != "" {
		if d, err := time.ParseDuration(s + "s"); err == nil && d > 0 {
			o.IdleTimeout = d
		}
	}
	if truth(env.first("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return o, nil
	}
	o.Token = cleanToken(env.first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	if o.Token != "" {
		return o, nil
	}
	file := env.path("HF_TOKEN_PATH")
	if file == "" {
		file = filepath.Join(home, "token")
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("hub: read the token: %w: make it readable, or set HF_TOKEN or HF_HUB_DISABLE_IMPLICIT_TOKEN=1", err)
	}
	o.Token = cleanToken(string(text))
	return o, nil
}

// environment looks variables up.
type environment func(string) (string, bool)

// first returns the first of the variables that is not empty.
func (env environment) first(names ...string) string {
	for _, n := range names {
		if v, ok := env(n); ok && v != "" {
			return v
		}
	}
	return ""
}

// path is first for the name of a file, in which ~ and $VARIABLE are replaced as Python's tools do.
func (env environment) path(names ...string) string { return env.expand(env.first(names...)) }

func (env environment) expand(name string) string {
	if name == "~" || strings.HasPrefix(name, "~/") {
		home := env.first("HOME")
		if home == "" {
			home, _ = os.UserHomeDir() // without a home the name stays relative
		}
		name = home + name[1:]
	}
	return os.Expand(name, func(variable string) string {
		if v, ok := env(variable); ok {
			return v
		}
		return "$" + variable
	})
}

func truth(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func cleanToken(t string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(t))
}

// A Client downloads from one endpoint into one cache. See the package's documentation for sharing and life.
type Client struct {
	o        Options
	endpoint *url.URL
	http     *http.Client
	slots    chan struct{} // one for each connection that may be open
	free     func(folder string) (int64, bool)
	symlink  func(root *os.Root, target, name string) error
	hardlink func(root *os.Root, old, name string) error
	write    func(*os.File, []byte) (int, error)
}

// New returns a client. It opens no connection and makes no folder.
func New(o *Options) (*Client, error) {
	c := &Client{free: diskspace.Free, symlink: (*os.Root).Symlink, hardlink: (*os.Root).Link, write: (*os.File).Write}
	if o != nil {
		c.o = *o
	}
	if err := c.defaults(); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	c.slots = make(chan struct{}, c.o.Connections)
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: c.o.IdleTimeout}).DialContext,
		TLSHandshakeTimeout:    c.o.IdleTimeout,
		ResponseHeaderTimeout:  c.o.IdleTimeout,
		IdleConnTimeout:        time.Minute,
		MaxIdleConnsPerHost:    c.o.Connections,
		MaxResponseHeaderBytes: 256 << 10,
		TLSClientConfig:        c.o.TLS,
		// A body is hashed as it comes; what is compressed on the way could also grow without end.
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	// HTTP/2 would put all connections of a download into one.
	transport.Protocols.SetHTTP1(true)
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// defaults fills in what was left open and checks the rest.
func (c *Client) defaults() error {
	o := &c.o
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	if o.CacheDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("no cache folder: %w: set HF_HOME", err)
		}
		o.CacheDir = filepath.Join(home, ".cache", "huggingface", "hub")
	}
	dir, err := filepath.Abs(o.CacheDir)
	if err != nil {
		return err
	}
	o.CacheDir = dir
	if o.UserAgent == "" {
		o.UserAgent = "bgevl"
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdle
	}
	if o.Retries == 0 {
		o.Retries = defaultRetries
	}
	if o.RetryWait <= 0 {
		o.RetryWait = defaultWait
	}
	for _, r := range o.Token {
		if r <= ' ' || r > '~' {
			return errors.New("the token has characters that no token has: see HF_TOKEN and the token file")
		}
	}
	u, err := url.Parse(strings.TrimRight(o.Endpoint, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the endpoint is no address like https://huggingface.co: see HF_ENDPOINT")
	}
	c.endpoint = u
	return nil
}

// Close releases idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CacheDir returns the folder that all repositories are in.
func (c *Client) CacheDir() string { return c.o.CacheDir }

// Endpoint returns the address that the client talks to.
func (c *Client) Endpoint() string { return c.endpoint.String() }

// sameOrigin reports whether an address is the endpoint's own.
func (c *Client) sameOrigin(u *url.URL) bool {
	return u.Scheme == c.endpoint.Scheme && strings.EqualFold(u.Hostname(), c.endpoint.Hostname()) && port(u) == port(c.endpoint)
}

// mayHaveToken reports whether the token may be sent to an address.
func (c *Client) mayHaveToken(u *url.URL) bool {
	return c.o.Token != "" && c.sameOrigin(u) && (u.Scheme == "https" || loopback(u.Hostname()))
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}
