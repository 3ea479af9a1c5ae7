// What the files jpeg*.c share among themselves, but for jpeg_turbo.c, which is another way to decode.
#ifndef BGE_JPEG_IMPL_H
#define BGE_JPEG_IMPL_H

#include <string.h>

#include "jpeg.h"

struct bge_jpeg {
    const char *name;
    unsigned needs; // BGE_CPU_* bits
    // One block, whose coefficients stay.
    void (*block)(const int32_t *coeffs, uint8_t *dst, int64_t stride);
    // A row of n samples doubled. sums has room for n numbers.
    void (*h2v1)(uint8_t *out, const uint8_t *in, int32_t n);
    void (*h2v2)(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, uint16_t *sums);
    // A row between two: 3/4 of the nearer one, 1/4 of the further one.
    void (*h1v2)(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, int32_t bias);
    // n pixels to RGB.
    void (*rgb)(uint8_t *out, const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int32_t n);
};

extern const bge_jpeg bge_jpeg_plain;
extern const bge_jpeg bge_jpeg_avx2; // x86-64

static inline uint8_t bge_clamp8(int32_t v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// The inverse DCT of Loeffler, Ligtenberg and Moschytz in fixed point, with the constants and the roundings of
// libjpeg's accurate integer method. The constants have 13 bits of fraction; the columns are done first and keep 2 more
// bits.
enum {
    BGE_DCT_BITS = 13,
    BGE_DCT_PASS = 2,
    BGE_DCT_COLUMN = BGE_DCT_BITS - BGE_DCT_PASS,  // shift after the columns
    BGE_DCT_ROW = BGE_DCT_BITS + BGE_DCT_PASS + 3, // and after the rows
    BGE_DCT_LEVEL = 128,                           // what a sample of the value 0 is stored as
    BGE_DCT_0298 = 2446,                           // 0.298631336
    BGE_DCT_0390 = 3196,                           // 0.390180644
    BGE_DCT_0541 = 4433,                           // 0.541196100
    BGE_DCT_0765 = 6270,                           // 0.765366865
    BGE_DCT_0899 = 7373,                           // 0.899976223
    BGE_DCT_1175 = 9633,                           // 1.175875602
    BGE_DCT_1501 = 12299,                          // 1.501321110
    BGE_DCT_1847 = 15137,                          // 1.847759065
    BGE_DCT_1961 = 16069,                          // 1.961570560
    BGE_DCT_2053 = 16819,                          // 2.053119869
    BGE_DCT_2562 = 20995,                          // 2.562915447
    BGE_DCT_3072 = 25172,                          // 3.072711026
};

// Y, Cb, Cr to R, G, B: full-range BT.601 in 16-bit fixed point.
enum {
    BGE_YCC_BITS = 16,
    BGE_YCC_HALF = 1 << 15,
    BGE_YCC_R_CR = 91881,  // 1.402 * 65536, rounded
    BGE_YCC_B_CB = 116130, // 1.772
    BGE_YCC_G_CR = 46802,  // 0.71414
    BGE_YCC_G_CB = 22554,  // 0.34414
};

static inline void bge_ycc_pixel(uint8_t rgb[3], int32_t y, int32_t cb, int32_t cr) {
    cb -= 128;
    cr -= 128;
    rgb[0] = bge_clamp8(y + ((BGE_YCC_R_CR * cr + BGE_YCC_HALF) >> BGE_YCC_BITS));
    rgb[1] = bge_clamp8(y + ((-BGE_YCC_G_CB * cb - BGE_YCC_G_CR * cr + BGE_YCC_HALF) >> BGE_YCC_BITS));
    rgb[2] = bge_clamp8(y + ((BGE_YCC_B_CB * cb + BGE_YCC_HALF) >> BGE_YCC_BITS));
}

// The loops below are for compilers to make vectors of, those of the file that includes them.
#define BGE_LOOP static inline __attribute__((always_inline))

// Doubles a row by a triangle filter. The rounding alternates, so that it has no bias.
BGE_LOOP void bge_h2v1(uint8_t *restrict out, const uint8_t *restrict in, int32_t n) {
    out[0] = in[0];
    out[2 * n - 1] = in[n - 1];
    for (int32_t i = 0; i < n - 1; i++) {
        out[2 * i + 1] = (uint8_t)((3 * in[i] + in[i + 1] + 2) >> 2);
        out[2 * i + 2] = (uint8_t)((3 * in[i + 1] + in[i] + 1) >> 2);
    }
}

// Doubles a row by the same filter, of the sums of each column's nearer and further sample. Four times a sum over 16 is
// the sample.
BGE_LOOP void bge_h2v2(uint8_t *restrict out, const uint8_t *restrict near, const uint8_t *restrict far, int32_t n,
                       uint16_t *restrict sums) {
    for (int32_t i = 0; i < n; i++)
        sums[i] = (uint16_t)(3 * near[i] + far[i]);
    out[0] = (uint8_t)((4 * sums[0] + 8) >> 4);
    out[2 * n - 1] = (uint8_t)((4 * sums[n - 1] + 7) >> 4);
    for (int32_t i = 0; i < n - 1; i++) {
        const uint16_t a = sums[i], b = sums[i + 1];
        out[2 * i + 1] = (uint8_t)((uint16_t)(3 * a + b + 7) >> 4);
        out[2 * i + 2] = (uint8_t)((uint16_t)(3 * b + a + 8) >> 4);
    }
}

BGE_LOOP void bge_h1v2(uint8_t *restrict out, const uint8_t *restrict near, const uint8_t *restrict far, int32_t n,
                       int32_t bias) {
    for (int32_t i = 0; i < n; i++)
        out[i] = (uint8_t)((3 * near[i] + far[i] + bias) >> 2);
}

#endif
