package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // git names blobs by it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"strings"
)

const (
	// maxFiles and maxPages bound a listing. The largest repositories of models have some thousands of files.
	maxFiles = 100_000
	maxPages = 1000
	// maxGitFile bounds a file that git itself stores, whose digest is a SHA-1. The hub wants LFS from 10 MB on.
	maxGitFile = 64 << 20
)

// A File is one file of a commit.
type File struct {
	Path   string // with slashes
	Size   int64
	Digest Digest // empty for what lies in the cache as a copy
}

// A Digest names a file's content: the SHA-256 of a large file, or the SHA-1 by which git names a small one. It is the
// file's name among the cache's blobs.
type Digest string

// check returns an error unless d is one of the two.
func (d Digest) check() error {
	if !commitPattern.MatchString(string(d)) && !sha256Pattern.MatchString(string(d)) {
		return failf(ErrProtocol, "it has no digest to check it by")
	}
	return nil
}

// hash returns a hash that has d as its sum after a content of size bytes.
func (d Digest) hash(size int64) hash.Hash {
	if len(d) == sha256.Size*2 {
		return sha256.New()
	}
	h := sha1.New() //nolint:gosec // as git does
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

func sumOf(h hash.Hash) Digest { return Digest(hex.EncodeToString(h.Sum(nil))) }

// A Listing is what a revision of a repository holds.
type Listing struct {
	Repo, Commit string
	Files        []File // in the hub's order
}

// List asks the hub what a revision (a branch, a tag, a commit) of a repository holds.
func (c *Client) List(ctx context.Context, repo, revision string) (*Listing, error) {
	l, err := c.list(ctx, repo, revision)
	if err != nil {
		return nil, fmt.Errorf("hub: list %s: %w", repo, err)
	}
	return l, nil
}

func (c *Client) list(ctx context.Context, repo, revision string) (*Listing, error) {
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	if err := CheckRevision(revision); err != nil {
		return nil, err
	}
	if c.o.Offline {
		return nil, failf(ErrOffline, "offline: unset HF_HUB_OFFLINE")
	}
	var info struct {
		SHA string `json:"sha"`
	}
	parts := append([]string{"api", "models"}, strings.Split(repo, "/")...)
	about := repo + " at " + revision
	if _, err := c.getJSON(ctx, c.apiURL(nil, append(parts, "revision", revision)...), about, &info); err != nil {
		return nil, err
	}
	if !commitPattern.MatchString(info.SHA) {
		return nil, failf(ErrProtocol, "%s: the hub says that its commit is %s", about, quote(info.SHA))
	}
	if commitPattern.MatchString(revision) && info.SHA != revision {
		return nil, failf(ErrProtocol, "%s: the hub has another commit there, %s", about, info.SHA)
	}
	l := &Listing{Repo: repo, Commit: info.SHA}
	page := c.apiURL(url.Values{"recursive": {"true"}, "expand": {"false"}}, append(parts, "tree", info.SHA)...)
	for n := 0; page != nil; n++ {
		if n == maxPages {
			return nil, failf(ErrProtocol, "%s: the listing has more than %d pages", about, maxPages)
		}
		var entries []entry
		header, err := c.getJSON(ctx, page, about, &entries)
		if err != nil {
			return nil, err
		}
		if err := l.add(entries); err != nil {
			return nil, fmt.Errorf("%s: %w", about, err)
		}
		if page, err = c.nextPage(page, header); err != nil {
			return nil, fmt.Errorf("%s: %w", about, err)
		}
	}
	return l, l.check()
}

// entry is a line of a listing as the hub words it.
type entry struct {
	Type string `json:"type"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Path string `json:"path"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

func (l *Listing) add(entries []entry) error {
	for _, e := range entries {
		if e.Type != "file" {
			continue
		}
		if len(l.Files) == maxFiles {
			return failf(ErrProtocol, "the listing has more than %d files", maxFiles)
		}
		if err := checkListed(e.Path); err != nil {
			return err
		}
		f := File{Path: e.Path, Size: e.Size, Digest: Digest(e.OID)}
		if e.LFS != nil {
			f.Digest, f.Size = Digest(e.LFS.OID), e.LFS.Size
			if e.Size != e.LFS.Size {
				return failf(ErrProtocol, "file %s has two sizes, %d and %d", quote(e.Path), e.Size, e.LFS.Size)
			}
			if !sha256Pattern.MatchString(e.LFS.OID) {
				return failf(ErrProtocol, "file %s: %s is no SHA-256", quote(e.Path), quote(e.LFS.OID))
			}
		}
		l.Files = append(l.Files, f)
	}
	return nil
}

// check refuses a listing that names a file twice.
func (l *Listing) check() error {
	seen := make(map[string]bool, len(l.Files))
	for _, f := range l.Files {
		if seen[f.Path] {
			return failf(ErrProtocol, "the listing has file %s twice", quote(f.Path))
		}
		seen[f.Path] = true
	}
	return nil
}

// checkWanted returns an error unless a file can be downloaded, checked and stored.
func checkWanted(f File) error {
	if err := checkFile(f.Path); err != nil {
		return err
	}
	const largest = 1 << 50 // a petabyte; sums of sizes stay far from overflowing
	if f.Size < 0 || f.Size > largest {
		return failf(ErrProtocol, "file %s: its size is said to be %d", quote(f.Path), f.Size)
	}
	if err := f.Digest.check(); err != nil {
		return fmt.Errorf("file %s: %w", quote(f.Path), err)
	}
	if len(f.Digest) != sha256.Size*2 && f.Size > maxGitFile {
		return failf(ErrProtocol, "file %s: %d bytes without a SHA-256", quote(f.Path), f.Size)
	}
	return nil
}

// nextPage returns where a listing goes on, or nil. It may only go on at the endpoint.
func (c *Client) nextPage(page *url.URL, h http.Header) (*url.URL, error) {
	link := nextLink(h.Values("Link"))
	if link == "" {
		return nil, nil
	}
	// Mirrors pass the hub's own links on.
	if rest, ok := strings.CutPrefix(link, DefaultEndpoint+"/"); ok {
		link = c.endpoint.String() + "/" + rest
	}
	next, err := redirect(page, link)
	if err != nil {
		return nil, err
	}
	if !c.sameOrigin(next) {
		return nil, failf(ErrProtocol, "the listing goes on at another host, %s: refused", shown(next))
	}
	return next, nil
}

// nextLink returns the target of rel="next" in Link headers.
func nextLink(headers []string) string {
	for _, h := range headers {
		for h != "" {
			_, rest, ok := strings.Cut(h, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, after, _ := strings.Cut(rest, "<") // a comma may also stand in a parameter's quotes
			h = ""
			if after != "" {
				h = "<" + after
			}
			for p := range strings.SplitSeq(params, ";") {
				key, value, _ := strings.Cut(strings.Trim(p, " ,\t"), "=")
				if strings.EqualFold(strings.TrimSpace(key), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
					return target
				}
			}
		}
	}
	return ""
}
