// Panels of quantised weights: what kernels_linear.c keeps of a matrix, and what its products read of that. Included by
// kernels_codes.h, kernels_vnni.h and kernels_neon_codes.h, with what they need defined.
//
// A packed matrix holds what the file holds, bit for bit but for 6-bit scales, which take 8 here, in the order in which
// the products ask for it, so that getting a slice ready takes shifts and masks of whole vectors. A block of all rows
// of a panel follows the other:
//
//   low     u32[values / 8][panel]   of codes below 64: bytes of the low 4 bits of 4 terms, those of the next 4 above
//           u32[values / 4][panel]   of codes of 8 bits: bytes of 4 terms
//   high    u32[values / 32][panel]  of 5 bits: bit j of byte i is the fifth of term 4 j + i
//           u32[values / 16][panel]  of 6 bits: bits 2 j and 2 j + 1 of byte i are the highest of term 4 j + i
//   d, m    f16[panel] each; m where the type has minima
//   scale   u8[2][panel][4], 4 scales of a row together, of q4_k and q5_k, whose minima follow alike; of q6_k
//           i8[4][panel][4]
//
// A product of 16 bits reads pairs of terms, so the second and third of 4 terms change places for it: their bytes then
// are the low and the high halves of two pairs. One of matrices reads 8 terms of a column in one piece: PAIRED_STEPS
// has words of two steps change places for it, so that of each 4 columns the first step holds both words of the first
// two, and the second step those of the last two.
//
//   WIDE_CODES     1: weights of 6 and 8 bits are read as 16 bits
//   SIGNED_CODES   1: weights of types without minima are read as signed bytes, and no minimum is made of their zero
//   BIASED_CODES   1: weights are read as bytes that hold 128 more than the weight, of types without minima less their
//                  zero, of which no minimum is made
//   PAIRED_STEPS   1: as above
#ifndef BGE_KERNELS_PANELS_H
#define BGE_KERNELS_PANELS_H

#include "kernels_unpack.h"

#ifndef BIASED_CODES
#define BIASED_CODES 0
#endif

typedef uint32_t __attribute__((may_alias)) word; // four bytes of anything

// What is known of a type before a loop over its blocks runs.
typedef struct panel_shape {
    int values, low, high; // of a block; bits
    int zero;              // the code of a weight of zero; 0: blocks have minima
    int wide;              // 1: products read 16 bits, zero taken away
} panel_shape;

INLINE panel_shape shape_of(int32_t type) {
    const int wide = WIDE_CODES && (type == BGE_TYPE_Q8_0 || type == BGE_TYPE_Q6_K);
    switch (type) {
    case BGE_TYPE_Q4_0:
        return (panel_shape){BLOCK, 4, 0, 8, 0};
    case BGE_TYPE_Q5_0:
        return (panel_shape){BLOCK, 4, 1, 16, 0};
    case BGE_TYPE_Q5_1:
        return (panel_shape){BLOCK, 4, 1, 0, 0};
    case BGE_TYPE_Q8_0:
        return (panel_shape){BLOCK, 8, 0, 128, wide};
    case BGE_TYPE_Q4_K:
        return (panel_shape){SUPER, 4, 0, 0, 0};
    case BGE_TYPE_Q5_K:
        return (panel_shape){SUPER, 4, 1, 0, 0};
    case BGE_TYPE_Q6_K:
        return (panel_shape){SUPER, 4, 2, 32, wide};
    default: // q4_1
        return (panel_shape){BLOCK, 4, 0, 0, 0};
    }
}

// Whether products read signed bytes, zero taken away.
INLINE int reads_signed(const panel_shape s) {
    return SIGNED_CODES && s.zero && !s.wide;
}

// Whether no minimum is made of the zero of a type without minima.
INLINE int lacks_minima(const panel_shape s) {
    return reads_signed(s) || (BIASED_CODES && s.zero);
}

// ---- packing ----

// Two steps of all rows, for PAIRED_STEPS.
INLINE void pair_steps(word *t) {
    for (int i = 0; i < PANEL; i += 4) {
        word *first = t + i, *second = t + PANEL + i;
        const word a[4] = {first[0], second[0], first[1], second[1]};
        const word b[4] = {first[2], second[2], first[3], second[3]};
        memcpy(first, a, sizeof a);
        memcpy(second, b, sizeof b);
    }
}

