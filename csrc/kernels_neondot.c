//go:build !bgevl_static

// NEON with dot products (Armv8.2 and later: Cortex-A55, A75 and A76, Neoverse N1, every Apple M). Build: see
// kernels.h; needs GCC 8 or Clang 16.
//
// SDOT multiplies 4 pairs of bytes a lane and adds them up in 32 bits, which no code overflows: four times the work of
// a float multiply-add. Its second operand may be one lane for all, so a vector of a row holds what 4 steps multiply:
// the panels of [terms / 4][16 columns][4 terms] that VNNI reads fit as they are, and 4 rows x 16 columns take 16 sums,
// 4 activations and 5 loads for 16 products.
#include "kernels_impl.h"
#if BGE_HAVE_NEONDOT
#include "kernels_neon.h"

#ifdef __ARM_FEATURE_DOTPROD
#define CODES_SIMD // the whole program may use them
#elif defined(__clang__)
#define CODES_SIMD __attribute__((target("+dotprod")))
#else
#define CODES_SIMD __attribute__((target("arch=armv8.2-a+dotprod"))) // as GCC's arm_neon.h has it
#endif
enum { CODE_MR = 4 };
#define PAIRED_STEPS 0
#include "kernels_neon_codes.h"

// Step k of 4, of 4 terms each.
#define STEP(k)                                                                                                        \
    load_step(b + k * 4 * PANEL, w);                                                                                   \
    UNROLL for (int v = 0; v < NV; v++) {                                                                              \
        UNROLL for (int i = 0; i < rows; i++) {                                                                        \
            s[i][v] = vdotq_laneq_s32(s[i][v], w[v], x[i], k);                                                         \
            keep(s[i][v]);                                                                                             \
        }                                                                                                              \
    }

CODES_INLINE void block_sums(const int rows, const int terms, const int small, const char *a, int64_t a_row,
                             const char *b, int32x4_t s[CODE_MR][NV]) {
    (void)small;
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) s[i][v] = vdupq_n_s32(0);
    UNROLL for (int l = 0; l < terms; l += 16, b += 16 * PANEL) {
        int8x16_t x[CODE_MR], w[NV];
        UNROLL for (int i = 0; i < rows; i++) x[i] = vld1q_s8((const int8_t *)a + i * a_row + l);
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
        after(s[rows - 1][NV - 1], b);
    }
}

FOUR_ROWS_OF_CODES
#define gemms_s8 gemms_s6 // one product for codes of all sizes

static const bge_simd simd = {FLOAT_LOOPS(NULL, round_to_bf16), NEON_CODES};

const bge_kernels bge_kernels_neondot = KERNELS("neondot", 0, simd);

#else
typedef int bge_no_neondot; // an empty file is not C
#endif
