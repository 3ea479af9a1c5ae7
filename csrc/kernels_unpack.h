// Blocks of quantised weights, as GGUF's types hold them, into small integers: w = d * q + m, q unsigned, with a scale
// d and a minimum m for each 16 or 32 values. Included by kernels_panels.h after SIMD is defined, so that the compiler
// may use that for these loops.
//
//   block          values  bytes                                    q          scales of
//   q4_0           32      f16 d, 16 of nibbles                     0..15      32, m = -8 d
//   q4_1           32      f16 d, f16 m, 16 of nibbles              0..15      32
//   q5_0           32      f16 d, 4 of fifth bits, 16 of nibbles    0..31      32, m = -16 d
//   q5_1           32      f16 d, f16 m, 4 and 16                   0..31      32
//   q8_0           32      f16 d, 32 signed                         0..255     32, m = -128 d
//   q4_k           256     f16 d, f16 dmin, 12 of scales, 128       0..15      32, of 6 bits, minima alike
//   q5_k           256     the same with 32 of fifth bits before    0..31      32, of 6 bits, minima alike
//   q6_k           256     128 low, 64 high, 16 signed, f16 d       0..63      16, of 8 bits, m = -32 d
#ifndef BGE_KERNELS_UNPACK_H
#define BGE_KERNELS_UNPACK_H

#include "kernels_simd.h"

enum { BLOCK = 32, SUPER = 256, K_SCALES = 12 };

// The scales of one block as they stand in it.
typedef struct block_scales {
    uint16_t d, m; // f16: of the whole block, what `scale` and `min` are multiplied with where there are such
    uint8_t scale[16], min[8]; // q4_k and q5_k; q6_k has 16 signed scales
} block_scales;

// 16 bytes of nibbles: the low ones are the first 16 values, the high ones the last.
INLINE void nibbles(const uint8_t *p, int n, uint8_t *restrict low, uint8_t *restrict high) {
    for (int i = 0; i < n; i++) {
        low[i] = p[i] & 15;
        high[i] = p[i] >> 4;
    }
}

// Adds the fifth bits of a block of 32, a bit for each value.
INLINE void fifth_bits(const uint8_t *p, uint8_t *restrict q) {
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    for (int i = 0; i < BLOCK; i++)
        q[i] |= (uint8_t)((bits >> i & 1) << 4);
}

static inline uint16_t half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

// q4_0, q4_1, q5_0 and q5_1: has_min and fifth tell them apart.
INLINE void unpack_legacy(const uint8_t *at, uint8_t *restrict q, block_scales *s, const int has_min, const int fifth) {
    const uint8_t *high = at + 2 + 2 * has_min, *low = high + 4 * fifth;
    s->d = half_at(at);
    s->m = has_min ? half_at(at + 2) : 0;
    nibbles(low, BLOCK / 2, q, q + BLOCK / 2);
    if (fifth)
        fifth_bits(high, q);
}

INLINE void unpack_q8_0(const uint8_t *at, uint8_t *restrict q, block_scales *s) {
    s->d = half_at(at);
    for (int i = 0; i < BLOCK; i++)
        q[i] = at[2 + i] ^ 0x80;
}

// q4_k, and q5_k with its fifth bits. Scales and minima have 6 bits: those of the first four are together, the others
// have their low four in the last bytes and their high two above the first ones'.
INLINE void unpack_k(const uint8_t *at, uint8_t *restrict q, block_scales *s, const int fifth) {
    s->d = half_at(at);
    s->m = half_at(at + 2);
    const uint8_t *bits = at + 4, *high = bits + K_SCALES, *low = high + fifth * SUPER / 8;
    for (int i = 0; i < 4; i++) {
        s->scale[i] = bits[i] & 63;
        s->min[i] = bits[i + 4] & 63;
        s->scale[i + 4] = (uint8_t)((bits[i + 8] & 15) | bits[i] >> 6 << 4);
        s->min[i + 4] = (uint8_t)(bits[i + 8] >> 4 | bits[i + 4] >> 6 << 4);
    }
    for (int j = 0; j < SUPER / BLOCK; j += 2, low += BLOCK, q += 2 * BLOCK) {
        nibbles(low, BLOCK, q, q + BLOCK);
        for (int k = 0; fifth && k < BLOCK; k++) {
            q[k] |= (uint8_t)((high[k] >> j & 1) << 4);
            q[k + BLOCK] |= (uint8_t)((high[k] >> (j + 1) & 1) << 4);
        }
    }
}

INLINE void unpack_q6_k(const uint8_t *at, uint8_t *restrict q, block_scales *s) {
    const uint8_t *low = at, *high = at + SUPER / 2, *scales = high + SUPER / 4;
    memcpy(s->scale, scales, SUPER / 16);
    s->d = half_at(scales + SUPER / 16);
    for (int half = 0; half < 2; half++, low += 64, high += 32, q += 128)
        for (int j = 0; j < 32; j++) {
            q[j] = (uint8_t)((low[j] & 15) | (high[j] & 3) << 4);
            q[j + 32] = (uint8_t)((low[j + 32] & 15) | (high[j] >> 2 & 3) << 4);
            q[j + 64] = (uint8_t)(low[j] >> 4 | (high[j] >> 4 & 3) << 4);
            q[j + 96] = (uint8_t)(low[j + 32] >> 4 | high[j] >> 6 << 4);
        }
}

static SIMD void unpack_block(int32_t type, const void *block, uint8_t *q, block_scales *s) {
    switch (type) {
    case BGE_TYPE_Q4_0:
        unpack_legacy(block, q, s, 0, 0);
        break;
    case BGE_TYPE_Q4_1:
        unpack_legacy(block, q, s, 1, 0);
        break;
    case BGE_TYPE_Q5_0:
        unpack_legacy(block, q, s, 0, 1);
        break;
    case BGE_TYPE_Q5_1:
        unpack_legacy(block, q, s, 1, 1);
        break;
    case BGE_TYPE_Q8_0:
        unpack_q8_0(block, q, s);
        break;
    case BGE_TYPE_Q4_K:
        unpack_k(block, q, s, 0);
        break;
    case BGE_TYPE_Q5_K:
        unpack_k(block, q, s, 1);
        break;
    default:
        unpack_q6_k(block, q, s);
    }
}

#endif
