package server

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
	"github.com/bgevl/bgevl/internal/llamatest"
)

func teiRows(t *testing.T, r reply) [][]float32 {
	t.Helper()
	var rows [][]float32
	r.decode(t, &rows)
	return rows
}

func TestTEIForms(t *testing.T) {
	find, composed := "find it", composedRetrieval(t)
	cat, at := textInput("cat"), textInput("at night")
	forms := []dialectForm{
		{"string", `{"inputs":"cat"}`, []bgevl.Input{cat}},
		{"strings", `{"inputs":["cat","at night"],"truncate":false,"normalize":true}`, []bgevl.Input{cat, at}},
		{"nulls", `{"inputs":["cat"],"truncate":null,"truncation_direction":null,"prompt_name":null,"normalize":null,"dimensions":null}`,
			[]bgevl.Input{cat}},
		{"left without truncation", `{"inputs":"cat","truncation_direction":"Left"}`, []bgevl.Input{cat}},
		{"right", `{"inputs":"cat","truncate":true,"truncation_direction":"right"}`, []bgevl.Input{cat}},
		{"empty text", `{"inputs":""}`, []bgevl.Input{textInput("")}},
		{"query", `{"inputs":"cat","prompt_name":"query"}`, []bgevl.Input{cat}},
		{"document", `{"inputs":"cat","prompt_name":"document"}`, []bgevl.Input{asCandidate(cat)}},
		{"passage", `{"inputs":["cat"],"prompt_name":"passage"}`, []bgevl.Input{asCandidate(cat)}},
		{"task as a prompt", `{"inputs":"cat","prompt_name":"composed-retrieval"}`, []bgevl.Input{told(cat, composed)}},
		{"task", `{"inputs":"cat","task":"composed-retrieval"}`, []bgevl.Input{told(cat, composed)}},
		{"instruction", `{"inputs":["cat",{"text":"cat"}],"instruction":"find it"}`, []bgevl.Input{told(cat, find), told(cat, find)}},
		{"role", `{"inputs":"cat","role":"candidate"}`, []bgevl.Input{asCandidate(cat)}},
		{"image", `{"inputs":{"image":"PIC"}}`, []bgevl.Input{imageInput()}},
		{"mixed", `{"inputs":["cat",{"image":"B64"},{"text":"at night","image":"B64"}],"prompt_name":"document"}`,
			[]bgevl.Input{asCandidate(cat), asCandidate(imageInput()), asCandidate(bothInput("at night"))}},
		{"an item's own role", `{"inputs":["cat",{"text":"cat","role":"candidate"}],"instruction":"find it"}`,
			[]bgevl.Input{told(cat, find), asCandidate(cat)}},
		{"an item's own role against a prompt", `{"inputs":["cat",{"text":"cat","role":"candidate"},{"text":"cat","role":"query"}],
			"prompt_name":"composed-retrieval"}`, []bgevl.Input{told(cat, composed), asCandidate(cat), told(cat, composed)}},
		{"an item's own instruction", `{"inputs":[{"text":"cat","instruction":"find it"},"cat"],"task":"composed-retrieval"}`,
			[]bgevl.Input{told(cat, find), told(cat, composed)}},
	}
	checkForms(t, "/embed", teiRows, forms)
	checkForms(t, "/", teiRows, forms[:2])
}

