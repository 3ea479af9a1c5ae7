package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/mutants"
	"github.com/bgevl/bgevl/internal/safetensors"
)

// soundHeader is what mutants start from, in tokens: every one may be changed alone.
func soundHeader() []string {
	const header = `{ "__metadata__" : { "format" : "pt" , "n\u00f6\n" : "\"" } , ` +
		`"text.weight" : { "dtype" : "F32" , "shape" : [ 2 , 3 ] , "data_offsets" : [ 0 , 24 ] } , ` +
		`"v.b" : { "dtype" : "BF16" , "shape" : [ 4 ] , "data_offsets" : [ 24 , 32 ] } , ` +
		`"empty" : { "dtype" : "U8" , "shape" : [ 0 , 7 ] , "data_offsets" : [ 32 , 32 ] } , ` +
		`"scale" : { "dtype" : "I64" , "shape" : [ ] , "data_offsets" : [ 32 , 40 ] } }`
	return strings.Fields(header)
}

// mutate changes up to four things of a sound file, at random but the same for the same seed: tokens of the header,
// its length, and now and then plain bytes.
func mutate(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 5))
	tokens := soundHeader()
	for range r.IntN(3) {
		tokens = mutateTokens(r, tokens)
	}
	header := strings.Join(tokens, [...]string{"", " ", "\n"}[r.IntN(3)])
	data := 40
	length := uint64(len(header))
	switch r.IntN(16) {
	case 0:
		length = [...]uint64{0, 1, 2, 8, 100_000_000, 100_000_001, 1 << 31, 1 << 32, 1 << 63, math.MaxUint64}[r.IntN(10)]
	case 1:
		length += uint64(r.IntN(20)) - 10
	case 2:
		data += r.IntN(20) - 10
	}
	b := claim(length, header, data)
	switch r.IntN(16) {
	case 0:
		b = b[:r.IntN(len(b)+1)]
	case 1:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 2: // inside the header, with its length kept right
		at := 8 + r.IntN(len(header))
		b = slices.Insert(b, at, [...]byte{'"', '\\', '{', '}', '[', ']', ',', ':', '0', ' ', 0, 0xff, 'u'}[r.IntN(13)])
		binary.LittleEndian.PutUint64(b, length+1)
	}
	return b
}

// mutateTokens replaces, drops, doubles or swaps tokens.
func mutateTokens(r *rand.Rand, tokens []string) []string {
	pool := append(soundHeader(), "-1", "1.0", "1e3", "01", "9223372036854775807", "9223372036854775808", "null", "true", `""`,
		`"Dtype"`, `"F16"`, `"F4"`, `"Q4_0"`, `"\ud83d"`, `"\ud83d\udc08"`, `"\u0000"`, `"\u0074ext.weight"`, "4611686018427387905",
		"25", "23", "31", "33", "\xff", `"\/"`, `"TEXT.weight"`)
	i, j := r.IntN(len(tokens)), r.IntN(len(tokens))
	switch r.IntN(8) {
	case 0:
		return slices.Delete(tokens, i, min(i+1+r.IntN(3), len(tokens)))
	case 1:
		return slices.Insert(tokens, i, pool[r.IntN(len(pool))])
	case 2:
		return slices.Insert(tokens, i, slices.Clone(tokens[i:min(i+1+r.IntN(20), len(tokens))])...)
	case 3:
		tokens[i], tokens[j] = tokens[j], tokens[i]
	case 4: // numbers are what places are made of
		for k := range tokens {
			if at := (i + k) % len(tokens); tokens[at][0] >= '0' && tokens[at][0] <= '9' {
				n, _ := strconv.Atoi(tokens[at])
				tokens[at] = strconv.Itoa(n + r.IntN(17) - 8)
				break
			}
		}
	case 5: // a name that is no one's
		tokens[i] = strconv.Quote(fmt.Sprint("x", r.IntN(3)))
	default:
		tokens[i] = pool[r.IntN(len(pool))]
	}
	return tokens
}

