//go:build !bgevl_static

// AVX-512 (F, BW, DQ, VL), with VNNI, and with BF16 too. Build: see kernels.h; needs GCC 10 or Clang 9.
//
// VDPBF16PS multiplies pairs of bf16 and adds them to a float: twice the work of a float multiply-add.
//
// VPDPBUSD multiplies 4 unsigned with 4 signed bytes and adds them up in 32 bits: four times that work.
#if defined(__x86_64__)
#include "kernels_avx512.h"
#include "kernels_simd_loops.h"

#define SIMD_BF16 AVX512(",avx512bf16")
#define CODES_SIMD AVX512(",avx512vnni")

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
            __m512i x = _mm512_set1_epi32(pair);
            vi_keep(x); // Clang 16 does not come to an end over a number that is spread and then read as bf16
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

static inline __attribute__((always_inline)) CODES_SIMD vi vi_dot8(vi sum, vi w, vi x) {
    return _mm512_dpbusd_epi32(sum, w, x);
}
V vf v_of_bits(vi x) {
    return _mm512_castsi512_ps(x);
}

#include "kernels_vnni.h"

VNNI_ROWS(1)
VNNI_ROWS(2)
VNNI_ROWS(3)
VNNI_ROWS(4)
VNNI_ROWS(6)
VNNI_ROWS(8)
VNNI_ROWS(12)

// A rest of other rows is done in two pieces or three, since every product takes a tenth of a second to compile.
#define CODES(kind)                                                                                                    \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {[1] = gemm_##kind##_1,                                                                                 \
                [2] = gemm_##kind##_2,                                                                                 \
                [3] = gemm_##kind##_3,                                                                                 \
                [4] = gemm_##kind##_4,                                                                                 \
                [6] = gemm_##kind##_6,                                                                                 \
                [8] = gemm_##kind##_8,                                                                                 \
                [12] = gemm_##kind##_12},                                                                              \
    };

CODES(u8)
CODES(u8_min)
CODES(u8_16)

// Without VNNI: as AVX2, in twice as many lanes.
static const bge_simd simd = {
    FLOAT_LOOPS(NULL, round_to_bf16),
    .code_mr = BGE_AVX512BW_MR,
    .gemm[BGE_B_U4] = &bge_avx512bw_u4,
    .gemm[BGE_B_U5] = &bge_avx512bw_u5,
    .gemm[BGE_B_S16] = &bge_avx512bw_s16,
    .gemm[BGE_B_S16_16] = &bge_avx512bw_s16_16,
    .code_type = BGE_CODES_WITHOUT_VNNI,
    .pack_panel = bge_avx512bw_pack_panel,
    .expand_panel = bge_avx512bw_expand_panel,
    .encode_row = {[BGE_X_INT8] = bge_avx512bw_encode8, [BGE_X_INT16] = bge_avx512bw_encode16},
};
static const bge_simd simd_vnni = {FLOAT_LOOPS(NULL, round_to_bf16), .code_mr = MR, VNNI_CODES};
static const bge_simd simd_bf16 = {FLOAT_LOOPS(&gemms_dot, to_bf16), .code_mr = MR, VNNI_CODES};

const bge_kernels bge_kernels_avx512 = KERNELS("avx512", 0, simd);
const bge_kernels bge_kernels_avx512vnni = KERNELS("avx512", 0, simd_vnni);
const bge_kernels bge_kernels_avx512bf16 = KERNELS("avx512", 1, simd_bf16);

#else
typedef int bge_no_avx512; // an empty file is not C
#endif
