//go:build !bgevl_static

#include "kernel_ops.hpp"

#include <cmath>
#include <limits>

namespace bge {

void scratch_space::grow(size_t piece_bytes, int n_threads) {
    constexpr size_t page = 4096; // pieces on pages of their own: no cache line is shared between threads
    const size_t rounded = (piece_bytes + page - 1) / page * page;
    if (rounded > stride || rounded * size_t(n_threads) > size) {
        base.reset(static_cast<uint8_t *>(std::aligned_alloc(page, rounded * size_t(n_threads))));
        if (base == nullptr) {
            stride = size = 0;
            throw std::bad_alloc();
        }
        stride = rounded;
        size = rounded * size_t(n_threads);
    }
}

bool sequences::alike() const {
    const int32_t n_q = q_start[1] - q_start[0], n_kv = kv_start[1] - kv_start[0];
    for (int32_t i = 1; i < n(); i++) {
        if (q_start[i + 1] - q_start[i] != n_q || kv_start[i + 1] - kv_start[i] != n_kv) {
            return false;
        }
        for (int32_t r = 0; causal && r < n_q; r++) {
            if (keys_of(i, q_start[i] + r) != keys_of(0, r)) {
                return false;
            }
        }
    }
    return true;
}

int32_t sequences::keys_of(int32_t i, int32_t r) const {
    const int32_t n_keys = kv_start[i + 1] - kv_start[i];
    if (!causal) {
        return n_keys;
    }
    return (q_pos.empty() ? n_keys - (q_start[i + 1] - r) : q_pos[r]) + 1;
}

rotary::rotary(std::vector<int32_t> positions, int32_t width, float base)
    : at(std::move(positions)), d_head(width), theta(base) {
    std::vector<float> frequency;
    for (int32_t i = 0; i < d_head; i += 2) {
        frequency.push_back(1.0f / std::pow(theta, float(i) / float(d_head)));
    }
    turns.reserve(at.size() * size_t(d_head));
    for (const int32_t position : at) {
        for (const float f : frequency) {
            turns.push_back(std::cos(float(position) * f));
            turns.push_back(std::sin(float(position) * f));
        }
    }
}

namespace {

void run_op(ggml_tensor *, int ith, int nth, void *userdata) {
    static_cast<kernel_op *>(userdata)->run(ith, nth);
}

ggml_tensor *activate(ggml_context *ctx, ggml_tensor *x, int32_t act) {
    switch (act) {
    case BGE_ACT_QUICK_GELU:
        return ggml_gelu_quick(ctx, x);
    case BGE_ACT_GELU:
        return ggml_gelu_erf(ctx, x);
    default:
        return x;
    }
}

} // namespace

ggml_tensor *graph::custom(int64_t ne0, int64_t ne1, std::vector<ggml_tensor *> args, std::unique_ptr<kernel_op> op,
                           ggml_type type) {
    constexpr int all_threads = -1; // GGML_N_TASKS_MAX
    ggml_tensor *dst =
        ggml_custom_4d(ctx, type, ne0, ne1, 1, 1, args.data(), int(args.size()), run_op, all_threads, op.get());
    ops.emplace_back(dst, std::move(op));
    return dst;
}

size_t graph::scratch_bytes() const {
    size_t most = 1;
    for (const auto &[tensor, op] : ops) {
        most = std::max(most, op->scratch_bytes());
    }
    return most;
}

ggml_tensor *graph::input(ggml_type type, int64_t ne0, int64_t ne1, fill_function fill) {
    ggml_tensor *t = ggml_new_tensor_2d(ctx, type, ne0, ne1);
    ggml_set_input(t);
    inputs.emplace_back(t, std::move(fill));
    return t;
}

ggml_tensor *graph::input_ids(std::vector<int32_t> ids) {
    const int64_t n = int64_t(ids.size());
    ggml_tensor *t = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n);
    ggml_set_input(t);
    inputs.emplace_back(t, [ids = std::move(ids)](ggml_tensor *to) {
        std::memcpy(to->data, ids.data(), ids.size() * sizeof(int32_t));
    });
    return t;
}

