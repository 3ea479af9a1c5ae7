// What the files resize*.c share among themselves.
#ifndef BGE_RESIZE_IMPL_H
#define BGE_RESIZE_IMPL_H

#include <string.h>

#include "resize.h"

struct bge_resize {
    const char *name;
    unsigned needs; // BGE_CPU_* bits
    int64_t (*scratch)(const bge_resize_args *a);
    void (*across)(const bge_resize_args *a, void *scratch);
    void (*down)(const bge_resize_args *a);
};

extern const bge_resize bge_resize_plain;
extern const bge_resize bge_resize_avx2; // x86-64

// What a sum starts from, so that the shift at its end rounds.
#define BGE_RESIZE_HALF (1u << (BGE_RESIZE_BITS - 1))

// A sum as a sample. Sums are unsigned since signed ones may not wrap in C.
static inline uint8_t bge_resize_clip(uint32_t sum) {
    const int32_t v = (int32_t)sum >> BGE_RESIZE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// A row of plain C, for one channel count known to the compiler.
static inline __attribute__((always_inline)) void bge_resize_row(const bge_resize_args *a, const uint8_t *src,
                                                                 uint8_t *dst, int channels) {
    for (int32_t x = 0; x < a->outputs; x++) {
        const uint8_t *s = src + (int64_t)a->first[x] * channels;
        const int32_t *k = a->weight + (int64_t)x * a->taps;
        uint32_t sum[4] = {BGE_RESIZE_HALF, BGE_RESIZE_HALF, BGE_RESIZE_HALF, BGE_RESIZE_HALF};
        for (int32_t j = 0; j < a->size[x]; j++)
            for (int c = 0; c < channels; c++)
                sum[c] += s[j * channels + c] * (uint32_t)k[j];
        for (int c = 0; c < channels; c++)
            *dst++ = bge_resize_clip(sum[c]);
    }
}

// Columns [from, to) of one row of a pass down, counted in bytes; src is the first of the row's source rows.
static inline __attribute__((always_inline)) void bge_resize_columns(const uint8_t *src, int64_t stride,
                                                                     const int32_t *k, int32_t size, uint8_t *dst,
                                                                     int64_t from, int64_t to) {
    enum { BLOCK = 64 }; // sums that stay in the first cache, if not in registers
    for (; from < to; from += BLOCK) {
        const int n = (int)(to - from < BLOCK ? to - from : BLOCK);
        uint32_t sum[BLOCK];
        for (int i = 0; i < n; i++)
            sum[i] = BGE_RESIZE_HALF;
        for (int32_t j = 0; j < size; j++)
            for (int i = 0; i < n; i++)
                sum[i] += src[j * stride + from + i] * (uint32_t)k[j];
        for (int i = 0; i < n; i++)
            dst[from + i] = bge_resize_clip(sum[i]);
    }
}

#endif
