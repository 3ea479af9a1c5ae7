package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDialects sends any text to every dialect: nothing panics, and no answer is another than the document says. What is
// taken may be more than the document has, such as names of fields in other cases.
func FuzzDialects(f *testing.F) {
	paths := []string{"/v1/embeddings", "/embed", "/", "/similarity", "/tokenize", "/v2/embed", "/v1/multimodalembeddings", "/api/embed",
		"/api/embeddings", "/api/show"}
	for _, body := range []string{
		`{"input":["cat",{"text":"a","image":"B64","role":"candidate"}],"dimensions":4,"encoding_format":"base64"}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"PIC"}}]}]}`,
		`{"inputs":["cat",{"text":"a","image":"B64","task":"composed-retrieval"}],"truncate":true,"truncation_direction":"right",
			"prompt_name":"query","normalize":false,"dimensions":3,"add_special_tokens":false}`,
		`{"inputs":{"source_sentence":"a","sentences":["b",{"image":"B64"}]},"parameters":{"truncate":null}}`,
		`{"input_type":"search_query","texts":["a"],"embedding_types":["int8","base64"],"output_dimension":5,"max_tokens":99,"truncate":"END"}`,
		`{"input_type":"image","images":["PIC"],"inputs":null}`,
		`{"input_type":"document","inputs":[{"content":[{"type":"text","text":"a"},{"type":"image_base64","image_base64":"PIC"}]}],
			"truncation":false,"output_dtype":"ubinary","output_encoding":"base64","encoding_format":"float"}`,
		`{"model":"m","input":["a",null],"images":[null,"B64"],"truncate":false,"dimensions":0,"keep_alive":"5m","options":{}}`,
		`{"prompt":"a","images":["B64"],"instruction":"find it"}`,
		`[1,null]`, `"a"`, `null`, `{"inputs":[[1]]}`, `{"input":[[]]}`, `{"images":[""]}`,
	} {
		f.Add(pictured(f, body))
	}
	h := newTest(f, newFake(), nil).Handler()
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Host = "localhost"
			r.RemoteAddr = "127.0.0.1:40000"
			r.Header.Set("Content-Type", "application/json")
			in, err := documented(r, "")
			require.NoError(t, err)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.NoError(t, answered(in, reply{w.Code, w.Header(), w.Body.String()}), "%s: %.500q", path, body)
			require.NotContains(t, w.Body.String(), "internal error", "%s: %.500q", path, body)
		}
	})
}
