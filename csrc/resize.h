// Resampling of 8-bit images in fixed point, as Pillow does it: one pass across rows or down columns.
//
// A sample of the result is sum(source * weight), rounded and clipped, the weights being integers with 22 bits of
// fraction. Sums are 32 bits wide and wrap, in every variant alike. Which variant runs is chosen as the kernels of a
// model are (cpu.h): resize_plain.c is for any processor and what the others are tested against.
//
// Ownership: the caller owns every buffer, and has checked all sizes. Nothing here allocates, fails or keeps anything.
// Threads: every function may be called from many threads at once.
#ifndef BGE_RESIZE_H
#define BGE_RESIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BGE_RESIZE_BITS = 22 }; // of fraction

// bge_resize_args is a pass. Rows are of pixels without padding between them.
typedef struct bge_resize_args {
    const uint8_t *src;
    uint8_t *dst;
    int32_t channels;      // bytes of a pixel: 1 to 4
    int32_t width;         // of src, in pixels
    int32_t height;        // of src, in rows
    int32_t outputs;       // across: the width of dst; down: its height. The other side is src's
    const int32_t *first;  // [outputs] the first source position of each
    const int32_t *size;   // [outputs] and how many from there, at most `taps`; first + size lies within src
    const int32_t *weight; // [outputs][taps]
    int32_t taps;
} bge_resize_args;

typedef struct bge_resize bge_resize;

// bge_resize_at returns the variants that this processor can run, the fastest first, and NULL past the last. The
// first is the one to use; the last is the plain one.
const bge_resize *bge_resize_at(int32_t i);
const char *bge_resize_name(const bge_resize *r);

// bge_resize_scratch returns the bytes that a pass across needs.
int64_t bge_resize_scratch(const bge_resize *r, const bge_resize_args *a);

// bge_resize_across resamples each row, and bge_resize_down each column. dst does not overlap src.
void bge_resize_across(const bge_resize *r, const bge_resize_args *a, void *scratch);
void bge_resize_down(const bge_resize *r, const bge_resize_args *a);

#ifdef __cplusplus
}
#endif
#endif
