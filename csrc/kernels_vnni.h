// Products of quantised weights with quantised activations by VPDPBUSD, written once over the vectors of AVX-512 and of
// AVX2. Included after kernels_simd_loops.h by files that have defined, beside what that needs:
//   vi                  a vector of VL lanes of 32 bits: 4 codes of 8 bits, or an integer
//   vi_load vi_set1     (the 32 bits at p in every lane)
//   vi_dot8             adds the products of 4 unsigned weights and 4 signed activations a lane to integer sums
//   v_of_bits           a vector of integers as the floats that have those bits
//   vi_keep             a statement that has a vector in its register
//   CODES_SIMD          the function attribute of what calls vi_dot8
//
// y[row][col] = sum over slices of  x_slice[row] * sum over blocks of  d[col] * power[row] * (q . x)
//             + sum over blocks of  m[col] * x_sum[row]
//
// where the product in brackets is of integers and exact. A block is what has a scale: 16 or 32 terms. q are signed,
// and their bytes hold 128 more. What a block costs beside its products is kept small, since it is done by the same
// units: two operations and a store for each vector of sums.
//
//   An integer s below 2^22 in size, added to the bits of the float 1.5 * 2^23, makes those of 1.5 * 2^23 + s; added to
//   the bits of 1.5 * 2^23 * power, of a power of two, those of (1.5 * 2^23 + s) * power. So sums start from such bits,
//   and a subtraction (on AMD's processors that is for units that have nothing else to do) is all that it takes to
//   convert and scale a sum. Hence the scales of a slice of x are a power of two apart: each is up to twice the
//   one that would do, which adds to the rounding of x; x_slice is chosen so that it adds the least.
//   128 times the sum of x goes off at the start, too.
//   Minima are a small product of floats, before all blocks of a slice.
#ifndef BGE_KERNELS_VNNI_H
#define BGE_KERNELS_VNNI_H

#define WIDE_CODES 0
#define SIGNED_CODES 0
#define BIASED_CODES 1
#define PAIRED_STEPS 0
#include "kernels_panels.h"

#define CODES_INLINE static inline __attribute__((always_inline)) CODES_SIMD

#ifdef BGE_SIMDE
#define UNROLL // an emulated instruction is a function call: there is nothing to win, and minutes of compiling to lose
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- activations ----

static const float integer_zero = 0x1.8p23f; // float whose bits have integers added

// What is known of the blocks of a slice of activations: the power of two below a block's largest, over that of the
// slice's largest, and the largest over its power of two. Zeros for blocks that do not count.
typedef struct slice_peaks {
    float power[BGE_SLICE / 32], mantissa[BGE_SLICE / 32];
    float largest; // power of two
} slice_peaks;

INLINE uint32_t peak_bits(const float *x) {
    uint32_t peak = 0;
    for (int i = 0; i < 32; i++) {
        const uint32_t size = bge_bits_of_float(x[i]) & 0x7fffffffu;
        peak = size > peak ? size : peak;
    }
    return peak;
}

// A block that holds NaN or infinity, or nothing but numbers too small to divide by, does not count. One that is far
// below the slice's largest is rounded with the others.
static SIMD slice_peaks find_peaks(const float *x, int64_t blocks) {
    const float tiny = 1e-30f, least = 0x1p-20f;
    const uint32_t no_number = 0x7f800000u;
    slice_peaks p = {.largest = 0};
    for (int64_t b = 0; b < blocks; b++) {
        const uint32_t peak = peak_bits(x + b * 32);
        if (peak >= no_number || bge_float_of_bits(peak) < tiny)
            continue;
        p.power[b] = bge_float_of_bits(peak & no_number);
        p.mantissa[b] = bge_float_of_bits((peak & ~no_number) | bge_bits_of_float(1));
        p.largest = p.power[b] > p.largest ? p.power[b] : p.largest;
    }
    for (int64_t b = 0; b < blocks; b++)
        if (p.largest > 0) {
            const float power = p.power[b] / p.largest;
            p.power[b] = power < least ? least : power;
        }
    return p;
}

