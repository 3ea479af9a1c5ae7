package clip

import (
	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// tokenEmbedding is the tensor whose rows are the vocabulary.
const tokenEmbedding = "t.token_embd.weight"

// readTensors returns the tensors of a model, all of which must be there and no others.
func readTensors(f *gguf.File, p *params) ([]csrc.Tensor, error) {
	text, projection := int64(p.text.Width), int64(p.projection)
	s := p.vision.Vision(p.imageSize, p.patchSize)
	s = append(s, modelfile.Norm("v.post_ln", int64(p.vision.Width))...)
	s = append(s,
		modelfile.Spec{Name: "visual_projection.weight", Shape: []int64{projection, int64(p.vision.Width)}},
		modelfile.Spec{Name: tokenEmbedding, Shape: []int64{int64(p.vocab), text}},
		modelfile.Spec{Name: "t.position_embd.weight", Shape: []int64{int64(p.context), text}},
		modelfile.Spec{Name: "text_projection.weight", Shape: []int64{projection, text}})
	s = append(s, p.text.Blocks("t")...)
	s = append(s, modelfile.Norm("t.post_ln", text)...)
	stored := map[string]string{}
	p.vision.Swapped(f, "v", stored)
	p.text.Swapped(f, "t", stored)
	return modelfile.Tensors(f, "CLIP model", s, stored)
}
