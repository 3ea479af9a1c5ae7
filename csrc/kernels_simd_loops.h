// The inner loops of the fast kernels, written once over the vector type of an instruction set. Build: see kernels.h.
//
// A file that includes this one has defined:
//   SIMD              the function attribute that switches the instruction set on
//   MR, NV, WIDE      rows of a full tile, vectors in a panel, vectors in the widest tile
//   WIDEN_F16_TILES   how many tiles of rows make it worth while to widen weights in memory: WIDEN_BF16_TILES alike
//   VL, vf            floats in a vector, and its type
//   v_zero v_set1 v_load v_store v_add v_sub v_mul v_div v_fma (a * b + c) v_sum (of all lanes)
//   v_max             returning b where b is NaN
//   v_exp2            2^x to about 1 ulp, next to 0 for -infinity and NaN for NaN
//   v_load_f16        widens VL values of f16
//   v_even v_odd      the first and second value of each of VL pairs of bf16, widened
//   v_not_negative    a where x >= 0, else b
//   v_below           a in lanes whose limit is above j, else 0 (limits: VL int32)

#define INLINE static inline __attribute__((always_inline)) SIMD
#define PANEL (NV * VL)

// ---- products ----

INLINE void tile_begin(const bge_tile *t, const int rows, const int vectors, vf c[MR][WIDE]) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            c[i][v] = t->add ? v_load(t->c + i * t->c_row + v / NV * t->c_panel + v % NV * VL) : v_zero();
}

INLINE void tile_end(const bge_tile *t, const int rows, const int vectors, vf c[MR][WIDE]) {
    float *to = t->c; // copies, since a store might change *t for all the compiler knows
    const int64_t c_row = t->c_row, c_panel = t->c_panel;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            v_store(to + i * c_row + v / NV * c_panel + v % NV * VL, c[i][v]);
}

// c += a[rows] x b, one term of the sums.
INLINE void tile_step(const int rows, const int vectors, const float *a, int64_t a_row, const vf b[WIDE],
                      vf c[MR][WIDE]) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const vf x = v_set1(a[i * a_row]);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            c[i][v] = v_fma(x, b[v], c[i][v]);
    }
}

INLINE void gemm_f32(const bge_tile *t, const int rows, const int panels) {
    const int vectors = panels * NV;
    const float *a = t->a;
    const char *b = t->b;
    const int64_t a_row = t->a_row, a_col = t->a_col, b_step = t->b_step * (int64_t)sizeof(float), b_panel = t->b_panel;
    vf c[MR][WIDE], w[WIDE];
    tile_begin(t, rows, vectors, c);
    for (int64_t l = 0; l < t->n; l++, a += a_col, b += b_step) {
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            w[v] = v_load((const float *)(b + v / NV * b_panel) + v % NV * VL);
        tile_step(rows, vectors, a, a_row, w, c);
    }
    tile_end(t, rows, vectors, c);
}

INLINE void gemm_f16(const bge_tile *t, const int rows, const int panels) {
    const int vectors = panels * NV;
    const float *a = t->a;
    const char *b = t->b;
    const int64_t a_row = t->a_row, a_col = t->a_col, b_panel = t->b_panel;
    vf c[MR][WIDE], w[WIDE];
    tile_begin(t, rows, vectors, c);
    for (int64_t l = 0; l < t->n; l++, a += a_col, b += PANEL * sizeof(uint16_t)) {
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            w[v] = v_load_f16((const uint16_t *)(b + v / NV * b_panel) + v % NV * VL);
        tile_step(rows, vectors, a, a_row, w, c);
    }
    tile_end(t, rows, vectors, c);
}

INLINE void gemm_bf16(const bge_tile *t, const int rows, const int panels) {
    const int vectors = panels * NV;
    const float *a = t->a;
    const char *b = t->b;
    const int64_t a_row = t->a_row, a_col = t->a_col, b_panel = t->b_panel;
    vf c[MR][WIDE], w[WIDE];
    tile_begin(t, rows, vectors, c);
    for (int64_t l = 0; l < t->n; l += 2, a += 2 * a_col, b += PANEL * 2 * sizeof(uint16_t)) {
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            w[v] = v_even((const uint16_t *)(b + v / NV * b_panel) + v % NV * VL * 2);
        tile_step(rows, vectors, a, a_row, w, c);
        if (l + 1 == t->n)
            break; // an odd sum
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            w[v] = v_odd((const uint16_t *)(b + v / NV * b_panel) + v % NV * VL * 2);
        tile_step(rows, vectors, a + a_col, a_row, w, c);
    }
    tile_end(t, rows, vectors, c);
}

// One function per shape, since registers cannot be indexed.
#define GEMM(kind, rows, panels)                                                                                       \
    static SIMD void gemm_##kind##_##rows##x##panels(const bge_tile *t) {                                              \
        gemm_##kind(t, rows, panels);                                                                                  \
    }

// ---- widening ----

