package tests

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/testenv"
	"github.com/bgevl/bgevl/llama"
)

// How alike the embeddings of the small MLLMs must be to the reference's, which computes in float32.
const (
	minCosMLLM      = 0.99999 // the same arithmetic in another order
	minCosMLLMLossy = 0.999   // JPEG and lossy WebP decoders may round differently, and networks so small amplify it
	minCosMLLMQ8    = 0.99    // 8-bit weights in networks so small
	minCosMLLMRows  = 0.99999 // between a row alone and in a batch
)

// mostPictures spares machines whose device is software: there a picture takes fifteen seconds of two cores.
var mostPictures = flag.Int("pictures", -1, "how many goldens with a picture to check of each small MLLM; -1: all")

// mllmThreads compute them: in networks so small more threads mostly wait for each other.
const mllmThreads = 1

// floorMLLM returns the least cosine that a type of weights must reach.
func floorMLLM(typ string, lossy bool) float64 {
	switch {
	case typ == "q8_0":
		return minCosMLLMQ8
	case lossy:
		return minCosMLLMLossy
	}
	return minCosMLLM
}

// mllmSets are the reference fixtures with instructions: one of each kind of tokenizer.json.
func mllmSets(t *testing.T) []goldenSet {
	fixtures := filepath.Join(testenv.Shared(t), "fixtures")
	var sets []goldenSet
	for _, name := range []string{"mllm-tiny", "mllm-tiny-v15"} {
		sets = append(sets, goldenSet{
			name: name, checkpoint: filepath.Join(fixtures, "checkpoints", name), cases: filepath.Join(fixtures, "cases_mllm.jsonl"),
			goldens: filepath.Join(fixtures, "checkpoints", name+".golden.jsonl"), images: filepath.Join(fixtures, "images"),
		})
	}
	return sets
}

// TestGoldensMLLM holds the small MLLMs to the reference's numbers.
func TestGoldensMLLM(t *testing.T) {
	for _, set := range mllmSets(t) {
		cases := fewPictures(t, readGoldens(t, set))
		for _, typ := range []string{"f32", "q8_0"} {
			t.Run(set.name+"/"+typ, func(t *testing.T) {
				path := convertMLLM(t, set.checkpoint, typ)
				checkPromptTokens(t, path, cases)
				rows := checkEmbeddings(t, path, floorOf{typ, floorMLLM, mllmThreads}, set.images, cases)
				if typ == "f32" {
					checkAlone(t, path, set.images, cases, rows)
				}
			})
		}
	}
}

// fewPictures leaves out what -pictures says, and tells so.
func fewPictures(t *testing.T, cases []golden) []golden {
	t.Helper()
	if *mostPictures < 0 {
		return cases
	}
	pictures := 0
	few := slices.DeleteFunc(slices.Clone(cases), func(c golden) bool {
		if c.Image != nil {
			pictures++
		}
		return c.Image != nil && pictures > *mostPictures
	})
	t.Logf("-pictures %d: %d of %d goldens are left out", *mostPictures, len(cases)-len(few), len(cases))
	return few
}

func convertMLLM(t *testing.T, checkpoint, typ string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	_, err := convert.Run(context.Background(), checkpoint, path, &convert.Options{Types: []string{typ}})
	require.NoError(t, err)
	return path
}

// checkPromptTokens compares the token ids of every prompt one by one, the picture's token being one of them.
func checkPromptTokens(t *testing.T, path string, cases []golden) {
	t.Helper()
	m, err := llama.Open(path, nil)
	require.NoError(t, err)
	defer m.Close()
	for _, c := range cases {
		ids, err := m.Tokenize(referencePrompt(c))
		require.NoError(t, err, c.ID)
		assert.Equal(t, c.Tokens, ids, c.ID)
	}
}

// referencePrompt writes the prompt of a case once more, so that a slip in the product's own does not hide here.
func referencePrompt(c golden) string {
	s := "[INST] "
	if c.Role != "candidate" {
		s = "[INST] \n <instruct>  <query>"
		if c.Instruction != nil {
			s = "[INST] \n <instruct> " + *c.Instruction + " <query> "
		}
	}
	if c.Text != nil {
		s += " " + *c.Text + " \n"
	}
	if c.Image != nil {
		s += " <image>"
	}
	return s + " [/INST]"
}

