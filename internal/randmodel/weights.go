package randmodel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/bgevl/bgevl/internal/safetensors"
)

// weight is a tensor to write, its elements centre + scale * a normally distributed number.
type weight struct {
	name          string
	stored        string // the name in the file, where that is another one
	shape         []int64
	centre, scale float64
}

func (w weight) fileName() string {
	if w.stored != "" {
		return w.stored
	}
	return w.name
}

func (w weight) elements() int64 {
	n := int64(1)
	for _, d := range w.shape {
		n *= d
	}
	return n
}

// The scales keep activations near one, and attention and the activations of feed-forward blocks away from the
// straight part of their curves.
const (
	normScale  = 0.2
	biasScale  = 0.2
	tableScale = 0.7 // token and position tables, the class embedding
	sharpGain  = 1.6 // query, key and up projections
	logitScale = 100
)

// list collects weights under the names of transformers' models.
type list []weight

func (l *list) add(name string, centre, scale float64, shape ...int) {
	w := weight{name: name, centre: centre, scale: scale}
	for _, d := range shape {
		w.shape = append(w.shape, int64(d))
	}
	*l = append(*l, w)
}

func (l *list) norm(name string, width int) {
	l.add(name+".weight", 1, normScale, width)
	l.add(name+".bias", 0, biasScale, width)
}

func (l *list) linear(name string, out, in int, gain float64) {
	l.add(name+".weight", 0, gain/math.Sqrt(float64(in)), out, in)
	l.add(name+".bias", 0, biasScale, out)
}

func (l *list) encoder(prefix string, t Tower) {
	for i := range t.Layers {
		layer := fmt.Sprintf("%s.encoder.layers.%d.", prefix, i)
		l.norm(layer+"layer_norm1", t.Width)
		l.linear(layer+"self_attn.q_proj", t.Width, t.Width, sharpGain)
		l.linear(layer+"self_attn.k_proj", t.Width, t.Width, sharpGain)
		l.linear(layer+"self_attn.v_proj", t.Width, t.Width, 1)
		l.linear(layer+"self_attn.out_proj", t.Width, t.Width, 1)
		l.norm(layer+"layer_norm2", t.Width)
		l.linear(layer+"mlp.fc1", t.FFN, t.Width, sharpGain)
		l.linear(layer+"mlp.fc2", t.Width, t.FFN, 1)
	}
}

// vision adds a vision tower.
func (l *list) vision(prefix string, t Tower, image, patch int) {
	side := image / patch
	l.add(prefix+".embeddings.class_embedding", 0, tableScale, t.Width)
	l.add(prefix+".embeddings.patch_embedding.weight", 0, 1/math.Sqrt(float64(3*patch*patch)), t.Width, 3, patch, patch)
	l.add(prefix+".embeddings.position_embedding.weight", 0, tableScale, side*side+1, t.Width)
	l.norm(prefix+".pre_layrnorm", t.Width)
	l.encoder(prefix, t)
	l.norm(prefix+".post_layernorm", t.Width)
}

// weights returns all tensors of a CLIP model with a tokenizer of so many tokens.
func (s Spec) weights(tokens int) []weight {
	var l list
	l.add("logit_scale", math.Log(logitScale), 0)
	l.add("text_model.embeddings.token_embedding.weight", 0, tableScale, tokens+s.ExtraVocab, s.Text.Width)
	l.add("text_model.embeddings.position_embedding.weight", 0, tableScale, s.Context, s.Text.Width)
	l.encoder("text_model", s.Text)
	l.norm("text_model.final_layer_norm", s.Text.Width)
	l.vision("vision_model", s.Vision, s.ImageSize, s.PatchSize)
	l.add("visual_projection.weight", 0, 1/math.Sqrt(float64(s.Vision.Width)), s.Projection, s.Vision.Width)
	l.add("text_projection.weight", 0, 1/math.Sqrt(float64(s.Text.Width)), s.Projection, s.Text.Width)
	return l
}

// storage is how weights lie on the disk.
type storage struct {
	seed   uint64
	dtype  safetensors.DType
	shards int
}

// writeWeights writes model.safetensors, or shards of about equal counts of tensors and their index. Whichever of the
// two was there before is removed.
func writeWeights(dir string, all []weight, s storage) error {
	const single, index = "model.safetensors", "model.safetensors.index.json"
	if s.shards == 1 {
		if err := removeIfThere(filepath.Join(dir, index)); err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, single), all, s)
	}
	if s.shards > len(all) {
		return fmt.Errorf("%d tensors cannot fill %d shards", len(all), s.shards)
	}
	if err := removeIfThere(filepath.Join(dir, single)); err != nil {
		return err
	}
	places, total := map[string]string{}, int64(0)
	for i := range s.shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, s.shards)
		part := all[i*len(all)/s.shards : (i+1)*len(all)/s.shards]
		if err := writeFile(filepath.Join(dir, name), part, s); err != nil {
			return err
		}
		for _, w := range part {
			places[w.fileName()] = name
			total += w.elements() * s.dtype.Bits() / 8
		}
	}
	return writeJSON(dir, index, map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": places})
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func writeFile(path string, weights []weight, s storage) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	err = writeTensors(buffered, weights, s)
	return errors.Join(err, buffered.Flush(), file.Close())
}

func writeTensors(to io.Writer, weights []weight, s storage) error {
	w := safetensors.NewWriter(to, map[string]string{"format": "pt"})
	for _, one := range weights {
		if err := w.AddTensor(one.fileName(), s.dtype, one.shape); err != nil {
			return err
		}
	}
	if err := w.WriteHeader(); err != nil {
		return err
	}
	for _, one := range weights {
		to, err := w.WriteTensor(one.fileName())
		if err != nil {
			return err
		}
		if err := one.write(to, s); err != nil {
			return err
		}
	}
	return w.Close()
}

// write writes the elements of a weight. They depend on its name and the seed alone, so that other geometries and other
// shards have the same.
func (w weight) write(to io.Writer, s storage) error {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.name)) // a hash never fails
	random := rand.New(rand.NewPCG(s.seed, h.Sum64()))
	const piece = 1 << 14
	raw := make([]byte, 0, 4*piece)
	for left := w.elements(); left > 0; left -= piece {
		raw = raw[:0]
		for range min(left, piece) {
			raw = appendElement(raw, s.dtype, float32(w.centre+w.scale*random.NormFloat64()))
		}
		if _, err := to.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

func appendElement(b []byte, d safetensors.DType, x float32) []byte {
	bits := math.Float32bits(x)
	switch d {
	case safetensors.F32:
		return binary.LittleEndian.AppendUint32(b, bits)
	case safetensors.BF16:
		// Round to nearest, ties to even; weights are far from infinity.
		return binary.LittleEndian.AppendUint16(b, uint16((bits+0x7fff+bits>>16&1)>>16))
	default:
		return binary.LittleEndian.AppendUint16(b, half(x))
	}
}

// half returns the nearest IEEE half-precision number, ties to even, for magnitudes below 65520.
func half(x float32) uint16 {
	sign := uint16(math.Float32bits(x) >> 16 & 0x8000)
	a := math.Abs(float64(x))
	if a < 1.0/(1<<14) { // subnormal: whole multiples of 2^-24
		return sign | uint16(math.RoundToEven(a*(1<<24)))
	}
	fraction, exponent := math.Frexp(a) // fraction in [0.5, 1)
	// 2048 steps a power of two; a carry runs into the exponent, as it should.
	steps := uint16(math.RoundToEven(fraction*2048)) - 1024
	return sign | (uint16(exponent+14)<<10 + steps)
}
