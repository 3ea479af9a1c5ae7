//go:build !bgevl_static

// The list of instruction sets, the choice among them, and the entry points of kernels.h. Build: see there.
#include <stdlib.h>

#include "cpu.h"
#include "kernels_simd.h"

typedef struct candidate {
    const char *name;
    const bge_kernels *table; // NULL: not part of this build
    unsigned needs;           // BGE_CPU_* bits
} candidate;

// Fastest first. A name may stand more than once: the first that the machine can run is meant.
static const candidate candidates[] = {
#if defined(__x86_64__)
    {"avx512", &bge_kernels_avx512bf16, BGE_CPU_AVX512 | BGE_CPU_AVX512VNNI | BGE_CPU_AVX512BF16},
    {"avx512", &bge_kernels_avx512vnni, BGE_CPU_AVX512 | BGE_CPU_AVX512VNNI},
    {"avx512", &bge_kernels_avx512, BGE_CPU_AVX512},
    {"avxvnni", &bge_kernels_avxvnni, BGE_CPU_AVX2 | BGE_CPU_AVXVNNI},
    {"avx2", &bge_kernels_avx2, BGE_CPU_AVX2},
#elif defined(__aarch64__)
    {"neoni8mm", BGE_HAVE_NEONI8MM ? &bge_kernels_neoni8mm : NULL, BGE_CPU_NEON | BGE_CPU_I8MM},
    {"neondot", BGE_HAVE_NEONDOT ? &bge_kernels_neondot : NULL, BGE_CPU_NEON | BGE_CPU_DOTPROD},
    {"neon", &bge_kernels_neon, BGE_CPU_NEON},
#endif
    {"portable", &bge_kernels_portable, 0},
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

int64_t bge_linear_scratch(const bge_kernels *k, const bge_linear_args *a) {
    return k->linear_scratch(k, a);
}

void bge_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth) {
    k->linear(k, a, scratch, ith, nth);
}

int64_t bge_encoded_slice(const bge_kernels *k, int64_t n) {
    // A slice of a panel takes 32 KiB as floats, and what is expanded to integers or read as f16 half of that or less:
    // the first cache has room for it beside a tile's rows. Slices are about equally long, in whole blocks of weights.
    enum { PANEL_FLOATS = 8192 };
    const int64_t slice = k->panel ? bge_min(BGE_SLICE, PANEL_FLOATS / k->panel) : BGE_SLICE;
    return bge_round_up(bge_ceil_div(n, bge_ceil_div(n, slice)), n % 256 ? 32 : 256);
}

int64_t bge_encoded_bytes(int32_t as, int64_t n) {
    enum { F = sizeof(float) };
    switch (as) {
    case BGE_X_BF16:
        return bge_round_up(n, 2) * 2;
    case BGE_X_INT8:
        return n + n / 32 * 4 * F;
    case BGE_X_INT8_VNNI:
        return n + n / 32 * 6 * F;
    case BGE_X_INT16:
        return n * 2 + n / 32 * F;
    default:
        return n * F;
    }
}

void bge_encode(const bge_kernels *k, const bge_encode_args *a, int32_t ith, int32_t nth) {
    k->encode(k, a, ith, nth);
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
