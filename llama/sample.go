package llama

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// sampler chooses tokens by their scores. It is for one prediction.
type sampler struct {
	o    PredictOptions
	rng  *rand.Rand
	list []candidate
}

type candidate struct {
	id     int32
	score  float64
	weight float64 // exp of the score, as a share of the likeliest's
}

// newSampler makes a sampler of resolved options.
func newSampler(o PredictOptions) *sampler {
	const stream = 0x62676576 // any constant: a seed is 64 bits, the generator takes 128
	return &sampler{o: o, rng: rand.New(rand.NewPCG(o.Seed, stream))}
}

// pick chooses a token. scores, one for each of the vocabulary, must be finite; history are the tokens so far. Of equal
// scores the smaller id is the likelier.
func (s *sampler) pick(scores []float32, history []int32) int32 {
	s.list = s.list[:0]
	for id, score := range scores {
		s.list = append(s.list, candidate{id: int32(id), score: float64(score)})
	}
	s.penalise(history)
	if s.o.Temperature == 0 {
		return slices.MaxFunc(s.list, func(a, b candidate) int { return cmp.Compare(a.score, b.score) }).id
	}
	slices.SortFunc(s.list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	list := s.list
	if s.o.TopK > 0 {
		list = list[:min(s.o.TopK, len(list))]
	}
	list = topP(list, s.o.TopP)
	list = minP(list, s.o.MinP)
	return s.draw(list)
}

// penalise lowers the scores of the tokens seen lately. The list is in order of ids.
func (s *sampler) penalise(history []int32) {
	if s.o.RepeatPenalty == 0 || s.o.RepeatPenalty == 1 {
		return
	}
	lately := slices.Clone(history[max(0, len(history)-s.o.RepeatLast):])
	slices.Sort(lately)
	for _, id := range slices.Compact(lately) {
		if c := &s.list[id]; c.score > 0 {
			c.score /= s.o.RepeatPenalty
		} else {
			c.score *= s.o.RepeatPenalty
		}
	}
}

// weigh sets the weights at a temperature and returns their sum. The list is in descending order.
func weigh(list []candidate, temperature float64) float64 {
	sum := 0.0
	for i := range list {
		list[i].weight = math.Exp((list[i].score - list[0].score) / temperature)
		sum += list[i].weight
	}
	return sum
}

// topP keeps the likeliest until they make up the probability p.
func topP(list []candidate, p float64) []candidate {
	if p == 0 || p == 1 {
		return list
	}
	want := p * weigh(list, 1)
	for i := range list {
		if want -= list[i].weight; want <= 0 {
			return list[:i+1]
		}
	}
	return list
}

// minP keeps those that are at least p times as likely as the likeliest.
func minP(list []candidate, p float64) []candidate {
	if p == 0 {
		return list
	}
	least := list[0].score + math.Log(p)
	for i := range list {
		if list[i].score < least {
			return list[:i]
		}
	}
	return list
}

// draw chooses one by its weight at the temperature.
func (s *sampler) draw(list []candidate) int32 {
	at := s.rng.Float64() * weigh(list, s.o.Temperature)
	for _, c := range list {
		if at -= c.weight; at < 0 {
			return c.id
		}
	}
	return list[0].id // rounding left something over
}
