// Linear layers: random cases over odd shapes, every way to store a weight, and every way to use a result. Build: see
// kernels_test.c.
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// How a part's weights are stored.
typedef enum storage {
    ROWS_F32,
    ROWS_F16,
    ROWS_BF16,
    ROWS_Q32,
    ROWS_Q256,
    PACKED_F32,
    PACKED_F16,
    PACKED_BF16,
    PACKED_F16_AS_BF16,
    STORAGES,
} storage;

static const char *const storage_names[STORAGES] = {"f32 rows",     "f16 rows",      "bf16 rows",
                                                    "blocks of 32", "blocks of 256", "f32 packed",
                                                    "f16 packed",   "bf16 packed",   "f16 packed as bf16"};

enum { TYPE_Q32 = 8, TYPE_Q256 = 12 }; // any number that is no float type
static const float gap = 12345;        // what lies between rows, and stays

typedef struct part_case {
    storage how;
    int64_t n_out, residual_stride, y_stride;
    int32_t act, alias;
    char *w; // as in a file
    int64_t row_bytes;
    float *bias, *residual, *want, *want_bf16; // want_bf16: with x rounded
} part_case;

typedef struct linear_case {
    int64_t m, n_in, x_stride;
    int32_t n_parts, allow_bf16;
    float *x, *rounded;
    part_case part[BGE_LINEAR_PARTS];
    char text[256];
} linear_case;

// A block is a float, the scale, and a signed byte for each value.
static void expand(const void *row, float *dst, int64_t n, int64_t block) {
    const char *at = row;
    if (n % block) { // a driver that cuts a row within a block
        printf("FAIL: %d values of blocks of %d asked for\n", (int)n, (int)block);
        exit(1);
    }
    for (int64_t i = 0; i < n; i++) {
        if (i % block == 0) {
            at = (const char *)row + i / block * (block + 4);
        }
        float scale;
        memcpy(&scale, at, sizeof scale);
        dst[i] = scale * (float)((const signed char *)at)[4 + i % block];
    }
}

static void expand32(const void *row, float *dst, int64_t n) {
    expand(row, dst, n, 32);
}
static void expand256(const void *row, float *dst, int64_t n) {
    expand(row, dst, n, 256);
}

static int64_t block_of(storage how) {
    return how == ROWS_Q32 ? 32 : how == ROWS_Q256 ? 256 : 1;
}
static int packed(storage how) {
    return how >= PACKED_F32;
}

static int32_t type_of(storage how, int stored) {
    switch (how) {
    case ROWS_F32:
    case PACKED_F32:
        return BGE_TYPE_F32;
    case ROWS_F16:
    case PACKED_F16:
        return BGE_TYPE_F16;
    case ROWS_BF16:
    case PACKED_BF16:
        return BGE_TYPE_BF16;
    case PACKED_F16_AS_BF16:
        return stored ? BGE_TYPE_BF16 : BGE_TYPE_F16;
    case ROWS_Q32:
        return TYPE_Q32;
    default:
        return TYPE_Q256;
    }
}

static int64_t bytes_of_row(storage how, int64_t n_in) {
    const int64_t block = block_of(how);
    return block > 1 ? n_in / block * (block + 4) : n_in * (type_of(how, 0) == BGE_TYPE_F32 ? 4 : 2);
}

// One row of random weights, so large that sums have a variance of about 1.
static void fill_row(random_state *r, storage how, int64_t n_in, char *row) {
    const float scale = 3 / sqrtf((float)n_in);
    for (int64_t i = 0; i < n_in; i++) {
        const float v = random_unit(r) * scale;
        const uint16_t half = type_of(how, 0) == BGE_TYPE_F16 ? half_of(v) : bf16_of(v);
        const int64_t block = block_of(how);
        if (block > 1) {
            char *at = row + i / block * (block + 4);
            const float step = scale / 127;
            memcpy(at, &step, sizeof step);
            at[4 + i % block] = (char)random_below(r, 255) - 127;
        } else if (type_of(how, 0) == BGE_TYPE_F32) {
            memcpy(row + i * 4, &v, sizeof v);
        } else {
            memcpy(row + i * 2, &half, sizeof half);
        }
    }
}

static float *random_floats(random_state *r, arena *a, int64_t n, float scale) {
    float *f = take_floats(a, n);
    random_fill(r, f, n, scale);
    return f;
}

