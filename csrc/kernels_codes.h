// Products of quantised weights with quantised activations, written once over the vector type of an instruction set.
// Included after kernels_simd_loops.h by files that have defined, beside what that needs:
//   vi                     a vector of VL lanes of 32 bits: 4 codes of 8 bits or 2 of 16
//   vi_load vi_set1        the latter: the 32 bits at p in every lane
//   vi_dot8 v_sum8         adds the products of 4 unsigned weights and 4 signed activations a lane to integer sums, in
//                          this order and in its register; those sums as floats. vi_first8 makes the first ones
//   vi_dot16 v_sum16       the same for 2 pairs of 16 bits, with vi_first16
//   CODE_MR                rows of a full tile
//   opaque                 a statement after which the compiler does not know how a number was computed
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

// The integers of one piece of a block, whose rows of x begin at row[]: `steps` steps of 4 or 2 terms.
#define CODES_PRODUCT(name, first_dot, dot)                                                                            \
    CODES_INLINE void name(const int rows, const int steps, const char *const row[CODE_MR], int64_t at, const char *b, \
                           vi s[CODE_MR][NV]) {                                                                        \
        UNROLL_STEPS for (int k = 0; k < steps; k++) {                                                                 \
            vi w[NV];                                                                                                  \
            UNROLL for (int v = 0; v < NV; v++) w[v] = vi_load(b + (k * NV + v) * VL * 4);                             \
            UNROLL for (int i = 0; i < rows; i++) {                                                                    \
                const vi x = vi_set1(row[i] + at + k * 4);                                                             \
                UNROLL for (int v = 0; v < NV; v++) s[i][v] = k ? dot(s[i][v], w[v], x) : first_dot(w[v], x);          \
            }                                                                                                          \
        }                                                                                                              \
    }

CODES_PRODUCT(product8, vi_first8, vi_dot8)
CODES_PRODUCT(product16, vi_first16, vi_dot16)

// c += scales * s, and with `min` the minimum of a block. scale and sum: bytes from row[] to those of x.
CODES_INLINE void add_scaled(const int rows, const int size, const int min, const char *const row[CODE_MR],
                             int64_t scale, int64_t sum, const float *d, const float *m, vi s[CODE_MR][NV], float *c) {
    UNROLL for (int i = 0; i < rows; i++) {
        const vf x = v_set1(*(const float *)(const void *)(row[i] + scale));
        UNROLL for (int v = 0; v < NV; v++) {
            float *to = c + (i * NV + v) * VL;
            const vf q = size == 2 ? v_sum16(s[i][v]) : v_sum8(s[i][v]);
            vf y = v_fma(q, v_mul(x, v_load(d + v * VL)), v_load(to));
            if (min)
                y = v_fma(v_set1(*(const float *)(const void *)(row[i] + sum)), v_load(m + v * VL), y);
            v_store(to, y);
        }
    }
}

// c (+)= the terms of a tile, in blocks of `block` that have a scale each, of which `fit` terms go into one integer.
// Each row has a pointer of its own, and opaque keeps the compiler from other ways to reach them, for which there are
// too few registers.
CODES_INLINE void gemm_codes(const bge_tile *t, const int rows, const int block, const int fit, const int size) {
    const char *row[CODE_MR], *b = t->b;
    const float *d = t->b_scale, *m = t->b_min;
    float *c = t->c;
    UNROLL for (int i = 0; i < rows; i++) row[i] = (const char *)t->a + i * t->a_row;
    if (!t->add)
        UNROLL for (int i = 0; i < rows * NV; i++) v_store(c + i * VL, v_zero());
    int64_t scale = (const char *)t->a_scale - (const char *)t->a, sum = (const char *)t->a_sum - (const char *)t->a;
    const int64_t blocks = t->n / block;
    for (int64_t k = 0; k < blocks; k++, b += block * size * PANEL, d += PANEL, m += PANEL) {
        UNROLL for (int i = 0; i < rows; i++) opaque(row[i]);
        opaque(c);
        UNROLL for (int at = 0; at < block; at += fit) {
            vi s[CODE_MR][NV];
            if (size == 2)
                product16(rows, fit / 2, row, at * 2, b + at * 2 * PANEL, s);
            else
                product8(rows, fit / 4, row, at, b + at * PANEL, s);
            add_scaled(rows, size, size == 1 && at + fit == block, row, scale, sum, d, m, s, c);
        }
        UNROLL for (int i = 0; i < rows; i++) row[i] += block * size;
        sum += 4 - block * size;
        scale += (block == 32 || k % 2 ? 4 : 0) - block * size;
    }
}

#define GEMM_CODES(kind, block, fit, size, rows)                                                                       \
    static CODES_SIMD void gemm_##kind##_##rows(const bge_tile *t) {                                                   \
        gemm_codes(t, rows, block, fit, size);                                                                         \
    }

#endif
