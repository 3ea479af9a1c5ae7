// The reference by hand, the choice of a table, packing, norms and patches. Build: see kernels_test.c.
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Worked out on paper, so that the reference itself is held to something.
void test_reference(const tables *t) {
    const float x[2] = {1, 2}, w[6] = {3, 4, -1, 0.5f, 0, 0}, bias[3] = {0.5f, 0, 2}, residual[3] = {1, 1, 1};
    float y[3], scratch[2];
    bge_linear_args l = {.x = x, .x_stride = 2, .m = 1, .n_in = 2, .n_parts = 1};
    l.part[0] = (bge_linear_part){.w = w,
                                  .type = BGE_TYPE_F32,
                                  .row_bytes = 8,
                                  .n_out = 3,
                                  .bias = bias,
                                  .residual = residual,
                                  .residual_stride = 3,
                                  .y = y,
                                  .y_stride = 3};
    bge_linear(t->ref, &l, scratch, 0, 1);
    check(y[0] == 12.5f && y[1] == 1 && y[2] == 3, "ref: linear: %g %g %g", (double)y[0], (double)y[1], (double)y[2]);
    static const float activated[4] = {2, 1.935650f, 1.954500f, 1.761594f}; // of 2
    for (int32_t act = 0; act < 4; act++) {
        l.part[0].act = act;
        bge_linear(t->ref, &l, scratch, 0, 1);
        check(fabsf(y[2] - 1 - activated[act]) < 1e-5f, "ref: activation %d of 2 is %g", act, (double)y[2] - 1);
    }
    const float v[4] = {1, 3, 5, 7}, one[4] = {1, 1, 1, 1};
    float out[4];
    const bge_norm_args n = {.x = v, .x_stride = 4, .weight = one, .y = out, .y_stride = 4, .m = 1, .n = 4};
    bge_layer_norm(t->ref, &n, 0, 1);
    check(fabsf(out[0] + 1.3416408f) < 1e-6f, "ref: layer norm: %g", (double)out[0]); // -3 / sqrt 5
    bge_rms_norm(t->ref, &n, 0, 1);
    check(fabsf(out[3] - 1.5275252f) < 1e-6f, "ref: RMS norm: %g", (double)out[3]); // 7 / sqrt 21
    const float q[1] = {1}, k[2] = {0, 1.0986123f}, values[2] = {4, 8};             // weights 1/4 and 3/4
    const int32_t q_start[2] = {0, 1}, kv_start[2] = {0, 2};
    bge_attention_args a = {.q = q,
                            .k = k,
                            .v = values,
                            .out = out,
                            .q_stride = 1,
                            .k_stride = 1,
                            .v_stride = 1,
                            .out_stride = 1,
                            .q_start = q_start,
                            .kv_start = kv_start,
                            .n_seq = 1,
                            .n_head = 1,
                            .n_kv_head = 1,
                            .d_head = 1,
                            .scale = 1};
    bge_attention(t->ref, &a, NULL, 0, 1);
    check(fabsf(out[0] - 7) < 1e-5f, "ref: attention: %g", (double)out[0]);
}

void test_choice(const tables *t) {
    bge_kernels_status status = BGE_KERNELS_OK;
    check(!bge_kernels_select("abacus", &status) && status == BGE_KERNELS_UNKNOWN, "a table of no known name");
    check(bge_kernels_select("ref", NULL) == t->ref, "the reference by name");
    check(bge_kernels_select("portable", &status) && status == BGE_KERNELS_OK, "portable runs everywhere");
    setenv("BGEVL_CPU", "ref", 1);
    check(bge_kernels_select(NULL, &status) == t->ref && bge_kernels_select("", &status) == t->ref,
          "BGEVL_CPU=ref is not heeded");
    setenv("BGEVL_CPU", "abacus", 1);
    check(!bge_kernels_select(NULL, &status) && status == BGE_KERNELS_UNKNOWN, "BGEVL_CPU=abacus");
    unsetenv("BGEVL_CPU");
    check(bge_kernels_select(NULL, &status) == bge_kernels_at(0), "the fastest table is not the default");
}

// ---- packing ----