static void make_part(random_state *r, arena *a, const linear_case *c, part_case *p) {
    static const int64_t outs[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100, 130};
    p->n_out = PICK(r, outs);
    do
        p->how = (storage)random_below(r, STORAGES);
    while (c->n_in % block_of(p->how));
    p->act = (int32_t)random_below(r, 4);
    p->y_stride = p->n_out + random_below(r, 2) * 3;
    p->row_bytes =
        bytes_of_row(p->how, c->n_in) + (packed(p->how) || block_of(p->how) > 1 ? 0 : random_below(r, 2) * 4);
    p->w = take(a, (size_t)((p->n_out - 1) * p->row_bytes + bytes_of_row(p->how, c->n_in)), 4);
    for (int64_t j = 0; j < p->n_out; j++)
        fill_row(r, p->how, c->n_in, p->w + j * p->row_bytes);
    p->bias = random_below(r, 2) ? random_floats(r, a, p->n_out, 1) : NULL;
    p->residual = NULL;
    p->alias = 0;
    if (random_below(r, 2)) {
        p->alias = (int32_t)random_below(r, 2);
        p->residual_stride = p->alias ? p->y_stride : p->n_out + random_below(r, 2);
        p->residual = random_floats(r, a, (c->m - 1) * p->residual_stride + p->n_out, 1);
    }
}

// The arguments of a run over the rows from `first` on, with weights as in the file.
static bge_linear_args arguments(const linear_case *c, int64_t first, int64_t m) {
    bge_linear_args args = {.x = c->x + first * c->x_stride,
                            .x_stride = c->x_stride,
                            .m = m,
                            .n_in = c->n_in,
                            .n_parts = c->n_parts,
                            .allow_bf16 = c->allow_bf16};
    for (int32_t i = 0; i < c->n_parts; i++) {
        const part_case *p = &c->part[i];
        args.part[i] = (bge_linear_part){.w = p->w,
                                         .type = type_of(p->how, 0),
                                         .row_bytes = p->row_bytes,
                                         .n_out = p->n_out,
                                         .bias = p->bias,
                                         .residual = p->residual ? p->residual + first * p->residual_stride : NULL,
                                         .residual_stride = p->residual_stride,
                                         .y_stride = p->y_stride,
                                         .act = p->act,
                                         .to_float = p->how == ROWS_Q32    ? expand32
                                                     : p->how == ROWS_Q256 ? expand256
                                                                           : NULL};
    }
    return args;
}

// A buffer for y of m rows: gaps, and where it is the residual too, that.
static float *output(arena *a, const part_case *p, int64_t first, int64_t m) {
    const int64_t n = (m - 1) * p->y_stride + p->n_out;
    float *y = take_floats(a, n);
    for (int64_t i = 0; i < n; i++)
        y[i] = gap;
    for (int64_t i = 0; p->alias && i < m; i++)
        memcpy(y + i * p->y_stride, p->residual + (first + i) * p->residual_stride, (size_t)p->n_out * sizeof(float));
    return y;
}

typedef struct linear_run {
    const bge_kernels *k;
    bge_linear_args *args;
    void *scratch[MAX_THREADS];
} linear_run;

static void run_one(void *arg, int32_t ith, int32_t nth) {
    linear_run *r = arg;
    bge_linear(r->k, r->args, r->scratch[ith], ith, nth);
}

static void run_linear(arena *a, const bge_kernels *k, bge_linear_args *args, int32_t nth) {
    linear_run r = {.k = k, .args = args};
    encode_x(a, k, args, nth);
    const int64_t bytes = bge_linear_scratch(k, args);
    for (int32_t i = 0; i < nth; i++)
        r.scratch[i] = take(a, (size_t)bytes, (size_t)(4 * (i + nth)));
    run_threads(run_one, &r, nth);
    check(args->work.next == 0 && args->work.done == 0, "%s: work is left at %d, %d", k->name, (int)args->work.next,
          (int)args->work.done);
}

static void make_reference(arena *a, const tables *t, linear_case *c) {
    for (int rounded = 0; rounded < 2; rounded++) {
        bge_linear_args args = arguments(c, 0, c->m);
        if (rounded)
            args.x = c->rounded;
        for (int32_t i = 0; i < c->n_parts; i++) {
            part_case *p = &c->part[i];
            args.part[i].y = output(a, p, 0, c->m);
            if (p->alias)
                args.part[i].residual = args.part[i].y;
            if (p->how == PACKED_F16_AS_BF16) {
                char *w = take(a, (size_t)bge_linear_pack_size(t->ref, BGE_TYPE_BF16, c->n_in, p->n_out), 4);
                bge_linear_pack(t->ref, BGE_TYPE_F16, BGE_TYPE_BF16, c->n_in, p->n_out, p->w, w, 0, 1);
                args.part[i].w = w;
                args.part[i].type = BGE_TYPE_BF16;
                args.part[i].packed = 1;
            }
            *(rounded ? &p->want_bf16 : &p->want) = args.part[i].y;
        }
        run_linear(a, t->ref, &args, rounded ? 3 : 1);
    }
}

