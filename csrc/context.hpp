// Contexts: the threads, buffers and cancellation with which one caller at a time runs a model's graphs.
#pragma once

#include "graph.hpp"
#include "model.hpp"

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

    bge_context() = default;
    bge_context(const bge_context &) = delete;
    bge_context &operator=(const bge_context &) = delete;
    ~bge_context();

    // Builds a graph with at most max_nodes operations, runs it, and copies its output of n_dst floats to dst.
    template <class Build> void run(size_t max_nodes, Build &&build, float *dst, int64_t n_dst) {
        headers.resize(max_nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(max_nodes, false));
        ggml_context *ctx = ggml_init({headers.size(), headers.data(), true});
        if (ctx == nullptr) {
            throw std::bad_alloc();
        }
        const std::unique_ptr<ggml_context, decltype(&ggml_free)> freed(ctx, ggml_free);
        bge::graph g(*model, ctx, scratch);
        ggml_tensor *out = build(g);
        compute(g, out, max_nodes, dst, n_dst);
    }

  private:
    void compute(bge::graph &g, ggml_tensor *out, size_t max_nodes, float *dst, int64_t n_dst);
};
