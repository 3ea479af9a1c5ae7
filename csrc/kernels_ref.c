//go:build !bgevl_static

// The plain reference of every kernel: one loop per sum, double accumulators, no blocking.
//
// It is what the fast kernels are tested against, and what BGEVL_CPU=ref runs. Build: see kernels.h.
#include <math.h>
#include <string.h>

#include "kernels_impl.h"

static float activate(int32_t act, double v) {
    switch (act) {
    case BGE_ACT_QUICK_GELU:
        return (float)(v / (1 + exp(-1.702 * v)));
    case BGE_ACT_GELU:
        return (float)(0.5 * v * (1 + erf(v * 0.70710678118654752440)));
    case BGE_ACT_SILU:
        return (float)(v / (1 + exp(-v)));
    default:
        return (float)v;
    }
}

// Writes column j of one part for all rows; w is that row of the weights in float.
static void linear_column(const bge_linear_args *a, const bge_linear_part *p, int64_t j, const float *w) {
    for (int64_t i = 0; i < a->m; i++) {
        const float *x = a->x + i * a->x_stride;
        double sum = p->bias ? p->bias[j] : 0;
        for (int64_t l = 0; l < a->n_in; l++)
            sum += (double)x[l] * w[l];
        float y = activate(p->act, sum);
        if (p->residual)
            y += p->residual[i * p->residual_stride + j];
        p->y[i * p->y_stride + j] = y;
    }
}

static void ref_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth) {
    (void)k;
    float *row = scratch;
    for (int32_t n = 0; n < a->n_parts; n++) {
        const bge_linear_part *p = &a->part[n];
        const int64_t stride = p->packed ? a->n_in * bge_type_size(p->type) : p->row_bytes;
        for (int64_t j = ith; j < p->n_out; j += nth) {
            bge_row_to_float(p, (const char *)p->w + j * stride, row, a->n_in);
            linear_column(a, p, j, row);
        }
    }
}

static int64_t ref_linear_scratch(const bge_kernels *k, const bge_linear_args *a) {
    (void)k;
    return a->n_in * (int64_t)sizeof(float);
}

static void ref_layer_norm(const bge_norm_args *a, int32_t ith, int32_t nth) {
    for (int64_t i = ith; i < a->m; i += nth) {
        const float *x = a->x + i * a->x_stride;
        float *y = a->y + i * a->y_stride;
        double sum = 0, squares = 0;
        for (int64_t j = 0; j < a->n; j++)
            sum += x[j];
        const double mean = sum / a->n;
        for (int64_t j = 0; j < a->n; j++)
            squares += (x[j] - mean) * (x[j] - mean);
        const double inv = 1 / sqrt(squares / a->n + a->eps);
        for (int64_t j = 0; j < a->n; j++)
            y[j] = (float)((x[j] - mean) * inv * a->weight[j] + (a->bias ? a->bias[j] : 0));
    }
}

static void ref_rms_norm(const bge_norm_args *a, int32_t ith, int32_t nth) {
    for (int64_t i = ith; i < a->m; i += nth) {
        const float *x = a->x + i * a->x_stride;
        float *y = a->y + i * a->y_stride;
        double squares = 0;
        for (int64_t j = 0; j < a->n; j++)
            squares += (double)x[j] * x[j];
        const double inv = 1 / sqrt(squares / a->n + a->eps);
        for (int64_t j = 0; j < a->n; j++)
            y[j] = (float)(x[j] * inv * a->weight[j]);
    }
}

static double score(const bge_attention_args *a, const float *q, const float *k) {
    double sum = 0;
    for (int32_t d = 0; d < a->d_head; d++)
        sum += (double)q[d] * k[d];
    return sum * a->scale;
}

// One query row of one head over the keys kv0 .. kv0+n-1. The scores are computed twice so that none are stored.
static void attention_row(const bge_attention_args *a, int64_t q_row, int64_t kv0, int64_t n, int32_t head) {
    const int64_t kv_head = head / (a->n_head / a->n_kv_head);
    const float *q = a->q + q_row * a->q_stride + (int64_t)head * a->d_head;
    const float *k = a->k + kv0 * a->k_stride + kv_head * a->d_head;
    const float *v = a->v + kv0 * a->v_stride + kv_head * a->d_head;
    float *out = a->out + q_row * a->out_stride + (int64_t)head * a->d_head;
    double max = -INFINITY, total = 0;
    for (int64_t j = 0; j < n; j++)
        max = fmax(max, score(a, q, k + j * a->k_stride));
    for (int64_t j = 0; j < n; j++)
        total += exp(score(a, q, k + j * a->k_stride) - max);
    for (int32_t d = 0; d < a->d_head; d++)
        out[d] = 0;
    for (int64_t j = 0; j < n; j++) {
        const double p = exp(score(a, q, k + j * a->k_stride) - max) / total;
        for (int32_t d = 0; d < a->d_head; d++)
            out[d] += (float)(p * v[j * a->v_stride + d]);
    }
}

static void ref_attention(const bge_kernels *k, bge_attention_args *a, void *scratch, int32_t ith, int32_t nth) {
    (void)k;
    (void)scratch;
    for (int32_t s = 0; s < a->n_seq; s++) {
        const int64_t kv0 = a->kv_start[s];
        for (int64_t r = a->q_start[s]; r < a->q_start[s + 1]; r++) {
            const int64_t n = bge_attention_keys(a, s, r);
            for (int32_t head = ith; head < a->n_head; head += nth)
                attention_row(a, r, kv0, n, head);
        }
    }
}

static int64_t ref_attention_scratch(const bge_kernels *k, const bge_attention_args *a) {
    (void)k;
    (void)a;
    return 0;
}

const bge_kernels bge_kernels_ref = {
    .name = "ref",
    .linear = ref_linear,
    .linear_scratch = ref_linear_scratch,
    .layer_norm = ref_layer_norm,
    .rms_norm = ref_rms_norm,
    .attention = ref_attention,
    .attention_scratch = ref_attention_scratch,
};
