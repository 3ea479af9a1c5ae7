package llama

import (
	"fmt"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// tokenEmbedding is the tensor whose rows are the vocabulary.
const tokenEmbedding = "token_embd.weight"

// readTensors returns the tensors of a decoder, all of which must be there and no others. output.weight may be missing:
// the token embeddings serve then.
func readTensors(f *gguf.File, p *params) ([]csrc.Tensor, error) {
	width, ffn, vocab := int64(p.width), int64(p.ffn), int64(p.vocab)
	queries, keys := int64(p.heads*p.headWidth), int64(p.headsKV*p.headWidth)
	s := []modelfile.Spec{
		{Name: tokenEmbedding, Shape: []int64{vocab, width}},
		{Name: "output_norm.weight", Shape: []int64{width}},
		{Name: "output.weight", Shape: []int64{vocab, width}, Optional: true},
	}
	for i := range p.layers {
		block := fmt.Sprintf("blk.%d.", i)
		s = append(s,
			modelfile.Spec{Name: block + "attn_norm.weight", Shape: []int64{width}},
			modelfile.Spec{Name: block + "ffn_norm.weight", Shape: []int64{width}},
			modelfile.Spec{Name: block + "attn_q.weight", Shape: []int64{queries, width}},
			modelfile.Spec{Name: block + "attn_k.weight", Shape: []int64{keys, width}},
			modelfile.Spec{Name: block + "attn_v.weight", Shape: []int64{keys, width}},
			modelfile.Spec{Name: block + "attn_output.weight", Shape: []int64{width, queries}},
			modelfile.Spec{Name: block + "ffn_gate.weight", Shape: []int64{ffn, width}},
			modelfile.Spec{Name: block + "ffn_up.weight", Shape: []int64{ffn, width}},
			modelfile.Spec{Name: block + "ffn_down.weight", Shape: []int64{width, ffn}})
	}
	return modelfile.Tensors(f, "language model of Llama's kind", s, nil)
}
