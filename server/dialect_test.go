package server

import (
	"encoding/base64"
	"encoding/json"
	"image/color"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
	"github.com/bgevl/bgevl/internal/llamatest"
)

// dialectForm is a body and the inputs that it should mean.
type dialectForm struct {
	name, body string
	want       []bgevl.Input
}

// checkForms sends bodies to a path and compares the vectors that rows finds in an answer with those of what was meant. In
// a body PIC stands for a picture as a data URI and B64 for one in base64.
func checkForms(t *testing.T, path string, rows func(t *testing.T, r reply) [][]float32, forms []dialectForm) {
	t.Helper()
	h := newTest(t, newFake(), nil).Handler()
	for _, c := range forms {
		t.Run(c.name, func(t *testing.T) {
			got := post(h, path, pictured(t, c.body))
			require.Equal(t, 200, got.status, got.body)
			assert.Empty(t, got.header.Get(headerTruncated))
			assert.Empty(t, got.header.Get(headerWarning))
			vectors := rows(t, got)
			require.Len(t, vectors, len(c.want))
			for i, in := range c.want {
				assert.InDeltaSlice(t, fakeVector(in, 16), vectors[i], 1e-6, "input %d", i)
			}
		})
	}
}

// pictured replaces PIC and B64.
func pictured(t testing.TB, body string) string {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString(pngBytes(t, color.White))
	return strings.NewReplacer("PIC", "data:image/png;base64,"+b64, "B64", b64).Replace(body)
}

// Inputs of forms.
func textInput(s string) bgevl.Input      { return bgevl.Input{Text: &s} }
func candidateInput(s string) bgevl.Input { return bgevl.Input{Text: &s, Role: bgevl.RoleCandidate} }
func imageInput() bgevl.Input             { return bgevl.Input{Image: bgevl.ImageBytes(nil)} }
func bothInput(s string) bgevl.Input      { return bgevl.Input{Text: &s, Image: bgevl.ImageBytes(nil)} }
func told(in bgevl.Input, instruction string) bgevl.Input {
	in.Instruction = &instruction
	return in
}

func asCandidate(in bgevl.Input) bgevl.Input {
	in.Role = bgevl.RoleCandidate
	return in
}

// composedRetrieval is the instruction of the task of that name.
func composedRetrieval(t testing.TB) string {
	t.Helper()
	task, ok := bgevl.FindTask("composed-retrieval")
	require.True(t, ok)
	return task.Instruction
}

// refusal is a body, and what the answer to it should say.
type refusal struct {
	body   string
	status int
	says   string // the beginning of the error's text
}

// checkRefusals sends bodies to a path. An error's text is the field of that name in the answer.
func checkRefusals(t *testing.T, path, field string, refusals []refusal) {
	t.Helper()
	m := newFake()
	h := newTest(t, m, nil).Handler()
	for _, c := range refusals {
		got := post(h, path, pictured(t, c.body))
		assert.Equal(t, c.status, got.status, "%.100s: %s", c.body, got.body)
		var out map[string]any
		got.decode(t, &out)
		said, _ := out[field].(string)
		assert.True(t, strings.HasPrefix(said, c.says), "%.100s: want %q..., got %q", c.body, c.says, said)
		assert.NotContains(t, got.body, "secret")
	}
}

// TestHints tries what a body may say about roles and instructions.
func TestHints(t *testing.T) {
	query, candidate := bgevl.RoleQuery, bgevl.RoleCandidate
	find, task := "find it", composedRetrieval(t)
	for _, c := range []struct {
		hints       string
		given       *bgevl.Role
		role        bgevl.Role
		instruction *string
		fails       string // the field that an error names
	}{
		{`{}`, nil, query, nil, ""},
		{`{}`, &candidate, candidate, nil, ""},
		{`{"role":"candidate"}`, nil, candidate, nil, ""},
		{`{"role":"Query"}`, &query, query, nil, ""},
		{`{"instruction":"find it"}`, nil, query, &find, ""},
		{`{"task":"composed-retrieval"}`, &query, query, &task, ""},
		{`{"task":"Composed-Retrieval","role":"query"}`, nil, query, &task, ""},
		{`{"role":"candidate"}`, &query, 0, nil, "role"},
		{`{"role":"passage"}`, nil, 0, nil, "role"},
		{`{"instruction":"find it"}`, &candidate, 0, nil, "instruction"},
		{`{"task":"composed-retrieval","role":"candidate"}`, nil, 0, nil, "instruction"},
		{`{"task":"composed-retrieval","instruction":"find it"}`, nil, 0, nil, "task"},
		{`{"task":"nonsense"}`, nil, 0, nil, "task"},
	} {
		var h hints
		require.NoError(t, json.Unmarshal([]byte(c.hints), &h))
		role, instruction, err := h.steer(c.given)
		if c.fails != "" {
			var failed *apiError
			require.ErrorAs(t, err, &failed, c.hints)
			assert.Equal(t, c.fails, failed.param, c.hints)
			continue
		}
		require.NoError(t, err, c.hints)
		assert.Equal(t, c.role, role, c.hints)
		assert.Equal(t, c.instruction, instruction, c.hints)
	}
}

