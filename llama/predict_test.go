package llama_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/llama"
)

// talker is a model that says what its tokens are followed by: attention and feed-forward layers add nothing, so that a
// token's embedding alone decides what comes next.
func talker(pairs map[string]string) *llamatest.File {
	f := llamatest.Model()
	for _, name := range []string{"attn_output", "ffn_down"} {
		for i := range llamatest.Layers {
			f.Fill("blk."+string(rune('0'+i))+"."+name+".weight", 0)
		}
	}
	f.Fill("output_norm.weight", 1)
	f.Fill("output.weight", 0)
	output, embedding := f.Tensor("output.weight").Data, f.Tensor("token_embd.weight").Data
	for from, to := range pairs {
		row := embedding[int(llamatest.ID(from))*llamatest.Width:][:llamatest.Width]
		next := output[int(llamatest.ID(to))*llamatest.Width:][:llamatest.Width]
		var length float64
		for _, x := range row {
			length += float64(x) * float64(x)
		}
		for i := range next {
			next[i] += row[i] / float32(math.Sqrt(length))
		}
	}
	return f
}

func TestPredict(t *testing.T) {
	ctx := context.Background()
	m := open(t, talker(map[string]string{"▁the": "▁cat", "▁cat": "▁sat", "▁sat": "▁on", "▁on": "▁dog", "▁dog": "</s>"}), nil, nil)
	text, err := m.Predict(ctx, "the", nil)
	require.NoError(t, err)
	assert.Equal(t, " cat sat on dog", text)

	predict := func(o llama.PredictOptions) *llama.Prediction {
		p, err := m.PredictInput(ctx, llama.Input{Tokens: tokenize(t, m, "the")}, &o)
		require.NoError(t, err)
		assert.Equal(t, 2, p.Prompt)
		return p
	}
	p := predict(llama.PredictOptions{})
	assert.Equal(t, llama.ReasonEnd, p.Reason)
	assert.Equal(t, []int32{llamatest.ID("▁cat"), llamatest.ID("▁sat"), llamatest.ID("▁on"), llamatest.ID("▁dog")}, p.Tokens)
	p = predict(llama.PredictOptions{MaxTokens: 2})
	assert.Equal(t, llama.ReasonLength, p.Reason)
	assert.Equal(t, " cat sat", p.Text)
	p = predict(llama.PredictOptions{Stop: []string{"at on", "dog"}})
	assert.Equal(t, llama.ReasonStop, p.Reason)
	assert.Equal(t, " cat s", p.Text)
	assert.Len(t, p.Tokens, 3)

	var pieces []string
	p = predict(llama.PredictOptions{Callback: func(text string) bool {
		pieces = append(pieces, text)
		return len(pieces) < 2
	}})
	assert.Equal(t, llama.ReasonCallback, p.Reason)
	assert.Equal(t, []string{" cat", " sat"}, pieces)
	assert.Equal(t, " cat sat", p.Text)

	pieces = nil
	p = predict(llama.PredictOptions{Stop: []string{" sat on the"}, Callback: func(text string) bool {
		pieces = append(pieces, text)
		return true
	}})
	assert.Equal(t, " cat sat on dog", p.Text)
	assert.Equal(t, []string{" cat", " sat on dog"}, pieces, "held back until it is no stop word")
}

// TestPredictPanics survives a callback that does not.
func TestPredictPanics(t *testing.T) {
	m := whole(t, nil)
	o := llama.PredictOptions{Callback: func(string) bool { panic("mine") }}
	assert.PanicsWithValue(t, "mine", func() { _, _ = m.Predict(context.Background(), "the", &o) })
	_, err := m.Predict(context.Background(), "the", nil)
	require.NoError(t, err)
}

// TestPredictContext fills the context.
func TestPredictContext(t *testing.T) {
	ctx := context.Background()
	f := talker(map[string]string{"▁the": "▁cat", "▁cat": "▁the"})
	m := open(t, f, nil, &llama.Options{Context: 6, Threads: 1})
	p, err := m.PredictInput(ctx, llama.Input{Tokens: tokenize(t, m, "the cat the")}, nil)
	require.NoError(t, err)
	assert.Equal(t, llama.Prediction{Text: " cat the", Tokens: []int32{llamatest.ID("▁cat"), llamatest.ID("▁the")}, Prompt: 4, Reason: llama.ReasonContext}, *p)
	p, err = m.PredictInput(ctx, llama.Input{Tokens: tokenize(t, m, "the cat the cat the")}, nil)
	require.NoError(t, err)
	assert.Equal(t, llama.Prediction{Prompt: 6, Reason: llama.ReasonContext}, *p)
	_, err = m.Predict(ctx, "the cat the cat the cat", nil)
	require.ErrorIs(t, err, llama.ErrTooLong)
	assert.ErrorContains(t, err, "7 tokens long, the limit is 6")

	p, err = m.PredictInput(ctx, llama.Input{Tokens: tokenize(t, m, "the")}, &llama.PredictOptions{MaxTokens: 4})
	require.NoError(t, err)
	assert.Equal(t, llama.ReasonLength, p.Reason, "what was asked for fits exactly")
}

