package tests

import (
	"image"
	_ "image/jpeg" // decodes what the examples hold
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

func decodeFile(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	im, _, err := image.Decode(f)
	require.NoError(t, err, path)
	return im
}

// TestExamplePictures draws the pictures of examples/pictures again and finds the same. JPEG encoders of other Go
// versions may round differently.
func TestExamplePictures(t *testing.T) {
	const (
		mostBytes  = 300_000 // of all: a clone carries them for ever
		mostApart  = 8       // of 255, in one channel of one pixel
		leastFiles = 4       // a query and some candidates
	)
	root, fresh := testenv.Root(t), t.TempDir()
	cmd := exec.Command("go", "run", "-buildvcs=false", "./tools/pictures", "-o", fresh)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	kept := filepath.Join(root, "examples", "pictures")
	entries, err := os.ReadDir(kept)
	require.NoError(t, err)
	drawn, err := os.ReadDir(fresh)
	require.NoError(t, err)
	require.Len(t, drawn, len(entries))
	require.GreaterOrEqual(t, len(entries), leastFiles)
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		total += info.Size()
		a, b := decodeFile(t, filepath.Join(kept, e.Name())), decodeFile(t, filepath.Join(fresh, e.Name()))
		require.Equal(t, a.Bounds(), b.Bounds(), e.Name())
		require.LessOrEqual(t, apart(a, b), mostApart, e.Name())
	}
	require.Less(t, total, int64(mostBytes))
}

// apart returns the largest difference of two pictures in any channel.
func apart(a, b image.Image) int {
	most := 0
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			for _, d := range []int{int(r1>>8) - int(r2>>8), int(g1>>8) - int(g2>>8), int(b1>>8) - int(b2>>8)} {
				most = max(most, d, -d)
			}
		}
	}
	return most
}
