package server

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

func cohereRows(t *testing.T, r reply) [][]float32 {
	t.Helper()
	var out struct{ Embeddings struct{ Float [][]float32 } }
	r.decode(t, &out)
	return out.Embeddings.Float
}

func TestCohereForms(t *testing.T) {
	cat, composed := textInput("cat"), composedRetrieval(t)
	part := func(s string) string { return `{"type":"text","text":"` + s + `"}` }
	const image = `{"type":"image_url","image_url":{"url":"PIC"}}`
	checkForms(t, "/v2/embed", cohereRows, []dialectForm{
		{"query", `{"model":"embed-v4.0","input_type":"search_query","texts":["cat"],"embedding_types":["float"],"truncate":"NONE"}`,
			[]bgevl.Input{cat}},
		{"documents", `{"model":"m","input_type":"search_document","texts":["cat","dog"]}`, []bgevl.Input{candidateInput("cat"), candidateInput("dog")}},
		{"images", `{"input_type":"image","images":["PIC","B64"]}`, []bgevl.Input{asCandidate(imageInput()), asCandidate(imageInput())}},
		{"images to search with", `{"input_type":"search_query","images":["PIC"]}`, []bgevl.Input{imageInput()}},
		{"composed", `{"input_type":"search_query","inputs":[{"content":[` + part("at night") + `,` + image + `]}]}`,
			[]bgevl.Input{bothInput("at night")}},
		{"picture first, two texts", `{"input_type":"search_document","inputs":[{"content":[` + image + `,` + part("a") + `,` + part("b") +
			`]},{"content":[` + part("cat") + `]}]}`, []bgevl.Input{asCandidate(bothInput("a\nb")), candidateInput("cat")}},
		{"a URL as a string", `{"input_type":"search_query","inputs":[{"content":[{"type":"image_url","image_url":"PIC"}]}]}`,
			[]bgevl.Input{imageInput()}},
		{"classification", `{"input_type":"classification","texts":["cat"]}`, []bgevl.Input{candidateInput("cat")}},
		{"classification with a task", `{"input_type":"classification","texts":["cat"],"task":"composed-retrieval"}`,
			[]bgevl.Input{told(cat, composed)}},
		{"task", `{"input_type":"search_query","texts":["cat"],"task":"composed-retrieval"}`, []bgevl.Input{told(cat, composed)}},
		{"instruction", `{"input_type":"search_query","texts":["cat"],"instruction":"find it"}`, []bgevl.Input{told(cat, "find it")}},
		{"what clients send for nothing", `{"input_type":"search_query","texts":["cat"],"images":null,"inputs":null,"max_tokens":null,
			"output_dimension":null,"embedding_types":null,"truncate":null,"priority":0}`, []bgevl.Input{cat}},
		{"more tokens than there can be", `{"input_type":"search_query","texts":["cat"],"max_tokens":128000}`, []bgevl.Input{cat}},
	})
}

