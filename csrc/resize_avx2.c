//go:build !bgevl_static

// AVX2. A weight of 32 bits is split into two halves of 16, so that _mm256_madd_epi16 multiplies two taps at once and
// adds them: sum = low + (high << 16), exact in wrapping arithmetic, whatever the weights are.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu.h"
#include "resize_impl.h"

#define SIMD __attribute__((target("avx2")))
#define V static inline __attribute__((always_inline)) SIMD

enum {
    STEP = 4,  // taps of a step across: two a lane
    ROWS = 4,  // rows that share the weights of a step
    LOAD = 16, // bytes of a load, which may begin at the last pixel of a row
};

// The halves of a weight. The higher one is what is left, modulo 2^16.
static inline int16_t low_half(int32_t w) {
    return (int16_t)w;
}
static inline int16_t high_half(int32_t w) {
    return (int16_t)(((uint32_t)w - (uint32_t)(int32_t)(int16_t)w) >> 16);
}

static int64_t steps(int32_t taps) {
    return ((int64_t)taps + STEP - 1) / STEP;
}

static int64_t padded_row(const bge_resize_args *a) {
    return (int64_t)a->width * a->channels + LOAD;
}

// Scratch: the weights as the loop wants them, then the last rows with room to load past their ends.
static int64_t scratch(const bge_resize_args *a) {
    return a->outputs * steps(a->taps) * 2 * STEP * (int64_t)sizeof(int16_t) + ROWS * padded_row(a);
}

// For each step the four low halves, then the four high ones; zeros past the last tap.
static void pack_weights(const bge_resize_args *a, int16_t *to) {
    for (int32_t x = 0; x < a->outputs; x++) {
        const int32_t *k = a->weight + (int64_t)x * a->taps;
        int16_t *out = to + x * steps(a->taps) * 2 * STEP;
        for (int32_t j = 0; j < a->size[x]; j += STEP, out += 2 * STEP)
            for (int32_t i = 0; i < STEP; i++) {
                const int32_t w = j + i < a->size[x] ? k[j + i] : 0;
                out[i] = low_half(w);
                out[STEP + i] = high_half(w);
            }
    }
}

// Bytes of four pixels to words: in each lane the channels of two pixels in turns.
#define Z (-1)
V __m256i spread3(void) {
    return _mm256_setr_epi8(0, Z, 3, Z, 1, Z, 4, Z, 2, Z, 5, Z, Z, Z, Z, Z, //
                            6, Z, 9, Z, 7, Z, 10, Z, 8, Z, 11, Z, Z, Z, Z, Z);
}
V __m256i spread4(void) {
    return _mm256_setr_epi8(0, Z, 4, Z, 1, Z, 5, Z, 2, Z, 6, Z, 3, Z, 7, Z, //
                            8, Z, 12, Z, 9, Z, 13, Z, 10, Z, 14, Z, 11, Z, 15, Z);
}

// Two weights, four times, in each lane.
V __m256i spread_low(void) {
    return _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, //
                            4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
}
V __m256i spread_high(void) {
    return _mm256_add_epi8(spread_low(), _mm256_set1_epi8(2 * STEP));
}

V __m256i load_twice(const void *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

V __m256i whole(__m256i low, __m256i high) {
    return _mm256_add_epi32(low, _mm256_slli_epi32(high, 16));
}

// A sum of both lanes' as four numbers that clipping makes samples of.
V __m128i both_lanes(__m256i low, __m256i high) {
    const __m256i sum = whole(low, high);
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return _mm_srai_epi32(_mm_add_epi32(four, _mm_set1_epi32(BGE_RESIZE_HALF)), BGE_RESIZE_BITS);
}

// Output x of four rows of pixels of 3 or 4 channels: four bytes of each.
V __m128i across_pixel(const bge_resize_args *a, const int16_t *weights, const uint8_t *const src[ROWS], int32_t x,
                       int channels, __m256i spread) {
    const __m256i to_low = spread_low(), to_high = spread_high();
    const int64_t at = (int64_t)a->first[x] * channels;
    const int16_t *k = weights + x * steps(a->taps) * 2 * STEP;
    __m256i low[ROWS], high[ROWS];
    for (int r = 0; r < ROWS; r++)
        low[r] = high[r] = _mm256_setzero_si256();
    for (int32_t j = 0; j < a->size[x]; j += STEP, k += 2 * STEP) {
        const __m256i w = load_twice(k);
        const __m256i wl = _mm256_shuffle_epi8(w, to_low), wh = _mm256_shuffle_epi8(w, to_high);
        for (int r = 0; r < ROWS; r++) {
            const __m256i p = _mm256_shuffle_epi8(load_twice(src[r] + at + j * channels), spread);
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p, wl));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p, wh));
        }
    }
    return _mm_packus_epi16(_mm_packs_epi32(both_lanes(low[0], high[0]), both_lanes(low[1], high[1])),
                            _mm_packs_epi32(both_lanes(low[2], high[2]), both_lanes(low[3], high[3])));
}

V void put(uint8_t *dst[ROWS], int64_t at, __m128i pixels, size_t n) {
    const int32_t row[ROWS] = {_mm_cvtsi128_si32(pixels), _mm_extract_epi32(pixels, 1), _mm_extract_epi32(pixels, 2),
                               _mm_extract_epi32(pixels, 3)};
    for (int r = 0; r < ROWS; r++)
        memcpy(dst[r] + at, &row[r], n);
}