ggml_tensor *graph::embeddings(const ggml_tensor *table, std::vector<int32_t> ids, const float *own) {
    const int64_t n = int64_t(ids.size());
    return input(GGML_TYPE_F32, table->ne[0], n, [table, own, ids = std::move(ids)](ggml_tensor *to) {
        const ggml_to_float_t to_float = ggml_get_type_traits(table->type)->to_float;
        const size_t width = size_t(table->ne[0]);
        float *row = floats(to);
        const float *given = own;
        for (const int32_t id : ids) {
            const char *entry = static_cast<const char *>(table->data) + table->nb[1] * size_t(std::max(id, 0));
            if (id == BGE_EMBEDDING) {
                std::memcpy(row, given, width * sizeof(float));
                given += width;
            } else if (table->type == GGML_TYPE_F32) {
                std::memcpy(row, entry, width * sizeof(float));
            } else {
                to_float(entry, row, int64_t(width));
            }
            row += width;
        }
    });
}

// a: [n, n_a, ...], b: [n, n_b, ...], result: [n_a, n_b, ...], its sums in f32 on every device
ggml_tensor *graph::product(ggml_tensor *a, ggml_tensor *b) {
    // Vulkan's product of so few quantised rows was wrong at random where a subgroup is narrower than 32 threads: its
    // two subgroups write where one should. As floats it needs 16. No published model has a weight so small.
    constexpr int64_t few = 32;
    if (device != nullptr && ggml_is_quantized(a->type) && a->ne[1] <= few && b->ne[1] > few) {
        a = ggml_cast(ctx, a, GGML_TYPE_F32);
    }
    ggml_tensor *y = ggml_mul_mat(ctx, a, b);
    ggml_mul_mat_set_prec(y, GGML_PREC_F32);
    return y;
}

ggml_tensor *graph::linear(const linear_weight &l, ggml_tensor *x, int32_t act, ggml_tensor *residual) {
    if (kernels != nullptr) {
        return parts({&l}, x, act, residual);
    }
    ggml_tensor *y = product(l.w, x); // [n_out, n]
    y = l.bias != nullptr ? ggml_add(ctx, y, l.bias) : y;
    y = activate(ctx, y, act);
    return residual != nullptr ? ggml_add(ctx, y, residual) : y;
}

// Layers over the same x, their results side by side. The activation and the residual are the first layer's; the others
// have none.
ggml_tensor *graph::parts(std::initializer_list<const linear_weight *> layers, ggml_tensor *x, int32_t first_act,
                          ggml_tensor *residual) {
    auto op = std::make_unique<linear_op>(kernels, scratch);
    op->args.m = x->ne[1];
    op->args.allow_bf16 = 1;
    int64_t width = 0;
    for (const linear_weight *l : layers) {
        op->args.n_in = l->n_in();
        op->args.allow_bf16 &= l->w->type == GGML_TYPE_BF16;
        const int32_t at = op->args.n_parts++;
        op->args.part[at] = part_of(kernels, *l, at == 0 ? first_act : int32_t(BGE_ACT_NONE));
        width += l->n_out();
    }
    std::vector<ggml_tensor *> from = {x};
    const auto add = [&from](ggml_tensor *t) {
        from.push_back(t);
        return int(from.size()) - 1;
    };
    op->residual = residual != nullptr ? add(residual) : 0;
    for (int32_t i = 0; i < op->args.n_parts; i++) {
        const int32_t as = bge_linear_reads(kernels, &op->args, i);
        if (as != BGE_X_PLAIN && op->encoded[as] == 0) {
            const int64_t bytes = bge_encoded_bytes(as, x->ne[0]);
            op->encoded[as] = add(custom(bytes, x->ne[1], {x}, std::make_unique<encode_op>(kernels, as), GGML_TYPE_I8));
        }
    }
    return custom(width, x->ne[1], std::move(from), std::move(op)); // [n_out of each layer, n]
}

void graph::linears(std::initializer_list<const linear_weight *> layers, ggml_tensor *x, ggml_tensor **y) {
    if (kernels == nullptr) {
        for (const linear_weight *l : layers) {
            *y++ = linear(*l, x, BGE_ACT_NONE, nullptr);
        }
        return;
    }
    ggml_tensor *all = parts(layers, x, BGE_ACT_NONE, nullptr);
    size_t offset = 0;
    for (const linear_weight *l : layers) {
        *y++ = ggml_view_2d(ctx, all, l->n_out(), x->ne[1], all->nb[1], offset);
        offset += size_t(l->n_out()) * sizeof(float);
    }
}