func TestTEIErrors(t *testing.T) {
	embed := []refusal{
		{`{}`, 400, "no inputs"},
		{`{"inputs":[]}`, 400, "no inputs"},
		{`{"inputs":null}`, 400, "no inputs"},
		{`{"inputs":[null]}`, 400, "inputs[0]: neither"},
		{`{"inputs":{}}`, 400, "inputs: neither"},
		{`{"inputs":[[1,2]]}`, 422, "token ids"},
		{`{"inputs":[1,2]}`, 422, "token ids"},
		{`{"inputs":true}`, 422, ""},
		{`{"inputs":"cat","truncate":true,"truncation_direction":"Left"}`, 422, "truncation_direction: texts are cut at their right end"},
		{`{"inputs":"cat","truncation_direction":"up"}`, 422, "truncation_direction: want"},
		{`{"inputs":"cat","prompt_name":"nonsense"}`, 422, "prompt_name: no such"},
		{`{"inputs":"cat","prompt_name":"composed-retrieval","instruction":"x"}`, 422, "prompt_name: it names a task"},
		{`{"inputs":"cat","prompt_name":"document","instruction":"x"}`, 422, "instruction: candidates"},
		{`{"inputs":"cat","prompt_name":"document","role":"query"}`, 422, "role: it contradicts"},
		{`{"inputs":["cat",{"text":"cat","task":"nonsense"}]}`, 422, "inputs[1].task: no such"},
		{`{"inputs":"cat","task":"nonsense"}`, 422, "task: no such"},
		{`{"inputs":"cat","dimensions":0}`, 422, "dimensions: want 1 to 16"},
		{`{"inputs":"cat","dimensions":17}`, 422, "dimensions: want 1 to 16"},
		{`{"inputs":{"image":"https://example.com/a.png"}}`, 422, "inputs.image: "},
		{`{"inputs":["cat",{"image":"!"}]}`, 422, "inputs[1].image: "},
		{`{"inputs":["cat","bad"]}`, 422, "inputs[1]: the image cannot be decoded"},
		{`{"inputs":["cat","nan"]}`, 424, "inputs[1]: the model failed"},
		{`{"inputs":["cat","sinks"]}`, 424, "inputs[1]: the model failed"},
		{`{"inputs":`, 422, "the body is no JSON"},
	}
	checkRefusals(t, "/embed", "error", embed)
	checkRefusals(t, "/", "error", embed[:3])
	checkRefusals(t, "/similarity", "error", []refusal{
		{`{}`, 400, "inputs.source_sentence: neither"},
		{`{"inputs":{"source_sentence":"cat"}}`, 400, "inputs.sentences: neither"},
		{`{"inputs":{"source_sentence":"cat","sentences":["a",{}]}}`, 400, "inputs.sentences[1]: neither"},
		{`{"inputs":{"source_sentence":"cat","sentences":["a"]},"parameters":{"truncate":true,"truncation_direction":"Left"}}`, 422,
			"truncation_direction"},
		{`{"inputs":{"source_sentence":"cat","sentences":["a"]},"parameters":{"prompt_name":"x"}}`, 422, "prompt_name"},
	})
	checkRefusals(t, "/tokenize", "error", []refusal{
		{`{}`, 400, "inputs: neither"},
		{`{"inputs":{"image":"B64"}}`, 422, "inputs: an image has no tokens"},
		{`{"inputs":"` + strings.Repeat("x", maxTokenize+1) + `"}`, 413, "inputs: want texts of at most"},
		{`{"inputs":"cat"}`, 501, "this server's model does not give tokens"},
	})
}

// TestTEIBusy wants TEI's words for a queue that is full.
func TestTEIBusy(t *testing.T) {
	status, body := teiError(&apiError{status: 429, code: codeBusy, message: "full"})
	assert.Equal(t, 429, status)
	assert.Equal(t, map[string]string{"error": "full", "error_type": "Overloaded"}, body)
	status, body = teiError(stopping())
	assert.Equal(t, 503, status)
	assert.Equal(t, "Unhealthy", body.(map[string]string)["error_type"])
}

func TestTEIHeaders(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	got := post(h, "/embed", `{"inputs":["cät","long"],"truncate":true}`)
	require.Equal(t, 200, got.status, got.body)
	assert.Equal(t, "80", got.header.Get("x-compute-tokens"), "3, and 77 of 100")
	assert.Equal(t, "7", got.header.Get("x-compute-characters"))
	for _, name := range []string{"x-compute-time", "x-total-time", "x-queue-time", "x-inference-time"} {
		ms, err := strconv.Atoi(got.header.Get(name))
		assert.NoError(t, err, name)
		assert.GreaterOrEqual(t, ms, 0, name)
	}
}

// TestTEIDimensions compares shortened vectors with the whole one.
func TestTEIDimensions(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	whole := fakeVector(textInput("cat"), 16)
	unit, err := shorten(whole, 4, "")
	require.NoError(t, err)
	assert.Equal(t, [][]float32{unit}, teiRows(t, post(h, "/embed", `{"inputs":"cat","dimensions":4}`)))
	assert.Equal(t, [][]float32{whole[:4]}, teiRows(t, post(h, "/embed", `{"inputs":"cat","dimensions":4,"normalize":false}`)))
	assert.Equal(t, [][]float32{whole}, teiRows(t, post(h, "/embed", `{"inputs":"cat","normalize":false}`)))
	assert.Equal(t, [][]float32{whole}, teiRows(t, post(h, "/embed", `{"inputs":"cat","dimensions":16}`)))
}

