package server

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShorten(t *testing.T) {
	v := []float32{0.6, 0, 0.8}
	whole, err := shorten(v, 0, "dimensions")
	require.NoError(t, err)
	assert.Equal(t, v, whole)
	cut, err := shorten([]float32{0.3, 0.4, 0.866}, 2, "dimensions")
	require.NoError(t, err)
	assert.InDelta(t, 0.6, cut[0], 1e-6)
	assert.InDelta(t, 0.8, cut[1], 1e-6)
	for _, dim := range []int{-1, 4, math.MinInt} {
		_, err = shorten(v, dim, "dimensions")
		require.Error(t, err)
		assert.Equal(t, "dimensions", seen(err).param)
	}
	_, err = shorten([]float32{0, 0, 1}, 2, "dimensions")
	assert.Error(t, err, "nothing is left")
}

func TestEncodings(t *testing.T) {
	v := []float32{0.5, -0.25, 0, 0.125, -0.5, 0.1, 0.1, 0.1, -1}
	data, err := base64.StdEncoding.DecodeString(base64Floats(v))
	require.NoError(t, err)
	require.Len(t, data, 4*len(v))
	for i, x := range v {
		assert.Equal(t, x, math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	assert.Equal(t, []int8{64, -32, 0, 16, -64, 13, 13, 13, -127}, int8s(v))
	assert.Equal(t, []int8{0, 0}, int8s([]float32{0, 0}))
	// numpy.packbits(v > 0) of the same vector.
	assert.Equal(t, []uint16{0b10010111, 0}, ubinary(v))
	assert.Equal(t, []int8{0b10010111 - 128, -128}, signedBinary(v))
}