// exercise uses everything of a file that was accepted, and says where it is not what was promised or not what
// encoding/json, which takes more, makes of the header.
func exercise(f *safetensors.File, b []byte) error {
	end := int64(0)
	for _, x := range f.Tensors() {
		size, err := safetensors.TensorSize(x.DType, x.Shape)
		if err != nil || size != x.Size || x.Offset != end {
			return fmt.Errorf("tensor %+v passed: %w", x, err)
		}
		end += size
		if n, err := io.Copy(io.Discard, f.Reader(x)); err != nil || n != x.Size {
			return fmt.Errorf("tensor %+v: read %d: %w", x, n, err)
		}
		if got, ok := f.Tensor(x.Name); !ok || got.Offset != x.Offset {
			return fmt.Errorf("tensor %+v is not found by its name", x)
		}
	}
	header := b[8:][:binary.LittleEndian.Uint64(b)]
	if int64(8+len(header))+end != f.Size() || f.Summary().DataSize != end {
		return fmt.Errorf("%d bytes of tensors do not fill the file", end)
	}
	return compare(f, header)
}

func compare(f *safetensors.File, header []byte) error {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(header, &entries); err != nil {
		return fmt.Errorf("header passed: %w", err)
	}
	if raw, ok := entries["__metadata__"]; ok {
		var metadata map[string]string
		if err := json.Unmarshal(raw, &metadata); err != nil || !maps.Equal(metadata, f.Metadata()) {
			return fmt.Errorf("metadata is %v, want %v: %w", f.Metadata(), metadata, err)
		}
		delete(entries, "__metadata__")
	}
	if len(entries) != len(f.Tensors()) {
		return fmt.Errorf("%d tensors, want %d", len(f.Tensors()), len(entries))
	}
	for name, raw := range entries {
		var want struct {
			DType   safetensors.DType `json:"dtype"`
			Shape   []int64           `json:"shape"`
			Offsets []int64           `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &want); err != nil {
			return fmt.Errorf("tensor %s passed: %w", name, err)
		}
		x, ok := f.Tensor(name)
		if !ok || x.DType != want.DType || !slices.Equal(x.Shape, want.Shape) ||
			!slices.Equal(want.Offsets, []int64{x.Offset, x.Offset + x.Size}) {
			return fmt.Errorf("tensor %s is %+v, want %+v", name, x, want)
		}
	}
	return nil
}

// The mutants of row 5 of the reliability scoreboard: 20,000 by default, the whole by
//
//	BGEVL_MUTANTS=100000 go test -run Mutants ./internal/safetensors
func TestMutants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mutant.safetensors")
	mutants.Run(t, func(i int) bool { return runMutant(t, i, path) })
}

// runMutant reports whether the mutant was accepted, after using all of it.
func runMutant(t *testing.T, i int, path string) bool {
	b := mutate(uint64(i))
	f, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if i%16 == 0 {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		g, oerr := safetensors.Open(path)
		require.Equal(t, err == nil, oerr == nil, "mutant %d: Parse says %v, Open %v", i, err, oerr)
		if oerr == nil {
			require.NoError(t, exercise(g, b), "mutant %d", i)
			require.NoError(t, g.Close())
		}
	}
	if err == nil {
		require.NoError(t, exercise(f, b), "mutant %d", i)
	} else {
		require.ErrorIs(t, err, safetensors.ErrMalformed, "mutant %d", i)
	}
	return err == nil
}

// FuzzParse looks for files that make Parse panic, or that it accepts although they are not what it promises.
//
//	go test -fuzz FuzzParse ./internal/safetensors
func FuzzParse(f *testing.F) {
	f.Add(file(strings.Join(soundHeader(), ""), 40))
	for _, a := range attacks() {
		if len(a.file) < 1<<16 {
			f.Add(a.file)
		}
	}
	for i := range uint64(64) {
		f.Add(mutate(i))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, safetensors.ErrMalformed) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if err := exercise(file, b); err != nil {
			t.Fatal(err)
		}
	})
}
