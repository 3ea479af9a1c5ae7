package llama

import (
	"fmt"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Bounds of the hyperparameters that only these models have, as modelfile's are.
const (
	maxContext    = 1 << 22
	maxHeadWidth  = 4096
	formatVersion = 1 // of the bgevl.* keys, the newest that this package knows
	architecture  = "llama"
	familyMLLM    = "mllm"
	poolingLast   = "last"
	noToken       = -1
)

// defaultFrequencyBase is what llama.cpp takes where a file states none.
const defaultFrequencyBase = 10000

// params holds the hyperparameters of a model, checked by readParams.
type params struct {
	layers, width, ffn        int
	heads, headsKV, headWidth int
	vocab                     int
	trained, context          int
	eps, theta                float32
	ends                      []int32 // tokens that end a text
	imageToken                int32   // noToken: none
	embeddingOnly             bool    // made from a checkpoint without the output layer

	family, pooling, template string
	projectorFingerprint      string
}

// readParams reads the hyperparameters of a model and checks each of them, alone and against the others.
func readParams(f *gguf.File) (*params, error) {
	k := modelfile.NewKeys(f)
	checkFamily(k)
	k.StringOr(fingerprintKey, "") // Identity takes it later
	vocab, err := modelfile.Rows(f, tokenEmbedding, modelfile.MaxVocab)
	if k.Err() == nil && err != nil {
		return nil, err
	}
	p := &params{
		layers:     k.Int("llama.block_count", 1, modelfile.MaxLayers),
		width:      k.Int("llama.embedding_length", 1, modelfile.MaxWidth),
		ffn:        k.Int("llama.feed_forward_length", 1, modelfile.MaxFFN),
		heads:      k.Int("llama.attention.head_count", 1, modelfile.MaxHeads),
		vocab:      vocab,
		trained:    k.Int("llama.context_length", 1, maxContext),
		eps:        k.Epsilon("llama.attention.layer_norm_rms_epsilon"),
		theta:      defaultFrequencyBase,
		imageToken: int32(k.IntOr("bgevl.image_token_id", noToken, 0, int64(vocab)-1)),

		embeddingOnly: k.Bool("bgevl.embedding_only", false),

		family:   k.StringOr("bgevl.family", ""),
		pooling:  k.StringOr("bgevl.pooling", ""),
		template: k.StringOr("bgevl.template", ""),

		projectorFingerprint: k.StringOr("bgevl.projector_fingerprint", ""),
	}
	if n := k.IntOr("llama.vocab_size", vocab, 1, modelfile.MaxVocab); n != vocab {
		k.Fail("llama.vocab_size", fmt.Sprintf("is %d, but %s has %d rows", n, tokenEmbedding, vocab), nil)
	}
	if key := "llama.rope.freq_base"; k.Has(key) {
		p.theta = k.Float(key, 1, 1e12)
	}
	p.readHeads(k)
	p.readEnds(k)
	refuse(k, f)
	if err := k.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkFamily refuses files that hold something else than a language model of Llama's kind.
func checkFamily(k *modelfile.Keys) {
	if arch := k.String("general.architecture"); arch != architecture {
		reason := fmt.Sprintf("want %q, got %q: not a language model of Llama's kind", architecture, arch)
		if arch == projectorArchitecture {
			reason += ", but perhaps the projector of one: name the model's own file"
		}
		k.Fail("general.architecture", reason, nil)
	}
	if family := k.StringOr("bgevl.family", familyMLLM); family != familyMLLM {
		k.Fail("bgevl.family", fmt.Sprintf("want %q, got %q: not a language model", familyMLLM, family), nil)
	}
	if pooling := k.StringOr("bgevl.pooling", poolingLast); pooling != poolingLast {
		k.Fail("bgevl.pooling", fmt.Sprintf("want %q, got %q", poolingLast, pooling), nil)
	}
	k.Newest(formatVersion)
}

// readHeads reads the attention's geometry. Where the keys of a head's width are missing, it is what the heads share of
// the model's width.
func (p *params) readHeads(k *modelfile.Keys) {
	p.headsKV = k.IntOr("llama.attention.head_count_kv", p.heads, 1, modelfile.MaxHeads)
	if k.Err() != nil {
		return
	}
	if p.heads%p.headsKV != 0 {
		k.Fail("llama.attention.head_count_kv",
			fmt.Sprintf("want a divisor of llama.attention.head_count, %d, got %d", p.heads, p.headsKV), nil)
	}
	const key = "llama.attention.key_length"
	if !k.Has(key) && p.width%p.heads != 0 {
		k.Fail("llama.attention.head_count", fmt.Sprintf("want a divisor of the width, %d, got %d", p.width, p.heads), nil)
	}
	p.headWidth = k.IntOr(key, p.width/p.heads, 1, maxHeadWidth)
	if p.headWidth%2 != 0 {
		k.Fail(key, fmt.Sprintf("want an even number, since positions turn pairs, got %d", p.headWidth), nil)
	}
	for _, same := range []string{"llama.attention.value_length", "llama.rope.dimension_count"} {
		if n := k.IntOr(same, p.headWidth, 1, maxHeadWidth); n != p.headWidth {
			k.Fail(same, fmt.Sprintf("want the width of a head, %d, got %d: models that differ there are not supported", p.headWidth, n), nil)
		}
	}
}

// readEnds reads which tokens end a text.
func (p *params) readEnds(k *modelfile.Keys) {
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"} {
		if k.Has(key) {
			p.ends = append(p.ends, int32(k.Int(key, 0, int64(p.vocab)-1)))
		}
	}
}

const unsupported = "is %v: models that need it are not supported"

// refuse fails for a key that makes a model compute what this package does not: the key may be there only with the value
// that changes nothing.
func refuse(k *modelfile.Keys, f *gguf.File) {
	for _, key := range []string{"llama.expert_count", "llama.expert_used_count", "llama.attention.sliding_window"} {
		if n := k.AnyInt(key, 0); n != 0 {
			k.Fail(key, fmt.Sprintf(unsupported, n), nil)
		}
	}
	if !k.Bool("llama.attention.causal", true) {
		k.Fail("llama.attention.causal", fmt.Sprintf(unsupported, false), nil)
	}
	if k.Bool("llama.use_parallel_residual", false) {
		k.Fail("llama.use_parallel_residual", fmt.Sprintf(unsupported, true), nil)
	}
	if s := k.StringOr("llama.rope.scaling.type", "none"); s != "none" {
		k.Fail("llama.rope.scaling.type", fmt.Sprintf(unsupported, s), nil)
	}
	for _, key := range []string{"llama.rope.scaling.factor", "llama.rope.scaling.attn_factor", "llama.rope.scale_linear",
		"llama.logit_scale", "llama.residual_scale", "llama.embedding_scale"} {
		neutral(k, f, key, 1)
	}
	for _, key := range []string{"llama.attention.scale", "llama.attention.clamp_kqv", "llama.attention.max_alibi_bias",
		"llama.attn_logit_softcapping", "llama.final_logit_softcapping"} {
		neutral(k, f, key, 0)
	}
}

// neutral fails for a number that is there with another value than 0, which stands for none, and the one given.
func neutral(k *modelfile.Keys, f *gguf.File, key string, value float64) {
	if !k.Has(key) {
		return
	}
	if v, err := f.Float(key); err != nil || v != 0 && v != value {
		k.Fail(key, fmt.Sprintf(unsupported, v), err)
	}
}

// csrc gives the hyperparameters to C.
func (p *params) csrc(at csrc.Placement) csrc.LlamaParams {
	return csrc.LlamaParams{Layers: p.layers, Width: p.width, FFN: p.ffn, Heads: p.heads, HeadsKV: p.headsKV,
		HeadWidth: p.headWidth, Vocab: p.vocab, Eps: p.eps, RopeTheta: p.theta, Placement: at}
}
