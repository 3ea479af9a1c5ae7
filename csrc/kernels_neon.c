//go:build !bgevl_static

// NEON of every 64-bit Arm processor. Build: see kernels.h; for Arm from elsewhere, aarch64-linux-gnu-gcc and
// qemu-aarch64.
//
// SMLAL multiplies 8 pairs of bytes and adds each product to a sum in 16 bits: twice the work of a float multiply-add.
// A sum holds 8 products of codes below 32 (31 * 127 * 8 = 31496) or from -32 on (32 * 127 * 8 = 32512), so a whole
// block of 4 terms a lane and step; of codes of 8 bits it holds 2 (128 * 127 * 2 = 32512).
#if defined(__aarch64__)
#include "kernels_neon.h"

// 2 rows x 16 columns: 16 sums, since each of 4 columns takes two vectors of 16 bits.
enum { CODE_MR = 2 };
#define CODES_SIMD
#define PAIRED_STEPS 0
#include "kernels_neon_codes.h"

// The 4 terms from p on in every lane.
V int8x16_t four_terms(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

V int8x16_t weights_at(const char *b, int step, int v) {
    return vld1q_s8((const int8_t *)b + (step * NV + v) * 16);
}

// s[i][v][half]: sums of 4 lanes for each 2 columns.
CODES_INLINE void block_of_small(const int rows, const int terms, const char *a, int64_t a_row, const char *b,
                                 int32x4_t s[CODE_MR][NV][2]) {
    int16x8_t sum[CODE_MR][NV][2];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) sum[i][v][0] = sum[i][v][1] =
        vdupq_n_s16(0);
    UNROLL for (int k = 0; k < terms / 4; k++) {
        int8x16_t x[CODE_MR], w[NV];
        load_step(b + k * 4 * PANEL, w);
        UNROLL for (int i = 0; i < rows; i++) x[i] = four_terms(a + i * a_row + k * 4);
        UNROLL for (int v = 0; v < NV; v++) UNROLL for (int i = 0; i < rows; i++) {
            sum[i][v][0] = vmlal_s8(sum[i][v][0], vget_low_s8(w[v]), vget_low_s8(x[i]));
            sum[i][v][1] = vmlal_high_s8(sum[i][v][1], w[v], x[i]);
            keep(sum[i][v][0]);
            keep(sum[i][v][1]);
        }
        after(sum[rows - 1][NV - 1][1], b);
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) {
        s[i][v][0] = vpaddlq_s16(sum[i][v][0]);
        s[i][v][1] = vpaddlq_s16(sum[i][v][1]);
    }
}

CODES_INLINE void block_of_any(const int rows, const int terms, const char *a, int64_t a_row, const char *b,
                               int32x4_t s[CODE_MR][NV][2]) {
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) s[i][v][0] = s[i][v][1] = vdupq_n_s32(0);
    UNROLL for (int k = 0; k < terms / 4; k += 2) {
        int8x16_t x[CODE_MR], next[CODE_MR];
        UNROLL for (int i = 0; i < rows; i++) {
            x[i] = four_terms(a + i * a_row + k * 4);
            next[i] = four_terms(a + i * a_row + k * 4 + 4);
        }
        UNROLL for (int v = 0; v < NV; v++) {
            const int8x16_t w = weights_at(b, k, v), w_next = weights_at(b, k + 1, v);
            UNROLL for (int i = 0; i < rows; i++) {
                const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x[i]));
                const int16x8_t high = vmull_high_s8(w, x[i]);
                s[i][v][0] = vpadalq_s16(s[i][v][0], vmlal_s8(low, vget_low_s8(w_next), vget_low_s8(next[i])));
                s[i][v][1] = vpadalq_s16(s[i][v][1], vmlal_high_s8(high, w_next, next[i]));
                keep(s[i][v][0]);
                keep(s[i][v][1]);
            }
            after(s[rows - 1][v][1], b);
        }
    }
}

CODES_INLINE void block_sums(const int rows, const int terms, const int small, const char *a, int64_t a_row,
                             const char *b, int32x4_t s[CODE_MR][NV]) {
    int32x4_t halves[CODE_MR][NV][2];
    if (small)
        block_of_small(rows, terms, a, a_row, b, halves);
    else
        block_of_any(rows, terms, a, a_row, b, halves);
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) s[i][v] =
        vpaddq_s32(halves[i][v][0], halves[i][v][1]);
}

#define CODES(kind, block, small, min)                                                                                 \
    GEMM_CODES(kind, block, small, min, 1)                                                                             \
    GEMM_CODES(kind, block, small, min, 2)                                                                             \
    static const bge_gemms gemms_##kind = {.one = {NULL, gemm_##kind##_1, gemm_##kind##_2}};

CODES(u5, 32, 1, 1)
CODES(s6, 32, 1, 0)
CODES(s6_16, 16, 1, 0)
CODES(s8, 32, 0, 0)

static const bge_simd simd = {FLOAT_LOOPS(NULL, round_to_bf16), NEON_CODES};

const bge_kernels bge_kernels_neon = KERNELS("neon", 0, simd);

#else
typedef int bge_not_aarch64; // an empty file is not C
#endif
