package bgevl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Score returns the inner product of two embeddings, which is their cosine: from -1 to 1, and the higher the better
// they match. It panics if they differ in length, which is a programmer's mistake: compare Fingerprints first.
func Score(a, b []float32) float32 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("bgevl: Score of embeddings of %d and %d floats", len(a), len(b)))
	}
	var s0, s1, s2, s3 float64 // of which one by itself would wait for its last addition
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return float32((s0 + s1) + (s2 + s3))
}

// Ranked is a candidate and how well it matches.
type Ranked struct {
	Index int // among the candidates
	Score float32
}

// Rank orders candidates by their Score against the query, best first; equal scores stay in order. A candidate without
// an embedding (nil: a failed input) is left out.
func Rank(query []float32, candidates [][]float32) []Ranked {
	ranked := make([]Ranked, 0, len(candidates))
	for i, c := range candidates {
		if c != nil {
			ranked = append(ranked, Ranked{Index: i, Score: Score(query, c)})
		}
	}
	sortRanked(ranked)
	return ranked
}

func sortRanked(ranked []Ranked) {
	slices.SortStableFunc(ranked, func(a, b Ranked) int { return cmp.Compare(b.Score, a.Score) })
}

// Rank embeds a query and candidates and orders the candidates as the function Rank does. The roles are set: the query
// is embedded as a query, the candidates as candidates. Scores alone are kept, so that memory stays bounded.
//
// If the query fails, its *InputError comes back with Index -1 and nothing is ranked. Candidates that fail are left out
// and their *InputErrors joined; the ranking of the others is good. A context that ends or an Embedder that is closed
// leaves no ranking.
func (e *Embedder) Rank(ctx context.Context, query Input, candidates []Input) ([]Ranked, error) {
	query.Role = RoleQuery
	first, err := e.EmbedResults(ctx, []Input{query})
	if err != nil {
		return nil, err
	}
	if failure, ok := errors.AsType[*InputError](first[0].Err); ok {
		failure.Index = -1
		return nil, failure
	}
	ranked := make([]Ranked, 0, len(candidates))
	var failures []error
	roles := func(yield func(Input, error) bool) {
		for _, c := range candidates {
			c.Role = RoleCandidate
			if !yield(c, nil) {
				return
			}
		}
	}
	for r, err := range e.embed(ctx, roles, 0) {
		switch {
		case err != nil:
			return nil, err
		case r.Err != nil:
			failures = append(failures, r.Err)
		default:
			ranked = append(ranked, Ranked{Index: r.Index, Score: Score(first[0].Embedding, r.Embedding)})
		}
	}
	sortRanked(ranked)
	return ranked, errors.Join(failures...)
}

// normalize returns raw scaled to unit length. It fails for what has no direction. The sum is taken in float64, where
// no square of a float32 overflows or vanishes.
func normalize(raw []float32) ([]float32, error) {
	var sum float64
	for _, x := range raw {
		sum += float64(x) * float64(x)
	}
	switch {
	case math.IsNaN(sum) || math.IsInf(sum, 0):
		return nil, ErrNonFinite
	case sum == 0:
		return nil, ErrZero
	}
	unit := make([]float32, len(raw))
	scale := 1 / math.Sqrt(sum)
	for i, x := range raw {
		unit[i] = float32(float64(x) * scale)
	}
	return unit, nil
}
