package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// fakeCollection finds all its items, with the inner product for a score.
type fakeCollection struct {
	items   []Item
	vectors [][]float32
	files   map[string][]byte
	asked   []SearchQuery
	err     error
}

func (c *fakeCollection) add(kind, id string, vector []float32, file []byte) {
	item := Item{ID: id, Name: id + ".png", Source: "photos", Kind: kind}
	if kind == "text" {
		item.Text = "the text of " + id
	}
	c.items, c.vectors = append(c.items, item), append(c.vectors, vector)
	if c.files == nil {
		c.files = map[string][]byte{}
	}
	c.files[id] = file
}

func (c *fakeCollection) Search(_ context.Context, q SearchQuery) (*SearchResult, error) {
	c.asked = append(c.asked, q)
	if c.err != nil {
		return nil, c.err
	}
	out := &SearchResult{Matched: len(c.items)}
	for i, v := range c.vectors {
		out.Hits = append(out.Hits, SearchHit{c.items[i], bgevl.Score(q.Vector, v)})
	}
	slices.SortStableFunc(out.Hits, func(a, b SearchHit) int { return map[bool]int{true: -1, false: 1}[a.Score > b.Score] })
	out.Hits = out.Hits[:min(q.K, len(out.Hits))]
	return out, nil
}

func (c *fakeCollection) Item(id string) (Item, []float32, bool) {
	for i, item := range c.items {
		if item.ID == id {
			return item, c.vectors[i], true
		}
	}
	return Item{}, nil, false
}

func (c *fakeCollection) Open(id string) (io.ReadCloser, error) {
	if c.files[id] == nil {
		return nil, errors.New("open /secret/path: no such file")
	}
	return io.NopCloser(bytes.NewReader(c.files[id])), nil
}

func (c *fakeCollection) Status() CollectionStatus {
	return CollectionStatus{Images: len(c.items) - 1, Texts: 1, Sources: []string{"photos"}, Indexing: Indexing{"running", 2, 5},
		Failed: 1, Failures: []ItemFailure{{"photos", "bad.png", "a damaged picture"}}}
}

// newSearch returns a server over a collection of two pictures and a text, whose vectors are those of the queries "cat",
// a picture, and "dog".
func newSearch(t *testing.T, m *fakeModel, o *Options) (http.Handler, *fakeCollection) {
	t.Helper()
	c := &fakeCollection{}
	c.add("image", "cat", fakeVector(text("cat"), m.dim), pngBytes(t, color.White))
	c.add("image", "picture", fakeVector(bgevl.Input{Image: bgevl.ImageBytes(nil)}, m.dim), pngBytes(t, color.Black))
	c.add("text", "dog", fakeVector(text("dog"), m.dim), nil)
	if o == nil {
		o = &Options{}
	}
	o.Search.Collection = c
	return newTest(t, m, o).Handler(), c
}

type searched struct {
	Model   string
	Results []struct {
		Rank                              int
		Score                             float32
		ID, Name, Source, Kind, Thumbnail string
		Text                              *string
	}
	Matched, Items int
	Warnings       []string
	Usage          struct {
		PromptTokens int `json:"prompt_tokens"`
	}
}