// checkAlone embeds some cases by themselves and in batches of other sizes, and holds them to the rows of one call.
func checkAlone(t *testing.T, path, images string, cases []golden, rows [][]float32) {
	t.Helper()
	e, err := bgevl.Open(path, &bgevl.Options{Threads: mllmThreads, BatchSize: 1, ImageCacheBytes: 1 << 20})
	require.NoError(t, err)
	defer e.Close()
	const step = 4 // every case takes part in a batch, some of each kind stand alone
	least := 1.0
	for i := 0; i < len(cases); i += step {
		alone, err := e.Embed(context.Background(), []bgevl.Input{inputOf(t, images, cases[i])})
		require.NoError(t, err)
		cos := cosine(rows[i], alone[0])
		assert.GreaterOrEqual(t, cos, minCosMLLMRows, cases[i].ID)
		least = min(least, cos)
	}
	t.Logf("%-15s least cosine %.9f", "alone", least)
}

// TestPublishedExample ranks the candidates of the models' own usage example as the reference does.
func TestPublishedExample(t *testing.T) {
	task, ok := bgevl.FindTask("composed-retrieval")
	require.True(t, ok)
	for _, set := range mllmSets(t) {
		cases := map[string]golden{}
		for _, c := range readGoldens(t, set) {
			cases[c.ID] = c
		}
		asked := cases["query/seed"]
		require.Equal(t, *asked.Instruction, task.Instruction, "the preset is the example's instruction")
		candidates := []golden{cases["candidate/1"], cases["candidate/2"]}
		e, err := bgevl.Open(convertMLLM(t, set.checkpoint, "f32"), &bgevl.Options{Threads: mllmThreads})
		require.NoError(t, err)
		defer e.Close()
		inputs := make([]bgevl.Input, len(candidates))
		want := make([][]float32, len(candidates))
		for i, c := range candidates {
			inputs[i], want[i] = inputOf(t, set.images, c), c.Embedding
		}
		got, err := e.Rank(context.Background(), inputOf(t, set.images, asked), inputs)
		require.NoError(t, err)
		for i, r := range bgevl.Rank(asked.Embedding, want) {
			assert.Equal(t, r.Index, got[i].Index, set.name)
			assert.InDelta(t, r.Score, got[i].Score, 1e-3, "%s: JPEG decoders may round differently", set.name)
			t.Logf("%s: candidate %d: %.6f, reference %.6f", set.name, r.Index+1, got[i].Score, r.Score)
		}
	}
}

// TestProjectorOfSeveralTypes converts two types in one pass: both find the one file with the vision side, and without it
// take texts.
func TestProjectorOfSeveralTypes(t *testing.T) {
	set := mllmSets(t)[0]
	dir := t.TempDir()
	_, err := convert.Run(context.Background(), set.checkpoint, filepath.Join(dir, "model.gguf"), &convert.Options{Types: []string{"f16", "q8_0"}})
	require.NoError(t, err)
	vision := filepath.Join(dir, "mmproj-model.gguf")
	im := bgevl.Input{Image: bgevl.ImageFile(filepath.Join(set.images, "grey.png")), Role: bgevl.RoleCandidate}
	text := bgevl.Input{Text: new("a cat"), Role: bgevl.RoleCandidate}
	for _, name := range []string{"model-f16.gguf", "model-q8_0.gguf"} {
		e, err := bgevl.Open(filepath.Join(dir, name), &bgevl.Options{Threads: mllmThreads})
		require.NoError(t, err)
		defer e.Close()
		assert.Equal(t, vision, e.Info().Projector)
		_, err = e.Embed(context.Background(), []bgevl.Input{im, text})
		assert.NoError(t, err)
	}
	_, err = bgevl.Open(vision, nil)
	assert.ErrorContains(t, err, "give the language model")
	require.NoError(t, os.Remove(vision))
	e, err := bgevl.Open(filepath.Join(dir, "model-q8_0.gguf"), nil)
	require.NoError(t, err)
	defer e.Close()
	rows, err := e.Embed(context.Background(), []bgevl.Input{im, text})
	assert.ErrorIs(t, err, bgevl.ErrNoProjector)
	assert.ErrorContains(t, err, "mmproj-model-q8_0.gguf")
	assert.NotNil(t, rows[1])
}
