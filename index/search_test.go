package index_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/index"
)

func fingerprint(dim int) bgevl.Fingerprint {
	return bgevl.Fingerprint{Family: "clip", Model: "m", Type: "f16", Dim: dim, Tokenizer: "t", Preprocessing: "p",
		Pooling: "eot", Template: "none"}
}

func newCollection(t require.TestingT, dim int) *index.Collection {
	c, err := index.New(fingerprint(dim))
	require.NoError(t, err)
	return c
}

// bruteForce is what Search promises, in the plainest way.
func bruteForce(rows [][]float32, items []index.Item, q index.Query) (ids []string, matched int) {
	type row struct {
		id    string
		score float32
	}
	var found []row
	for i, v := range rows {
		it := items[i]
		score := float32(0)
		for j, x := range v {
			score += x * q.Vector[j] // whole numbers: exact in any order
		}
		out := slices.Contains(q.Filter.Exclude, it.ID) || q.Filter.Kind != "" && q.Filter.Kind != it.Kind ||
			q.Filter.Source != "" && q.Filter.Source != it.Source ||
			!strings.Contains(it.Name+it.Text, q.Filter.Name) || q.MinScore != nil && score < *q.MinScore
		if !out {
			found = append(found, row{it.ID, score})
		}
	}
	slices.SortStableFunc(found, func(a, b row) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	for _, f := range found[:min(len(found), q.K)] {
		ids = append(ids, f.id)
	}
	return ids, len(found)
}

// TestSearchIsExact compares with sorting everything. Small whole numbers make many ties.
func TestSearchIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 9).Draw(t, "dim")
		vector := rapid.SliceOfN(rapid.Map(rapid.IntRange(-2, 2), func(i int) float32 { return float32(i) }), dim, dim)
		rows := rapid.SliceOfN(vector, 0, 40).Draw(t, "rows")
		c := newCollection(t, dim)
		var items []index.Item
		for i, v := range rows {
			it := index.Item{ID: fmt.Sprint(i), Source: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source"),
				Name: rapid.SampledFrom([]string{"x", "xy", "z"}).Draw(t, "name"),
				Kind: rapid.SampledFrom([]index.Kind{index.KindImage, index.KindText}).Draw(t, "kind")}
			items = append(items, it)
			require.NoError(t, c.Add(fingerprint(dim), it, v))
		}
		q := index.Query{Vector: vector.Draw(t, "query"), Fingerprint: fingerprint(dim), K: rapid.IntRange(1, 50).Draw(t, "k"),
			Filter: index.Filter{
				Kind:    rapid.SampledFrom([]index.Kind{"", "", index.KindImage, index.KindText}).Draw(t, "of kind"),
				Source:  rapid.SampledFrom([]string{"", "", "a", "none"}).Draw(t, "of source"),
				Name:    rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "named"),
				Exclude: rapid.SliceOfN(rapid.SampledFrom([]string{"0", "1", "2", "77"}), 0, 3).Draw(t, "without"),
			}}
		if rapid.Bool().Draw(t, "bounded") {
			q.MinScore = new(float32(rapid.IntRange(-4, 4).Draw(t, "least")))
		}
		got, err := c.Search(context.Background(), q)
		require.NoError(t, err)
		var ids []string
		for _, h := range got.Hits {
			ids = append(ids, h.Item.ID)
		}
		want, matched := bruteForce(rows, items, q)
		require.Equal(t, want, ids)
		require.Equal(t, matched, got.Matched)
	})
}

// TestSearchInPartsIsTheSame has more rows than one goroutine searches, all of the same score but three.
func TestSearchInPartsIsTheSame(t *testing.T) {
	const rows = 20000
	c := newCollection(t, 2)
	for i := range rows {
		v := []float32{1, 0}
		if i == 7000 || i == 13000 || i == 19999 {
			v = []float32{2, 0}
		}
		require.NoError(t, c.Add(fingerprint(2), index.Item{ID: fmt.Sprint(i), Kind: index.KindText}, v))
	}
	got, err := c.Search(context.Background(), index.Query{Vector: []float32{1, 0}, Fingerprint: fingerprint(2), K: 5})
	require.NoError(t, err)
	var ids []string
	for _, h := range got.Hits {
		ids = append(ids, h.Item.ID)
	}
	assert.Equal(t, []string{"7000", "13000", "19999", "0", "1"}, ids)
	assert.Equal(t, rows, got.Matched)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Search(ctx, index.Query{Vector: []float32{1, 0}, Fingerprint: fingerprint(2), K: 5})
	assert.ErrorIs(t, err, context.Canceled)
}

