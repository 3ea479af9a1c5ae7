package bgevl

import (
	"context"
	"errors"
	"image"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bgevl/bgevl/internal/llamatest"
)

// TestLongestFit holds the search to what trying every place gives.
func TestLongestFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		costs := rapid.SliceOfN(rapid.IntRange(0, 5), len(text), len(text)).Draw(t, "costs")
		base := rapid.IntRange(0, 3).Draw(t, "base")
		length := func(s string) (int, error) {
			n := base
			for _, c := range costs[:len(s)] {
				n += c
			}
			return n, nil
		}
		all, _ := length(text)
		if all == base {
			t.Skip("nothing to cut")
		}
		limit := rapid.IntRange(base, all-1).Draw(t, "limit")
		got, err := longestFit(text, base, all, limit, length)
		require.NoError(t, err)
		want := 0
		for i := range text {
			if n, _ := length(text[:i]); n <= limit {
				want = i
			}
		}
		assert.Equal(t, want, got)
		assert.True(t, utf8.ValidString(text[:got]))
	})
}

// TestLongestFitSteps: a text of megabytes is cut in few steps, wherever its tokens are.
func TestLongestFitSteps(t *testing.T) {
	text := strings.Repeat("é", 1<<20)
	for name, length := range map[string]func(string) int{
		"even":         func(s string) int { return len(s) / 4 },
		"at the end":   func(s string) int { return max(0, len(s)-(2<<20-5000)) },
		"at the start": func(s string) int { return min(len(s), 5000) + len(s)/10000 },
	} {
		steps, scanned := 0, 0
		_, err := longestFit(text, 0, length(text), 4000, func(s string) (int, error) {
			steps++
			scanned += len(s)
			return length(s), nil
		})
		require.NoError(t, err)
		assert.LessOrEqual(t, steps, 50, name)
		t.Logf("%s: %d steps, %d bytes", name, steps, scanned)
	}
	_, err := longestFit(text, 0, 100, 50, func(string) (int, error) { return 0, errPoison })
	require.ErrorIs(t, err, errPoison)
	for _, wrong := range [][3]int{{5, 10, 4}, {5, 10, 10}} {
		_, err = longestFit(text, wrong[0], wrong[1], wrong[2], func(string) (int, error) { return 0, errors.New("asked") })
		assert.ErrorContains(t, err, "not between")
	}
}

// TestMLLMCut: the longest beginning of a text that fits stays, and all of the prompt around it.
func TestMLLMCut(t *testing.T) {
	opened, err := Open(llamatest.Write(t, llamatest.Model(), llamatest.Projector()), &Options{Truncate: true, Threads: 1})
	require.NoError(t, err)
	defer opened.Close()
	e := opened.engine.(*mllmEngine)
	im := ImageFrom(image.NewGray(image.Rect(0, 0, 60, 20)))
	long := strings.Repeat("the cät on a mat\n ", llamatest.Context)
	for name, in := range map[string]Input{
		"candidate": {Text: &long, Role: RoleCandidate},
		"query":     {Text: &long, Instruction: new("Find it.")},
		"image":     {Text: &long, Instruction: new("Find it."), Image: im},
	} {
		p, err := e.prepare(context.Background(), &in)
		require.NoError(t, err, name)
		require.True(t, p.truncated, name)
		require.Greater(t, p.length, llamatest.Context, name)
		require.LessOrEqual(t, expanded(p.tokens, p.picture), llamatest.Context, name)
		found := -1
		for end := range long {
			short := in
			short.Text = new(long[:end])
			ids, err := e.tokenize(&short)
			require.NoError(t, err)
			if expanded(ids, p.picture) > llamatest.Context {
				break
			}
			found = end
			if slices.Equal(ids, p.tokens) {
				found = -2
			}
		}
		require.Equal(t, -2, found, "%s: a longer beginning fits", name)
	}
}

// TestMLLMCacheServes: features that are in the cache take the place of encoding the picture.
func TestMLLMCacheServes(t *testing.T) {
	opened, err := Open(llamatest.Write(t, llamatest.Model(), llamatest.Projector()), &Options{ImageCacheBytes: 1 << 20, Threads: 1})
	require.NoError(t, err)
	defer opened.Close()
	cache := opened.engine.(*mllmEngine).cache
	in := Input{Image: ImageFrom(image.NewGray(image.Rect(0, 0, 60, 20))), Role: RoleCandidate}
	embed := func(in Input) []float32 {
		rows, err := opened.Embed(context.Background(), []Input{in, in})
		require.NoError(t, err)
		require.Equal(t, rows[0], rows[1])
		return rows[0]
	}
	first := embed(in)
	require.Len(t, cache.entries, 1)
	require.Equal(t, first, embed(in))
	for _, at := range cache.entries {
		clear(at.Value.(*cacheEntry).features)
	}
	require.NotEqual(t, first, embed(in), "the picture was encoded again")
	embed(Input{Image: in.Image, Text: new("a cat"), Instruction: new("Find it.")})
	require.Len(t, cache.entries, 1, "one picture with another text")
}

func TestGroups(t *testing.T) {
	input := func(prefix string, tokens int) *prepared {
		return &prepared{prefix: prefix, tokens: make([]int32, tokens)}
	}
	for _, c := range []struct {
		name  string
		batch []*prepared
		want  [][]int // indices into batch
	}{
		{"none", nil, nil},
		{"one", []*prepared{input("a", 5)}, [][]int{{0}}},
		{"one that is too large", []*prepared{input("a", 500)}, [][]int{{0}}},
		{"candidates", []*prepared{input("", 5), input("", 5), input("", 5)}, [][]int{{0, 1, 2}}},
		{"one instruction", []*prepared{input("a", 5), input("a", 5)}, [][]int{{0, 1}}},
		{"two instructions", []*prepared{input("a", 5), input("b", 5), input("a", 5), input("b", 5)}, [][]int{{0, 2}, {1, 3}}},
		{"each its own", []*prepared{input("a", 5), input("b", 5), input("", 5)}, [][]int{{0, 1, 2}}},
		{"mixed", []*prepared{input("", 5), input("b", 5), input("a", 5), input("b", 5)}, [][]int{{0, 2}, {1, 3}}},
		{"at the limit", []*prepared{input("", 50), input("", 50), input("", 1)}, [][]int{{0, 1}, {2}}},
		{"past the limit", []*prepared{input("", 1), input("", 101), input("", 1), input("", 1)}, [][]int{{0}, {1}, {2, 3}}},
	} {
		var got [][]int
		for _, group := range groups(c.batch, 100) {
			var indices []int
			for _, p := range group {
				for i, q := range c.batch {
					if p == q {
						indices = append(indices, i)
					}
				}
			}
			got = append(got, indices)
		}
		assert.Equal(t, c.want, got, c.name)
	}
}

func TestMLLMWeights(t *testing.T) {
	for _, batch := range []int{1, 8, maxBatchSize} {
		e := &mllmEngine{}
		full, heaviest := e.weights(batch)
		e.full = full
		assert.Equal(t, full, heaviest)
		assert.Equal(t, full, e.weight(&Input{Image: ImageBytes(nil)}), "a picture fills a batch")
		assert.Equal(t, int64(textWeight), e.weight(&Input{Text: new("a dog")}))
		assert.Equal(t, full, e.weight(&Input{Text: new(strings.Repeat("a", 4<<20))}))
	}
}
