// Package gguf reads and writes GGUF files, the container that ggml's tools keep models in.
//
// # What it is
//
// [Open] maps a file and checks all of it that is not tensor data: header, metadata, tensor names, types, shapes, and
// where every tensor lies. What it returns can be trusted: a [Tensor] lies inside the file, overlaps no other, is
// aligned, and its Size is what its type and shape need. [Parse] makes the same checks without a mapping. [Writer]
// streams a file to any io.Writer without seeking.
//
// Versions 2 and 3, little-endian, are read; version 3 is written. Arrays inside arrays are rejected, as ggml rejects
// them. String values are bytes as they stand in the file (vocabularies of real models hold invalid UTF-8); keys and
// tensor names must be UTF-8 without control characters.
//
// Metadata stays in the file until it is asked for: opening a model whose vocabulary has a million entries allocates
// nothing for them. Whatever the file claims, Open and Parse allocate at most 16 MiB plus twice the file's size.
//
// # Goroutines
//
// A [File] never changes and may be shared, except that nothing may run at the same time as Close. A [Writer] is for
// one goroutine.
//
// # Life
//
// A File holds a descriptor and a mapping from Open to Close. Slices from [File.Data] point into the mapping and must
// not be touched after Close. There is no finalizer: such a slice does not keep its File reachable, so unmapping
// behind the program's back could only crash it. The file must not be truncated by others while it is open: reading
// pages that are gone kills a process on every system.
package gguf
