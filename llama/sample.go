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
	best := s.list[0]
	for _, c := range s.list {
		if c.likelier(best) {
			best = c
		}
	}
	if s.o.Temperature == 0 {
		return best.id
	}
	list := topK(s.list, s.o.TopK)
	list = topP(list, s.o.TopP, best.score)
	list = minP(list, s.o.MinP, best.score)
	return s.draw(list, best.score)
}

func (c candidate) likelier(than candidate) bool {
	return c.score > than.score || c.score == than.score && c.id < than.id
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

// topK keeps the k likeliest, in no stated order. It is a heap with the least likely at its root: sorting the vocabulary
// would take ten times as long.
func topK(list []candidate, k int) []candidate {
	if k == 0 || k >= len(list) {
		return list
	}
	heap := list[:k]
	down := func(at int) {
		for {
			child := 2*at + 1
			if child >= k {
				return
			}
			if child+1 < k && heap[child].likelier(heap[child+1]) {
				child++
			}
			if !heap[at].likelier(heap[child]) {
				return
			}
			heap[at], heap[child] = heap[child], heap[at]
			at = child
		}
	}
	for at := k/2 - 1; at >= 0; at-- {
		down(at)
	}
	for _, c := range list[k:] {
		if c.likelier(heap[0]) {
			heap[0] = c
			down(0)
		}
	}
	return heap
}

// weigh sets the weights at a temperature, best being the highest score, and returns their sum.
func weigh(list []candidate, best, temperature float64) float64 {
	sum := 0.0
	for i := range list {
		list[i].weight = math.Exp((list[i].score - best) / temperature)
		sum += list[i].weight
	}
	return sum
}

// topP keeps the likeliest until they make up the probability p, in descending order.
func topP(list []candidate, p, best float64) []candidate {
	if p == 0 || p == 1 {
		return list
	}
	sum := weigh(list, best, 1)
	// All that are below their share of what may be left out can be left out together, and need no sorting.
	least := (1 - p) * sum / float64(len(list))
	list = slices.DeleteFunc(list, func(c candidate) bool { return c.weight < least })
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	want := p * sum
	for i := range list {
		if want -= list[i].weight; want <= 0 {
			return list[:i+1]
		}
	}
	return list
}

// minP keeps those that are at least p times as likely as the likeliest.
func minP(list []candidate, p, best float64) []candidate {
	if p == 0 {
		return list
	}
	least := best + math.Log(p)
	return slices.DeleteFunc(list, func(c candidate) bool { return c.score < least })
}

// draw chooses one by its weight at the temperature.
func (s *sampler) draw(list []candidate, best float64) int32 {
	at := s.rng.Float64() * weigh(list, best, s.o.Temperature)
	last := int32(0)
	for _, c := range list {
		if c.weight == 0 {
			continue
		}
		if at -= c.weight; at < 0 {
			return c.id
		}
		last = c.id // rounding may leave something over behind it
	}
	return last
}
