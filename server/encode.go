package server

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
)

// writeJSON writes a response.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that hangs up gets none
}

// vectorFormats are how encodeVector can write a vector, by the names that clients use.
func vectorFormats() []string {
	return []string{"float", "base64", "int8", "uint8", "binary", "ubinary"}
}

// encodeVector returns what a vector is in JSON: an array of numbers, or a string of base64. It is nil for an unknown format.
func encodeVector(format string, v []float32) any {
	switch format {
	case "float":
		return v
	case "base64":
		return base64Floats(v)
	case "int8":
		return int8s(v)
	case "uint8":
		return uint8s(v)
	case "binary":
		return signedBinary(v)
	case "ubinary":
		return ubinary(v)
	}
	return nil
}

// shorten returns the first dim floats of a vector, at unit length again. Zero means all of them. It fails where the
// vector has fewer; param names the field that asked.
func shorten(v []float32, dim int, param string) ([]float32, error) {
	if dim == 0 || dim == len(v) {
		return v, nil
	}
	if dim < 0 || dim > len(v) {
		return nil, invalid(param, fmt.Sprintf("want 1 to %d", len(v)))
	}
	out := unit(v[:dim])
	if out == nil {
		return nil, invalid(param, "too few dimensions: those that are left are all zero")
	}
	return out, nil
}

// unit returns a vector scaled to unit length, or nil for one that is all zero.
func unit(v []float32) []float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return nil
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}

// base64Floats encodes a vector as little-endian float32 in base64.
func base64Floats(v []float32) string {
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(data)
}

// int8s quantises a vector to -127..127, its largest component at an end. The scale is the vector's own, so that cosines
// are kept and inner products are not.
func int8s(v []float32) []int8 {
	var largest float64
	for _, x := range v {
		largest = max(largest, math.Abs(float64(x)))
	}
	out := make([]int8, len(v))
	if largest == 0 {
		return out
	}
	for i, x := range v {
		out[i] = int8(math.Round(float64(x) / largest * 127))
	}
	return out
}

// uint8s is int8s from 0 up: 128 stands for zero.
func uint8s(v []float32) []uint16 {
	out := make([]uint16, len(v))
	for i, x := range int8s(v) {
		out[i] = uint16(int(x) + 128)
	}
	return out
}

// ubinary packs the signs of a vector, a bit a component, the first in the highest bit, as numpy.packbits does: 1 where
// positive. The last byte is filled up with zeros. The numbers are an array in JSON, which []byte would not be.
func ubinary(v []float32) []uint16 {
	out := make([]uint16, (len(v)+7)/8)
	for i, x := range v {
		if x > 0 {
			out[i/8] |= 0x80 >> (i % 8)
		}
	}
	return out
}

// signedBinary is ubinary less 128, which is what other services call binary.
func signedBinary(v []float32) []int8 {
	packed := ubinary(v)
	out := make([]int8, len(packed))
	for i, b := range packed {
		out[i] = int8(int(b) - 128)
	}
	return out
}
