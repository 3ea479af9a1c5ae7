// The inner loops that each fast instruction set brings, as the drivers in kernels_linear.c and kernels_attention.c
// call them. Included by kernels_*.c only.
#ifndef BGE_KERNELS_SIMD_H
#define BGE_KERNELS_SIMD_H

#include "kernels_impl.h"

// How the b operand of a product is stored.
enum {
    BGE_B_F32,  // float[k][panel]
    BGE_B_F16,  // f16[k][panel], widened on the fly
    BGE_B_BF16, // bf16[k/2][panel][2], widened on the fly
    BGE_B_DOT,  // bf16[k/2][panel][2] times a in bf16: pairs are multiplied and added in one go
    // Codes of quantised weights, unsigned bytes [k/4][panel][4], times BGE_X_INT8:
    BGE_B_U4, // below 16, a scale for each 32
    BGE_B_U5, // below 32, a scale for each 32
    // The same as signed bytes, of types without minima:
    BGE_B_S6,    // -32 to 31, a scale for each 32
    BGE_B_S6_16, // -32 to 31, a scale for each 16
    BGE_B_S8,    // any, a scale for each 32
    // Codes as signed 16 bits [k/2][panel][2], times BGE_X_INT16:
    BGE_B_S16,    // a scale for each 32
    BGE_B_S16_16, // a scale for each 16
    // Codes as bytes that hold 128 more [k/4][panel][4], times BGE_X_INT8_VNNI:
    BGE_B_U8,     // a scale for each 32
    BGE_B_U8_MIN, // a scale and a minimum for each 32
    BGE_B_U8_16,  // a scale for each 16
    BGE_B_KINDS,
};

// One small product: c[rows][panel] (+)= a[rows][n] . b[n][panel], for one panel or a few panels side by side. Each
// element of c is one chain of fused additions in the order of n, whatever the tile: that is why results do not depend
// on how rows and sums are cut.
typedef struct bge_tile {
    int64_t n;            // length of the sums
    const void *a;        // float; bf16 for BGE_B_DOT
    int64_t a_row, a_col; // elements of a from one row, and from one term of the sum, to the next
    const void *b;
    int64_t b_step;  // floats of b from one term to the next; only for BGE_B_F32, else the panel's width
    int64_t b_panel; // bytes of b from one panel to the next
    float *c;
    int64_t c_row, c_panel; // floats of c from one row, and from one panel, to the next
    int32_t add;            // 0: c starts from zero; 1: from what c holds
    // Codes only, where a_row counts bytes and c is [rows][panel]: scales and sums of a's blocks, a_row bytes from one
    // row to the next, and of b's.
    const float *a_scale, *a_sum;
    const float *b_scale, *b_min; // [blocks][panel]
} bge_tile;

typedef void (*bge_gemm)(const bge_tile *t);

enum { BGE_MAX_ROWS = 16, BGE_MAX_PANEL = 64 };
enum { BGE_SLICE = 512 }; // most terms of a slice of sums

// Products of one kind of b, by number of rows (index 1 to mr). Of codes, some numbers between 1 and the most may be
// missing.
typedef struct bge_gemms {
    bge_gemm one[BGE_MAX_ROWS + 1]; // over one panel
    bge_gemm
        wide[BGE_MAX_ROWS + 1]; // over wide_panels[rows] panels, where few rows would leave registers idle; or NULL
    int8_t wide_panels[BGE_MAX_ROWS + 1];
} bge_gemms;

// What is done to a finished tile of a linear layer on its way to y.
typedef struct bge_finish {
    int64_t rows, cols; // cols <= panel
    const float *c;     // [rows][panel]
    const float *bias;  // [cols] or NULL
    const float *residual;
    int64_t residual_stride;
    float *y;
    int64_t y_stride;
    int32_t act;
} bge_finish;

// One tile of transposed scores, [keys][panel] with a query per lane, in units of log2.
typedef struct bge_softmax {
    int64_t keys;
    float *s;             // in: scores; out: 2^(score - max), 0 where masked
    const int32_t *limit; // [panel] lane i sees the first limit[i] keys of this tile; NULL: all
    float *max, *sum;     // [panel] running maximum and sum
    float *rescale;       // [panel] out: what earlier results are multiplied by
} bge_softmax;

// How the products with a type of quantised weights are done.
typedef struct bge_code_type {
    int8_t b;     // BGE_B_*; BGE_B_F32: as floats
    int8_t block; // values with one scale
} bge_code_type;

enum { BGE_CODE_TYPES = 16 }; // all with codes are below

