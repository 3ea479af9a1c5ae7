//go:build !bgevl_static

// Any processor, in plain C: the reference of the other variants, and what runs where none of them fits.
#include "jpeg_impl.h"

// One dimension over eight numbers that lie `step` apart: outputs are still scaled up by 2^BGE_DCT_BITS. Numbers are
// unsigned since signed ones may not wrap in C.
static inline void dct(const uint32_t *in, int step, uint32_t out[8]) {
    const uint32_t i0 = in[0], i1 = in[step], i2 = in[2 * step], i3 = in[3 * step], i4 = in[4 * step],
                   i5 = in[5 * step], i6 = in[6 * step], i7 = in[7 * step];
    const uint32_t z = (i2 + i6) * BGE_DCT_0541;
    const uint32_t t2 = z - i6 * BGE_DCT_1847, t3 = z + i2 * BGE_DCT_0765;
    const uint32_t t0 = (i0 + i4) << BGE_DCT_BITS, t1 = (i0 - i4) << BGE_DCT_BITS;
    const uint32_t e[4] = {t0 + t3, t1 + t2, t1 - t2, t0 - t3};
    const uint32_t z5 = (i7 + i3 + i5 + i1) * BGE_DCT_1175;
    const uint32_t z1 = (i7 + i1) * BGE_DCT_0899, z2 = (i5 + i3) * BGE_DCT_2562;
    const uint32_t z3 = z5 - (i7 + i3) * BGE_DCT_1961, z4 = z5 - (i5 + i1) * BGE_DCT_0390;
    const uint32_t o[4] = {i1 * BGE_DCT_1501 - z1 + z4, i3 * BGE_DCT_3072 - z2 + z3, i5 * BGE_DCT_2053 - z2 + z4,
                           i7 * BGE_DCT_0298 - z1 + z3};
    for (int i = 0; i < 4; i++) {
        out[i] = e[i] + o[i];
        out[7 - i] = e[i] - o[i];
    }
}

// Whether all but the first of eight numbers are 0. What libjpeg makes of these differs where the sums would wrap.
static inline int flat(const uint32_t *in, int step) {
    uint32_t any = 0;
    for (int i = 1; i < 8; i++)
        any |= in[i * step];
    return any == 0;
}

static void block(const int32_t *coeffs, uint8_t *dst, int64_t stride) {
    uint32_t b[64], out[8];
    memcpy(b, coeffs, sizeof b);
    for (int x = 0; x < 8; x++) {
        if (flat(b + x, 8)) {
            const uint32_t v = b[x] << BGE_DCT_PASS;
            for (int y = 0; y < 8; y++)
                b[8 * y + x] = v;
            continue;
        }
        dct(b + x, 8, out);
        for (int y = 0; y < 8; y++)
            b[8 * y + x] = (uint32_t)((int32_t)(out[y] + (1u << (BGE_DCT_COLUMN - 1))) >> BGE_DCT_COLUMN);
    }
    for (int y = 0; y < 8; y++) {
        const uint32_t *r = b + 8 * y;
        if (flat(r, 1)) {
            const uint32_t sum = r[0] + (1u << (BGE_DCT_PASS + 2));
            memset(dst + y * stride, bge_clamp8(((int32_t)sum >> (BGE_DCT_PASS + 3)) + BGE_DCT_LEVEL), 8);
            continue;
        }
        dct(r, 1, out);
        for (int x = 0; x < 8; x++) {
            const uint32_t sum = out[x] + (1u << (BGE_DCT_ROW - 1)) + ((uint32_t)BGE_DCT_LEVEL << BGE_DCT_ROW);
            dst[y * stride + x] = bge_clamp8((int32_t)sum >> BGE_DCT_ROW);
        }
    }
}

static void h2v1(uint8_t *out, const uint8_t *in, int32_t n) {
    bge_h2v1(out, in, n);
}

static void h2v2(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, uint16_t *sums) {
    bge_h2v2(out, near, far, n, sums);
}

static void h1v2(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, int32_t bias) {
    bge_h1v2(out, near, far, n, bias);
}

static void rgb(uint8_t *out, const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        bge_ycc_pixel(out + 3 * i, y[i], cb[i], cr[i]);
}

const bge_jpeg bge_jpeg_plain = {"plain", 0, block, h2v1, h2v2, h1v2, rgb};
