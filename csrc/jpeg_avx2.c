//go:build !bgevl_static

// AVX2: a block's eight columns, and then its eight rows, at once; 16 pixels of a row.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu.h"
#include "jpeg_impl.h"

#define SIMD __attribute__((target("avx2")))
#define V static inline __attribute__((always_inline)) SIMD

typedef __m256i vi; // eight numbers of 32 bits

V vi add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
V vi sub(vi a, vi b) {
    return _mm256_sub_epi32(a, b);
}
V vi times(vi a, int32_t b) {
    return _mm256_mullo_epi32(a, _mm256_set1_epi32(b));
}

// v[i] becomes output i of the transform over v[0] to v[7], scaled up by 2^BGE_DCT_BITS, plus round.
V void dct(vi v[8], int32_t round) {
    const vi z = times(add(v[2], v[6]), BGE_DCT_0541);
    const vi t2 = sub(z, times(v[6], BGE_DCT_1847)), t3 = add(z, times(v[2], BGE_DCT_0765));
    const vi r = _mm256_set1_epi32(round);
    const vi t0 = add(_mm256_slli_epi32(add(v[0], v[4]), BGE_DCT_BITS), r);
    const vi t1 = add(_mm256_slli_epi32(sub(v[0], v[4]), BGE_DCT_BITS), r);
    const vi e[4] = {add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)};
    const vi a = add(v[7], v[3]), b = add(v[5], v[1]);
    const vi z5 = times(add(a, b), BGE_DCT_1175);
    const vi z1 = times(add(v[7], v[1]), BGE_DCT_0899), z2 = times(add(v[5], v[3]), BGE_DCT_2562);
    const vi z3 = sub(z5, times(a, BGE_DCT_1961)), z4 = sub(z5, times(b, BGE_DCT_0390));
    const vi o[4] = {add(sub(times(v[1], BGE_DCT_1501), z1), z4), add(sub(times(v[3], BGE_DCT_3072), z2), z3),
                     add(sub(times(v[5], BGE_DCT_2053), z2), z4), add(sub(times(v[7], BGE_DCT_0298), z1), z3)};
    for (int i = 0; i < 4; i++) {
        v[i] = add(e[i], o[i]);
        v[7 - i] = sub(e[i], o[i]);
    }
}

// All ones where all but the first of eight numbers are 0.
V vi flat(const vi v[8]) {
    vi any = v[1];
    for (int i = 2; i < 8; i++)
        any = _mm256_or_si256(any, v[i]);
    return _mm256_cmpeq_epi32(any, _mm256_setzero_si256());
}

V void transpose(vi v[8]) {
    vi a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[4 + i], 0x20);
        v[4 + i] = _mm256_permute2x128_si256(b[i], b[4 + i], 0x31);
    }
}

// v[x] holds column x of the samples; dst gets them in rows, clipped.
V void store(const vi v[8], uint8_t *dst, int64_t stride) {
    const vi across = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    // Each lane: four rows of four columns, the columns one after another, then in rows.
    const vi left = _mm256_shuffle_epi8(
        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3])), across);
    const vi right = _mm256_shuffle_epi8(
        _mm256_packus_epi16(_mm256_packs_epi32(v[4], v[5]), _mm256_packs_epi32(v[6], v[7])), across);
    const vi even = _mm256_unpacklo_epi32(left, right), odd = _mm256_unpackhi_epi32(left, right);
    const __m128i rows[4] = {_mm256_castsi256_si128(even), _mm256_castsi256_si128(odd),
                             _mm256_extracti128_si256(even, 1), _mm256_extracti128_si256(odd, 1)};
    for (int i = 0; i < 4; i++) {
        _mm_storel_epi64((__m128i *)(dst + 2 * i * stride), rows[i]);
        _mm_storel_epi64((__m128i *)(dst + (2 * i + 1) * stride), _mm_unpackhi_epi64(rows[i], rows[i]));
    }
}

SIMD static void block(const int32_t *coeffs, uint8_t *dst, int64_t stride) {
    vi v[8];
    for (int y = 0; y < 8; y++)
        v[y] = _mm256_loadu_si256((const __m256i *)(coeffs + 8 * y));
    vi is_flat = flat(v), same = _mm256_slli_epi32(v[0], BGE_DCT_PASS);
    dct(v, 1 << (BGE_DCT_COLUMN - 1));
    for (int y = 0; y < 8; y++)
        v[y] = _mm256_blendv_epi8(_mm256_srai_epi32(v[y], BGE_DCT_COLUMN), same, is_flat);
    transpose(v);
    is_flat = flat(v);
    same = add(v[0], _mm256_set1_epi32(1 << (BGE_DCT_PASS + 2)));
    same = add(_mm256_srai_epi32(same, BGE_DCT_PASS + 3), _mm256_set1_epi32(BGE_DCT_LEVEL));
    dct(v, (1 << (BGE_DCT_ROW - 1)) + (BGE_DCT_LEVEL << BGE_DCT_ROW));
    for (int x = 0; x < 8; x++)
        v[x] = _mm256_blendv_epi8(_mm256_srai_epi32(v[x], BGE_DCT_ROW), same, is_flat);
    store(v, dst, stride);
}

