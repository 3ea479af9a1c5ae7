// The vectors of AVX-512 (F, BW, DQ, VL), for kernels_avx512.c and kernels_avx512bw.c. Each compiles a copy of its own.
//
// 32 registers of 16 floats: a tile of 12 rows x 32 columns keeps 24 sums, 2 vectors of weights and an activation, and
// needs 14 loads for 24 multiply-adds, of which two load ports do two in the time of two multiply-adds.
//
// With -DBGE_SIMDE the intrinsics come from SIMDe, and what that lacks from simde_more.h beside the kernels' tests, so
// that these loops can be tested on a processor without AVX-512.
#ifndef BGE_KERNELS_AVX512_H
#define BGE_KERNELS_AVX512_H

#include <math.h>

#include "kernels_simd.h"

#ifdef BGE_SIMDE
#include "simde_more.h"
#define AVX512(more)
#else
#include <immintrin.h>
#define AVX512(more) __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl" more)))
#endif
#define SIMD AVX512("")
#define V static inline __attribute__((always_inline)) SIMD

enum { MR = 12, NV = 2, VL = 16, WIDE = 8, WIDEN_F16_TILES = INT32_MAX, WIDEN_BF16_TILES = 8 };
typedef __m512 vf;

V vf v_zero(void) {
    return _mm512_setzero_ps();
}
V vf v_set1(float x) {
    return _mm512_set1_ps(x);
}
V vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
V void v_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
V vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
V vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
V vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
V vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
V vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
V vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
V vf v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
V vf v_even(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

V vf v_odd(const uint16_t *p) {
    const __m512i high = _mm512_set1_epi32((int32_t)0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
}

V vf v_not_negative(vf x, vf a, vf b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), a, b);
}

V vf v_below(const int32_t *limit, int32_t j, vf a, vf b) {
    return _mm512_mask_blend_ps(_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(limit), _mm512_set1_epi32(j)), b, a);
}

V float v_sum(vf x) {
    float f[16];
    _mm512_storeu_ps(f, x);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            f[i] += f[i + step];
    return f[0];
}

// 2^x = 2^i 2^f, i the nearest integer; 2^f - 1 = f q(f) with a relative error of 2e-9, so that rounding is what is
// left. The bounds keep infinities from becoming an infinity less itself.
V vf v_exp2(vf x) {
    x = _mm512_max_ps(v_set1(-150), _mm512_min_ps(v_set1(128), x));
    const vf i = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vf f = v_sub(x, i);
    vf q = v_set1(1.5353362e-4f);
    q = v_fma(q, f, v_set1(1.33988750e-3f));
    q = v_fma(q, f, v_set1(9.61843692e-3f));
    q = v_fma(q, f, v_set1(5.55033237e-2f));
    q = v_fma(q, f, v_set1(2.40226477e-1f));
    q = v_fma(q, f, v_set1(6.93147182e-1f));
    q = v_fma(q, f, v_set1(1));
    return _mm512_scalef_ps(q, i);
}

// ---- vectors of integers ----

typedef __m512i vi;

V vi vi_load(const char *p) {
    return _mm512_loadu_si512(p);
}
V vi vi_set1(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
#ifdef BGE_SIMDE
#define vi_keep(v) (void)v
#define opaque(p) (void)p
#else
#define vi_keep(v) __asm__("" : "+v"(v)) // a statement that has a vector in its register
#define opaque(p) __asm__("" : "+r"(p))
#endif

// ---- kernels_avx512bw.c ----

// Products of integers without VNNI, and what goes with them: the fields of a bge_simd that are called so.
enum { BGE_AVX512BW_MR = 4 };
extern const bge_gemms bge_avx512bw_u4, bge_avx512bw_u5, bge_avx512bw_s16, bge_avx512bw_s16_16;
void bge_avx512bw_pack_panel(int32_t type, const char *src, int64_t row_bytes, int64_t rows, int64_t n, char *to);
void bge_avx512bw_expand_panel(int32_t type, const char *from, int64_t n, void *w, float *d, float *m);
void bge_avx512bw_encode8(const float *x, int64_t n, void *to);
void bge_avx512bw_encode16(const float *x, int64_t n, void *to);

#endif
