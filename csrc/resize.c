//go:build !bgevl_static

// The variants of resize.h, the choice among them, and the entry points.
#include <stddef.h>

#include "cpu.h"
#include "resize_impl.h"

static const bge_resize *const variants[] = {
#if defined(__x86_64__)
    &bge_resize_avx2,
#endif
    &bge_resize_plain,
};

const bge_resize *bge_resize_at(int32_t i) {
    const unsigned have = bge_cpu_features();
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++)
        if ((have & variants[v]->needs) == variants[v]->needs && i-- == 0)
            return variants[v];
    return NULL;
}

const char *bge_resize_name(const bge_resize *r) {
    return r->name;
}

int64_t bge_resize_scratch(const bge_resize *r, const bge_resize_args *a) {
    return r->scratch(a);
}

void bge_resize_across(const bge_resize *r, const bge_resize_args *a, void *scratch) {
    r->across(a, scratch);
}

void bge_resize_down(const bge_resize *r, const bge_resize_args *a) {
    r->down(a);
}
