package convert

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// Every type offered can be written, packs as this project's GGUF reader believes, and cuts evenly into chunks.
func TestSchemesAreWritable(t *testing.T) {
	seen := map[string]bool{}
	check := func(typ gguf.Type) {
		require.NoError(t, csrc.Quantizable(uint32(typ)))
		elements, bytes, err := csrc.BlockSize(uint32(typ))
		require.NoError(t, err)
		require.Equal(t, elements, typ.BlockSize(), typ)
		require.Equal(t, bytes, typ.TypeSize(), typ)
		require.Zero(t, chunkElements%elements)
	}
	for _, s := range schemes() {
		require.False(t, seen[s.name], s.name)
		seen[s.name] = true
		check(s.base)
		for _, r := range append(s.rules[:len(s.rules):len(s.rules)], s.language...) {
			check(r.typ)
		}
		found, err := findScheme(strings.ToUpper(s.name))
		require.NoError(t, err)
		require.Equal(t, s.name, found.name)
	}
	// All that ggml can write is offered.
	for typ := gguf.Type(0); typ < 64; typ++ {
		if csrc.Quantizable(uint32(typ)) == nil {
			require.True(t, seen[typ.String()], typ)
		}
	}
}

func TestFindSchemeRefuses(t *testing.T) {
	_, err := findScheme("q9_9")
	require.ErrorContains(t, err, `unknown type "q9_9": want one of f32, f16,`)
	for _, name := range []string{"iq2_xxs", "iq2_xs", "iq1_s", "iq1_m"} {
		_, err := findScheme(name)
		require.ErrorContains(t, err, "importance matrix")
	}
}

// pickCase is a weight in a model of 16 layers and the type that it should get.
type pickCase struct {
	scheme string
	role   role
	layer  int
	row    int64
	want   gguf.Type
	text   bool // of the text tower
}

// The policy, weight by weight.
func TestPick(t *testing.T) {
	for _, c := range append(plainCases(), mixCases()...) {
		s, err := findScheme(c.scheme)
		require.NoError(t, err)
		tower := towerVision
		if c.text {
			tower = towerText
		}
		got, _ := s.pick(expected{tower: tower, shape: []int64{8, c.row}, role: c.role, layer: c.layer, layers: 16})
		require.Equal(t, c.want.String(), got.String(), "%+v", c)
	}
}

func plainCases() []pickCase {
	return []pickCase{
		{"f32", roleQuery, 0, 512, gguf.F32, false},
		{"f32", rolePatches, 0, 16, gguf.F32, false},
		{"f16", roleQuery, 0, 512, gguf.F16, false},
		{"f16", roleTokens, 0, 512, gguf.F16, false},
		{"f16", rolePatches, 0, 16, gguf.F16, false},
		{"f16", roleVector, 0, 512, gguf.F32, false},
		{"f16", rolePositions, 0, 512, gguf.F32, false},
		{"bf16", roleQuery, 0, 512, gguf.BF16, false},
		{"bf16", rolePatches, 0, 16, gguf.F32, false},
		{"q8_0", roleUp, 0, 512, gguf.Q8_0, false},
		{"q8_0", roleTokens, 0, 512, gguf.Q8_0, false},
		{"q8_0", roleVector, 0, 512, gguf.F32, false},
		{"q8_0", rolePatches, 0, 32, gguf.F16, false},
		{"q4_k", roleValue, 0, 512, gguf.Q4_K, false},
		{"q4_k", roleDown, 0, 512, gguf.Q4_K, false},
		{"q4_k", roleProjection, 0, 512, gguf.Q4_K, false},
		// Rows of other lengths.
		{"q4_k", roleQuery, 0, 96, gguf.Q5_0, false},
		{"q5_k", roleQuery, 0, 96, gguf.Q5_1, false},
		{"q6_k", roleQuery, 0, 96, gguf.Q8_0, false},
		{"q3_k", roleQuery, 0, 96, gguf.IQ4NL, false},
		{"q2_k", roleQuery, 0, 128, gguf.IQ4NL, false},
		{"iq4_xs", roleQuery, 0, 128, gguf.IQ4NL, false},
		{"tq2_0", roleQuery, 0, 128, gguf.Q4_0, false},
		{"q4_k", roleQuery, 0, 80, gguf.F16, false},
		{"q8_0", roleQuery, 0, 80, gguf.F16, false},
		{"q4_0", roleQuery, 0, 1, gguf.F16, false},
		{"f16", roleQuery, 0, 1, gguf.F16, false},
		{"bf16", roleQuery, 0, 1, gguf.BF16, false},
	}
}