func TestCohereErrors(t *testing.T) {
	checkRefusals(t, "/v2/embed", "message", []refusal{
		{`{"texts":["cat"]}`, 400, "input_type: it is missing"},
		{`{"input_type":"query","texts":["cat"]}`, 400, "input_type: want search_query"},
		{`{"input_type":"image"}`, 400, "inputs: want one of"},
		{`{"input_type":"image","texts":[],"images":[]}`, 400, "inputs: want one of"},
		{`{"input_type":"image","texts":["a"],"images":["B64"]}`, 400, "inputs: want one of"},
		{`{"input_type":"image","texts":["a"],"truncate":"START"}`, 400, "truncate: texts are cut at their end only"},
		{`{"input_type":"image","texts":["a"],"truncate":"end"}`, 400, "truncate: want"},
		{`{"input_type":"image","texts":["a"],"max_tokens":10}`, 400, "max_tokens: texts are cut at the model's own limit of 77"},
		{`{"input_type":"image","texts":["a"],"embedding_types":["float","hex"]}`, 400, "embedding_types[1]: want"},
		{`{"input_type":"image","texts":["a"],"output_dimension":17}`, 400, "output_dimension: want 1 to 16"},
		{`{"input_type":"search_document","texts":["a"],"instruction":"x"}`, 400, "instruction: candidates"},
		{`{"input_type":"search_query","inputs":[{"content":[]}]}`, 400, "inputs[0]: neither"},
		{`{"input_type":"search_query","inputs":[{"content":[{"type":"text"}]}]}`, 400, "inputs[0].content[0]: want"},
		{`{"input_type":"search_query","inputs":[{"content":[{"type":"video","text":"x"}]}]}`, 400, "inputs[0].content[0]: want"},
		{`{"input_type":"search_query","inputs":[{"content":[{"type":"image_url","image_url":{"url":"B64"}},
			{"type":"image_url","image_url":{"url":"B64"}}]}]}`, 400, "inputs[0].content[1]: a second image"},
		{`{"input_type":"image","images":["file:///etc/passwd"]}`, 400, "images[0]: "},
		{`{"input_type":"search_query","texts":["a","long"],"truncate":"NONE"}`, 400, "texts[1]: 100 tokens"},
		{`{"input_type":"search_query","texts":["a","bad"]}`, 400, "texts[1]: the image cannot be decoded"},
		{`{"input_type":"search_query","texts":["nan"]}`, 500, "texts[0]: the model failed"},
		{`{"input_type":"search_query","texts":"cat"}`, 400, "texts: the field has a value of the wrong type"},
	})
}

// TestCohereTypes asks for every type of embedding at once, and compares each with the floats.
func TestCohereTypes(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	got := post(h, "/v2/embed", `{"input_type":"search_query","texts":["cat","long"],
		"embedding_types":["float","base64","int8","uint8","binary","ubinary","float"]}`)
	require.Equal(t, 200, got.status, got.body)
	var out struct {
		ID         string
		Texts      []string
		Embeddings struct {
			Float                        [][]float32
			Base64                       []string
			Int8, Uint8, Binary, Ubinary [][]int
		}
		Meta struct {
			Billed    map[string]int `json:"billed_units"`
			Warnings  []string
			Truncated []int
		}
	}
	got.decode(t, &out)
	assert.Equal(t, []string{"cat", "long"}, out.Texts)
	assert.Len(t, out.ID, 36)
	assert.Equal(t, map[string]int{"input_tokens": 80, "images": 0}, out.Meta.Billed)
	assert.Equal(t, []int{1}, out.Meta.Truncated)
	assert.Equal(t, []string{"too long for the model, and cut at the end: texts[1]"}, out.Meta.Warnings)
	e := out.Embeddings
	require.Len(t, e.Float, 2)
	for i, v := range e.Float {
		largest := 0.0
		for _, x := range v {
			largest = max(largest, math.Abs(float64(x)))
		}
		raw, err := base64.StdEncoding.DecodeString(e.Base64[i])
		require.NoError(t, err)
		require.Len(t, raw, 4*len(v))
		require.Len(t, e.Ubinary[i], 2)
		for j, x := range v {
			assert.Equal(t, x, math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:])))
			assert.Equal(t, int(math.Round(float64(x)/largest*127)), e.Int8[i][j])
			assert.Equal(t, e.Int8[i][j]+128, e.Uint8[i][j])
			assert.Equal(t, x > 0, e.Ubinary[i][j/8]>>(7-j%8)&1 == 1)
		}
		for j := range e.Ubinary[i] {
			assert.Equal(t, e.Ubinary[i][j]-128, e.Binary[i][j])
		}
	}
	second := post(h, "/v2/embed", `{"input_type":"search_query","texts":["cat"]}`)
	assert.NotContains(t, second.body, out.ID, "an identifier comes once")
	assert.NotContains(t, second.body, "base64", "only what was asked for")
}
