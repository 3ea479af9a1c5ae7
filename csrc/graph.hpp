// The blocks from which graphs are built. They choose between ggml's own operations, which devices compute, and a call
// of our kernels, which the processor does; everything else is written once.
#pragma once

#include "model.hpp"

#include <functional>

namespace bge {

// Scratch memory of the kernels: one piece for each thread, as large as the neediest operation of a graph asks.
struct scratch_space {
    std::unique_ptr<uint8_t, c_free> base{};
    size_t stride = 0; // bytes of one thread's piece
    size_t size = 0;

    void *piece(int ith) const { return base.get() + stride * size_t(ith); }
    void grow(size_t piece_bytes, int n_threads); // throws bad_alloc
};

// The sequences of a batch, their tokens one after another. Outlives the graph that uses it.
struct sequences {
    std::vector<int32_t> q_start{0}, kv_start{0}; // first token of each sequence, and the end of the last
    std::vector<int32_t> q_pos;                   // position of each query row in its sequence; empty: all positions
    bool causal = false;

    int32_t n() const { return int32_t(kv_start.size()) - 1; }

    // Whether all are alike: as many queries and keys, and the same positions.
    bool alike() const;

    // How many of its sequence's keys, from the first on, the query row r of sequence i attends to.
    int32_t keys_of(int32_t i, int32_t r) const;
};

// Queries [q0, q1) of a batch, or of each sequence where all are alike, and the keys [k0, k1) that they may attend to.
struct attention_block {
    int64_t q0, q1, k0, k1;

    int64_t n_queries() const { return q1 - q0; }
    int64_t n_keys() const { return k1 - k0; }
    bool operator==(const attention_block &o) const { return q0 == o.q0 && q1 == o.q1 && k0 == o.k0 && k1 == o.k1; }
};

// How many operations a layer of a graph may be. Generous: ggml stops the process when it is too low.
constexpr size_t most_layer_nodes = 800;

// Rotary positions of a list of tokens. The cosines and sines are made once for all layers, as the reference makes
// them: frequency and angle in f32. Outlives the graph that uses it.
struct rotary {
    std::vector<int32_t> at; // position of each token
    int32_t d_head;
    float theta;
    std::vector<float> turns; // [n_tokens][d_head / 2] of cosine and sine

    rotary(std::vector<int32_t> at, int32_t d_head, float theta);
};

// A custom operation: what its kernel needs to know. bind() runs once the graph's memory is known.
struct kernel_op {
    virtual ~kernel_op() = default;
    virtual void bind(ggml_tensor *dst) = 0;
    virtual void run(int ith, int nth) = 0;
    virtual size_t scratch_bytes() const { return 0; }
};

class graph {
  public:
    using fill_function = std::function<void(ggml_tensor *)>;

    graph(const bge_model &model, ggml_context *ctx, scratch_space &scratch)
        : ctx(ctx), model(model), scratch(scratch), kernels(model.kernels) {}

    // What is added from here on is computed where a weight lies: on its device by ggml's operations, or else by our
    // kernels.
    void compute_where(const ggml_tensor *weight) {
        device = device_of(weight);
        kernels = device != nullptr ? nullptr : model.kernels;
    }

    // An input tensor, filled by `fill` once it has memory.
    ggml_tensor *input(ggml_type type, int64_t ne0, int64_t ne1, fill_function fill);
    ggml_tensor *input_ids(std::vector<int32_t> ids); // [n]

    // The entries of a table of the processor's; where an id is BGE_EMBEDDING, the next row of `own` instead.
    // table: [n_embd, n_vocab], result: [n_embd, n_ids]
    ggml_tensor *embeddings(const ggml_tensor *table, std::vector<int32_t> ids, const float *own);

    // act(W x + bias) + residual; act is BGE_ACT_*, residual may be NULL. x: [n_in, n], result: [n_out, n]
    ggml_tensor *linear(const linear_weight &l, ggml_tensor *x, int32_t act, ggml_tensor *residual);