// What kernels_pack.c says a packed matrix is, value by value.
static void pack_plainly(const bge_kernels *k, int32_t as, int64_t n_in, int64_t n_out, const uint32_t *value,
                         unsigned char *dst) {
    const int64_t width = k->panel, terms = as == BGE_TYPE_BF16 ? (n_in + 1) / 2 * 2 : n_in;
    for (int64_t p = 0; p * width < n_out; p++)
        for (int64_t l = 0; l < terms; l++)
            for (int64_t c = 0; c < width; c++) {
                const int64_t row = p * width + c;
                const uint32_t v = row < n_out && l < n_in ? value[row * n_in + l] : 0;
                const uint16_t half = (uint16_t)v;
                int64_t at = (p * terms + l) * width + c;
                if (as == BGE_TYPE_BF16)
                    at = (p * terms + l / 2 * 2) * width + 2 * c + l % 2;
                if (as == BGE_TYPE_F32)
                    memcpy(dst + at * 4, &v, 4);
                else
                    memcpy(dst + at * 2, &half, 2);
            }
}

typedef struct pack_run {
    const bge_kernels *k;
    int32_t type, as;
    int64_t n_in, n_out;
    const void *src;
    void *dst;
} pack_run;

static void pack_one(void *arg, int32_t ith, int32_t nth) {
    const pack_run *p = arg;
    bge_linear_pack(p->k, p->type, p->as, p->n_in, p->n_out, p->src, p->dst, ith, nth);
}

static void pack_case(random_state *r, const bge_kernels *k, int32_t type, int32_t as, int64_t n_in, int64_t n_out) {
    arena a = {.n = 0};
    const int64_t n = n_in * n_out, width = k->panel;
    const int64_t terms = as == BGE_TYPE_BF16 ? (n_in + 1) / 2 * 2 : n_in;
    const int64_t want_bytes = (n_out + width - 1) / width * width * terms * (as == BGE_TYPE_F32 ? 4 : 2);
    const int64_t bytes = bge_linear_pack_size(k, as, n_in, n_out);
    if (!check(bytes == want_bytes, "%s: packed size %d x %d: %d bytes, want %d", k->name, (int)n_in, (int)n_out,
               (int)bytes, (int)want_bytes))
        return;
    uint32_t *src = take(&a, (size_t)(n * 4), 4), *value = take(&a, (size_t)(n * 4), 0);
    uint16_t *halves = (uint16_t *)src;
    for (int64_t i = 0; i < n; i++) {
        value[i] = random_bits(r);
        if (type == BGE_TYPE_F32)
            src[i] = value[i];
        else
            value[i] = halves[i] = (uint16_t)(value[i] & (type == as ? 0xffff : 0xbfff)); // converted: finite ones
        if (type != as)
            value[i] = bf16_of(of_half(halves[i]));
    }
    unsigned char *want = take(&a, (size_t)bytes, 0);
    pack_plainly(k, as, n_in, n_out, value, want);
    for (int32_t nth = 1; nth <= MAX_THREADS; nth++) {
        pack_run p = {k, type, as, n_in, n_out, src, take(&a, (size_t)bytes, 0)};
        run_threads(pack_one, &p, nth);
        check(!memcmp(p.dst, want, (size_t)bytes), "%s: packing %d x %d of type %d as %d by %d threads", k->name,
              (int)n_in, (int)n_out, type, as, nth);
    }
    give_back(&a, 0, "packing");
}