// TestVectorsOfOtherModels holds a collection to its fingerprint, field by field.
func TestVectorsOfOtherModels(t *testing.T) {
	c := newCollection(t, 2)
	require.NoError(t, c.Add(fingerprint(2), index.Item{ID: "a", Kind: index.KindText}, []float32{1, 0}))
	change := map[string]func(*bgevl.Fingerprint){
		"family": func(f *bgevl.Fingerprint) { f.Family = "mllm" }, "model": func(f *bgevl.Fingerprint) { f.Model = "n" },
		"type": func(f *bgevl.Fingerprint) { f.Type = "q8_0" }, "dim": func(f *bgevl.Fingerprint) { f.Dim = 3 },
		"tokenizer":     func(f *bgevl.Fingerprint) { f.Tokenizer = "u" },
		"preprocessing": func(f *bgevl.Fingerprint) { f.Preprocessing = "q" },
		"pooling":       func(f *bgevl.Fingerprint) { f.Pooling = "last" }, "template": func(f *bgevl.Fingerprint) { f.Template = "x" },
	}
	require.Len(t, change, len(fingerprint(2).Diff(bgevl.Fingerprint{})))
	for field, alter := range change {
		f := fingerprint(2)
		alter(&f)
		for what, err := range map[string]error{
			"add": c.Add(f, index.Item{ID: "b", Kind: index.KindText}, []float32{1, 0}),
			"search": func() error {
				_, err := c.Search(context.Background(), index.Query{Vector: []float32{1, 0}, Fingerprint: f, K: 1})
				return err
			}(),
		} {
			require.ErrorIs(t, err, index.ErrFingerprint, "%s: %s", what, field)
			assert.ErrorContains(t, err, field)
			assert.ErrorContains(t, err, "with the model that it was made with", "the remedy")
		}
	}
	for _, err := range []error{
		c.Add(bgevl.Fingerprint{}, index.Item{ID: "b", Kind: index.KindText}, []float32{1, 0}),
		func() error { _, err := index.New(bgevl.Fingerprint{}); return err }(),
	} {
		require.ErrorIs(t, err, index.ErrFingerprint)
		assert.ErrorContains(t, err, "give the fingerprint")
	}
	assert.Equal(t, 1, c.Stats().Texts, "nothing was added")
}

func TestUnusableVectors(t *testing.T) {
	c := newCollection(t, 2)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, v := range [][]float32{nil, {1}, {1, 2, 3}, {nan, 0}, {0, inf}, {0, -inf}} {
		assert.ErrorIs(t, c.Add(fingerprint(2), index.Item{ID: "a", Kind: index.KindText}, v), index.ErrVector)
		_, err := c.Search(context.Background(), index.Query{Vector: v, Fingerprint: fingerprint(2), K: 1})
		assert.ErrorIs(t, err, index.ErrVector)
	}
	_, err := c.Search(context.Background(), index.Query{Vector: []float32{1, 0}, Fingerprint: fingerprint(2)})
	assert.ErrorContains(t, err, "at least 1")
	_, err = c.Search(context.Background(), index.Query{Vector: []float32{1, 0}, Fingerprint: fingerprint(2), K: 1, MinScore: &nan})
	assert.ErrorContains(t, err, "no number")
	require.NoError(t, c.Add(fingerprint(2), index.Item{ID: "a", Kind: index.KindText}, []float32{1, 0}))
	assert.ErrorIs(t, c.Add(fingerprint(2), index.Item{ID: "a", Kind: index.KindText}, []float32{1, 0}), index.ErrDuplicate)
	assert.Error(t, c.Add(fingerprint(2), index.Item{ID: "b"}, []float32{1, 0}), "an item of no kind")
	assert.Equal(t, index.Stats{Texts: 1, Bytes: 8, Failures: []index.Failure{}}, c.Stats())
}

// TestAddCopies changes what it gave and what it got.
func TestAddCopies(t *testing.T) {
	c := newCollection(t, 2)
	given := []float32{3, 4}
	require.NoError(t, c.Add(fingerprint(2), index.Item{ID: "a", Kind: index.KindText}, given))
	given[0] = 0
	_, v, ok := c.Item("a")
	require.True(t, ok)
	require.Equal(t, []float32{3, 4}, v)
	v[0] = 0
	_, v, _ = c.Item("a")
	assert.Equal(t, []float32{3, 4}, v)
	_, _, ok = c.Item("b")
	assert.False(t, ok)
}

// TestSearchWhileFilled searches while others add; the race detector looks on.
func TestSearchWhileFilled(t *testing.T) {
	c := newCollection(t, 3)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				assert.NoError(t, c.Add(fingerprint(3), index.Item{ID: fmt.Sprint(w, "-", i), Kind: index.KindText}, []float32{1, 2, float32(i)}))
			}
		})
		wg.Go(func() {
			last := 0
			for range 200 {
				got, err := c.Search(context.Background(), index.Query{Vector: []float32{1, 1, 1}, Fingerprint: fingerprint(3), K: 3})
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, got.Matched, last, "what was found once stays")
				last = got.Matched
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 1200, c.Stats().Texts)
}

func BenchmarkSearch(b *testing.B) {
	const dim, rows = 512, 20000
	c := newCollection(b, dim)
	v := make([]float32, dim)
	for i := range rows {
		for j := range v {
			v[j] = float32((i*31+j*17)%101) / 101
		}
		require.NoError(b, c.Add(fingerprint(dim), index.Item{ID: fmt.Sprint(i), Kind: index.KindText}, v))
	}
	b.ReportMetric(float64(rows), "rows")
	for b.Loop() {
		_, err := c.Search(context.Background(), index.Query{Vector: v, Fingerprint: fingerprint(dim), K: 24})
		require.NoError(b, err)
	}
}
