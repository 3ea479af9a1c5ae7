package tests

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// kernelsBuild is one way to compile and run the kernels' test.
type kernelsBuild struct {
	compiler string
	flags    []string
	run      []string // what goes before the program: an emulator
	share    string   // one in share random cases is run: emulators and sanitizers are slow
	tables   []string // that must be among those tested
}

// kernelsProgram compiles a program of tests/kernels with the kernels themselves and returns its path.
func kernelsProgram(t testing.TB, b kernelsBuild, pattern ...string) string {
	t.Helper()
	root := testenv.Root(t)
	dir, program := filepath.Join(root, "tests/kernels"), filepath.Join(t.TempDir(), "kernels")
	args := append([]string{"-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-I" + dir,
		"-I" + filepath.Join(root, "csrc"), "-o", program}, b.flags...)
	for _, glob := range append(pattern, filepath.Join(root, "csrc/kernels*.c"), filepath.Join(root, "csrc/cpu.c")) {
		if !filepath.IsAbs(glob) {
			glob = filepath.Join(dir, glob)
		}
		files, err := filepath.Glob(glob)
		require.NoError(t, err)
		require.NotEmpty(t, files, glob)
		args = append(args, files...)
	}
	out, err := exec.Command(testenv.Tool(t, b.compiler), append(args, "-lm", "-lpthread")...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", b.compiler, strings.Join(args, " "), out)
	return program
}

// runKernels compiles and runs the kernels' test as b says.
func runKernels(t *testing.T, b kernelsBuild) {
	t.Helper()
	runProgram(t, kernelsProgram(t, b, "*_test.c", "check.c"), b)
}

// runProgram runs the kernels' test, compiled, as b says, and returns the tables that it tested.
func runProgram(t *testing.T, program string, b kernelsBuild) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	command := append(append([]string{}, b.run...), program, b.share)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "BGEVL_CPU=", "TSAN_OPTIONS=halt_on_error=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), " 0 failures")
	first, _, _ := strings.Cut(string(out), "\n")
	tested := strings.Fields(first)[1:] // after "tables:"
	require.Subset(t, tested, b.tables)
	t.Log(string(out))
	return tested
}

// TestKernels holds every table of kernels that this machine runs to the reference.
func TestKernels(t *testing.T) {
	runKernels(t, kernelsBuild{compiler: "cc", share: "1", tables: []string{"portable"}})
}

// skipInShort leaves a test of minutes, of compiling and emulation, to make test.
func skipInShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute or more: left out by -short")
	}
}

// TestKernelsMemory runs them under AddressSanitizer and UndefinedBehaviorSanitizer.
func TestKernelsMemory(t *testing.T) {
	skipInShort(t)
	runKernels(t, kernelsBuild{compiler: "cc", share: "12",
		flags: []string{"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}})
}

// TestKernelsThreads runs them under ThreadSanitizer.
func TestKernelsThreads(t *testing.T) {
	skipInShort(t)
	runKernels(t, kernelsBuild{compiler: "cc", share: "80", flags: []string{"-O1", "-fsanitize=thread"}})
}

// TestKernelsAVX512 compiles the AVX-512 and the VNNI kernels over SIMDe, so that they are tested on processors without.
func TestKernelsAVX512(t *testing.T) {
	skipInShort(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the AVX-512 kernels are for amd64")
	}
	if _, err := os.Stat("/usr/include/simde/x86/avx512.h"); err != nil {
		testenv.Missing(t, "SIMDe is not installed (Debian: libsimde-dev)")
	}
	runKernels(t, kernelsBuild{compiler: "cc", share: "24", tables: []string{"avx512", "avx512+bf16", "avxvnni"},
		flags: []string{"-g0", "-DBGE_SIMDE", "-mavx2", "-mfma", "-mf16c", "-Wno-psabi", "-ffp-contract=off"}})
}

// TestKernelsNEON runs the NEON kernels on emulated processors: on one with everything, and that those without dot
// products or products of matrices are found to lack them.
func TestKernelsNEON(t *testing.T) {
	skipInShort(t)
	if runtime.GOARCH == "arm64" {
		t.Skip("TestKernels runs them on the processor itself")
	}
	const everySize, few = "90", "3000"
	qemu := testenv.Tool(t, "qemu-aarch64")
	program := kernelsProgram(t, kernelsBuild{compiler: "aarch64-linux-gnu-gcc", flags: []string{"-static"}}, "*_test.c", "check.c")
	for _, c := range []struct {
		processor, share string
		tables           []string
	}{
		{"max", everySize, []string{"neoni8mm", "neondot", "neon", "portable"}},
		{"cortex-a76", few, []string{"neondot", "neon", "portable"}},
		{"cortex-a72", few, []string{"neon", "portable"}},
	} {
		t.Run(c.processor, func(t *testing.T) {
			run := []string{qemu, "-cpu", c.processor}
			require.Equal(t, c.tables, runProgram(t, program, kernelsBuild{run: run, share: c.share}))
		})
	}
}

// BenchmarkKernels measures the fastest table beside the limit of the processor's registers; its log is the result. The
// file kernels/kernels_bench.c says how to measure other tables, and single shapes.
func BenchmarkKernels(b *testing.B) {
	program := kernelsProgram(b, kernelsBuild{compiler: "cc", flags: []string{"-O3"}}, "kernels_bench.c")
	for b.Loop() {
		out, err := exec.Command(program, "0.1").CombinedOutput()
		require.NoError(b, err, string(out))
		b.Log("\n" + string(out))
	}
}