// The products of x86-64 without VNNI: codes of up to 5 bits with 8 bits of activation. Those of 6 and 8 bits would
// overflow after a step or two, and lose what they are chosen for: 16 bits of activation take no longer.
// clang-format off
#define BGE_CODES_WITHOUT_VNNI                                                                                         \
    {[BGE_TYPE_Q4_0] = {BGE_B_U4, 32}, [BGE_TYPE_Q4_1] = {BGE_B_U4, 32}, [BGE_TYPE_Q5_0] = {BGE_B_U5, 32},             \
     [BGE_TYPE_Q5_1] = {BGE_B_U5, 32}, [BGE_TYPE_Q4_K] = {BGE_B_U4, 32}, [BGE_TYPE_Q5_K] = {BGE_B_U5, 32},             \
     [BGE_TYPE_Q8_0] = {BGE_B_S16, 32}, [BGE_TYPE_Q6_K] = {BGE_B_S16_16, 16}}
// clang-format on

// A block of a type of quantised weights, as in a file and in a packed panel.
typedef struct bge_block {
    int16_t values, bytes;
    int16_t packed; // bytes of a packed block, for each row of the panel
} bge_block;

// Zeros for a type that has no codes.
bge_block bge_block_of(int32_t type);

// The bytes of one packed panel of a matrix.
int64_t bge_panel_bytes(const bge_kernels *k, int32_t as, int64_t n_in);

typedef struct bge_simd {
    int32_t mr;             // rows of a full tile
    int32_t code_mr;        // the same of codes
    int32_t panel;          // columns of a panel
    int32_t widen_tiles[2]; // up to as many tiles of rows f16, and bf16, are widened in registers, anew for each,
                            // rather than once in memory
    const bge_gemms *gemm[BGE_B_KINDS];                              // NULL: not offered
    void (*widen)(const uint16_t *src, int64_t n, float *dst);       // n values of f16; n is a multiple of panel
    void (*widen_pairs)(const uint16_t *src, int64_t n, float *dst); // n rows of a bf16 panel; n is even
    void (*to_bf16)(const float *src, int64_t n, uint16_t *dst);
    void (*finish)(const bge_finish *f);
    int (*softmax)(const bge_softmax *s);    // returns 0 where every rescale is 1
    bge_code_type code_type[BGE_CODE_TYPES]; // by ggml_type
    // Panels of codes: kernels_panels.h.
    void (*pack_panel)(int32_t type, const char *src, int64_t row_bytes, int64_t rows, int64_t n, char *to);
    void (*expand_panel)(int32_t type, const char *from, int64_t n, void *w, float *d, float *m);
    void (*encode_row[BGE_X_KINDS])(const float *x, int64_t n, void *codes); // to integers
} bge_simd;

// How a kind of b has its activations.
static inline int32_t bge_x_of(int32_t b) {
    return b >= BGE_B_U8    ? BGE_X_INT8_VNNI
           : b >= BGE_B_S16 ? BGE_X_INT16
           : b >= BGE_B_U4  ? BGE_X_INT8
           : b == BGE_B_DOT ? BGE_X_BF16
                            : BGE_X_FLOAT;
}

// The floats of n terms of a row of codes, behind the codes themselves; bge_encode says what they are.
typedef struct bge_code_floats {
    float *scale, *sum32, *sum16; // [n / 32], [n / 32], [n / 16]; BGE_X_INT16 has scales alone
} bge_code_floats;

static inline bge_code_floats bge_floats_of_codes(const void *row, int32_t as, int64_t n) {
    float *scale = (float *)((uintptr_t)row + (uintptr_t)n * (as == BGE_X_INT16 ? 2 : 1));
    return (bge_code_floats){scale, scale + n / 32, scale + n / 32 * 2};
}

// The same of BGE_X_INT8_VNNI, from where a bge_code_floats has its scale: of each block the float of an integer zero
// (kernels_vnni.h), the sum of what its codes stand for, and what sums of products start from; and the slice's scale.
typedef struct bge_vnni_floats {
    float *zero, *sum;          // [n / 32] each
    int32_t *start32, *start16; // [n / 32], [n / 16]
    float *slice;               // [n / 32], of which the first is meant: rows are as long as their blocks
} bge_vnni_floats;

static inline bge_vnni_floats bge_floats_of_vnni(float *zero, int64_t n) {
    const int64_t blocks = n / 32;
    int32_t *start = (int32_t *)(void *)(zero + 2 * blocks);
    return (bge_vnni_floats){zero, zero + blocks, start, start + blocks, zero + 5 * blocks};
}

// The drivers, for the tables of the fast instruction sets.
void bge_simd_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth);
int64_t bge_simd_linear_scratch(const bge_kernels *k, const bge_linear_args *a);
void bge_simd_encode(const bge_kernels *k, const bge_encode_args *a, int32_t ith, int32_t nth);
void bge_simd_attention(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth);
int64_t bge_simd_attention_scratch(const bge_kernels *k, const bge_attention_args *a);

#endif