func mixCases() []pickCase {
	return []pickCase{
		{"q4_k_m", roleQuery, 3, 512, gguf.Q5_K, false},
		{"q4_k_m", roleKey, 3, 512, gguf.Q5_K, false},
		{"q4_k_m", roleValue, 3, 512, gguf.Q5_K, false},
		{"q4_k_m", roleAttnOut, 3, 512, gguf.Q5_K, false},
		{"q4_k_m", roleUp, 0, 512, gguf.Q4_K, false},
		// More bits: layers 0, 1 and 14, 15, and every third between.
		{"q4_k_m", roleDown, 0, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleDown, 1, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleDown, 2, 2048, gguf.Q4_K, false},
		{"q4_k_m", roleDown, 3, 2048, gguf.Q4_K, false},
		{"q4_k_m", roleDown, 4, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleDown, 13, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleDown, 14, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleDown, 15, 2048, gguf.Q5_K, false},
		{"q4_k_m", roleUp, 3, 512, gguf.Q5_K, true},
		{"q4_k_m", roleDown, 3, 512, gguf.Q5_K, true},
		{"q4_k_m", roleQuery, 0, 96, gguf.Q5_1, true},
		{"q4_k_m", roleTokens, 0, 512, gguf.Q5_K, false},
		{"q4_k_m", roleProjection, 0, 512, gguf.Q8_0, false},
		{"q4_k_m", roleProjection, 0, 80, gguf.F16, false},
		{"q4_k_m", roleVector, 0, 512, gguf.F32, true},
		{"q4_k_m", rolePositions, 0, 512, gguf.F32, true},
		{"q4_k_m", rolePatches, 0, 16, gguf.F16, false},
		{"q4_k_s", roleKey, 9, 512, gguf.Q5_K, false},
		{"q4_k_s", roleValue, 9, 512, gguf.Q4_K, false},
		{"q4_k_s", roleDown, 0, 512, gguf.Q4_K, false},
		{"q4_k_s", roleDown, 0, 512, gguf.Q5_K, true},
		{"q4_k_s", roleTokens, 0, 512, gguf.Q4_K, false},
		{"q5_k_m", roleQuery, 0, 512, gguf.Q6_K, false},
		{"q5_k_m", roleUp, 0, 512, gguf.Q5_K, false},
		{"q5_k_m", roleTokens, 0, 512, gguf.Q6_K, false},
		{"q5_k_s", roleQuery, 0, 512, gguf.Q6_K, false},
		{"q5_k_s", roleValue, 0, 512, gguf.Q5_K, false},
		{"q5_k_s", roleTokens, 0, 512, gguf.Q5_K, false},
		{"q3_k_m", roleKey, 9, 512, gguf.Q4_K, false},
		{"q3_k_m", roleDown, 2, 512, gguf.Q3_K, false},
		{"q3_k_m", roleTokens, 0, 512, gguf.Q4_K, false},
		{"q4_k", roleQuery, 0, 512, gguf.Q4_K, true},
	}
}

