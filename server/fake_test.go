package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// fakeModel embeds a text as a function of its bytes. It is for tests of what lies around a model. A text "bad" fails,
// "nan" fails as damaged weights do, "long" is cut, "panic" panics and "sinks" fails the whole call.
type fakeModel struct {
	dim  int
	gate chan struct{} // if there is one, every call takes something from it first, or ends with its context
	info bgevl.Info

	mu      sync.Mutex
	calls   [][]string // texts of each call; "<image>" for an input with an image
	entered chan struct{}
	ended   int // calls that ended with their context
}

func newFake() *fakeModel {
	return &fakeModel{dim: 16, entered: make(chan struct{}, 1000),
		info: bgevl.Info{Family: "clip", Name: "fake", Dim: 16, Context: 77, ImageSize: 32}}
}

func (m *fakeModel) Dim() int         { return m.dim }
func (m *fakeModel) Info() bgevl.Info { return m.info }

func (m *fakeModel) Fingerprint(context.Context) (bgevl.Fingerprint, error) {
	return bgevl.Fingerprint{Family: "clip", Dim: m.dim}, nil
}

func (m *fakeModel) EmbedResults(ctx context.Context, inputs []bgevl.Input) ([]bgevl.Result, error) {
	m.note(inputs)
	select {
	case m.entered <- struct{}{}:
	default: // of a test that does not look
	}
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ended++
			return nil, ctx.Err()
		}
	}
	out := make([]bgevl.Result, len(inputs))
	for i, in := range inputs {
		out[i] = bgevl.Result{Index: i, ID: in.ID, Tokens: 3}
		switch text := textOf(in); text {
		case "panic":
			panic("the fake panics")
		case "sinks":
			return nil, errors.New("the whole call fails at /secret/path")
		case "bad":
			out[i].Err = &bgevl.InputError{Index: i, Operand: "image /secret/path.jpg", Err: bgevl.ErrImage}
			continue
		case "nan":
			out[i].Err = &bgevl.InputError{Index: i, Err: bgevl.ErrNonFinite}
			continue
		case "long":
			out[i].Tokens, out[i].Truncated = 100, true
		}
		if m.info.Instructions && in.Instruction == nil && in.Role == bgevl.RoleQuery {
			out[i].Warning = bgevl.WarnNoInstruction
		}
		out[i].Embedding = fakeVector(in, m.dim)
	}
	return out, nil
}

// forgetfulModel is a fakeModel that keeps no record, for very many calls, and knows no bad texts.
type forgetfulModel struct{ *fakeModel }

func (m *forgetfulModel) EmbedResults(_ context.Context, inputs []bgevl.Input) ([]bgevl.Result, error) {
	out := make([]bgevl.Result, len(inputs))
	for i, in := range inputs {
		out[i] = bgevl.Result{Index: i, Tokens: 3, Embedding: fakeVector(in, m.dim)}
	}
	return out, nil
}

func (m *fakeModel) note(inputs []bgevl.Input) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var texts []string
	for _, in := range inputs {
		texts = append(texts, textOf(in))
	}
	m.calls = append(m.calls, texts)
}

// seen returns the texts of all calls so far.
func (m *fakeModel) seen() [][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([][]string(nil), m.calls...)
}

func textOf(in bgevl.Input) string {
	if in.Text == nil {
		return "<image>"
	}
	return *in.Text
}

// fakeVector depends on everything that an input has but its image's bytes, which nobody outside bgevl can see.
func fakeVector(in bgevl.Input, dim int) []float32 {
	seed := 1.0
	mix := func(s string) {
		for _, b := range []byte(s) {
			seed = math.Mod(seed*31+float64(b)+7, 100003)
		}
	}
	mix(textOf(in))
	mix(in.Role.String())
	if in.Instruction != nil {
		mix("i:" + *in.Instruction)
	}
	if in.Image != nil {
		mix("image")
	}
	v := make([]float32, dim)
	var sum float64
	for i := range v {
		x := math.Sin(seed * float64(i+1))
		v[i] = float32(x)
		sum += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func text(s string) bgevl.Input { return bgevl.Input{Text: &s} }

// newTest returns a server over a fake.
func newTest(t testing.TB, m Model, o *Options) *Server {
	t.Helper()
	s, err := New(m, o)
	require.NoError(t, err)
	return s
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// post sends JSON to a handler, from loopback as a program on this machine does.
func post(h http.Handler, path, body string, header ...string) reply {
	return ask(h, http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// ask sends a request to a handler. header is names and values in turn. It panics where what was taken or answered is
// otherwise than openapi.yaml says.
func ask(h http.Handler, method, path, body string, header ...string) reply {
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, path, http.NoBody)
	} else {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
	}
	r.Host = "localhost:8080"
	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out, _ := io.ReadAll(w.Result().Body)
	got := reply{w.Code, w.Result().Header, string(out)}
	if err := described(r, body, got); err != nil {
		panic(err)
	}
	return got
}

// decode is the reply's JSON.
func (r reply) decode(t testing.TB, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), v), r.body)
}

// pngBytes is a small picture.
func pngBytes(t testing.TB, c color.Color) []byte {
	t.Helper()
	im := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		im.Set(i%8, i/8, c)
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, im))
	return b.Bytes()
}
