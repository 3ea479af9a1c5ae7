// The C interface of bgevl: models and contexts over ggml, for one call a batch.
//
// Ownership: every handle is freed by the function named beside its type. The caller owns every buffer that is
// written to. Nothing here keeps a pointer to a caller's buffer past the call, except bge_tensor.data, which must stay
// readable until the last context of the model is freed.
//
// Threads: a bge_model does not change and is shared freely. A bge_context serves one call at a time;
// bge_context_cancel alone may be called while another thread is inside a call.
//
// Errors: a function returns BGE_OK or another bge_code and then fills the caller's bge_error, if it gave one. No
// function throws, and none leaves a buffer it failed to fill in a stated condition.
#ifndef BGE_H
#define BGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define BGE_NOEXCEPT noexcept
#else
#define BGE_NOEXCEPT
#endif

typedef enum bge_code {
    BGE_OK = 0,
    BGE_ERR_ARGUMENT = 1,    // a value given by the caller is wrong: the message names it
    BGE_ERR_MEMORY = 2,      // memory could not be had
    BGE_ERR_CANCELLED = 3,   // bge_context_cancel was called
    BGE_ERR_UNSUPPORTED = 4, // this build or this processor cannot do it
    BGE_ERR_INTERNAL = 5,    // a fault of bgevl's or ggml's
} bge_code;

typedef struct bge_error {
    int32_t code;
    char message[508];
} bge_error;

// A weight as it stands in a GGUF file.
typedef struct bge_tensor {
    const char *name;
    int32_t type;     // ggml_type
    int32_t reserved; // zero
    int64_t ne[4];    // elements along each dimension, the contiguous one first; 1 where there is none
    const void *data; // row-major, aligned to 32 bytes
    uint64_t size;    // bytes at data
} bge_tensor;

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

typedef struct bge_model bge_model; // bge_model_free

// One transformer encoder.
typedef struct bge_tower {
    int32_t n_layer;
    int32_t n_embd; // width
    int32_t n_ff;   // width inside the feed-forward block
    int32_t n_head; // divides n_embd
    float eps;      // of the layer norms
    int32_t gelu;   // 0: quick GELU, x * sigmoid(1.702 x); 1: GELU by erf
} bge_tower;

// Where a model's weights lie and what computes with them. All zero: the best kernels of this processor.
typedef struct bge_placement {
    const char *kernels; // NULL: the best that this processor can run. "ref", "avx2", "avx512", "neon", ... forces one
                         // instruction set; "ggml" uses ggml's own operations throughout
    const char *devices; // NULL: the processor alone. Names of bge_device_get with commas between: the last layers of
                         // each tower or decoder lie there, in the order of the names and in parts as large as the
                         // devices' memory allows, and ggml's own operations compute them; attention is the device's
                         // fused operation, or with BGEVL_FLASH_ATTENTION=off in the environment products and a softmax
    int32_t device_layers;    // how many layers of each tower or decoder; -1: as many as the devices have memory for
    int32_t file_mapped;      // 1: tensor data lies in a read-only file mapping, whose pages may be given back once a
                              // weight has been repacked or copied (they are read again from the file if touched again)
    int32_t devices_optional; // 1: where a device has no room for what it is to hold, the processor computes all
    int32_t reserved;         // zero
} bge_placement;

typedef struct bge_clip_params {
    uint32_t struct_size; // sizeof(bge_clip_params)
    bge_tower text;
    int32_t n_vocab;
    int32_t n_ctx; // positions of the text tower
    bge_tower vision;
    int32_t image_size; // pixels a side
    int32_t patch_size; // pixels a side; divides image_size
    int32_t n_proj;     // width of the shared embedding space
    bge_placement placement;
} bge_clip_params;

// Makes a CLIP model of two towers from validated weights. Weights of the processor's are repacked tower by tower, when
// first used; those of devices are copied there at once. Fails with BGE_ERR_ARGUMENT for a missing tensor, a wrong
// shape or an unknown device, naming it, and with BGE_ERR_MEMORY where a device has no room.
int32_t bge_clip_new(const bge_clip_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                     bge_error *err) BGE_NOEXCEPT;

// The vision side of a LLaVA model (an mmproj file): a CLIP vision tower without its last layers, and the projector.
typedef struct bge_llava_params {
    uint32_t struct_size; // sizeof(bge_llava_params)
    bge_tower vision;     // n_layer: the layers that run
    int32_t image_size;   // pixels a side of a tile
    int32_t patch_size;   // pixels a side; divides image_size
    int32_t n_out;        // width of the language model
    bge_placement placement;
} bge_llava_params;

