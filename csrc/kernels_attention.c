//go:build !bgevl_static

// The fast attention: tiles, work sharing and the running softmax around the small products of an instruction set.
// Build: see kernels.h.
//
// A unit of work is a few panels of queries of one head of one sequence; each lane of a panel is a query. Scores are
// computed transposed, s[key][query] = k . q^T, so that q is the operand that is stored as a panel, k is read row by
// row, and a query's maximum and sum stay in its lane. The result is out[query][d] += p[query][key] . v[key][d], where
// p is read down a column of s. Keys and values of KEYS positions at a time are copied next to each other, used by all
// panels of the unit, and never looked at again: no score matrix is stored.
#include "kernels_simd.h"

enum {
    KEYS = 96,       // positions at a time: a multiple of the rows of every tile (4, 6, 12)
    UNIT_PANELS = 8, // panels of queries in a unit of work
    ALIGN = 64,
};

static const float log2_e = 1.44269504f;

typedef struct buffers {
    float *k;         // [KEYS][d_head]
    float *v;         // [KEYS][depth]
    float *s;         // [KEYS][panel]
    float *q;         // [UNIT_PANELS][d_head][panel]
    float *out;       // [UNIT_PANELS][panel][depth]
    float *max, *sum; // [UNIT_PANELS][panel]
} buffers;

// One unit of work.
typedef struct unit {
    int32_t seq, head;
    int64_t row, rows; // of q
    int64_t keys;      // that any of the rows sees
} unit;

static int64_t depth_of(const bge_kernels *k, const bge_attention_args *a) {
    return bge_round_up(a->d_head, k->panel); // so that v is made of whole panels
}

static int64_t lay_out(const bge_kernels *k, const bge_attention_args *a, char *base, buffers *b) {
    const int64_t depth = depth_of(k, a), rows = UNIT_PANELS * k->panel;
    const int64_t floats[7] = {
        KEYS * a->d_head, KEYS * depth, KEYS * k->panel, rows * a->d_head, rows * depth, rows, rows};
    float **const at[7] = {&b->k, &b->v, &b->s, &b->q, &b->out, &b->max, &b->sum};
    int64_t bytes = (ALIGN - (uintptr_t)base % ALIGN) % ALIGN;
    for (int i = 0; i < 7; i++) {
        *at[i] = (float *)(base + bytes);
        bytes += bge_round_up(floats[i] * (int64_t)sizeof(float), ALIGN);
    }
    return bytes;
}

int64_t bge_simd_attention_scratch(const bge_kernels *k, const bge_attention_args *a) {
    char none[1];
    buffers unused;
    return lay_out(k, a, none, &unused) + ALIGN;
}

// Panels of queries per unit: as many as UNIT_PANELS, but equally many in each unit of a sequence.
static int64_t unit_rows(const bge_kernels *k, int64_t q_rows) {
    const int64_t panels = bge_ceil_div(q_rows, k->panel), units = bge_ceil_div(panels, UNIT_PANELS);
    return bge_ceil_div(panels, units) * k->panel;
}

static int64_t units_of(const bge_kernels *k, const bge_attention_args *a, int32_t seq) {
    const int64_t q = a->q_start[seq + 1] - a->q_start[seq];
    return q > 0 ? a->n_head * bge_ceil_div(q, unit_rows(k, q)) : 0;
}

static unit find_unit(const bge_kernels *k, const bge_attention_args *a, int64_t index) {
    unit u = {0};
    for (int64_t n; index >= (n = units_of(k, a, u.seq)); u.seq++)
        index -= n;
    const int64_t q = a->q_start[u.seq + 1] - a->q_start[u.seq], rows = unit_rows(k, q), cuts = bge_ceil_div(q, rows);
    u.head = (int32_t)(index / cuts);
    u.row = a->q_start[u.seq] + index % cuts * rows;
    u.rows = bge_min(rows, a->q_start[u.seq + 1] - u.row);
    for (int64_t r = u.row; r < u.row + u.rows; r++) {
        const int64_t keys = bge_attention_keys(a, u.seq, r);
        u.keys = keys > u.keys ? keys : u.keys;
    }
    return u;
}

// Queries as panels, scaled so that 2^score is the weight; lanes without a query hold zeros.
static void load_queries(const bge_kernels *k, const bge_attention_args *a, const unit *u, const buffers *b) {
    const int64_t width = k->panel, padded = bge_round_up(u->rows, width);
    const float scale = a->scale * log2_e;
    for (int64_t i = 0; i < padded; i++) {
        const float *q = a->q + (u->row + i) * a->q_stride + (int64_t)u->head * a->d_head;
        float *to = b->q + i / width * width * a->d_head + i % width;
        for (int64_t d = 0; d < a->d_head; d++)
            to[d * width] = i < u->rows ? q[d] * scale : 0;
        b->max[i] = -1e30f; // below any score, and finite: a difference of infinities is no number
        b->sum[i] = 0;
    }
    memset(b->out, 0, (size_t)(padded * depth_of(k, a)) * sizeof(float));
}

