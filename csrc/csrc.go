// Package csrc is the boundary to C: the only package of the project that says import "C".
package csrc

// #cgo CFLAGS: -std=c11 -O3 -Wall -Wextra
// #cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wextra
// #cgo LDFLAGS: -lm
// #cgo linux LDFLAGS: -lpthread
import "C"

import (
	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // compiles and links ggml
)
