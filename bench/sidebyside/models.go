package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
)

// setup makes what is measured, where it is not there yet: checkpoints with random weights, their GGUF files, pictures. The
// weights do not matter to speed.
type setup struct{ root, dir string }

// checkpoint makes a checkpoint once and returns its folder.
func (s setup) checkpoint(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return dir, nil
	}
	fmt.Fprintf(os.Stderr, "sidebyside: making %s\n", dir)
	var err error
	switch name {
	case "clip-base":
		err = randmodel.CLIP(dir, randmodel.Base())
	case "clip-large":
		spec := randmodel.Base() // which fills the vocabulary up
		spec.Text, spec.Vision = randmodel.Tower{Layers: 12, Width: 768, FFN: 3072, Heads: 12}, randmodel.Tower{Layers: 24, Width: 1024, FFN: 4096, Heads: 16}
		spec.Projection, spec.PatchSize = 768, 14
		err = randmodel.CLIP(dir, spec)
	case "decoder":
		err = randmodel.MLLM(dir, randmodel.MLLMSpec{
			Text:      randmodel.Decoder{Layers: decoderLayers, Width: 4096, FFN: 14336, Heads: 32, KVHeads: 8, HeadDim: 128},
			Vision:    randmodel.Tower{Layers: 24, Width: 1024, FFN: 4096, Heads: 16},
			ImageSize: 336, PatchSize: 14, NoOutput: true,
		})
	default:
		err = fmt.Errorf("no checkpoint %q", name)
	}
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600)
}

// models makes the GGUF files of a model, and of an MLLM its projector.
func (s setup) models(name string, types []string) error {
	checkpoint, err := s.checkpoint(name)
	if err != nil {
		return err
	}
	for _, typ := range types {
		path := filepath.Join(s.dir, name+"-"+typ+".gguf")
		if _, err := os.Stat(path); err == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "sidebyside: making %s\n", path)
		if _, err := convert.Run(context.Background(), checkpoint, path, &convert.Options{Types: []string{typ}}); err != nil {
			return err
		}
	}
	return nil
}

// pictures makes the JPEG files that are embedded end to end.
func (s setup) pictures() error {
	const count = 16
	dir := filepath.Join(s.dir, "pictures")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	data := photograph(640, 480, 0)
	for i := range count {
		path := filepath.Join(dir, fmt.Sprintf("%02d.jpg", i))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) { //nolint:gosec // ours
			continue
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// photograph returns a JPEG file with about as much detail as a photograph has: waves, edges and grain at 4:2:0 and
// quality 90, some two bits a pixel. There are many, which differ in their waves and edges.
func photograph(width, height, which int) []byte {
	im := image.NewNRGBA(image.Rect(0, 0, width, height))
	grain := randomFloats(3 * width * height)
	for i := range width * height {
		x, y := i%width, i/width
		wave := math.Sin(float64(x)/float64(9+which)) * math.Cos(float64(y)/float64(13+7*which))
		for c := range 3 {
			im.Pix[4*i+c] = byte(110 + 50*wave + float64(x*y%(97+13*which+c))/(3+float64(which)/2) + 10*float64(grain[3*i+c]))
		}
		im.Pix[4*i+3] = 255
	}
	var file bytes.Buffer
	_ = jpeg.Encode(&file, im, &jpeg.Options{Quality: 90}) // memory takes everything
	return file.Bytes()
}

// limitProgram compiles bench/limit.
func (s setup) limitProgram() (string, error) {
	path := filepath.Join(s.dir, "limit")
	args := []string{"-std=gnu11", "-O2", "-I" + filepath.Join(s.root, "csrc"), "-o", path,
		filepath.Join(s.root, "bench/limit/limit.c"), filepath.Join(s.root, "csrc/cpu.c"), "-lpthread"}
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil { //nolint:gosec // the compiler, on our own file
		return "", fmt.Errorf("cc %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return path, nil
}

// prepare makes whatever the groups need.
func (s setup) prepare(groups []group, types []string) error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	models := map[string][]string{}
	for _, g := range groups {
		switch {
		case strings.HasPrefix(g.name, "clip-base"), g.name == "threads":
			models["clip-base"] = types
		case g.name == "jpeg":
			models["clip-base"] = types
			if err := s.pictures(); err != nil {
				return err
			}
		case strings.HasPrefix(g.name, "clip-large"):
			models["clip-large"] = types
		case g.name == "decoder":
			models["decoder"] = append(models["decoder"], types...)
		case g.name == "vision":
			models["decoder"] = append(models["decoder"], "f16")
		}
	}
	for name, list := range models {
		if err := s.models(name, list); err != nil {
			return err
		}
		if strings.HasPrefix(name, "clip-") {
			if err := s.probes(name, filepath.Join(s.dir, name+"-"+list[0]+".gguf")); err != nil {
				return err
			}
		}
	}
	return nil
}
