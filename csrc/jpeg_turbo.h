// JPEG files by libjpeg-turbo. Compiled only under the build tag bgevl_libjpeg.
//
// Ownership: the caller owns the file's bytes and the pixels' buffer, and nothing here keeps a pointer to them.
// Threads: every function may be called from many threads at once. Errors: as bge.h states.
#ifndef BGE_JPEG_TURBO_H
#define BGE_JPEG_TURBO_H

#include "bge.h"

#ifdef __cplusplus
extern "C" {
#endif

// What a JPEG decodes to.
typedef struct bge_jpeg_info {
    int32_t width;
    int32_t height;
    int32_t channels; // 1: grey, 3: RGB, 4: CMYK as stored (Adobe's files store it inverted)
} bge_jpeg_info;

// Reads the header alone and fills info. Fails with BGE_ERR_UNSUPPORTED for a file that decodes to another number of
// channels, and with BGE_ERR_ARGUMENT for one that is corrupt or cut short.
int32_t bge_jpeg_header(const uint8_t *data, int64_t size, bge_jpeg_info *info, bge_error *err) BGE_NOEXCEPT;

// Decodes to rows from the top without padding: dst_size must be width * height * channels of bge_jpeg_header. A file
// that is cut short, at any place before its end-of-image marker, is an error with BGE_ERR_ARGUMENT; what libjpeg
// takes for harmless (it calls it a warning) is not.
int32_t bge_jpeg_decode(const uint8_t *data, int64_t size, uint8_t *dst, int64_t dst_size, bge_error *err) BGE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
