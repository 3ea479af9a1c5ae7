package bgevl_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/cliptest"
)

// TestTokenize compares with what embedding says of the same inputs, and with the spelling of the texts.
func TestTokenize(t *testing.T) {
	for name, e := range map[string]*bgevl.Embedder{
		"clip": open(t, cliptest.New(), &bgevl.Options{Truncate: true}),
		"mllm": openMLLM(t, &bgevl.Options{Truncate: true}),
	} {
		long := strings.Repeat("the cat ", 200)
		inputs := []bgevl.Input{candidate("the cat"), candidate(""), candidate(long), candidate("日本 é"), query("Find it: ", "a cat", nil)}
		results, err := e.EmbedResults(t.Context(), inputs)
		require.NoError(t, err)
		for i, in := range inputs {
			tokens, err := e.Tokenize(t.Context(), in)
			require.NoError(t, err, name)
			assert.Len(t, tokens, results[i].Tokens, "%s, %d: as many as embedding counted", name, i)
			assert.True(t, tokens[0].Special, "%s, %d: the token that begins a text", name, i)
			for _, token := range tokens {
				assert.NotEmpty(t, token.Text, "%s, %d: token %d", name, i, token.ID)
			}
		}
		assert.True(t, results[2].Truncated, "the long text")
	}
}

func TestTokenizeSpelling(t *testing.T) {
	e := open(t, cliptest.New(), nil)
	tokens, err := e.Tokenize(t.Context(), candidate("the cat"))
	require.NoError(t, err)
	var spelled strings.Builder
	for i, token := range tokens {
		assert.Equal(t, i == 0 || i == len(tokens)-1, token.Special, token)
		if !token.Special {
			spelled.WriteString(token.Text)
		}
	}
	assert.Equal(t, "thecat", spelled.String(), "the ends of words are not spelled")
	assert.Equal(t, cliptest.Start(), tokens[0].ID)
	assert.Equal(t, cliptest.End(), tokens[len(tokens)-1].ID)
	assert.Equal(t, "<|startoftext|>", tokens[0].Text)

	none, err := e.Tokenize(t.Context(), bgevl.Input{Image: bgevl.ImageBytes(nil)})
	require.NoError(t, err)
	assert.Empty(t, none, "a picture has no tokens, and is not read")

	m := openMLLM(t, nil)
	tokens, err = m.Tokenize(t.Context(), bgevl.Input{Text: new("cat"), Image: bgevl.ImageBytes(nil), Instruction: new("Find it: ")})
	require.NoError(t, err)
	images := 0
	for _, token := range tokens {
		if token.Text == "<image>" {
			images++
		}
	}
	assert.Equal(t, 1, images, "a picture is one token")
}

func TestTokenizeErrors(t *testing.T) {
	e := openMLLM(t, nil)
	for name, c := range map[string]struct {
		in      bgevl.Input
		operand string
	}{
		"nothing":     {bgevl.Input{ID: "x"}, ""},
		"instruction": {bgevl.Input{ID: "x", Text: new("cat"), Role: bgevl.RoleCandidate, Instruction: new("Find it: ")}, "instruction"},
		"no UTF-8":    {bgevl.Input{ID: "x", Text: new("\xff")}, "text"},
		"role":        {bgevl.Input{ID: "x", Text: new("cat"), Role: 7}, ""},
	} {
		_, err := e.Tokenize(t.Context(), c.in)
		var failed *bgevl.InputError
		require.ErrorAs(t, err, &failed, name)
		assert.Equal(t, c.operand, failed.Operand, name)
		assert.Equal(t, "x", failed.ID, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openMLLM(t, &bgevl.Options{Workers: 1}).Tokenize(ctx, candidate("cat"))
	assert.ErrorIs(t, err, context.Canceled)
}
