package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/testenv"
)

// How alike an embedding must be to the reference's, which computes in float32.
const (
	minCosF32      = 0.999999 // the same arithmetic in another order
	minCosF32Lossy = 0.9999   // JPEG and lossy WebP decoders may round differently, by up to 4 of 255
	minCosF16      = 0.9999   // rounding of weights and activations to f16
	minCosQ8       = 0.999    // 8-bit weights
)

// floor returns the least cosine that a type of weights must reach.
func floor(typ string, lossy bool) float64 {
	switch {
	case typ == "q8_0":
		return minCosQ8
	case typ == "f16":
		return minCosF16
	case lossy:
		return minCosF32Lossy
	}
	return minCosF32
}

// goldenSet is a checkpoint and what the reference makes of some inputs with it.
type goldenSet struct {
	name       string
	checkpoint string
	cases      string // JSON lines, inputs
	goldens    string // JSON lines, results
	images     string // folder
}

// golden is one case with the reference's result.
type golden struct {
	ID          string    `json:"id"`
	Text        *string   `json:"text"`
	Image       *string   `json:"image"`
	Role        string    `json:"role"`
	Instruction *string   `json:"instruction"`
	Tokens      []int32   `json:"tokens"`
	Embedding   []float32 `json:"embedding"`
	Error       string    `json:"error"` // the reference refuses the input
}

// TestGoldensOwn holds the project's own small checkpoint to the reference's numbers. tools/goldens/clip.sh made both.
func TestGoldensOwn(t *testing.T) {
	run(t, goldenSet{
		name: "clip-small", checkpoint: "testdata/clip-small", cases: "testdata/clip-small.cases.jsonl",
		goldens: "testdata/clip-small.golden.jsonl", images: filepath.Join(testenv.Root(t), "examples", "pictures"),
	})
}

// TestGoldensShared does the same with the reference fixtures: real vocabularies and every kind of image file.
func TestGoldensShared(t *testing.T) {
	fixtures := filepath.Join(testenv.Shared(t), "fixtures")
	for _, name := range []string{"clip-base-tiny", "clip-large-tiny"} {
		run(t, goldenSet{
			name: name, checkpoint: filepath.Join(fixtures, "checkpoints", name), cases: filepath.Join(fixtures, "cases_clip.jsonl"),
			goldens: filepath.Join(fixtures, "checkpoints", name+".golden.jsonl"), images: filepath.Join(fixtures, "images"),
		})
	}
}

func run(t *testing.T, set goldenSet) {
	cases := readGoldens(t, set)
	for _, typ := range []string{"f32", "f16", "q8_0"} {
		t.Run(set.name+"/"+typ, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			_, err := convert.Run(context.Background(), set.checkpoint, path, &convert.Options{Types: []string{typ}})
			require.NoError(t, err)
			checkTokens(t, path, cases)
			checkEmbeddings(t, path, floorOf{typ, floor, 0}, set.images, cases)
		})
	}
}

// readGoldens joins the inputs and the results of a set.
func readGoldens(t *testing.T, set goldenSet) []golden {
	t.Helper()
	results := map[string]golden{}
	for _, g := range readLines(t, set.goldens) {
		results[g.ID] = g
	}
	cases := readLines(t, set.cases)
	require.NotEmpty(t, cases)
	for i := range cases {
		g, ok := results[cases[i].ID]
		require.True(t, ok, "no result of case %s", cases[i].ID)
		require.NotEqual(t, g.Error == "", g.Embedding == nil, "case %s", g.ID)
		cases[i].Tokens, cases[i].Embedding, cases[i].Error = g.Tokens, g.Embedding, g.Error
	}
	return cases
}

func readLines(t *testing.T, path string) []golden {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var list []golden
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		require.NoError(t, json.Unmarshal(lines.Bytes(), &g))
		list = append(list, g)
	}
	require.NoError(t, lines.Err())
	return list
}

