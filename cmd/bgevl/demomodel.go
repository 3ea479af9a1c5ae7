package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/examples"
)

// demoModel returns the GGUF file of the demo model, which the binary holds as a checkpoint. It is converted on first use
// into the folder of models that were pulled, or, where there can be none, into a temporary one, which done removes.
func demoModel(ctx context.Context) (path string, done func(), err error) {
	done = func() {}
	dir, err := convertedDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err != nil {
		if dir, err = os.MkdirTemp("", "bgevl-demo-"); err != nil {
			return "", done, fmt.Errorf("no folder for the demo model: %w: set BGEVL_CACHE", err)
		}
		done = func() { _ = os.RemoveAll(dir) }
	}
	path, err = convertDemo(ctx, dir)
	if err != nil {
		done()
	}
	return path, done, err
}

// convertDemo converts the demo model into a folder, unless it is there. Several processes may do so at once.
func convertDemo(ctx context.Context, dir string) (string, error) {
	files := examples.DemoCLIP()
	digest, err := examples.Digest(files)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, convertedName(examples.DemoName, digest, "f16"))
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		return path, nil
	}
	checkpoint, err := os.MkdirTemp(dir, "."+examples.DemoName+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(checkpoint) // what is left is hidden, and small
	if err := os.CopyFS(checkpoint, files); err != nil {
		return "", err
	}
	_, err = convert.Run(ctx, checkpoint, path, &convert.Options{Types: []string{"f16"}, Name: examples.DemoName})
	if errors.Is(err, fs.ErrExist) { // another process was faster
		err = nil
	}
	return path, err
}