    // Up to three layers over the same x, in one pass. y[i]: [n_out, n], rows perhaps apart
    void linears(std::initializer_list<const linear_weight *> layers, ggml_tensor *x, ggml_tensor **y);

    // silu(gate x) * (up x)
    ggml_tensor *gated(const linear_weight &gate, const linear_weight &up, ggml_tensor *x);

    ggml_tensor *layer_norm(const norm_weight &w, ggml_tensor *x, float eps);
    ggml_tensor *rms_norm(const norm_weight &w, ggml_tensor *x, float eps);

    // Rotates neighbouring pairs of each head by the angles of its token's position. x: [n, n_tokens]
    ggml_tensor *rope(ggml_tensor *x, const rotary &positions);

    // The rows of x that `list` names. x: [n, n_rows of x], result: [n, size of list]
    ggml_tensor *rows(ggml_tensor *x, const std::vector<int32_t> &list);

    // x + y, whose rows are repeated over those of x. x: [n, k * n_rows], y: [n, n_rows]
    ggml_tensor *add(ggml_tensor *x, ggml_tensor *y);

    // Puts new keys or values behind the n_past that a cache holds. x: [n, n_new], result: all of them [n, n_past +
    // n_new]
    ggml_tensor *append(ggml_tensor *cached, ggml_tensor *x, int64_t n_past);

    // What `of` makes of x row by row, on a device in blocks of rows where a tensor of n_each floats a row would be too
    // large for one. x: [n, n_rows], result: [any, n_rows]
    ggml_tensor *by_rows(ggml_tensor *x, int64_t n_each, const std::function<ggml_tensor *(ggml_tensor *)> &of);

    // Bytes of scratch that the neediest operation asks for each thread.
    size_t scratch_bytes() const;

    // Softmax attention within each sequence. q: [n_embd, n_q], k and v: [n_embd, n_kv], result: [n_embd, n_q]
    ggml_tensor *attention(ggml_tensor *q, ggml_tensor *k, ggml_tensor *v, int32_t n_head, int32_t n_kv_head,
                           const sequences &s);

    ggml_context *const ctx;

  private:
    friend struct ::bge_context;
    const bge_model &model;
    scratch_space &scratch;
    const bge_kernels *kernels;            // of what is added now; NULL: ggml's own operations
    ggml_backend_device *device = nullptr; // that computes it; NULL: the processor
    std::vector<std::pair<ggml_tensor *, fill_function>> inputs;
    std::vector<std::pair<ggml_tensor *, std::unique_ptr<kernel_op>>> ops;
    struct shared_mask {
        const sequences *of;
        attention_block block;
        ggml_tensor *tensor;
    };
    std::vector<shared_mask> masks;   // of attention; layers have them in common
    std::vector<ggml_tensor *> early; // computed first, though nothing in the graph reads them

    ggml_tensor *custom(int64_t ne0, int64_t ne1, std::vector<ggml_tensor *> args, std::unique_ptr<kernel_op> op,
                        ggml_type type = GGML_TYPE_F32);
    ggml_tensor *norm(const norm_weight &w, ggml_tensor *x, float eps);
    ggml_tensor *parts(std::initializer_list<const linear_weight *> layers, ggml_tensor *x, int32_t first_act,
                       ggml_tensor *residual);
    ggml_tensor *attention_ggml(ggml_tensor *q, ggml_tensor *k, ggml_tensor *v, int32_t n_head, int32_t n_kv_head,
                                const sequences &s);
    ggml_tensor *attention_mask(ggml_type type, const sequences &s, const attention_block &b);
    ggml_tensor *attention_of(const attention_block &b, ggml_tensor *q, ggml_tensor *k, ggml_tensor *values,
                              ggml_tensor *mask);
    ggml_tensor *product(ggml_tensor *a, ggml_tensor *b);
};

} // namespace bge
