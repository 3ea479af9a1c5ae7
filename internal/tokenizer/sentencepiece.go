package tokenizer

import (
	"cmp"
	"slices"
)

// mergesByScore lists the merges of a sentencepiece vocabulary in order of rank: every way to put a token together
// from two others, the best score first, as transformers derives them from a tokenizer.model.
func mergesByScore(tokens []string, scores []float64) [][2]string {
	ids := tokenIDs(tokens)
	type ranked struct {
		left, right int32
		score       float64
	}
	var all []ranked
	for id, token := range tokens {
		if ids[token] != int32(id) {
			continue
		}
		start := len(all)
		for i := 1; i < len(token); i++ {
			if token[i]&0xc0 == 0x80 { // inside a character
				continue
			}
			left, ok := ids[token[:i]]
			if !ok {
				continue
			}
			if right, ok := ids[token[i:]]; ok {
				all = append(all, ranked{left, right, scores[id]})
			}
		}
		slices.SortStableFunc(all[start:], func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
	}
	length := runeCounts(tokens)
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(length[b.left], length[a.left]),
			cmp.Compare(length[b.right], length[a.right]))
	})
	merges := make([][2]string, len(all))
	for i, m := range all {
		merges[i] = [2]string{tokens[m.left], tokens[m.right]}
	}
	return merges
}

func runeCounts(tokens []string) []int {
	counts := make([]int, len(tokens))
	for i, token := range tokens {
		counts[i] = len([]rune(token))
	}
	return counts
}
