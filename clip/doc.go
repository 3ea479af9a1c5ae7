// Package clip runs the two towers of a CLIP model from a GGUF file: text to features, pixels to features.
//
// # Chapters
//
// A [Model] is opened once from a file and then only read. [Open] maps the file, checks its hyperparameters and every
// tensor's name and shape, and reads the tokenizer and the preprocessing that the file carries; it reads no weights, so
// that it is quick and a process that only embeds texts never touches the pages of the vision tower.
//
// [Model.Tokenize] and [Model.Preprocess] turn a text into token ids and a decoded picture into pixels; they run on the
// caller's goroutine, as many at a time as there are callers. [Model.EncodeTokens] and [Model.EncodeImage] run a batch
// through a tower in one call to C.
//
// Features are what the projection gives: not normalised, so that features of a text and of an image can be added
// before the one normalisation that an embedding needs. Package bgevl does that.
//
// # Goroutines
//
// A Model is safe for any number of goroutines. It keeps a bounded number of compute contexts ([Options].Contexts, one
// by default, with all threads), each of which serves one call at a time; further calls wait for one, or for their
// context.Context to end.
//
// # Life
//
// A Model lives until [Model.Close], which lets calls that hold a compute context finish, fails those that wait for one
// with [ErrClosed], and then gives back the weights and the file. Close may be called again. A Model that is dropped
// without Close is cleaned up by the garbage collector some time later.
package clip
