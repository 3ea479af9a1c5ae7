package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/internal/pixels"
)

// How far a program's embeddings are from those in float32 is measured on inputs that all programs of a group read from
// one file, as numbers and no more: pixels as float32, [probes + calibrators][3][side][side], or token ids as int32,
// [probes + calibrators][tokensOfText]. Peers that want to be calibrated take the inputs behind the probes.
const (
	probes      = 8 // a batch
	calibrators = 8
)

func probePath(dir, model, side string) string {
	return filepath.Join(dir, model+"-probes-"+side+".bin")
}

// probes writes both files of a CLIP model, where they are not there yet.
func (s setup) probes(model, gguf string) error {
	images, texts := probePath(s.dir, model, "image"), probePath(s.dir, model, "text")
	if _, err := os.Stat(texts); err == nil {
		return nil
	}
	m, err := clip.Open(gguf, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	pix := make([]float32, (probes+calibrators)*m.PixelCount())
	for i := range probes + calibrators {
		im, err := pixels.Decode(photograph(320, 240, i), pixels.Limits{})
		if err != nil {
			return err
		}
		if err := m.Preprocess(im, pix[i*m.PixelCount():(i+1)*m.PixelCount()]); err != nil {
			return err
		}
	}
	rows, err := textRows(m, probes+calibrators)
	if err != nil {
		return err
	}
	scattered := randomFloats(len(rows) * tokensOfText)
	for i, row := range rows {
		for t := range row[1 : tokensOfText-1] {
			row[1+t] = int32(100 + 20000*(1+float64(scattered[i*tokensOfText+t])))
		}
	}
	if err := writeNumbers(images, pix); err != nil {
		return err
	}
	return writeNumbers(texts, slices.Concat(rows...)) // the last of the two, which says that both are there
}

// writeNumbers writes a file of numbers, little-endian, which appears when it is whole.
func writeNumbers[T int32 | float32](path string, numbers []T) error {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, numbers) // memory takes everything
	if err := os.WriteFile(path+".part", b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// readNumbers reads the first n numbers of a file.
func readNumbers[T int32 | float32](path string, n int) ([]T, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the benchmark's own
	if err != nil {
		return nil, err
	}
	numbers := make([]T, n)
	_, err = binary.Decode(data, binary.LittleEndian, numbers)
	return numbers, err
}

// lowestCosine returns the cosine of the pair of vectors that are farthest from each other.
func lowestCosine(a, b [][]float32) float64 {
	lowest := 1.0
	for i := range min(len(a), len(b)) {
		var ab, aa, bb float64
		for j := range min(len(a[i]), len(b[i])) {
			x, y := float64(a[i][j]), float64(b[i][j])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		lowest = min(lowest, ab/math.Sqrt(aa*bb)) // NaN where a vector is zero or not finite
	}
	return lowest
}

// reference returns the vectors that those of a group's subjects are compared with: of a program that computes in float32,
// else of this project's f16 weights, which the checkpoint's are; nil where none said any.
func reference(results []*result) [][]float32 {
	var vectors [][]float32
	for _, r := range results {
		switch {
		case len(r.s.ready.Vectors) == 0:
		case !r.s.spec.ours && r.s.spec.limit == "f32":
			return r.s.ready.Vectors
		case r.s.spec.name == "bgevl f16":
			vectors = r.s.ready.Vectors
		}
	}
	return vectors
}