// The mantissa of the scale that all scales of a slice are a power of two from: that of the block with which the
// squares of the scales, which is what rounding leaves, add up to the least.
static SIMD float best_mantissa(const slice_peaks *p, int64_t blocks) {
    enum { N = BGE_SLICE / 32 };
    float cost[N];
    for (int i = 0; i < N; i += VL) {
        const vf mantissa = v_load(p->mantissa + i);
        vf sum = v_zero();
        for (int64_t b = 0; b < blocks; b++) {
            const float square = p->power[b] * p->power[b];
            const vf above = v_sub(mantissa, v_set1(p->mantissa[b]));
            sum = v_add(sum, v_not_negative(above, v_set1(square), v_set1(4 * square)));
        }
        v_store(cost + i, v_mul(sum, v_mul(mantissa, mantissa)));
    }
    int64_t best = 0;
    for (int64_t i = 1; i < blocks; i++)
        if (p->mantissa[best] == 0 || (p->mantissa[i] > 0 && cost[i] < cost[best]))
            best = i;
    return p->mantissa[best];
}

// One block of 32 to codes: x over the scale, rounded to the nearest.
INLINE void encode_codes(const float *x, float inverse, int8_t *restrict q, int32_t sum[2]) {
    float code[32];
    for (int i = 0; i < 32; i++)
        code[i] = x[i] * inverse + integer_zero - integer_zero;
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)code[i];
    sum[0] = sum[1] = 0;
    for (int i = 0; i < 16; i++) {
        sum[0] += (int32_t)code[i];
        sum[1] += (int32_t)code[16 + i];
    }
}

static SIMD void encode_vnni(const float *x, int64_t n, void *to) {
    const bge_vnni_floats f = bge_floats_of_vnni(bge_floats_of_codes(to, BGE_X_INT8_VNNI, n).scale, n);
    const slice_peaks p = find_peaks(x, n / 32);
    const float mantissa = best_mantissa(&p, n / 32), slice = p.largest * (mantissa / 127);
    const float inverse = slice > 0 ? 1 / slice : 0;
    for (int64_t b = 0; b < n / 32; b++) {
        const int none = p.mantissa[b] == 0;
        const float power = none ? 1 : p.power[b] * (p.mantissa[b] > mantissa ? 2 : 1);
        int8_t *q = (int8_t *)to + b * 32;
        int32_t sum[2] = {0, 0};
        if (none)
            memset(q, 0, 32);
        else
            encode_codes(x + b * 32, inverse / power, q, sum);
        const int lost = none && peak_bits(x + b * 32) >= 0x7f800000u;
        const int32_t zero = (int32_t)bge_bits_of_float(integer_zero * power);
        f.zero[b] = lost ? NAN : integer_zero * power;
        f.sum[b] = lost ? NAN : slice * power * (float)(sum[0] + sum[1]);
        f.start32[b] = zero - 128 * (sum[0] + sum[1]);
        f.start16[2 * b] = zero - 128 * sum[0];
        f.start16[2 * b + 1] = zero - 128 * sum[1];
        f.slice[b] = slice;
    }
}

// ---- products ----

// The sums of one block: s[row][v] = start + q . x. vi_keep holds the compiler to this order of additions: any other
// needs more registers than there are.
CODES_INLINE void block_sums(const int rows, const int steps, const char *a, const char *b, const char *start,
                             int64_t a_row, vi s[MR][NV]) {
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < NV; v++) s[i][v] = vi_set1(start + i * a_row);
    for (int k = 0; k < steps; k++) {
        vi w[NV];
        UNROLL for (int v = 0; v < NV; v++) w[v] = vi_load(b + (k * NV + v) * VL * 4);
        UNROLL for (int i = 0; i < rows; i++) {
            const vi x = vi_set1(a + i * a_row + k * 4);
            UNROLL for (int v = 0; v < NV; v++) {
                s[i][v] = vi_dot8(s[i][v], w[v], x);
                vi_keep(s[i][v]);
            }
        }
    }
}

// A statement that has an array in memory: left to itself, the compiler keeps copies of sums that it runs out of
// registers for.
#define in_memory(p) __asm__ volatile("" : : "r"(p) : "memory")

CODES_INLINE float float_at(const float *p, int64_t bytes) {
    return *(const float *)(const void *)((const char *)p + bytes);
}

