// Command pictures draws the pictures of examples/pictures: small scenes for the demo and the tests of a checkout that
// has no photographs beside it. The same code always draws the same pictures; `make pictures` runs it.
package main

import (
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
)

// jpegQuality keeps the whole folder below 300 kB with no artefact that the eye sees.
const jpegQuality = 88

func main() {
	dir := flag.String("o", "examples/pictures", "folder to write to")
	flag.Parse()
	if err := drawAll(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// drawAll writes every scene to dir, which it makes where there is none.
func drawAll(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range scenes() {
		path := filepath.Join(dir, s.file)
		if err := write(path, s.draw()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// write encodes the picture by the extension of its path.
func write(path string, im image.Image) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if filepath.Ext(path) == ".png" {
		return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, im)
	}
	return jpeg.Encode(f, im, &jpeg.Options{Quality: jpegQuality})
}
