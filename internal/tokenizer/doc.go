// Package tokenizer turns text into token ids, exactly as the reference does.
//
// # What it is
//
// A reader of tokenizer.json (and of the older files it can be made from: vocab.json with merges.txt, a sentencepiece
// tokenizer.model, a GGUF file's tokenizer.ggml.* keys) and an encoder for the two kinds of tokenizer that BGE-VL
// models have: CLIP's byte-level BPE, and Mistral's sentencepiece BPE with byte fallback. The reference is the fast
// tokenizer of transformers 4.45.2. Its parts follow different editions of Unicode, so this package carries the
// reference's own character tables (classtables.go, nfctables.go) and doesn't use package unicode's, which change
// with every edition of Go.
//
// # What may be trusted
//
// A file is hostile until it was read: sizes, depths, ids, merges and every name in it are checked first, and an
// error names the field. A text may hold anything; bytes that are no UTF-8 count as U+FFFD each, as in Go's own range
// loop. The work for a text grows with n log n of its length, whatever it holds; bounding the length is the caller's.
//
// # Sharing and lifetime
//
// A [Tokenizer] never changes after it was made: any number of goroutines may share it. It keeps no reference to the
// bytes or the file that it was made from. It runs nothing in the background and needs no closing.
package tokenizer

// Tokenizer encodes text. Its methods are safe for many goroutines at once.
type Tokenizer interface {
	// Encode returns the ids of text, with the special tokens that the tokenizer's post-processor adds. It never cuts.
	Encode(text string) []int32
	// VocabSize returns the least bound that is above every id.
	VocabSize() int
	// ID returns the id of a token in the spelling of the vocabulary, such as "cat</w>" or "▁cat".
	ID(token string) (int32, bool)
	// Token returns the spelling of an id. The inverse of ID.
	Token(id int32) (string, bool)
}
