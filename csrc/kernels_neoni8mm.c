//go:build !bgevl_static

// NEON with products of matrices of bytes (Armv8.6 and later: Cortex-A510 and A710, Neoverse V1 and N2, Apple M2).
// Build: see kernels.h; needs GCC 10 or Clang 16.
//
// SMMLA multiplies 2 rows of 8 bytes with 2 others and adds the four sums to those in a vector, of 32 bits, which no
// code overflows: twice the work of SDOT. So a vector of weights is 8 terms of 2 columns, which packing brings about
// (PAIRED_STEPS), and one of activations 8 terms of 2 rows, made of theirs by ZIP: 4 for 16 products of 4 rows x 16
// columns. The vectors of sums are unzipped to rows of 4 columns at the end of a block.
#include "kernels_impl.h"
#if BGE_HAVE_NEONI8MM
#include "kernels_neon.h"

#ifdef __ARM_FEATURE_MATMUL_INT8
#define CODES_SIMD // the whole program may use them
#elif defined(__clang__)
#define CODES_SIMD __attribute__((target("+i8mm")))
#else
#define CODES_SIMD __attribute__((target("arch=armv8.2-a+i8mm"))) // as GCC's arm_neon.h has it
#endif
enum { CODE_MR = 4, PAIRS = CODE_MR / 2 };
#define PAIRED_STEPS 1
#include "kernels_neon_codes.h"

V int8x16_t first_halves(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
V int8x16_t second_halves(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

// The 16 terms from p on of rows i and i + 1, as 8 of both and the next 8 of both. A last row stands for its pair too.
CODES_INLINE void pair_rows(const int rows, const int i, const char *p, int64_t a_row, int8x16_t x[2]) {
    const int8x16_t one = vld1q_s8((const int8_t *)p + i * a_row);
    const int8x16_t two = i + 1 < rows ? vld1q_s8((const int8_t *)p + (i + 1) * a_row) : one;
    x[0] = first_halves(one, two);
    x[1] = second_halves(one, two);
}

CODES_INLINE void block_sums(const int rows, const int terms, const int small, const char *a, int64_t a_row,
                             const char *b, int32x4_t s[CODE_MR][NV]) {
    (void)small;
    const int pairs = (rows + 1) / 2;
    int32x4_t sum[PAIRS][NV][2]; // of 2 rows and the first, or last, 2 of 4 columns
    UNROLL for (int i = 0; i < pairs; i++) UNROLL for (int v = 0; v < NV; v++) sum[i][v][0] = sum[i][v][1] =
        vdupq_n_s32(0);
    UNROLL for (int l = 0; l < terms; l += 16) {
        int8x16_t x[PAIRS][2];
        UNROLL for (int i = 0; i < pairs; i++) pair_rows(rows, 2 * i, a + l, a_row, x[i]);
        UNROLL for (int step = 0; step < 4; step++, b += 4 * PANEL) {
            int8x16_t w[NV];
            load_step(b, w);
            UNROLL for (int v = 0; v < NV; v++) UNROLL for (int i = 0; i < pairs; i++) {
                int32x4_t *to = &sum[i][v][step % 2];
                *to = vmmlaq_s32(*to, x[i][step / 2], w[v]);
                keep(*to);
            }
        }
        after(sum[pairs - 1][NV - 1][1], b);
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) {
        const int64x2_t low = vreinterpretq_s64_s32(sum[i / 2][v][0]);
        const int64x2_t high = vreinterpretq_s64_s32(sum[i / 2][v][1]);
        s[i][v] = vreinterpretq_s32_s64(i % 2 ? vzip2q_s64(low, high) : vzip1q_s64(low, high));
    }
}

FOUR_ROWS_OF_CODES
#define gemms_s8 gemms_s6 // one product for codes of all sizes

static const bge_simd simd = {FLOAT_LOOPS(NULL, round_to_bf16), NEON_CODES};

const bge_kernels bge_kernels_neoni8mm = KERNELS("neoni8mm", 0, simd);

#else
typedef int bge_no_neoni8mm; // an empty file is not C
#endif
