// CPU kernels: linear layers, norms, attention, image patches and rows in float32 activations.
//
// One table (bge_kernels) per instruction set; the best one that the machine can run is chosen at run time by
// bge_kernels_select. The files behind it:
//
//   cpu.{h,c}            what the processor offers
//   kernels.c            the list of tables, and the choice
//   kernels_ref.c        the plain reference: what every other file is tested against
//   kernels_linear.c     cache blocking, packing and work sharing of the fast linear layer
//   kernels_attention.c  tiles and work sharing of the fast attention
//   kernels_patches.c    pixels to rows of patches
//   kernels_rows.c       rows picked, added and multiplied
//   kernels_simd_loops.h     the inner loops, written once over the vector type of each of:
//   kernels_portable.c, kernels_avx2.c, kernels_avxvnni.c, kernels_avx512.c (with kernels_avx512bw.c), kernels_neon.c,
//   kernels_neondot.c, kernels_neoni8mm.c
//   kernels_codes.h          products of integers, written once likewise, over the panels of kernels_panels.h, which
//                            are made of the blocks of kernels_unpack.h, and activations of kernels_encode.h
//   kernels_vnni.h           the same for VNNI, on x86-64
//   kernels_neon_codes.h     the same for NEON
//
// cgo builds them with `go build`; by hand: cc -std=c11 -O3 -c kernels*.c cpu.c. No file needs a machine flag: the
// instruction set is a function attribute. Nothing here knows ggml, except that weight types have its numbers.
//
// Threads: a kernel is called by `nth` threads at the same time with the same arguments and ith = 0..nth-1, each with
// a scratch buffer of its own, as a ggml custom operation is. No call waits for another one, so the calls may also
// follow each other. Tables are immutable and shared. Results are bit-identical for every nth, and a row's result is
// bit-identical whatever rows are computed beside it.
//
// Ownership: the caller owns every buffer. Kernels allocate nothing, keep nothing and cannot fail: the caller has
// checked shapes. Buffers of float need the alignment of float only.
#ifndef BGE_KERNELS_H
#define BGE_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Types of weights, numbered as ggml_type.
enum {
    BGE_TYPE_F32 = 0,
    BGE_TYPE_F16 = 1,
    BGE_TYPE_Q4_0 = 2,
    BGE_TYPE_Q4_1 = 3,
    BGE_TYPE_Q5_0 = 6,
    BGE_TYPE_Q5_1 = 7,
    BGE_TYPE_Q8_0 = 8,
    BGE_TYPE_Q4_K = 12,
    BGE_TYPE_Q5_K = 13,
    BGE_TYPE_Q6_K = 14,
    BGE_TYPE_BF16 = 30,
};

// Activations applied by a linear layer.
enum {
    BGE_ACT_NONE = 0,
    BGE_ACT_QUICK_GELU = 1, // x * sigmoid(1.702 x)
    BGE_ACT_GELU = 2,       // x * (1 + erf(x / sqrt 2)) / 2
    BGE_ACT_SILU = 3,       // x * sigmoid(x)
};

typedef struct bge_kernels bge_kernels;

// bge_work shares tiles between threads. Zero it once when the arguments are made: each run leaves it zeroed again.
typedef struct bge_work {
    int64_t next; // first tile that no thread has taken
    int64_t done; // threads that found no more tiles
} bge_work;

// How products read activations: as they stand; or encoded, slice by slice, a slice's rows one after another, so that a
// product finds what it needs next to each other: as floats; rounded to bf16; or as integers in blocks of 32 with a
// scale each, so that products with quantised weights are of integers (BGE_X_INT8_VNNI: whose scales are a power of two
// from each other).
enum { BGE_X_PLAIN = 0, BGE_X_FLOAT, BGE_X_BF16, BGE_X_INT8, BGE_X_INT16, BGE_X_INT8_VNNI, BGE_X_KINDS };

// bge_to_float expands n values of a row of quantised weights, as ggml's to_float.
typedef void (*bge_to_float)(const void *row, float *dst, int64_t n);

// One weight matrix of a linear layer, with where its result goes: y = act(x . W^T + bias) + residual.
typedef struct bge_linear_part {
    const void *w;           // packed by bge_linear_pack, or rows of n_in values as they stand in a file
    int32_t type;            // ggml_type of what w holds
    int32_t packed;          // 1: w was packed by the same table
    int64_t row_bytes;       // bytes from one row of w to the next; where packed is 0; no gaps where to_float is used
    bge_to_float to_float;   // where packed is 0 and type is none of f32, f16, bf16
    int64_t n_out;           // rows of W, columns of y
    const float *bias;       // [n_out] or NULL
    const float *residual;   // [m][n_out] or NULL; may be y itself
    int64_t residual_stride; // floats from one row to the next
    float *y;                // [m][n_out]
    int64_t y_stride;        // floats from one row to the next
    int32_t act;             // BGE_ACT_*
    int32_t reserved;        // 0
} bge_linear_part;