func TestSearchForms(t *testing.T) {
	m := newFake()
	h, c := newSearch(t, m, nil)
	img := base64.StdEncoding.EncodeToString(pngBytes(t, color.White))
	cat, night := "cat", "at night"
	pic := bgevl.ImageBytes(nil)
	both := fakeVector(bgevl.Input{Text: &night, Image: pic}, m.dim)
	for _, x := range []struct {
		name, body string
		want       []float32
		tokens     int
	}{
		{"text", `{"query":{"text":"cat"}}`, fakeVector(text(cat), m.dim), 3},
		{"picture", `{"query":{"image":"` + img + `"}}`, fakeVector(bgevl.Input{Image: pic}, m.dim), 3},
		{"both", `{"query":{"image":"data:image/png;base64,` + img + `","text":"at night"}}`, both, 3},
		{"item", `{"query":{"id":"cat"}}`, fakeVector(text(cat), m.dim), 0},
		{"item that is a text", `{"query":{"id":"dog"}}`, fakeVector(text("dog"), m.dim), 0},
		{"item with text", `{"query":{"id":"cat","text":"at night"}}`, both, 3},
		{"negative", `{"query":{"text":"cat","negative":"at night"}}`, away(fakeVector(text(cat), m.dim), fakeVector(text(night), m.dim)), 6},
		{"negative picture", `{"query":{"text":"cat","negative":{"image":"` + img + `","text":"at night"}}}`,
			away(fakeVector(text(cat), m.dim), both), 6},
		{"negative item", `{"query":{"id":"cat","negative":{"id":"dog"}}}`, away(fakeVector(text(cat), m.dim), fakeVector(text("dog"), m.dim)), 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := post(h, "/v1/search", x.body)
			require.Equal(t, 200, r.status, r.body)
			var out searched
			r.decode(t, &out)
			got := c.asked[len(c.asked)-1]
			assert.InDeltaSlice(t, x.want, got.Vector, 1e-6)
			assert.Equal(t, defaultK, got.K)
			assert.Nil(t, got.MinScore)
			require.Len(t, out.Results, 3)
			assert.Equal(t, x.tokens, out.Usage.PromptTokens)
			assert.Equal(t, 3, out.Items)
			for i, f := range out.Results {
				assert.Equal(t, i+1, f.Rank)
				assert.Equal(t, f.Kind == "text", f.Text != nil)
				if f.Kind == "image" {
					assert.Equal(t, "/v1/index/"+f.ID+"/thumbnail", f.Thumbnail)
				}
			}
		})
	}
	r := post(h, "/v1/search", `{"query":{"text":"cat"},"k":1,"min_score":-0.25,"filter":{"kind":"image","source":"photos","name":"c","exclude":["x"]}}`)
	require.Equal(t, 200, r.status, r.body)
	got := c.asked[len(c.asked)-1]
	assert.Equal(t, 1, got.K)
	assert.Equal(t, float32(-0.25), *got.MinScore)
	assert.Equal(t, SearchFilter{Kind: "image", Source: "photos", Name: "c", Exclude: []string{"x"}}, got.Filter)
	assert.Contains(t, r.body, `"name":"cat.png"`)
}

// form writes a form; a field whose name ends in image is a file.
func form(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if strings.HasSuffix(fields[i], "image") {
			f, err := w.CreateFormFile(fields[i], "../../etc/passwd")
			require.NoError(t, err)
			_, err = io.WriteString(f, fields[i+1])
			require.NoError(t, err)
			continue
		}
		require.NoError(t, w.WriteField(fields[i], fields[i+1]))
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), b.String()
}

