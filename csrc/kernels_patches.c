//go:build !bgevl_static

// Pixels to rows of patches, so that a CLIP patch embedding is a linear layer. Build: see kernels.h.
//
// There is one version: it moves each float once, in runs of a patch's width, and is bound by memory.
#include "kernels_impl.h"

static void patch_row(const bge_patches_args *a, int64_t image, int64_t at, float *row) {
    const int64_t grid = a->size / a->patch, top = at / grid * a->patch, left = at % grid * a->patch;
    for (int64_t c = 0; c < 3; c++) {
        const float *plane = a->pixels + (image * 3 + c) * a->size * a->size;
        for (int64_t y = 0; y < a->patch; y++, row += a->patch)
            memcpy(row, plane + (top + y) * a->size + left, (size_t)a->patch * sizeof(float));
    }
}

void bge_patches(const bge_patches_args *a, int32_t ith, int32_t nth) {
    const int64_t grid = a->size / a->patch, per_image = a->lead + grid * grid, total = a->n_images * per_image;
    for (int64_t i = total * ith / nth; i < total * (ith + 1) / nth; i++) {
        float *row = a->rows + i * a->row_stride;
        const int64_t at = i % per_image - a->lead;
        if (at < 0)
            memset(row, 0, (size_t)(3 * a->patch * a->patch) * sizeof(float));
        else
            patch_row(a, i / per_image, at, row);
    }
}
