// Command demo writes a CLIP checkpoint with random weights, in the layout of the Hugging Face hub: what `make demo`
// converts and runs where no published model is at hand. Its embeddings mean nothing; the way from a checkpoint to a
// score is the real one.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/bgevl/bgevl/internal/randmodel"
)

func main() {
	dir := flag.String("o", "build/demo/random-clip", "folder to write")
	base := flag.Bool("base", false, "write the geometry of BGE-VL-base, 300 MB, instead of a small one")
	seed := flag.Uint64("seed", 1, "the weights depend on it alone")
	flag.Parse()
	spec := small()
	if *base {
		spec = randmodel.Base()
	}
	spec.Seed = *seed
	if err := randmodel.CLIP(*dir, spec); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// small is a model that sees pictures as BGE-VL-base does, 224 pixels a side in patches of 16, with narrow towers.
func small() randmodel.Spec {
	return randmodel.Spec{
		Text:      randmodel.Tower{Layers: 3, Width: 128, FFN: 512, Heads: 2},
		Vision:    randmodel.Tower{Layers: 4, Width: 192, FFN: 768, Heads: 3},
		ImageSize: 224, PatchSize: 16, Projection: 128,
	}
}