// c (+)= the terms of a tile, in blocks of `block` that have a scale each.
CODES_INLINE void gemm_codes(const bge_tile *t, const int rows, const int block) {
    const char *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row, blocks = t->n / block;
    const bge_vnni_floats f = bge_floats_of_vnni((float *)(uintptr_t)t->a_scale, t->n);
    const char *start = (const char *)(block == 32 ? f.start32 : f.start16);
    float sums[MR * NV * VL] __attribute__((aligned(64)));
    UNROLL for (int i = 0; i < rows * NV; i++) v_store(sums + i * VL, v_zero());
    for (int64_t k = 0; k < blocks; k++, a += block, b += block * PANEL, start += 4) {
        vi s[MR][NV];
        vf d[NV];
        block_sums(rows, block / 4, a, b, start, a_row, s);
        const float *zero = f.zero + k * block / 32;
        UNROLL for (int v = 0; v < NV; v++) d[v] = v_load(t->b_scale + k * PANEL + v * VL);
        UNROLL for (int i = 0; i < rows; i++) {
            const vf x = v_set1(float_at(zero, i * a_row));
            UNROLL for (int v = 0; v < NV; v++) {
                float *to = sums + (i * NV + v) * VL;
                v_store(to, v_fma(v_sub(v_of_bits(s[i][v]), x), d[v], v_load(to)));
            }
        }
        in_memory(sums);
    }
    float *c = t->c; // a copy, since a store might change *t for all the compiler knows
    if (!t->add)
        UNROLL for (int i = 0; i < rows * NV; i++) v_store(c + i * VL, v_zero());
    UNROLL for (int i = 0; i < rows; i++) {
        const vf x = v_set1(float_at(f.slice, i * a_row));
        UNROLL for (int v = i * NV; v < (i + 1) * NV; v++)
            v_store(c + v * VL, v_fma(x, v_load(sums + v * VL), v_load(c + v * VL)));
    }
}

#define GEMM_CODES(kind, block, rows)                                                                                  \
    static CODES_SIMD void gemm_##kind##_##rows(const bge_tile *t) {                                                   \
        gemm_codes(t, rows, block);                                                                                    \
    }

// The same of a type with minima, which are multiplied with the sums of x.
static void add_minima(const bge_tile *t, bge_gemm of_floats, bge_gemm of_codes) {
    const bge_tile minima = {.n = t->n / 32,
                             .a = t->a_sum,
                             .a_row = t->a_row / (int64_t)sizeof(float),
                             .a_col = 1,
                             .b = t->b_min,
                             .b_step = PANEL,
                             .c = t->c,
                             .c_row = PANEL,
                             .add = t->add};
    bge_tile codes = *t;
    codes.add = 1;
    of_floats(&minima);
    of_codes(&codes);
}

#define GEMM_MINIMA(rows)                                                                                              \
    static void gemm_u8_min_##rows(const bge_tile *t) {                                                                \
        add_minima(t, gemm_f32_##rows##x1, gemm_u8_##rows);                                                            \
    }

// All kinds of one number of rows.
#define VNNI_ROWS(rows) GEMM_CODES(u8, 32, rows) GEMM_CODES(u8_16, 16, rows) GEMM_MINIMA(rows)

// What a bge_simd takes from gemms_u8, gemms_u8_min and gemms_u8_16.
#define VNNI_CODES                                                                                                     \
    .gemm[BGE_B_U8] = &gemms_u8, .gemm[BGE_B_U8_MIN] = &gemms_u8_min, .gemm[BGE_B_U8_16] = &gemms_u8_16,               \
    .code_type = {[BGE_TYPE_Q4_0] = {BGE_B_U8, 32},     [BGE_TYPE_Q4_1] = {BGE_B_U8_MIN, 32},                          \
                  [BGE_TYPE_Q5_0] = {BGE_B_U8, 32},     [BGE_TYPE_Q5_1] = {BGE_B_U8_MIN, 32},                          \
                  [BGE_TYPE_Q8_0] = {BGE_B_U8, 32},     [BGE_TYPE_Q4_K] = {BGE_B_U8_MIN, 32},                          \
                  [BGE_TYPE_Q5_K] = {BGE_B_U8_MIN, 32}, [BGE_TYPE_Q6_K] = {BGE_B_U8_16, 16}},                          \
    .pack_panel = pack_panel, .expand_panel = expand_panel, .encode_row = {[BGE_X_INT8_VNNI] = encode_vnni}

#endif
