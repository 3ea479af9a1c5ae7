// Package convert makes GGUF files from checkpoints in the Hugging Face hub's layout.
//
// # What it is
//
// [Run] reads a folder (config.json, preprocessor_config.json, the tokenizer's files, and safetensors in one file or in
// shards) and writes GGUF files that hold all of it: nothing else is needed to embed with the model. A CLIP model
// (model_type clip) becomes one file. A LLaVA-NeXT model (llava_next) becomes two in llama.cpp's layout: the language
// model, and mmproj-NAME.gguf with the layers of the vision tower that run and the projector. Each states the fingerprint
// of its weights, and the language model that of its projector, so that the two find each other.
//
// Weights are streamed and quantised by ggml's own functions in pieces, so that memory doesn't grow with the model. Each
// is read once for all types that are asked for, and in the order of the checkpoint's files, so that they need not lie on
// the disk: a download serves as well ([Options].Streams).
//
// # What is checked
//
// Every tensor must be one that config.json asks for, in its shape, as F32, F16 or BF16, and all must be there; only
// computed buffers (position_ids, inv_freq), and what follows the layer of the vision tower whose state is used, are
// passed over. NaN, infinities and values that a chosen type cannot hold are errors that name the tensor and the element.
// A configuration that would run otherwise than in the reference is an error that names its field: an attention window
// within the context, scaled rotary positions, biases, other activations or features.
//
// A checkpoint that says its output layer is not the token table, and has none (it was saved for embedding only),
// converts: [Result].EmbeddingOnly says so, and so does bgevl.embedding_only in the file, since in GGUF a file without
// output.weight is one whose output layer is the token table.
//
// Rows of queries and keys are put in llama.cpp's order, where the two elements that a rotary position turns together are
// neighbours.
//
// # Goroutines, life and stopping
//
// Functions may be called by many goroutines at once. Run starts goroutines and waits for all of them before it
// returns; cancelling its context stops it within one piece of a tensor. It holds no resource after it has returned.
package convert
