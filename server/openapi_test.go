package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// document is the server's own, with its routes.
type document struct {
	spec *openapi3.T
	mux  *http.ServeMux
}

var loadDocument = sync.OnceValues(func() (*document, error) {
	data, err := openapiJSON()
	if err != nil {
		return nil, err
	}
	spec, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, err
	}
	d := &document{spec: spec, mux: http.NewServeMux()}
	for path, item := range spec.Paths.Map() {
		for method := range item.Operations() {
			d.mux.Handle(documentPattern(method, path), http.NotFoundHandler())
		}
	}
	return d, spec.Validate(context.Background())
})

// documentPattern is the pattern of http.ServeMux for a path of the document. A parameter at the end takes all that
// follows.
func documentPattern(method, path string) string {
	if strings.HasSuffix(path, "}") {
		path = strings.TrimSuffix(path, "}") + "...}"
	}
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	return method + " " + path
}

// documentPath is the inverse of documentPattern.
func documentPath(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, strings.Replace(strings.TrimSuffix(path, "{$}"), "...}", "}", 1)
}

// described returns what of a request and its answer is otherwise than the document says. A request that was refused may
// be anything; an answer never. What has no route is not looked at.
func described(r *http.Request, body string, got reply) error {
	in, err := documented(r, body)
	if in == nil || err != nil {
		return err
	}
	if got.status < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("%s %s was taken, but the document has no such request: %w\n%.500s", in.Route.Method, in.Route.Path, err, body)
		}
	}
	return answered(in, got)
}

// answered is described of the answer alone.
func answered(in *openapi3filter.RequestValidationInput, got reply) error {
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: got.status, Header: got.header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(context.Background(), out.SetBodyBytes([]byte(got.body))); err != nil {
		return fmt.Errorf("%s %s: the document has no such answer: %w\n%d %.500s", in.Route.Method, in.Route.Path, err, got.status, got.body)
	}
	return nil
}

// documented finds what the document has of a request, or nil.
func documented(r *http.Request, body string) (*openapi3filter.RequestValidationInput, error) {
	d, err := loadDocument()
	if err != nil {
		return nil, err
	}
	_, pattern := d.mux.Handler(r)
	if pattern == "" {
		return nil, nil
	}
	method, path := documentPath(pattern)
	item := d.spec.Paths.Find(path)
	r = r.Clone(context.Background())
	r.Body = http.NoBody
	if body != "" {
		r.Body = http.MaxBytesReader(nil, readCloser{strings.NewReader(body)}, 1<<30)
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: map[string]string{},
		Route: &routers.Route{Spec: d.spec, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
			SkipSettingDefaults: true}}
	for _, parameter := range in.Route.Operation.Parameters {
		in.PathParams[parameter.Value.Name] = "any"
	}
	return in, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// TestDocumentHasRoutes holds the document and the table of routes to each other.
func TestDocumentHasRoutes(t *testing.T) {
	d, err := loadDocument()
	require.NoError(t, err)
	var documented, registered []string
	for path, item := range d.spec.Paths.Map() {
		for method, operation := range item.Operations() {
			documented = append(documented, method+" "+path)
			assert.NotEmpty(t, operation.Summary, "%s %s", method, path)
			assert.NotEmpty(t, operation.OperationID, "%s %s", method, path)
		}
	}
	for _, r := range newTest(t, newFake(), &Options{Search: SearchOptions{Collection: &fakeCollection{}}}).routes() {
		method, path := documentPath(r.pattern)
		registered = append(registered, method+" "+path)
		assert.Equal(t, r.pattern, documentPattern(method, path), "patterns and paths must map to each other")
	}
	slices.Sort(documented)
	slices.Sort(registered)
	assert.Equal(t, registered, documented, "the routes of the server, and those of openapi.yaml")
}

// TestDocumentErrors makes sure that each route's errors are of the dialect that the document says.
func TestDocumentErrors(t *testing.T) {
	d, err := loadDocument()
	require.NoError(t, err)
	s := newTest(t, newFake(), &Options{Search: SearchOptions{Collection: &fakeCollection{}}})
	for _, r := range s.routes() {
		for _, e := range []error{invalid("inputs[1]", "a test"), &apiError{status: 429, code: codeBusy, message: "a test"}, context.Canceled} {
			w := httptest.NewRecorder()
			method, path := documentPath(r.pattern)
			request := httptest.NewRequest(method, strings.NewReplacer("{", "", "}", "").Replace(path), http.NoBody)
			s.fail(w, request, r.dialect, e)
			assert.NoError(t, described(request, "", reply{w.Code, w.Header(), w.Body.String()}), r.pattern)
			assert.GreaterOrEqual(t, w.Code, 400)
		}
	}
	assert.NotEmpty(t, d.spec.Components.Responses)
}

// TestDescribedRefuses makes sure that the check which every test's requests go through can fail.
func TestDescribedRefuses(t *testing.T) {
	request := func(method, path string) *http.Request {
		r := httptest.NewRequest(method, path, http.NoBody)
		r.Header.Set("Content-Type", "application/json")
		return r
	}
	answer := func(status int, body string) reply {
		return reply{status, http.Header{"Content-Type": {"application/json"}}, body}
	}
	const good = `{"inputs": "cat"}`
	assert.NoError(t, described(request("POST", "/embed"), good, answer(200, `[[0.5]]`)))
	assert.NoError(t, described(request("POST", "/nowhere"), good, answer(200, `1`)), "no route")
	for name, c := range map[string]struct {
		path, body string
		got        reply
	}{
		"request":  {"/embed", `{"inputs": 7}`, answer(200, `[[0.5]]`)},
		"answer":   {"/embed", good, answer(200, `[["a"]]`)},
		"error":    {"/embed", good, answer(422, `{"error": "x"}`)},
		"status":   {"/embed", good, answer(302, `[[0.5]]`)},
		"no JSON":  {"/embed", good, answer(200, `[[`)},
		"in part":  {"/v2/embed", `{"input_type": "image", "texts": ["a"], "images": ["b"]}`, answer(200, `{"id": "", "embeddings": {}, "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 1, "images": 0}}}`)},
		"no place": {"/v1/multimodalembeddings", `{"inputs": [{"content": []}]}`, answer(200, `{}`)},
	} {
		assert.Error(t, described(request("POST", c.path), c.body, c.got), name)
	}
	header := answer(200, `[[0.5]]`)
	header.header.Set(headerTruncated, "1 and 2")
	assert.Error(t, described(request("POST", "/embed"), good, header), "a header")
}

// TestOpenAPI asks the server for its document.
func TestOpenAPI(t *testing.T) {
	got := ask(newTest(t, newFake(), nil).Handler(), "GET", "/openapi.json", "")
	require.Equal(t, 200, got.status)
	assert.Equal(t, "application/json", got.header.Get("Content-Type"))
	spec, err := openapi3.NewLoader().LoadFromIoReader(bytes.NewReader([]byte(got.body)))
	require.NoError(t, err)
	assert.Equal(t, "3.1.0", spec.OpenAPI)
}
