// The vectors of AVX2, FMA and F16C, and the products of floats over them, for kernels_avx2.c and kernels_avxvnni.c,
// which differ in how they multiply integers. Each compiles a copy of its own.
//
// 16 registers of 8 floats: a tile of 6 rows x 16 columns keeps 12 sums, 2 vectors of weights and one activation, and
// needs 8 loads for 12 multiply-adds, which two load ports deliver in time.
#ifndef BGE_KERNELS_AVX2_H
#define BGE_KERNELS_AVX2_H

#include <immintrin.h>
#include <math.h>

#include "kernels_simd.h"

#define SIMD __attribute__((target("avx2,fma,f16c")))
#define V static inline __attribute__((always_inline)) SIMD

enum { MR = 6, NV = 2, VL = 8, WIDE = 8, WIDEN_F16_TILES = INT32_MAX, WIDEN_BF16_TILES = 8 };
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

// ---- vectors of integers ----

#define vi_keep(v) __asm__("" : "+x"(v)) // a statement that has a vector in its register
#define opaque(p) __asm__("" : "+r"(p))

// Products of one kind of codes: 4 rows x 16 columns, 8 sums and what else they need in 16 registers.
enum { CODE_MR = 4 };

typedef __m256i vi;

V vi vi_load(const char *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
V vi vi_set1(const char *p) {
    return _mm256_castps_si256(_mm256_broadcast_ss((const float *)p));
}

#define CODES(kind, block, fit, size)                                                                                  \
    GEMM_CODES(kind, block, fit, size, 1)                                                                              \
    GEMM_CODES(kind, block, fit, size, 2)                                                                              \
    GEMM_CODES(kind, block, fit, size, 3)                                                                              \
    GEMM_CODES(kind, block, fit, size, 4)                                                                              \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4},                             \
    };

#endif
