//go:build !bgevl_static

// AVX2 with VNNI in 256 bits. Build: see kernels.h; needs GCC 11 or Clang 12.
//
// VPDPBUSD multiplies 4 unsigned with 4 signed bytes and adds them up in 32 bits, which no code overflows: weights of
// all types take activations of 8 bits.
//
// With -DBGE_SIMDE that instruction comes from simde_more.h beside the kernels' tests, in those of AVX2.
#if defined(__x86_64__)
#ifdef BGE_SIMDE
#define CODES_SIMD SIMD
#else
#define CODES_SIMD __attribute__((target("avx2,fma,f16c,avxvnni")))
#endif
#include "kernels_avx2.h"
#ifdef BGE_SIMDE
#include "simde_more.h"
#endif

#define VNNI static inline __attribute__((always_inline)) CODES_SIMD

VNNI vi vi_dot8(vi sum, vi w, vi x) {
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}
V vf v_of_bits(vi x) {
    return _mm256_castsi256_ps(x);
}

#include "kernels_vnni.h"

VNNI_ROWS(1)
VNNI_ROWS(2)
VNNI_ROWS(3)
VNNI_ROWS(4)

#undef CODES
#define CODES(kind)                                                                                                    \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1, gemm_##kind##_2, gemm_##kind##_3, gemm_##kind##_4},                             \
    };

CODES(u8)
CODES(u8_min)
CODES(u8_16)

static const bge_simd simd = {
    FLOAT_LOOPS(NULL, round_to_bf16),
    .code_mr = CODE_MR,
    VNNI_CODES,
};

const bge_kernels bge_kernels_avxvnni = KERNELS("avxvnni", 0, simd);

#else
typedef int bge_no_avxvnni; // an empty file is not C
#endif
