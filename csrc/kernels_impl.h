// What the kernel files share among themselves. Nothing outside csrc/kernels*.c includes it.
#ifndef BGE_KERNELS_IMPL_H
#define BGE_KERNELS_IMPL_H

#include <string.h>

#include "kernels.h"

extern const bge_kernels bge_kernels_ref, bge_kernels_portable;
extern const bge_kernels bge_kernels_avx2, bge_kernels_avxvnni;                              // x86-64
extern const bge_kernels bge_kernels_avx512, bge_kernels_avx512vnni, bge_kernels_avx512bf16; // x86-64
extern const bge_kernels bge_kernels_neon, bge_kernels_neondot, bge_kernels_neoni8mm;        // aarch64

// Whether the last two are part of this build: Clang before 16 has no intrinsics but those that a whole program may
// use.
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define BGE_HAVE_NEONDOT 1
#else
#define BGE_HAVE_NEONDOT 0
#endif
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_MATMUL_INT8))
#define BGE_HAVE_NEONI8MM 1
#else
#define BGE_HAVE_NEONI8MM 0
#endif

static inline int64_t bge_type_size(int32_t type) {
    return type == BGE_TYPE_F32 ? 4 : 2;
}

static inline int64_t bge_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t bge_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t bge_round_up(int64_t a, int64_t to) {
    return bge_ceil_div(a, to) * to;
}

static inline float bge_float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bge_bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float bge_bf16_to_float(uint16_t h) {
    return bge_float_of_bits((uint32_t)h << 16);
}

// Rounds to nearest even; a NaN stays a quiet NaN.
static inline uint16_t bge_float_to_bf16(float f) {
    const uint32_t u = bge_bits_of_float(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static inline float bge_f16_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    if (exponent == 31)
        return bge_float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) { // zero and subnormal: fraction * 2^-24, exact in float
        const float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    return bge_float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

// dst[l][width] = src[r][l] for rows r < rows, 0 for rows <= r < width; src holds rows of n floats.
void bge_transpose_floats(const float *src, int64_t rows, int64_t n, float *dst, int64_t width);

// Expands n values of a row of weights that is not packed.
static inline void bge_row_to_float(const bge_linear_part *p, const void *row, float *dst, int64_t n) {
    const uint16_t *half = row;
    switch (p->type) {
    case BGE_TYPE_F32:
        memcpy(dst, row, (size_t)n * sizeof(float));
        break;
    case BGE_TYPE_F16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = bge_f16_to_float(half[i]);
        break;
    case BGE_TYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = bge_bf16_to_float(half[i]);
        break;
    default:
        p->to_float(row, dst, n);
    }
}

// Keys that query row r of sequence s sees: its first ones.
static inline int64_t bge_attention_keys(const bge_attention_args *a, int32_t s, int64_t r) {
    const int64_t kv = a->kv_start[s + 1] - a->kv_start[s];
    if (!a->causal)
        return kv;
    const int64_t q = a->q_start[s + 1] - a->q_start[s];
    const int64_t pos = a->q_pos ? a->q_pos[r] : kv - q + (r - a->q_start[s]);
    return bge_min(pos + 1, kv);
}

// bge_work_take gives a thread the next tiles: at most `most`, a fair share of what is left, 0 at the end.
static inline int64_t bge_work_take(bge_work *w, int64_t total, int64_t least, int64_t most, int32_t nth,
                                    int64_t *first) {
    int64_t next = __atomic_load_n(&w->next, __ATOMIC_RELAXED);
    while (next < total) {
        int64_t n = (total - next) / (2 * nth);
        n = n < least ? least : n > most ? most : n;
        n = bge_min(n, total - next);
        if (__atomic_compare_exchange_n(&w->next, &next, next + n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *first = next;
            return n;
        }
    }
    return 0;
}

// bge_work_end is each thread's last call on w in a run: the last thread leaves it zeroed for the next run.
static inline void bge_work_end(bge_work *w, int32_t nth) {
    if (__atomic_add_fetch(&w->done, 1, __ATOMIC_ACQ_REL) < nth)
        return;
    __atomic_store_n(&w->next, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&w->done, 0, __ATOMIC_RELEASE);
}

#endif
