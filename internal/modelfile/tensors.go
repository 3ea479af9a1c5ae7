package modelfile

import (
	"fmt"
	"slices"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// csrcAlignment is what C wants tensor data aligned to, in bytes. It is GGUF's default.
const csrcAlignment = 32

// Spec is a tensor that a model must have, or may have.
type Spec struct {
	Name     string
	Shape    []int64 // outer dimension first, as PyTorch writes shapes
	Optional bool
}

// Tensors returns the tensors of f under the names that C knows them by. It fails with a *TensorError for the first one
// that is missing, of a wrong shape or type, or that is not wanted, saying that no such kind of model ("CLIP model") has
// it. stored gives the name in the file of those that lie there under another one.
func Tensors(f *gguf.File, kind string, want []Spec, stored map[string]string) ([]csrc.Tensor, error) {
	if f.Alignment()%csrcAlignment != 0 {
		return nil, &KeyError{Key: "general.alignment",
			Reason: fmt.Sprintf("want a multiple of %d, got %d: convert the checkpoint again", csrcAlignment, f.Alignment())}
	}
	known := make(map[string]bool, len(want))
	out := make([]csrc.Tensor, 0, len(want))
	for _, s := range want {
		name := s.Name
		if other, ok := stored[s.Name]; ok {
			name = other
		}
		known[name] = true
		t, ok := f.Tensor(name)
		if !ok && s.Optional {
			continue
		}
		if !ok {
			return nil, &TensorError{Name: name, Reason: "missing, want " + ShapeString(s.Shape)}
		}
		if err := check(t, s); err != nil {
			return nil, err
		}
		ct := csrc.Tensor{Name: s.Name, Type: uint32(t.Type), Dims: [4]int64{1, 1, 1, 1}, Data: f.Data(t)}
		copy(ct.Dims[:], t.Dims)
		out = append(out, ct)
	}
	for _, t := range f.Tensors() {
		if !known[t.Name] {
			return nil, &TensorError{Name: t.Name, Reason: fmt.Sprintf("unknown: no %s of these hyperparameters has it", kind)}
		}
	}
	return out, nil
}

// check holds one tensor to its spec.
func check(t gguf.Tensor, s Spec) error {
	if got := OuterFirst(t.Dims); !slices.Equal(got, s.Shape) {
		return &TensorError{Name: t.Name, Want: s.Shape, Got: got}
	}
	if (len(s.Shape) == 1 || len(s.Shape) == 4) && t.Type.BlockSize() > 1 {
		return &TensorError{Name: t.Name, Reason: fmt.Sprintf("want type f32, f16 or bf16, got %s: convert the checkpoint again", t.Type)}
	}
	return nil
}

// Rows returns the number of rows of a matrix, at most most. It fails with a *TensorError.
func Rows(f *gguf.File, name string, most int64) (int, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return 0, &TensorError{Name: name, Reason: "missing"}
	}
	if len(t.Dims) != 2 || t.Dims[1] < 1 || t.Dims[1] > most {
		return 0, &TensorError{Name: name,
			Reason: fmt.Sprintf("want two dimensions and 1 to %d rows, got %s", most, ShapeString(OuterFirst(t.Dims)))}
	}
	return int(t.Dims[1]), nil
}

// OuterFirst turns ggml's order of dimensions, contiguous first, into the order that people write.
func OuterFirst(dims []int64) []int64 {
	shape := slices.Clone(dims)
	slices.Reverse(shape)
	return shape
}

// Linear lists the weight and bias of a linear layer.
func Linear(name string, out, in int64) []Spec {
	return []Spec{{Name: name + ".weight", Shape: []int64{out, in}}, {Name: name + ".bias", Shape: []int64{out}}}
}

// Norm lists the weight and bias of a layer norm.
func Norm(name string, width int64) []Spec {
	return []Spec{{Name: name + ".weight", Shape: []int64{width}}, {Name: name + ".bias", Shape: []int64{width}}}
}