func TestSearchUpload(t *testing.T) {
	m := newFake()
	h, c := newSearch(t, m, nil)
	file := string(pngBytes(t, color.White))
	night := "at night"
	send := func(fields ...string) reply {
		contentType, body := form(t, fields...)
		return ask(h, http.MethodPost, "/v1/search", body, "Content-Type", contentType)
	}
	r := send("image", file, "text", "at night", "k", "2", "min_score", "0.5", "filter", `{"name":"c"}`, "negative", "")
	require.Equal(t, 200, r.status, r.body)
	got := c.asked[len(c.asked)-1]
	assert.InDeltaSlice(t, fakeVector(bgevl.Input{Text: &night, Image: bgevl.ImageBytes(nil)}, m.dim), got.Vector, 1e-6)
	assert.Equal(t, 2, got.K)
	assert.Equal(t, float32(0.5), *got.MinScore)
	assert.Equal(t, "c", got.Filter.Name)
	r = send("id", "cat", "negative_image", file)
	require.Equal(t, 200, r.status, r.body)
	assert.InDeltaSlice(t, away(fakeVector(text("cat"), m.dim), fakeVector(bgevl.Input{Image: bgevl.ImageBytes(nil)}, m.dim)),
		c.asked[len(c.asked)-1].Vector, 1e-6)
	many := []string{}
	for i := range 40 {
		many = append(many, fmt.Sprint("field", i), "x")
	}
	for name, x := range map[string]struct {
		fields []string
		param  string
	}{
		"twice": {[]string{"text", "a", "text", "b"}, "text"}, "k": {[]string{"text", "a", "k", "two"}, "k"},
		"score": {[]string{"text", "a", "min_score", "NaN"}, "min_score"}, "filter": {[]string{"text", "a", "filter", "["}, "filter"},
		"deep": {[]string{"text", "a", "filter", strings.Repeat("[", 1000)}, ""}, "long": {[]string{"text", strings.Repeat("a", maxField+1)}, "text"},
		"bytes": {[]string{"text", "\xff"}, "text"}, "nothing": {nil, "query"}, "many": {many, ""},
		"both": {[]string{"id", "cat", "image", file}, "query.id"},
	} {
		r := send(x.fields...)
		assert.Equal(t, 400, r.status, "%s: %s", name, r.body)
		if x.param != "" {
			assert.Contains(t, r.body, `"param":"`+x.param+`"`, name)
		}
	}
	contentType, body := form(t, "image", file, "text", "a")
	assert.Equal(t, 400, ask(h, http.MethodPost, "/v1/search", body[:len(body)/2], "Content-Type", contentType).status, "cut")
	assert.Equal(t, 400, ask(h, http.MethodPost, "/v1/search", body, "Content-Type", "multipart/form-data").status, "no boundary")
	small, _ := newSearch(t, m, &Options{MaxBody: 100})
	assert.Equal(t, 413, ask(small, http.MethodPost, "/v1/search", body, "Content-Type", contentType).status)
}

func TestSearchRefuses(t *testing.T) {
	m := newFake()
	h, c := newSearch(t, m, nil)
	for body, want := range map[string]struct {
		status int
		param  string
	}{
		`{}`: {400, "query"}, `{"query":{}}`: {400, "query"}, `{"query":{"instruction":"find"}}`: {400, "query"},
		`{"query":{"text":"a"},"k":0}`: {400, "k"}, `{"query":{"text":"a"},"k":1001}`: {400, "k"}, `{"query":{"text":"a"},"k":"1"}`: {400, "k"},
		`{"query":{"text":"a"},"min_score":1.5}`: {400, "min_score"}, `{"query":{"text":"a"},"filter":{"kind":"video"}}`: {400, "filter.kind"},
		`{"query":{"id":"none"}}`: {404, "query.id"}, `{"query":{"id":"../cat"}}`: {404, "query.id"},
		`{"query":{"id":"dog","text":"a"}}`:               {400, "query.id"},
		`{"query":{"id":"cat","image":"aaaa"}}`:           {400, "query.id"},
		`{"query":{"image":"file:///etc/passwd"}}`:        {400, "query.image"},
		`{"query":{"image":"https://example.com/a.png"}}`: {400, "query.image"},
		`{"query":{"text":"bad"}}`:                        {400, "query"},
		`{"query":{"text":"long"}}`:                       {400, "query"},
		`{"query":{"text":"a","negative":"bad"}}`:         {400, "query.negative"},
		`{"query":{"text":"a","negative":{}}}`:            {400, "query.negative"},
		`{"query":{"text":"a","negative":7}}`:             {400, "query.negative"},
		`{"query":{"text":"nan"}}`:                        {500, ""},
	} {
		r := post(h, "/v1/search", body)
		assert.Equal(t, want.status, r.status, "%s: %s", body, r.body)
		assert.NotContains(t, r.body, "secret")
		if want.param != "" {
			assert.Contains(t, r.body, `"param":"`+want.param+`"`, body)
		}
	}
	c.err = errors.New("broken at /secret/path")
	r := post(h, "/v1/search", `{"query":{"text":"cat"}}`)
	assert.Equal(t, 500, r.status)
	assert.NotContains(t, r.body, "secret")
	bare := newTest(t, m, nil).Handler()
	for path, status := range map[string]int{"/": 405, "/v1/index": 404, "/page/page.js": 404} { // TEI has POST /
		assert.Equal(t, status, ask(bare, http.MethodGet, path, "").status, "without a collection")
	}
}

