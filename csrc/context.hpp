// Contexts: the threads, buffers and cancellation with which one caller at a time runs a model's graphs.
#pragma once

#include "crew.hpp"
#include "graph.hpp"
#include "model.hpp"

#include <chrono>

namespace bge {

// The keys and values of a conversation's tokens, layer by layer, each where its layer's weights lie.
struct key_value_cache {
    std::vector<std::unique_ptr<ggml_context, decltype(&ggml_free)>> headers;
    std::vector<buffer> data;
    std::vector<ggml_tensor *> k, v; // [n_embd_kv, n_positions] f32 each
    int64_t n_positions = 0;
    int64_t n_past = 0; // positions that hold a token
};

// What runs the graphs of a model of which layers lie on devices: ggml's scheduler over a stream of each device, and
// the processor last.
//
// A device gets a graph in pieces: after each it is waited for, and the flag looked at. Waiting leaves it idle for a
// moment, so that pieces are made as long as a call may take to stop.
struct scheduler {
    std::vector<stream> streams;
    std::unique_ptr<ggml_backend_sched, decltype(&ggml_backend_sched_free)> sched{nullptr, ggml_backend_sched_free};

    // Throws failure where a device cannot be started.
    scheduler(const bge_model &model, int n_threads, ggml_threadpool *threads, std::atomic<int32_t> &cancel);

    ggml_backend *processor() const { return streams.back().get(); }
    size_t bytes() const; // of buffers, over all devices

    // Computes a graph that has memory. GGML_STATUS_ABORTED: the flag was set before the end.
    ggml_status compute(ggml_cgraph *nodes);

  private:
    const std::atomic<int32_t> &flag;
    bool stopped = false;
    int64_t piece_size, in_piece = 0; // in elements of results: what an operation costs goes with them, roughly
    std::chrono::steady_clock::time_point piece_start;

    bool ends_piece(const ggml_tensor *t);
    bool go_on();
    static bool at_operation(ggml_tensor *t, bool ask, void *data); // ggml's evaluation callback
};

} // namespace bge

struct bge_context {
    bge_model *model = nullptr;
    int n_threads = 1;
    std::unique_ptr<bge::crew> crew;         // runs graphs of which all operations are our kernels'
    ggml_threadpool *threads = nullptr;      // ggml's, for all other graphs; NULL for one thread
    ggml_gallocr *memory = nullptr;          // of the graphs' intermediate tensors; grows to the largest batch
    std::unique_ptr<bge::scheduler> devices; // runs the graphs instead, where layers lie on devices; has their memory
    std::vector<uint8_t> headers;            // of the graphs' tensors
    std::vector<uint8_t> work;               // of ggml's own operations
    bge::scratch_space scratch;              // of our kernels
    std::atomic<int32_t> cancel{0};
    std::atomic<int64_t> bytes{0};
    bge::key_value_cache cache; // of a decoder's conversation

    bge_context() = default;
    bge_context(const bge_context &) = delete;
    bge_context &operator=(const bge_context &) = delete;
    ~bge_context();

    // Builds a graph, runs it, and copies its output of n_dst floats to dst.
    template <class Build> void run(Build &&build, float *dst, int64_t n_dst) {
        in_graph(build, [&](bge::graph &g, ggml_cgraph *nodes, ggml_tensor *out) {
            if (devices != nullptr) {
                compute_on_devices(g, nodes);
            } else {
                compute(g, nodes);
            }
            ggml_backend_tensor_get(out, dst, 0, size_t(n_dst) * sizeof(float));
        });
    }

    // The bytes that running such a graph would need, over all devices.
    template <class Build> int64_t plan(Build &&build) {
        int64_t bytes = 0;
        in_graph(build, [&](bge::graph &g, ggml_cgraph *nodes, ggml_tensor *) { bytes = plan(g, nodes); });
        return bytes;
    }

  private:
    template <class Build, class Use> void in_graph(Build &&build, Use &&use) {
        const size_t max_nodes = model->max_nodes;
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
    void run_kernels(bge::graph &g, ggml_cgraph *nodes);
    void run_ggml(ggml_cgraph *nodes);
    void compute_on_devices(bge::graph &g, ggml_cgraph *nodes);
    void prepare(bge::graph &g); // inputs and kernels, once tensors have memory
    int64_t plan(bge::graph &g, ggml_cgraph *nodes);
};
