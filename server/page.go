package server

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page run and show what comes from this server, and nothing else. Blobs are thumbnails that were
// fetched with a key, and the picture that is to be sent.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageRoutes are the page and its files. They hold nothing of anybody's and need no key: the page asks for it.
func (s *Server) pageRoutes() []route {
	if s.opt.Search.Collection == nil {
		return nil
	}
	return []route{
		{pattern: "GET /{$}", dialect: openAIError, open: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			return pageFile(w, r, "index.html")
		}},
		{pattern: "GET /page/{file...}", dialect: openAIError, open: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			return pageFile(w, r, r.PathValue("file"))
		}},
	}
}

// pageFile answers with one of the page's files.
func pageFile(w http.ResponseWriter, r *http.Request, name string) error {
	contentType, ok := map[string]string{"index.html": "text/html; charset=utf-8", "style.css": "text/css; charset=utf-8",
		"page.js": "text/javascript; charset=utf-8", "parts.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}[name]
	if !ok {
		return &apiError{status: http.StatusNotFound, code: codeNotFound, message: "the page has no such file"}
	}
	data, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache") // asks each time whether the program is another
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, _ = w.Write(data) // the client may have gone
	return nil
}
