package gguf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/mutants"
)

// mutate changes one to three things of a sound file, at random but the same for the same seed: numbers where the
// format has numbers, texts where it has texts, and now and then plain bytes.
func mutate(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	s := sound()
	structure := r.IntN(3)
	for range structure {
		mutateSpec(r, s)
	}
	b, fields := s.encode()
	for range max(1-structure, r.IntN(2)) {
		b = mutateField(r, b, fields[r.IntN(len(fields))])
	}
	switch r.IntN(20) {
	case 0:
		b = b[:r.IntN(len(b)+1)]
	case 1:
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	case 2:
		at := r.IntN(len(b))
		b = slices.Insert(b, at, b[at:min(len(b), at+1+r.IntN(64))]...)
	case 3:
		at := r.IntN(len(b))
		b = slices.Delete(b, at, min(len(b), at+1+r.IntN(64)))
	}
	return b
}

// mutateSpec changes the file's structure, which stays encoded consistently.
func mutateSpec(r *rand.Rand, s *spec) {
	k, t := &s.keys[r.IntN(len(s.keys))], &s.tensors[r.IntN(len(s.tensors))]
	switch r.IntN(14) {
	case 0:
		k.typ = uint32(r.IntN(15))
	case 1:
		k.key = s.keys[r.IntN(len(s.keys))].key
	case 2:
		k.value = array(gguf.ValueType(r.IntN(14)), odd(r), k.value)
		k.typ = uint32(gguf.Array)
	case 3:
		s.keys[1].value = le32(uint32(odd(r)))
	case 4:
		t.typ = uint32(r.IntN(42))
	case 5:
		t.dims[r.IntN(len(t.dims))] = odd(r)
	case 6:
		t.dims = append(t.dims, odd(r))
	case 7:
		t.offset = odd(r) &^ 31
	case 8:
		t.offset = s.tensors[r.IntN(len(s.tensors))].offset + uint64(r.IntN(3)*32)
	case 9:
		t.name = s.tensors[r.IntN(len(s.tensors))].name
	case 10:
		t.name = string(fill(int64(r.IntN(70)), byte(r.IntN(256))))
	case 11:
		s.tensorCount = new(odd(r))
	case 12:
		s.keyCount = new(odd(r))
	case 13:
		i := r.IntN(len(s.tensors))
		s.tensors = append(slices.Clone(s.tensors[:i]), s.tensors[i+1:]...)
		s.tensors = append(s.tensors, *t)
	}
}

// odd returns a number of the kind that breaks arithmetic, or a plain one.
func odd(r *rand.Rand) uint64 {
	edges := []uint64{0, 1, 2, 31, 32, 33, 64, 255, 256, 4096, 1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 61, 1 << 62, 1 << 63,
		math.MaxInt32, math.MaxUint32, math.MaxInt64, math.MaxUint64, math.MaxInt64 / 4, math.MaxUint64 / 34}
	n := edges[r.IntN(len(edges))]
	switch r.IntN(4) {
	case 0:
		return n + 1
	case 1:
		return n - 1
	case 2:
		return uint64(r.IntN(2000))
	}
	return n
}

// mutateField overwrites a number or a part of a text.
func mutateField(r *rand.Rand, b []byte, f field) []byte {
	switch {
	case f.width == 8 && f.kind != fieldText:
		binary.LittleEndian.PutUint64(b[f.at:], odd(r))
	case f.width == 4:
		binary.LittleEndian.PutUint32(b[f.at:], uint32(odd(r)))
	case f.width > 0:
		b[f.at+r.IntN(f.width)] = byte(odd(r))
	}
	return b
}

// exercise uses everything of a file that was accepted, and panics where it is not what was promised.
func exercise(f *gguf.File) error {
	tensors := f.Tensors()
	for _, x := range tensors {
		size, err := gguf.TensorSize(x.Type, x.Dims)
		if err != nil || size != x.Size || x.Offset%f.Alignment() != 0 || f.DataStart()+x.Offset+size > f.Size() {
			return fmt.Errorf("tensor %+v passed: %w", x, err)
		}
		if n, err := io.Copy(io.Discard, f.Reader(x)); err != nil || n != x.Size {
			return fmt.Errorf("tensor %+v: read %d: %w", x, n, err)
		}
		if d := f.Data(x); d != nil && len(d) != int(x.Size) {
			return fmt.Errorf("tensor %+v: data has %d bytes", x, len(d))
		}
		if got, ok := f.Tensor(x.Name); !ok || got.Offset != x.Offset {
			return fmt.Errorf("tensor %+v is not found by its name", x)
		}
	}
	slices.SortFunc(tensors, func(a, b gguf.Tensor) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	for i := 1; i < len(tensors); i++ {
		if tensors[i-1].Offset+tensors[i-1].Size > tensors[i].Offset {
			return fmt.Errorf("tensors %+v and %+v overlap", tensors[i-1], tensors[i])
		}
	}
	f.Summary()
	return copyFile(f)
}

// copyFile writes the file again with Writer and checks that the copy reads the same.
func copyFile(f *gguf.File) error {
	var out bytes.Buffer
	w := gguf.NewWriter(&out)
	for _, k := range f.Keys() {
		v, _ := f.Value(k)
		if _, err := v.Any(); err != nil {
			return fmt.Errorf("value of %s: %w", k, err)
		}
		w.Set(k, v)
	}
	for _, x := range f.Tensors() {
		if err := w.AddTensor(x.Name, x.Type, x.Dims); err != nil {
			return err
		}
	}
	if err := w.WriteHeader(); err != nil {
		return err
	}
	for _, x := range f.Tensors() {
		to, err := w.WriteTensor(x.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, f.Reader(x)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	g, err := gguf.Parse(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if !slices.Equal(f.Keys(), g.Keys()) || len(f.Tensors()) != len(g.Tensors()) {
		return fmt.Errorf("copy: has %v and %v", g.Keys(), g.Tensors())
	}
	return nil
}

// The mutants of row 2 of the reliability scoreboard: 20,000 by default, the whole by
//
//	BGEVL_MUTANTS=200000 go test -run Mutants ./internal/gguf
func TestMutants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mutant.gguf")
	mutants.Run(t, func(i int) bool { return runMutant(t, i, path) })
}

// runMutant reports whether the mutant was accepted, after using all of it.
func runMutant(t *testing.T, i int, path string) bool {
	b := mutate(uint64(i))
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if i%16 == 0 { // through the mapping
		require.NoError(t, os.WriteFile(path, b, 0o600))
		g, oerr := gguf.Open(path)
		require.Equal(t, err == nil, oerr == nil, "mutant %d: Parse says %v, Open %v", i, err, oerr)
		if oerr == nil {
			require.NoError(t, exercise(g), "mutant %d", i)
			require.NoError(t, g.Close())
		}
	}
	if err == nil {
		require.NoError(t, exercise(f), "mutant %d", i)
	}
	return err == nil
}
