// Products of quantised weights with quantised activations on NEON, over the panels of kernels_panels.h, written once
// over how an instruction set adds products up. Included after kernels_neon.h by files that have defined:
//   CODES_SIMD     the function attribute of what calls block_sums
//   CODE_MR        rows of a full tile
//   PAIRED_STEPS   kernels_panels.h
//   block_sums     s[row][v] = the sums of a block's `terms` products, of a's rows with b's columns 4 v to 4 v + 3
//                  (small: codes of weights are -32 to 31)
//
// y[row][col] = sum over blocks of  x_scale[row] * d[col] * (q . x) + m[col] * x_sum[row]
//
// where the product in brackets is of integers and exact, and m is there for types with minima alone: weights of the
// others are signed here, as NEON multiplies signed bytes with signed ones. So the tables differ in no bit of a result.
#ifndef BGE_KERNELS_NEON_CODES_H
#define BGE_KERNELS_NEON_CODES_H

#define WIDE_CODES 0
#define SIGNED_CODES 1
#include "kernels_encode.h"
#include "kernels_panels.h"

#define CODES_INLINE static inline __attribute__((always_inline)) CODES_SIMD
#define UNROLL _Pragma("GCC unroll 16")

// Statements that hold the compiler to the order of loads and additions as written: any other needs more registers than
// there are.
#define keep(v) __asm__ volatile("" : "+w"(v))              // a vector is in its register
#define after(v, p) __asm__ volatile("" : "+w"(v), "+r"(p)) // p is read after v was computed

// A step's weights, all of them before the first product.
CODES_INLINE void load_step(const char *b, int8x16_t w[NV]) {
    UNROLL for (int v = 0; v < NV; v++) w[v] = vld1q_s8((const int8_t *)b + v * 16);
    UNROLL for (int v = 0; v < NV; v++) keep(w[v]);
}

CODES_INLINE void block_sums(const int rows, const int terms, const int small, const char *a, int64_t a_row,
                             const char *b, int32x4_t s[CODE_MR][NV]);

// c (+)= the terms of a tile, in blocks of `block` that have a scale each, and with `min` a minimum.
CODES_INLINE void gemm_codes(const bge_tile *t, const int rows, const int block, const int small, const int min) {
    const char *a = t->a, *b = t->b;
    const float *d = t->b_scale, *m = t->b_min;
    float *c = t->c;
    const int64_t a_row = t->a_row, blocks = t->n / block;
    if (!t->add)
        UNROLL for (int i = 0; i < rows * NV; i++) v_store(c + i * VL, v_zero());
    for (int64_t k = 0; k < blocks; k++, a += block, b += block * PANEL, d += PANEL, m += PANEL) {
        const char *scale = (const char *)(t->a_scale + k * block / 32), *sum = (const char *)(t->a_sum + k);
        int32x4_t s[CODE_MR][NV];
        block_sums(rows, block, small, a, a_row, b, s);
        after(s[rows - 1][NV - 1], c);
        after(s[rows - 1][NV - 1], d);
        UNROLL for (int i = 0; i < rows; i++) {
            const float x = *(const float *)(const void *)(scale + i * a_row);
            UNROLL for (int v = 0; v < NV; v++) {
                float *to = c + (i * NV + v) * VL;
                vf y = v_fma(vcvtq_f32_s32(s[i][v]), vmulq_n_f32(v_load(d + v * VL), x), v_load(to));
                if (min)
                    y = vfmaq_n_f32(y, v_load(m + v * VL), *(const float *)(const void *)(sum + i * a_row));
                v_store(to, y);
            }
        }
    }
}

#define GEMM_CODES(kind, block, small, min, rows)                                                                      \
    static CODES_SIMD void gemm_##kind##_##rows(const bge_tile *t) {                                                   \
        gemm_codes(t, rows, block, small, min);                                                                        \
    }

// The products of tables with tiles of up to 4 rows, whose instructions take codes of all sizes alike.
#define FOUR_ROWS(kind, block, min)                                                                                    \
    GEMM_CODES(kind, block, 0, min, 1)                                                                                 \
    GEMM_CODES(kind, block, 0, min, 2)                                                                                 \
    GEMM_CODES(kind, block, 0, min, 3)                                                                                 \
    GEMM_CODES(kind, block, 0, min, 4)                                                                                 \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4},                             \
    };
#define FOUR_ROWS_OF_CODES FOUR_ROWS(u5, 32, 1) FOUR_ROWS(s6, 32, 0) FOUR_ROWS(s6_16, 16, 0)

// What a bge_simd takes from gemms_u5, gemms_s6, gemms_s6_16 and gemms_s8.
#define NEON_CODES                                                                                                     \
    .code_mr = CODE_MR, .gemm[BGE_B_U5] = &gemms_u5, .gemm[BGE_B_S6] = &gemms_s6, .gemm[BGE_B_S6_16] = &gemms_s6_16,   \
    .gemm[BGE_B_S8] = &gemms_s8,                                                                                       \
    .code_type =                                                                                                       \
        {[BGE_TYPE_Q4_0] = {BGE_B_S6, 32}, [BGE_TYPE_Q4_1] = {BGE_B_U5, 32},   [BGE_TYPE_Q5_0] = {BGE_B_S6, 32},       \
         [BGE_TYPE_Q5_1] = {BGE_B_U5, 32}, [BGE_TYPE_Q8_0] = {BGE_B_S8, 32},   [BGE_TYPE_Q4_K] = {BGE_B_U5, 32},       \
         [BGE_TYPE_Q5_K] = {BGE_B_U5, 32}, [BGE_TYPE_Q6_K] = {BGE_B_S6_16, 16}},                                       \
    .pack_panel = pack_panel, .expand_panel = expand_panel, .encode_row = ENCODE_ROW

#endif
