// The arithmetic of JPEG files over samples: the inverse transform of blocks, the interpolation of subsampled colours,
// and the conversion to RGB. Every sample is what libjpeg-turbo makes of it. What reads the files is Go's
// (internal/pixels).
//
// jpeg_plain.c is for any processor and what the other variants are tested against; all wrap where numbers of a
// corrupt file overflow, and so agree on those too.
//
// Ownership: the caller owns every buffer, and has checked all sizes. Nothing here allocates, fails or keeps anything.
// Threads: every function may be called from many threads at once.
#ifndef BGE_JPEG_H
#define BGE_JPEG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bge_jpeg bge_jpeg;

// bge_jpeg_at returns the variants that this processor can run, the fastest first, and NULL past the last. The first
// is the one to use; the last is the plain one.
const bge_jpeg *bge_jpeg_at(int32_t i);
const char *bge_jpeg_name(const bge_jpeg *j);

// What is known of a block.
enum {
    BGE_BLOCK_NONE = 0, // it was not read: its samples stay as they are
    BGE_BLOCK_FLAT = 1, // its first coefficient alone may not be 0
    BGE_BLOCK_WHOLE = 2,
};

// bge_jpeg_blocks transforms n blocks that lie side by side: coeffs holds 64 dequantised coefficients of each, in rows,
// and kinds what they are. dst gets 8 rows of 8 n samples, stride bytes apart. It leaves coeffs zeroed, where each
// block is as its kind says, and kinds BGE_BLOCK_NONE.
void bge_jpeg_blocks(const bge_jpeg *j, int32_t *coeffs, uint8_t *kinds, int64_t n, uint8_t *dst, int64_t stride);

// bge_jpeg_plane is one component of an image: rows of width samples, stride bytes apart, of which each stands for h by
// v samples of the image.
typedef struct bge_jpeg_plane {
    const uint8_t *pix;
    int64_t stride;
    int32_t width;
    int32_t height;
    int32_t h;
    int32_t v;
} bge_jpeg_plane;

enum { BGE_JPEG_PLANES = 4 };

// bge_jpeg_join_args is an image that is made of its components. Each has at least width/h columns and a row; past its
// last row it repeats that.
typedef struct bge_jpeg_join_args {
    bge_jpeg_plane plane[BGE_JPEG_PLANES];
    int32_t n_planes;
    int32_t ycc; // 3 planes are Y, Cb and Cr, and become RGB; 4 are Y, Cb, Cr and K, and become CMYK, as stored
    int32_t width;
    int32_t height;
    uint8_t *dst; // [height][width][n_planes]
} bge_jpeg_join_args;

// bge_jpeg_join makes the image. scratch has bge_jpeg_scratch bytes.
int64_t bge_jpeg_scratch(const bge_jpeg_join_args *a);
void bge_jpeg_join(const bge_jpeg *j, const bge_jpeg_join_args *a, void *scratch);

#ifdef __cplusplus
}
#endif
#endif
