package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
)

// role says what a weight does, which is all that decides its type beside the layer it lies in.
type role int

const (
	roleVector     role = iota // biases, norms, the class embedding: one dimension, added or multiplied as they are
	rolePositions              // position tables, added to what the first layer sees
	rolePatches                // the patch embedding, a convolution whose rows are patch_size long
	roleTokens                 // the token embedding, a table that is looked up
	roleOutput                 // a language model's scores of the next token; embeddings don't depend on it
	roleProjection             // visual_projection and text_projection, which make the embedding; an MLLM's projector
	roleQuery
	roleKey
	roleValue
	roleAttnOut
	roleUp
	roleDown
	roleGate
)

// scheme is what a --type name stands for.
type scheme struct {
	name     string
	base     gguf.Type
	fileType uint32 // general.file_type: the numbers of llama.cpp's enum llama_ftype
	note     string
	rules    []rule // for CLIP's towers and MLLM's projectors: the first that applies wins; none: base
	language []rule // the same for an MLLM's language model
}

// rule gives a type to the weights of some roles, in all layers or in some.
type rule struct {
	roles []role
	where func(w expected) bool // nil: everywhere
	typ   gguf.Type
}

// moreBits picks the layers to which llama.cpp's mixes give more bits: the first and the last eighth, and every third
// between them.
func moreBits(w expected) bool {
	return w.layer < w.layers/8 || w.layer >= 7*w.layers/8 || (w.layer-w.layers/8)%3 == 2
}

func inText(w expected) bool { return w.tower == towerText }

