// Package convert makes GGUF files from checkpoints in the Hugging Face hub's layout.
//
// # What it is
//
// [Run] reads a folder (config.json, preprocessor_config.json, the tokenizer's files, and safetensors in one file or in
// shards) and writes one GGUF file that holds all of it: nothing else is needed to embed with the model. Weights are
// streamed and quantised by ggml's own functions in pieces, so that memory doesn't grow with the model.
//
// # What is checked
//
// Every tensor must be one that config.json asks for, in its shape, as F32, F16 or BF16, and all must be there; only
// computed buffers (position_ids) are passed over. NaN, infinities and values that the chosen type cannot hold are
// errors that name the tensor and the element.
//
// # Goroutines, life and stopping
//
// Functions may be called by many goroutines at once. Run starts goroutines and waits for all of them before it
// returns; cancelling its context stops it within one piece of a tensor. It holds no resource after it has returned.
package convert
