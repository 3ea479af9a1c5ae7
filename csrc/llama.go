package csrc

// #include <stdlib.h>
// #include "bge.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// LLaVAParams describes the vision side of a LLaVA model: a CLIP vision tower without its last layers, and the
// projector to the language model.
type LLaVAParams struct {
	Vision    TowerParams // Layers: those that run
	ImageSize int         // pixels a side of a tile
	PatchSize int         // pixels a side, divides ImageSize
	Width     int         // of the language model
	Placement Placement
}

// NewLLaVA makes the vision side of a LLaVA model. It fails as NewCLIP does.
func NewLLaVA(p LLaVAParams, tensors []Tensor) (*Model, error) {
	vision, err := p.Vision.toC("vision")
	if err != nil {
		return nil, err
	}
	numbers, err := int32s("LLaVA parameter", p.ImageSize, p.PatchSize, p.Width)
	if err != nil {
		return nil, err
	}
	placement, free, err := p.Placement.toC()
	if err != nil {
		return nil, err
	}
	defer free()
	params := C.bge_llava_params{
		struct_size: C.sizeof_bge_llava_params, vision: vision,
		image_size: numbers[0], patch_size: numbers[1], n_out: numbers[2], placement: placement,
	}
	return newModel(p.Placement, tensors, func(list *C.bge_tensor, n C.int64_t, out **C.bge_model, e *C.bge_error) C.int32_t {
		return C.bge_llava_new(&params, list, n, out, e)
	})
}

// LlamaParams describes a decoder of Llama's kind: RMS norm, rotary positions on neighbouring pairs, grouped key and
// value heads, SwiGLU.
type LlamaParams struct {
	Layers, Width, FFN int
	Heads, HeadsKV     int // HeadsKV divides Heads
	HeadWidth          int // even
	Vocab              int // rows of the token embeddings
	Eps                float32
	RopeTheta          float32
	Placement          Placement
}

// NewLlama makes a decoder. It fails as NewCLIP does. Where output.weight is missing, the token embeddings serve as the
// output layer.
func NewLlama(p LlamaParams, tensors []Tensor) (*Model, error) {
	n, err := int32s("decoder's parameter", p.Layers, p.Width, p.FFN, p.Heads, p.HeadsKV, p.HeadWidth, p.Vocab)
	if err != nil {
		return nil, err
	}
	placement, free, err := p.Placement.toC()
	if err != nil {
		return nil, err
	}
	defer free()
	params := C.bge_llama_params{
		struct_size: C.sizeof_bge_llama_params, n_layer: n[0], n_embd: n[1], n_ff: n[2], n_head: n[3], n_head_kv: n[4],
		d_head: n[5], n_vocab: n[6], eps: C.float(p.Eps), rope_theta: C.float(p.RopeTheta),
		placement: placement,
	}
	return newModel(p.Placement, tensors, func(list *C.bge_tensor, n C.int64_t, out **C.bge_model, e *C.bge_error) C.int32_t {
		return C.bge_llama_new(&params, list, n, out, e)
	})
}

// cString copies a string to C memory, which the caller frees; NULL for an empty one.
func cString(s string) *C.char {
	if s == "" {
		return nil
	}
	return C.CString(s)
}

func cBool(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

// EncodeTiles writes the language model's features of n tiles to dst: (ImageSize/PatchSize)² rows of Width floats a
// tile. pixels holds n planes of [3][ImageSize][ImageSize], already normalised.
func (c *Context) EncodeTiles(ctx context.Context, pixels []float32, n int, dst []float32) error {
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_llava_encode(h, floats(pixels), C.int64_t(len(pixels)), C.int64_t(n), floats(dst),
			C.int64_t(len(dst)), e)
	})
}

// Embedding in place of a token id takes the next row of a batch's Embeddings.
const Embedding = C.BGE_EMBEDDING

// Batch holds token rows for a decoder, one after another.
type Batch struct {
	IDs        []int32   // of all rows; Embedding where a row of Embeddings comes in
	Embeddings []float32 // rows of Width floats, one for each Embedding among IDs
	Lengths    []int32   // tokens of each row
	Wanted     []int32   // ascending indices into IDs: the tokens whose state or scores are to be written
}

// toC describes the batch to C. pin holds its memory in place until the call is over.
func (b Batch) toC(width int, pin *runtime.Pinner) C.bge_llama_batch {
	rows := 0
	if width > 0 {
		rows = len(b.Embeddings) / width
	}
	for _, s := range [][]int32{b.IDs, b.Lengths, b.Wanted} {
		if len(s) > 0 {
			pin.Pin(unsafe.SliceData(s))
		}
	}
	if len(b.Embeddings) > 0 {
		pin.Pin(unsafe.SliceData(b.Embeddings))
	}
	return C.bge_llama_batch{
		struct_size: C.sizeof_bge_llama_batch, ids: ints(b.IDs), n_ids: C.int64_t(len(b.IDs)),
		embeddings: floats(b.Embeddings), n_embeddings: C.int64_t(rows),
		lengths: ints(b.Lengths), n_rows: C.int64_t(len(b.Lengths)),
		wanted: ints(b.Wanted), n_wanted: C.int64_t(len(b.Wanted)),
	}
}

// EncodeTokens writes the states of the wanted tokens after the final norm to dst, width floats each, where width is
// the model's. Tokens that all rows begin with are computed once, and a row's states do not depend on the rows beside
// it.
func (c *Context) EncodeTokens(ctx context.Context, b Batch, width int, dst []float32) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	batch := b.toC(width, &pin)
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_llama_encode(h, &batch, floats(dst), C.int64_t(len(dst)), e)
	})
}

// PlanTokens returns the bytes of buffers that EncodeTokens needs for one row of n tokens of which one is wanted.
func (c *Context) PlanTokens(ctx context.Context, n int) (int64, error) {
	var bytes C.int64_t
	err := c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_llama_plan(h, C.int64_t(n), &bytes, e)
	})
	return int64(bytes), err
}

// OpenCache makes room for a conversation of up to n tokens, forgetting an earlier one.
func (c *Context) OpenCache(ctx context.Context, n int) error {
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_llama_open_cache(h, C.int64_t(n), e)
	})
}

// Decode appends the one row of a batch to the conversation at position past, of which everything before is kept and
// everything after forgotten, and writes the wanted tokens' scores over the vocabulary to dst.
func (c *Context) Decode(ctx context.Context, b Batch, width, past int, scores []float32) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	batch := b.toC(width, &pin)
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_llama_decode(h, &batch, C.int64_t(past), floats(scores), C.int64_t(len(scores)), e)
	})
}
