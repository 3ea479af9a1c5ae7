// Package llama runs language models of Llama's kind from a GGUF file: tokens to hidden states, pictures to spans of
// embeddings among the tokens, prompts to text.
//
// # Chapters
//
// A [Model] is opened once and then only read. [Open] maps the file, checks its hyperparameters and every tensor's name
// and shape, reads the tokenizer, and finds the projector file that makes pictures into embeddings (mmproj-NAME.gguf);
// it reads no weights. Without a projector a model takes texts, and an input with a picture fails with
// [ErrNoProjector].
//
// [Model.Tokenize] turns a text into token ids. [Model.Preprocess] turns a decoded picture into a [Picture], the pixels
// of its tiles, and [Model.EncodePicture] turns that into features: a span of embeddings of the language model. An
// [Input] joins the two: its tokens hold the image token once for each picture, and the span takes its place.
// [Model.HiddenStates] runs a batch of inputs in one call to C and returns the states of the positions asked for.
// [Model.Embeddings] and [Model.TokenEmbeddings] are the short form: the last token's state, of length one.
//
// [Model.Predict] continues a prompt, and [Model.PredictInput] one with pictures.
//
// # Memory
//
// Weights stay in the file's mapping, shared with other processes, but for what the kernels repack. An input's buffers
// grow with its tokens: [Model.Plan] says by how much, and [Options].Context bounds them. A picture's features take
// Width*4 bytes each, 48 MB for 2,928 of them at a width of 4096. A prediction holds keys and values of its prompt and
// of what it may add until it returns: 256 KiB a token in Mistral 7B.
//
// # Goroutines
//
// A Model is safe for any number of goroutines. A bounded number of calls compute at the same time ([Options].Contexts,
// one by default, with all threads), a prediction from its first token to its last; further calls wait for their turn,
// or for their context.Context to end. A call that is cancelled while it computes stops within one operation of its
// graph. Tokenizing and preprocessing run on the caller's goroutine, as many at a time as there are callers.
//
// # Life
//
// A Model lives until [Model.Close] (or [Model.Free]), which lets calls that compute finish, fails those that wait for
// their turn with [ErrClosed], and then gives back the weights and the files. A prediction ends with ErrClosed at its
// next token. Close may be called again. A Model that is dropped without Close is cleaned up by the garbage collector
// some time later.
package llama