void test_rows(const tables *t) {
    (void)t; // one version serves all
    static const int64_t ms[] = {1, 2, 7, 30}, ns[] = {1, 5, 16, 33};
    random_state r = {6};
    for (int i = 0; i < 200; i++) {
        arena a = {.n = 0};
        const int64_t m = PICK(&r, ms), n = PICK(&r, ns), from = 1 + random_below(&r, 9), gap = random_below(&r, 3);
        const int picks = (int)random_below(&r, 2), with_rows = 1 + (int)random_below(&r, m);
        bge_rows_args args = {
            .x_stride = n + gap, .with_stride = n, .with_rows = with_rows, .y_stride = n + gap, .m = m};
        const int64_t x_rows = picks ? from : m;
        float *x = take_floats(&a, x_rows * (n + gap)), *with = take_floats(&a, with_rows * n);
        float *y = take_floats(&a, m * (n + gap));
        int32_t *rows = take(&a, (size_t)m * sizeof *rows, 4);
        random_fill(&r, x, x_rows * (n + gap), 1);
        random_fill(&r, with, with_rows * n, 1);
        random_fill(&r, y, m * (n + gap), 1);
        const float *before = take_copy(&a, y, m * (n + gap));
        for (int64_t j = 0; j < m; j++)
            rows[j] = (int32_t)random_below(&r, from);
        args.op = (int32_t)random_below(&r, 3);
        args.n = n;
        args.x = x;
        args.rows = picks ? rows : NULL;
        args.with = args.op == BGE_ROWS_COPY ? NULL : with;
        args.y = y;
        for (int32_t ith = 0; ith < 3; ith++)
            bge_rows(&args, ith, 3);
        for (int64_t j = 0; j < m; j++)
            for (int64_t c = 0; c < n + gap; c++) {
                const float v = x[(picks ? rows[j] : j) * (n + gap) + c], w = with[j % with_rows * n + (c < n ? c : 0)];
                const float want = c >= n                         ? before[j * (n + gap) + c]
                                   : args.op == BGE_ROWS_ADD      ? v + w
                                   : args.op == BGE_ROWS_MULTIPLY ? v * w
                                                                  : v;
                check(y[j * (n + gap) + c] == want, "rows, operation %d: row %d, %d: %g", (int)args.op, (int)j, (int)c,
                      (double)y[j * (n + gap) + c]);
            }
        give_back(&a, 0, "rows");
    }
}

void test_packing(const tables *t) {
    static const int64_t ins[] = {1, 2, 7, 8, 31, 33, 255, 256, 257, 300, 588};
    static const int64_t outs[] = {1, 3, 8, 15, 16, 17, 31, 32, 33, 70};
    static const int32_t types[][2] = {{BGE_TYPE_F32, BGE_TYPE_F32},
                                       {BGE_TYPE_F16, BGE_TYPE_F16},
                                       {BGE_TYPE_BF16, BGE_TYPE_BF16},
                                       {BGE_TYPE_F16, BGE_TYPE_BF16}};
    random_state r = {4};
    for (int i = 0; i < t->n; i++) {
        check(bge_linear_pack_size(t->k[i], 10, 256, 64) == -1, "%s: q2_k cannot be packed", t->k[i]->name);
        check(bge_linear_pack_size(t->k[i], BGE_TYPE_Q4_K, 128, 64) == -1, "%s: half a block was packed",
              t->k[i]->name);
        int n = 0;
        for (size_t in = 0; in < sizeof ins / sizeof ins[0]; in++)
            for (size_t out = 0; out < sizeof outs / sizeof outs[0]; out++)
                for (int type = 0; type < 4; type++, n++)
                    if (n % t->share == 0)
                        pack_case(&r, t->k[i], types[type][0], types[type][1], ins[in], outs[out]);
    }
}

// ---- norms ----

typedef struct norm_run {
    const bge_kernels *k;
    const bge_norm_args *args;
    int rms;
} norm_run;

static void norm_one(void *arg, int32_t ith, int32_t nth) {
    const norm_run *r = arg;
    (r->rms ? bge_rms_norm : bge_layer_norm)(r->k, r->args, ith, nth);
}

static float *norm(arena *a, const bge_kernels *k, bge_norm_args args, int rms, int in_place, int32_t nth) {
    const int64_t size = (args.m - 1) * args.y_stride + args.n;
    float *y = in_place ? take_copy(a, args.x, size) : take_floats(a, size);
    if (in_place)
        args.x = y;
    args.y = y;
    norm_run r = {k, &args, rms};
    run_threads(norm_one, &r, nth);
    return y;
}