ggml_tensor *graph::gated(const linear_weight &gate, const linear_weight &up, ggml_tensor *x) {
    if (kernels == nullptr) {
        ggml_tensor *g = ggml_silu(ctx, linear(gate, x, BGE_ACT_NONE, nullptr));
        return ggml_mul(ctx, g, linear(up, x, BGE_ACT_NONE, nullptr));
    }
    ggml_tensor *both = parts({&gate, &up}, x, BGE_ACT_SILU, nullptr);
    const size_t half = size_t(gate.n_out()) * sizeof(float);
    return custom(gate.n_out(), x->ne[1],
                  {ggml_view_2d(ctx, both, gate.n_out(), x->ne[1], both->nb[1], 0),
                   ggml_view_2d(ctx, both, up.n_out(), x->ne[1], both->nb[1], half)},
                  std::make_unique<rows_op>(BGE_ROWS_MULTIPLY));
}

ggml_tensor *graph::norm(const norm_weight &w, ggml_tensor *x, float eps) {
    auto op = std::make_unique<norm_op>(kernels);
    op->args.weight = floats(w.w);
    op->args.bias = w.b != nullptr ? floats(w.b) : nullptr;
    op->args.m = x->ne[1];
    op->args.n = x->ne[0];
    op->args.eps = eps;
    return custom(x->ne[0], x->ne[1], {x}, std::move(op));
}

ggml_tensor *graph::layer_norm(const norm_weight &w, ggml_tensor *x, float eps) {
    if (kernels == nullptr) {
        return ggml_add(ctx, ggml_mul(ctx, ggml_norm(ctx, x, eps), w.w), w.b);
    }
    return norm(w, x, eps);
}

ggml_tensor *graph::rms_norm(const norm_weight &w, ggml_tensor *x, float eps) {
    if (kernels == nullptr) {
        return ggml_mul(ctx, ggml_rms_norm(ctx, x, eps), w.w);
    }
    return norm(w, x, eps);
}

ggml_tensor *graph::rows(ggml_tensor *x, const std::vector<int32_t> &list) {
    if (kernels == nullptr) {
        return ggml_get_rows(ctx, x, input_ids(list));
    }
    auto op = std::make_unique<rows_op>(BGE_ROWS_COPY);
    op->picked = list;
    return custom(x->ne[0], int64_t(list.size()), {x}, std::move(op));
}

ggml_tensor *graph::add(ggml_tensor *x, ggml_tensor *y) {
    if (kernels == nullptr) {
        ggml_tensor *each = ggml_reshape_3d(ctx, x, x->ne[0], y->ne[1], x->ne[1] / y->ne[1]);
        return ggml_reshape_2d(ctx, ggml_add(ctx, each, y), x->ne[0], x->ne[1]);
    }
    return custom(x->ne[0], x->ne[1], {x, y}, std::make_unique<rows_op>(BGE_ROWS_ADD));
}

ggml_tensor *graph::append(ggml_tensor *cached, ggml_tensor *x, int64_t n_past) {
    const size_t row = cached->nb[1], at = row * size_t(n_past);
    if (kernels == nullptr) {
        early.push_back(ggml_cpy(ctx, x, ggml_view_2d(ctx, cached, x->ne[0], x->ne[1], row, at)));
    } else {
        auto op = std::make_unique<rows_op>(BGE_ROWS_COPY);
        op->to = floats(cached) + at / sizeof(float);
        early.push_back(custom(1, 1, {x}, std::move(op)));
    }
    return ggml_view_2d(ctx, cached, x->ne[0], n_past + x->ne[1], row, 0);
}

ggml_tensor *graph::rope(ggml_tensor *x, const rotary &r) {
    if (kernels == nullptr) {
        ggml_tensor *heads = ggml_reshape_3d(ctx, ggml_cont(ctx, x), r.d_head, x->ne[0] / r.d_head, x->ne[1]);
        constexpr int neighbouring_pairs = 0; // GGML_ROPE_TYPE_NORMAL
        heads = ggml_rope_ext(ctx, heads, input_ids(r.at), nullptr, r.d_head, neighbouring_pairs, 0, r.theta, 1, 0, 1,
                              0, 0);
        return ggml_reshape_2d(ctx, heads, x->ne[0], x->ne[1]);
    }
    return custom(x->ne[0], x->ne[1], {x}, std::make_unique<rope_op>(r));
}

