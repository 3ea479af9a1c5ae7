package server

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"image/color"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// openAIVectors are the vectors of an answer in floats.
func openAIVectors(t *testing.T, r reply) [][]float32 {
	t.Helper()
	require.Equal(t, 200, r.status, r.body)
	var out struct {
		Object, Model string
		Data          []struct {
			Object    string
			Index     int
			Embedding []float32
		}
	}
	r.decode(t, &out)
	assert.Equal(t, "list", out.Object)
	assert.Equal(t, "fake", out.Model)
	var rows [][]float32
	for i, d := range out.Data {
		assert.Equal(t, i, d.Index)
		assert.Equal(t, "embedding", d.Object)
		rows = append(rows, d.Embedding)
	}
	return rows
}

// TestOpenAIForms sends every form of body, and compares what the model was given.
func TestOpenAIForms(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	img := base64.StdEncoding.EncodeToString(pngBytes(t, color.White))
	uri := "data:image/png;base64," + img
	pic := bgevl.ImageBytes(nil)
	cat, at, find := "cat", "at night", "find it"
	preset, ok := bgevl.FindTask("composed-retrieval")
	require.True(t, ok)
	candidate := bgevl.RoleCandidate
	for _, c := range []struct {
		name, body string
		want       []bgevl.Input
	}{
		{"string", `{"model":"any","input":"cat","user":"u"}`, []bgevl.Input{{Text: &cat}}},
		{"strings", `{"input":["cat","at night"]}`, []bgevl.Input{{Text: &cat}, {Text: &at}}},
		{"spaces", " {\n\"input\" : [ \"cat\" ,\n \"at night\" ] } \n", []bgevl.Input{{Text: &cat}, {Text: &at}}},
		{"Infinity", `{"input":"` + uri + `","modality":"image"}`, []bgevl.Input{{Image: pic}}},
		{"Infinity, several", `{"input":["` + uri + `","` + img + `"],"modality":"image"}`, []bgevl.Input{{Image: pic}, {Image: pic}}},
		{"Infinity, text", `{"input":"cat","modality":"text"}`, []bgevl.Input{{Text: &cat}}},
		{"Jina", `{"input":[{"text":"cat"},{"image":"` + img + `"}],"task":"retrieval.passage","normalized":true}`,
			[]bgevl.Input{{Text: &cat, Role: candidate}, {Image: pic, Role: candidate}}},
		{"Jina, query", `{"input":[{"text":"cat"}],"task":"retrieval.query"}`, []bgevl.Input{{Text: &cat}}},
		{"Jina, strings", `{"input":["cat",{"text":"at night"}]}`, []bgevl.Input{{Text: &cat}, {Text: &at}}},
		{"composed", `{"input":[{"text":"at night","image":"` + uri + `","instruction":"find it"}]}`,
			[]bgevl.Input{{Text: &at, Image: pic, Instruction: &find}}},
		{"one object", `{"input":{"text":"at night","image":"` + uri + `"}}`, []bgevl.Input{{Text: &at, Image: pic}}},
		{"roles", `{"role":"candidate","input":["cat",{"text":"cat","role":"query"}]}`,
			[]bgevl.Input{{Text: &cat, Role: candidate}, {Text: &cat}}},
		{"instruction for all queries", `{"instruction":"find it","input":["cat",{"text":"cat","role":"candidate"}]}`,
			[]bgevl.Input{{Text: &cat, Instruction: &find}, {Text: &cat, Role: candidate}}},
		{"preset", `{"task":"composed-retrieval","input":"cat"}`, []bgevl.Input{{Text: &cat, Instruction: &preset.Instruction}}},
		{"vLLM", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + uri + `"}},
			{"type":"text","text":"at night"}]}],"add_generation_prompt":false,"priority":1}`, []bgevl.Input{{Text: &at, Image: pic}}},
		{"vLLM, system", `{"messages":[{"role":"system","content":[{"type":"text","text":"find it"}]},{"role":"user","content":"cat"},
			{"role":"assistant","content":[{"type":"text","text":""}]}]}`, []bgevl.Input{{Text: &cat, Instruction: &find}}},
		{"vLLM, image only", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"` + uri + `"}]}]}`, []bgevl.Input{{Image: pic}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := openAIVectors(t, post(h, "/v1/embeddings", c.body))
			require.Len(t, rows, len(c.want))
			for i, in := range c.want {
				assert.InDeltaSlice(t, fakeVector(in, 16), rows[i], 1e-6, "input %d", i)
			}
		})
	}
}

// TestOpenAIErrors sends what cannot be answered, and looks at the error's place.
func TestOpenAIErrors(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	many := `["x"` + strings.Repeat(`,"x"`, 32) + `]`
	for _, c := range []struct {
		body   string
		status int
		code   errorCode
		param  string
	}{
		{`{}`, 400, codeEmpty, "input"},
		{`{"input":null}`, 400, codeEmpty, "input"},
		{`{"input":[]}`, 400, codeEmpty, ""},
		{`{"input":[1,2,3]}`, 400, codeInvalid, "input"},
		{`{"input":[[1,2,3],[4]]}`, 400, codeInvalid, "input[0]"},
		{`{"input":7}`, 400, codeInvalid, "input"},
		{`{"input":["a",true]}`, 400, codeInvalid, "input[1]"},
		{`{"input":[{}]}`, 400, codeEmpty, "input[0]"},
		{`{"input":[{"text":5}]}`, 400, codeInvalid, "input[0].text"},
		{`{"input":[{"image":""}]}`, 400, codeImage, "input[0]"},
		{`{"input":[{"image":"!!!"}]}`, 400, codeImage, "input[0]"},
		{`{"input":[{"image":"https://example.com/a.png"}]}`, 400, codeImage, "input[0]"},
		{`{"input":[{"image":"file:///etc/passwd"}]}`, 400, codeImage, "input[0]"},
		{`{"input":[{"image":"data:image/png,abc"}]}`, 400, codeImage, "input[0]"},
		{`{"input":"x","modality":"audio"}`, 400, codeInvalid, "modality"},
		{`{"input":"x","task":"nonsense"}`, 400, codeInvalid, "task"},
		{`{"input":"x","role":"nonsense"}`, 400, codeInvalid, "role"},
		{`{"input":[{"text":"x","role":"nonsense"}]}`, 400, codeInvalid, "input[0].role"},
		{`{"input":"x","encoding_format":"hex"}`, 400, codeInvalid, "encoding_format"},
		{`{"input":"x","embedding_type":["float","hex"]}`, 400, codeInvalid, "embedding_type"},
		{`{"input":"x","dimensions":0}`, 400, codeInvalid, "dimensions"},
		{`{"input":"x","dimensions":17}`, 400, codeInvalid, "dimensions"},
		{`{"input":"x","dimensions":"8"}`, 400, codeInvalid, "dimensions"},
		{`{"input":"x","truncate_prompt_tokens":5}`, 400, codeInvalid, "truncate_prompt_tokens"},
		{`{"input":"x","messages":[]}`, 400, codeInvalid, "messages"},
		{`{"messages":[]}`, 400, codeEmpty, "messages"},
		{`{"messages":[{"role":"user","content":[{"type":"audio"}]}]}`, 400, codeInvalid, "messages[0].content[0]"},
		{`{"messages":[{"role":"assistant","content":"hi"}]}`, 400, codeInvalid, "messages[0]"},
		{`{"input":` + many + `}`, 413, codeTooMany, ""},
		{`{"input":"long"}`, 400, codeTooLong, "input"},
		{`{"input":["fine","bad"]}`, 400, codeImage, "input[1]"},
		{`{"input":["fine","nan"]}`, 500, codeModel, "input[1]"},
		{`{"input":"panic"}`, 500, codeModel, "input"},
		{`{"input":["a","panic"]}`, 500, codeModel, "input[1]"},
		{`{"input":"sinks"}`, 500, codeModel, "input"},
		{`{"input":"x"`, 400, codeInvalid, ""},
		{`{"input":"x"} {}`, 400, codeInvalid, ""},
		{"{\"input\":\"\xff\"}", 400, codeInvalid, ""},
		{`[]`, 400, codeInvalid, ""},
	} {
		r := post(h, "/v1/embeddings", c.body)
		var out struct {
			Error struct {
				Message, Type, Code string
				Param               *string
			}
		}
		r.decode(t, &out)
		param := ""
		if out.Error.Param != nil {
			param = *out.Error.Param
		}
		assert.Equal(t, c.status, r.status, c.body)
		assert.Equal(t, string(c.code), out.Error.Code, "%s: %s", c.body, r.body)
		assert.Equal(t, c.param, param, c.body)
		assert.NotEmpty(t, out.Error.Type)
		assert.NotContains(t, r.body, "secret", "a path of the server's")
		assert.NotContains(t, r.body, "goroutine")
	}
}

// TestOpenAIFormats asks for every way to write a vector.
func TestOpenAIFormats(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	cat := "cat"
	want := fakeVector(bgevl.Input{Text: &cat}, 16)
	one := func(body string) (embedding json.RawMessage, warnings []string) {
		var out struct {
			Data     []struct{ Embedding json.RawMessage }
			Warnings []string
			Usage    struct{ Prompt_tokens, Total_tokens int }
		}
		r := post(h, "/v1/embeddings", body)
		require.Equal(t, 200, r.status, r.body)
		r.decode(t, &out)
		assert.Equal(t, 3, out.Usage.Prompt_tokens)
		assert.Equal(t, 3, out.Usage.Total_tokens)
		return out.Data[0].Embedding, out.Warnings
	}
	embedding, _ := one(`{"input":"cat","encoding_format":"base64"}`)
	var s string
	require.NoError(t, json.Unmarshal(embedding, &s))
	data, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	require.Len(t, data, 64)
	for i := range want {
		assert.Equal(t, want[i], math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	embedding, _ = one(`{"input":"cat","embedding_type":"ubinary"}`)
	assert.JSONEq(t, mustJSON(t, ubinary(want)), string(embedding))
	embedding, _ = one(`{"input":"cat","embedding_type":["binary"]}`)
	assert.JSONEq(t, mustJSON(t, signedBinary(want)), string(embedding))
	embedding, _ = one(`{"input":"cat","embedding_type":"int8"}`)
	assert.JSONEq(t, mustJSON(t, int8s(want)), string(embedding))

	embedding, warnings := one(`{"input":"cat","dimensions":4,"normalized":false}`)
	var short []float32
	require.NoError(t, json.Unmarshal(embedding, &short))
	cut, err := shorten(want, 4, "")
	require.NoError(t, err)
	assert.Equal(t, cut, short)
	assert.Equal(t, []string{warnShortened, warnUnit}, warnings)
}

// TestOpenAISaysWhatWasCut holds responses to telling of cut texts and of what makes vectors less good.
func TestOpenAISaysWhatWasCut(t *testing.T) {
	m := newFake()
	m.info.Instructions = true
	h := newTest(t, m, nil).Handler()
	var out openAIResponse
	r := post(h, "/v1/embeddings", `{"input":["cat","long"],"truncate":true}`)
	require.Equal(t, 200, r.status, r.body)
	r.decode(t, &out)
	assert.Equal(t, []int{1}, out.Truncated)
	assert.Equal(t, []string{string(bgevl.WarnNoInstruction)}, out.Warnings)
	assert.Equal(t, openAIUsage{3 + 77, 3 + 77}, out.Usage, "tokens that were cut were not computed")
	r = post(h, "/v1/embeddings", `{"input":["long"],"truncate_prompt_tokens":-1}`)
	assert.Equal(t, 200, r.status, r.body)
	r = post(h, "/v1/embeddings", `{"input":["cat"],"task":"retrieval.passage"}`)
	require.Equal(t, 200, r.status)
	assert.NotContains(t, r.body, "warnings")
	assert.NotContains(t, r.body, "truncated")
}

func TestOpenAIModels(t *testing.T) {
	h := newTest(t, newFake(), &Options{ModelName: "org/name"}).Handler()
	r := ask(h, "GET", "/v1/models", "")
	require.Equal(t, 200, r.status)
	assert.JSONEq(t, `{"object":"list","data":[{"id":"org/name","object":"model","created":0,"owned_by":"bgevl"}]}`, r.body)
	assert.Equal(t, 200, ask(h, "GET", "/v1/models/org/name", "").status)
	assert.Equal(t, 404, ask(h, "GET", "/v1/models/other", "").status)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}