static SIMD void widen_f16(const uint16_t *src, int64_t n, float *dst) {
    for (int64_t i = 0; i < n; i += VL)
        v_store(dst + i, v_load_f16(src + i));
}

static SIMD void widen_bf16_pairs(const uint16_t *src, int64_t n, float *dst) {
    for (int64_t l = 0; l < n; l += 2, src += 2 * PANEL, dst += 2 * PANEL)
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++) {
            v_store(dst + v * VL, v_even(src + 2 * v * VL));
            v_store(dst + PANEL + v * VL, v_odd(src + 2 * v * VL));
        }
}

static SIMD void round_to_bf16(const float *src, int64_t n, uint16_t *dst) {
    for (int64_t i = 0; i < n; i++)
        dst[i] = bge_float_to_bf16(src[i]);
}

// ---- activations ----

static const float log2_e = 1.44269504f;

INLINE vf sigmoid_times(vf x, float slope) {
    const vf e = v_exp2(v_mul(x, v_set1(-slope * log2_e)));
    return v_div(x, v_add(v_set1(1), e));
}

// x * (1 + erf(x / sqrt 2)) / 2 by erfc(z) = exp(-z^2) t q(t), t = 1 / (1 + 0.4 z), z = |x| / sqrt 2 <= 9.5; q is a fit
// with a relative error of 6e-8. The side of erfc is kept for negative x, so nothing cancels there.
INLINE vf gelu(vf x) {
    static const float q[9] = {0.225626305f, 0.226575702f,  0.200958595f, 0.196962968f, 0.0715084597f,
                               0.099729374f, 0.0738423243f, -0.13547108f, 0.0402675159f};
    const vf size = v_not_negative(x, x, v_sub(v_zero(), x)); // |x|, and NaN for NaN
    const vf z = v_mul(size, v_set1(0.707106781f));
    const vf t = v_div(v_set1(1), v_fma(z, v_set1(0.4f), v_set1(1)));
    vf sum = v_set1(q[8]);
#pragma GCC unroll 8
    for (int i = 7; i >= 0; i--)
        sum = v_fma(sum, t, v_set1(q[i]));
    const vf gauss = v_exp2(v_mul(v_mul(size, size), v_set1(-0.5f * log2_e)));
    const vf tail = v_mul(v_mul(v_mul(sum, t), gauss), v_mul(x, v_set1(0.5f)));
    return v_not_negative(x, v_sub(x, tail), tail);
}

INLINE vf activate(vf x, const int32_t act) {
    switch (act) {
    case BGE_ACT_QUICK_GELU:
        return sigmoid_times(x, 1.702f);
    case BGE_ACT_GELU:
        return gelu(x);
    case BGE_ACT_SILU:
        return sigmoid_times(x, 1);
    default:
        return x;
    }
}

// A full panel of one row; y, bias and residual hold PANEL values.
INLINE void finish_row(const float *c, const float *bias, const float *residual, float *y, const int32_t act) {
#pragma GCC unroll 16
    for (int v = 0; v < PANEL; v += VL) {
        vf x = v_load(c + v);
        if (bias)
            x = v_add(x, v_load(bias + v));
        x = activate(x, act);
        if (residual)
            x = v_add(x, v_load(residual + v));
        v_store(y + v, x);
    }
}

// The last panel of a matrix: rows go through buffers of a full panel.
static SIMD __attribute__((noinline)) void finish_part(const bge_finish *f) {
    const size_t size = (size_t)f->cols * sizeof(float);
    float bias[PANEL] = {0}, residual[PANEL] = {0}, y[PANEL];
    if (f->bias)
        memcpy(bias, f->bias, size);
    for (int64_t i = 0; i < f->rows; i++) {
        if (f->residual)
            memcpy(residual, f->residual + i * f->residual_stride, size);
        finish_row(f->c + i * PANEL, bias, residual, y, f->act);
        memcpy(f->y + i * f->y_stride, y, size);
    }
}

INLINE void finish_rows(const bge_finish *f, const int32_t act) {
    for (int64_t i = 0; i < f->rows; i++)
        finish_row(f->c + i * PANEL, f->bias, f->residual ? f->residual + i * f->residual_stride : NULL,
                   f->y + i * f->y_stride, act);
}

static SIMD void finish(const bge_finish *f) {
    if (f->cols < PANEL) {
        finish_part(f);
        return;
    }
    switch (f->act) {
    case BGE_ACT_QUICK_GELU:
        finish_rows(f, BGE_ACT_QUICK_GELU);
        break;
    case BGE_ACT_GELU:
        finish_rows(f, BGE_ACT_GELU);
        break;
    case BGE_ACT_SILU:
        finish_rows(f, BGE_ACT_SILU);
        break;
    default:
        finish_rows(f, BGE_ACT_NONE);
    }
}

// ---- softmax ----

