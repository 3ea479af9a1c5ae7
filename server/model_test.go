package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/color"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
)

// openTiny opens a model, which f may have damaged.
func openTiny(t *testing.T, f *cliptest.File) *bgevl.Embedder {
	t.Helper()
	e, err := bgevl.Open(f.Write(t), &bgevl.Options{Truncate: true, Threads: 2})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// mixed are inputs of every kind, as items of a body and as the library has them.
func mixed(t *testing.T, n int) (items []map[string]string, inputs []bgevl.Input) {
	t.Helper()
	for i := range n {
		item, in := map[string]string{}, bgevl.Input{}
		if i%3 != 1 {
			s := fmt.Sprint("the cat on ", i)
			item["text"], in.Text = s, &s
		}
		if i%3 != 0 {
			data := pngBytes(t, color.RGBA{R: uint8(40 * i), G: uint8(255 - 20*i), B: uint8(i), A: 255})
			item["image"], in.Image = base64.StdEncoding.EncodeToString(data), bgevl.ImageBytes(data)
		}
		items, inputs = append(items, item), append(inputs, in)
	}
	return items, inputs
}

// TestRealModel embeds over HTTP, many at once and in every split, and compares with one at a time in the library.
func TestRealModel(t *testing.T) {
	e := openTiny(t, cliptest.New())
	items, inputs := mixed(t, 16)
	var want [][]float32
	for _, in := range inputs {
		rows, err := e.Embed(t.Context(), []bgevl.Input{in})
		require.NoError(t, err)
		want = append(want, rows[0])
	}
	s := newTest(t, e, &Options{Workers: 2})
	h := s.Handler()
	const closest = 0.99999 // how requests are put together may change the last bits
	check := func(from, to int) {
		body := mustJSON(t, map[string]any{"input": items[from:to]})
		r := post(h, "/v1/embeddings", body)
		var out struct {
			Data  []struct{ Embedding []float32 }
			Model string
		}
		if !assert.Equal(t, 200, r.status, r.body) || !assert.NoError(t, json.Unmarshal([]byte(r.body), &out)) {
			return
		}
		assert.Equal(t, "tiny", out.Model)
		assert.Len(t, out.Data, to-from)
		for i, d := range out.Data {
			assert.Greater(t, bgevl.Score(want[from+i], d.Embedding), float32(closest), "input %d", from+i)
			for k := range want {
				if k != from+i {
					assert.Less(t, bgevl.Score(want[k], d.Embedding), float32(closest), "row %d for %d", k, from+i)
				}
			}
		}
	}
	var clients sync.WaitGroup
	for size := 1; size <= 16; size *= 2 {
		for from := 0; from < 16; from += size {
			clients.Go(func() { check(from, from+size) })
		}
	}
	clients.Wait()
	// The same request again gives the same bits.
	body := mustJSON(t, map[string]any{"input": items})
	first := post(h, "/v1/embeddings", body)
	for range 5 {
		assert.Equal(t, first.body, post(h, "/v1/embeddings", body).body)
	}
}

// TestRealModelFailures sends pictures that are none and texts that are too long beside good ones.
func TestRealModelFailures(t *testing.T) {
	var log strings.Builder
	e := openTiny(t, cliptest.New())
	s := newTest(t, e, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h := s.Handler()
	good := base64.StdEncoding.EncodeToString(pngBytes(t, color.Black))
	long := strings.Repeat("cat ", 100)
	for _, c := range []struct {
		item   map[string]string
		status int
		code   errorCode
	}{
		{map[string]string{"image": "R0lGODlh"}, 400, codeImage},
		{map[string]string{"image": good[:60]}, 400, codeImage},
		{map[string]string{"image": base64.StdEncoding.EncodeToString([]byte("<svg onload=x>"))}, 400, codeImage},
		{map[string]string{"text": long}, 400, codeTooLong},
		{map[string]string{"text": ""}, 200, ""},
		{map[string]string{"image": good}, 200, ""}, // a black picture
		{map[string]string{"text": "\x00\u202e<|endoftext|>"}, 200, ""},
	} {
		body := mustJSON(t, map[string]any{"input": []any{map[string]string{"text": "fine"}, c.item}})
		r := post(h, "/v1/embeddings", body)
		assert.Equal(t, c.status, r.status, "%v %s", c.item, r.body)
		if c.status != 200 {
			assert.Contains(t, r.body, fmt.Sprintf(`"code":%q`, c.code))
			assert.Contains(t, r.body, `"param":"input[1]"`)
			assert.NotContains(t, r.body, "0x", "an address")
		}
		assertFinite(t, r)
	}
	r := post(h, "/v1/embeddings", mustJSON(t, map[string]any{"input": []string{"cat", long}, "truncate": true}))
	assert.Equal(t, 200, r.status, r.body)
	assert.Contains(t, r.body, `"truncated":[1]`)
	assert.Contains(t, r.body, fmt.Sprintf(`"prompt_tokens":%d`, cliptest.Context+3))
	assert.Equal(t, 200, ask(h, "GET", "/ping", "").status)
	assert.Empty(t, log.String(), "none of it is the server's own failure")
}

// assertFinite holds every number of a good answer to being one.
func assertFinite(t *testing.T, r reply) {
	t.Helper()
	if r.status != 200 {
		return
	}
	var out struct {
		Data []struct{ Embedding []float32 }
	}
	r.decode(t, &out)
	for _, d := range out.Data {
		var sum float64
		for _, x := range d.Embedding {
			sum += float64(x) * float64(x)
		}
		assert.InDelta(t, 1, sum, 1e-5)
	}
}

// TestDamagedModel has weights of NaN, infinity and zero: no vector comes out, and health says so.
func TestDamagedModel(t *testing.T) {
	for name, v := range map[string]float32{"NaN": float32(math.NaN()), "infinity": float32(math.Inf(1)), "zero": 0} {
		f := cliptest.New()
		f.Fill("text_projection.weight", v)
		var log strings.Builder
		s := newTest(t, openTiny(t, f), &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		h := s.Handler()
		r := post(h, "/v1/embeddings", `{"input":"cat"}`)
		assert.Equal(t, 500, r.status, name)
		assert.Contains(t, r.body, `"code":"model_failed"`)
		assert.NotContains(t, r.body, "NaN")
		assert.Contains(t, log.String(), "weights are damaged", "the operator learns why")
		ask(h, "GET", "/health", "")
		s.health.quiet(t)
		assert.Equal(t, 503, ask(h, "GET", "/health", "").status, name)
	}
}

// TestClosedModel has the model closed under the server.
func TestClosedModel(t *testing.T) {
	e := openTiny(t, cliptest.New())
	h := newTest(t, e, nil).Handler()
	require.NoError(t, e.Close())
	r := post(h, "/v1/embeddings", `{"input":["cat","dog"]}`)
	assert.Equal(t, 503, r.status, r.body)
}
