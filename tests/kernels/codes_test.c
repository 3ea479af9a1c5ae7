// Quantised weights times activations as integers: every type of block that a table multiplies so, over odd shapes.
// What is wanted is the plain reference's product of the same weights and of the activations that the integers stand
// for. Build: see kernels_test.c.
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// A type of block as GGUF describes it: bytes, values, and its i-th value.
typedef struct block_type {
    int32_t type;
    const char *name;
    int64_t values, bytes;
    int64_t halves[2]; // where its scales in f16 stand; -1: none
    float (*value)(const uint8_t *block, int64_t i);
} block_type;

static float half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return of_half(h);
}

static int nibble(const uint8_t *p, int64_t i) { // values 0 to 15 are the low ones
    return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}
static int fifth(const uint8_t *p, int64_t i) {
    return (p[i / 8] >> i % 8 & 1) * 16;
}

static float q4_0(const uint8_t *b, int64_t i) {
    return half_at(b) * (float)(nibble(b + 2, i) - 8);
}
static float q4_1(const uint8_t *b, int64_t i) {
    return half_at(b) * (float)nibble(b + 4, i) + half_at(b + 2);
}
static float q5_0(const uint8_t *b, int64_t i) {
    return half_at(b) * (float)((nibble(b + 6, i) | fifth(b + 2, i)) - 16);
}
static float q5_1(const uint8_t *b, int64_t i) {
    return half_at(b) * (float)(nibble(b + 8, i) | fifth(b + 4, i)) + half_at(b + 2);
}
static float q8_0(const uint8_t *b, int64_t i) {
    return half_at(b) * (float)(int8_t)b[2 + i];
}

// The j-th of the eight 6-bit scales (of = 0) or minima (of = 4) of q4_k and q5_k: the first four have their bits
// together, the others their low four in the last bytes and their high two above the first ones'.
static float k_scale(const uint8_t *s, int64_t j, int of) {
    if (j < 4)
        return (float)(s[j + of] & 63);
    const int low = of ? s[j + 4] >> 4 : s[j + 4] & 15;
    return (float)(low + (s[j - 4 + of] >> 6) * 16);
}

static float q4_k(const uint8_t *b, int64_t i) {
    const int64_t j = i / 32;
    const uint8_t byte = b[16 + j / 2 * 32 + i % 32];
    const int q = j % 2 ? byte >> 4 : byte & 15;
    return half_at(b) * k_scale(b + 4, j, 0) * (float)q - half_at(b + 2) * k_scale(b + 4, j, 4);
}

static float q5_k(const uint8_t *b, int64_t i) {
    const int64_t j = i / 32;
    const uint8_t byte = b[48 + j / 2 * 32 + i % 32];
    const int q = (j % 2 ? byte >> 4 : byte & 15) + (b[16 + i % 32] >> j & 1) * 16;
    return half_at(b) * k_scale(b + 4, j, 0) * (float)q - half_at(b + 2) * k_scale(b + 4, j, 4);
}

static float q6_k(const uint8_t *b, int64_t i) {
    const int64_t half = i / 128, quarter = i % 128 / 32, at = i % 32;
    const uint8_t low = b[half * 64 + quarter % 2 * 32 + at], high = b[128 + half * 32 + at];
    const int q = (quarter < 2 ? low & 15 : low >> 4) + (high >> 2 * quarter & 3) * 16;
    return half_at(b + 208) * (float)(int8_t)b[192 + i / 16] * (float)(q - 32);
}

static const block_type types[] = {
    {BGE_TYPE_Q4_0, "q4_0", 32, 18, {0, -1}, q4_0},  {BGE_TYPE_Q4_1, "q4_1", 32, 20, {0, 2}, q4_1},
    {BGE_TYPE_Q5_0, "q5_0", 32, 22, {0, -1}, q5_0},  {BGE_TYPE_Q5_1, "q5_1", 32, 24, {0, 2}, q5_1},
    {BGE_TYPE_Q8_0, "q8_0", 32, 34, {0, -1}, q8_0},  {BGE_TYPE_Q4_K, "q4_k", 256, 144, {0, 2}, q4_k},
    {BGE_TYPE_Q5_K, "q5_k", 256, 176, {0, 2}, q5_k}, {BGE_TYPE_Q6_K, "q6_k", 256, 210, {208, -1}, q6_k},
};
enum { TYPES = sizeof types / sizeof types[0] };