// Codes of a block of all rows, [values / 4][panel] of 4 terms, to low and high; returns what follows them.
INLINE char *pack_codes(const word *restrict t, const panel_shape s, char *to) {
    word *low = (word *)to, *high = low + s.values * s.low / 32 * PANEL;
    memset(high, 0, (size_t)(s.values * s.high / 32 * PANEL) * sizeof *high);
    for (int step = 0; step < s.values / 4; step++)
        for (int i = 0; i < PANEL; i++) {
            word v = t[step * PANEL + i];
            if (s.wide)
                v = (v & 0xff0000ffu) | (v >> 8 & 0xff00u) | (v & 0xff00u) << 8;
            if (s.low == 8)
                low[step * PANEL + i] = v;
            else if (step % 2 == 0)
                low[step / 2 * PANEL + i] = v & 0x0f0f0f0fu;
            else
                low[step / 2 * PANEL + i] |= (v & 0x0f0f0f0fu) << 4;
            if (s.high)
                high[step * s.high / 8 * PANEL + i] |= (v >> 4 & 0x03030303u) << step * s.high % 8;
        }
    return (char *)(high + s.values * s.high / 32 * PANEL);
}

// The scales of a block of all rows; returns what follows them.
INLINE char *pack_scales(const block_scales *of, int32_t type, const panel_shape s, char *to) {
    const int mins = s.zero == 0, k = type == BGE_TYPE_Q4_K || type == BGE_TYPE_Q5_K;
    const int scales = k ? 8 : type == BGE_TYPE_Q6_K ? 16 : 0;
    uint16_t *half = (uint16_t *)(void *)to;
    for (int i = 0; i < PANEL; i++) {
        half[i] = of[i].d;
        if (mins)
            half[PANEL + i] = of[i].m;
    }
    uint8_t *at = (uint8_t *)(half + (1 + mins) * PANEL);
    for (int j = 0; j < scales; j++)
        for (int i = 0; i < PANEL; i++) {
            at[(j / 4 * PANEL + i) * 4 + j % 4] = of[i].scale[j];
            if (k)
                at[((2 + j / 4) * PANEL + i) * 4 + j % 4] = of[i].min[j];
        }
    return (char *)at + (k ? 16 : scales) * PANEL;
}

// One panel: `rows` rows of n values in blocks of a type, row_bytes apart. Rows that are missing become zeros.
static SIMD void pack_panel(int32_t type, const char *src, int64_t row_bytes, int64_t rows, int64_t n, char *to) {
    const panel_shape s = shape_of(type);
    const int64_t bytes = bge_block_of(type).bytes;
    uint8_t q[PANEL * SUPER] __attribute__((aligned(64)));
    float t[PANEL * SUPER / 4] __attribute__((aligned(64)));
    block_scales scales[PANEL];
    memset(scales, 0, sizeof scales);
    for (int64_t block = 0; block < n / s.values; block++) {
        for (int64_t r = 0; r < rows; r++)
            unpack_block(type, src + r * row_bytes + block * bytes, q + r * s.values, &scales[r]);
        bge_transpose_floats((const float *)(const void *)q, rows, s.values / 4, t, PANEL);
        for (int step = 0; PAIRED_STEPS && step < s.values / 4; step += 2)
            pair_steps((word *)t + step * PANEL);
        to = pack_scales(scales, type, s, pack_codes((const word *)t, s, to));
    }
}

// ---- what products read ----

// A vector of them, by the extension that GCC and Clang share: left to itself, GCC vectorises the wrong loop here.
typedef uint32_t words __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(VL * 4)));
typedef float reals __attribute__((vector_size(VL * 4)));
typedef uint8_t bytes __attribute__((vector_size(VL * 4)));

// The codes of 4 terms, of which `step` says where they stand.
INLINE words codes_at(const words *low, const words *high, const panel_shape s, const int step, const int v) {
    if (s.low == 8)
        return low[step * NV + v];
    words x = low[step / 2 * NV + v];
    x = (step % 2 ? x >> 4 : x) & 0x0f0f0f0fu;
    if (s.high == 1)
        x |= (high[v] >> step % 8 & 0x01010101u) << 4;
    if (s.high == 2)
        x |= (high[step % 8 / 4 * NV + v] >> step % 4 * 2 & 0x03030303u) << 4;
    return x;
}

// A block's codes of one panel, as the product's steps of 32 bits a lane; returns what follows them.
INLINE const char *expand_codes(const char *from, const panel_shape s, char *to) {
    const char *end_of_low = from + s.values * s.low / 8 * PANEL;
    const uint32_t halves = 0x00ff00ffu, zeros = (uint32_t)s.zero * 0x00010001u;
    const uint32_t top = 0x80008000u; // so that no half borrows from the other
    for (int block = 0; block < s.values / BLOCK; block++) {
        const words *low = (const words *)(const void *)(from + block * s.low * 4 * PANEL);
        const words *high = (const words *)(const void *)(end_of_low + block * s.high * 4 * PANEL);
        words *out = (words *)(void *)(to + block * BLOCK * (1 + s.wide) * PANEL);
#pragma GCC unroll 8
        for (int step = 0; step < BLOCK / 4; step++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                const words x = codes_at(low, high, s, step, v);
                if (s.wide) {
                    out[2 * step * NV + v] = (((x & halves) | top) - zeros) ^ top;
                    out[(2 * step + 1) * NV + v] = (((x >> 8 & halves) | top) - zeros) ^ top;
                } else {
                    const int more = BIASED_CODES ? 128 - s.zero : reads_signed(s) ? -s.zero : 0;
                    out[step * NV + v] = more ? (words)((bytes)x + (uint8_t)more) : x;
                }
            }
    }
    return end_of_low + s.values * s.high / 8 * PANEL;
}

