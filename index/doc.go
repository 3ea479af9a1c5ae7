// Package index keeps collections of pictures and texts with their embeddings, and searches them.
//
// # What it is
//
// A [Collection] holds items, each with a vector of the same model, in memory. [Collection.Ingest] embeds the pictures of
// a [Source], such as a folder, and [Collection.IngestTexts] texts; [Collection.Search] finds the items that match a
// query's vector best. The search is exact: it computes the inner product with every vector, in one flat matrix, and
// items of equal score come in the order in which they were added.
//
// Vectors of different models cannot be compared. So a collection has the [bgevl.Fingerprint] of what made its vectors,
// and refuses to add or to search with a vector of any other: see [FingerprintError].
//
// # Goroutines
//
// A Collection is safe for any number of goroutines, and can be searched while it is filled: a search sees the items that
// were there when it began.
//
// # Life and stopping
//
// A Collection is garbage when nobody refers to it, and nothing of it is stored. Ingest and Search return soon after
// their context has ended; what Ingest has added by then stays. A [Folder] has a descriptor, which Close gives back.
package index