// schemes returns the table of all types, in the order that help texts show.
//
// A plain name (q4_k) stores every matrix so. A name with an ending is a mix, after the manner of llama.cpp's but by what
// was measured here (random weights, BGE-VL-base's and -large's geometry, least cosine against float32). llama.cpp's own
// choice, q6_k for the value and down projections of some layers, left text at 0.978 and images at 0.989; this one, of
// the same size, gives 0.990 and 0.993 (large: 0.992 and 0.989):
//
//	text tower          the next larger type: it is the smaller tower and lost twice as much
//	attention           the next larger type (_s: queries and keys alone, whose error the softmax multiplies)
//	down projections    _m: the next larger type in some layers, see moreBits
//	projections         q8_0: they make the embedding, and nothing after them evens out their error
//
// A 7B model's language model was measured apart (4 layers at full width, random weights, mean loss of cosine against
// float32 over states of texts). Bits bring most where few weights meet all tokens: all of the token table, keys and
// values in q6_k cost 0.1 GB of 4.1 and halve the loss of q4_k, 0.117 to 0.063. llama.cpp's choice, values and down
// projections of some layers, costs 0.27 GB and leaves 0.116; this one costs as much without the down projections and
// leaves 0.046. Those it has all the same: trained weights, unlike random ones, are known to need them.
//
//	tokens, keys, values   the type after the next larger one (_s: the next larger)
//	queries, output        _m: the next larger type
//	down projections       _m: more in some layers, see moreBits
//	output layer           q6_k: no embedding depends on it, and predicted text does much
func schemes() []scheme {
	attention := []role{roleQuery, roleKey, roleValue, roleAttnOut}
	matrices := append([]role{roleUp, roleDown}, attention...)
	rest := func(larger, tokens gguf.Type) []rule {
		return []rule{{matrices, inText, larger}, {[]role{roleTokens}, nil, tokens}, {[]role{roleProjection}, nil, gguf.Q8_0}}
	}
	medium := func(larger, tokens gguf.Type) []rule {
		return append(rest(larger, tokens), rule{attention, nil, larger}, rule{[]role{roleDown}, moreBits, larger})
	}
	little := func(larger, tokens gguf.Type) []rule {
		return append(rest(larger, tokens), rule{[]role{roleQuery, roleKey}, nil, larger})
	}
	return []scheme{
		{name: "f32", base: gguf.F32, fileType: 0, note: "exact; the largest"},
		{name: "f16", base: gguf.F16, fileType: 1, note: "exact for float16 checkpoints; the usual choice"},
		{name: "bf16", base: gguf.BF16, fileType: 32, note: "exact for bfloat16 checkpoints"},
		{name: "q8_0", base: gguf.Q8_0, fileType: 7, note: "half of f16, hardly any loss"},
		{name: "q6_k", base: gguf.Q6_K, fileType: 18, note: "6 bits in blocks of 256"},
		{name: "q5_k_m", base: gguf.Q5_K, fileType: 17, note: "q5_k, and more bits where they bring most", rules: medium(gguf.Q6_K, gguf.Q6_K),
			language: languageMedium(gguf.Q6_K, gguf.Q8_0, gguf.Q6_K)},
		{name: "q5_k_s", base: gguf.Q5_K, fileType: 16, note: "q5_k, and more bits where they cost least",
			rules: little(gguf.Q6_K, gguf.Q5_K), language: languageLittle(gguf.Q6_K)},
		{name: "q5_k", base: gguf.Q5_K, fileType: 16, note: "5 bits in blocks of 256"},
		{name: "q5_1", base: gguf.Q5_1, fileType: 9, note: "5 bits in blocks of 32, with a minimum"},
		{name: "q5_0", base: gguf.Q5_0, fileType: 8, note: "5 bits in blocks of 32"},
		{name: "q4_k_m", base: gguf.Q4_K, fileType: 15, note: "q4_k, and more bits where they bring most; the usual 4 bits",
			rules: medium(gguf.Q5_K, gguf.Q5_K), language: languageMedium(gguf.Q5_K, gguf.Q6_K, gguf.Q6_K)},
		{name: "q4_k_s", base: gguf.Q4_K, fileType: 14, note: "q4_k, and more bits where they cost least",
			rules: little(gguf.Q5_K, gguf.Q4_K), language: languageLittle(gguf.Q5_K)},
		{name: "q4_k", base: gguf.Q4_K, fileType: 14, note: "4 bits in blocks of 256"},
		{name: "iq4_nl", base: gguf.IQ4NL, fileType: 25, note: "4 bits off an uneven grid, in blocks of 32; slow to make"},
		{name: "iq4_xs", base: gguf.IQ4XS, fileType: 30, note: "4 bits off an uneven grid, in blocks of 256; slow to make"},
		{name: "q4_1", base: gguf.Q4_1, fileType: 3, note: "4 bits in blocks of 32, with a minimum"},
		{name: "q4_0", base: gguf.Q4_0, fileType: 2, note: "4 bits in blocks of 32"},
		{name: "mxfp4", base: gguf.MXFP4, fileType: 38, note: "4-bit floats in blocks of 32"},
		{name: "q3_k_m", base: gguf.Q3_K, fileType: 12, note: "q3_k, and more bits where they bring most; visible loss",
			rules: medium(gguf.Q4_K, gguf.Q4_K), language: languageMedium(gguf.Q4_K, gguf.Q5_K, gguf.Q4_K)},
		{name: "q3_k", base: gguf.Q3_K, fileType: 11, note: "3 bits in blocks of 256; visible loss"},
		{name: "iq3_s", base: gguf.IQ3S, fileType: 26, note: "3 bits off a grid; visible loss, very slow to make"},
		{name: "iq3_xxs", base: gguf.IQ3XXS, fileType: 23, note: "3 bits off a grid; visible loss, very slow to make"},
		{name: "q2_k", base: gguf.Q2_K, fileType: 10, note: "2 bits in blocks of 256; heavy loss"},
		{name: "iq2_s", base: gguf.IQ2S, fileType: 28, note: "2 bits off a grid; heavy loss, extremely slow to make"},
		{name: "tq2_0", base: gguf.TQ2_0, fileType: 37, note: "only for weights that were trained to be -1, 0 or 1"},
		{name: "tq1_0", base: gguf.TQ1_0, fileType: 36, note: "only for weights that were trained to be -1, 0 or 1"},
	}
}

// languageLittle returns the rules of a language model's smaller mix, languageMedium those of the usual one.
func languageLittle(largest gguf.Type) []rule {
	return []rule{
		{[]role{roleOutput}, nil, gguf.Q6_K},
		{[]role{roleTokens, roleKey, roleValue}, nil, largest},
	}
}

