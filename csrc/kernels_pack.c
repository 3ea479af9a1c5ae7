//go:build !bgevl_static

// Weights into the panels that the products read. Build: see kernels.h.
//
// A packed matrix is panels of k->panel rows of W, the last one filled up with zeros: f32 and f16 as [n_in][panel],
// bf16 as [n_in / 2][panel][2], which is what bf16 dot products read, an odd n_in filled up with a zero. Blocks of
// quantised weights are the business of kernels_panels.h, of which each instruction set has a copy; for all others
// packing is a transposition of 16-bit or, of floats and pairs, 32-bit values. It is done in blocks of 8x8 or 4x4 with
// the vectors that every x86-64 or Arm processor has, because it is part of every cold start.
#include "kernels_simd.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// 32 bits of anything: a float or a pair of bf16.
typedef uint32_t __attribute__((may_alias)) word;

// dst[l * width + r] = src[r * stride + l] for a block of 4 rows and 4 columns.
static inline void block32(const word *src, int64_t stride, word *dst, int64_t width) {
#if defined(__x86_64__)
    const __m128i r0 = _mm_loadu_si128((const __m128i *)src), r1 = _mm_loadu_si128((const __m128i *)(src + stride));
    const __m128i r2 = _mm_loadu_si128((const __m128i *)(src + 2 * stride));
    const __m128i r3 = _mm_loadu_si128((const __m128i *)(src + 3 * stride));
    const __m128i a = _mm_unpacklo_epi32(r0, r1), b = _mm_unpacklo_epi32(r2, r3);
    const __m128i c = _mm_unpackhi_epi32(r0, r1), d = _mm_unpackhi_epi32(r2, r3);
    _mm_storeu_si128((__m128i *)dst, _mm_unpacklo_epi64(a, b));
    _mm_storeu_si128((__m128i *)(dst + width), _mm_unpackhi_epi64(a, b));
    _mm_storeu_si128((__m128i *)(dst + 2 * width), _mm_unpacklo_epi64(c, d));
    _mm_storeu_si128((__m128i *)(dst + 3 * width), _mm_unpackhi_epi64(c, d));
#elif defined(__aarch64__)
    const uint32x4x2_t a = vzipq_u32(vld1q_u32(src), vld1q_u32(src + 2 * stride));
    const uint32x4x2_t b = vzipq_u32(vld1q_u32(src + stride), vld1q_u32(src + 3 * stride));
    const uint32x4x2_t lo = vzipq_u32(a.val[0], b.val[0]), hi = vzipq_u32(a.val[1], b.val[1]);
    vst1q_u32(dst, lo.val[0]);
    vst1q_u32(dst + width, lo.val[1]);
    vst1q_u32(dst + 2 * width, hi.val[0]);
    vst1q_u32(dst + 3 * width, hi.val[1]);
#else
    for (int l = 0; l < 4; l++)
        for (int r = 0; r < 4; r++)
            dst[l * width + r] = src[r * stride + l];
#endif
}