int32_t bge_llava_new(const bge_llava_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                      bge_error *err) BGE_NOEXCEPT;

// A decoder of Llama's kind: RMS norm, rotary positions on neighbouring pairs, grouped key and value heads, SwiGLU.
typedef struct bge_llama_params {
    uint32_t struct_size; // sizeof(bge_llama_params)
    int32_t n_layer;
    int32_t n_embd;
    int32_t n_ff;
    int32_t n_head;
    int32_t n_head_kv; // divides n_head
    int32_t d_head;    // width of a head, even
    int32_t n_vocab;   // rows of the token embeddings
    float eps;         // of the RMS norms
    float rope_theta;  // base of the rotary frequencies
    bge_placement placement;
} bge_llama_params;

// Where output.weight is missing, the token embeddings serve as the output layer.
int32_t bge_llama_new(const bge_llama_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                      bge_error *err) BGE_NOEXCEPT;

// Drops the caller's hold on a model. Contexts made from it keep it alive. NULL is allowed.
void bge_model_free(bge_model *model) BGE_NOEXCEPT;

// Bytes of this machine's memory held by a model beside the caller's tensors: repacked weights and small tables.
int64_t bge_model_bytes(const bge_model *model) BGE_NOEXCEPT;

// The instruction set that a model's kernels use, a static string.
const char *bge_model_kernels(const bge_model *model) BGE_NOEXCEPT;

// How many layers a model has, over all its towers, and what the device `i` of its placement holds of them: the number
// of layers, and the bytes of its memory. Zero where there is no such device.
int32_t bge_model_layers(const bge_model *model) BGE_NOEXCEPT;
int32_t bge_model_device_layers(const bge_model *model, int32_t i) BGE_NOEXCEPT;
int64_t bge_model_device_bytes(const bge_model *model, int32_t i) BGE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------------------------------
// Contexts
// ---------------------------------------------------------------------------------------------------------------------

typedef struct bge_context bge_context; // bge_context_free

typedef struct bge_context_params {
    uint32_t struct_size; // sizeof(bge_context_params)
    int32_t n_threads;    // at least 1
} bge_context_params;

int32_t bge_context_new(bge_model *model, const bge_context_params *params, bge_context **out,
                        bge_error *err) BGE_NOEXCEPT;
void bge_context_free(bge_context *context) BGE_NOEXCEPT;

// Asks the running call of a context to stop (cancel = 1), or takes that back (0). The processor stops within one graph
// node, a device within one or the tenth of a second, whichever is more.
// While set, calls fail with BGE_ERR_CANCELLED.
void bge_context_cancel(bge_context *context, int32_t cancel) BGE_NOEXCEPT;

// Bytes of a context's buffers, which grow to the largest batch it has seen.
int64_t bge_context_bytes(const bge_context *context) BGE_NOEXCEPT;

// Text features before normalisation. ids holds the rows one after another, lengths[i] tokens for row i, and pool[i]
// is the position in row i whose state is projected. Writes n_rows * n_proj floats to dst, which holds dst_len.
int32_t bge_clip_encode_text(bge_context *context, const int32_t *ids, int64_t n_ids, const int32_t *lengths,
                             const int32_t *pool, int64_t n_rows, float *dst, int64_t dst_len,
                             bge_error *err) BGE_NOEXCEPT;

// Image features before normalisation. pixels holds n_images planes of [3][image_size][image_size], already
// normalised. Writes n_images * n_proj floats to dst, which holds dst_len.
int32_t bge_clip_encode_image(bge_context *context, const float *pixels, int64_t n_pixels, int64_t n_images, float *dst,
                              int64_t dst_len, bge_error *err) BGE_NOEXCEPT;

// Features of n_tiles tiles for the language model: [n_tiles][(image_size / patch_size)^2][n_out] floats to dst, which
// holds dst_len. pixels holds n_tiles planes of [3][image_size][image_size], already normalised.
int32_t bge_llava_encode(bge_context *context, const float *pixels, int64_t n_pixels, int64_t n_tiles, float *dst,
                         int64_t dst_len, bge_error *err) BGE_NOEXCEPT;

