package clip

import (
	"fmt"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// readTokenizer reads the tokenizer and checks that its ids have rows in the embedding table and that its texts end as
// the text tower's pooling needs.
func readTokenizer(f *gguf.File, p *params) (tokenizer.Tokenizer, error) {
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, err
	}
	if t.VocabSize() > p.vocab {
		return nil, &TensorError{Name: tokenEmbedding,
			Reason: fmt.Sprintf("has %d rows, but the tokenizer has %d tokens: it belongs to another model", p.vocab, t.VocabSize())}
	}
	ids := t.Encode("")
	if len(ids) < 2 || len(ids) > p.context {
		return nil, fmt.Errorf("tokenizer: want a start and an end token around an empty text, got %d tokens", len(ids))
	}
	if end := int64(ids[len(ids)-1]); p.eos != openaiEOS && end != p.eos {
		return nil, &KeyError{Key: "bgevl.text.eos_token_id",
			Reason: fmt.Sprintf("is %d, but the tokenizer ends a text with %d: convert the checkpoint again with the tokenizer that it was trained with", p.eos, end)}
	}
	return t, nil
}

// readInfo describes a model whose tensors were checked.
func readInfo(f *gguf.File, p *params) Info {
	info := Info{Dim: p.projection, Context: p.context, Vocab: p.vocab, ImageSize: p.imageSize, PatchSize: p.patchSize,
		Text: public(p.text), Vision: public(p.vision)}
	info.Name, info.Type, info.Parameters = modelfile.Describe(f)
	return info
}

func public(t modelfile.Tower) Tower {
	return Tower{Layers: t.Layers, Width: t.Width, FFN: t.FFN, Heads: t.Heads}
}