// The same for 8 rows and 8 columns of 16 bits.
static inline void block16(const uint16_t *src, int64_t stride, uint16_t *dst, int64_t width) {
#if defined(__x86_64__)
    __m128i r[8], a[8], b[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm_loadu_si128((const __m128i *)(src + i * stride));
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm_unpacklo_epi16(r[i], r[i + 1]);
        a[i + 1] = _mm_unpackhi_epi16(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm_unpacklo_epi32(a[i + j], a[i + j + 2]);
            b[i + 2 * j + 1] = _mm_unpackhi_epi32(a[i + j], a[i + j + 2]);
        }
    for (int l = 0; l < 4; l++) {
        _mm_storeu_si128((__m128i *)(dst + 2 * l * width), _mm_unpacklo_epi64(b[l], b[l + 4]));
        _mm_storeu_si128((__m128i *)(dst + (2 * l + 1) * width), _mm_unpackhi_epi64(b[l], b[l + 4]));
    }
#elif defined(__aarch64__)
    // Zipping row i with row i + 4 three times over sorts by column.
    uint16x8x2_t a[4], b[4];
    for (int i = 0; i < 4; i++)
        a[i] = vzipq_u16(vld1q_u16(src + i * stride), vld1q_u16(src + (i + 4) * stride));
    for (int i = 0; i < 2; i++) {
        b[2 * i] = vzipq_u16(a[i].val[0], a[i + 2].val[0]);
        b[2 * i + 1] = vzipq_u16(a[i].val[1], a[i + 2].val[1]);
    }
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 2; j++) {
            const uint16x8x2_t c = vzipq_u16(b[half].val[j], b[2 + half].val[j]);
            vst1q_u16(dst + (4 * half + 2 * j) * width, c.val[0]);
            vst1q_u16(dst + (4 * half + 2 * j + 1) * width, c.val[1]);
        }
#else
    for (int l = 0; l < 8; l++)
        for (int r = 0; r < 8; r++)
            dst[l * width + r] = src[r * stride + l];
#endif
}

static void transpose32(const word *src, int64_t stride, int64_t rows, int64_t n, word *dst, int64_t width) {
    const int64_t r4 = rows / 4 * 4, n4 = n / 4 * 4;
    for (int64_t l = 0; l < n4; l += 4)
        for (int64_t r = 0; r < r4; r += 4)
            block32(src + r * stride + l, stride, dst + l * width + r, width);
    for (int64_t l = 0; l < n; l++)
        for (int64_t r = l < n4 ? r4 : 0; r < rows; r++)
            dst[l * width + r] = src[r * stride + l];
}

static void transpose16(const uint16_t *src, int64_t stride, int64_t rows, int64_t n, uint16_t *dst, int64_t width) {
    const int64_t r8 = rows / 8 * 8, n8 = n / 8 * 8;
    for (int64_t l = 0; l < n8; l += 8)
        for (int64_t r = 0; r < r8; r += 8)
            block16(src + r * stride + l, stride, dst + l * width + r, width);
    for (int64_t l = 0; l < n; l++)
        for (int64_t r = l < n8 ? r8 : 0; r < rows; r++)
            dst[l * width + r] = src[r * stride + l];
}

void bge_transpose_floats(const float *src, int64_t rows, int64_t n, float *dst, int64_t width) {
    if (rows < width)
        memset(dst, 0, (size_t)(n * width) * sizeof(float));
    transpose32((const word *)src, n, rows, n, (word *)dst, width);
}

bge_block bge_block_of(int32_t type) {
    static const bge_block blocks[BGE_CODE_TYPES] = {
        [BGE_TYPE_Q4_0] = {32, 18, 18},    [BGE_TYPE_Q4_1] = {32, 20, 20},    [BGE_TYPE_Q5_0] = {32, 22, 22},
        [BGE_TYPE_Q5_1] = {32, 24, 24},    [BGE_TYPE_Q8_0] = {32, 34, 34},    [BGE_TYPE_Q4_K] = {256, 144, 148},
        [BGE_TYPE_Q5_K] = {256, 176, 180}, [BGE_TYPE_Q6_K] = {256, 210, 210},
    };
    return type >= 0 && type < BGE_CODE_TYPES ? blocks[type] : (bge_block){0, 0, 0};
}

// Whether panels of a table hold a type's codes.
static int packs_codes(const bge_kernels *k, int32_t type, int64_t n_in) {
    const bge_simd *simd = k->simd;
    const int64_t values = bge_block_of(type).values;
    return simd && values && simd->code_type[type].block && n_in % values == 0;
}

int64_t bge_panel_bytes(const bge_kernels *k, int32_t as, int64_t n_in) {
    const bge_block block = bge_block_of(as);
    if (block.values)
        return n_in / block.values * block.packed * k->panel;
    if (as == BGE_TYPE_BF16)
        n_in = bge_round_up(n_in, 2);
    return n_in * k->panel * bge_type_size(as);
}

