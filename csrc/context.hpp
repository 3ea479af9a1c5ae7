// Contexts: the threads, buffers and cancellation with which one caller at a time runs a model's graphs.
#pragma once

#include "graph.hpp"
#include "model.hpp"

namespace bge {

// The keys and values of a conversation's tokens, layer by layer.
struct key_value_cache {
    std::unique_ptr<ggml_context, decltype(&ggml_free)> headers{nullptr, ggml_free};
    std::unique_ptr<void, c_free> data;
    std::vector<ggml_tensor *> k, v; // [n_embd_kv, n_positions] f32 each
    int64_t n_positions = 0;
    int64_t n_past = 0; // positions that hold a token
};

} // namespace bge

struct bge_context {
    bge_model *model = nullptr;
    int n_threads = 1;
    ggml_threadpool *threads = nullptr; // NULL for one thread
    ggml_gallocr *memory = nullptr;     // of the graphs' intermediate tensors; grows to the largest batch
    std::vector<uint8_t> headers;       // of the graphs' tensors
    std::vector<uint8_t> work;          // of ggml's own operations
    bge::scratch_space scratch;         // of our kernels
    std::atomic<int32_t> cancel{0};
    std::atomic<int64_t> bytes{0};
    bge::key_value_cache cache; // of a decoder's conversation

    bge_context() = default;
    bge_context(const bge_context &) = delete;
    bge_context &operator=(const bge_context &) = delete;
    ~bge_context();

    // Builds a graph with at most max_nodes operations, runs it, and copies its output of n_dst floats to dst.
    template <class Build> void run(size_t max_nodes, Build &&build, float *dst, int64_t n_dst) {
        in_graph(max_nodes, build, [&](bge::graph &g, ggml_cgraph *nodes, ggml_tensor *out) {
            compute(g, nodes);
            std::memcpy(dst, out->data, size_t(n_dst) * sizeof(float));
        });
    }

    // The bytes that running such a graph would need, at least what the context already holds.
    template <class Build> int64_t plan(size_t max_nodes, Build &&build) {
        int64_t bytes = 0;
        in_graph(max_nodes, build, [&](bge::graph &g, ggml_cgraph *nodes, ggml_tensor *) { bytes = plan(g, nodes); });
        return bytes;
    }

  private:
    template <class Build, class Use> void in_graph(size_t max_nodes, Build &&build, Use &&use) {
        headers.resize(max_nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(max_nodes, false));
        ggml_context *ctx = ggml_init({headers.size(), headers.data(), true});
        if (ctx == nullptr) {
            throw std::bad_alloc();
        }
        const std::unique_ptr<ggml_context, decltype(&ggml_free)> freed(ctx, ggml_free);
        bge::graph g(*model, ctx, scratch);
        ggml_tensor *out = build(g);
        use(g, nodes_of(g, out, max_nodes), out);
    }

    static ggml_cgraph *nodes_of(bge::graph &g, ggml_tensor *out, size_t max_nodes);
    void compute(bge::graph &g, ggml_cgraph *nodes);
    int64_t plan(bge::graph &g, ggml_cgraph *nodes);
};
