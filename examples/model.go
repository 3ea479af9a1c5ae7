package examples

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
)

//go:embed models/demo-clip
var checkpoint embed.FS

// DemoName is what the demo model is called.
const DemoName = "demo-clip"

// DemoCLIP returns the files of the demo model's checkpoint.
func DemoCLIP() fs.FS {
	files, err := fs.Sub(checkpoint, "models/"+DemoName)
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Digest returns a digest of a checkpoint's files and their names, in hexadecimal.
func Digest(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fmt.Fprintf(h, "%q %d\n", name, len(data))
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
