package llama

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// draws samples often and returns each token's share.
func draws(t *testing.T, o PredictOptions, scores []float32, history []int32) []float64 {
	t.Helper()
	opt, err := o.resolve()
	require.NoError(t, err)
	s := newSampler(opt)
	const n = 100_000
	share := make([]float64, len(scores))
	for range n {
		share[s.pick(scores, history)] += 1.0 / n
	}
	return share
}

// logs returns scores whose softmax has these shares.
func logs(shares ...float64) []float32 {
	out := make([]float32, len(shares))
	for i, p := range shares {
		out[i] = float32(math.Log(p)) + 3
	}
	return out
}

// TestSamplerDistribution holds the shares of many draws to the distribution that the options ask for. Five standard
// deviations of a share of one half over 100,000 draws are 0.008.
func TestSamplerDistribution(t *testing.T) {
	scores := logs(0.05, 0.4, 0.1, 0.25, 0.2)
	for name, c := range map[string]struct {
		o    PredictOptions
		want []float64
	}{
		"temperature 1":     {PredictOptions{Temperature: 1}, []float64{0.05, 0.4, 0.1, 0.25, 0.2}},
		"temperature 0.5":   {PredictOptions{Temperature: 0.5}, []float64{0.0092, 0.5872, 0.0367, 0.2294, 0.1468}}, // squares
		"temperature 1e6":   {PredictOptions{Temperature: 1e6}, []float64{0.2, 0.2, 0.2, 0.2, 0.2}},
		"temperature 1e-9":  {PredictOptions{Temperature: 1e-9}, []float64{0, 1, 0, 0, 0}},
		"greedy":            {PredictOptions{TopK: 3, TopP: 0.1}, []float64{0, 1, 0, 0, 0}},
		"top-k 2":           {PredictOptions{Temperature: 1, TopK: 2}, []float64{0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}},
		"top-k 1":           {PredictOptions{Temperature: 1, TopK: 1}, []float64{0, 1, 0, 0, 0}},
		"top-k of all":      {PredictOptions{Temperature: 1, TopK: 99}, []float64{0.05, 0.4, 0.1, 0.25, 0.2}},
		"top-p 0.6":         {PredictOptions{Temperature: 1, TopP: 0.6}, []float64{0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}},
		"top-p 0.7":         {PredictOptions{Temperature: 1, TopP: 0.7}, []float64{0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85}},
		"top-p tiny":        {PredictOptions{Temperature: 1, TopP: 1e-9}, []float64{0, 1, 0, 0, 0}},
		"top-p 1":           {PredictOptions{Temperature: 1, TopP: 1}, []float64{0.05, 0.4, 0.1, 0.25, 0.2}},
		"top-p after top-k": {PredictOptions{Temperature: 1, TopK: 3, TopP: 0.75}, []float64{0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}},
		"min-p 0.45":        {PredictOptions{Temperature: 1, MinP: 0.45}, []float64{0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85}},
		"min-p 1":           {PredictOptions{Temperature: 1, MinP: 1}, []float64{0, 1, 0, 0, 0}},
		"min-p, hot":        {PredictOptions{Temperature: 1e6, MinP: 0.45}, []float64{0, 1. / 3, 0, 1. / 3, 1. / 3}},
	} {
		for i, share := range draws(t, c.o, scores, nil) {
			assert.InDelta(t, c.want[i], share, 0.008, "%s: token %d", name, i)
		}
	}
}

func TestSamplerPenalty(t *testing.T) {
	scores := []float32{2, 1.9, -1, 0.5}
	pick := func(o PredictOptions, history ...int32) int32 {
		opt, err := o.resolve()
		require.NoError(t, err)
		return newSampler(opt).pick(scores, history)
	}
	assert.EqualValues(t, 0, pick(PredictOptions{}, 0, 0))
	assert.EqualValues(t, 1, pick(PredictOptions{RepeatPenalty: 1.1}, 0, 0), "2/1.1 < 1.9")
	assert.EqualValues(t, 0, pick(PredictOptions{RepeatPenalty: 1.1}, 0, 1), "once for each token, however often it came")
	assert.EqualValues(t, 0, pick(PredictOptions{RepeatPenalty: 1.05}, 0, 0))
	assert.EqualValues(t, 0, pick(PredictOptions{RepeatPenalty: 1.1, RepeatLast: 2}, 0, 3, 3), "too long ago")
	assert.EqualValues(t, 3, pick(PredictOptions{RepeatPenalty: 10}, 0, 1, 2))

	// Scores below zero are multiplied: dividing would make them likelier.
	below := []float32{-1, -1.05}
	opt, err := (&PredictOptions{RepeatPenalty: 1.5}).resolve()
	require.NoError(t, err)
	assert.EqualValues(t, 1, newSampler(opt).pick(below, []int32{0}))
	share := draws(t, PredictOptions{Temperature: 1, RepeatPenalty: 2}, []float32{float32(math.Log(4)), float32(math.Log(2))}, []int32{0})
	assert.InDelta(t, 0.5, share[0], 0.008, "half of log 4 is log 2")
}

func TestSamplerTies(t *testing.T) {
	for _, o := range []PredictOptions{{}, {Temperature: 1, TopK: 1}} {
		assert.EqualValues(t, 1, newSampler(o).pick([]float32{0, 7, 7, 7}, nil), "the smaller id")
	}
}

func TestSamplerSeed(t *testing.T) {
	sequence := func(seed uint64) []int32 {
		s := newSampler(PredictOptions{Temperature: 1, Seed: seed})
		var ids []int32
		for range 40 {
			ids = append(ids, s.pick(logs(0.25, 0.25, 0.25, 0.25), nil))
		}
		return ids
	}
	assert.Equal(t, sequence(7), sequence(7))
	assert.NotEqual(t, sequence(7), sequence(8))
	assert.NotEqual(t, sequence(0), sequence(1))
}

func TestPredictOptions(t *testing.T) {
	for _, o := range []PredictOptions{
		{MaxTokens: -1}, {TopK: -1}, {RepeatLast: -1}, {Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)},
		{TopP: 1.1}, {TopP: -0.1}, {TopP: math.NaN()}, {MinP: 2}, {MinP: math.NaN()}, {RepeatPenalty: -1}, {RepeatPenalty: math.Inf(1)},
		{Stop: []string{"a", ""}}, {Stop: []string{"\xff"}},
	} {
		_, err := o.resolve()
		assert.ErrorContains(t, err, "options: ", "%+v", o)
	}
	var none *PredictOptions
	o, err := none.resolve()
	require.NoError(t, err)
	assert.Equal(t, PredictOptions{MaxTokens: 128, RepeatLast: 64}, o)
}

func BenchmarkSampler(b *testing.B) {
	scores := make([]float32, 32064)
	for i := range scores {
		scores[i] = float32(math.Sin(float64(i) * 1.7))
	}
	for name, o := range map[string]PredictOptions{"greedy": {}, "top-k": {Temperature: 0.8, TopK: 40, TopP: 0.95}, "all": {Temperature: 1}} {
		b.Run(name, func(b *testing.B) {
			s := newSampler(o)
			for b.Loop() {
				s.pick(scores, nil)
			}
		})
	}
}
