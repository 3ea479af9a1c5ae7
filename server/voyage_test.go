package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

func TestVoyageForms(t *testing.T) {
	cat, composed := textInput("cat"), composedRetrieval(t)
	const (
		text  = `{"type":"text","text":"cat"}`
		image = `{"type":"image_base64","image_base64":"PIC"}`
	)
	checkForms(t, "/v1/multimodalembeddings", dataRows, []dialectForm{
		{"text", `{"model":"voyage-multimodal-3","inputs":[{"content":[` + text + `]}]}`, []bgevl.Input{cat}},
		{"query", `{"inputs":[{"content":[` + text + `]}],"input_type":"query","truncation":true}`, []bgevl.Input{cat}},
		{"documents", `{"inputs":[{"content":[` + text + `]},{"content":[` + image + `]}],"input_type":"document","truncation":false}`,
			[]bgevl.Input{candidateInput("cat"), asCandidate(imageInput())}},
		{"composed", `{"inputs":[{"content":[` + text + `,` + image + `]}],"input_type":null}`, []bgevl.Input{bothInput("cat")}},
		{"image_url", `{"inputs":[{"content":[{"type":"image_url","image_url":"PIC"},` + text + `,` + text + `]}]}`, []bgevl.Input{bothInput("cat\ncat")}},
		{"task", `{"inputs":[{"content":[` + text + `]}],"task":"composed-retrieval"}`, []bgevl.Input{told(cat, composed)}},
		{"what clients send for nothing", `{"inputs":[{"content":[{"type":"text","text":"cat","image_url":null,"image_base64":null}]}],
			"output_dtype":null,"output_dimension":null,"output_encoding":null,"encoding_format":null}`, []bgevl.Input{cat}},
	})
}

func TestVoyageErrors(t *testing.T) {
	const text = `"inputs":[{"content":[{"type":"text","text":"cat"}]}]`
	checkRefusals(t, "/v1/multimodalembeddings", "detail", []refusal{
		{`{}`, 400, "no inputs"},
		{`{"inputs":[{}]}`, 400, "inputs[0]: neither"},
		{`{"inputs":[{"content":[{"type":"video_url","video_url":"x"}]}]}`, 400, "inputs[0].content[0]: want a text"},
		{`{"inputs":[{"content":[{"type":"image_base64"}]}]}`, 400, "inputs[0].content[0]: want a text"},
		{`{"inputs":[{"content":[{"type":"image_url","image_url":"https://example.com/a.png"}]}]}`, 400, "inputs[0].content[0]: image URLs are off"},
		{`{"inputs":[{"content":[{"type":"image_base64","image_base64":"B64"},{"type":"image_base64","image_base64":"B64"}]}]}`, 400,
			"inputs[0].content[1]: a second image"},
		{`{` + text + `,"input_type":"passage"}`, 400, "input_type: want query or document"},
		{`{` + text + `,"input_type":"document","task":"composed-retrieval"}`, 400, "instruction: candidates"},
		{`{` + text + `,"output_dtype":"base64"}`, 400, "output_dtype: want float"},
		{`{` + text + `,"output_encoding":"hex"}`, 400, "output_encoding: want base64"},
		{`{` + text + `,"encoding_format":"hex"}`, 400, "encoding_format: want base64"},
		{`{` + text + `,"output_dimension":-1}`, 400, "output_dimension: want 1 to 16"},
		{`{"inputs":[{"content":[{"type":"text","text":"long"}]}],"truncation":false}`, 400, "inputs[0]: 100 tokens"},
		{`{"inputs":[{"content":[{"type":"text","text":"bad"}]}]}`, 400, "inputs[0]: the image"},
	})
}

