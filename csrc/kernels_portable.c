//go:build !bgevl_static

// Any processor: vectors of 4 floats by the extension that GCC and Clang share, which becomes SSE2 on plain x86-64.
// Build: see kernels.h.
//
// It is for machines that none of the other files fit, many times faster than the reference there. Multiply-adds round
// twice here, where the others' round once.
#include <math.h>

#include "kernels_simd.h"

#define SIMD
#define V static inline __attribute__((always_inline))

enum { MR = 4, NV = 2, VL = 4, WIDE = 4, WIDEN_F16_TILES = 2, WIDEN_BF16_TILES = 2 };
typedef float vf __attribute__((vector_size(16)));
typedef float loose_vf __attribute__((vector_size(16), aligned(4), may_alias)); // where memory is not aligned
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef uint32_t loose_vu __attribute__((vector_size(16), aligned(2), may_alias));
typedef int32_t loose_vi __attribute__((vector_size(16), aligned(4), may_alias));

V vf v_zero(void) {
    return (vf){0, 0, 0, 0};
}
V vf v_set1(float x) {
    return (vf){x, x, x, x};
}
V vf v_load(const float *p) {
    return *(const loose_vf *)p;
}
V void v_store(float *p, vf x) {
    *(loose_vf *)p = x;
}
V vf v_add(vf a, vf b) {
    return a + b;
}
V vf v_sub(vf a, vf b) {
    return a - b;
}
V vf v_mul(vf a, vf b) {
    return a * b;
}
V vf v_div(vf a, vf b) {
    return a / b;
}
V vf v_fma(vf a, vf b, vf c) {
    return a * b + c;
}
V vf choose(vi mask, vf a, vf b) {
    return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}
V vf v_max(vf a, vf b) {
    return choose(a > b, a, b);
}
V vf v_min(vf a, vf b) {
    return choose(a < b, a, b);
}

V vf v_load_f16(const uint16_t *p) {
    return (vf){bge_f16_to_float(p[0]), bge_f16_to_float(p[1]), bge_f16_to_float(p[2]), bge_f16_to_float(p[3])};
}

V vf v_even(const uint16_t *p) {
    return (vf)(*(const loose_vu *)p << 16);
}
V vf v_odd(const uint16_t *p) {
    return (vf)(*(const loose_vu *)p & 0xffff0000u);
}
V vf v_not_negative(vf x, vf a, vf b) {
    return choose(x < v_zero(), b, a);
}
V vf v_below(const int32_t *limit, int32_t j, vf a, vf b) {
    return choose(*(const loose_vi *)limit > j, a, b);
}
V float v_sum(vf x) {
    return (x[0] + x[2]) + (x[1] + x[3]);
}

// 2^x = 2^i 2^f, i the nearest integer; 2^f - 1 = f q(f) with a relative error of 2e-9, so that rounding is what is
// left. Results under 2^-126 come out as 2^-126.
V vf v_exp2(vf x) {
    x = v_max(v_set1(-126), v_min(v_set1(127.999f), x));
    const vf shifter = v_set1(0x1.8p23f); // adding it leaves the nearest integer in the lowest bits
    const vf shifted = x + shifter, f = x - (shifted - shifter);
    vf q = v_set1(1.5353362e-4f);
    q = v_fma(q, f, v_set1(1.33988750e-3f));
    q = v_fma(q, f, v_set1(9.61843692e-3f));
    q = v_fma(q, f, v_set1(5.55033237e-2f));
    q = v_fma(q, f, v_set1(2.40226477e-1f));
    q = v_fma(q, f, v_set1(6.93147182e-1f));
    q = v_fma(q, f, v_set1(1));
    return (vf)((vu)q + ((vu)shifted << 23));
}

#include "kernels_simd_loops.h"

// clang-format takes the list of instances for an expression.
// clang-format off
#define TABLE(kind)                                                                                                    \
    GEMM(kind, 1, 1) GEMM(kind, 2, 1) GEMM(kind, 3, 1) GEMM(kind, 4, 1) GEMM(kind, 1, 2)                               \
    static const bge_gemms gemms_##kind = {                                                                            \
        .one = {NULL, gemm_##kind##_1x1, gemm_##kind##_2x1, gemm_##kind##_3x1, gemm_##kind##_4x1},                     \
        .wide = {NULL, gemm_##kind##_1x2},                                                                             \
        .wide_panels = {0, 2},                                                                                         \
    };
// clang-format on

TABLE(f32)
TABLE(f16)
TABLE(bf16)

static const bge_simd simd = {FLOAT_LOOPS(NULL, round_to_bf16)};

const bge_kernels bge_kernels_portable = KERNELS("portable", 0, simd);
