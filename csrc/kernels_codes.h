// Products of quantised weights with quantised activations, written once over the vector type of an instruction set.
// Included after kernels_simd_loops.h by files that have defined, beside what that needs:
//   vi                     a vector of VL lanes of 32 bits: 4 codes of 8 bits or 2 of 16
//   vi_zero vi_load        vi_set1 (the 32 bits at p in every lane)
//   vi_dot8 v_sum8         adds the products of 4 unsigned weights and 4 signed activations a lane to integer sums;
//                          those sums as floats
//   vi_dot16 v_sum16       the same for 2 pairs of 16 bits
//   vi_keep                a statement that has a vector in its register
//   UNROLL_STEPS           how far the loop over a block's steps is unrolled: #pragma GCC unroll
//   CODES_SIMD             the function attribute of what calls vi_dot8 and vi_dot16
//   WIDE_CODES             1: weights of 6 and 8 bits are read as 16 bits, by vi_dot16
//
// y[row][col] = sum over blocks of  x_scale[row] * d[col] * (q . x) + m[col] * x_sum[row]
//
// where the product in brackets is of integers and exact. A block is what has a scale: 16 or 32 terms.
#ifndef BGE_KERNELS_CODES_H
#define BGE_KERNELS_CODES_H

#define SIGNED_CODES 0
#define PAIRED_STEPS 0
#include "kernels_encode.h"
#include "kernels_panels.h"

#define CODES_INLINE static inline __attribute__((always_inline)) CODES_SIMD

#ifdef BGE_SIMDE
#undef UNROLL_STEPS
#define UNROLL_STEPS
#define UNROLL // an emulated instruction is a function call: there is nothing to win, and minutes of compiling to lose
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- products ----

// Adds one block to a tile's sums: `steps` steps of 4 or 2 terms in integers, then c += scales * sum, and with `min`
// the block's minimum. vi_keep holds the compiler to this order of additions: any other needs more registers than there
// are.
#define CODES_PRODUCT(name, dot, sum_of)                                                                               \
    CODES_INLINE void name(const int rows, const int steps, const int min, const char *a, const char *b,               \
                           const float *scale, const float *sum, int64_t a_row, const float *d, const float *m,        \
                           float *c) {                                                                                 \
        vi s[MR][NV];                                                                                                  \
        UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) s[i][v] = vi_zero();                 \
        UNROLL_STEPS for (int k = 0; k < steps; k++) {                                                                 \
            vi w[NV];                                                                                                  \
            UNROLL for (int v = 0; v < NV; v++) w[v] = vi_load(b + (k * NV + v) * VL * 4);                             \
            UNROLL for (int i = 0; i < rows; i++) {                                                                    \
                const vi x = vi_set1(a + i * a_row + k * 4);                                                           \
                UNROLL for (int v = 0; v < NV; v++) {                                                                  \
                    s[i][v] = dot(s[i][v], w[v], x);                                                                   \
                    vi_keep(s[i][v]);                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int i = 0; i < rows; i++) {                                                                        \
            const vf x = v_set1(*(const float *)((const char *)scale + i * a_row));                                    \
            UNROLL for (int v = 0; v < NV; v++) {                                                                      \
                float *to = c + (i * NV + v) * VL;                                                                     \
                vf y = v_fma(sum_of(s[i][v]), v_mul(x, v_load(d + v * VL)), v_load(to));                               \
                if (min)                                                                                               \
                    y = v_fma(v_set1(*(const float *)((const char *)sum + i * a_row)), v_load(m + v * VL), y);         \
                v_store(to, y);                                                                                        \
            }                                                                                                          \
        }                                                                                                              \
    }

CODES_PRODUCT(product8, vi_dot8, v_sum8)
CODES_PRODUCT(product16, vi_dot16, v_sum16)

// c (+)= the terms of a tile, in blocks of `block` that have a scale each, of which `fit` terms go into one integer.
CODES_INLINE void gemm_codes(const bge_tile *t, const int rows, const int block, const int fit, const int size) {
    const char *a = t->a, *b = t->b;
    const float *d = t->b_scale, *m = t->b_min;
    float *c = t->c;
    const int64_t a_row = t->a_row, blocks = t->n / block;
    if (!t->add)
        UNROLL for (int i = 0; i < rows * NV; i++) v_store(c + i * VL, v_zero());
    for (int64_t i = 0; i < blocks; i++, d += PANEL, m += PANEL) {
        const float *scale = t->a_scale + i * block / 32, *sum = t->a_sum + i;
        for (int k = 0; k < block; k += fit, a += fit * size, b += fit * size * PANEL) {
            if (size == 2)
                product16(rows, fit / 2, 0, a, b, scale, sum, a_row, d, m, c);
            else
                product8(rows, fit / 4, k + fit == block, a, b, scale, sum, a_row, d, m, c);
        }
    }
}

#define GEMM_CODES(kind, block, fit, size, rows)                                                                       \
    static CODES_SIMD void gemm_##kind##_##rows(const bge_tile *t) {                                                   \
        gemm_codes(t, rows, block, fit, size);                                                                         \
    }

#endif