// TestBase64Numbers compares with the bytes that numpy has for the same arrays.
func TestBase64Numbers(t *testing.T) {
	v := []float32{1, -0.5, 0, 0.25, -1, 0, 0, 1}
	for kind, want := range map[string][]byte{
		"int8": {127, 0xc0, 0, 32, 0x81, 0, 0, 127}, "uint8": {255, 64, 128, 160, 1, 128, 128, 255},
		"binary": {0x91 - 128}, "ubinary": {0x91},
	} {
		got, err := base64.StdEncoding.DecodeString(base64Numbers(encodeVector(kind, v)))
		require.NoError(t, err)
		assert.Equal(t, want, got, kind)
	}
	assert.Equal(t, base64Floats(v), base64Numbers(encodeVector("float", v)))
}

// openReal opens a tiny real model.
func openReal(t testing.TB, path string) *bgevl.Embedder {
	t.Helper()
	e, err := bgevl.Open(path, &bgevl.Options{Truncate: true, Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// TestDialectsAgree sends a picture with a text and an instruction through every dialect to real models, and wants the
// vector that the model gives for them.
func TestDialectsAgree(t *testing.T) {
	for name, path := range map[string]string{
		"clip": cliptest.New().Write(t), "mllm": llamatest.Write(t, llamatest.Model(), llamatest.Projector()),
	} {
		t.Run(name, func(t *testing.T) {
			e := openReal(t, path)
			text, find := "a cat", "find it"
			data := pngBytes(t, color.RGBA{200, 30, 90, 255})
			results, err := e.EmbedResults(t.Context(), []bgevl.Input{{Text: &text, Instruction: &find, Image: bgevl.ImageBytes(data)}})
			require.NoError(t, err)
			require.NoError(t, results[0].Err)
			h := newTest(t, e, nil).Handler()
			b64 := base64.StdEncoding.EncodeToString(data)
			for _, c := range []struct {
				path, body string
				rows       func(*testing.T, reply) [][]float32
			}{
				{"/v1/embeddings", `{"input":[{"text":"a cat","image":"B64"}],"instruction":"find it"}`, dataRows},
				{"/embed", `{"inputs":{"text":"a cat","image":"B64"},"instruction":"find it"}`, teiRows},
				{"/", `{"inputs":{"text":"a cat","image":"B64","instruction":"find it"}}`, teiRows},
				{"/v2/embed", `{"input_type":"search_query","instruction":"find it","inputs":[{"content":[{"type":"text","text":"a cat"},
					{"type":"image_url","image_url":{"url":"data:image/png;base64,B64"}}]}]}`, cohereRows},
				{"/v1/multimodalembeddings", `{"input_type":"query","instruction":"find it","inputs":[{"content":[{"type":"text",
					"text":"a cat"},{"type":"image_base64","image_base64":"B64"}]}]}`, dataRows},
				{"/api/embed", `{"input":"a cat","images":["B64"],"instruction":"find it"}`, ollamaRows},
			} {
				got := post(h, c.path, strings.ReplaceAll(c.body, "B64", b64))
				require.Equal(t, 200, got.status, "%s: %s", c.path, got.body)
				assert.Equal(t, [][]float32{results[0].Embedding}, c.rows(t, got), c.path)
			}
		})
	}
}

// dataRows are the vectors of an answer of OpenAI's or Voyage's form.
func dataRows(t *testing.T, r reply) [][]float32 {
	t.Helper()
	var out struct {
		Data []struct{ Embedding []float32 }
	}
	r.decode(t, &out)
	var rows [][]float32
	for _, d := range out.Data {
		rows = append(rows, d.Embedding)
	}
	return rows
}

// TestDialectsTruncate asks every dialect to cut a text, with what it has for that, and wants to be told; and to be refused
// where it did not ask.
func TestDialectsTruncate(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	for _, c := range []struct {
		path, cut, whole string
		status           int
	}{
		{"/embed", `{"inputs":["cat","long"],"truncate":true}`, `{"inputs":["cat","long"]}`, 413},
		{"/similarity", `{"inputs":{"source_sentence":"cat","sentences":["long"]},"parameters":{"truncate":true}}`,
			`{"inputs":{"source_sentence":"cat","sentences":["long"]}}`, 413},
		{"/v2/embed", `{"input_type":"search_query","texts":["cat","long"]}`,
			`{"input_type":"search_query","texts":["cat","long"],"truncate":"NONE"}`, 400},
		{"/v1/multimodalembeddings", `{"inputs":[{"content":[{"type":"text","text":"cat"}]},{"content":[{"type":"text","text":"long"}]}]}`,
			`{"inputs":[{"content":[{"type":"text","text":"long"}]}],"truncation":false}`, 400},
		{"/api/embed", `{"input":["cat","long"]}`, `{"input":["cat","long"],"truncate":false}`, 400},
	} {
		got := post(h, c.path, c.cut)
		assert.Equal(t, 200, got.status, "%s: %s", c.path, got.body)
		assert.Equal(t, "1", got.header.Get(headerTruncated), c.path)
		got = post(h, c.path, c.whole)
		assert.Equal(t, c.status, got.status, "%s: %s", c.path, got.body)
		assert.Empty(t, got.header.Get(headerTruncated), c.path)
		assert.Contains(t, got.body, "100 tokens", c.path)
	}
	got := post(h, "/api/embeddings", `{"prompt":"long"}`)
	assert.Equal(t, "0", got.header.Get(headerTruncated))
}

// TestDialectsWarn wants to be told of a query without an instruction where those matter, and of shortened vectors.
func TestDialectsWarn(t *testing.T) {
	m := newFake()
	m.info.Instructions = true
	h := newTest(t, m, nil).Handler()
	for path, body := range map[string]string{
		"/embed":                   `{"inputs":"cat","dimensions":8}`,
		"/v2/embed":                `{"input_type":"search_query","texts":["cat"],"output_dimension":8}`,
		"/v1/multimodalembeddings": `{"inputs":[{"content":[{"type":"text","text":"cat"}]}],"output_dimension":8}`,
		"/api/embed":               `{"input":"cat","dimensions":8}`,
	} {
		got := post(h, path, body)
		require.Equal(t, 200, got.status, "%s: %s", path, got.body)
		assert.Equal(t, []string{string(bgevl.WarnNoInstruction), warnShortened}, got.header.Values(headerWarning), path)
		if path != "/embed" {
			assert.Contains(t, got.body, warnShortened, path)
		}
	}
	for path, body := range map[string]string{
		"/embed":                   `{"inputs":"cat","prompt_name":"composed-retrieval"}`,
		"/v2/embed":                `{"input_type":"search_document","texts":["cat"]}`,
		"/v1/multimodalembeddings": `{"inputs":[{"content":[{"type":"text","text":"cat"}]}],"input_type":"document"}`,
		"/api/embed":               `{"input":"cat","task":"composed-retrieval"}`,
	} {
		got := post(h, path, body)
		require.Equal(t, 200, got.status, "%s: %s", path, got.body)
		assert.Empty(t, got.header.Values(headerWarning), path)
	}
}

// TestDialectsLimits wants too many inputs refused by each dialect in its own way, before anything is computed.
func TestDialectsLimits(t *testing.T) {
	m := newFake()
	h := newTest(t, m, nil).Handler()
	texts := `"x"` + strings.Repeat(`,"x"`, 32)
	contents := `{"content":[{"type":"text","text":"x"}]}` + strings.Repeat(`,{"content":[{"type":"text","text":"x"}]}`, 32)
	for path, body := range map[string]string{
		"/embed":                   `{"inputs":[` + texts + `]}`,
		"/tokenize":                `{"inputs":[` + texts + `]}`,
		"/similarity":              `{"inputs":{"source_sentence":"x","sentences":[` + texts + `]}}`,
		"/v2/embed":                `{"input_type":"search_query","texts":[` + texts + `]}`,
		"/v1/multimodalembeddings": `{"inputs":[` + contents + `]}`,
		"/api/embed":               `{"input":[` + texts + `]}`,
	} {
		got := post(h, path, body)
		assert.Equal(t, 413, got.status, "%s: %s", path, got.body)
		assert.Contains(t, got.body, "at most 32", path)
	}
	assert.Empty(t, m.calls)
}
