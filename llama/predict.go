package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// PredictOptions are how a prompt is continued. The zero value, and so a nil pointer, takes the likeliest token each
// time.
//
// A token is chosen thus: the scores of tokens seen lately are lowered by RepeatPenalty; TopK, then TopP, then MinP
// leave out the unlikely; Temperature flattens (above 1) or sharpens (below 1) what is left; one is drawn. All of it is
// computed in float64, and the draws depend on Seed alone: the same prompt, options, model and machine give the same
// text.
type PredictOptions struct {
	MaxTokens   int     // most tokens to add; 0: 128
	Temperature float64 // 0: the likeliest token always, TopK, TopP and MinP without a part
	TopK        int     // keep so many of the likeliest; 0: all
	TopP        float64 // keep the likeliest until they make up this probability; 0 or 1: all
	MinP        float64 // keep those at least this likely, as a share of the likeliest; 0: all

	RepeatPenalty float64 // divides scores above 0 of tokens seen lately, multiplies others; 0 or 1: none
	RepeatLast    int     // how many tokens back count as lately, the prompt's included; 0: 64

	Seed uint64

	// Stop are words that end the text where one is whole first; it is no part of the text.
	Stop []string

	// Callback is given the text piece by piece as it becomes certain: whole characters, and nothing that may turn out to
	// be the beginning of a stop word. Returning false ends the prediction. It runs while the prediction holds a compute
	// context: it must not close the model, nor, where all contexts may be in use, wait for another call on it.
	Callback func(text string) bool
}

const (
	defaultMaxTokens  = 128
	defaultRepeatLast = 64
)

// Reason is why a prediction ended.
type Reason string

// The reasons.
const (
	ReasonEnd      Reason = "end"      // the model ended its text
	ReasonStop     Reason = "stop"     // a stop word came up
	ReasonLength   Reason = "length"   // MaxTokens were added
	ReasonContext  Reason = "context"  // the context is full
	ReasonCallback Reason = "callback" // Callback returned false
)

// Prediction is a continued prompt.
type Prediction struct {
	Text   string  // what follows the prompt, special tokens left out; it may begin with a space
	Tokens []int32 // all that were chosen, also those of a stop word; without the one that ended the text
	Prompt int     // tokens of the prompt, each vector of a picture counted
	Reason Reason
}

// Predict continues a prompt and returns the text that follows. It is PredictInput for one who asks no more: it does not
// say why the text ended.
func (m *Model) Predict(ctx context.Context, prompt string, o *PredictOptions) (string, error) {
	ids, err := m.Tokenize(prompt)
	if err != nil {
		return "", err
	}
	p, err := m.PredictInput(ctx, Input{Tokens: ids}, o)
	if err != nil {
		return "", err
	}
	return p.Text, nil
}

// PredictInput continues an input, which may hold pictures. in.Wanted must be nil. It fails with ErrEmbeddingOnly where
// the model has no output layer; one that shares its weights with the token embeddings counts as one.
//
// A prompt past the context fails with ErrTooLong. Where the prompt and MaxTokens together are past it, the text ends
// where the context is full, for ReasonContext. After an error, as when ctx is cancelled, there is no Prediction; what
// Callback was given by then stands. Cancelling takes effect within one operation of the graph.
func (m *Model) PredictInput(ctx context.Context, in Input, o *PredictOptions) (*Prediction, error) {
	opt, err := o.resolve()
	if err != nil {
		return nil, fmt.Errorf("llama: predict: %w", err)
	}
	if m.params.embeddingOnly {
		return nil, ErrEmbeddingOnly
	}
	if in.Wanted != nil {
		return nil, errors.New("llama: predict: wanted positions: want none, since the next token is what is asked for")
	}
	r, err := m.layOut(in)
	if err != nil {
		return nil, fmt.Errorf("llama: predict: %w", err)
	}
	g := &generation{m: m, o: opt, sample: newSampler(opt), history: textTokens(r.ids)}
	g.stream = newStream(m, g.history, opt)
	g.p.Prompt = len(r.ids)
	room := min(opt.MaxTokens, m.params.context-len(r.ids))
	if room == 0 {
		g.p.Reason = ReasonContext
		return &g.p, nil
	}
	err = m.compute(ctx, decoderPart, func(c *csrc.Context) error { return g.run(ctx, c, join([]row{r}), room) })
	if err != nil {
		return nil, err
	}
	g.p.Text = g.stream.text.String()
	return &g.p, nil
}