enum { BGE_LINEAR_PARTS = 3 };

// A linear layer of up to three weight matrices over the same x (as q, k and v are).
typedef struct bge_linear_args {
    const float *x;     // [m][n_in]; must not overlap any y
    int64_t x_stride;   // floats from one row to the next
    int64_t m;          // rows
    int64_t n_in;       // columns of x and of W
    int32_t n_parts;    // 1 to BGE_LINEAR_PARTS
    int32_t allow_bf16; // 1: x may be rounded to bf16 where w is packed as bf16 and the processor multiplies bf16
    const void *encoded[BGE_X_KINDS]; // x by bge_encode, for the parts whose bge_linear_reads is that
    bge_linear_part part[BGE_LINEAR_PARTS];
    bge_work work;
} bge_linear_args;

// Activations to what products read, bge_encoded_bytes(as, n) bytes for each row in all.
typedef struct bge_encode_args {
    const float *x; // [m][n]
    int64_t x_stride;
    int64_t m, n; // n is a multiple of 32 where `as` is of integers
    int32_t as;   // BGE_X_*, but for BGE_X_PLAIN
    void *to;     // aligned to 4 bytes
} bge_encode_args;

// layer norm: y = (x - mean) / sqrt(var + eps) * weight + bias; RMS norm: y = x / sqrt(mean(x^2) + eps) * weight.
typedef struct bge_norm_args {
    const float *x; // [m][n]; may be y itself
    int64_t x_stride;
    const float *weight; // [n]
    const float *bias;   // [n]; NULL for RMS norm, and where a layer norm has none
    float *y;            // [m][n]
    int64_t y_stride;
    int64_t m, n;
    float eps;
} bge_norm_args;

// Attention of concatenated sequences: sequence s has the queries q_start[s] .. q_start[s+1]-1 and the keys and values
// kv_start[s] .. kv_start[s+1]-1, at least one key each. Row r of head h of q is at q + r*q_stride + h*d_head; the
// others alike. Key head h / (n_head / n_kv_head) serves query head h.
typedef struct bge_attention_args {
    const float *q, *k, *v;
    float *out;                                       // overlaps none of the inputs
    int64_t q_stride, k_stride, v_stride, out_stride; // floats from one row to the next
    const int32_t *q_start, *kv_start;                // n_seq + 1 offsets each
    const int32_t *q_pos; // causal only: position of each query row among its sequence's keys, by row of q; NULL: the
                          // queries are the last positions
    int32_t n_seq;
    int32_t n_head, n_kv_head; // n_kv_head divides n_head
    int32_t d_head;
    int32_t causal; // 1: a query sees keys up to its own position
    float scale;
    bge_work work;
} bge_attention_args;

// Patches of square planar images: pixels[n_images][3][size][size] to rows[n_images][lead +
// (size/patch)^2][3*patch*patch], each row in the order of a convolution's kernel (channel, y, x). The `lead` rows in
// front of each image's patches, room for a class token, are zeroed.
typedef struct bge_patches_args {
    const float *pixels;
    float *rows;
    int64_t row_stride; // floats from one row to the next
    int64_t n_images, size, patch, lead;
} bge_patches_args;

// y = x, x + with or x * with, row by row.
enum { BGE_ROWS_COPY = 0, BGE_ROWS_ADD, BGE_ROWS_MULTIPLY };
typedef struct bge_rows_args {
    const float *x;
    int64_t x_stride;               // floats from one row to the next
    const int32_t *rows;            // [m] which row of x is row i; NULL: row i itself
    const float *with;              // NULL for a copy
    int64_t with_stride, with_rows; // row i goes with row i % with_rows
    float *y;                       // [m][n]; overlaps none of the others
    int64_t y_stride;
    int64_t m, n;
    int32_t op; // BGE_ROWS_*
} bge_rows_args;

