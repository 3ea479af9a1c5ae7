// Package bgevl turns texts, images, or both into BGE-VL embeddings: unit vectors whose inner product says how well two
// inputs go together.
//
// # From a file to a score
//
// [Open] opens a GGUF file made by bgevl convert and gives an [Embedder]. [Embedder.Embed] turns a slice of inputs into
// vectors; [Embedder.Stream] does the same for a sequence of any length, in order, with bounded memory. An [Input] holds
// a text, an image, or both, which are fused into one vector. [Score] compares two vectors, and [Embedder.Rank] orders
// candidates by how well they match a query.
//
// Which model a file holds is what its metadata says, never its name.
//
// # CLIP models (BGE-VL-base, BGE-VL-large)
//
// The embedding is the normalised sum of the text's and the image's projected features: they are added first and there
// is one L2 normalisation at the end. A picture is converted to RGB, resized and cropped exactly as Pillow and the
// reference do it. These models have no instructions, and queries and candidates are embedded alike: Input.Role and
// Input.Instruction are ignored.
//
// # MLLM models (BGE-VL-MLLM-S1, -S2, BGE-VL-v1.5-zs, -mmeb)
//
// The embedding is the state of the last token of a prompt that the input is written into, normalised. Queries and
// candidates have different prompts, so that Input.Role must be right. A query should have an Input.Instruction that says
// what is to be retrieved; [Tasks] are those that the models were trained with. A query without one is embedded with
// Result.Warning set, as the published code does it with a printed warning. A candidate with one fails, where the
// published code drops it without a word.
//
// A text or an instruction that holds a special token of the model is read as that token, as in the reference: nothing
// is escaped or removed. One that holds <image> beside an image fails, since the token stands for the image; without an
// image it is a token like any other.
//
// These models are two files, of which the language model is the one that Open takes. It finds the other, with the
// vision side, or is told by Options.Projector; without it texts are embedded and images fail with [ErrNoProjector].
// A picture is 2,928 tokens for the published models and is computed by itself; texts go through the model in batches.
// Options.Truncate cuts the text of an input that is too long, never its instruction or the end of its prompt.
// Options.ImageCacheBytes keeps what the vision side made of pictures.
//
// # Failures
//
// What is wrong with one input is an [*InputError] of that input, and the rest is embedded; only a context that ended, a
// closed Embedder, or a caller's own error ends a whole call. A vector that is returned is finite and of unit length:
// an input whose features are not is a failed input.
//
// # Goroutines
//
// An [Embedder] is safe for any number of goroutines, which share its weights, its compute threads and its bound on
// pictures decoded at a time. Within one call pictures are decoded while earlier ones are computed. An [Image] made by
// [ImageReader] is used up by one input; all other inputs may be shared and used again.
//
// # Life
//
// An Embedder lives until [Embedder.Close], which lets calls that are computing finish and fails others with
// [ErrClosed]. It starts no goroutine that outlives a call, with one exception that [Embedder.Stream] states.
package bgevl
