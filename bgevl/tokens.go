package bgevl

import (
	"context"
	"fmt"
)

// Token is a piece of text as a model reads it.
type Token struct {
	ID      int32
	Text    string // what it stands for by itself, or where that is no text, its spelling in the vocabulary
	Special bool   // controls the model, as the token that begins a text does
}

// Tokenize returns the tokens of an input's text as the model reads it: with the prompt that its role and instruction
// make, with the tokens that the model adds, and before any cut, so that there may be more than Info.Context. The input's
// image is not read: it is one token in the prompt of an MLLM model, and none for a CLIP model.
//
// The error of an input that cannot be tokenised is an *InputError with Index 0, as Embed would have it. No weights are
// needed, so that Tokenize works on a closed Embedder.
func (e *Embedder) Tokenize(ctx context.Context, in Input) ([]Token, error) {
	if err := in.check(); err != nil {
		return nil, inputError(0, in.ID, err)
	}
	if err := e.workers.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("bgevl: tokenize: %w", err)
	}
	defer e.workers.Release(1)
	ids, err := e.engine.tokens(&in)
	if err != nil {
		return nil, inputError(0, in.ID, err)
	}
	tokens := make([]Token, len(ids))
	for i, id := range ids {
		text, special := e.engine.token(id)
		tokens[i] = Token{ID: id, Text: text, Special: special}
	}
	return tokens, nil
}