// Packs what is packed. The weights stay in *a.
static void pack(arena *a, const bge_kernels *k, const linear_case *c, const void *w[BGE_LINEAR_PARTS]) {
    for (int32_t i = 0; i < c->n_parts; i++) {
        const part_case *p = &c->part[i];
        w[i] = p->w;
        if (!packed(p->how))
            continue;
        const int32_t as = type_of(p->how, 1);
        void *to = take(a, (size_t)bge_linear_pack_size(k, as, c->n_in, p->n_out), 0);
        for (int32_t ith = 0; ith < 2; ith++)
            bge_linear_pack(k, type_of(p->how, 0), as, c->n_in, p->n_out, p->w, to, ith, 2);
        w[i] = to;
    }
}

// Runs the rows first .. first+m-1 and returns their results in y.
static void run_rows(arena *a, const bge_kernels *k, const linear_case *c, const void *const w[BGE_LINEAR_PARTS],
                     int64_t first, int64_t m, int32_t nth, float *y[BGE_LINEAR_PARTS]) {
    bge_linear_args args = arguments(c, first, m);
    for (int32_t i = 0; i < c->n_parts; i++) {
        const part_case *p = &c->part[i];
        args.part[i].w = w[i];
        args.part[i].packed = packed(p->how);
        args.part[i].type = type_of(p->how, 1);
        args.part[i].y = y[i] = output(a, p, first, m);
        if (p->alias)
            args.part[i].residual = y[i];
    }
    run_linear(a, k, &args, nth);
}

static int rounds_x(const bge_kernels *k, const linear_case *c, const part_case *p) {
    return k->bf16 && c->allow_bf16 && packed(p->how) && type_of(p->how, 1) == BGE_TYPE_BF16;
}

static void compare(const bge_kernels *k, const linear_case *c, float *const y[BGE_LINEAR_PARTS]) {
    for (int32_t i = 0; i < c->n_parts; i++) {
        const part_case *p = &c->part[i];
        const float *want = rounds_x(k, c, p) ? p->want_bf16 : p->want;
        const double e = nmse(y[i], p->y_stride, want, p->y_stride, c->m, p->n_out, 0.1);
        // A chain of n float additions leaves n/6 * 2^-48 of the variance, twice that where products round too.
        check(e < 1e-11, "%s: %s: part %d (%s): NMSE %g", k->name, c->text, i, storage_names[p->how], e);
        for (int64_t r = 0; r + 1 < c->m; r++)
            for (int64_t j = p->n_out; j < p->y_stride; j++)
                check(y[i][r * p->y_stride + j] == gap, "%s: %s: part %d: wrote between rows", k->name, c->text, i);
    }
}

static void same(const bge_kernels *k, const linear_case *c, float *const all[], float *const some[], int64_t first,
                 int64_t m, const char *what) {
    for (int32_t i = 0; i < c->n_parts; i++) {
        const part_case *p = &c->part[i];
        check(same_bits(all[i] + first * p->y_stride, p->y_stride, some[i], p->y_stride, m, p->n_out),
              "%s: %s: part %d (%s): bits differ: %s", k->name, c->text, i, storage_names[p->how], what);
    }
}

static void test_table(random_state *r, const bge_kernels *k, const linear_case *c) {
    arena a = {.n = 0};
    const void *w[BGE_LINEAR_PARTS];
    float *all[BGE_LINEAR_PARTS], *again[BGE_LINEAR_PARTS];
    pack(&a, k, c, w);
    run_rows(&a, k, c, w, 0, c->m, 1, all);
    compare(k, c, all);
    const int keep = a.n;
    for (int32_t nth = 2; nth <= MAX_THREADS; nth++) {
        run_rows(&a, k, c, w, 0, c->m, nth, again);
        same(k, c, all, again, 0, c->m, "more threads");
        give_back(&a, keep, c->text);
    }
    const int64_t alone[] = {0, c->m - 1, random_below(r, c->m)};
    for (int i = 0; i < 3; i++) {
        run_rows(&a, k, c, w, alone[i], 1, 1, again);
        same(k, c, all, again, alone[i], 1, "a row alone");
        give_back(&a, keep, c->text);
    }
    const int64_t cut = random_below(r, c->m);
    run_rows(&a, k, c, w, cut, c->m - cut, 2, again);
    same(k, c, all, again, cut, c->m - cut, "the last rows");
    give_back(&a, 0, c->text);
}