// resolve checks the options and fills in what is left to the package.
func (o *PredictOptions) resolve() (PredictOptions, error) {
	var opt PredictOptions
	if o != nil {
		opt = *o
	}
	for _, v := range []struct {
		name    string
		x, most float64
	}{
		{"MaxTokens", float64(opt.MaxTokens), math.MaxInt}, {"TopK", float64(opt.TopK), math.MaxInt},
		{"RepeatLast", float64(opt.RepeatLast), math.MaxInt}, {"Temperature", opt.Temperature, maxFactor},
		{"RepeatPenalty", opt.RepeatPenalty, maxFactor}, {"TopP", opt.TopP, 1}, {"MinP", opt.MinP, 1},
	} {
		if !(v.x >= 0 && v.x <= v.most) { // NaN fails too
			return opt, fmt.Errorf("options: %s: want 0 to %g, got %g", v.name, v.most, v.x)
		}
	}
	for i, word := range opt.Stop {
		if word == "" || !utf8.ValidString(word) {
			return opt, fmt.Errorf("options: Stop[%d]: want a word in UTF-8 that is not empty, got %q", i, word)
		}
	}
	if opt.MaxTokens == 0 {
		opt.MaxTokens = defaultMaxTokens
	}
	if opt.RepeatLast == 0 {
		opt.RepeatLast = defaultRepeatLast
	}
	return opt, nil
}

// maxFactor bounds a temperature and a penalty so that scores stay finite. Useful ones are below 3.
const maxFactor = 1e6

// textTokens returns the ids that are tokens.
func textTokens(ids []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return id == csrc.Embedding })
}

// generation is a prediction in the making.
type generation struct {
	m       *Model
	o       PredictOptions
	sample  *sampler
	stream  *stream
	history []int32 // tokens of the prompt and those chosen
	p       Prediction
}

// run chooses up to room tokens, at least one of them.
func (g *generation) run(ctx context.Context, c *csrc.Context, batch csrc.Batch, room int) (err error) {
	m := g.m
	// The last token is not read again.
	if err := c.OpenCache(ctx, len(batch.IDs)+room-1); err != nil {
		return err
	}
	defer func() {
		// Keys and values of a long text take gigabytes, which the context would keep for another prediction.
		err = errors.Join(err, c.OpenCache(context.WithoutCancel(ctx), 1))
	}()
	scores := make([]float32, m.params.vocab)
	past := 0
	for {
		if err := c.Decode(ctx, batch, m.params.width, past, scores); err != nil {
			return err
		}
		if err := m.runner.Closed(); err != nil {
			return err
		}
		past += len(batch.IDs)
		if !modelfile.Finite(scores) {
			return ErrNonFinite
		}
		id := g.sample.pick(scores, g.history)
		if g.take(id, room) {
			return nil
		}
		batch = csrc.Batch{IDs: []int32{id}, Lengths: []int32{1}, Wanted: []int32{0}}
	}
}

// take adds a token to the text, and reports whether the text ends with it.
func (g *generation) take(id int32, room int) bool {
	end := func(reason Reason) bool {
		g.p.Reason = reason
		return true
	}
	if slices.Contains(g.m.params.ends, id) {
		return end(g.stream.finish(ReasonEnd))
	}
	g.p.Tokens = append(g.p.Tokens, id)
	g.history = append(g.history, id)
	if reason := g.stream.add(id); reason != "" {
		return end(reason)
	}
	switch {
	case len(g.p.Tokens) == g.o.MaxTokens:
		return end(g.stream.finish(ReasonLength))
	case len(g.p.Tokens) == room:
		return end(g.stream.finish(ReasonContext))
	}
	return false
}
