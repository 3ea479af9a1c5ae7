//go:build !bgevl_static

// AVX2, FMA and F16C. Build: see kernels.h.
#if defined(__x86_64__)
#include "kernels_avx2.h"

// Sums of two products in 16 bits: weights below 16 may add up 8 of them (8 * 2 * 15 * 127), those below 32 four.
// Additions are assembly because GCC else moves sums from register to register, a fifth of all instructions.
V vi vi_first8(vi w, vi x) {
    return _mm256_maddubs_epi16(w, x);
}
V vi vi_dot8(vi sum, vi w, vi x) {
    const vi product = vi_first8(w, x);
    __asm__("vpaddw %1, %0, %0" : "+x"(sum) : "x"(product));
    return sum;
}
V vf v_sum8(vi sum) {
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
}
V vi vi_first16(vi w, vi x) {
    return _mm256_madd_epi16(w, x);
}
V vi vi_dot16(vi sum, vi w, vi x) {
    const vi product = vi_first16(w, x);
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(product));
    return sum;
}
V vf v_sum16(vi sum) {
    return _mm256_cvtepi32_ps(sum);
}

#define CODES_SIMD SIMD
#define WIDE_CODES 1
#define UNROLL_STEPS _Pragma("GCC unroll 16")
#include "kernels_codes.h"

CODES(u4, 32, 32, 1)
CODES(u5, 32, 16, 1)
CODES(s16, 32, 32, 2)
CODES(s16_16, 16, 16, 2)

static const bge_simd simd = {
    FLOAT_LOOPS(NULL, round_to_bf16),    .code_mr = CODE_MR,
    .gemm[BGE_B_U4] = &gemms_u4,         .gemm[BGE_B_U5] = &gemms_u5,
    .gemm[BGE_B_S16] = &gemms_s16,       .gemm[BGE_B_S16_16] = &gemms_s16_16,
    .code_type = BGE_CODES_WITHOUT_VNNI, .pack_panel = pack_panel,
    .expand_panel = expand_panel,        .encode_row = ENCODE_ROW,
};

const bge_kernels bge_kernels_avx2 = KERNELS("avx2", 0, simd);

#else
typedef int bge_not_x86_64; // an empty file is not C
#endif
