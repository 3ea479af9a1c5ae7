// Package safetensors reads and writes safetensors files and the checkpoints that the Hugging Face hub keeps in them.
//
// # What it is
//
// [Open] reads a file's header and checks all of it: JSON without duplicate names, known element types, shapes that
// need exactly the bytes they claim, and tensors that fill the file without holes, overlaps or leftovers, as the
// reference implementation demands. [OpenCheckpoint] opens a folder in the hub's layout, in one file or in shards.
// Tensor data is never read by either: [File.Data] and [File.Reader] stream it, so that a checkpoint of any size is
// converted in little memory. [StreamCheckpoint] does the same with files that are still being downloaded. [Writer]
// streams a file out.
//
// Names are compared as they stand, byte by byte: encoding/json, which takes "Dtype" for "dtype" and the last of two
// equal names, is not used for anything that decides where data lies. Whatever a file claims, opening it allocates at
// most 16 MiB plus twice its size.
//
// # Goroutines
//
// A [File] and a [Checkpoint] never change and may be shared, Readers of one tensor too, as long as each goroutine has
// its own. A [Writer] is for one goroutine.
//
// # Life
//
// Both hold open descriptors from opening to Close. Readers fail after it.
package safetensors
