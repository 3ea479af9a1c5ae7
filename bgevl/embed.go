package bgevl

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Embed returns one embedding an input, in order. An input that fails has a nil row, and the error joins an *InputError
// for each; the other rows are good. A context that ends or an Embedder that is closed leaves no rows.
//
// Inputs are computed in batches of Options.BatchSize, while the pictures of the next batch are being decoded, so that
// memory beside the result does not grow with their number. The same inputs give the same bits every time; how they are
// split into calls may change the last few.
func (e *Embedder) Embed(ctx context.Context, inputs []Input) ([][]float32, error) {
	results, err := e.EmbedResults(ctx, inputs)
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, len(results))
	var failures []error
	for i, r := range results {
		rows[i] = r.Embedding
		if r.Err != nil {
			failures = append(failures, r.Err)
		}
	}
	return rows, errors.Join(failures...)
}

// EmbedResults is Embed with more said about each input: how long its text was, whether it was cut, and its own error.
// The error returned is that of the whole call.
func (e *Embedder) EmbedResults(ctx context.Context, inputs []Input) ([]Result, error) {
	results := make([]Result, 0, len(inputs))
	all := func(yield func(Input, error) bool) {
		for _, in := range inputs {
			if !yield(in, nil) {
				return
			}
		}
	}
	for r, err := range e.embed(ctx, all, 0) {
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// streamSilence is how long Stream waits for another input before it computes a batch that is not full. It is longer
// than any file takes to give a line, so that batches, and with them the last bits of a result, are the same every
// time, and short to whoever types a line and waits for its vector.
const streamSilence = 100 * time.Millisecond

// Stream embeds a sequence of inputs of any length and yields their results in order. Few of them are in memory at a
// time: those of one batch and of the next. An error beside an input says that there is none, as where a line of a file
// cannot be read: it becomes that input's failure, in its place.
//
// An input that fails has its *InputError in Result.Err, and the stream goes on. The error beside a Result is that of
// the whole stream, which ends with it: a context that ended, or an Embedder that was closed.
//
// inputs is called on another goroutine than the loop's body, one at a time. When the stream ends early, because the
// loop is left or the context is done, inputs is not asked again; a step of it, or a Read of an ImageReader, that is
// blocked then is left to finish by itself.
func (e *Embedder) Stream(ctx context.Context, inputs iter.Seq2[Input, error]) iter.Seq2[Result, error] {
	return e.embed(ctx, inputs, streamSilence)
}
