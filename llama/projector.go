package llama

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/modelfile"
	"github.com/bgevl/bgevl/internal/pixels"
)

const (
	projectorArchitecture = "clip"
	familyProjector       = "mllm-projector"
	projectorType         = "mlp" // two linear layers with a GELU between
	projectorPrefix       = "mmproj-"
	newlineTensor         = "model.image_newline"
	pinpointsKey          = "clip.vision.image_grid_pinpoints"
	featureLayerKey       = "clip.vision.feature_layer"
	fingerprintKey        = "bgevl.fingerprint"
)

// projector is the vision side of a model. It does not change.
type projector struct {
	path                 string
	typ                  string
	parameters           int64
	vision               modelfile.Tower // of the layers that run
	layers               int             // that the file has
	imageSize, patchSize int
	side                 int // features a side of a tile
	gelu                 bool
	preprocess           *pixels.Config
	preprocessText       []byte // what preprocess says
	newline              []float32
}

// openProjector finds and opens the projector of the model that lies at path, and what runs it. Where there is none it
// returns nil and the error that a picture fails with.
func openProjector(path string, p *params, o *Options, placement csrc.Placement) (v *projector, part modelfile.Part, missing, err error) {
	if o.TextOnly {
		return nil, part, fmt.Errorf("%w: the model was opened for texts only", ErrNoProjector), nil
	}
	at, err := findProjector(path, p, o)
	if err != nil {
		return nil, part, nil, err
	}
	if at == "" {
		return nil, part, fmt.Errorf("%w: looked for %s and for an mmproj*.gguf beside it from the same checkpoint: "+
			"convert the checkpoint again, or name the projector's file", ErrNoProjector, besideModel(path)), nil
	}
	v, part, err = loadProjector(at, p, placement)
	if err != nil {
		return nil, part, nil, &ProjectorError{Model: path, Projector: at, Err: err}
	}
	return v, part, nil, nil
}

// besideModel returns where the projector of the model at path lies by rights.
func besideModel(path string) string {
	return filepath.Join(filepath.Dir(path), projectorPrefix+filepath.Base(path))
}

// findProjector returns the path of a model's projector, "" where there is none.
func findProjector(path string, p *params, o *Options) (string, error) {
	if o.Projector != "" {
		return o.Projector, nil
	}
	own := besideModel(path)
	if _, err := os.Stat(own); err == nil {
		return own, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", &ProjectorError{Model: path, Projector: own, Err: err}
	}
	if p.projectorFingerprint == "" {
		return "", nil
	}
	return findByFingerprint(path, p.projectorFingerprint)
}

// findByFingerprint returns the projector beside the model that was converted from the same checkpoint, as that of several
// types of a model is; "" where there is none. Of several, which differ in the type of their weights alone, it is the one
// whose name is most like the model's, and of those the first by name. Files that cannot be read as GGUF are none.
func findByFingerprint(path, fingerprint string) (string, error) {
	entries, err := os.ReadDir(filepath.Dir(path)) // sorted by name
	if err != nil {
		return "", fmt.Errorf("look for the projector: %w", err)
	}
	found, most := "", 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "mmproj") || !strings.HasSuffix(e.Name(), ".gguf") {
			continue
		}
		at := filepath.Join(filepath.Dir(path), e.Name())
		alike := likeness(e.Name(), filepath.Base(path))
		if (found == "" || alike > most) && hasFingerprint(at, fingerprint) {
			found, most = at, alike
		}
	}
	return found, nil
}

// likeness says how well a projector's name fits a model's: by how much of it the model's name begins with, less the
// rest. So mmproj-tiny.gguf fits tiny-q8_0.gguf better than mmproj-tiny-f16.gguf does.
func likeness(projector, model string) int {
	stem := strings.TrimSuffix(strings.TrimPrefix(projector, projectorPrefix), ".gguf")
	common := 0
	for common < min(len(stem), len(model)) && stem[common] == model[common] {
		common++
	}
	return common - (len(stem) - common)
}

func hasFingerprint(path, want string) bool {
	f, err := gguf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := f.String(fingerprintKey)
	return err == nil && got == want
}

// loadProjector opens a projector's file and holds it to the model.
func loadProjector(path string, p *params, placement csrc.Placement) (*projector, modelfile.Part, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, modelfile.Part{}, err
	}
	v := &projector{path: path}
	model, err := v.read(f, p, placement)
	if err != nil {
		return nil, modelfile.Part{}, errors.Join(err, f.Close())
	}
	return v, modelfile.Part{Model: model, File: f}, nil
}

// read checks all of a projector's file and makes the network of it.
func (v *projector) read(f *gguf.File, p *params, placement csrc.Placement) (*csrc.Model, error) {
	if err := v.readKeys(f, p); err != nil {
		return nil, err
	}
	tensors, err := v.readTensors(f, p)
	if err != nil {
		return nil, err
	}
	if err := v.readPreprocess(f); err != nil {
		return nil, err
	}
	if err := v.readNewline(f, p); err != nil {
		return nil, err
	}
	return csrc.NewLLaVA(csrc.LLaVAParams{Vision: v.vision.C(v.gelu), ImageSize: v.imageSize,
		PatchSize: v.patchSize, Width: p.width, Placement: placement}, tensors)
}

