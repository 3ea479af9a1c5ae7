// The operations of a graph that are calls of our kernels.
#pragma once

#include "graph.hpp"

namespace bge {

inline float *floats(ggml_tensor *t) {
    return static_cast<float *>(t->data);
}

inline int64_t row_stride(const ggml_tensor *t) {
    return int64_t(t->nb[1] / sizeof(float));
}

// What a kernel's part of a linear layer needs of the weight itself. A graph that is only planned may come before the
// weights are packed.
inline bge_linear_part part_of(const bge_kernels *kernels, const linear_weight &l, int32_t act) {
    bge_linear_part p{};
    p.packed = bge_linear_pack_size(kernels, l.w->type, l.n_in(), l.n_out()) >= 0;
    p.w = p.packed ? l.packed.get() : l.w->data;
    p.type = l.w->type;
    p.row_bytes = int64_t(l.w->nb[1]);
    p.to_float = ggml_get_type_traits(l.w->type)->to_float;
    p.n_out = l.n_out();
    p.bias = l.bias != nullptr ? static_cast<const float *>(l.bias->data) : nullptr;
    p.act = act;
    return p;
}

// Activations as products read them, which several layers over the same x may do.
struct encode_op final : kernel_op {
    const bge_kernels *kernels;
    bge_encode_args args{};

    encode_op(const bge_kernels *kernels, int32_t as) : kernels(kernels) { args.as = as; }

    void bind(ggml_tensor *dst) override {
        args.x = floats(dst->src[0]);
        args.x_stride = row_stride(dst->src[0]);
        args.n = dst->src[0]->ne[0];
        args.m = dst->src[0]->ne[1];
        args.to = dst->data;
    }
    void run(int ith, int nth) override { bge_encode(kernels, &args, ith, nth); }
};

struct linear_op final : kernel_op {
    const bge_kernels *kernels;
    scratch_space &scratch;
    bge_linear_args args{};
    int residual = 0;              // which of dst->src is the first part's residual; 0: none
    int encoded[BGE_X_KINDS] = {}; // which are x encoded; 0: none

    linear_op(const bge_kernels *kernels, scratch_space &scratch) : kernels(kernels), scratch(scratch) {}

    void bind(ggml_tensor *dst) override {
        args.x = floats(dst->src[0]);
        args.x_stride = row_stride(dst->src[0]);
        int64_t column = 0;
        for (int32_t i = 0; i < args.n_parts; i++) {
            bge_linear_part &p = args.part[i];
            if (p.w == nullptr) {
                fail(BGE_ERR_INTERNAL, "a graph over %s runs before its weights were packed", dst->src[0]->name);
            }
            p.y = floats(dst) + column;
            p.y_stride = row_stride(dst);
            column += p.n_out;
        }
        if (residual != 0) {
            args.part[0].residual = floats(dst->src[residual]);
            args.part[0].residual_stride = row_stride(dst->src[residual]);
        }
        for (int as = 0; as < BGE_X_KINDS; as++) {
            args.encoded[as] = encoded[as] != 0 ? dst->src[encoded[as]]->data : nullptr;
        }
    }
    void run(int ith, int nth) override { bge_linear(kernels, &args, scratch.piece(ith), ith, nth); }
    size_t scratch_bytes() const override { return size_t(bge_linear_scratch(kernels, &args)); }
};

struct norm_op final : kernel_op {
    const bge_kernels *kernels;
    bge_norm_args args{};

    explicit norm_op(const bge_kernels *kernels) : kernels(kernels) {}

    void bind(ggml_tensor *dst) override {
        args.x = floats(dst->src[0]);
        args.x_stride = row_stride(dst->src[0]);
        args.y = floats(dst);
        args.y_stride = row_stride(dst);
    }
    void run(int ith, int nth) override {
        (args.bias != nullptr ? bge_layer_norm : bge_rms_norm)(kernels, &args, ith, nth);
    }
};

struct rope_op final : kernel_op {
    const rotary &positions;
    const float *x = nullptr;
    float *y = nullptr;
    int64_t x_stride = 0, y_stride = 0, n = 0, n_tokens = 0;

    explicit rope_op(const rotary &positions) : positions(positions) {}

    void bind(ggml_tensor *dst) override {
        x = floats(dst->src[0]);
        x_stride = row_stride(dst->src[0]);
        y = floats(dst);
        y_stride = row_stride(dst);
        n = dst->ne[0];
        n_tokens = dst->ne[1];
    }
    void run(int ith, int nth) override {
        const int64_t d_head = positions.d_head;
        for (int64_t t = n_tokens * ith / nth; t < n_tokens * (ith + 1) / nth; t++) {
            const float *turn = positions.turns.data() + t * d_head;
            for (int64_t i = 0; i < n; i += 2) {
                const float *in = x + t * x_stride + i;
                float *out = y + t * y_stride + i;
                const float c = turn[i % d_head], s = turn[i % d_head + 1];
                const float a = in[0], b = in[1];
                out[0] = a * c - b * s;
                out[1] = a * s + b * c;
            }
        }
    }
};

struct attention_op final : kernel_op {
    const bge_kernels *kernels;
    scratch_space &scratch;
    bge_attention_args args{};

    attention_op(const bge_kernels *kernels, scratch_space &scratch) : kernels(kernels), scratch(scratch) {}

    // dst->src: q, k, v
    void bind(ggml_tensor *dst) override {
        args.q = floats(dst->src[0]);
        args.k = floats(dst->src[1]);
        args.v = floats(dst->src[2]);
        args.out = floats(dst);
        args.q_stride = row_stride(dst->src[0]);
        args.k_stride = row_stride(dst->src[1]);
        args.v_stride = row_stride(dst->src[2]);
        args.out_stride = row_stride(dst);
    }
    void run(int ith, int nth) override { bge_attention(kernels, &args, scratch.piece(ith), ith, nth); }
    size_t scratch_bytes() const override { return size_t(bge_attention_scratch(kernels, &args)); }
};

// Rows picked, added or multiplied. dst->src: x, and what it goes with.
struct rows_op final : kernel_op {
    std::vector<int32_t> picked;
    float *to = nullptr; // where the rows go, if not to dst
    bge_rows_args args{};

    explicit rows_op(int32_t op) { args.op = op; }

    void bind(ggml_tensor *dst) override {
        const ggml_tensor *x = dst->src[0], *with = dst->src[1];
        args.x = floats(dst->src[0]);
        args.x_stride = row_stride(x);
        args.rows = picked.empty() ? nullptr : picked.data();
        args.n = x->ne[0];
        args.m = picked.empty() ? x->ne[1] : int64_t(picked.size());
        if (with != nullptr) {
            args.with = floats(dst->src[1]);
            args.with_stride = row_stride(with);
            args.with_rows = with->ne[1];
        }
        args.y = to != nullptr ? to : floats(dst);
        args.y_stride = to != nullptr ? args.n : row_stride(dst);
    }
    void run(int ith, int nth) override { bge_rows(&args, ith, nth); }
};

} // namespace bge
