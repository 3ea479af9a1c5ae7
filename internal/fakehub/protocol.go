package fakehub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is a line of a listing.
type Entry struct {
	Type string `json:"type"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Path string `json:"path"`
	LFS  *LFS   `json:"lfs,omitempty"`
}

// LFS is what a listing says of a large file.
type LFS struct {
	OID         string `json:"oid"`
	Size        int64  `json:"size"`
	PointerSize int64  `json:"pointerSize"`
}

// serve sends data as a file, or a range of it.
func serve(w http.ResponseWriter, r *http.Request, data []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// refuse answers as the hub does where there is nothing.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func (h *Hub) serveHub(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i, p := range parts {
		var err error
		if parts[i], err = url.PathUnescape(p); err != nil {
			http.Error(w, "bad path", http.StatusBadRequest)
			return
		}
	}
	api := len(parts) > 2 && parts[0] == "api" && parts[1] == "models"
	if api {
		parts = parts[2:]
	}
	if len(parts) < 2 {
		refuse(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
		return
	}
	name, rest := parts[0]+"/"+parts[1], parts[2:]
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.repos[name]
	switch {
	case found == nil:
		refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	case found.moved != "":
		w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), name, found.moved, 1))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case found.token != "" && r.Header.Get("Authorization") != "Bearer "+found.token && found.gated:
		refuse(w, http.StatusForbidden, "GatedRepo", "Access to model "+name+" is restricted")
	case found.token != "" && r.Header.Get("Authorization") != "Bearer "+found.token:
		refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	case api:
		h.serveAPI(w, r, name, found, rest)
	case len(rest) > 2 && rest[0] == "resolve":
		h.serveFile(w, r, found, rest[1], strings.Join(rest[2:], "/"))
	default:
		refuse(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
}

// tree returns a revision's commit and files.
func (r *repo) tree(revision string) (string, map[string]file) {
	if c, ok := r.refs[revision]; ok {
		revision = c
	}
	return revision, r.commits[revision]
}

func (h *Hub) serveAPI(w http.ResponseWriter, r *http.Request, name string, found *repo, rest []string) {
	revision := "main"
	if len(rest) > 1 {
		revision = rest[1]
	}
	commit, tree := found.tree(revision)
	switch {
	case tree == nil:
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
	case len(rest) == 0 || rest[0] == "revision":
		type sibling struct {
			Name string `json:"rfilename"`
		}
		siblings := []sibling{}
		for _, p := range slices.Sorted(maps.Keys(tree)) {
			siblings = append(siblings, sibling{p})
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"_id": "0", "id": name, "modelId": name, "sha": commit, "private": found.token != "", "gated": found.gated,
			"tags": []string{}, "downloads": 0, "likes": 0, "siblings": siblings,
		})
	case rest[0] == "tree":
		h.serveTree(w, r, name, tree)
	default:
		refuse(w, http.StatusNotFound, "", "Not found")
	}
}

func (h *Hub) serveTree(w http.ResponseWriter, r *http.Request, name string, tree map[string]file) {
	var entries []Entry
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		f := tree[p]
		e := Entry{Type: "file", OID: gitOID(f.data), Size: int64(len(f.data)), Path: p}
		if f.lfs {
			e.OID = gitOID([]byte("a pointer to " + sha(f.data)))
			e.LFS = &LFS{sha(f.data), int64(len(f.data)), 134}
		}
		entries = append(entries, e)
	}
	if h.rewrite != nil {
		entries = h.rewrite(name, entries)
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	from = min(max(from, 0), len(entries))
	to := min(from+h.PageSize, len(entries))
	if to < len(entries) {
		q := r.URL.Query()
		q.Set("cursor", strconv.Itoa(to))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, h.URL, r.URL.EscapedPath(), q.Encode()))
	}
	writeJSON(w, http.StatusOK, entries[from:to:to])
}

func (h *Hub) serveFile(w http.ResponseWriter, r *http.Request, found *repo, revision, name string) {
	commit, tree := found.tree(revision)
	if tree == nil {
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	f, ok := tree[name]
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	if !f.lfs {
		w.Header().Set("ETag", `"`+gitOID(f.data)+`"`)
		serve(w, r, f.data)
		return
	}
	digest := sha(f.data)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.data)))
	w.Header().Set("X-Linked-Etag", `"`+digest+`"`)
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Location", h.signedURL(digest))
	w.WriteHeader(http.StatusFound)
}
