// Weights to and from ggml's types, through ggml's own functions.
//
// Ownership: the caller owns both buffers, and nothing here keeps a pointer to them. Threads: every function may be
// called from many threads at once. Errors: as bge.h states; ggml's assertions are never reached, since what they
// would catch is checked here first.
#ifndef BGE_QUANTIZE_H
#define BGE_QUANTIZE_H

#include "bge.h"

#ifdef __cplusplus
extern "C" {
#endif

// Elements and bytes of one block of a ggml type. Fails with BGE_ERR_ARGUMENT for a number that is no type.
int32_t bge_type_block(int32_t type, int64_t *elements, int64_t *bytes, bge_error *err) BGE_NOEXCEPT;

// BGE_OK if bge_quantize can write a type; otherwise BGE_ERR_UNSUPPORTED, and the message says why.
int32_t bge_type_quantizable(int32_t type, bge_error *err) BGE_NOEXCEPT;

// The largest magnitude that a weight may have in a type: past it, the value or its block's scale would be infinite.
float bge_type_limit(int32_t type) BGE_NOEXCEPT;

// Quantises n_src floats, in rows of n_per_row, to dst_size bytes. Refuses NaN, infinities and magnitudes past
// bge_type_limit, naming the element; types that need an importance matrix; and rows that are not whole blocks.
int32_t bge_quantize(int32_t type, const float *src, int64_t n_src, int64_t n_per_row, void *dst, int64_t dst_size,
                     bge_error *err) BGE_NOEXCEPT;

// Turns src_size bytes of a type into n_dst floats.
int32_t bge_dequantize(int32_t type, const void *src, int64_t src_size, float *dst, int64_t n_dst,
                       bge_error *err) BGE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
