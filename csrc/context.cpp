//go:build !bgevl_static

#include "context.hpp"

#include <cinttypes>

bge_context::~bge_context() {
    ggml_gallocr_free(memory);
    ggml_threadpool_free(threads);
    bge::release(model);
}

ggml_cgraph *bge_context::nodes_of(bge::graph &g, ggml_tensor *out, size_t max_nodes) {
    ggml_set_output(out);
    ggml_cgraph *nodes = ggml_new_graph_custom(g.ctx, max_nodes, false);
    for (ggml_tensor *t : g.early) {
        ggml_build_forward_expand(nodes, t);
    }
    ggml_build_forward_expand(nodes, out);
    return nodes;
}

void bge_context::compute(bge::graph &g, ggml_cgraph *nodes) {
    if (!ggml_gallocr_alloc_graph(memory, nodes)) {
        throw std::bad_alloc();
    }
    for (const auto &[tensor, fill] : g.inputs) {
        if (tensor->data != nullptr) { // an input that nothing reads gets no memory
            fill(tensor);
        }
    }
    for (const auto &[tensor, op] : g.ops) {
        op->bind(tensor);
    }
    scratch.grow(g.scratch_bytes(), n_threads);
    ggml_cplan plan = ggml_graph_plan(nodes, n_threads, threads);
    work.resize(plan.work_size);
    plan.work_data = work.data();
    plan.abort_callback = [](void *data) { return static_cast<std::atomic<int32_t> *>(data)->load() != 0; };
    plan.abort_callback_data = &cancel;
    bytes = int64_t(ggml_gallocr_get_buffer_size(memory, 0) + headers.size() + work.size() + scratch.size);
    switch (ggml_graph_compute(nodes, &plan)) {
    case GGML_STATUS_SUCCESS:
        return;
    case GGML_STATUS_ABORTED:
        bge::fail(BGE_ERR_CANCELLED, "the call was cancelled");
    case GGML_STATUS_ALLOC_FAILED:
        throw std::bad_alloc();
    default:
        bge::fail(BGE_ERR_INTERNAL, "ggml could not compute the graph");
    }
}

int64_t bge_context::plan(bge::graph &g, ggml_cgraph *nodes) {
    // An allocator of its own: planning leaves one without buffers for the graph it planned.
    const std::unique_ptr<ggml_gallocr, decltype(&ggml_gallocr_free)> planner(
        ggml_gallocr_new(ggml_backend_cpu_buffer_type()), ggml_gallocr_free);
    if (planner == nullptr) {
        throw std::bad_alloc();
    }
    size_t tensors = 0;
    ggml_gallocr_reserve_n_size(planner.get(), nodes, nullptr, nullptr, &tensors);
    return int64_t(tensors + headers.size() + g.scratch_bytes() * size_t(n_threads));
}

int32_t bge_context_new(bge_model *model, const bge_context_params *params, bge_context **out,
                        bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        constexpr int32_t most_threads = GGML_MAX_N_THREADS;
        bge::check_call("bge_context_new", params, {model, out});
        if (params->n_threads < 1 || params->n_threads > most_threads) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId32 " threads: want 1 to %" PRId32, params->n_threads, most_threads);
        }
        auto context = std::make_unique<bge_context>();
        bge::retain(model);
        context->model = model;
        context->n_threads = params->n_threads;
        context->memory = ggml_gallocr_new(ggml_backend_cpu_buffer_type());
        if (params->n_threads > 1) {
            ggml_threadpool_params pool = ggml_threadpool_params_default(params->n_threads);
            context->threads = ggml_threadpool_new(&pool);
        }
        if (context->memory == nullptr || (params->n_threads > 1 && context->threads == nullptr)) {
            throw std::bad_alloc();
        }
        *out = context.release();
    });
}

void bge_context_free(bge_context *context) noexcept {
    delete context;
}

void bge_context_cancel(bge_context *context, int32_t cancel) noexcept {
    context->cancel.store(cancel);
}

int64_t bge_context_bytes(const bge_context *context) noexcept {
    return context->bytes.load();
}