typedef struct codes_case {
    int64_t m, n_in, n_out, x_stride;
    const block_type *of[2]; // of two parts
    uint8_t *w[2];
    float *wide[2]; // the same as floats
    float *x, *bias;
    char text[128];
} codes_case;

static void make_weights(random_state *r, arena *a, codes_case *c, int part) {
    const block_type *t = c->of[part];
    const int64_t blocks = c->n_out * c->n_in / t->values;
    uint8_t *w = c->w[part] = take(a, (size_t)(blocks * t->bytes), 0);
    float *wide = c->wide[part] = take_floats(a, c->n_out * c->n_in);
    for (int64_t i = 0; i < blocks; i++) {
        uint8_t *block = w + i * t->bytes;
        for (int64_t j = 0; j < t->bytes; j++)
            block[j] = (uint8_t)random_bits(r);
        for (int h = 0; h < 2 && t->halves[h] >= 0; h++) {
            const uint16_t scale = half_of(random_unit(r) * 0.01f);
            memcpy(block + t->halves[h], &scale, sizeof scale);
        }
        for (int64_t j = 0; j < t->values; j++)
            wide[i * t->values + j] = t->value(block, j);
    }
}

typedef struct codes_run {
    const bge_kernels *k;
    bge_linear_args *args;
    void *scratch[MAX_THREADS];
} codes_run;

static void run_product(void *arg, int32_t ith, int32_t nth) {
    codes_run *r = arg;
    bge_linear(r->k, r->args, r->scratch[ith], ith, nth);
}

// Whether a table multiplies a type as integers.
static int has_codes(const bge_kernels *k, const block_type *t, int64_t n_in) {
    return bge_linear_pack_size(k, t->type, n_in, 1) >= 0;
}

static float float_at(const char *row, int64_t i) {
    float f;
    memcpy(&f, row + i * 4, sizeof f);
    return f;
}

static float peak_of(const float *x, int64_t n) {
    float peak = 0;
    for (int64_t j = 0; j < n; j++)
        peak = fmaxf(peak, fabsf(x[j]));
    return peak;
}

// Checks what stands behind the codes of block b of a slice of n terms: the sums of its halves, times the scale.
static void check_sums(const bge_kernels *k, const codes_case *c, int32_t as, const char *floats, int64_t b, int64_t n,
                       const double sum[2], double peak) {
    const int64_t blocks = n / 32;
    const double all = float_at(floats, blocks + b) - sum[0] - sum[1];
    if (as == BGE_X_INT8) {
        const double first = float_at(floats, 2 * blocks + 2 * b) - sum[0];
        const double last = float_at(floats, 2 * blocks + 2 * b + 1) - sum[1];
        check(fabs(all) <= peak * 1e-5 && fabs(first) <= peak * 1e-5 && fabs(last) <= peak * 1e-5,
              "%s: %s: block %d: wrong sums", k->name, c->text, (int)b);
        return;
    }
    // Integers by which, and by 128 times the sum of the codes, the bits of an integer zero lie apart.
    const double scale = (double)float_at(floats, 5 * blocks) * float_at(floats, b) / 0x1.8p23;
    int32_t zero, start[3];
    memcpy(&zero, floats + b * 4, 4);
    memcpy(&start[0], floats + (2 * blocks + b) * 4, 4);
    memcpy(&start[1], floats + (3 * blocks + 2 * b) * 4, 8);
    check(fabs(all) <= peak * 1e-5 && start[1] - zero + start[2] - zero == start[0] - zero &&
              fabs((zero - start[1]) * scale / 128 - sum[0]) <= peak * 1e-5 &&
              fabs((zero - start[2]) * scale / 128 - sum[1]) <= peak * 1e-5,
          "%s: %s: block %d: wrong starts", k->name, c->text, (int)b);
}

