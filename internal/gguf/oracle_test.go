package gguf_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	oracle "github.com/gpustack/gguf-parser-go"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Another reader of the format sees in a written file what was put there.
func TestOracleReadsWhatWasWritten(t *testing.T) {
	values := everyValue()
	var keys []string
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	tensors := everyTensor(t)
	b := write(t, keys, values, tensors)
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, b, 0o600))

	f, err := oracle.ParseGGUFFile(path)
	require.NoError(t, err)
	require.EqualValues(t, 3, f.Header.Version)
	require.Len(t, f.Header.MetadataKV, len(keys))
	for i, kv := range f.Header.MetadataKV {
		require.Equal(t, keys[i], kv.Key)
		if kv.ValueType != oracle.GGUFMetadataValueTypeArray {
			require.Equal(t, values[kv.Key], kv.Value, kv.Key)
			continue
		}
		require.Equal(t, boxed(values[kv.Key]), boxed(kv.ValueArray().Array), kv.Key)
	}
	require.Len(t, f.TensorInfos, len(tensors))
	for i, info := range f.TensorInfos {
		want := tensors[i]
		require.Equal(t, want.name, info.Name)
		require.EqualValues(t, want.typ, info.Type)
		require.Len(t, info.Dimensions, len(want.dims))
		for j, d := range info.Dimensions {
			require.EqualValues(t, want.dims[j], d)
		}
		at := f.TensorDataStartOffset + int64(info.Offset)
		require.Equal(t, want.data, b[at:][:len(want.data)], want.name)
	}
}

// boxed turns a slice of anything into a slice of interfaces.
func boxed(slice any) []any {
	v := reflect.ValueOf(slice)
	out := make([]any, v.Len())
	for i := range out {
		out[i] = v.Index(i).Interface()
	}
	return out
}

// The table of types agrees with another program's, for every number that either knows.
func TestOracleKnowsTheSameTypes(t *testing.T) {
	for typ := range gguf.Type(64) {
		trait, ok := oracle.GGMLType(typ).Trait()
		removed := typ.BlockSize() == 0
		if removed {
			require.Zero(t, typ.TypeSize())
			continue // the oracle still knows types that ggml has removed
		}
		require.True(t, ok, typ)
		require.EqualValues(t, trait.BlockSize, typ.BlockSize(), typ)
		require.EqualValues(t, trait.TypeSize, typ.TypeSize(), typ)
	}
}
