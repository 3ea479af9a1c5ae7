//go:build !bgevl_static

// Rows of floats: picked, added, multiplied. Build: see kernels.h.
//
// There is one version: it is bound by memory.
#include "kernels_impl.h"

static void row(int32_t op, const float *x, const float *with, int64_t n, float *y) {
    switch (op) {
    case BGE_ROWS_ADD:
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] + with[j];
        break;
    case BGE_ROWS_MULTIPLY:
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] * with[j];
        break;
    default:
        memcpy(y, x, (size_t)n * sizeof(float));
    }
}

void bge_rows(const bge_rows_args *a, int32_t ith, int32_t nth) {
    for (int64_t i = a->m * ith / nth; i < a->m * (ith + 1) / nth; i++) {
        const float *x = a->x + (a->rows ? a->rows[i] : i) * a->x_stride;
        const float *with = a->with ? a->with + i % a->with_rows * a->with_stride : NULL;
        row(a->op, x, with, a->n, a->y + i * a->y_stride);
    }
}
