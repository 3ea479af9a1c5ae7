// Attention over ragged sequences. Build: see kernels_test.c.
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SEQ = 5 };

typedef struct attention_case {
    bge_attention_args args;
    int32_t q_start[MAX_SEQ + 1], kv_start[MAX_SEQ + 1], q_pos[2048];
    char text[256];
} attention_case;

typedef struct attention_run {
    const bge_kernels *k;
    bge_attention_args *args;
    void *scratch[MAX_THREADS];
} attention_run;

static void run_one(void *arg, int32_t ith, int32_t nth) {
    attention_run *r = arg;
    bge_attention(r->k, r->args, r->scratch[ith], ith, nth);
}

static void run_attention(arena *a, const bge_kernels *k, bge_attention_args *args, int32_t nth) {
    attention_run r = {.k = k, .args = args};
    for (int32_t i = 0; i < nth; i++)
        r.scratch[i] = take(a, (size_t)bge_attention_scratch(k, args), (size_t)(4 * (i + nth)));
    run_threads(run_one, &r, nth);
    check(args->work.next == 0 && args->work.done == 0, "%s: attention leaves work", k->name);
}

static float *rows(random_state *r, arena *a, int64_t n, int64_t stride, int64_t width, float scale) {
    const int64_t size = n > 0 ? (n - 1) * stride + width : 0;
    float *f = take_floats(a, size);
    random_fill(r, f, size, scale);
    return f;
}

static void lengths(random_state *r, attention_case *c) {
    static const int32_t lens[] = {1, 2, 3, 6, 7, 15, 16, 17, 31, 33, 50, 77, 95, 96, 97, 130, 197, 300};
    c->args.n_seq = 1 + (int32_t)random_below(r, MAX_SEQ);
    c->args.causal = (int32_t)random_below(r, 2);
    const int as_many = (int)random_below(r, 2), positions = (int)random_below(r, 2);
    for (int32_t s = 0; s < c->args.n_seq; s++) {
        const int32_t kv = PICK(r, lens);
        int32_t q = as_many ? kv : (int32_t)random_below(r, kv + 1); // none, too
        c->kv_start[s + 1] = c->kv_start[s] + kv;
        c->q_start[s + 1] = c->q_start[s] + q;
        for (int32_t i = 0; i < q; i++)
            c->q_pos[c->q_start[s] + i] = (int32_t)random_below(r, kv);
    }
    c->args.q_start = c->q_start;
    c->args.kv_start = c->kv_start;
    c->args.q_pos = positions ? c->q_pos : NULL;
}

static void make_case(random_state *r, arena *a, attention_case *c) {
    static const int32_t heads[][2] = {{1, 1}, {2, 2}, {4, 2}, {3, 1}, {8, 2}};
    static const int32_t depths[] = {1, 3, 16, 20, 32, 64, 65, 80, 128};
    static const float scales[] = {1, 1, 1, 8, 60}; // the last: one key takes all
    bge_attention_args *args = &c->args;
    lengths(r, c);
    const int32_t *h = PICK(r, heads);
    args->n_head = h[0];
    args->n_kv_head = h[1];
    args->d_head = PICK(r, depths);
    const float scale = PICK(r, scales);
    args->scale = 1 / sqrtf((float)args->d_head);
    const int64_t q_width = (int64_t)args->n_head * args->d_head, kv_width = (int64_t)args->n_kv_head * args->d_head;
    args->q_stride = q_width + random_below(r, 2) * 7;
    args->k_stride = kv_width + random_below(r, 2) * 3;
    args->v_stride = kv_width + random_below(r, 2) * 1;
    args->out_stride = q_width + random_below(r, 2) * 2;
    const int64_t q = c->q_start[args->n_seq], kv = c->kv_start[args->n_seq];
    args->q = rows(r, a, q, args->q_stride, q_width, 2 * scale);
    args->k = rows(r, a, kv, args->k_stride, kv_width, 2 * scale);
    args->v = rows(r, a, kv, args->v_stride, kv_width, 1);
    snprintf(c->text, sizeof c->text, "attention: %d sequences, %d queries, %d keys, heads %d/%d, d_head %d%s%s, x%g",
             args->n_seq, (int)q, (int)kv, args->n_head, args->n_kv_head, args->d_head, args->causal ? ", causal" : "",
             args->q_pos ? ", positions" : "", (double)scale);
}

