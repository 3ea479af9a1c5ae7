// Package server answers HTTP requests for embeddings, in the dialects that clients already speak.
//
// # From a request to vectors
//
//	guard -> route -> dialect: body to inputs -> pictures fetched -> queue -> Model -> dialect: vectors to body
//
// Every dialect is a file of handlers that turn a body into a list of inputs, call Server.embed, and write what comes
// back. Limits, keys, the queue, errors and metrics are the same under all of them.
//
// A handler returns what went wrong as an *apiError, which the route's dialect writes in its own shape. Messages are
// fixed texts with numbers and names of fields; what a client must not see, an address, a path, a key, never gets into
// one.
//
// # The queue
//
// Inputs of several requests are computed together. Clients take turns, an input each, so that one with little to do
// waits for a batch and not for the backlog of another. What does not fit into the queue is refused with 429; what nobody
// waits for any more is never computed. An input that fails, such as a picture that is none, fails its own request and
// no other.
//
// # Goroutines
//
// A Server is safe for any number of goroutines. It starts goroutines while requests wait and for the canary of
// GET /health; they end by themselves. It holds no state that outlives it, and no file.
//
// # Life
//
// Server.Serve runs until its context ends, stops accepting, answers what it has accepted, and returns within 30
// seconds. The Model is the caller's: it is closed after Serve has returned.
package server
