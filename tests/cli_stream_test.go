package tests

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/fakehub"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
)

// filesIn reads a folder.
func filesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		files[e.Name()] = readFile(t, filepath.Join(dir, e.Name()))
	}
	return files
}

// largest is the size of the largest file below a folder. A file may go while it is looked for.
func largest(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				n = max(n, st.Size())
			}
		}
		return nil
	})
	return n
}

// shardedMLLM is a checkpoint whose shards are each larger than any other of its files.
func shardedMLLM(t *testing.T) map[string][]byte {
	t.Helper()
	return filesIn(t, mllmCheckpoint(t, randmodel.MLLMSpec{
		Seed: 3, Shards: 3, ExtraVocab: 60_000, Text: randmodel.Decoder{FFN: 8192},
	}))
}

// A pull that converts as weights come makes the same files as one that stores them first, bit for bit, downloads each byte
// once, and has no weights on the disk at any time.
func TestStreamedPull(t *testing.T) {
	for name, files := range map[string]map[string][]byte{"clip": checkpointFiles(t), "mllm": shardedMLLM(t)} {
		t.Run(name, func(t *testing.T) {
			h, home, other := fakehub.Start(t), t.TempDir(), t.TempDir()
			h.Commit(hubRepo, "main", files)
			stored, streamed := filepath.Join(home, "out"), filepath.Join(other, "out")
			require.NoError(t, os.Mkdir(stored, 0o700))
			require.NoError(t, os.Mkdir(streamed, 0o700))
			args := []string{hubRepo, "--type", "f16,q8_0,q4_k_m", "-o"}
			hubPull(t, h, home, append(args, filepath.Join(stored, "m.gguf"))...)

			smallest := int64(1 << 60) // of the files of weights
			total, small := int64(0), int64(0)
			for n, data := range files {
				total += int64(len(data))
				if strings.HasSuffix(n, ".safetensors") {
					smallest = min(smallest, int64(len(data)))
				} else {
					small = max(small, int64(len(data)))
				}
			}
			require.Less(t, small, smallest)
			var most atomic.Int64 // on the disk, whenever something was asked for
			h.Inject(fakehub.Which{}, -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				most.Store(max(most.Load(), largest(filepath.Join(other, "hf"))))
				next.ServeHTTP(w, r)
			})
			h.Forget()
			p := hubPull(t, h, other, append(args, filepath.Join(streamed, "m.gguf"), "--stream")...)
			require.False(t, p.Kept)
			require.Equal(t, total, p.Downloaded)
			require.Equal(t, total, p.Bytes)
			require.LessOrEqual(t, max(most.Load(), largest(filepath.Join(other, "hf"))), small, "weights were stored")
			for n, data := range files {
				require.True(t, !strings.HasSuffix(n, ".safetensors") || h.Once(data), n)
			}
			want, got := filesIn(t, stored), filesIn(t, streamed)
			require.Len(t, got, len(want))
			require.GreaterOrEqual(t, len(got), 3)
			for n := range want {
				require.True(t, bytes.Equal(want[n], got[n]), n)
			}

			// With nothing to be kept, nothing is; and what the cache has is not downloaded, and stays.
			r := hubRun(t, h, other, "pull", hubRepo, "--stream", "--keep-checkpoint=false", "-o", filepath.Join(other, "n.gguf"))
			require.Equal(t, statusOK, r.status, r.err)
			require.Regexp(t, `^`+hubRepo+`: \d+ files, .+, converted as they came\n`, r.out)
			require.Zero(t, largest(filepath.Join(other, "hf", "hub", "models--BAAI--BGE-VL-test", "blobs")))
			h.Forget()
			p = hubPull(t, h, home, append(args, filepath.Join(home, "n.gguf"), "--stream")...)
			require.True(t, p.Kept)
			require.Zero(t, p.Downloaded)
			for _, r := range h.Requests() {
				require.False(t, r.CDN)
			}
		})
	}
}

// Broken connections, servers without ranges and those that send nothing are got over, and the files are the right ones.
func TestStreamedPullOverFaults(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := shardedMLLM(t)
	h.Commit(hubRepo, "main", files)
	pull := func(out string) map[string][]byte {
		folder := filepath.Join(home, out)
		require.NoError(t, os.Mkdir(folder, 0o700))
		cmd := hubCmd(t, h, home, "pull", hubRepo, "--stream", "-o", filepath.Join(folder, "m.gguf"), "-t", "q8_0")
		cmd.Env = append(cmd.Env, "HF_HUB_DOWNLOAD_TIMEOUT=1")
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, string(text))
		return filesIn(t, folder)
	}
	want := pull("plain")
	require.Len(t, want, 2)
	cdn := fakehub.Which{CDN: true}
	for name, inject := range map[string]func(){
		"cut":        func() { h.Inject(cdn, 6, fakehub.Cut(100_000)) },
		"stalled":    func() { h.Inject(cdn, 2, fakehub.Stall(70_000)) },
		"no ranges":  func() { h.Inject(cdn, -1, fakehub.IgnoreRange) },
		"overloaded": func() { h.Inject(cdn, 2, fakehub.Status(http.StatusServiceUnavailable)) },
		"expired":    func() { h.Inject(cdn, 2, fakehub.Status(http.StatusForbidden)) },
	} {
		inject()
		got := pull(name)
		h.Heal()
		require.Len(t, got, len(want), name)
		for n := range want {
			require.True(t, bytes.Equal(want[n], got[n]), "%s: %s", name, n)
		}
	}
}

