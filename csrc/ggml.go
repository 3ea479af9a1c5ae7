//go:build !bgevl_static

package csrc

import (
	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // compiles and links ggml
)