static void norm_case(random_state *r, const tables *t, int64_t m, int64_t n, int rms) {
    arena a = {.n = 0};
    const int64_t stride = n + random_below(r, 2) * 3;
    float *x = take_floats(&a, (m - 1) * stride + n), *weight = take_floats(&a, n), *bias = take_floats(&a, n);
    random_fill(r, x, (m - 1) * stride + n, 3);
    for (int64_t i = 0; i < (m - 1) * stride + n; i++)
        x[i] += 1;
    random_fill(r, weight, n, 2);
    random_fill(r, bias, n, 1);
    bge_norm_args args = {
        .x = x, .x_stride = stride, .weight = weight, .y_stride = stride, .m = m, .n = n, .eps = 1e-5f};
    args.bias = !rms && random_below(r, 2) ? bias : NULL;
    const float *want = norm(&a, t->ref, args, rms, 0, 2);
    for (int i = 0; i < t->n; i++) {
        const bge_kernels *k = t->k[i];
        const int keep = a.n;
        const float *y = norm(&a, k, args, rms, 0, 1);
        const double e = nmse(y, stride, want, stride, m, n, 1e-2);
        check(e < 1e-11, "%s: %s norm %d x %d: NMSE %g", k->name, rms ? "RMS" : "layer", (int)m, (int)n, e);
        for (int32_t nth = 1; nth <= MAX_THREADS; nth++)
            check(same_bits(y, stride, norm(&a, k, args, rms, 1, nth), stride, m, n),
                  "%s: norm %d x %d in place by %d threads", k->name, (int)m, (int)n, nth);
        bge_norm_args one = args;
        one.m = 1;
        one.x = x + (m - 1) * stride;
        check(same_bits(y + (m - 1) * stride, stride, norm(&a, k, one, rms, 0, 1), stride, 1, n),
              "%s: norm %d x %d: a row alone", k->name, (int)m, (int)n);
        float *bad = take_copy(&a, x, (m - 1) * stride + n);
        bad[n / 2] = NAN;
        one = args;
        one.x = bad;
        const float *spoiled = norm(&a, k, one, rms, 0, 1);
        check(isnan(spoiled[0]) && isnan(spoiled[n - 1]) &&
                  same_bits(y + stride, stride, spoiled + stride, stride, m - 1, n),
              "%s: norm %d x %d: a NaN in row 0", k->name, (int)m, (int)n);
        give_back(&a, keep, "norm");
    }
    give_back(&a, 0, "norm");
}

void test_norms(const tables *t) {
    static const int64_t ins[] = {2,  3,   7,   8,   15,  16,  17,  31,   33,   64,
                                  65, 100, 127, 129, 255, 513, 768, 1000, 1024, 4096};
    static const int64_t rows[] = {1, 2, 3, 7, 50};
    random_state r = {5};
    int n = 0;
    for (size_t i = 0; i < sizeof ins / sizeof ins[0]; i++)
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++, n++)
            if (n % t->share == 0)
                for (int rms = 0; rms < 2; rms++)
                    norm_case(&r, t, rows[j], ins[i], rms);
}

// ---- patches ----

static void patches_one(void *arg, int32_t ith, int32_t nth) {
    bge_patches(arg, ith, nth);
}

static void patches_case(random_state *r, int64_t images, int64_t size, int64_t patch, int64_t lead) {
    arena a = {.n = 0};
    const int64_t grid = size / patch, per_image = grid * grid + lead, n = 3 * patch * patch, stride = n + lead * 2;
    const int64_t pixels = images * 3 * size * size;
    float *px = take_floats(&a, pixels);
    random_fill(r, px, pixels, 1);
    for (int32_t nth = 1; nth <= MAX_THREADS; nth++) {
        float *rows = take_floats(&a, (images * per_image - 1) * stride + n);
        bge_patches_args args = {px, rows, stride, images, size, patch, lead};
        run_threads(patches_one, &args, nth);
        int right = 1;
        for (int64_t i = 0; i < images * per_image; i++)
            for (int64_t j = 0; j < n; j++) {
                const int64_t at = i % per_image - lead, c = j / (patch * patch), in = j % (patch * patch);
                const int64_t y = at / grid * patch + in / patch, x = at % grid * patch + in % patch;
                const float want = at < 0 ? 0 : px[((i / per_image * 3 + c) * size + y) * size + x];
                right &= rows[i * stride + j] == want;
            }
        check(right, "patches: %d images of %d, patch %d, lead %d, %d threads", (int)images, (int)size, (int)patch,
              (int)lead, nth);
    }
    give_back(&a, 0, "patches");
}

void test_patches(const tables *t) {
    (void)t;
    random_state r = {6};
    for (int64_t lead = 0; lead < 3; lead++) {
        patches_case(&r, 1, 28, 14, lead);
        patches_case(&r, 3, 30, 15, lead);
        patches_case(&r, 2, 21, 7, lead);
        patches_case(&r, 2, 5, 1, lead);
        patches_case(&r, 1, 16, 16, lead);
    }
}