// One instruction set. Call through the functions below.
struct bge_kernels {
    const char *name; // as BGEVL_CPU has it: "ref", "avx2", "neondot", ...
    int32_t bf16;     // 1: multiplies bf16 pairs where bge_linear_args.allow_bf16 asks for it
    int32_t panel;    // rows of W in one packed panel; 0: packed is the same as row by row
    const void *simd; // inner loops of a fast table; NULL for the reference
    void (*linear)(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth);
    int64_t (*linear_scratch)(const bge_kernels *k, const bge_linear_args *a);
    void (*encode)(const bge_kernels *k, const bge_encode_args *a, int32_t ith, int32_t nth);
    void (*layer_norm)(const bge_norm_args *a, int32_t ith, int32_t nth);
    void (*rms_norm)(const bge_norm_args *a, int32_t ith, int32_t nth);
    void (*attention)(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth);
    int64_t (*attention_scratch)(const bge_kernels *k, const bge_attention_args *a);
};

// What bge_kernels_select found.
typedef enum bge_kernels_status {
    BGE_KERNELS_OK = 0,
    BGE_KERNELS_UNKNOWN = 1,     // no instruction set of that name
    BGE_KERNELS_UNSUPPORTED = 2, // a known one, but this machine or this build cannot run it
} bge_kernels_status;

// bge_kernels_select returns the table named, or NULL and why not in *status (which may be NULL). A name of NULL or ""
// stands for the environment variable BGEVL_CPU and, where that is unset or empty, for the fastest table.
const bge_kernels *bge_kernels_select(const char *name, bge_kernels_status *status);

// bge_kernels_at returns the i-th table that this machine can run, fastest first, or NULL past the last one.
const bge_kernels *bge_kernels_at(int32_t i);

// bge_linear_pack_size returns the bytes of a packed weight matrix, or -1 where that type cannot be packed.
// `as` is the type stored: `type` itself, or BGE_TYPE_BF16 for f16 weights that are to be multiplied as bf16. Quantised
// types can be packed where they are multiplied as integers, and take what they take in a
// file, or up to 3% more.
int64_t bge_linear_pack_size(const bge_kernels *k, int32_t as, int64_t n_in, int64_t n_out);

// bge_linear_pack packs row-major weights of `type` into dst, which must not overlap src. Threads share the work.
// Every type to itself is exact; f16 to bf16 rounds to nearest even. Rows of quantised types have no gaps.
void bge_linear_pack(const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t n_out, const void *src,
                     void *dst, int32_t ith, int32_t nth);

// bge_linear_scratch returns the bytes of scratch that each thread of bge_linear needs. It reads the shapes and types
// in a, no data, and never shrinks as m grows.
int64_t bge_linear_scratch(const bge_kernels *k, const bge_linear_args *a);
void bge_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth);

// bge_linear_reads returns how the product with part i reads x, from shapes and types alone: BGE_X_*.
int32_t bge_linear_reads(const bge_kernels *k, const bge_linear_args *a, int32_t i);

// bge_encode lays out rows of n activations for products. They are cut into slices of bge_encoded_slice(k, n) terms,
// the last one shorter; the part of row i in the slice from term l on, of c terms, takes bge_encoded_bytes(as, c) bytes
// from
//
//     m * bge_encoded_bytes(as, l) + i * bge_encoded_bytes(as, c)
//
// on: the values; for integers a float of scale for each 32 of them; and for BGE_X_INT8 the sums of each 32 and then of
// each 16, times the scale, which weights with a minimum are multiplied with. BGE_X_INT8_VNNI has what bge_vnni_floats
// says in their place. Rounding to 8 bits has a relative error of at most 1/254 of a block's largest, and with
// BGE_X_INT8_VNNI of twice that, but for blocks a millionth of their slice. A block that holds NaN or infinity gets a
// scale of NaN, and so does every product with it.
int64_t bge_encoded_slice(const bge_kernels *k, int64_t n);
int64_t bge_encoded_bytes(int32_t as, int64_t n);
void bge_encode(const bge_kernels *k, const bge_encode_args *a, int32_t ith, int32_t nth);

void bge_layer_norm(const bge_kernels *k, const bge_norm_args *a, int32_t ith, int32_t nth);
void bge_rms_norm(const bge_kernels *k, const bge_norm_args *a, int32_t ith, int32_t nth);

// bge_attention_scratch returns the bytes of scratch that each thread of bge_attention needs; only d_head counts.
int64_t bge_attention_scratch(const bge_kernels *k, const bge_attention_args *a);
void bge_attention(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth);

void bge_patches(const bge_patches_args *a, int32_t ith, int32_t nth);
void bge_rows(const bge_rows_args *a, int32_t ith, int32_t nth);

#ifdef __cplusplus
}
#endif
#endif
