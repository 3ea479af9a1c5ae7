package convert_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/testenv"
)

const (
	childDir, childOut, childType = "BGEVL_TEST_CONVERT_DIR", "BGEVL_TEST_CONVERT_OUT", "BGEVL_TEST_CONVERT_TYPE"

	// maxPeakKB is the promise for checkpoints of any size.
	maxPeakKB = 300_000
)

// convertInChild is the program that TestMemory measures: as many threads as a large machine would take.
func convertInChild(dir, out, typ string) {
	_, err := convert.Run(context.Background(), dir, out, &convert.Options{Types: strings.Split(typ, ","), Threads: 64})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	file, err := os.Open("/proc/self/status")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "VmHWM:") {
			fmt.Println(lines.Text())
		}
	}
}

// A checkpoint of more than 2 GB, nearly all in one tensor, converts in bounded memory: the peak of a process of its own,
// with 64 threads. The file is sparse, so that the weights are zeros and take no room.
func TestMemory(t *testing.T) {
	checkMemory(t, 1<<20, "q4_0")
}

// So does one that becomes many files at once.
func TestMemoryOfManyTypes(t *testing.T) {
	checkMemory(t, 1<<16, "f32,f16,bf16,q8_0,q4_0,q4_1,q5_0,q5_1,mxfp4,q4_k,q2_k,q3_k_m,q6_k")
}

func checkMemory(t *testing.T, vocab int64, types string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "peak memory is read from /proc/self/status")
	}
	if testing.Short() {
		t.Skip("-short: converting 2 GB takes seconds")
	}
	dir := newCheckpoint(t, randmodel.Spec{})
	bound := maxPeakKB
	if raceDetector {
		// Every chunk under way is touched by a tenth of that as well, and the detector shadows what Go touches.
		vocab, bound = vocab/8, 2*maxPeakKB
	}
	growTokenTable(t, dir, vocab, 512)
	out := filepath.Join(t.TempDir(), "model.gguf")
	text, err := child(t, dir, out, types).CombinedOutput()
	require.NoError(t, err, string(text))
	var peak int
	_, err = fmt.Sscanf(string(text), "VmHWM: %d kB", &peak)
	require.NoError(t, err, string(text))
	t.Logf("peak %d kB", peak)
	require.Less(t, peak, bound)
}

// child returns a command that converts in a process of its own.
func child(t *testing.T, dir, out, typ string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+dir, childOut+"="+out, childType+"="+typ)
	return c
}

// A disk that is full where it seemed to have room: the limit on the size of files stands for it. The error says which
// file, and nothing is left.
func TestWriteFails(t *testing.T) {
	shell := testenv.Tool(t, "sh")
	dir := newCheckpoint(t, small())
	folder := t.TempDir()
	for _, limit := range []string{"0", "1", "600"} { // blocks of 512 bytes: in the header, and in tensor data
		c := child(t, dir, filepath.Join(folder, "model.gguf"), "f32")
		c.Args = []string{"sh", "-c", "ulimit -f " + limit + " && exec " + c.Path}
		c.Path = shell
		text, err := c.Output()
		require.Error(t, err)
		require.Contains(t, string(text), "model.gguf")
		require.Contains(t, string(text), "file too large")
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// growTokenTable replaces a checkpoint's weights by zeros, in a text tower of another width and a huge token table of F32.
func growTokenTable(t *testing.T, dir string, vocab, width int64) {
	t.Helper()
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{Text: randmodel.Tower{Layers: 1, Width: int(width), FFN: 64, Heads: 8}}))
	editJSON(t, filepath.Join(dir, "config.json"), func(v map[string]any) {
		v["text_config"].(map[string]any)["vocab_size"] = vocab
	})
	list := readTensors(t, dir)
	path := filepath.Join(dir, "model.safetensors")
	file, err := os.Create(path)
	require.NoError(t, err)
	w := safetensors.NewWriter(file, nil)
	size := int64(0)
	for _, one := range list {
		if one.name == "text_model.embeddings.token_embedding.weight" {
			one.shape, one.dtype = []int64{vocab, width}, safetensors.F32
		}
		require.NoError(t, w.AddTensor(one.name, one.dtype, one.shape))
		n, err := safetensors.TensorSize(one.dtype, one.shape)
		require.NoError(t, err)
		size += n
	}
	require.NoError(t, w.WriteHeader())
	info, err := file.Stat()
	require.NoError(t, err)
	require.NoError(t, file.Truncate(info.Size()+size))
	require.NoError(t, file.Close())
	require.Greater(t, size, vocab*width*4)
}