namespace {

// How many of n rows to compute at once so that a tensor of n_each floats a row is not above 64 MB. Vulkan devices need
// not address more than 128 MB of a tensor (maxStorageBufferRange): on Mesa's, larger ones were wrong without an error.
int64_t rows_at_once(int64_t n, int64_t n_each) {
    constexpr int64_t most_blocks = 32, most_bytes = 64 << 20;
    const int64_t fit = std::max<int64_t>(most_bytes / (n_each * int64_t(sizeof(float))), 1);
    return std::min(n, std::max(fit, (n + most_blocks - 1) / most_blocks));
}

// How many of n queries ggml's attention takes at once where it stores their scores, n_scores for each: long prompts in
// blocks, of which causal ones read only the keys before their end, and ragged batches only their own sequences'.
int64_t queries_at_once(int64_t n, int64_t n_scores) {
    constexpr int64_t undivided = 1024, block = 512;
    return n <= undivided ? rows_at_once(n, n_scores) : std::min(rows_at_once(n, n_scores), std::max(block, n / 32));
}

// Calls f(sequence, query) for the queries [q0, q1), which are all in the first sequence where all are alike.
template <class F> void each_query(const sequences &s, int64_t q0, int64_t q1, F f) {
    for (int32_t i = 0; i < s.n(); i++) {
        const int64_t end = std::min<int64_t>(s.q_start[i + 1], q1);
        for (int64_t r = std::max<int64_t>(s.q_start[i], q0); r < end; r++) {
            f(i, int32_t(r));
        }
    }
}

// The queries [q0, q1) with the least range of keys that they read.
attention_block block_of(const sequences &s, int64_t q0, int64_t q1) {
    attention_block b{q0, q1, s.kv_start.back(), 0};
    each_query(s, q0, q1, [&s, &b](int32_t i, int32_t r) {
        b.k0 = std::min<int64_t>(b.k0, s.kv_start[i]);
        b.k1 = std::max<int64_t>(b.k1, s.kv_start[i] + s.keys_of(i, r));
    });
    return b;
}

} // namespace

ggml_tensor *graph::by_rows(ggml_tensor *x, int64_t n_each, const std::function<ggml_tensor *(ggml_tensor *)> &of) {
    const int64_t n = x->ne[1], step = device == nullptr ? n : rows_at_once(n, n_each);
    if (step == n) {
        return of(x);
    }
    x = ggml_cont_2d(ctx, x, x->ne[0], n);
    ggml_tensor *y = nullptr;
    for (int64_t at = 0; at < n; at += step) {
        ggml_tensor *part = of(ggml_view_2d(ctx, x, x->ne[0], std::min(step, n - at), x->nb[1], size_t(at) * x->nb[1]));
        y = y == nullptr ? part : ggml_concat(ctx, y, part, 1);
    }
    return y;
}

ggml_tensor *graph::attention(ggml_tensor *q, ggml_tensor *k, ggml_tensor *v, int32_t n_head, int32_t n_kv_head,
                              const sequences &s) {
    if (kernels == nullptr) {
        return attention_ggml(q, k, v, n_head, n_kv_head, s);
    }
    auto op = std::make_unique<attention_op>(kernels, scratch);
    op->args.q_start = s.q_start.data();
    op->args.kv_start = s.kv_start.data();
    op->args.q_pos = s.q_pos.empty() ? nullptr : s.q_pos.data();
    op->args.n_seq = s.n();
    op->args.n_head = n_head;
    op->args.n_kv_head = n_kv_head;
    op->args.d_head = int32_t(q->ne[0] / n_head);
    op->args.causal = s.causal;
    op->args.scale = 1 / std::sqrt(float(op->args.d_head));
    return custom(q->ne[0], q->ne[1], {q, k, v}, std::move(op));
}

// A mask keeps each query to the keys that are its own. Sequences that are all alike share one, and so do layers.
ggml_tensor *graph::attention_mask(ggml_type type, const sequences &s, const attention_block &b) {
    for (const shared_mask &m : masks) {
        if (m.of == &s && m.tensor->type == type && m.block == b) {
            return m.tensor;
        }
    }
    ggml_tensor *mask = input(type, b.n_keys(), b.n_queries(), [&s, b, type](ggml_tensor *to) {
        constexpr uint16_t f16_minus_infinity = 0xfc00;
        const auto fill = [&](auto *to, auto hidden) {
            std::fill_n(to, b.n_keys() * b.n_queries(), hidden);
            each_query(s, b.q0, b.q1, [&](int32_t i, int32_t r) {
                std::fill_n(to + (r - b.q0) * b.n_keys() + s.kv_start[i] - b.k0, s.keys_of(i, r), decltype(hidden)(0));
            });
        };
        if (type == GGML_TYPE_F16) {
            fill(static_cast<uint16_t *>(to->data), f16_minus_infinity);
        } else {
            fill(floats(to), -std::numeric_limits<float>::infinity());
        }
    });
    masks.push_back({&s, b, mask});
    return mask;
}