INLINE vf halves_at(const char *from, int v) {
    return v_load_f16((const uint16_t *)(const void *)from + v * VL);
}
// The j-th scales of 8 or 16 that stand together by four.
INLINE vf scales_at(const char *from, const int j, const int is_signed, int v) {
    const words four = *(const words *)(const void *)(from + (j / 4 * PANEL + v * VL) * 4);
    const ints one = is_signed ? (ints)(four << (24 - j % 4 * 8)) >> 24 : (ints)(four >> j % 4 * 8 & 0xff);
    return (vf) __builtin_convertvector(one, reals);
}

// The one scale and minimum of a block of 32.
INLINE const char *expand_scale(const char *from, const panel_shape s, float *d, float *m) {
    for (int v = 0; v < NV; v++) {
        const vf scale = halves_at(from, v);
        v_store(d + v * VL, scale);
        if (lacks_minima(s))
            continue;
        v_store(m + v * VL, s.zero ? v_mul(scale, v_set1((float)-s.zero)) : halves_at(from + 2 * PANEL, v));
    }
    return from + (s.zero ? 2 : 4) * PANEL;
}

// The 8 scales and minima of a block of q4_k and q5_k.
INLINE const char *expand_k_scales(const char *from, float *d, float *m) {
    for (int v = 0; v < NV; v++) {
        const vf scale = halves_at(from, v), min = v_sub(v_zero(), halves_at(from + 2 * PANEL, v));
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            v_store(d + j * PANEL + v * VL, v_mul(scale, scales_at(from + 4 * PANEL, j, 0, v)));
            v_store(m + j * PANEL + v * VL, v_mul(min, scales_at(from + 12 * PANEL, j, 0, v)));
        }
    }
    return from + 20 * PANEL;
}

// The 16 scales of a block of q6_k.
INLINE const char *expand_q6_scales(const char *from, const panel_shape s, float *d, float *m) {
    for (int v = 0; v < NV; v++) {
        const vf scale = halves_at(from, v);
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) {
            const vf of_16 = v_mul(scale, scales_at(from + 2 * PANEL, j, 1, v));
            v_store(d + j * PANEL + v * VL, of_16);
            if (!lacks_minima(s))
                v_store(m + j * PANEL + v * VL, v_mul(of_16, v_set1((float)-s.zero)));
        }
    }
    return from + 18 * PANEL;
}

INLINE void expand_blocks(const int32_t type, const char *from, int64_t n, char *to, float *d, float *m) {
    const panel_shape s = shape_of(type);
    const int scales = type == BGE_TYPE_Q6_K ? 16 : s.values / 32;
    for (int64_t block = 0; block < n / s.values; block++) {
        from = expand_codes(from, s, to);
        to += (1 + s.wide) * s.values * PANEL;
        if (type == BGE_TYPE_Q4_K || type == BGE_TYPE_Q5_K)
            from = expand_k_scales(from, d, m);
        else if (type == BGE_TYPE_Q6_K)
            from = expand_q6_scales(from, s, d, m);
        else
            from = expand_scale(from, s, d, m);
        d += scales * PANEL;
        m += scales * PANEL;
    }
}

// n terms of one panel. w: u8 or i8[n / 4][panel][4], i16[n / 2][panel][2], or with PAIRED_STEPS
// [n / 8][2][panel / 4][2][8], which is half of each 4 columns after the other; d and m: [scales][panel].
static SIMD void expand_panel(int32_t type, const char *from, int64_t n, void *w, float *d, float *m) {
#define EXPAND(t)                                                                                                      \
    case t:                                                                                                            \
        expand_blocks(t, from, n, w, d, m);                                                                            \
        break;
    switch (type) {
        EXPAND(BGE_TYPE_Q4_0)
        EXPAND(BGE_TYPE_Q4_1)
        EXPAND(BGE_TYPE_Q5_0)
        EXPAND(BGE_TYPE_Q5_1)
        EXPAND(BGE_TYPE_Q8_0)
        EXPAND(BGE_TYPE_Q4_K)
        EXPAND(BGE_TYPE_Q5_K)
        EXPAND(BGE_TYPE_Q6_K)
    }
#undef EXPAND
}

#endif