func TestTEISimilarity(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	got := post(h, "/similarity", pictured(t, `{"inputs":{"source_sentence":{"text":"at night","image":"B64"},
		"sentences":["cat",{"image":"B64"}]},"parameters":{"prompt_name":"composed-retrieval"}}`))
	require.Equal(t, 200, got.status, got.body)
	var scores []float32
	got.decode(t, &scores)
	source := fakeVector(told(bothInput("at night"), composedRetrieval(t)), 16)
	assert.InDeltaSlice(t, []float32{
		bgevl.Score(source, fakeVector(candidateInput("cat"), 16)), bgevl.Score(source, fakeVector(asCandidate(imageInput()), 16)),
	}, scores, 1e-6)
	assert.NotEmpty(t, got.header.Get("x-total-time"))
	const body = `{"inputs":{"source_sentence":"cat","sentences":["a","b"]}}`
	same, root := post(h, "/similarity", body), post(h, "/", body)
	assert.Equal(t, 200, root.status)
	assert.Equal(t, same.body, root.body, "clients of inference endpoints send it to the root")
	assert.Equal(t, 422, post(h, "/", `{"inputs":{"source_sentence":"cat","sentences":7}}`).status)
}

// TestTEITokenize compares with what real models count when they embed the same.
func TestTEITokenize(t *testing.T) {
	for name, path := range map[string]string{
		"clip": cliptest.New().Write(t), "mllm": llamatest.Write(t, llamatest.Model(), llamatest.Projector()),
	} {
		e := openReal(t, path)
		h := newTest(t, e, nil).Handler()
		for _, options := range []string{``, `,"prompt_name":"document"`, `,"task":"composed-retrieval"`} {
			got := post(h, "/tokenize", `{"inputs":["the cat","日本"]`+options+`}`)
			require.Equal(t, 200, got.status, "%s: %s", name, got.body)
			var rows [][]struct {
				ID          int32
				Text        string
				Special     bool
				Start, Stop *int
			}
			got.decode(t, &rows)
			embedded := post(h, "/embed", `{"inputs":["the cat","日本"]`+options+`}`)
			require.Equal(t, 200, embedded.status, embedded.body)
			require.Len(t, rows, 2)
			assert.Equal(t, strconv.Itoa(len(rows[0])+len(rows[1])), embedded.header.Get("x-compute-tokens"), "%s%s", name, options)
			assert.True(t, rows[0][0].Special)
			special := 0
			for _, token := range rows[0] {
				if token.Special {
					special++
				}
			}
			var without [][]any
			post(h, "/tokenize", `{"inputs":"the cat","add_special_tokens":false`+options+`}`).decode(t, &without)
			require.Len(t, without, 1)
			assert.Len(t, without[0], len(rows[0])-special)
		}
	}
}

func TestTEIInfo(t *testing.T) {
	e := openReal(t, cliptest.New().Write(t))
	got := ask(newTest(t, e, &Options{ModelName: "tiny"}).Handler(), "GET", "/info", "")
	require.Equal(t, 200, got.status, got.body)
	var info struct {
		ModelID      string `json:"model_id"`
		MaxInput     int    `json:"max_input_length"`
		MaxBatch     int    `json:"max_client_batch_size"`
		Dimensions   int
		Images       bool
		Instructions bool
		Tasks        []struct{ Name string }
	}
	got.decode(t, &info)
	assert.Equal(t, "tiny", info.ModelID)
	assert.Equal(t, cliptest.Context, info.MaxInput)
	assert.Equal(t, defaultMaxInputs, info.MaxBatch)
	assert.Equal(t, cliptest.Projection, info.Dimensions)
	assert.True(t, info.Images)
	assert.False(t, info.Instructions)
	assert.Len(t, info.Tasks, len(bgevl.Tasks()))
	assert.NotContains(t, got.body, e.Info().Path, "a path")
}