// The same for a language model of 16 layers, whose rows are whole blocks.
func TestPickLanguage(t *testing.T) {
	for scheme, want := range map[string]map[role]string{
		"f16":    {roleTokens: "f16", roleOutput: "f16", roleKey: "f16", roleGate: "f16"},
		"q8_0":   {roleTokens: "q8_0", roleOutput: "q8_0", roleKey: "q8_0", roleDown: "q8_0"},
		"q4_k":   {roleTokens: "q4_k", roleOutput: "q4_k", roleKey: "q4_k", roleDown: "q4_k"},
		"q4_k_s": {roleTokens: "q5_k", roleOutput: "q6_k", roleKey: "q5_k", roleValue: "q5_k", roleQuery: "q4_k", roleDown: "q4_k"},
		"q4_k_m": {roleTokens: "q6_k", roleOutput: "q6_k", roleKey: "q6_k", roleValue: "q6_k", roleQuery: "q5_k", roleAttnOut: "q5_k",
			roleGate: "q4_k", roleUp: "q4_k", roleDown: "q4_k", roleVector: "f32"},
		"q5_k_m": {roleTokens: "q8_0", roleOutput: "q6_k", roleKey: "q8_0", roleQuery: "q6_k", roleUp: "q5_k"},
		"q3_k_m": {roleTokens: "q5_k", roleOutput: "q6_k", roleValue: "q5_k", roleQuery: "q4_k", roleUp: "q3_k"},
	} {
		s, err := findScheme(scheme)
		require.NoError(t, err)
		for r, typ := range want {
			got, wanted := s.pick(expected{tower: towerLanguage, shape: []int64{8, 4096}, role: r, layer: 3, layers: 16})
			require.Equal(t, typ, got.String(), "%s, role %d", scheme, r)
			require.Equal(t, got, wanted)
		}
	}
	s, err := findScheme("q4_k_m")
	require.NoError(t, err)
	for layer, want := range []gguf.Type{gguf.Q6_K, gguf.Q6_K, gguf.Q4_K, gguf.Q4_K, gguf.Q6_K} {
		got, _ := s.pick(expected{tower: towerLanguage, shape: []int64{8, 4096}, role: roleDown, layer: layer, layers: 16})
		require.Equal(t, want, got, layer)
	}
}

// Help texts show what the types cost: fewer bits from type to type within a kind, and what is known of the exact ones.
func TestTypes(t *testing.T) {
	bits := map[string]float64{}
	for _, i := range Types() {
		require.NotEmpty(t, i.Description)
		bits[i.Name] = i.BitsPerWeight
	}
	require.InDelta(t, 32, bits["f32"], 0)
	require.InDelta(t, 16.04, bits["f16"], 0.01) // vectors and positions are f32
	require.InDelta(t, 8.58, bits["q8_0"], 0.05)
	order := []string{"f32", "f16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_k", "q3_k_m", "q3_k", "q2_k"}
	for i := 1; i < len(order); i++ {
		require.Less(t, bits[order[i]], bits[order[i-1]], order[i])
	}
}

// Names fit what ggml holds, none is used twice, and BGE-VL-base and -large have the sizes that were published.
func TestWeightsOfPublishedModels(t *testing.T) {
	large := &clipConfig{
		projection: 768, text: tower{width: 768, ffn: 3072, layers: 12, heads: 12}, vocab: 49408, context: 77,
		vision: tower{width: 1024, ffn: 4096, layers: 24, heads: 16}, imageSide: 224, patch: 14,
	}
	for want, c := range map[float64]*clipConfig{149.6: baseGeometry(), 427.6: large} {
		hubs, names, sum := map[string]bool{}, map[string]bool{}, int64(0)
		for _, w := range c.weights() {
			require.False(t, hubs[w.hub], w.hub)
			require.False(t, names[w.name], w.name)
			require.Less(t, len(w.name), 64)
			hubs[w.hub], names[w.name] = true, true
			sum += w.elements()
		}
		require.InDelta(t, want, float64(sum)/1e6, 0.06)
	}
}