// TestSearchInstructions looks at what a model with instructions is told.
func TestSearchInstructions(t *testing.T) {
	m := newFake()
	m.info.Instructions = true
	img := base64.StdEncoding.EncodeToString(pngBytes(t, color.White))
	cat := "cat"
	vector := func(in bgevl.Input, task string) []float32 {
		if found, ok := bgevl.FindTask(task); ok {
			task = found.Instruction
		}
		in.Instruction = &task
		return fakeVector(in, m.dim)
	}
	h, c := newSearch(t, m, nil)
	for body, want := range map[string][]float32{
		`{"query":{"text":"cat"}}`:                                 vector(text(cat), "caption-to-image"),
		`{"query":{"image":"` + img + `"}}`:                        vector(bgevl.Input{Image: bgevl.ImageBytes(nil)}, "image-to-image"),
		`{"query":{"image":"` + img + `","text":"cat"}}`:           vector(bgevl.Input{Image: bgevl.ImageBytes(nil), Text: &cat}, "composed-retrieval"),
		`{"query":{"text":"cat","instruction":"find the animal"}}`: vector(text(cat), "find the animal"),
		`{"query":{"text":"cat","instruction":""}}`:                vector(text(cat), ""),
	} {
		require.Equal(t, 200, post(h, "/v1/search", body).status)
		assert.InDeltaSlice(t, want, c.asked[len(c.asked)-1].Vector, 1e-6, body)
	}
	h, c = newSearch(t, m, &Options{Search: SearchOptions{Instruction: new("served")}})
	require.Equal(t, 200, post(h, "/v1/search", `{"query":{"text":"cat"}}`).status)
	assert.InDeltaSlice(t, vector(text(cat), "served"), c.asked[0].Vector, 1e-6)
}

// TestAway holds the negative's arithmetic to what README.md says.
func TestAway(t *testing.T) {
	got := away([]float32{1, 0}, []float32{0, 1})
	assert.InDeltaSlice(t, []float32{2 / float32(math.Sqrt(5)), -1 / float32(math.Sqrt(5))}, got, 1e-6)
	assert.Equal(t, []float32{1, 0}, away([]float32{1, 0}, []float32{1, 0}), "a query less itself is itself")
	assert.Equal(t, []float32{1, 0}, away([]float32{1, 0}, []float32{-1, 0}))
}

func TestIndexStatus(t *testing.T) {
	h, _ := newSearch(t, newFake(), &Options{Search: SearchOptions{Demo: true,
		Examples: []Example{{Text: "cat"}, {ID: "cat", Text: "at night"}, {ID: "yet to come", Text: "x"}, {Text: "a", Negative: "b"}}}})
	r := ask(h, http.MethodGet, "/v1/index", "")
	require.Equal(t, 200, r.status, r.body)
	var out map[string]any
	r.decode(t, &out)
	assert.Equal(t, true, out["demo"])
	assert.Equal(t, 3.0, out["items"])
	assert.Equal(t, map[string]any{"state": "running", "done": 2.0, "total": 5.0}, out["indexing"])
	assert.Equal(t, []any{map[string]any{"source": "photos", "name": "bad.png", "error": "a damaged picture"}}, out["failures"])
	assert.Equal(t, []any{map[string]any{"text": "cat"}, map[string]any{"text": "at night", "id": "cat", "thumbnail": "/v1/index/cat/thumbnail"},
		map[string]any{"text": "a", "negative": "b"}}, out["examples"])
	assert.Equal(t, "fake", out["model"].(map[string]any)["name"])
	assert.Equal(t, bgevl.Fingerprint{Family: "clip", Dim: 16}.Sum(), out["fingerprint"])
}

