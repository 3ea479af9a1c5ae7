//go:build !bgevl_static

// Any processor, in plain C: the reference of the other variants, and what runs where none of them fits. Compilers make
// vectors of the sums of columns.
#include "resize_impl.h"

static int64_t scratch(const bge_resize_args *a) {
    (void)a;
    return 0;
}

static void across(const bge_resize_args *a, void *unused) {
    (void)unused;
    for (int32_t y = 0; y < a->height; y++) {
        const uint8_t *src = a->src + (int64_t)y * a->width * a->channels;
        uint8_t *dst = a->dst + (int64_t)y * a->outputs * a->channels;
        switch (a->channels) {
        case 1:
            bge_resize_row(a, src, dst, 1);
            break;
        case 2:
            bge_resize_row(a, src, dst, 2);
            break;
        case 3:
            bge_resize_row(a, src, dst, 3);
            break;
        default:
            bge_resize_row(a, src, dst, 4);
        }
    }
}

static void down(const bge_resize_args *a) {
    const int64_t n = (int64_t)a->width * a->channels;
    for (int32_t y = 0; y < a->outputs; y++)
        bge_resize_columns(a->src + a->first[y] * n, n, a->weight + (int64_t)y * a->taps, a->size[y], a->dst + y * n, 0,
                           n);
}

const bge_resize bge_resize_plain = {"plain", 0, scratch, across, down};