// checkTokens compares token ids one by one.
func checkTokens(t *testing.T, path string, cases []golden) {
	t.Helper()
	m, err := clip.Open(path, nil)
	require.NoError(t, err)
	defer m.Close()
	compared := 0
	for _, c := range cases {
		if c.Text == nil || c.Error != "" {
			continue
		}
		ids, _, err := m.Tokenize(*c.Text, false)
		require.NoError(t, err, c.ID)
		assert.Equal(t, c.Tokens, ids, c.ID)
		compared++
	}
	assert.Positive(t, compared)
}

// floorOf is a type of weights, the least cosine that a family's must reach, and how many threads compute; 0: all.
type floorOf struct {
	typ     string
	floor   func(typ string, lossy bool) float64
	threads int
}

// inputOf returns what a case embeds.
func inputOf(t *testing.T, images string, c golden) bgevl.Input {
	t.Helper()
	role, err := bgevl.ParseRole(c.Role)
	require.NoError(t, err)
	in := bgevl.Input{ID: c.ID, Text: c.Text, Role: role, Instruction: c.Instruction}
	if c.Image != nil {
		in.Image = bgevl.ImageFile(filepath.Join(images, *c.Image))
	}
	return in
}

// checkEmbeddings embeds all cases in one call, holds each to the floor of its kind, and returns them.
func checkEmbeddings(t *testing.T, path string, least floorOf, images string, cases []golden) [][]float32 {
	t.Helper()
	e, err := bgevl.Open(path, &bgevl.Options{Threads: least.threads})
	require.NoError(t, err)
	defer e.Close()
	inputs := make([]bgevl.Input, len(cases))
	for i, c := range cases {
		inputs[i] = inputOf(t, images, c)
	}
	results, err := e.EmbedResults(context.Background(), inputs)
	require.NoError(t, err)
	rows := make([][]float32, len(cases))
	lowest := map[string]float64{}
	for i, c := range cases {
		r := results[i]
		if c.Error != "" {
			assert.Error(t, r.Err, "%s: the reference refuses it: %s", c.ID, c.Error)
			continue
		}
		if !assert.NoError(t, r.Err, c.ID) {
			continue
		}
		kind, lossy := kindOf(t, images, c)
		rows[i] = r.Embedding
		cos := cosine(c.Embedding, r.Embedding)
		assert.GreaterOrEqual(t, cos, least.floor(least.typ, lossy), "%s (%s)", c.ID, kind)
		if old, ok := lowest[kind]; !ok || cos < old {
			lowest[kind] = cos
		}
	}
	for kind, cos := range lowest {
		t.Logf("%-15s least cosine %.9f", kind, cos)
	}
	return rows
}

// kindOf sorts cases by how exactly they can be repeated: the content of an image says whether decoding it is exact.
func kindOf(t *testing.T, images string, c golden) (kind string, lossy bool) {
	t.Helper()
	if c.Image == nil {
		return "text", false
	}
	data, err := os.ReadFile(filepath.Join(images, *c.Image))
	require.NoError(t, err)
	lossy = bytes.HasPrefix(data, []byte("\xff\xd8\xff")) || lossyWebP(data)
	kind = "lossless image"
	if lossy {
		kind = "lossy image"
	}
	if c.Text != nil {
		kind = strings.Replace(kind, "image", "both", 1)
	}
	return kind, lossy
}

// lossyWebP reports whether data is a WebP file with a lossily coded frame: one with a chunk named "VP8 ".
func lossyWebP(data []byte) bool {
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WEBP" {
		return false
	}
	for at := 12; at+8 <= len(data); {
		if string(data[at:at+4]) == "VP8 " {
			return true
		}
		size := int(binary.LittleEndian.Uint32(data[at+4:]))
		at += 8 + size + size%2
	}
	return false
}

func cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("vectors of %d and %d floats", len(a), len(b)))
	}
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}