static void load_keys(const bge_kernels *k, const bge_attention_args *a, const unit *u, const buffers *b, int64_t key,
                      int64_t n) {
    const int64_t depth = depth_of(k, a), at = (int64_t)(u->head / (a->n_head / a->n_kv_head)) * a->d_head;
    const size_t size = (size_t)a->d_head * sizeof(float);
    key += a->kv_start[u->seq];
    for (int64_t j = 0; j < n; j++) {
        memcpy(b->k + j * a->d_head, a->k + (key + j) * a->k_stride + at, size);
        memcpy(b->v + j * depth, a->v + (key + j) * a->v_stride + at, size);
        if (depth > a->d_head)
            memset(b->v + j * depth + a->d_head, 0, (size_t)(depth - a->d_head) * sizeof(float));
    }
}

// limit[i]: how many of the n keys from `key` on lane i of the panel sees. Returns the most of them; *all is whether
// every lane sees every key.
static int64_t limits(const bge_attention_args *a, const unit *u, int64_t first, int64_t width, int64_t key, int64_t n,
                      int32_t *limit, int *all) {
    int64_t most = 0;
    *all = 1;
    for (int64_t i = 0; i < width; i++) {
        int64_t seen = 0; // a lane without a query
        if (first + i < u->rows) {
            seen = bge_attention_keys(a, u->seq, u->row + first + i) - key;
            seen = seen < 0 ? 0 : bge_min(seen, n);
            if (seen < n)
                *all = 0;
        }
        limit[i] = (int32_t)seen;
        most = seen > most ? seen : most;
    }
    return most;
}

// One panel of queries (from row `first` of the unit on) against the n loaded keys, the first of which is `key`.
static void panel_step(const bge_kernels *k, const bge_attention_args *a, const unit *u, const buffers *b,
                       int64_t first, int64_t key, int64_t n) {
    const bge_simd *simd = k->simd;
    const bge_gemm *gemm = simd->gemm[BGE_B_F32]->one;
    const int64_t width = k->panel, mr = simd->mr, depth = depth_of(k, a);
    int32_t limit[BGE_MAX_PANEL];
    float rescale[BGE_MAX_PANEL];
    int all;
    n = limits(a, u, first, width, key, n, limit, &all);
    if (n == 0)
        return;
    bge_tile t = {.n = a->d_head, .a_row = a->d_head, .a_col = 1, .b = b->q + first * a->d_head, .b_step = width};
    t.c_row = width;
    for (int64_t j = 0; j < n; j += mr) {
        t.a = b->k + j * a->d_head;
        t.c = b->s + j * width;
        gemm[bge_min(mr, n - j)](&t);
    }
    const bge_softmax soft = {n, b->s, all ? NULL : limit, b->max + first, b->sum + first, rescale};
    float *out = b->out + first * depth;
    if (simd->softmax(&soft))
        for (int64_t i = 0; i < width; i++)
            for (int64_t d = 0; d < depth; d++)
                out[i * depth + d] *= rescale[i];
    t = (bge_tile){.n = n, .a_row = 1, .a_col = width, .b_step = depth, .c_row = depth, .add = 1};
    const int64_t rows = bge_min(width, u->rows - first);
    for (int64_t d = 0; d < depth; d += width) {
        t.b = b->v + d;
        for (int64_t i = 0; i < rows; i += mr) {
            t.a = b->s + i;
            t.c = out + i * depth + d;
            gemm[bge_min(mr, rows - i)](&t);
        }
    }
}

static void store_rows(const bge_kernels *k, const bge_attention_args *a, const unit *u, const buffers *b) {
    const int64_t depth = depth_of(k, a);
    for (int64_t i = 0; i < u->rows; i++) {
        float *out = a->out + (u->row + i) * a->out_stride + (int64_t)u->head * a->d_head;
        const float inv = 1 / b->sum[i];
        for (int64_t d = 0; d < a->d_head; d++)
            out[d] = b->out[i * depth + d] * inv;
    }
}

static void run_unit(const bge_kernels *k, const bge_attention_args *a, const unit *u, const buffers *b) {
    load_queries(k, a, u, b);
    for (int64_t key = 0; key < u->keys; key += KEYS) {
        const int64_t n = bge_min(KEYS, u->keys - key);
        load_keys(k, a, u, b, key, n);
        for (int64_t first = 0; first < u->rows; first += k->panel)
            panel_step(k, a, u, b, first, key, n);
    }
    store_rows(k, a, u, b);
}

void bge_simd_attention(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth) {
    (void)ith;
    buffers b;
    lay_out(k, a, scratch, &b);
    int64_t total = 0, index;
    for (int32_t s = 0; s < a->n_seq; s++)
        total += units_of(k, a, s);
    while (bge_work_take(&a->work, total, 1, 1, nth, &index) > 0) {
        const unit u = find_unit(k, a, index);
        run_unit(k, a, &u, &b);
    }
    bge_work_end(&a->work, nth);
}
