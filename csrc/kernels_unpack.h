// Rows of quantised weights, as ggml's blocks hold them, into small integers: w = d * q + m, q unsigned, with a scale d
// and a minimum m for each 16 or 32 values. Included by the files of the fast instruction sets after SIMD is defined,
// so that the compiler may use that for these loops. The layouts are those of GGUF's block types.
//
//   block          values  bytes                                    q          scales of
//   q4_0           32      f16 d, 16 of nibbles                     0..15      32, m = -8 d
//   q4_1           32      f16 d, f16 m, 16 of nibbles              0..15      32
//   q5_0           32      f16 d, 4 of fifth bits, 16 of nibbles    0..31      32, m = -16 d
//   q5_1           32      f16 d, f16 m, 4 and 16                   0..31      32
//   q8_0           32      f16 d, 32 signed                         0..255     32, m = -128 d
//   q4_k           256     f16 d, f16 dmin, 12 of scales, 128       0..15      32
//   q5_k           256     the same with 32 of fifth bits before    0..31      32
//   q6_k           256     128 low, 64 high, 16 signed, f16 d       0..63      16, m = -32 d
#ifndef BGE_KERNELS_UNPACK_H
#define BGE_KERNELS_UNPACK_H

#include "kernels_simd.h"

enum { BLOCK = 32, SUPER = 256, K_SCALES = 12 };

static inline float half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return bge_f16_to_float(h);
}

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

// q4_0, q4_1, q5_0 and q5_1: has_min and fifth tell them apart.
INLINE void unpack_legacy(const uint8_t *row, int64_t n, uint8_t *restrict q, float *restrict d, float *restrict m,
                          const int has_min, const int fifth) {
    const int head = 2 + 2 * has_min, bytes = head + 4 * fifth + BLOCK / 2;
    for (int64_t i = 0; i < n / BLOCK; i++, row += bytes, q += BLOCK) {
        d[i] = half_at(row);
        m[i] = has_min ? half_at(row + 2) : d[i] * (fifth ? -16 : -8);
        nibbles(row + head + 4 * fifth, BLOCK / 2, q, q + BLOCK / 2);
        if (fifth)
            fifth_bits(row + head, q);
    }
}

INLINE void unpack_q8_0(const uint8_t *row, int64_t n, uint8_t *restrict q, float *restrict d, float *restrict m) {
    for (int64_t i = 0; i < n / BLOCK; i++, row += 2 + BLOCK, q += BLOCK) {
        d[i] = half_at(row);
        m[i] = d[i] * -128;
        for (int j = 0; j < BLOCK; j++)
            q[j] = row[2 + j] ^ 0x80;
    }
}

// The 6-bit scales and minima of q4_k and q5_k.
INLINE void k_scales(const uint8_t *s, float scale, float min, float *restrict d, float *restrict m) {
    for (int i = 0; i < 4; i++) {
        d[i] = scale * (float)(s[i] & 63);
        m[i] = -min * (float)(s[i + 4] & 63);
        d[i + 4] = scale * (float)((s[i + 8] & 15) | s[i] >> 6 << 4);
        m[i + 4] = -min * (float)(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
    }
}

INLINE void unpack_k(const uint8_t *row, int64_t n, uint8_t *restrict q, float *restrict d, float *restrict m,
                     const int fifth) {
    const int head = 4 + K_SCALES, bytes = head + fifth * SUPER / 8 + SUPER / 2;
    for (int64_t i = 0; i < n / SUPER; i++, row += bytes, d += SUPER / BLOCK, m += SUPER / BLOCK) {
        k_scales(row + 4, half_at(row), half_at(row + 2), d, m);
        const uint8_t *high = row + head, *low = high + fifth * SUPER / 8;
        for (int j = 0; j < SUPER / BLOCK; j += 2, low += BLOCK, q += 2 * BLOCK) {
            nibbles(low, BLOCK, q, q + BLOCK);
            for (int k = 0; fifth && k < BLOCK; k++) {
                q[k] |= (uint8_t)((high[k] >> j & 1) << 4);
                q[k + BLOCK] |= (uint8_t)((high[k] >> (j + 1) & 1) << 4);
            }
        }
    }
}

INLINE void unpack_q6_k(const uint8_t *row, int64_t n, uint8_t *restrict q, float *restrict d, float *restrict m) {
    enum { LOW = SUPER / 2, HIGH = SUPER / 4, SCALES = SUPER / 16, BYTES = LOW + HIGH + SCALES + 2 };
    for (int64_t i = 0; i < n / SUPER; i++, row += BYTES, d += SCALES, m += SCALES) {
        const float scale = half_at(row + BYTES - 2);
        for (int j = 0; j < SCALES; j++) {
            d[j] = scale * (float)(int8_t)row[LOW + HIGH + j];
            m[j] = d[j] * -32;
        }
        const uint8_t *low = row, *high = row + LOW;
        for (int half = 0; half < 2; half++, low += 64, high += 32, q += 128)
            for (int j = 0; j < 32; j++) {
                q[j] = (uint8_t)((low[j] & 15) | (high[j] & 3) << 4);
                q[j + 32] = (uint8_t)((low[j + 32] & 15) | (high[j] >> 2 & 3) << 4);
                q[j + 64] = (uint8_t)(low[j] >> 4 | (high[j] >> 4 & 3) << 4);
                q[j + 96] = (uint8_t)(low[j + 32] >> 4 | high[j] >> 6 << 4);
            }
    }
}

// n values of a row, which are whole blocks of `type`. q: [n], d and m: [n / 32], or [n / 16] for q6_k.
static SIMD void unpack_row(int32_t type, const void *row, int64_t n, uint8_t *q, float *d, float *m) {
    switch (type) {
    case BGE_TYPE_Q4_0:
        unpack_legacy(row, n, q, d, m, 0, 0);
        break;
    case BGE_TYPE_Q4_1:
        unpack_legacy(row, n, q, d, m, 1, 0);
        break;
    case BGE_TYPE_Q5_0:
        unpack_legacy(row, n, q, d, m, 0, 1);
        break;
    case BGE_TYPE_Q5_1:
        unpack_legacy(row, n, q, d, m, 1, 1);
        break;
    case BGE_TYPE_Q8_0:
        unpack_q8_0(row, n, q, d, m);
        break;
    case BGE_TYPE_Q4_K:
        unpack_k(row, n, q, d, m, 0);
        break;
    case BGE_TYPE_Q5_K:
        unpack_k(row, n, q, d, m, 1);
        break;
    default:
        unpack_q6_k(row, n, q, d, m);
    }
}

#endif