SIMD static void h2v1(uint8_t *out, const uint8_t *in, int32_t n) {
    bge_h2v1(out, in, n);
}

SIMD static void h2v2(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, uint16_t *sums) {
    bge_h2v2(out, near, far, n, sums);
}

SIMD static void h1v2(uint8_t *out, const uint8_t *near, const uint8_t *far, int32_t n, int32_t bias) {
    bge_h1v2(out, near, far, n, bias);
}

enum { PIXELS = 16 };

V vi words(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
}

// (a * ka + b * kb + add) >> BGE_YCC_BITS of words. The constants fit into words since whole numbers were taken out of
// them.
V vi scaled(vi a, int16_t ka, vi b, int16_t kb, int32_t plus) {
    const vi k = _mm256_set1_epi32((int32_t)((uint16_t)ka | (uint32_t)(uint16_t)kb << 16));
    const vi p = _mm256_set1_epi32(plus);
    const vi low = add(_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), k), p);
    const vi high = add(_mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), k), p);
    return _mm256_packs_epi32(_mm256_srai_epi32(low, BGE_YCC_BITS), _mm256_srai_epi32(high, BGE_YCC_BITS));
}

V void rgb_pixels(uint8_t *out, const uint8_t *y, const uint8_t *cb, const uint8_t *cr) {
    const vi level = _mm256_set1_epi16(128), zero = _mm256_setzero_si256();
    const vi l = words(y), b = _mm256_sub_epi16(words(cb), level), r = _mm256_sub_epi16(words(cr), level);
    enum { ONE = 1 << BGE_YCC_BITS };
    const vi red = _mm256_add_epi16(r, scaled(r, BGE_YCC_R_CR - ONE, zero, 0, BGE_YCC_HALF));
    const vi green = _mm256_sub_epi16(scaled(b, -BGE_YCC_G_CB, r, ONE - BGE_YCC_G_CR, BGE_YCC_HALF), r);
    const vi blue = _mm256_add_epi16(_mm256_add_epi16(b, b), scaled(b, BGE_YCC_B_CB - 2 * ONE, zero, 0, BGE_YCC_HALF));
    // A lane has eight pixels: R and G of them in one register, B in the other.
    const vi rg = _mm256_packus_epi16(_mm256_add_epi16(l, red), _mm256_add_epi16(l, green));
    const vi bb = _mm256_packus_epi16(_mm256_add_epi16(l, blue), zero);
    enum { Z = -1 };
    const vi rg0 = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, Z, 1, 9, Z, 2, 10, Z, 3, 11, Z, 4, 12, Z, 5));
    const vi bb0 = _mm256_broadcastsi128_si256(_mm_setr_epi8(Z, Z, 0, Z, Z, 1, Z, Z, 2, Z, Z, 3, Z, Z, 4, Z));
    const vi rg1 = _mm256_broadcastsi128_si256(_mm_setr_epi8(13, Z, 6, 14, Z, 7, 15, Z, Z, Z, Z, Z, Z, Z, Z, Z));
    const vi bb1 = _mm256_broadcastsi128_si256(_mm_setr_epi8(Z, 5, Z, Z, 6, Z, Z, 7, Z, Z, Z, Z, Z, Z, Z, Z));
    const vi front = _mm256_or_si256(_mm256_shuffle_epi8(rg, rg0), _mm256_shuffle_epi8(bb, bb0));
    const vi back = _mm256_or_si256(_mm256_shuffle_epi8(rg, rg1), _mm256_shuffle_epi8(bb, bb1));
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(front));
    _mm_storel_epi64((__m128i *)(out + 16), _mm256_castsi256_si128(back));
    _mm_storeu_si128((__m128i *)(out + 24), _mm256_extracti128_si256(front, 1));
    _mm_storel_epi64((__m128i *)(out + 40), _mm256_extracti128_si256(back, 1));
}

SIMD static void rgb(uint8_t *out, const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int32_t n) {
    if (n < PIXELS) {
        for (int32_t i = 0; i < n; i++)
            bge_ycc_pixel(out + 3 * i, y[i], cb[i], cr[i]);
        return;
    }
    for (int32_t i = 0; i < n; i += PIXELS) {
        const int32_t at = i + PIXELS <= n ? i : n - PIXELS; // the last ones overlap the ones before
        rgb_pixels(out + 3 * (int64_t)at, y + at, cb + at, cr + at);
    }
}

const bge_jpeg bge_jpeg_avx2 = {"avx2", BGE_CPU_AVX2, block, h2v1, h2v2, h1v2, rgb};

#else
typedef int bge_not_x86_64; // an empty file is not C
#endif