static void test_case(random_state *r, const tables *t, int64_t m, int64_t n_in) {
    arena a = {.n = 0};
    linear_case c = {.m = m,
                     .n_in = n_in,
                     .x_stride = n_in + random_below(r, 2) * 5,
                     .n_parts = 1 + (int32_t)random_below(r, 3),
                     .allow_bf16 = (int32_t)random_below(r, 2)};
    const int64_t n = (m - 1) * c.x_stride + n_in;
    c.x = random_floats(r, &a, n, 1);
    c.rounded = take_floats(&a, n);
    for (int64_t i = 0; i < n; i++)
        c.rounded[i] = of_bf16(bf16_of(c.x[i]));
    int at = snprintf(c.text, sizeof c.text, "m %d, n_in %d%s, n_out", (int)m, (int)n_in, c.allow_bf16 ? ", bf16" : "");
    for (int32_t i = 0; i < c.n_parts; i++) {
        make_part(r, &a, &c, &c.part[i]);
        at += snprintf(c.text + at, sizeof c.text - (size_t)at, " %d", (int)c.part[i].n_out);
    }
    make_reference(&a, t, &c);
    for (int i = 0; i < t->n; i++)
        test_table(r, t->k[i], &c);
    give_back(&a, 0, c.text);
}

void test_linear(const tables *t) {
    static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 25, 77, 193, 197, 390};
    static const int64_t ins[] = {1, 2, 31, 32, 33, 64, 255, 256, 257, 288, 512, 513, 588, 768, 1024, 1280, 3072};
    random_state r = {1};
    int n = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t j = 0; j < sizeof ins / sizeof ins[0]; j++, n++)
            if (n % t->share == 0 && rows[i] * ins[j] <= 400000)
                test_case(&r, t, rows[i], ins[j]);
}

// One output, or one row, of what is no number stays there and spoils nothing else.
static void special_case(const bge_kernels *k, int64_t m, storage how) {
    enum { IN = 70, OUT = 37 };
    arena a = {.n = 0};
    random_state r = {2};
    linear_case c = {.m = m, .n_in = IN, .x_stride = IN, .n_parts = 1, .allow_bf16 = 1, .text = "special values"};
    c.x = random_floats(&r, &a, m * IN, 1);
    part_case *p = &c.part[0];
    *p = (part_case){.how = how, .n_out = OUT, .y_stride = OUT, .row_bytes = bytes_of_row(how, IN)};
    p->w = take(&a, (size_t)(OUT * p->row_bytes), 0);
    for (int64_t j = 0; j < OUT; j++)
        fill_row(&r, how, IN, p->w + j * p->row_bytes);
    for (int32_t act = 0; act < 4; act++) {
        const void *w[BGE_LINEAR_PARTS];
        float *plain[BGE_LINEAR_PARTS], *got[BGE_LINEAR_PARTS];
        const int keep = a.n;
        p->act = act;
        pack(&a, k, &c, w);
        run_rows(&a, k, &c, w, 0, m, 1, plain);
        const int64_t bad = m / 2;
        const float was = c.x[bad * IN + 3], specials[] = {NAN, INFINITY, -INFINITY};
        for (int s = 0; s < 3; s++) {
            c.x[bad * IN + 3] = specials[s];
            run_rows(&a, k, &c, w, 0, m, 1, got);
            int spread = 1;
            for (int64_t j = 0; j < OUT; j++) {
                const float v = got[0][bad * OUT + j]; // a sum of -infinity may end as 0 or as no number
                spread &= !isfinite(v) || (s > 0 && act != BGE_ACT_NONE && fabsf(v) < 1e-30f);
            }
            check(spread, "%s: %s: m %d: %g in x is lost (activation %d)", k->name, storage_names[how], (int)m,
                  (double)specials[s], act);
            for (int64_t i = 0; i < m; i++)
                check(i == bad || same_bits(plain[0] + i * OUT, OUT, got[0] + i * OUT, OUT, 1, OUT),
                      "%s: %s: m %d: %g in row %d changes row %d", k->name, storage_names[how], (int)m,
                      (double)specials[s], (int)bad, (int)i);
        }
        c.x[bad * IN + 3] = was;
        give_back(&a, keep, c.text);
    }
    give_back(&a, 0, c.text);
}

void test_linear_special(const tables *t) {
    static const int64_t rows[] = {1, 5, 40};
    static const storage hows[] = {ROWS_F16, PACKED_F32, PACKED_F16, PACKED_BF16};
    for (int i = 0; i < t->n; i++)
        for (int m = 0; m < 3; m++)
            for (int h = 0; h < 4; h++)
                special_case(t->k[i], rows[m], hows[h]);
}