int64_t bge_linear_pack_size(const bge_kernels *k, int32_t as, int64_t n_in, int64_t n_out) {
    if (as != BGE_TYPE_F32 && as != BGE_TYPE_F16 && as != BGE_TYPE_BF16 && !packs_codes(k, as, n_in))
        return -1;
    if (!k->panel)
        return n_in * n_out * bge_type_size(as);
    return bge_ceil_div(n_out, k->panel) * bge_panel_bytes(k, as, n_in);
}

enum { CHUNK = 256 }; // columns of 16 bits that are staged at a time

// Columns c .. c+n-1 of one row of 16-bit weights, as `as`.
static void stage_row(const bge_kernels *k, int32_t type, int32_t as, const uint16_t *src, int64_t n, uint16_t *dst) {
    memcpy(dst, src, (size_t)n * sizeof *dst);
    if (type == as)
        return;
    const bge_simd *simd = k->simd;
    float wide[CHUNK];
    memset(dst + n, 0, (size_t)(CHUNK - n) * sizeof *dst);
    simd->widen(dst, CHUNK, wide);
    simd->to_bf16(wide, n, dst);
}

static void pack_halves(const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t rows, const uint16_t *src,
                        uint16_t *dst) {
    uint16_t stage[BGE_MAX_PANEL * CHUNK] __attribute__((aligned(64)));
    for (int64_t c = 0; c < n_in; c += CHUNK) {
        const int64_t n = bge_min(CHUNK, n_in - c);
        for (int64_t r = 0; r < rows; r++) {
            stage_row(k, type, as, src + r * n_in + c, n, stage + r * CHUNK);
            if (n % 2)
                stage[r * CHUNK + n] = 0;
        }
        if (as == BGE_TYPE_BF16)
            transpose32((const word *)stage, CHUNK / 2, rows, (n + 1) / 2, (word *)(dst + c * k->panel), k->panel);
        else
            transpose16(stage, CHUNK, rows, n, dst + c * k->panel, k->panel);
    }
}

// Rows as they stand, for the reference.
static void pack_row(int32_t type, int32_t as, int64_t n, const void *src, void *dst) {
    if (type == as) {
        memcpy(dst, src, (size_t)(n * bge_type_size(as)));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        ((uint16_t *)dst)[i] = bge_float_to_bf16(bge_f16_to_float(((const uint16_t *)src)[i]));
}

void bge_linear_pack(const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t n_out, const void *src,
                     void *dst, int32_t ith, int32_t nth) {
    const bge_block block = bge_block_of(type);
    const int64_t row = block.values ? n_in / block.values * block.bytes : n_in * bge_type_size(type),
                  panels = k->panel ? bge_ceil_div(n_out, k->panel) : n_out;
    for (int64_t p = panels * ith / nth; p < panels * (ith + 1) / nth; p++) {
        if (!k->panel) {
            pack_row(type, as, n_in, (const char *)src + p * row, (char *)dst + p * n_in * bge_type_size(as));
            continue;
        }
        const char *from = (const char *)src + p * k->panel * row;
        char *to = (char *)dst + p * bge_panel_bytes(k, as, n_in);
        const int64_t rows = bge_min(k->panel, n_out - p * k->panel);
        if (block.values) {
            ((const bge_simd *)k->simd)->pack_panel(type, from, row, rows, n_in, to);
            continue;
        }
        if (rows < k->panel)
            memset(to, 0, (size_t)bge_panel_bytes(k, as, n_in));
        if (as == BGE_TYPE_F32)
            transpose32((const word *)from, n_in, rows, n_in, (word *)to, k->panel);
        else
            pack_halves(k, type, as, n_in, rows, (const uint16_t *)from, (uint16_t *)to);
    }
}
