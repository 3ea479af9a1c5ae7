package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 5
	// maxJSON bounds one answer of the API: a page of a listing has a thousand files and half a megabyte.
	maxJSON = 16 << 20
)

// An answer is a response whose body fails when nothing comes for too long.
type answer struct {
	*http.Response
	url    *url.URL // that answered, after all redirects
	cancel context.CancelFunc
}

// Close ends the request, read to its end or not.
func (a *answer) Close() error {
	a.cancel()
	return a.Body.Close()
}

// ask makes one request and follows redirects: at most five, never from https to http, with the token for the endpoint
// alone. With stay, a redirect to another host is the answer. Failures that may pass are temporary.
func (c *Client) ask(ctx context.Context, method string, u *url.URL, header http.Header, stay bool) (*answer, error) {
	for range maxRedirects + 1 {
		a, err := c.once(ctx, method, u, header)
		if err != nil {
			return nil, err
		}
		if a.StatusCode < 300 || a.StatusCode > 399 || a.StatusCode == http.StatusNotModified {
			return a, nil
		}
		next, err := redirect(u, a.Header.Get("Location"))
		if err != nil || stay && !c.sameOrigin(next) {
			if err != nil {
				_ = a.Close()
				return nil, err
			}
			return a, nil
		}
		_ = a.Close()
		u = next
	}
	return nil, failf(ErrProtocol, "%s redirects more than %d times", shown(u), maxRedirects)
}

// redirect returns where a Location leads to, unless nobody should go there.
func redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, failf(ErrProtocol, "%s redirects to no address", shown(from))
	}
	to = from.ResolveReference(to)
	switch {
	case to.Scheme != "http" && to.Scheme != "https", to.Host == "":
		return nil, failf(ErrProtocol, "%s redirects to %s, which is no web address", shown(from), shown(to))
	case from.Scheme == "https" && to.Scheme != "https":
		return nil, failf(ErrProtocol, "%s redirects from https to %s: refused", shown(from), shown(to))
	case to.User != nil:
		return nil, failf(ErrProtocol, "%s redirects to an address with a password: refused", shown(from))
	}
	return to, nil
}

// shown spells an address without its query, where signatures are, and without a password.
func shown(u *url.URL) string {
	s := quote((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
	return s[1 : len(s)-1]
}

// once makes one request.
func (c *Client) once(ctx context.Context, method string, u *url.URL, header http.Header) (*answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		cancel()
		return nil, failf(ErrProtocol, "%s is no address", shown(u))
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if c.mayHaveToken(u) {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		stopped := ctx.Err()
		cancel()
		if stopped != nil {
			return nil, stopped
		}
		var wrapped *url.Error // its text has the address with its signature
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		var certificate *tls.CertificateVerificationError
		if errors.As(err, &certificate) {
			return nil, fmt.Errorf("%s: %w", shown(u), err)
		}
		return nil, &temporaryError{err: fmt.Errorf("%s: %w", shown(u), err)}
	}
	a := &answer{Response: resp, url: u, cancel: cancel}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		_ = a.Close()
		return nil, failf(ErrProtocol, "%s answers with compressed content (%s), which was not asked for", shown(u), quote(e))
	}
	resp.Body = &watched{body: resp.Body, idle: c.o.IdleTimeout, cancel: cancel, url: u}
	return a, nil
}

// watched is a body that is given up when nothing comes for a while.
type watched struct {
	body   io.ReadCloser
	idle   time.Duration
	cancel context.CancelFunc
	url    *url.URL
}

func (w *watched) Read(p []byte) (int, error) {
	timer := time.AfterFunc(w.idle, w.cancel)
	n, err := w.body.Read(p)
	if !timer.Stop() && err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s sent nothing for %s", shown(w.url), w.idle)
	}
	return n, err
}

func (w *watched) Close() error { return w.body.Close() }

// apiURL returns an address below the endpoint. Each part is escaped as a whole, slashes in it too.
func (c *Client) apiURL(query url.Values, parts ...string) *url.URL {
	u := *c.endpoint
	for _, p := range parts {
		u.RawPath = strings.TrimRight(u.EscapedPath(), "/") + "/" + url.PathEscape(p)
		u.Path = strings.TrimRight(u.Path, "/") + "/" + p
	}
	u.RawQuery = query.Encode()
	return &u
}

// getJSON reads one answer of the API into a value and returns its headers. Passing failures are repeated.
func (c *Client) getJSON(ctx context.Context, u *url.URL, about string, into any) (http.Header, error) {
	var header http.Header
	err := c.attempts(ctx, c.o.Retries, func() (bool, error) {
		a, err := c.ask(ctx, http.MethodGet, u, http.Header{"Accept": {"application/json"}}, true)
		if err != nil {
			return false, err
		}
		defer a.Close()
		if err := c.checkStatus(a, about); err != nil {
			return false, err
		}
		if kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); kind != "application/json" {
			return false, failf(ErrProtocol, "%s answers with %s instead of JSON: is HF_ENDPOINT a hub, and does a proxy want a login?",
				shown(a.url), quote(kind))
		}
		text, err := io.ReadAll(io.LimitReader(a.Body, maxJSON+1))
		if err != nil {
			return false, c.broken(ctx, err)
		}
		if len(text) > maxJSON {
			return false, failf(ErrProtocol, "%s answers with more than %d MB of JSON", shown(a.url), maxJSON>>20)
		}
		if err := json.Unmarshal(text, into); err != nil {
			return false, failf(ErrProtocol, "%s answers with JSON that says nothing of the kind wanted: %v", shown(a.url), err)
		}
		header = a.Header
		return false, nil
	})
	return header, err
}

// broken is the error of a connection that ended early.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &temporaryError{err: err}
}

// checkStatus turns what is no success into an error that says what to do.
func (c *Client) checkStatus(a *answer, about string) error {
	code := a.Header.Get("X-Error-Code")
	switch s := a.StatusCode; {
	case s == http.StatusOK || s == http.StatusPartialContent:
		return nil
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500:
		return &temporaryError{err: fmt.Errorf("%s answers %s", shown(a.url), status(s)), after: retryAfter(a.Header, time.Now())}
	case code == "GatedRepo":
		return failf(ErrAccess, "%s: its owners want their terms accepted first: do so at %s and set HF_TOKEN", about, c.endpoint)
	case code == "RevisionNotFound":
		return failf(ErrNotFound, "%s: the repository has no such revision", about)
	case code == "EntryNotFound":
		return failf(ErrNotFound, "%s: the revision has no such file", about)
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		if c.o.Token == "" {
			return failf(ErrAccess, "%s: no such repository, or one that wants a token (%s): check the name, or set HF_TOKEN", about, status(s))
		}
		if !c.mayHaveToken(a.url) {
			return failf(ErrAccess, "%s: %s, and the token is not sent to %s: it goes to the endpoint alone, by https", about, status(s), shown(a.url))
		}
		return failf(ErrAccess, "%s: no such repository, or the token does not open it (%s): check the name and HF_TOKEN", about, status(s))
	case s == http.StatusNotFound:
		return failf(ErrNotFound, "%s: not found at %s", about, c.endpoint)
	default:
		return failf(ErrProtocol, "%s answers %s", shown(a.url), status(s))
	}
}

func status(code int) string { return strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code))) }

// retryAfter returns how long a server asks to be left alone: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
