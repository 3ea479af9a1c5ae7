// AVX-512 on a processor without it, for tests of csrc/kernels_avx512*.c: SIMDe, and the few intrinsics that SIMDe
// 0.7.4 lacks, in halves of AVX2 or one element at a time. Compile with -DBGE_SIMDE -mavx2 -mfma -mf16c.
#ifndef BGE_SIMDE_MORE_H
#define BGE_SIMDE_MORE_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

static inline __m512 bge_simde_cvtph_ps(__m256i h) {
    float f[16];
    _mm256_storeu_ps(f, _mm256_cvtph_ps(_mm256_castsi256_si128(h)));
    _mm256_storeu_ps(f + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)));
    return _mm512_loadu_ps(f);
}
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps(h) bge_simde_cvtph_ps(h)

// Rounds to nearest even, as the instruction does; denormals, which it flushes, are kept.
static inline __m256i bge_simde_cvtneps_pbh(__m512 x) {
    float f[16];
    uint16_t h[16];
    _mm512_storeu_ps(f, x);
    for (int i = 0; i < 16; i++) {
        uint32_t u;
        memcpy(&u, &f[i], sizeof u);
        h[i] = f[i] != f[i] ? (uint16_t)(u >> 16 | 0x40) : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
    return _mm256_loadu_si256((const __m256i *)h);
}
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh(x) bge_simde_cvtneps_pbh(x)

// SIMDe's own adds both products of a pair separately rounded; the instruction's sums differ from it in the last bit.
static inline __m512 bge_simde_dpbf16_ps(__m512 sum, __m512i a, __m512i b) {
    float s[16];
    uint32_t u[16], v[16];
    _mm512_storeu_ps(s, sum);
    _mm512_storeu_si512(u, a);
    _mm512_storeu_si512(v, b);
    for (int i = 0; i < 16; i++) {
        float f[4];
        const uint32_t bits[4] = {u[i] << 16, v[i] << 16, u[i] & 0xffff0000u, v[i] & 0xffff0000u};
        memcpy(f, bits, sizeof f);
        s[i] = s[i] + f[2] * f[3] + f[0] * f[1];
    }
    return _mm512_loadu_ps(s);
}
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps(sum, a, b) bge_simde_dpbf16_ps(sum, a, b)
#undef __m512bh
#define __m512bh __m512i

static inline __m512 bge_simde_cvtepi32_ps(__m512i x) {
    int32_t i[16];
    float f[16];
    _mm512_storeu_si512(i, x);
    for (int j = 0; j < 16; j++)
        f[j] = (float)i[j];
    return _mm512_loadu_ps(f);
}
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps(x) bge_simde_cvtepi32_ps(x)

// SIMDe gives this name to another macro.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

// VNNI. SIMDe's own are inlined wherever they are called, which a compiler is not done with for minutes.
static __attribute__((noinline)) void bge_simde_dp(int32_t *sum, const void *a, const void *b, int lanes, int bytes) {
    for (int i = 0; i < lanes; i++)
        for (int j = 0; j < 4 / bytes; j++)
            sum[i] += bytes == 1 ? ((const uint8_t *)a)[4 * i + j] * ((const int8_t *)b)[4 * i + j]
                                 : ((const int16_t *)a)[2 * i + j] * ((const int16_t *)b)[2 * i + j];
}
static __attribute__((noinline)) __m512i bge_simde_dp512(__m512i sum, __m512i a, __m512i b, int bytes) {
    bge_simde_dp((int32_t *)&sum, &a, &b, 16, bytes);
    return sum;
}
static __attribute__((noinline)) __m256i bge_simde_dp256(__m256i sum, __m256i a, __m256i b, int bytes) {
    bge_simde_dp((int32_t *)&sum, &a, &b, 8, bytes);
    return sum;
}
#undef _mm512_dpbusd_epi32
#undef _mm512_dpwssd_epi32
#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm512_dpbusd_epi32(sum, a, b) bge_simde_dp512(sum, a, b, 1)
#define _mm512_dpwssd_epi32(sum, a, b) bge_simde_dp512(sum, a, b, 2)
#define _mm256_dpbusd_avx_epi32(sum, a, b) bge_simde_dp256(sum, a, b, 1)
#define _mm256_dpwssd_avx_epi32(sum, a, b) bge_simde_dp256(sum, a, b, 2)

#endif
