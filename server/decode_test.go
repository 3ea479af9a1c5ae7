package server

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDecodeJSON refuses what would take more than it is worth.
func TestDecodeJSON(t *testing.T) {
	for name, c := range map[string]struct{ body, message string }{
		"deep arrays":    {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "nested"},
		"deep objects":   {strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000), "nested"},
		"deep, unended":  {strings.Repeat("[", 1<<20), "nested"},
		"deep within":    {`{"input":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`, "nested"},
		"many elements":  {`{"input":[` + strings.Repeat("1,", 1<<18) + `1]}`, "more than"},
		"many fields":    {`{` + strings.Repeat(`"a":1,`, 1<<18) + `"b":1}`, "more than"},
		"not UTF-8":      {"{\"input\":\"\xc3\x28\"}", "UTF-8"},
		"empty":          {"", "byte 0"},
		"two":            {`{}{}`, "byte 3"},
		"not an object":  {`"input"`, "wrong type"},
		"wrong type":     {`{"dimensions":"many"}`, "wrong type"},
		"number too big": {`{"dimensions":1e99}`, "wrong type"},
	} {
		err := decodeJSON([]byte(c.body), &openAIBody{})
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.message, name)
		assert.Equal(t, 400, seen(err).status, name)
	}
	// Brackets and commas within strings are text.
	var b openAIBody
	require.NoError(t, decodeJSON([]byte(`{"input":"`+strings.Repeat(`[{,\"`, 1<<18)+`"}`), &b))
	require.NoError(t, decodeJSON([]byte(`{"input":"\\","modality":"text"}`), &b))
	assert.Equal(t, "text", b.Modality)
}

func TestContentType(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	for header, want := range map[string]int{"application/json": 200, "application/json; charset=utf-8": 200, "APPLICATION/JSON": 200,
		"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "application/jsonp": 415, "multipart/form-data; boundary=x": 415, ";": 415} {
		assert.Equal(t, want, ask(h, "POST", "/v1/embeddings", `{"input":"x"}`, "Content-Type", header).status, header)
	}
}

// endless gives zeros for ever, and counts.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.n += int64(len(p))
	return len(p), nil
}

// TestBodySize bounds a body that says how long it is, and one that does not.
func TestBodySize(t *testing.T) {
	s := newTest(t, newFake(), &Options{MaxBody: 1 << 17})
	h := s.Handler()
	r := post(h, "/v1/embeddings", `{"input":"`+strings.Repeat("x", 1<<17)+`"}`)
	assert.Equal(t, 413, r.status)
	assert.Contains(t, r.body, "body_too_large")
	r = post(h, "/v1/embeddings", `{"input":"`+strings.Repeat("x", 1<<17-12)+`"}`)
	assert.Equal(t, 200, r.status, "as long as it may be")

	body := &endless{}
	request := httptest.NewRequest(http.MethodPost, "/v1/embeddings", body)
	request.Host, request.ContentLength = "localhost", -1
	request.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	assert.Equal(t, 413, w.Code)
	assert.Less(t, body.n, int64(1<<20), "no more was read than it took to see that")
	assert.Zero(t, s.held.inUse())
}

// TestBudget bounds what all bodies hold, and leaves room for others where one client has much.
func TestBudget(t *testing.T) {
	b := newBudget(100)
	one, more, other := b.lease("a"), b.lease("a"), b.lease("b")
	assert.True(t, one.take(30))
	assert.True(t, more.take(20))
	assert.False(t, more.take(1), "half of it is what a client may have")
	assert.True(t, other.take(50))
	assert.False(t, b.lease("c").take(1))
	assert.EqualValues(t, 100, b.inUse())
	one.end()
	assert.True(t, b.lease("c").take(30))
	more.end()
	other.end()
	other.end() // more than once does no harm
	assert.EqualValues(t, 30, b.inUse())
	assert.Len(t, b.by, 1)
	assert.True(t, (&lease{}).take(1<<60))

	s := newTest(t, newFake(), &Options{MaxBody: 1 << 20})
	s.held.total = 1 << 20
	r := post(s.Handler(), "/v1/embeddings", `{"input":"`+strings.Repeat("x", 800<<10)+`"}`)
	assert.Equal(t, 429, r.status)
	assert.NotEmpty(t, r.header.Get("Retry-After"))
	assert.Zero(t, s.held.inUse())
}

// TestBodyEndsEarly has a body break off.
func TestBodyEndsEarly(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	r := httptest.NewRequest(http.MethodPost, "/v1/embeddings", io.MultiReader(strings.NewReader(`{"input"`), broken{}))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, 400, w.Code)
	assert.NotContains(t, w.Body.String(), "192.0.2.1")
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzEmbeddings sends bodies to POST /v1/embeddings. Whatever they hold, there is an answer in OpenAI's shape, none is the
// server's fault, and a good one has a vector for each input.
func FuzzEmbeddings(f *testing.F) {
	for _, seed := range []string{
		`{"input":"x"}`, `{"input":["a","b"],"encoding_format":"base64","dimensions":3}`, `{"input":[[1,2],[3]]}`,
		`{"input":[{"text":"a","image":"AAAA","instruction":"i","role":"query"}],"task":"retrieval.query","embedding_type":["int8"]}`,
		`{"input":"data:image/png;base64,AAAA","modality":"image"}`, `{"input":"https://example.com/x.png","modality":"image"}`,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"AAAA"}},{"type":"text","text":"t"}]}]}`,
		`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"truncate_prompt_tokens":-1}`,
		`[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]`, `{"input":null,"messages":null}`, `{"input":[null]}`, `{"input":{}}`, `{"Input":"x","INPUT":["y"]}`, `{"input":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	m := &forgetfulModel{newFake()}
	h := newTest(f, m, &Options{MaxInputs: 4}).Handler()
	f.Fuzz(func(t *testing.T, data []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/embeddings", bytes.NewReader(data))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		out := reply{status: w.Code, body: w.Body.String()}
		switch out.status {
		case 200:
			var good struct{ Data []struct{ Embedding any } }
			out.decode(t, &good)
			if len(good.Data) == 0 || len(good.Data) > 4 {
				t.Fatalf("%d vectors for %q", len(good.Data), data)
			}
			for _, d := range good.Data {
				if d.Embedding == nil {
					t.Fatalf("no vector for %q", data)
				}
			}
		case 400, 413:
			var bad struct {
				Error struct{ Message, Type, Code string }
			}
			out.decode(t, &bad)
			if bad.Error.Message == "" || bad.Error.Type != "invalid_request_error" || bad.Error.Code == "" {
				t.Fatalf("%s for %q", out.body, data)
			}
		default:
			t.Fatalf("%d %s for %q", out.status, out.body, data)
		}
	})
}