func languageMedium(larger, largest, down gguf.Type) []rule {
	return append(languageLittle(largest), rule{[]role{roleQuery, roleAttnOut}, nil, larger}, rule{[]role{roleDown}, moreBits, down})
}

// findScheme returns the scheme of a name, whatever its case.
func findScheme(name string) (scheme, error) {
	want := strings.ToLower(name)
	var names []string
	for _, s := range schemes() {
		if s.name == want {
			return s, nil
		}
		names = append(names, s.name)
	}
	switch want {
	case "iq2_xxs", "iq2_xs", "iq1_s", "iq1_m":
		return scheme{}, fmt.Errorf("type %s needs an importance matrix, which is not supported: use q2_k or a larger type",
			want)
	}
	return scheme{}, fmt.Errorf("unknown type %s: want one of %s", short([]byte(name)), strings.Join(names, ", "))
}

// pick returns the type of one weight, and the type that it would have had if its rows were whole blocks of that.
//
//	vectors, position tables   f32: they are small, and readers add them as they are
//	patch embedding            f32 for f32 and bf16, otherwise f16, as llama.cpp's files have it
//	the rest                   what the scheme says; see fallback
func (s scheme) pick(w expected) (got, wanted gguf.Type) {
	switch w.role {
	case roleVector, rolePositions:
		return gguf.F32, gguf.F32
	case rolePatches:
		if s.base == gguf.F32 || s.base == gguf.BF16 {
			return gguf.F32, gguf.F32
		}
		return gguf.F16, gguf.F16
	}
	wanted = s.base
	rules := s.rules
	if w.tower == towerLanguage {
		rules = s.language
	}
	for _, rule := range rules {
		if rule.applies(w) {
			wanted = rule.typ
			break
		}
	}
	return fallback(wanted, w.row()), wanted
}

func (u rule) applies(w expected) bool {
	return slices.Contains(u.roles, w.role) && (u.where == nil || u.where(w))
}

// fallback returns the type for rows of a given length: t where they are whole blocks of it, else the type in blocks of
// 32 that llama.cpp puts in its place, else f16.
func fallback(t gguf.Type, row int64) gguf.Type {
	if row%t.BlockSize() == 0 {
		return t
	}
	switch t {
	case gguf.Q6_K:
		t = gguf.Q8_0
	case gguf.Q5_K:
		t = gguf.Q5_1
	case gguf.Q4_K:
		t = gguf.Q5_0
	case gguf.Q2_K, gguf.Q3_K, gguf.IQ4XS, gguf.IQ3S, gguf.IQ3XXS, gguf.IQ2S:
		t = gguf.IQ4NL
	case gguf.TQ1_0, gguf.TQ2_0:
		t = gguf.Q4_0
	}
	if row%t.BlockSize() != 0 {
		return gguf.F16
	}
	return t
}

// TypeInfo describes a type that Options.Types may name.
type TypeInfo struct {
	Name          string
	BitsPerWeight float64 // of a whole file in the geometry of BGE-VL-base
	BaseBytes     int64   // about what BGE-VL-base takes
	MLLMBytes     int64   // about what the language model of a 7B MLLM takes; its projector is another file
	Description   string
}

// TypeNames returns the names of the types that Run can write, the best first.
func TypeNames() []string {
	var names []string
	for _, s := range schemes() {
		names = append(names, s.name)
	}
	return names
}

// Types returns the types that Run can write, the best first, for help texts.
func Types() []TypeInfo {
	base := baseGeometry().weights()
	language := sevenBillion().language(findNaming(func(string) bool { return false }), true)
	weights := int64(0)
	for _, w := range base {
		weights += w.elements()
	}
	var infos []TypeInfo
	for _, s := range schemes() {
		bits := weighed(s, base)
		infos = append(infos, TypeInfo{s.name, bits / float64(weights), int64(bits / 8), int64(weighed(s, language) / 8), s.note})
	}
	return infos
}

// weighed returns the bits that weights take as a scheme stores them.
func weighed(s scheme, weights []expected) float64 {
	var bits float64
	for _, w := range weights {
		typ, _ := s.pick(w)
		bits += float64(w.elements()) * 8 * float64(typ.TypeSize()) / float64(typ.BlockSize())
	}
	return bits
}
