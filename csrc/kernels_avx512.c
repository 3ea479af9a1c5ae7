//go:build !bgevl_static

// AVX-512 (F, BW, DQ, VL), with VNNI, and with BF16 too. Build: see kernels.h; needs GCC 10 or Clang 9.
//
// 32 registers of 16 floats: a tile of 12 rows x 32 columns keeps 24 sums, 2 vectors of weights and an activation, and
// needs 14 loads for 24 multiply-adds, of which two load ports do two in the time of two multiply-adds.
//
// VDPBF16PS multiplies pairs of bf16 and adds them to a float: twice the work of a float multiply-add.
//
// VPDPBUSD multiplies 4 unsigned with 4 signed bytes and adds them up in 32 bits: four times that work.
//
// With -DBGE_SIMDE the intrinsics come from SIMDe, and what that lacks from simde_more.h beside the kernels' tests, so
// that these loops can be tested on a processor without AVX-512.
#if defined(__x86_64__)
#include <math.h>

#include "kernels_simd.h"

#ifdef BGE_SIMDE
#include "simde_more.h"
#define SIMD
#define SIMD_BF16
#define CODES_SIMD
#else
#include <immintrin.h>
#define SIMD __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define SIMD_BF16 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define CODES_SIMD __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#endif
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

#include "kernels_simd_loops.h"

// c += a . b over pairs of bf16. The same tiles as gemm_f32; see there.
static inline __attribute__((always_inline)) SIMD_BF16 void gemm_dot(const bge_tile *t, const int rows,
                                                                     const int panels) {
    const int vectors = panels * NV;
    const uint16_t *a = t->a;
    const char *b = t->b;
    const int64_t a_row = t->a_row, b_panel = t->b_panel;
    vf c[MR][WIDE];
    __m512i w[WIDE];
    tile_begin(t, rows, vectors, c);
    for (int64_t l = 0; l < t->n; l += 2, a += 2, b += PANEL * 2 * sizeof(uint16_t)) {
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            w[v] = _mm512_loadu_si512(b + v / NV * b_panel + v % NV * 64);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, a + i * a_row, sizeof pair);
            const __m512i x = _mm512_set1_epi32(pair);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++)
                c[i][v] = _mm512_dpbf16_ps(c[i][v], (__m512bh)x, (__m512bh)w[v]);
        }
    }
    tile_end(t, rows, vectors, c);
}

static SIMD_BF16 void to_bf16(const float *src, int64_t n, uint16_t *dst) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        _mm256_storeu_si256((__m256i *)(dst + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(src + i)));
    for (; i < n; i++)
        dst[i] = bge_float_to_bf16(src[i]);
}

#define GEMM_BF16(kind, rows, panels)                                                                                  \
    static SIMD_BF16 void gemm_##kind##_##rows##x##panels(const bge_tile *t) {                                         \
        gemm_##kind(t, rows, panels);                                                                                  \
    }
// clang-format takes the list of instances for an expression.
// clang-format off
#define TABLE(kind, G)                                                                                                 \
    G(kind, 1, 1) G(kind, 2, 1) G(kind, 3, 1) G(kind, 4, 1) G(kind, 5, 1)                                              \
    G(kind, 6, 1) G(kind, 7, 1) G(kind, 8, 1) G(kind, 9, 1) G(kind, 10, 1)                                             \
    G(kind, 11, 1) G(kind, 12, 1) G(kind, 1, 4) G(kind, 2, 4) G(kind, 3, 2)                                            \
    G(kind, 4, 2)                                                                                                      \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1x1, gemm_##kind##_2x1, gemm_##kind##_3x1, gemm_##kind##_4x1,                      \
                gemm_##kind##_5x1, gemm_##kind##_6x1, gemm_##kind##_7x1, gemm_##kind##_8x1,                            \
                gemm_##kind##_9x1, gemm_##kind##_10x1, gemm_##kind##_11x1, gemm_##kind##_12x1},                        \
        .wide = {NULL, gemm_##kind##_1x4, gemm_##kind##_2x4, gemm_##kind##_3x2, gemm_##kind##_4x2},                    \
        .wide_panels = {0, 4, 4, 2, 2},                                                                                \
    };
// clang-format on

TABLE(f32, GEMM)
TABLE(f16, GEMM)
TABLE(bf16, GEMM)
TABLE(dot, GEMM_BF16)

// ---- codes ----

typedef __m512i vi;

V vi vi_zero(void) {
    return _mm512_setzero_si512();
}
V vi vi_load(const char *p) {
    return _mm512_loadu_si512(p);
}
V vi vi_set1(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline __attribute__((always_inline)) CODES_SIMD vi vi_dot8(vi sum, vi w, vi x) {
    return _mm512_dpbusd_epi32(sum, w, x);
}
static inline __attribute__((always_inline)) CODES_SIMD vi vi_dot16(vi sum, vi w, vi x) {
    return _mm512_dpwssd_epi32(sum, w, x);
}
V vf v_sum8(vi sum) {
    return _mm512_cvtepi32_ps(sum);
}
V vf v_sum16(vi sum) {
    return _mm512_cvtepi32_ps(sum);
}
#ifdef BGE_SIMDE
#define vi_keep(v) (void)v
#else
#define vi_keep(v) __asm__("" : "+v"(v))
#endif

#define WIDE_CODES 0
#define UNROLL_STEPS _Pragma("GCC unroll 2")
#include "kernels_codes.h"

// clang-format off
#define CODES(kind, block, fit, size)                                                                                  \
    GEMM_CODES(kind, block, fit, size, 1) GEMM_CODES(kind, block, fit, size, 2) GEMM_CODES(kind, block, fit, size, 3)  \
    GEMM_CODES(kind, block, fit, size, 4) GEMM_CODES(kind, block, fit, size, 5) GEMM_CODES(kind, block, fit, size, 6)  \
    GEMM_CODES(kind, block, fit, size, 7) GEMM_CODES(kind, block, fit, size, 8) GEMM_CODES(kind, block, fit, size, 9)  \
    GEMM_CODES(kind, block, fit, size, 10) GEMM_CODES(kind, block, fit, size, 11) GEMM_CODES(kind, block, fit, size, 12) \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4, gemm_##kind##_5,             \
                gemm_##kind##_6, gemm_##kind##_7, gemm_##kind##_8, gemm_##kind##_9, gemm_##kind##_10,                  \
                gemm_##kind##_11, gemm_##kind##_12},                                                                   \
    };
// clang-format on

CODES(u8, 32, 32, 1)
CODES(u8_16, 16, 16, 1)

static const bge_simd simd = {FLOAT_LOOPS(NULL, round_to_bf16)};
static const bge_simd simd_vnni = {FLOAT_LOOPS(NULL, round_to_bf16), .code_mr = MR, CODES_OF_8_BITS};
static const bge_simd simd_bf16 = {FLOAT_LOOPS(&gemms_dot, to_bf16), .code_mr = MR, CODES_OF_8_BITS};

const bge_kernels bge_kernels_avx512 = KERNELS("avx512", 0, simd);
const bge_kernels bge_kernels_avx512vnni = KERNELS("avx512", 0, simd_vnni);
const bge_kernels bge_kernels_avx512bf16 = KERNELS("avx512", 1, simd_bf16);

#else
typedef int bge_no_avx512; // an empty file is not C
#endif
