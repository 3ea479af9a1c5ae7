package gguf_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Every type is found by its own name, and its number is ggml's.
func TestTypeNames(t *testing.T) {
	known := 0
	for typ := range gguf.Type(64) {
		if typ.BlockSize() == 0 {
			_, err := gguf.ParseType(typ.String())
			require.Error(t, err, "%s cannot be read", typ)
			continue
		}
		known++
		for _, s := range []string{typ.String(), strings.ToUpper(typ.String())} {
			got, err := gguf.ParseType(s)
			require.NoError(t, err)
			require.Equal(t, typ, got)
		}
	}
	require.Equal(t, 32, known)
	for name, number := range map[string]gguf.Type{"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "q4_k": 12, "q6_k": 14,
		"i8": 24, "iq1_m": 29, "bf16": 30, "tq2_0": 35, "mxfp4": 39} {
		require.Equal(t, name, number.String())
	}
	require.Equal(t, "type 99", gguf.Type(99).String())
	_, err := gguf.ParseType("q4_k_m")
	require.ErrorContains(t, err, `unknown tensor type "q4_k_m": want one of f32, f16, q4_0,`)
}

func TestTensorSize(t *testing.T) {
	for _, c := range []struct {
		typ  gguf.Type
		dims []int64
		want int64
	}{
		{gguf.F32, []int64{1}, 4},
		{gguf.F16, []int64{3, 5}, 30},
		{gguf.Q8_0, []int64{64, 8}, 2 * 34 * 8},
		{gguf.Q4_K, []int64{512, 3, 2}, 2 * 144 * 6},
		{gguf.I64, []int64{1, 2, 3, 4}, 24 * 8},
		{gguf.IQ1S, []int64{1 << 62}, 1 << 54 * 50},
	} {
		got, err := gguf.TensorSize(c.typ, c.dims)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}