func TestPredictArguments(t *testing.T) {
	ctx := context.Background()
	m := whole(t, nil)
	for text, c := range map[string]struct {
		in llama.Input
		o  llama.PredictOptions
	}{
		"TopP":                   {llama.Input{Tokens: []int32{1}}, llama.PredictOptions{TopP: 2}},
		"wanted positions":       {llama.Input{Tokens: []int32{1}, Wanted: []int{-1}}, llama.PredictOptions{}},
		"want at least one":      {llama.Input{}, llama.PredictOptions{}},
		"want a token id from 0": {llama.Input{Tokens: []int32{-1}}, llama.PredictOptions{}},
	} {
		_, err := m.PredictInput(ctx, c.in, &c.o)
		assert.ErrorContains(t, err, text)
		assert.ErrorContains(t, err, "llama: predict")
	}
	_, err := m.Predict(ctx, "\xff", nil)
	assert.ErrorContains(t, err, "UTF-8")
}

// TestPredictEqualsStates continues a text token by token without a cache: each token is the best of what a whole pass
// scores. A picture is in the prompt.
func TestPredictEqualsStates(t *testing.T) {
	ctx := context.Background()
	model := llamatest.Model()
	output := model.Tensor("output.weight").Data
	m := open(t, model, llamatest.Projector(), nil)
	in := llama.Input{Tokens: tokenize(t, m, "the cat<image> sat"), Images: [][]float32{encoded(t, m, 40, 20)}}
	p, err := m.PredictInput(ctx, in, &llama.PredictOptions{MaxTokens: 12})
	require.NoError(t, err)
	require.NotEmpty(t, p.Tokens)
	for _, got := range p.Tokens {
		states, err := m.HiddenStates(ctx, []llama.Input{in})
		require.NoError(t, err)
		best, most := int32(0), math.Inf(-1)
		for id := range llamatest.Rows() {
			var score float64
			for i, x := range states[0] {
				score += float64(x) * float64(output[id*llamatest.Width+i])
			}
			if score > most {
				best, most = int32(id), score
			}
		}
		require.Equal(t, best, got)
		in.Tokens = append(in.Tokens, got)
	}
}

// TestPredictSeed draws: the same seed gives the same text, another one another.
func TestPredictSeed(t *testing.T) {
	m := whole(t, nil)
	text := func(seed uint64, threads int) string {
		s, err := whole(t, &llama.Options{Threads: threads}).Predict(context.Background(), "the cat", &llama.PredictOptions{
			Temperature: 1.2, TopK: 200, TopP: 0.99, MinP: 0.001, RepeatPenalty: 1.1, Seed: seed, MaxTokens: 25})
		require.NoError(t, err)
		return s
	}
	assert.Equal(t, text(1, 1), text(1, 1))
	assert.NotEqual(t, text(1, 1), text(2, 1))
	// Nothing stays behind from one prediction to the next.
	first, err := m.Predict(context.Background(), "the cat", &llama.PredictOptions{MaxTokens: 9})
	require.NoError(t, err)
	_, err = m.Predict(context.Background(), "on the dog", &llama.PredictOptions{MaxTokens: 30})
	require.NoError(t, err)
	again, err := m.Predict(context.Background(), "the cat", &llama.PredictOptions{MaxTokens: 9})
	require.NoError(t, err)
	assert.Equal(t, first, again)
}

// TestPredictStreams compares the text returned with its pieces and with the tokens, which are all that the prompt's text
// is continued by.
func TestPredictStreams(t *testing.T) {
	m := whole(t, nil)
	for seed := range uint64(6) {
		var pieces []string
		p, err := m.PredictInput(context.Background(), llama.Input{Tokens: tokenize(t, m, "the")}, &llama.PredictOptions{
			Temperature: 1, Seed: seed, MaxTokens: 60, Callback: func(s string) bool {
				pieces = append(pieces, s)
				return true
			}})
		require.NoError(t, err)
		assert.Equal(t, p.Text, strings.Join(pieces, ""))
		var spelled []byte
		for _, id := range p.Tokens {
			switch token := m.Detokenize([]int32{1, llamatest.ID("▁the"), id})[len("<s> the"):]; {
			case id >= llamatest.FirstByte && id < llamatest.FirstByte+256:
				spelled = append(spelled, byte(id-llamatest.FirstByte))
			case id > llamatest.EOS:
				spelled = append(spelled, token...)
			}
		}
		assert.Equal(t, string([]rune(string(spelled))), p.Text) // one U+FFFD for each byte that is no part of a character
	}
}
