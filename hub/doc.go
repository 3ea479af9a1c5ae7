// Package hub downloads model repositories from the Hugging Face hub, or from a mirror that speaks its protocol, into the
// cache that Python's huggingface_hub uses too.
//
// A Client is made by New and shared by any number of goroutines; Close releases its idle connections. It lives as long
// as its maker wants and starts nothing that outlives a call, but for a Stream, which runs until it is closed. Every call
// that talks to the network takes a context and ends soon after it does. What a Pull has downloaded until then is kept, and
// the next one goes on from there.
//
// A Stream reads a file without storing it, for those who make something else of it: a pull that skips the weights, and a
// Stream of each. The file's digest is known only at its end, so what was made of it counts for nothing until then.
//
// # What is trusted
//
// Nothing that the other side says is trusted before it was checked: the names in a listing, the sizes, the redirects, the
// ranges of a body. A file appears under its name when it is complete and its digest is the one in the commit's listing:
// SHA-256 for large files, git's own blob digest for small ones. A file without a digest is not downloaded. The token
// goes to the endpoint alone and to no host that it redirects to; from https no redirect leads back to http.
//
// # The cache
//
//	CACHE/models--ORG--NAME/blobs/DIGEST              a file's bytes
//	CACHE/models--ORG--NAME/blobs/DIGEST.incomplete   its first bytes, always without a gap
//	CACHE/models--ORG--NAME/refs/REVISION             the commit that a branch or tag pointed to when it was last pulled
//	CACHE/models--ORG--NAME/snapshots/COMMIT/FILE     a relative link to the blob, a copy where links are not to be had
//	CACHE/.locks/models--ORG--NAME/DIGEST.lock        held (flock) while the blob is downloaded
//
// Several connections download one file, but it is written in order: a process may be killed at any moment, and whoever
// comes next, this package or Python's, resumes from the file's size. Links are made when all files of a pull are there,
// the weights' last, so that a snapshot with weights is one that can be used.
package hub
