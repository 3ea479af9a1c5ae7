package csrc

// #include <stdlib.h>
// #include "bge.h"
import "C"

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Tensor is a weight as it stands in a GGUF file.
type Tensor struct {
	Name string
	Type uint32   // ggml_type
	Dims [4]int64 // the contiguous dimension first, 1 where there is none
	// Data is row-major memory outside Go's heap, aligned to 32 bytes, such as a file mapping. It must stay readable
	// until the Model and every Context made from it are closed.
	Data []byte
}

// TowerParams describes one transformer encoder.
type TowerParams struct {
	Layers, Width, FFN, Heads int
	Eps                       float32 // of the layer norms
	GELU                      bool    // GELU by erf; false: quick GELU
}

// Placement says where a model's weights lie and what computes with them. The zero value is the best kernels of this
// processor.
type Placement struct {
	// Kernels forces an instruction set of the processor ("ref", "avx2", ...; "ggml" for ggml's own operations); "" takes
	// BGEVL_CPU, or the best that the processor can run.
	Kernels string

	// Devices are names of Devices on which the last layers of each tower or decoder lie, in parts as large as the
	// devices' memory allows. None: the processor alone.
	Devices []string

	// DeviceLayers is how many layers of each tower or decoder lie on devices; AllThatFit chooses by the devices' memory.
	DeviceLayers int

	// Optional says that the processor computes all where a device has no room for what it is to hold.
	Optional bool

	// FileMapped says that tensor data lies in read-only file mappings: the pages of a weight are given back to the
	// system once it has been repacked or copied.
	FileMapped bool
}

// AllThatFit as a number of layers means as many as the devices have memory for.
const AllThatFit = -1

// toC copies the placement to C memory, which free releases.
func (p Placement) toC() (c C.bge_placement, free func(), err error) {
	layers, err := int32s("number of layers on devices", p.DeviceLayers)
	if err != nil {
		return c, nil, err
	}
	c.kernels, c.devices = cString(p.Kernels), cString(strings.Join(p.Devices, ","))
	c.device_layers, c.file_mapped, c.devices_optional = layers[0], cBool(p.FileMapped), cBool(p.Optional)
	return c, func() {
		C.free(unsafe.Pointer(c.kernels))
		C.free(unsafe.Pointer(c.devices))
	}, nil
}

// CLIPParams describes a CLIP model of two towers.
type CLIPParams struct {
	Text       TowerParams
	Vocab      int
	Context    int // positions of the text tower
	Vision     TowerParams
	ImageSize  int // pixels a side
	PatchSize  int // pixels a side, divides ImageSize
	Projection int // width of the shared space
	Placement  Placement
}

// Model is a network ready to run. Goroutines may share it; it lives until Close.
type Model struct {
	handle  *C.bge_model
	devices []string // of its Placement
	cleanup runtime.Cleanup
	mu      sync.RWMutex // guards handle against Close
}

// NewCLIP makes a model of two towers. It fails with ErrArgument where a tensor is missing or has another shape than
// the parameters imply, naming it, and with ErrUnsupported where the kernels asked for cannot run here. Weights are
// repacked for the kernels tower by tower, by the first call that needs one.
func NewCLIP(p CLIPParams, tensors []Tensor) (*Model, error) {
	params, free, err := p.toC()
	if err != nil {
		return nil, err
	}
	defer free()
	return newModel(p.Placement, tensors, func(list *C.bge_tensor, n C.int64_t, out **C.bge_model, e *C.bge_error) C.int32_t {
		return C.bge_clip_new(params, list, n, out, e)
	})
}

// newModel makes a model of any kind from its tensors.
func newModel(p Placement, tensors []Tensor, make func(*C.bge_tensor, C.int64_t, **C.bge_model, *C.bge_error) C.int32_t) (*Model, error) {
	if len(tensors) == 0 {
		return nil, argumentError("a model needs tensors")
	}
	list, freeList, err := tensorsToC(tensors)
	if err != nil {
		return nil, err
	}
	defer freeList()
	var handle *C.bge_model
	var e C.bge_error
	if err := errorOf(make(list, C.int64_t(len(tensors)), &handle, &e), &e); err != nil {
		return nil, err
	}
	m := &Model{handle: handle, devices: p.Devices}
	m.cleanup = runtime.AddCleanup(m, func(h *C.bge_model) { C.bge_model_free(h) }, handle)
	return m, nil
}

