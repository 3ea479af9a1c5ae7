package server

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
)

func ollamaRows(t *testing.T, r reply) [][]float32 {
	t.Helper()
	var out struct{ Embeddings [][]float32 }
	r.decode(t, &out)
	return out.Embeddings
}

// plain is a value as JSON gives it to whoever does not know its type.
func plain(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	var out any
	require.NoError(t, json.Unmarshal(data, &out))
	return out
}

func TestOllamaForms(t *testing.T) {
	cat, dog := textInput("cat"), textInput("dog")
	checkForms(t, "/api/embed", ollamaRows, []dialectForm{
		{"string", `{"model":"any","input":"cat"}`, []bgevl.Input{cat}},
		{"strings", `{"model":"any","input":["cat","dog"],"truncate":false,"keep_alive":"5m","options":{"num_ctx":7}}`, []bgevl.Input{cat, dog}},
		{"keep_alive as a number", `{"input":["cat",""],"keep_alive":-1,"dimensions":0,"options":null}`, []bgevl.Input{cat, textInput("")}},
		{"nothing", `{"model":"any"}`, nil},
		{"an empty text", `{"model":"any","input":""}`, nil},
		{"no texts", `{"model":"any","input":[]}`, nil},
		{"images", `{"images":["B64","PIC"]}`, []bgevl.Input{imageInput(), imageInput()}},
		{"an image beside a text", `{"input":"at night","images":["B64"]}`, []bgevl.Input{bothInput("at night")}},
		{"images beside some texts", `{"input":["cat",null,"at night"],"images":[null,"B64","B64"]}`,
			[]bgevl.Input{cat, imageInput(), bothInput("at night")}},
		{"role", `{"input":"cat","role":"candidate"}`, []bgevl.Input{candidateInput("cat")}},
		{"task", `{"input":"cat","task":"composed-retrieval"}`, []bgevl.Input{told(cat, composedRetrieval(t))}},
		{"instruction", `{"input":["cat","dog"],"instruction":"find it"}`, []bgevl.Input{told(cat, "find it"), told(dog, "find it")}},
	})
	row := func(t *testing.T, r reply) [][]float32 {
		var out struct{ Embedding []float32 }
		r.decode(t, &out)
		if len(out.Embedding) == 0 {
			return nil
		}
		return [][]float32{out.Embedding}
	}
	checkForms(t, "/api/embeddings", row, []dialectForm{
		{"text", `{"model":"any","prompt":"cat","keep_alive":0}`, []bgevl.Input{cat}},
		{"image", `{"model":"any","prompt":"","images":["B64"]}`, []bgevl.Input{imageInput()}},
		{"both", `{"prompt":"at night","images":["B64"],"role":"candidate"}`, []bgevl.Input{asCandidate(bothInput("at night"))}},
		{"nothing", `{"model":"any"}`, nil},
	})
}

func TestOllamaErrors(t *testing.T) {
	checkRefusals(t, "/api/embed", "error", []refusal{
		{`{"input":7}`, 400, "input: the field has a value of the wrong type"},
		{`{"input":["cat",7]}`, 400, ""},
		{`{"input":[null]}`, 400, "input[0]: neither"},
		{`{"input":["cat",null],"images":["B64",null]}`, 400, "images[1]: neither"},
		{`{"input":["cat","dog"],"images":["B64"]}`, 400, "images: 1 images beside 2 texts"},
		{`{"input":"cat","dimensions":17}`, 400, "dimensions: want 1 to 16"},
		{`{"input":"cat","dimensions":-1}`, 400, "dimensions: want 1 to 16"},
		{`{"input":["cat","long"],"truncate":false}`, 400, "input[1]: 100 tokens"},
		{`{"images":["!"]}`, 400, "images[0]: the picture is no base64"},
		{`{"images":["/etc/passwd.jpg"]}`, 400, "images[0]: "},
		{`{"input":"cat","role":"candidate","instruction":"x"}`, 400, "instruction: candidates"},
		{`{"input":"nan"}`, 500, "input[0]: the model failed"},
	})
	checkRefusals(t, "/api/embeddings", "error", []refusal{
		{`{"images":["B64","B64"]}`, 400, "images: want one at most"},
		{`{"prompt":["cat"]}`, 400, "prompt: the field has a value of the wrong type"},
	})
	checkRefusals(t, "/api/show", "error", []refusal{{`{`, 400, "the body is no JSON"}})
}

func TestOllamaCounts(t *testing.T) {
	h := newTest(t, newFake(), nil).Handler()
	got := post(h, "/api/embed", `{"input":["cat","long"]}`)
	require.Equal(t, 200, got.status, got.body)
	var out struct {
		Model     string
		Count     int           `json:"prompt_eval_count"`
		Total     time.Duration `json:"total_duration"`
		Truncated []int
	}
	got.decode(t, &out)
	assert.Equal(t, "fake", out.Model)
	assert.Equal(t, 80, out.Count)
	assert.Positive(t, out.Total)
	assert.Equal(t, []int{1}, out.Truncated)
}

// TestOllamaModels asks about a real model's file.
func TestOllamaModels(t *testing.T) {
	e := openReal(t, cliptest.New().Write(t))
	st, err := os.Stat(e.Info().Path)
	require.NoError(t, err)
	h := newTest(t, e, &Options{ModelName: "tiny"}).Handler()
	type model struct {
		Name, Model, Digest string
		Size                int64
		Modified            *time.Time `json:"modified_at"`
		Expires             *time.Time `json:"expires_at"`
		Context             int        `json:"context_length"`
		Details             map[string]any
	}
	var tags, running struct{ Models []model }
	got := ask(h, "GET", "/api/tags", "")
	got.decode(t, &tags)
	require.Len(t, tags.Models, 1)
	m := tags.Models[0]
	assert.Equal(t, "tiny", m.Name)
	assert.Equal(t, "tiny", m.Model)
	assert.Equal(t, st.Size(), m.Size)
	assert.Len(t, m.Digest, 64)
	require.NotNil(t, m.Modified)
	assert.True(t, st.ModTime().Equal(*m.Modified))
	assert.Equal(t, "f32", m.Details["quantization_level"])
	assert.NotContains(t, got.body, e.Info().Path, "a path")

	ask(h, "GET", "/api/ps", "").decode(t, &running)
	require.Len(t, running.Models, 1)
	require.NotNil(t, running.Models[0].Expires)
	assert.True(t, running.Models[0].Expires.After(time.Now()))
	assert.Equal(t, cliptest.Context, running.Models[0].Context)

	var shown struct {
		Capabilities []string
		Info         map[string]any `json:"model_info"`
	}
	got = post(h, "/api/show", `{"model":"tiny"}`)
	require.Equal(t, 200, got.status, got.body)
	got.decode(t, &shown)
	assert.Equal(t, []string{"embedding", "vision"}, shown.Capabilities)
	assert.EqualValues(t, cliptest.Projection, shown.Info["clip.embedding_length"])
	assert.EqualValues(t, cliptest.Context, shown.Info["clip.context_length"])

	var v struct{ Version string }
	ask(h, "GET", "/api/version", "").decode(t, &v)
	assert.NotEmpty(t, v.Version)
}

func TestHumanParameters(t *testing.T) {
	for n, want := range map[int64]string{7_570_000_000: "7.6B", 149_620_737: "149.6M", 12_345: "12.3K"} {
		assert.Equal(t, want, humanParameters(n))
	}
}