// Four bytes are written of each pixel but the last: the next one overwrites one of three channels too many.
V void across_rows(const bge_resize_args *a, const int16_t *weights, const uint8_t *const src[ROWS], uint8_t *dst[ROWS],
                   int channels, __m256i spread) {
    const int32_t last = a->outputs - 1;
    for (int32_t x = 0; x < last; x++)
        put(dst, (int64_t)x * channels, across_pixel(a, weights, src, x, channels, spread), 4);
    put(dst, (int64_t)last * channels, across_pixel(a, weights, src, last, channels, spread), (size_t)channels);
}

SIMD static void across3(const bge_resize_args *a, const int16_t *w, const uint8_t *const src[ROWS],
                         uint8_t *dst[ROWS]) {
    across_rows(a, w, src, dst, 3, spread3());
}
SIMD static void across4(const bge_resize_args *a, const int16_t *w, const uint8_t *const src[ROWS],
                         uint8_t *dst[ROWS]) {
    across_rows(a, w, src, dst, 4, spread4());
}

// One or two channels, which are rare, by the compiler's own vectors.
SIMD static void across_few(const bge_resize_args *a) {
    for (int32_t y = 0; y < a->height; y++) {
        const uint8_t *src = a->src + (int64_t)y * a->width * a->channels;
        uint8_t *dst = a->dst + (int64_t)y * a->outputs * a->channels;
        if (a->channels == 1)
            bge_resize_row(a, src, dst, 1);
        else
            bge_resize_row(a, src, dst, 2);
    }
}

static void across(const bge_resize_args *a, void *room) {
    if (a->channels < 3) {
        across_few(a);
        return;
    }
    int16_t *weights = room;
    uint8_t *spare = (uint8_t *)(weights + a->outputs * steps(a->taps) * 2 * STEP);
    pack_weights(a, weights);
    const int64_t row = (int64_t)a->width * a->channels, out = (int64_t)a->outputs * a->channels;
    for (int32_t y = 0; y < a->height; y += ROWS) {
        const uint8_t *src[ROWS];
        uint8_t *dst[ROWS];
        for (int32_t r = 0; r < ROWS; r++) {
            const int32_t at = y + r < a->height ? y + r : a->height - 1; // the last row again, with the same result
            src[r] = a->src + at * row;
            dst[r] = a->dst + at * out;
            if ((a->height - 1 - at) * row < LOAD) { // a load might pass the image's end
                src[r] = memcpy(spare + r * padded_row(a), src[r], (size_t)row);
                memset(spare + r * padded_row(a) + row, 0, LOAD);
            }
        }
        (a->channels == 3 ? across3 : across4)(a, weights, src, dst);
    }
}

enum { COLUMNS = 32 };

// COLUMNS bytes of a row, the rows of src being stride apart.
V void down_columns(const uint8_t *src, int64_t stride, const int32_t *k, int32_t size, uint8_t *dst) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = _mm256_set1_epi32(BGE_RESIZE_HALF);
        high[i] = zero;
    }
    for (int32_t j = 0; j < size; j += 2, src += 2 * stride) {
        const int pair = j + 1 < size;
        const int32_t w0 = k[j], w1 = pair ? k[j + 1] : 0;
        const __m256i wl = _mm256_set1_epi32((int32_t)((uint16_t)low_half(w0) | (uint32_t)low_half(w1) << 16));
        const __m256i wh = _mm256_set1_epi32((int32_t)((uint16_t)high_half(w0) | (uint32_t)high_half(w1) << 16));
        const __m256i a = _mm256_loadu_si256((const __m256i *)src);
        const __m256i b = _mm256_loadu_si256((const __m256i *)(src + (pair ? stride : 0)));
        const __m256i near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b);
        const __m256i p[4] = {_mm256_unpacklo_epi8(near, zero), _mm256_unpackhi_epi8(near, zero),
                              _mm256_unpacklo_epi8(far, zero), _mm256_unpackhi_epi8(far, zero)};
        for (int i = 0; i < 4; i++) {
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(p[i], wl));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(p[i], wh));
        }
    }
    __m256i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_srai_epi32(whole(low[i], high[i]), BGE_RESIZE_BITS);
    // Each lane packs its own half, in the order in which it was unpacked.
    _mm256_storeu_si256((__m256i *)dst,
                        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3])));
}

SIMD static void down(const bge_resize_args *a) {
    const int64_t n = (int64_t)a->width * a->channels;
    for (int32_t y = 0; y < a->outputs; y++) {
        const uint8_t *src = a->src + a->first[y] * n;
        const int32_t *k = a->weight + (int64_t)y * a->taps;
        uint8_t *dst = a->dst + y * n;
        if (n < COLUMNS) {
            bge_resize_columns(src, n, k, a->size[y], dst, 0, n);
            continue;
        }
        for (int64_t i = 0; i < n; i += COLUMNS) {
            const int64_t at = i + COLUMNS <= n ? i : n - COLUMNS; // the last ones overlap the ones before
            down_columns(src + at, n, k, a->size[y], dst + at);
        }
    }
}

const bge_resize bge_resize_avx2 = {"avx2", BGE_CPU_AVX2, scratch, across, down};

#else
typedef int bge_not_x86_64; // an empty file is not C
#endif