// toC copies the parameters to C memory, which free releases.
func (p CLIPParams) toC() (c *C.bge_clip_params, free func(), err error) {
	text, err := p.Text.toC("text")
	if err != nil {
		return nil, nil, err
	}
	vision, err := p.Vision.toC("vision")
	if err != nil {
		return nil, nil, err
	}
	numbers, err := int32s("CLIP parameter", p.Vocab, p.Context, p.ImageSize, p.PatchSize, p.Projection)
	if err != nil {
		return nil, nil, err
	}
	placement, freePlacement, err := p.Placement.toC()
	if err != nil {
		return nil, nil, err
	}
	c = (*C.bge_clip_params)(C.calloc(1, C.sizeof_bge_clip_params))
	c.struct_size = C.sizeof_bge_clip_params
	c.text, c.vision = text, vision
	c.n_vocab, c.n_ctx, c.image_size, c.patch_size, c.n_proj = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
	c.placement = placement
	return c, func() {
		freePlacement()
		C.free(unsafe.Pointer(c))
	}, nil
}

func (t TowerParams) toC(name string) (C.bge_tower, error) {
	numbers, err := int32s(name+" tower's parameter", t.Layers, t.Width, t.FFN, t.Heads)
	if err != nil {
		return C.bge_tower{}, err
	}
	c := C.bge_tower{n_layer: numbers[0], n_embd: numbers[1], n_ff: numbers[2], n_head: numbers[3], eps: C.float(t.Eps)}
	if t.GELU {
		c.gelu = 1
	}
	return c, nil
}

// int32s narrows numbers to C's int32_t, or fails naming what they are.
func int32s(what string, values ...int) ([]C.int32_t, error) {
	narrow := make([]C.int32_t, len(values))
	for i, v := range values {
		narrow[i] = C.int32_t(v)
		if int(narrow[i]) != v {
			return nil, argumentError(what + " does not fit 32 bits")
		}
	}
	return narrow, nil
}

// tensorsToC lists tensors in C memory, which free releases. The data itself stays where it is.
func tensorsToC(tensors []Tensor) (list *C.bge_tensor, free func(), err error) {
	list = (*C.bge_tensor)(C.calloc(C.size_t(len(tensors)), C.sizeof_bge_tensor))
	all := unsafe.Slice(list, len(tensors))
	free = func() {
		for i := range all {
			C.free(unsafe.Pointer(all[i].name))
		}
		C.free(unsafe.Pointer(list))
	}
	for i, t := range tensors {
		if len(t.Data) == 0 {
			free()
			return nil, nil, argumentError("tensor " + t.Name + " has no data")
		}
		c := &all[i]
		c.name = C.CString(t.Name)
		c._type = C.int32_t(t.Type)
		for d, n := range t.Dims {
			c.ne[d] = C.int64_t(n)
		}
		c.data = unsafe.Pointer(unsafe.SliceData(t.Data))
		c.size = C.uint64_t(len(t.Data))
	}
	return list, free, nil
}

// ask asks C something about a model; the answer is zero once it is closed.
func ask[T any](m *Model, question func(*C.bge_model) T) (answer T) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.handle != nil {
		answer = question(m.handle)
	}
	return answer
}

// Kernels returns the instruction set that the model's kernels use.
func (m *Model) Kernels() string {
	return ask(m, func(h *C.bge_model) string { return C.GoString(C.bge_model_kernels(h)) })
}

// Bytes returns the memory that the model holds beside its tensors' own: repacked weights and small tables.
func (m *Model) Bytes() int64 {
	return ask(m, func(h *C.bge_model) int64 { return int64(C.bge_model_bytes(h)) })
}

// Layers returns how many layers the model has, over all its towers.
func (m *Model) Layers() int {
	return ask(m, func(h *C.bge_model) int { return int(C.bge_model_layers(h)) })
}

// OnDevice returns what lies on the device i of the model's Placement: how many layers, and the bytes of its memory.
func (m *Model) OnDevice(i int) (layers int, bytes int64) {
	if i < 0 || i >= len(m.devices) {
		return 0, 0
	}
	at := C.int32_t(i)
	layers = ask(m, func(h *C.bge_model) int { return int(C.bge_model_device_layers(h, at)) })
	bytes = ask(m, func(h *C.bge_model) int64 { return int64(C.bge_model_device_bytes(h, at)) })
	return layers, bytes
}

// DeviceLayers returns how many layers lie on the devices of the model's Placement. The processor computes the others.
func (m *Model) DeviceLayers() int {
	n := 0
	for i := range m.devices {
		layers, _ := m.OnDevice(i)
		n += layers
	}
	return n
}

// Where says in words what computes the model: "avx2", or "Vulkan0 (24 of 24 layers)".
func (m *Model) Where() string {
	var parts []string
	for i, name := range m.devices {
		if layers, _ := m.OnDevice(i); layers > 0 {
			parts = append(parts, fmt.Sprintf("%s (%d of %d layers)", name, layers, m.Layers()))
		}
	}
	if m.DeviceLayers() < m.Layers() || len(parts) == 0 {
		parts = append(parts, m.Kernels())
	}
	return strings.Join(parts, ", ")
}

// Close gives the model back. Contexts made from it go on working. It may be called again.
func (m *Model) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handle == nil {
		return
	}
	m.cleanup.Stop()
	C.bge_model_free(m.handle)
	m.handle = nil
}
