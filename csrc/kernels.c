// The list of instruction sets, the choice among them, and the entry points of kernels.h. Build: see there.
#include <stdlib.h>

#include "cpu.h"
#include "kernels_impl.h"

typedef struct candidate {
    const char *name;
    const bge_kernels *table; // NULL: not part of this build
    unsigned needs;           // BGE_CPU_* bits
} candidate;

// Fastest first. A name may stand more than once: the first that the machine can run is meant.
static const candidate candidates[] = {
    {"ref", &bge_kernels_ref, 0},
};
enum { N_CANDIDATES = sizeof candidates / sizeof candidates[0] };

static int runs_here(const candidate *c) {
    return c->table && (bge_cpu_features() & c->needs) == c->needs;
}

const bge_kernels *bge_kernels_select(const char *name, bge_kernels_status *status) {
    bge_kernels_status unused;
    if (!status)
        status = &unused;
    if (!name || !*name)
        name = getenv("BGEVL_CPU");
    *status = BGE_KERNELS_OK;
    if (!name || !*name)
        return bge_kernels_at(0);
    *status = BGE_KERNELS_UNKNOWN;
    for (int i = 0; i < N_CANDIDATES; i++) {
        if (strcmp(candidates[i].name, name))
            continue;
        if (runs_here(&candidates[i])) {
            *status = BGE_KERNELS_OK;
            return candidates[i].table;
        }
        *status = BGE_KERNELS_UNSUPPORTED;
    }
    return NULL;
}

const bge_kernels *bge_kernels_at(int32_t i) {
    for (int c = 0; c < N_CANDIDATES; c++) {
        if (!runs_here(&candidates[c]))
            continue;
        int again = 0; // a slower variant of a name that was listed already
        for (int b = 0; b < c; b++)
            again |= runs_here(&candidates[b]) && !strcmp(candidates[b].name, candidates[c].name);
        if (!again && i-- == 0)
            return candidates[c].table;
    }
    return NULL;
}

// A packed matrix is panels of k->panel rows of W, the last one filled up with zeros. f32 and f16: [n_in][panel];
// bf16: [n_in / 2][panel][2], which is what bf16 dot products read, with an odd n_in filled up with zeros too.
static int64_t panel_bytes(const bge_kernels *k, int32_t as, int64_t n_in) {
    if (as == BGE_TYPE_BF16)
        n_in = bge_round_up(n_in, 2);
    return n_in * k->panel * bge_type_size(as);
}

int64_t bge_linear_pack_size(const bge_kernels *k, int32_t as, int64_t n_in, int64_t n_out) {
    if (as != BGE_TYPE_F32 && as != BGE_TYPE_F16 && as != BGE_TYPE_BF16)
        return -1;
    if (!k->panel)
        return n_in * n_out * bge_type_size(as);
    return bge_ceil_div(n_out, k->panel) * panel_bytes(k, as, n_in);
}

static void pack_value(int32_t type, int32_t as, const void *src, int64_t from, void *dst, int64_t to) {
    if (as == BGE_TYPE_F32)
        ((float *)dst)[to] = ((const float *)src)[from];
    else if (type == as)
        ((uint16_t *)dst)[to] = ((const uint16_t *)src)[from];
    else // f16 as bf16
        ((uint16_t *)dst)[to] = bge_float_to_bf16(bge_f16_to_float(((const uint16_t *)src)[from]));
}

static void pack_panel(const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t rows, const char *src,
                       char *dst) {
    const int64_t panel = k->panel;
    if (rows < panel || (as == BGE_TYPE_BF16 && n_in % 2))
        memset(dst, 0, (size_t)panel_bytes(k, as, n_in));
    // Columns in blocks, so that the lines of dst that one row writes to are still cached for the next.
    for (int64_t c0 = 0; c0 < n_in; c0 += 64)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = c0; c < bge_min(c0 + 64, n_in); c++) {
                const int64_t to = as == BGE_TYPE_BF16 ? (c / 2 * panel + r) * 2 + c % 2 : c * panel + r;
                pack_value(type, as, src, r * n_in + c, dst, to);
            }
}

void bge_linear_pack(const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t n_out, const void *src,
                     void *dst, int32_t ith, int32_t nth) {
    if (!k->panel) { // row by row
        for (int64_t r = ith; r < n_out; r += nth)
            for (int64_t c = r * n_in; c < (r + 1) * n_in; c++)
                pack_value(type, as, src, c, dst, c);
        return;
    }
    const int64_t in = n_in * k->panel * bge_type_size(type), out = panel_bytes(k, as, n_in);
    for (int64_t p = ith; p * k->panel < n_out; p += nth)
        pack_panel(k, type, as, n_in, bge_min(k->panel, n_out - p * k->panel), (const char *)src + p * in,
                   (char *)dst + p * out);
}

int64_t bge_linear_scratch(const bge_kernels *k, const bge_linear_args *a) {
    return k->linear_scratch(k, a);
}

void bge_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth) {
    k->linear(k, a, scratch, ith, nth);
}

void bge_layer_norm(const bge_kernels *k, const bge_norm_args *a, int32_t ith, int32_t nth) {
    k->layer_norm(a, ith, nth);
}

void bge_rms_norm(const bge_kernels *k, const bge_norm_args *a, int32_t ith, int32_t nth) {
    k->rms_norm(a, ith, nth);
}

int64_t bge_attention_scratch(const bge_kernels *k, const bge_attention_args *a) {
    return k->attention_scratch(k, a);
}

void bge_attention(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth) {
    k->attention(k, a, scratch, ith, nth);
}