// Sequences that are all alike are a dimension of their own; ggml knows no others in one batch, so that those of
// different lengths are one to it, with a mask.
ggml_tensor *graph::attention_ggml(ggml_tensor *q, ggml_tensor *k, ggml_tensor *v, int32_t n_head, int32_t n_kv_head,
                                   const sequences &s) {
    const int64_t n_seq = s.alike() ? s.n() : 1;
    const int64_t n_q = q->ne[1] / n_seq, n_kv = k->ne[1] / n_seq, d_head = q->ne[0] / n_head;
    const bool masked = s.causal || n_seq != s.n();
    const auto heads = [&](ggml_tensor *x, int32_t count, int64_t n) { // [d_head, n, count, n_seq]
        x = ggml_cont_2d(ctx, x, x->ne[0], x->ne[1]);
        return ggml_permute(ctx, ggml_reshape_4d(ctx, x, d_head, count, n, n_seq), 0, 2, 1, 3);
    };
    ggml_tensor *qh = heads(q, n_head, n_q), *kh = heads(k, n_kv_head, n_kv), *vh = heads(v, n_kv_head, n_kv);
    if (device != nullptr && model.flash_attention) { // which never stores the scores, where the device can do that
        ggml_tensor *mask = masked ? attention_mask(GGML_TYPE_F16, s, {0, n_q, 0, n_kv}) : nullptr;
        ggml_tensor *y = ggml_flash_attn_ext(ctx, qh, kh, vh, mask, 1 / std::sqrt(float(d_head)), 0, 0);
        ggml_flash_attn_ext_set_prec(y, GGML_PREC_F32);
        if (ggml_backend_dev_supports_op(device, y)) {
            return ggml_reshape_2d(ctx, y, q->ne[0], q->ne[1]); // y: [d_head, n_head, n_q, n_seq]
        }
    }
    ggml_tensor *values = ggml_cont(ctx, ggml_permute(ctx, vh, 1, 0, 2, 3)); // [n_kv, d_head, n_kv_head, n_seq]
    ggml_tensor *mixed = nullptr;                                            // [d_head, n_q, n_head, n_seq]
    const int64_t step = queries_at_once(n_q, n_kv * n_head * n_seq);
    for (int64_t at = 0; at < n_q; at += step) {
        const attention_block b = block_of(s, at, std::min(at + step, n_q));
        ggml_tensor *mask = masked ? attention_mask(GGML_TYPE_F32, s, b) : nullptr;
        ggml_tensor *y = attention_of(b, qh, kh, values, mask);
        mixed = mixed == nullptr ? y : ggml_concat(ctx, mixed, y, 1);
    }
    return ggml_cont_2d(ctx, ggml_permute(ctx, mixed, 0, 2, 1, 3), q->ne[0], q->ne[1]);
}

// The attention of a block's queries to its keys. q: [d_head, n_q, n_head, n_seq], k: [d_head, n_kv, n_kv_head, n_seq],
// values: [n_kv, d_head, n_kv_head, n_seq], result: [d_head, queries of the block, n_head, n_seq]
ggml_tensor *graph::attention_of(const attention_block &b, ggml_tensor *q, ggml_tensor *k, ggml_tensor *values,
                                 ggml_tensor *mask) {
    const float scale = 1 / std::sqrt(float(q->ne[0]));
    const auto part = [this](ggml_tensor *x, int dim, int64_t from, int64_t to) {
        if (to - from == x->ne[dim]) {
            return x;
        }
        int64_t ne[4] = {x->ne[0], x->ne[1], x->ne[2], x->ne[3]};
        ne[dim] = to - from;
        return ggml_view_4d(ctx, x, ne[0], ne[1], ne[2], ne[3], x->nb[1], x->nb[2], x->nb[3],
                            size_t(from) * x->nb[dim]);
    };
    ggml_tensor *scores = product(part(k, 1, b.k0, b.k1), part(q, 1, b.q0, b.q1)); // [keys, queries, n_head, n_seq]
    scores = ggml_soft_max_ext(ctx, scores, mask, scale, 0);
    return product(part(values, 0, b.k0, b.k1), scores);
}

} // namespace bge