// The scale of block b of a slice of n terms. With VNNI the scales of a slice are a power of two from each other, each
// up to twice what its block asks for.
static float scale_of(const bge_kernels *k, const codes_case *c, int32_t as, const char *floats, int64_t b, int64_t n,
                      float peak) {
    if (as != BGE_X_INT8_VNNI) {
        const float scale = float_at(floats, b);
        check(fabs(scale - peak / (as == BGE_X_INT8 ? 127.0 : 32767.0)) <= peak * 1e-9,
              "%s: %s: block %d: scale %g of %g", k->name, c->text, (int)b, (double)scale, (double)peak);
        return scale;
    }
    int exponent;
    const float power = float_at(floats, b) / 0x1.8p23f, scale = power * float_at(floats, n / 32 * 5);
    check(frexpf(power, &exponent) == 0.5f && scale >= peak / 127.001f && (scale <= peak / 63.499f || peak == 0),
          "%s: %s: block %d: scale %g of %g", k->name, c->text, (int)b, (double)scale, (double)peak);
    return scale;
}

// What the n terms from l on of row i stand for; checks that it is near what was encoded, and what goes with it.
static void decode_slice(const bge_kernels *k, const codes_case *c, int32_t as, const char *row, int64_t i, int64_t l,
                         int64_t n, float *to) {
    const int64_t size = as == BGE_X_INT16 ? 2 : 1;
    const double nearest = 0.505; // x over the scale is rounded to a float, of whose last bit 2^15 is 2^-8
    for (int64_t b = 0; b < n / 32; b++) {
        const float *x = c->x + i * c->x_stride + l + b * 32, peak = peak_of(x, 32);
        const float scale = scale_of(k, c, as, row + n * size, b, n, peak);
        double sum[2] = {0, 0};
        for (int64_t j = 0; j < 32; j++) {
            int16_t q;
            memcpy(&q, row + (b * 32 + j) * size, (size_t)size);
            q = size == 1 ? (int8_t)q : q;
            to[b * 32 + j] = scale * (float)q;
            sum[j / 16] += (double)scale * q;
            check(fabs(to[b * 32 + j] - x[j]) <= (double)scale * nearest, "%s: %s: row %d, %d: %g became %g", k->name,
                  c->text, (int)i, (int)(b * 32 + j), (double)x[j], (double)to[b * 32 + j]);
        }
        if (size == 1)
            check_sums(k, c, as, row + n, b, n, sum, peak);
    }
}

static void decode(const bge_kernels *k, const codes_case *c, int32_t as, const char *encoded, int64_t i, float *to) {
    const int64_t slice = bge_encoded_slice(k, c->n_in);
    for (int64_t l = 0; l < c->n_in; l += slice) {
        const int64_t n = l + slice < c->n_in ? slice : c->n_in - l;
        const char *row = encoded + c->m * bge_encoded_bytes(as, l) + i * bge_encoded_bytes(as, n);
        decode_slice(k, c, as, row, i, l, n, to + l);
    }
}

// One part's weights as the table packs them.
static void *pack(arena *a, const bge_kernels *k, const codes_case *c, int part) {
    const int32_t type = c->of[part]->type;
    const int64_t size = bge_linear_pack_size(k, type, c->n_in, c->n_out);
    const int64_t file = c->n_out * c->n_in / c->of[part]->values * c->of[part]->bytes;
    check(size >= file && size <= bge_linear_pack_size(k, BGE_TYPE_F16, c->n_in, c->n_out) * 17 / 32,
          "%s: %s: %d bytes packed of %d", k->name, c->text, (int)size, (int)file);
    void *packed = take(a, (size_t)size, 0);
    for (int32_t ith = 0; ith < 2; ith++)
        bge_linear_pack(k, type, type, c->n_in, c->n_out, c->w[part], packed, ith, 2);
    return packed;
}

