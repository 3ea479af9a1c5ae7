// AVX2, FMA and F16C. Build: see kernels.h.
//
// 16 registers of 8 floats: a tile of 6 rows x 16 columns keeps 12 sums, 2 vectors of weights and one activation, and
// needs 8 loads for 12 multiply-adds, which two load ports deliver in time.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "kernels_simd.h"

#define SIMD __attribute__((target("avx2,fma,f16c")))
#define V static inline __attribute__((always_inline)) SIMD

enum { MR = 6, NV = 2, VL = 8, WIDE = 8 };
typedef __m256 vf;

V vf v_zero(void) {
    return _mm256_setzero_ps();
}
V vf v_set1(float x) {
    return _mm256_set1_ps(x);
}
V vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
V void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
V vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
V vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
V vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
V vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
V vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
V vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
V vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
V vf v_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

V vf v_even(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)p), 16));
}

V vf v_odd(const uint16_t *p) {
    const __m256i high = _mm256_set1_epi32((int32_t)0xffff0000);
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), high));
}

V vf v_not_negative(vf x, vf a, vf b) {
    return _mm256_blendv_ps(a, b, _mm256_cmp_ps(x, v_zero(), _CMP_LT_OQ));
}

V vf v_below(const int32_t *limit, int32_t j, vf a, vf b) {
    const __m256i seen = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)limit), _mm256_set1_epi32(j));
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(seen));
}

V float v_sum(vf x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// 2^x = 2^i 2^f, i the nearest integer; 2^f - 1 = f q(f) with a relative error of 2e-9, so that rounding is what is
// left. Results under 2^-126 come out as 2^-126.
V vf v_exp2(vf x) {
    x = v_max(v_set1(-126), v_min(v_set1(127.999f), x));
    const __m256i i = _mm256_cvtps_epi32(x);
    const vf f = v_sub(x, _mm256_cvtepi32_ps(i));
    vf q = v_set1(1.5353362e-4f);
    q = v_fma(q, f, v_set1(1.33988750e-3f));
    q = v_fma(q, f, v_set1(9.61843692e-3f));
    q = v_fma(q, f, v_set1(5.55033237e-2f));
    q = v_fma(q, f, v_set1(2.40226477e-1f));
    q = v_fma(q, f, v_set1(6.93147182e-1f));
    q = v_fma(q, f, v_set1(1));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(q), _mm256_slli_epi32(i, 23)));
}

#include "kernels_simd_loops.h"

#define ROWS(kind) GEMM(kind, 1, 1) GEMM(kind, 2, 1) GEMM(kind, 3, 1) GEMM(kind, 4, 1) GEMM(kind, 5, 1) GEMM(kind, 6, 1)
#define WIDE_ROWS(kind) GEMM(kind, 1, 4) GEMM(kind, 2, 2) GEMM(kind, 3, 2)
#define TABLE(kind)                                                                                                    \
    ROWS(kind)                                                                                                         \
    WIDE_ROWS(kind)                                                                                                    \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1x1, gemm_##kind##_2x1, gemm_##kind##_3x1, gemm_##kind##_4x1, gemm_##kind##_5x1,   \
                gemm_##kind##_6x1},                                                                                    \
        .wide = {NULL, gemm_##kind##_1x4, gemm_##kind##_2x2, gemm_##kind##_3x2},                                       \
        .wide_panels = {0, 4, 2, 2},                                                                                   \
    };

TABLE(f32)
TABLE(f16)
TABLE(bf16)

// ---- codes ----

typedef __m256i vi;

V vi vi_zero(void) {
    return _mm256_setzero_si256();
}
V vi vi_load(const char *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
V vi vi_set1(const char *p) {
    return _mm256_castps_si256(_mm256_broadcast_ss((const float *)p));
}

// Sums of two products in 16 bits: weights below 16 may add up 8 of them (8 * 2 * 15 * 127), those below 32 four.
V vi vi_dot8(vi sum, vi w, vi x) {
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
}
V vf v_sum8(vi sum) {
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
}
V vi vi_dot16(vi sum, vi w, vi x) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
}
V vf v_sum16(vi sum) {
    return _mm256_cvtepi32_ps(sum);
}

#define vi_keep(v) __asm__("" : "+x"(v)) // in its register before the next row begins

#include "kernels_codes.h"

#define CODES(kind, block, fit, size)                                                                                  \
    GEMM_CODES(kind, block, fit, size, 1)                                                                              \
    GEMM_CODES(kind, block, fit, size, 2)                                                                              \
    GEMM_CODES(kind, block, fit, size, 3)                                                                              \
    GEMM_CODES(kind, block, fit, size, 4)                                                                              \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4},                             \
    };

CODES(u4, 32, 32, 1)
CODES(u5, 32, 16, 1)
CODES(s16, 32, 32, 2)
CODES(s16_16, 16, 16, 2)

// Codes of up to 5 bits with 8 bits of activation. Those of 6 and 8 bits would overflow after a step or two, and lose
// what they are chosen for: 16 bits of activation take no longer.
static const bge_simd simd = {
    FLOAT_LOOPS(NULL, round_to_bf16),
    .code_mr = 4,
    .gemm[BGE_B_U4] = &gemms_u4,
    .gemm[BGE_B_U5] = &gemms_u5,
    .gemm[BGE_B_S16] = &gemms_s16,
    .gemm[BGE_B_S16_16] = &gemms_s16_16,
    .code_type = {[BGE_TYPE_Q4_0] = {BGE_B_U4, 32, 0},
                  [BGE_TYPE_Q4_1] = {BGE_B_U4, 32, 0},
                  [BGE_TYPE_Q5_0] = {BGE_B_U5, 32, 0},
                  [BGE_TYPE_Q5_1] = {BGE_B_U5, 32, 0},
                  [BGE_TYPE_Q4_K] = {BGE_B_U4, 32, 0},
                  [BGE_TYPE_Q5_K] = {BGE_B_U5, 32, 0},
                  [BGE_TYPE_Q8_0] = {BGE_B_S16, 32, 128},
                  [BGE_TYPE_Q6_K] = {BGE_B_S16_16, 16, 32}},
    .unpack_row = unpack_row,
    .encode_row = {NULL, encode_row8, encode_row16},
};

const bge_kernels bge_kernels_avx2 = KERNELS("avx2", 0, simd);
const bge_kernels bge_kernels_avxvnni =
    KERNELS("avxvnni", 0, simd); // the same float kernels; int8 products will differ

#else
typedef int bge_not_x86_64; // an empty file is not C
#endif
