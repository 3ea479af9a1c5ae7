package tests

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
)

// What a type of weights may cost: the least cosine of an embedding with that of float32 weights. The floors of f16,
// q8_0 and q4_k_m are promises; for the others, half as much again as was measured, so that a type that breaks shows.
// Random weights are a hard case, as nothing in them is redundant.
var quantFloors = map[string]float64{
	"f16": minCosF16, "q8_0": minCosQ8, "q4_k_m": 0.98,
	"bf16": 0.99998, "q6_k": 0.998, "q5_k_m": 0.996, "q5_k_s": 0.993, "q5_k": 0.987, "q5_1": 0.991, "q5_0": 0.985,
	"q4_k_s": 0.981, "q4_k": 0.955, "iq4_nl": 0.932, "iq4_xs": 0.948, "q4_1": 0.955, "q4_0": 0.955, "mxfp4": 0.925,
	"q3_k_m": 0.925, "q3_k": 0.87, "q2_k": 0.5,
}

// Every type of weights against float32, texts and images, in towers whose rows are whole blocks of every type.
func TestQuantisedEmbeddings(t *testing.T) {
	tower := randmodel.Tower{Layers: 6, Width: 256, FFN: 1024, Heads: 4}
	dir := filepath.Join(t.TempDir(), "checkpoint")
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{Seed: 5, Text: tower, Vision: tower, Projection: 256}))
	want := embedWith(t, dir, "f32")
	for _, typ := range convert.Types() {
		floor, ok := quantFloors[typ.Name]
		if !ok || testing.Short() && !slices.Contains([]string{"f16", "q8_0", "q4_k_m"}, typ.Name) {
			continue // f32 itself, too slow to make for a test (grids of 2 and 3 bits), or for ternary weights only
		}
		got := embedWith(t, dir, typ.Name)
		least := 1.0
		for i := range want {
			least = min(least, cosine(want[i], got[i]))
		}
		t.Logf("%s: %.5f", typ.Name, least)
		require.GreaterOrEqual(t, least, floor, typ.Name)
	}
}

func embedWith(t *testing.T, dir, typ string) [][]float32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), typ+".gguf")
	_, err := convert.Run(t.Context(), dir, path, &convert.Options{Types: []string{typ}})
	require.NoError(t, err)
	e, err := bgevl.Open(path, nil)
	require.NoError(t, err)
	defer e.Close()
	var inputs []bgevl.Input
	for _, text := range []string{"a photo of a dog", "x", "", "make the background dark and add another dog",
		"two people walking along the beach at sunset with their hands in the pockets of their coats"} {
		inputs = append(inputs, bgevl.Input{Text: &text})
	}
	pictures, err := filepath.Glob(filepath.Join(testenv.Root(t), "examples", "pictures", "*.*g"))
	require.NoError(t, err)
	require.NotEmpty(t, pictures)
	for _, picture := range pictures {
		inputs = append(inputs, bgevl.Input{Image: bgevl.ImageFile(picture)})
	}
	rows, err := e.Embed(t.Context(), inputs)
	require.NoError(t, err)
	return rows
}
