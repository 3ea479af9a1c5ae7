// Activations to integers: what bge_encode makes of a slice of a row for products with quantised weights. Included
// after kernels_simd_loops.h.
#ifndef BGE_KERNELS_ENCODE_H
#define BGE_KERNELS_ENCODE_H

#include "kernels_simd.h"

// One block of 32: codes up to `most`, and their scale. A block of zeros, or of numbers too small to divide by, becomes
// zeros; one that holds NaN or infinity has a scale of NaN, which no sum hides.
INLINE float encode_block(const float *x, const float most, float *restrict code) {
    uint32_t peak = 0;
    for (int i = 0; i < 32; i++) {
        const uint32_t size = bge_bits_of_float(x[i]) & 0x7fffffffu;
        peak = size > peak ? size : peak;
    }
    const float max = bge_float_of_bits(peak), tiny = 1e-30f;
    if (peak >= 0x7f800000u)
        return bge_float_of_bits(0x7fc00000u);
    const float inverse = max > tiny ? most / max : 0;
    const float round = 0x1.8p23f; // added and taken away, it leaves the nearest integer
    for (int i = 0; i < 32; i++)
        code[i] = x[i] * inverse + round - round;
    return max > tiny ? max / most : 0;
}

static SIMD void encode_row8(const float *x, int64_t n, void *to) {
    int8_t *q = to;
    const bge_code_floats f = bge_floats_of_codes(to, BGE_X_INT8, n);
    for (int64_t b = 0; b < n / 32; b++) {
        float code[32];
        memset(code, 0, sizeof code);
        const float scale = f.scale[b] = encode_block(x + b * 32, 127, code);
        int32_t sum[2] = {0, 0};
        for (int i = 0; i < 32; i++)
            q[b * 32 + i] = (int8_t)code[i];
        for (int i = 0; i < 16; i++) {
            sum[0] += (int32_t)code[i];
            sum[1] += (int32_t)code[16 + i];
        }
        f.sum32[b] = scale * (float)(sum[0] + sum[1]);
        f.sum16[2 * b] = scale * (float)sum[0];
        f.sum16[2 * b + 1] = scale * (float)sum[1];
    }
}

static SIMD void encode_row16(const float *x, int64_t n, void *to) {
    int16_t *q = to;
    const bge_code_floats f = bge_floats_of_codes(to, BGE_X_INT16, n);
    for (int64_t b = 0; b < n / 32; b++) {
        float code[32];
        memset(code, 0, sizeof code);
        f.scale[b] = encode_block(x + b * 32, 32767, code);
        for (int i = 0; i < 32; i++)
            q[b * 32 + i] = (int16_t)code[i];
    }
}

#define ENCODE_ROW                                                                                                     \
    { [BGE_X_INT8] = encode_row8, [BGE_X_INT16] = encode_row16 }

#endif