// y of both parts, side by side, for the rows first .. first+m-1.
static float *product(arena *a, const bge_kernels *k, const codes_case *c, int64_t first, int64_t m, int32_t nth) {
    bge_linear_args args = {
        .x = c->x + first * c->x_stride, .x_stride = c->x_stride, .m = m, .n_in = c->n_in, .n_parts = 2};
    float *y = take_floats(a, m * 2 * c->n_out);
    for (int i = 0; i < 2; i++) {
        args.part[i] = (bge_linear_part){.w = pack(a, k, c, i),
                                         .type = c->of[i]->type,
                                         .packed = 1,
                                         .n_out = c->n_out,
                                         .bias = i ? c->bias : NULL,
                                         .act = i ? BGE_ACT_SILU : BGE_ACT_NONE,
                                         .y = y + i * c->n_out,
                                         .y_stride = 2 * c->n_out};
    }
    encode_x(a, k, &args, nth);
    codes_run r = {.k = k, .args = &args};
    const int64_t bytes = bge_linear_scratch(k, &args);
    for (int32_t i = 0; i < nth; i++)
        r.scratch[i] = take(a, (size_t)bytes, (size_t)(4 * i));
    run_threads(run_product, &r, nth);
    return y;
}

// The reference's product with what the integers stand for.
static float *wanted(arena *a, const tables *t, const bge_kernels *k, const codes_case *c) {
    float *y = take_floats(a, c->m * 2 * c->n_out), *x = take_floats(a, c->m * c->n_in);
    for (int i = 0; i < 2; i++) {
        bge_linear_args read = {.x = c->x, .x_stride = c->x_stride, .m = c->m, .n_in = c->n_in, .n_parts = 1};
        read.part[0] = (bge_linear_part){.type = c->of[i]->type, .packed = 1};
        encode_x(a, k, &read, 1);
        const int32_t as = bge_linear_reads(k, &read, 0);
        check(as == BGE_X_INT8 || as == BGE_X_INT16 || as == BGE_X_INT8_VNNI, "%s: %s: part %d reads no integers",
              k->name, c->text, i);
        for (int64_t r = 0; r < c->m; r++)
            decode(k, c, as, read.encoded[as], r, x + r * c->n_in);
        bge_linear_args args = {.x = x, .x_stride = c->n_in, .m = c->m, .n_in = c->n_in, .n_parts = 1};
        args.part[0] = (bge_linear_part){.w = c->wide[i],
                                         .type = BGE_TYPE_F32,
                                         .row_bytes = c->n_in * 4,
                                         .n_out = c->n_out,
                                         .bias = i ? c->bias : NULL,
                                         .act = i ? BGE_ACT_SILU : BGE_ACT_NONE,
                                         .y = y + i * c->n_out,
                                         .y_stride = 2 * c->n_out};
        codes_run r = {.k = t->ref, .args = &args};
        r.scratch[0] = take(a, (size_t)bge_linear_scratch(t->ref, &args), 0);
        run_threads(run_product, &r, 1);
    }
    return y;
}

static void codes_table(random_state *r, const tables *t, const bge_kernels *k, const codes_case *c) {
    arena a = {.n = 0};
    const int64_t width = 2 * c->n_out;
    float *want = wanted(&a, t, k, c), *all = product(&a, k, c, 0, c->m, 1);
    for (int i = 0; i < 2; i++) {
        const double e = nmse(all + i * c->n_out, width, want + i * c->n_out, width, c->m, c->n_out, 1e-3);
        // Products are exact; what is rounded is a float for each block, and a minimum that is taken away again.
        check(e < 1e-10, "%s: %s: part %d (%s): NMSE %g", k->name, c->text, i, c->of[i]->name, e);
    }
    const int keep = a.n;
    for (int32_t nth = 2; nth <= MAX_THREADS; nth++) {
        check(same_bits(all, width, product(&a, k, c, 0, c->m, nth), width, c->m, width),
              "%s: %s: more threads change bits", k->name, c->text);
        give_back(&a, keep, c->text);
    }
    const int64_t alone = random_below(r, c->m);
    check(same_bits(all + alone * width, width, product(&a, k, c, alone, 1, 1), width, 1, width),
          "%s: %s: row %d alone has other bits", k->name, c->text, (int)alone);
    check(same_bits(all + alone * width, width, product(&a, k, c, alone, c->m - alone, 2), width, c->m - alone, width),
          "%s: %s: the rows from %d on have other bits", k->name, c->text, (int)alone);
    give_back(&a, 0, c->text);
}

