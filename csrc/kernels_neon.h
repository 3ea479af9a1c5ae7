// The vectors of NEON on 64-bit Arm, and the products of floats over them, for kernels_neon*.c, which differ in how
// they multiply integers. Each compiles a copy of its own.
//
// 32 registers of 4 floats: a tile of 6 rows x 16 columns keeps 24 sums, 4 vectors of weights and an activation, and
// needs 10 loads for 24 multiply-adds.
#ifndef BGE_KERNELS_NEON_H
#define BGE_KERNELS_NEON_H

#include <arm_neon.h>
#include <math.h>

#include "kernels_simd.h"

#define SIMD // NEON is part of the base architecture
#define V static inline __attribute__((always_inline))

enum { MR = 6, NV = 4, VL = 4, WIDE = 16, WIDEN_F16_TILES = 2, WIDEN_BF16_TILES = 2 };
typedef float32x4_t vf;

V vf v_zero(void) {
    return vdupq_n_f32(0);
}
V vf v_set1(float x) {
    return vdupq_n_f32(x);
}
V vf v_load(const float *p) {
    return vld1q_f32(p);
}
V void v_store(float *p, vf x) {
    vst1q_f32(p, x);
}
V vf v_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
V vf v_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
V vf v_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
V vf v_div(vf a, vf b) {
    return vdivq_f32(a, b);
}
V vf v_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
V vf v_max(vf a, vf b) {
    return vmaxq_f32(a, b);
}
V vf v_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
V vf v_even(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16));
}

V vf v_odd(const uint16_t *p) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(p)), vdupq_n_u32(0xffff0000u)));
}

V vf v_not_negative(vf x, vf a, vf b) {
    return vbslq_f32(vcltzq_f32(x), b, a);
}

V vf v_below(const int32_t *limit, int32_t j, vf a, vf b) {
    return vbslq_f32(vcgtq_s32(vld1q_s32(limit), vdupq_n_s32(j)), a, b);
}

V float v_sum(vf x) {
    const float32x2_t two = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

// 2^x = 2^i 2^f, i the nearest integer; 2^f - 1 = f q(f) with a relative error of 2e-9, so that rounding is what is
// left. Results under 2^-126 come out as 2^-126.
V vf v_exp2(vf x) {
    x = vmaxq_f32(vminq_f32(x, v_set1(127.999f)), v_set1(-126));
    const int32x4_t i = vcvtnq_s32_f32(x);
    const vf f = v_sub(x, vcvtq_f32_s32(i));
    vf q = v_set1(1.5353362e-4f);
    q = v_fma(q, f, v_set1(1.33988750e-3f));
    q = v_fma(q, f, v_set1(9.61843692e-3f));
    q = v_fma(q, f, v_set1(5.55033237e-2f));
    q = v_fma(q, f, v_set1(2.40226477e-1f));
    q = v_fma(q, f, v_set1(6.93147182e-1f));
    q = v_fma(q, f, v_set1(1));
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(q), vshlq_n_s32(i, 23)));
}

#include "kernels_simd_loops.h"

// clang-format takes the list of instances for an expression.
// clang-format off
#define TABLE(kind)                                                                                                    \
    GEMM(kind, 1, 1) GEMM(kind, 2, 1) GEMM(kind, 3, 1) GEMM(kind, 4, 1) GEMM(kind, 5, 1)                               \
    GEMM(kind, 6, 1) GEMM(kind, 1, 4) GEMM(kind, 2, 2)                                                                 \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1x1, gemm_##kind##_2x1, gemm_##kind##_3x1, gemm_##kind##_4x1,                      \
                gemm_##kind##_5x1, gemm_##kind##_6x1},                                                                 \
        .wide = {NULL, gemm_##kind##_1x4, gemm_##kind##_2x2},                                                          \
        .wide_panels = {0, 4, 2},                                                                                      \
    };
// clang-format on

TABLE(f32)
TABLE(f16)
TABLE(bf16)

#endif