// A wrong digest, known at the end of one of the shards, names it and leaves no file.
func TestStreamedPullDigest(t *testing.T) {
	files := shardedMLLM(t)
	for _, shard := range []string{"model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"} {
		h, home := fakehub.Start(t), t.TempDir()
		h.Commit(hubRepo, "main", files)
		digest := ""
		for _, f := range hubPull(t, h, home, hubRepo).Files {
			if filepath.Base(f.Path) == shard {
				digest = f.Digest
			}
		}
		require.NoError(t, os.RemoveAll(filepath.Join(home, "hf")))
		out := filepath.Join(home, "out")
		require.NoError(t, os.Mkdir(out, 0o700))
		// A low bit of one weight in the middle, which no other check can find.
		h.Inject(fakehub.Which{CDN: true, Path: digest}, -1, fakehub.FlipAt(len(files[shard])/2&^1))
		r := hubRun(t, h, home, "pull", hubRepo, "--stream", "-o", filepath.Join(out, "m.gguf"))
		require.Equal(t, statusError, r.status)
		requireComplaint(t, r, shard, "its digest is ", "want "+digest)
		require.Empty(t, filesIn(t, out))
		require.Less(t, largest(filepath.Join(home, "hf")), int64(len(files[shard])))
	}
}

// Interrupted, a streamed pull leaves nothing behind, and what was there before stays.
func TestStreamedPullInterrupted(t *testing.T) {
	h, home := fakehub.Start(t), t.TempDir()
	files := shardedMLLM(t)
	h.Commit(hubRepo, "main", files)
	h.Inject(fakehub.Which{CDN: true}, -1, slowly)
	out := filepath.Join(home, "out")
	require.NoError(t, os.Mkdir(out, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(out, "m.gguf"), []byte("old"), 0o600))
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := hubCmd(t, h, home, "pull", hubRepo, "--stream", "--force", "-o", filepath.Join(out, "m.gguf"))
		require.NoError(t, cmd.Start())
		for end := time.Now().Add(time.Minute); largest(out) < 1<<20 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		require.GreaterOrEqual(t, largest(out), int64(1<<20))
		require.NoError(t, cmd.Process.Signal(signal))
		require.Equal(t, statusInterrupted, statusOf(t, cmd.Wait()))
		require.Equal(t, map[string][]byte{"m.gguf": []byte("old")}, filesIn(t, out))
		require.Less(t, largest(filepath.Join(home, "hf")), int64(1<<20))
	}
}

// maxStreamKB is the promise for checkpoints of any size: what convert may take, and eight pieces of four megabytes.
const maxStreamKB = 300_000

// Memory does not grow with the checkpoint, nor with the largest of its tensors: the peak of the process, for one whose
// token table alone takes 262 MB. With BGEVL_TEST_LAYERS=4, four layers of a 7B model and its output layer come on top, 2.3
// GB in all, as q8_0 and q4_k_m at once.
func TestStreamedPullMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 300 MB of random weights take seconds to make")
	}
	spec := randmodel.MLLMSpec{NoOutput: true, ExtraVocab: 31_200,
		Text: randmodel.Decoder{Layers: 1, Width: 4096, FFN: 256, Heads: 32, KVHeads: 8, HeadDim: 128}}
	types := "f16"
	if n, err := strconv.Atoi(os.Getenv("BGEVL_TEST_LAYERS")); err == nil {
		spec.NoOutput, spec.Text.Layers, spec.Text.FFN, types = false, n, 14336, "q8_0,q4_k_m"
	}
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "peak memory is read from /proc")
	}
	h, home := fakehub.Start(t), t.TempDir()
	h.Commit(hubRepo, "main", filesIn(t, mllmCheckpoint(t, spec)))
	cmd := hubCmd(t, h, home, "pull", hubRepo, "--stream", "-o", filepath.Join(home, "m.gguf"), "--type", types)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for peak := 0; ; {
		peak = max(peak, peakKB(t, cmd.Process.Pid))
		select {
		case err := <-ended:
			require.NoError(t, err, text.String())
			t.Logf("peak %d kB\n%s", peak, text.String())
			require.Greater(t, peak, 10_000)
			require.Less(t, peak, maxStreamKB)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// peakKB is the most memory that a process has had, or 0 where it has ended. What the system says of it after that counts
// this process's memory too, as of when it forked.
func peakKB(t *testing.T, pid int) (kb int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &kb)
	}
	return kb
}