// Token rows for a decoder, one after another. In place of a token, an id of BGE_EMBEDDING takes the next row of
// embeddings: that is how pictures come in.
#define BGE_EMBEDDING (-1)
typedef struct bge_llama_batch {
    uint32_t struct_size; // sizeof(bge_llama_batch)
    const int32_t *ids;   // [n_ids]
    int64_t n_ids;
    const float *embeddings; // [n_embeddings][n_embd], as many as there are ids of BGE_EMBEDDING
    int64_t n_embeddings;
    const int32_t *lengths; // [n_rows] tokens of each row
    int64_t n_rows;
    const int32_t *wanted; // [n_wanted] indices into ids, ascending: whose state is to be written
    int64_t n_wanted;
} bge_llama_batch;

// The states of the wanted tokens after the final norm: n_wanted * n_embd floats to dst, which holds dst_len. Tokens
// that all rows begin with are computed once. The last layer computes the wanted tokens only.
int32_t bge_llama_encode(bge_context *context, const bge_llama_batch *batch, float *dst, int64_t dst_len,
                         bge_error *err) BGE_NOEXCEPT;

// The bytes of buffers that bge_llama_encode would need for one row of n_tokens of which one is wanted.
int32_t bge_llama_plan(bge_context *context, int64_t n_tokens, int64_t *bytes, bge_error *err) BGE_NOEXCEPT;

// Makes room for a conversation of up to n_positions tokens, forgetting an earlier one.
int32_t bge_llama_open_cache(bge_context *context, int64_t n_positions, bge_error *err) BGE_NOEXCEPT;

// Appends the one row of a batch to the conversation at position n_past, of which everything before is kept and
// everything after forgotten, and writes the wanted tokens' scores over the vocabulary: n_wanted * n_vocab floats.
int32_t bge_llama_decode(bge_context *context, const bge_llama_batch *batch, int64_t n_past, float *dst,
                         int64_t dst_len, bge_error *err) BGE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------------------------------
// This machine
// ---------------------------------------------------------------------------------------------------------------------

// The instruction set that kernels = NULL chooses here, with BGEVL_CPU heeded; NULL where BGEVL_CPU names one that this
// processor or build lacks. A static string.
const char *bge_cpu_kernels(void) BGE_NOEXCEPT;

// The instruction sets that can be chosen here, best first; NULL past the last. Static strings.
const char *bge_cpu_kernels_at(int32_t i) BGE_NOEXCEPT;

typedef enum bge_device_kind {
    BGE_DEVICE_CPU = 0,
    BGE_DEVICE_GPU = 1,
    BGE_DEVICE_INTEGRATED = 2,  // a GPU that shares this machine's memory
    BGE_DEVICE_ACCELERATOR = 3, // helps the processor, as a BLAS library does; holds no weights of its own
} bge_device_kind;

typedef struct bge_device {
    char name[64]; // "Vulkan0"
    char description[256];
    char backend[64];   // "Vulkan"
    int32_t kind;       // bge_device_kind
    int32_t reserved;   // zero
    int64_t free_bytes; // of its memory; zero where the backend cannot tell
    int64_t total_bytes;
} bge_device;

// The devices that this build can compute on and that this machine has, the processor among them. A backend is started
// by the first of these calls, which may take a second; -1 where that failed.
int32_t bge_device_count(bge_error *err) BGE_NOEXCEPT;
int32_t bge_device_get(int32_t i, bge_device *out, bge_error *err) BGE_NOEXCEPT;

typedef enum bge_probe_outcome {
    BGE_PROBE_NONE = 0,   // not tried: it holds no weights
    BGE_PROBE_RIGHT = 1,  // computes what the processor's kernels compute
    BGE_PROBE_WRONG = 2,  // computes something else
    BGE_PROBE_FAILED = 3, // could not compute, or not in time
} bge_probe_outcome;

typedef struct bge_probe {
    int32_t outcome;          // bge_probe_outcome
    int32_t reserved;         // zero
    double seconds;           // that the work takes on the device; zero unless BGE_PROBE_RIGHT
    double processor_seconds; // that it takes this project's kernels, on n_threads threads
    char why[256];            // in words, where it is WRONG or FAILED
} bge_probe;

// Tries a device of bge_device_get: layers of a vision tower and of a decoder are computed there and by the
// processor's kernels, the results compared, and both timed. Each device is tried once in a process; later calls return
// what was found then. The processor's device is tried with ggml's own operations. What goes wrong on the device is an
// outcome; an error is about the call, or the processor.
int32_t bge_device_probe(int32_t i, int32_t n_threads, bge_probe *out, bge_error *err) BGE_NOEXCEPT;

// The device that computes where none is named: of those that bge_device_probe finds to be right the fastest, or else
// the processor's, which stands for its kernels. Nothing is tried where there is no other.
int32_t bge_device_default(int32_t n_threads, int32_t *i, bge_error *err) BGE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