static SIMD int softmax(const bge_softmax *s) {
    int moved = 0;
    for (int v = 0; v < PANEL; v += VL) {
        const int32_t *limit = s->limit ? s->limit + v : NULL;
        const vf before = v_load(s->max + v);
        vf max = before;
        for (int64_t j = 0; j < s->keys; j++) {
            const vf x = v_load(s->s + j * PANEL + v);
            max = v_max(limit ? v_below(limit, (int32_t)j, x, before) : x, max);
        }
        const vf rescale = v_exp2(v_sub(before, max));
        vf sum = v_mul(v_load(s->sum + v), rescale);
        for (int64_t j = 0; j < s->keys; j++) {
            vf p = v_exp2(v_sub(v_load(s->s + j * PANEL + v), max));
            if (limit)
                p = v_below(limit, (int32_t)j, p, v_zero());
            v_store(s->s + j * PANEL + v, p);
            sum = v_add(sum, p);
        }
        v_store(s->max + v, max);
        v_store(s->sum + v, sum);
        v_store(s->rescale + v, rescale);
        for (int i = 0; i < VL; i++)
            moved |= s->rescale[v + i] != 1;
    }
    return moved;
}

// ---- norms ----

// Sum of (x - mean)^2. Four sums at a time, since each addition waits for the one before.
INLINE float sum_of_squares(const float *x, int64_t n, float mean) {
    const vf m = v_set1(mean);
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            const vf d = v_sub(v_load(x + j + u * VL), m);
            s[u] = v_fma(d, d, s[u]);
        }
    for (; j + VL <= n; j += VL) {
        const vf d = v_sub(v_load(x + j), m);
        s[0] = v_fma(d, d, s[0]);
    }
    float sum = v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
    for (; j < n; j++)
        sum += (x[j] - mean) * (x[j] - mean);
    return sum;
}

INLINE float sum_of(const float *x, int64_t n) {
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++)
            s[u] = v_add(s[u], v_load(x + j + u * VL));
    for (; j + VL <= n; j += VL)
        s[0] = v_add(s[0], v_load(x + j));
    float sum = v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
    for (; j < n; j++)
        sum += x[j];
    return sum;
}

// y = (x - mean) * inv * weight + bias
INLINE void norm_row(const bge_norm_args *a, const float *x, float *y, float mean, float inv) {
    const vf m = v_set1(mean), k = v_set1(inv);
    int64_t j = 0;
    for (; j + VL <= a->n; j += VL) {
        const vf d = v_mul(v_mul(v_sub(v_load(x + j), m), k), v_load(a->weight + j));
        v_store(y + j, a->bias ? v_add(d, v_load(a->bias + j)) : d);
    }
    for (; j < a->n; j++)
        y[j] = (x[j] - mean) * inv * a->weight[j] + (a->bias ? a->bias[j] : 0);
}

static SIMD void layer_norm(const bge_norm_args *a, int32_t ith, int32_t nth) {
    for (int64_t i = a->m * ith / nth; i < a->m * (ith + 1) / nth; i++) {
        const float *x = a->x + i * a->x_stride;
        const float mean = sum_of(x, a->n) / (float)a->n;
        const float var = sum_of_squares(x, a->n, mean) / (float)a->n;
        norm_row(a, x, a->y + i * a->y_stride, mean, 1 / sqrtf(var + a->eps));
    }
}

static SIMD void rms_norm(const bge_norm_args *a, int32_t ith, int32_t nth) {
    for (int64_t i = a->m * ith / nth; i < a->m * (ith + 1) / nth; i++) {
        const float *x = a->x + i * a->x_stride;
        const float mean_square = sum_of_squares(x, a->n, 0) / (float)a->n;
        norm_row(a, x, a->y + i * a->y_stride, 0, 1 / sqrtf(mean_square + a->eps));
    }
}

// ---- tables ----

// What a bge_simd takes from the loops above, once gemms_f32, gemms_f16 and gemms_bf16 are there. dot: products of bf16
// pairs, or NULL; round: floats to bf16.
#define FLOAT_LOOPS(dot, round)                                                                                        \
    .mr = MR, .panel = PANEL, .widen_tiles = {WIDEN_F16_TILES, WIDEN_BF16_TILES}, .gemm[BGE_B_F32] = &gemms_f32,       \
    .gemm[BGE_B_F16] = &gemms_f16, .gemm[BGE_B_BF16] = &gemms_bf16, .gemm[BGE_B_DOT] = dot, .widen = widen_f16,        \
    .widen_pairs = widen_bf16_pairs, .to_bf16 = round, .finish = finish, .softmax = softmax

// A bge_kernels that drives a bge_simd.
#define KERNELS(title, has_bf16, loops)                                                                                \
    {                                                                                                                  \
        .name = title, .bf16 = has_bf16, .panel = PANEL, .simd = &loops, .linear = bge_simd_linear,                    \
        .linear_scratch = bge_simd_linear_scratch, .encode = bge_simd_encode, .layer_norm = layer_norm,                \
        .rms_norm = rms_norm, .attention = bge_simd_attention, .attention_scratch = bge_simd_attention_scratch,        \
    }