// readKeys reads the hyperparameters, and tells a projector from other files and from another model's.
func (v *projector) readKeys(f *gguf.File, p *params) error {
	k := modelfile.NewKeys(f)
	if arch := k.String("general.architecture"); arch != projectorArchitecture {
		k.Fail("general.architecture", fmt.Sprintf("want %q, got %q: not a projector", projectorArchitecture, arch), nil)
	}
	if family := k.StringOr("bgevl.family", familyProjector); family != familyProjector {
		k.Fail("bgevl.family", fmt.Sprintf("want %q, got %q: not a projector", familyProjector, family), nil)
	}
	k.Newest(formatVersion)
	for _, key := range []string{"clip.has_vision_encoder", "clip.has_llava_projector"} {
		if !k.Bool(key, false) {
			k.Fail(key, "want true: not a projector of LLaVA's kind", nil)
		}
	}
	if typ := k.StringOr("clip.projector_type", projectorType); typ != projectorType {
		k.Fail("clip.projector_type", fmt.Sprintf("want %q, got %q", projectorType, typ), nil)
	}
	v.vision = k.Tower("clip.vision.")
	v.imageSize, v.patchSize = k.Patches("clip.vision.")
	v.gelu = k.Bool("clip.use_gelu", false)
	const merge = "spatial_unpad"
	if typ := k.StringOr("clip.vision.mm_patch_merge_type", merge); typ != merge {
		k.Fail("clip.vision.mm_patch_merge_type", fmt.Sprintf("want %q, got %q", merge, typ), nil)
	}
	got := k.StringOr(fingerprintKey, p.projectorFingerprint)
	if err := k.Err(); err != nil {
		return err
	}
	v.side = v.imageSize / v.patchSize
	if err := v.readFeatureLayer(f); err != nil {
		return err
	}
	if want := p.projectorFingerprint; want != "" && got != want {
		return &KeyError{Key: fingerprintKey, Reason: fmt.Sprintf("is %.12s..., but the model's bgevl.projector_fingerprint "+
			"is %.12s...: it was converted from another checkpoint", got, want)}
	}
	_, v.typ, v.parameters = modelfile.Describe(f)
	return nil
}

// readFeatureLayer reads after how many layers the features are taken. Where nothing says so, all layers of the file run:
// converters of LLaVA-NeXT leave the last one out, which nothing reads.
func (v *projector) readFeatureLayer(f *gguf.File) error {
	v.layers = v.vision.Layers
	list, err := f.Ints(featureLayerKey)
	if errors.Is(err, gguf.ErrNoKey) {
		return nil
	}
	if err != nil {
		return &KeyError{Key: featureLayerKey, Reason: err.Error(), Err: err}
	}
	if len(list) != 1 || list[0] < 1 || list[0] > int64(v.layers) {
		return &KeyError{Key: featureLayerKey, Reason: fmt.Sprintf("want one of the vision tower's layers, 1 to %d, got %v", v.layers, list)}
	}
	v.vision.Layers = int(list[0])
	return nil
}

// readTensors returns the tensors, all of which must be there and no others, but for those that C does not need.
func (v *projector) readTensors(f *gguf.File, p *params) ([]csrc.Tensor, error) {
	width := int64(p.width)
	if t, ok := f.Tensor("mm.2.weight"); ok && len(t.Dims) == 2 && t.Dims[1] != width {
		return nil, &TensorError{Name: t.Name,
			Reason: fmt.Sprintf("makes vectors of %d, but the model's are %d wide: it belongs to another model", t.Dims[1], width)}
	}
	tower := v.vision
	tower.Layers = v.layers
	s := tower.Vision(v.imageSize, v.patchSize)
	s = append(s, modelfile.Linear("mm.0", width, int64(v.vision.Width))...)
	s = append(s, modelfile.Linear("mm.2", width, width)...)
	s = append(s, modelfile.Spec{Name: newlineTensor, Shape: []int64{width}})
	for _, norm := range modelfile.Norm("v.post_ln", int64(v.vision.Width)) {
		norm.Optional = true // some converters write it; nothing behind the last layer that runs is used
		s = append(s, norm)
	}
	stored := map[string]string{}
	tower.Swapped(f, "v", stored)
	return modelfile.Tensors(f, "projector", s, stored)
}

// readPreprocess reads how pictures become tiles.
func (v *projector) readPreprocess(f *gguf.File) error {
	more := map[string]any{}
	if _, ok := f.Value(modelfile.PreprocessKey); !ok {
		list, err := f.Ints(pinpointsKey)
		if err != nil {
			reason := err.Error()
			if errors.Is(err, gguf.ErrNoKey) {
				reason = "missing, and so is " + modelfile.PreprocessKey + ": the projector is not of LLaVA-NeXT's kind"
			}
			return &KeyError{Key: pinpointsKey, Reason: reason, Err: err}
		}
		if len(list)%2 != 0 {
			return &KeyError{Key: pinpointsKey, Reason: fmt.Sprintf("want heights and widths in pairs, got %d numbers", len(list))}
		}
		pairs := make([][2]int64, len(list)/2)
		for i := range pairs {
			pairs[i] = [2]int64{list[2*i], list[2*i+1]}
		}
		more["image_grid_pinpoints"] = pairs
	}
	c, text, err := modelfile.Preprocess(f, v.imageSize, more)
	if err != nil {
		return err
	}
	if _, err := c.Grid(v.imageSize, v.imageSize); err != nil { // fails by the configuration alone
		return &KeyError{Key: modelfile.PreprocessKey, Reason: err.Error(), Err: err}
	}
	v.preprocess, v.preprocessText = c, text
	return nil
}

// readNewline reads the vector that ends each row of a picture's tiles.
func (v *projector) readNewline(f *gguf.File, p *params) error {
	t, _ := f.Tensor(newlineTensor) // readTensors found it
	v.newline = make([]float32, p.width)
	if err := csrc.Dequantize(uint32(t.Type), f.Data(t), v.newline); err != nil {
		return &TensorError{Name: newlineTensor, Reason: err.Error()}
	}
	return nil
}