func TestThumbnails(t *testing.T) {
	h, c := newSearch(t, newFake(), nil)
	wide := image.NewNRGBA(image.Rect(0, 0, 1000, 500))
	for i := 0; i < len(wide.Pix); i += 4 {
		copy(wide.Pix[i:], []byte{200, 30, 30, 255})
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, wide))
	c.add("image", "wide", make([]float32, 16), bytes.Clone(b.Bytes()))
	b.Reset()
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 4000, 3000)))) // of those that are decoded alone
	c.add("image", "large", make([]float32, 16), bytes.Clone(b.Bytes()))
	c.add("image", "line", make([]float32, 16), func() []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 3000, 1))))
		return b.Bytes()
	}())
	c.add("image", "damaged", make([]float32, 16), b.Bytes()[:100])
	c.add("image", "gone", make([]float32, 16), nil)
	c.add("image", "huge", make([]float32, 16), make([]byte, maxItemBytes+1))
	for id, size := range map[string]image.Point{"wide": {384, 192}, "large": {384, 288}, "line": {384, 1}, "cat": {8, 8}} {
		for range 2 { // made, and kept
			r := ask(h, http.MethodGet, "/v1/index/"+id+"/thumbnail", "")
			require.Equal(t, 200, r.status, "%s: %s", id, r.body)
			assert.Equal(t, "image/jpeg", r.header.Get("Content-Type"))
			im, err := jpeg.Decode(strings.NewReader(r.body))
			require.NoError(t, err)
			assert.Equal(t, size, im.Bounds().Size(), id)
			if id == "wide" {
				red, green, _, _ := im.At(100, 100).RGBA()
				assert.InDelta(t, 200, red>>8, 6)
				assert.InDelta(t, 30, green>>8, 6)
			}
		}
	}
	for _, id := range []string{"none", "dog", "damaged", "gone", "huge", "..%2f..%2fetc%2fpasswd"} {
		r := ask(h, http.MethodGet, "/v1/index/"+id+"/thumbnail", "")
		assert.Equal(t, 404, r.status, id)
		assert.NotContains(t, r.body, "secret")
	}
}

// TestPageFiles looks at the policy, and at the files for what it forbids.
func TestPageFiles(t *testing.T) {
	h, _ := newSearch(t, newFake(), &Options{APIKeys: []string{"secret"}})
	files := map[string]string{"/": "text/html; charset=utf-8", "/page/style.css": "text/css; charset=utf-8",
		"/page/page.js": "text/javascript; charset=utf-8", "/page/parts.js": "text/javascript; charset=utf-8", "/page/icon.svg": "image/svg+xml"}
	for path, contentType := range files {
		r := ask(h, http.MethodGet, path, "")
		require.Equal(t, 200, r.status, "%s needs no key", path)
		assert.Equal(t, contentType, r.header.Get("Content-Type"))
		assert.Equal(t, pagePolicy, r.header.Get("Content-Security-Policy"))
		again := ask(h, http.MethodGet, path, "", "If-None-Match", r.header.Get("ETag"))
		assert.Equal(t, 304, again.status)
		assert.Empty(t, again.body)
		for _, outside := range []string{"http://", "https://", "//cdn", "innerHTML", "eval(", " style=", "onclick=\"", "<script>"} {
			body := strings.ReplaceAll(r.body, "http://www.w3.org/2000/svg", "")
			assert.NotContains(t, body, outside, path)
		}
	}
	for _, path := range []string{"/v1/index", "/v1/index/cat/thumbnail"} {
		assert.Equal(t, 401, ask(h, http.MethodGet, path, "").status, path)
		assert.Equal(t, 200, ask(h, http.MethodGet, path, "", "Authorization", "Bearer secret").status, path)
	}
	assert.Equal(t, 401, post(h, "/v1/search", `{"query":{"text":"cat"}}`).status)
	for _, path := range []string{"/page/index.htm", "/page/..%2fpage.go", "/page/", "/page/page/page.js"} {
		assert.Equal(t, 404, ask(h, http.MethodGet, path, "").status, path)
	}
}
