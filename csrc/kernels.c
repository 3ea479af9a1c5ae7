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

int32_t bge_linear_reads(const bge_kernels *k, int32_t type, int64_t n_in) {
    const bge_simd *simd = k->simd;
    if (!simd || type < 0 || type >= BGE_CODE_TYPES || n_in % 32)
        return BGE_X_FLOAT;
    return bge_x_of(simd->code_type[type].b);
}

int64_t bge_codes_bytes(int32_t as, int64_t n) {
    const int64_t floats = as == BGE_X_INT8 ? n / 32 * 4 : n / 32;
    return n * (as == BGE_X_INT8 ? 1 : 2) + floats * (int64_t)sizeof(float);
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