// TestVoyageEncodings asks for types and encodings, and compares with the floats.
func TestVoyageEncodings(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	v := fakeVector(textInput("cat"), 16)
	for options, want := range map[string]any{
		``:                            v,
		`,"output_encoding":"base64"`: base64Floats(v),
		`,"encoding_format":"base64"`: base64Floats(v),
		`,"output_dtype":"int8"`:      int8s(v),
		`,"output_dtype":"ubinary"`:   ubinary(v),
		`,"output_dtype":"ubinary","encoding_format":"base64"`: base64Numbers(ubinary(v)),
		`,"output_dtype":"uint8","encoding_format":"base64"`:   base64Numbers(uint8s(v)),
	} {
		got := post(h, "/v1/multimodalembeddings", `{"inputs":[{"content":[{"type":"text","text":"cat"}]}]`+options+`}`)
		require.Equal(t, 200, got.status, got.body)
		var out struct {
			Data []struct {
				Object    string
				Index     int
				Embedding any
			}
			Usage map[string]int
		}
		got.decode(t, &out)
		require.Len(t, out.Data, 1)
		assert.EqualValues(t, "embedding", out.Data[0].Object)
		if s, ok := want.(string); ok {
			assert.Equal(t, s, out.Data[0].Embedding, options)
		} else {
			assert.Equal(t, plain(t, want), out.Data[0].Embedding, options)
		}
		assert.Equal(t, map[string]int{"text_tokens": 3, "total_tokens": 3, "images": 0, "image_pixels": 0, "video_pixels": 0}, out.Usage)
	}
}

// TestVoyageTexts sends what Voyage's clients send to the path of OpenAI's: all of it has to count, since they read the
// answer by it.
func TestVoyageTexts(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	query, document := fakeVector(textInput("cat"), 16), fakeVector(candidateInput("cat"), 16)
	short, err := shorten(document, 8, "")
	require.NoError(t, err)
	for body, want := range map[string]any{
		`{"input":"cat","input_type":"query","truncation":true,"encoding_format":"base64","output_dtype":null}`: base64Floats(query),
		`{"input":["cat"],"input_type":"document","encoding_format":"base64","output_dtype":"float"}`:           base64Floats(document),
		`{"input":"cat","input_type":"passage"}`:                                                                document,
		`{"input":"cat","input_type":null}`:                                                                     query,
		`{"input":"cat","input_type":"query","role":"candidate"}`:                                               document,
		`{"input":"cat","input_type":"document","output_dimension":8}`:                                          short,
		`{"input":"cat","output_dtype":"int8"}`:                                                                 int8s(query),
		`{"input":"cat","output_dtype":"int8","encoding_format":"base64"}`:                                      base64Numbers(int8s(query)),
		`{"input":"cat","output_dtype":"binary","encoding_format":"base64"}`:                                    base64Numbers(signedBinary(query)),
	} {
		got := post(h, "/v1/embeddings", body)
		require.Equal(t, 200, got.status, "%s: %s", body, got.body)
		var out struct{ Data []struct{ Embedding any } }
		got.decode(t, &out)
		require.Len(t, out.Data, 1)
		assert.Equal(t, plain(t, want), out.Data[0].Embedding, body)
	}
	assert.Equal(t, "0", post(h, "/v1/embeddings", `{"input":"long","truncation":true}`).header.Get(headerTruncated))
	for body, says := range map[string]string{
		`{"input":"cat","input_type":"other"}`:                             "input_type: want query or document",
		`{"input":"cat","output_dtype":"hex"}`:                             "output_dtype: want",
		`{"input":"cat","output_dtype":"int8","encoding_format":"binary"}`: "encoding_format: want base64",
		`{"input":"cat","output_dimension":17}`:                            "dimensions: want 1 to 16",
		`{"input":"long","truncation":false}`:                              "input: 100 tokens",
	} {
		got := post(h, "/v1/embeddings", body)
		assert.Equal(t, 400, got.status, body)
		assert.Contains(t, got.body, says, body)
	}
}

// TestVoyageTruncated wants a cut to be said beside the embedding.
func TestVoyageTruncated(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	got := post(h, "/v1/multimodalembeddings", `{"inputs":[{"content":[{"type":"text","text":"cat"}]},{"content":[{"type":"text","text":"long"}]}]}`)
	require.Equal(t, 200, got.status, got.body)
	var out struct {
		Data []struct{ Truncated *bool }
	}
	got.decode(t, &out)
	require.Len(t, out.Data, 2)
	assert.Nil(t, out.Data[0].Truncated)
	require.NotNil(t, out.Data[1].Truncated)
	assert.True(t, *out.Data[1].Truncated)
}