static void codes_at(random_state *r, const tables *t, const block_type *one, const block_type *two, int64_t m,
                     int64_t n_in, int64_t n_out) {
    arena a = {.n = 0};
    codes_case c = {.m = m, .n_in = n_in, .n_out = n_out, .x_stride = n_in + random_below(r, 2) * 3, .of = {one, two}};
    snprintf(c.text, sizeof c.text, "%s and %s, m %d, n_in %d, n_out %d", one->name, two->name, (int)m, (int)n_in,
             (int)n_out);
    c.x = take_floats(&a, (m - 1) * c.x_stride + n_in);
    random_fill(r, c.x, (m - 1) * c.x_stride + n_in, 1);
    for (int64_t i = 0; i < m; i++) // blocks of all sizes
        for (int64_t j = 0; j < n_in; j += 32) {
            const float size = ldexpf(1, -(int)random_below(r, 10));
            for (int64_t l = 0; l < 32; l++)
                c.x[i * c.x_stride + j + l] *= size;
        }
    memset(c.x, 0, 32 * sizeof(float)); // a block of zeros has no scale to divide by
    c.bias = take_floats(&a, n_out);
    random_fill(r, c.bias, n_out, 1);
    make_weights(r, &a, &c, 0);
    make_weights(r, &a, &c, 1);
    for (int i = 0; i < t->n; i++)
        if (has_codes(t->k[i], one, n_in) && has_codes(t->k[i], two, n_in))
            codes_table(r, t, t->k[i], &c);
    give_back(&a, 0, c.text);
}

// One number that is none spoils its row and no other.
static void codes_special(const bge_kernels *k, const block_type *of) {
    enum { IN = 256, OUT = 20, ROWS = 7, BAD = 3 };
    arena a = {.n = 0};
    random_state r = {5};
    codes_case c = {.m = ROWS, .n_in = IN, .n_out = OUT, .x_stride = IN, .of = {of, of}, .text = "special values"};
    c.x = take_floats(&a, ROWS * IN);
    random_fill(&r, c.x, ROWS * IN, 1);
    c.bias = take_floats(&a, OUT);
    random_fill(&r, c.bias, OUT, 1);
    make_weights(&r, &a, &c, 0);
    make_weights(&r, &a, &c, 1);
    const float *plain = product(&a, k, &c, 0, ROWS, 1), specials[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < 3; s++) {
        c.x[BAD * IN + 40] = specials[s];
        const float *got = product(&a, k, &c, 0, ROWS, 1);
        for (int64_t i = 0; i < ROWS; i++)
            for (int64_t j = 0; j < 2 * OUT; j++)
                check(i == BAD ? !isfinite(got[i * 2 * OUT + j]) : got[i * 2 * OUT + j] == plain[i * 2 * OUT + j],
                      "%s: %s: %g in row %d: row %d, %d is %g", k->name, of->name, (double)specials[s], BAD, (int)i,
                      (int)j, (double)got[i * 2 * OUT + j]);
    }
    give_back(&a, 0, c.text);
}

void test_codes(const tables *t) {
    static const int64_t rows[] = {1, 2, 3, 4, 5, 9, 13, 50, 193, 400}, outs[] = {1, 7, 16, 17, 33, 64, 100};
    static const int64_t ins[] = {32, 64, 96, 256, 288, 512, 800, 1024, 2048};
    random_state r = {3};
    int n = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t j = 0; j < sizeof ins / sizeof ins[0]; j++)
            for (int k = 0; k < TYPES; k++, n++) {
                const block_type *one = &types[k], *two = &types[random_below(&r, TYPES)];
                const int64_t out = PICK(&r, outs);
                if (n % t->share == 0 && rows[i] * ins[j] <= 100000 && ins[j] % one->values == 0 &&
                    ins[j] % two->values == 0)
                    codes_at(&r, t, one, two, rows[i], ins[j], out);
            }
    for (int i = 0; i < t->n; i++)
        for (int k = 0; k < TYPES; k++)
            if (has_codes(t->k[i], &types[k], 256))
                codes_special(t->k[i], &types[k]);
}
