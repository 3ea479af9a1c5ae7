// Command clipsmall writes the small CLIP checkpoint that the project's own goldens are made with; see ../clip.sh.
package main

import (
	"fmt"
	"os"

	"github.com/bgevl/bgevl/internal/randmodel"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: clipsmall FOLDER")
		os.Exit(2)
	}
	// The end-of-text id is the token's own, unlike that of the reference fixtures: both pooling rules are tested.
	// Widths and patches are no multiples of what kernels work in, so that edges are too.
	spec := randmodel.Spec{
		Seed: 3, Text: randmodel.Tower{Layers: 2, Width: 64, FFN: 160, Heads: 4},
		Vision:     randmodel.Tower{Layers: 3, Width: 96, FFN: 224, Heads: 3},
		Projection: 40, ImageSize: 56, PatchSize: 14, Merges: 300,
	}
	if err := randmodel.CLIP(os.Args[1], spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
