// Package modelfile is what the packages that run a model from a GGUF file have in common: reading hyperparameters,
// holding tensors to the shapes that those imply, digests of what the results depend on, and the [Runner] that shares a
// model's compute contexts among goroutines.
//
// Nothing here knows a family of models: which keys and tensors there must be is the caller's.
//
// # Goroutines, life and stopping
//
// A [Runner] is safe for any number of goroutines and lives until [Runner.Close]. A [Keys] is for one goroutine and one
// file. The functions keep nothing.
package modelfile