// Query row r of sequence s alone gives the same bits as among the others.
static void row_alone(arena *a, const bge_kernels *k, const attention_case *c, const float *all, int32_t s, int32_t r) {
    const int64_t width = (int64_t)c->args.n_head * c->args.d_head;
    const int32_t q_start[2] = {0, 1}, kv_start[2] = {0, c->kv_start[s + 1] - c->kv_start[s]};
    const int32_t pos = c->args.q_pos ? c->q_pos[r] : kv_start[1] - (c->q_start[s + 1] - r);
    bge_attention_args args = c->args;
    args.n_seq = 1;
    args.q_start = q_start;
    args.kv_start = kv_start;
    args.q_pos = &pos;
    args.q += r * args.q_stride;
    args.k += c->kv_start[s] * args.k_stride;
    args.v += c->kv_start[s] * args.v_stride;
    args.out = take_floats(a, width);
    run_attention(a, k, &args, 1);
    check(same_bits(all + r * args.out_stride, args.out_stride, args.out, width, 1, width),
          "%s: %s: row %d alone has other bits", k->name, c->text, r);
}

static void test_table(random_state *r, const bge_kernels *k, const attention_case *c, const float *want) {
    arena a = {.n = 0};
    const int64_t q = c->q_start[c->args.n_seq], width = (int64_t)c->args.n_head * c->args.d_head;
    const int64_t size = (q - 1) * c->args.out_stride + width;
    bge_attention_args args = c->args;
    float *all = args.out = take_floats(&a, size);
    run_attention(&a, k, &args, 1);
    const double e = nmse(all, args.out_stride, want, args.out_stride, q, width, 1e-3);
    check(e < 1e-8, "%s: %s: NMSE %g", k->name, c->text, e); // scores of 1000s carry their rounding into weights
    for (int64_t i = 0; i + 1 < q; i++)
        for (int64_t j = width; j < args.out_stride; j++) {
            uint32_t bits;
            memcpy(&bits, all + i * args.out_stride + j, sizeof bits);
            check(bits == 0xA5A5A5A5u, "%s: %s: wrote between rows", k->name, c->text);
        }
    const int keep = a.n;
    for (int32_t nth = 2; nth <= MAX_THREADS; nth++) {
        args.out = take_floats(&a, size);
        run_attention(&a, k, &args, nth);
        check(same_bits(all, args.out_stride, args.out, args.out_stride, q, width), "%s: %s: %d threads: bits differ",
              k->name, c->text, nth);
        give_back(&a, keep, c->text);
    }
    for (int32_t s = 0; s < c->args.n_seq; s++)
        if (c->q_start[s + 1] > c->q_start[s]) {
            row_alone(&a, k, c, all, s, c->q_start[s + 1] - 1);
            row_alone(&a, k, c, all, s, c->q_start[s] + (int32_t)random_below(r, c->q_start[s + 1] - c->q_start[s]));
            give_back(&a, keep, c->text);
        }
    give_back(&a, 0, c->text);
}

// What is no number in one query stays in its row, and its head.
static void spoiled_query(const bge_kernels *k, attention_case *c, arena *a) {
    bge_attention_args args = c->args;
    const int64_t q = c->q_start[args.n_seq], width = (int64_t)args.n_head * args.d_head, bad = q / 2;
    const int64_t size = (q - 1) * args.out_stride + width;
    float *spoiled = take_copy(a, args.q, (q - 1) * args.q_stride + width), *plain = args.out = take_floats(a, size);
    run_attention(a, k, &args, 1);
    spoiled[bad * args.q_stride] = NAN; // the first value of head 0
    args.q = spoiled;
    args.out = take_floats(a, size);
    run_attention(a, k, &args, 1);
    int lost = 0;
    for (int32_t d = 0; d < args.d_head; d++)
        lost |= !isnan(args.out[bad * args.out_stride + d]);
    check(!lost, "%s: %s: a NaN in a query is lost", k->name, c->text);
    for (int64_t i = 0; i < q; i++) {
        const int64_t from = i == bad ? args.d_head : 0, at = i * args.out_stride + from;
        check(same_bits(plain + at, width, args.out + at, width, 1, width - from),
              "%s: %s: a NaN in query %d changes row %d", k->name, c->text, (int)bad, (int)i);
    }
}

void test_attention(const tables *t) {
    random_state r = {3};
    for (int n = 0; n < 160; n += t->share) {
        arena a = {.n = 0};
        attention_case c = {.text = ""};
        do
            make_case(&r, &a, &c);
        while (c.q_start[c.args.n_seq] == 0);
        const int64_t q = c.q_start[c.args.n_seq], width = (int64_t)c.args.n_head * c.args.d_head;
        bge_attention_args args = c.args;
        float *want = args.out = take_floats(&a, (q - 1) * args.out_stride + width);
        run_attention(&a, t->ref, &args, 2);
        const int keep = a.n;
        for (int i = 0; i < t->n; i++) {
            test_table(&r, t->k[i], &c, want);
            spoiled_query(t->k[i], &c, &a);
            give_back(&a, keep, c.text);
        }
        give_back(&a, 0, c.text);
    }
}
