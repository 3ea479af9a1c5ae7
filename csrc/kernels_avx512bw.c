//go:build !bgevl_static

// Quantised weights by AVX-512 without VNNI: the products of kernels_avx2.c in 512 bits, for the table of
// kernels_avx512.c. Build: see kernels.h.
#if defined(__x86_64__)
#include "kernels_avx512.h"

#define INLINE static inline __attribute__((always_inline)) SIMD
#define PANEL (NV * VL)

// Sums of two products in 16 bits: weights below 16 may add up 8 of them (8 * 2 * 15 * 127), those below 32 four.
V vi vi_first8(vi w, vi x) {
    return _mm512_maddubs_epi16(w, x);
}
V vi vi_dot8(vi sum, vi w, vi x) {
    sum = _mm512_add_epi16(sum, vi_first8(w, x));
    vi_keep(sum);
    return sum;
}
V vf v_sum8(vi sum) {
    return _mm512_cvtepi32_ps(_mm512_madd_epi16(sum, _mm512_set1_epi16(1)));
}
V vi vi_first16(vi w, vi x) {
    return _mm512_madd_epi16(w, x);
}
V vi vi_dot16(vi sum, vi w, vi x) {
    sum = _mm512_add_epi32(sum, vi_first16(w, x));
    vi_keep(sum);
    return sum;
}
V vf v_sum16(vi sum) {
    return _mm512_cvtepi32_ps(sum);
}

enum { CODE_MR = BGE_AVX512BW_MR };
#define CODES_SIMD SIMD
#define WIDE_CODES 1
#define UNROLL_STEPS _Pragma("GCC unroll 16")
#include "kernels_codes.h"

// 4 rows x 32 columns: the products wait for no sum, and 8 sums are enough to hide what an addition takes.
#define CODES(kind, block, fit, size)                                                                                  \
    GEMM_CODES(kind, block, fit, size, 1)                                                                              \
    GEMM_CODES(kind, block, fit, size, 2)                                                                              \
    GEMM_CODES(kind, block, fit, size, 3)                                                                              \
    GEMM_CODES(kind, block, fit, size, 4)                                                                              \
    const bge_gemms bge_avx512bw_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4},                             \
    };

CODES(u4, 32, 32, 1)
CODES(u5, 32, 16, 1)
CODES(s16, 32, 32, 2)
CODES(s16_16, 16, 16, 2)

void bge_avx512bw_pack_panel(int32_t type, const char *src, int64_t row_bytes, int64_t rows, int64_t n, char *to) {
    pack_panel(type, src, row_bytes, rows, n, to);
}
void bge_avx512bw_expand_panel(int32_t type, const char *from, int64_t n, void *w, float *d, float *m) {
    expand_panel(type, from, n, w, d, m);
}
void bge_avx512bw_encode8(const float *x, int64_t n, void *to) {
    encode_row8(x, n, to);
}
void bge_avx512bw_encode16(const float *x, int64_t n, void *to) {
    encode_row16(x, n, to);
}

#else
typedef int bge_no_avx512bw; // an empty file is not C
#endif
