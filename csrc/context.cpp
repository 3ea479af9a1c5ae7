//go:build !bgevl_static

#include "context.hpp"

#include <cinttypes>
#include <unordered_map>

namespace {

bool is_set(void *flag) {
    return static_cast<std::atomic<int32_t> *>(flag)->load() != 0;
}

// How long a device should be at a piece of a graph. Handing over the next one takes tenths of a millisecond.
constexpr std::chrono::milliseconds shortest_piece(10), longest_piece(100);
// In elements of results: where piece sizes start, an operation or two of a picture, and what they do not pass.
constexpr int64_t first_piece = int64_t(1) << 18, largest_piece = int64_t(1) << 40;

} // namespace

namespace bge {

scheduler::scheduler(const bge_model &model, int n_threads, ggml_threadpool *threads, std::atomic<int32_t> &cancel)
    : flag(cancel), piece_size(first_piece) {
    std::vector<ggml_backend_device *> all;
    std::vector<ggml_backend *> raw;
    for (const device_part &d : model.devices) {
        all.push_back(d.device);
    }
    all.push_back(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    for (ggml_backend_device *device : all) {
        streams.emplace_back(ggml_backend_dev_init(device, nullptr));
        ggml_backend *stream = streams.back().get();
        if (stream == nullptr) {
            fail(BGE_ERR_UNSUPPORTED, "device %s could not be started", ggml_backend_dev_name(device));
        }
        raw.push_back(stream);
        if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) { // which may be chosen as a device too
            ggml_backend_cpu_set_n_threads(stream, n_threads);
            ggml_backend_cpu_set_threadpool(stream, threads);
            ggml_backend_cpu_set_abort_callback(stream, is_set, &cancel);
        }
    }
    // Its table holds leaves beside the operations.
    sched.reset(ggml_backend_sched_new(raw.data(), nullptr, int(raw.size()), 2 * model.max_nodes, false, false));
    ggml_backend_sched_set_eval_callback(sched.get(), at_operation, this);
}

size_t scheduler::bytes() const {
    size_t n = 0;
    for (const stream &s : streams) {
        n += ggml_backend_sched_get_buffer_size(sched.get(), s.get());
    }
    return n;
}

ggml_status scheduler::compute(ggml_cgraph *nodes) {
    stopped = false;
    in_piece = 0;
    piece_start = std::chrono::steady_clock::now();
    const ggml_status status = ggml_backend_sched_graph_compute(sched.get(), nodes);
    return stopped ? GGML_STATUS_ABORTED : status;
}

bool scheduler::ends_piece(const ggml_tensor *t) {
    in_piece += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    return in_piece >= piece_size || stopped || flag.load() != 0;
}

bool scheduler::go_on() {
    const auto now = std::chrono::steady_clock::now();
    if (now - piece_start < shortest_piece) {
        piece_size = std::min(2 * piece_size, largest_piece);
    } else if (now - piece_start > longest_piece) {
        piece_size = std::max(piece_size / 2, first_piece);
    }
    in_piece = 0;
    piece_start = now;
    stopped = stopped || flag.load() != 0;
    return !stopped;
}

// ggml asks of each operation, before a piece is handed over, whether the piece ends with it, and then, when the device
// is through, whether to go on. It skips what is left of one device's part only: the parts after that begin.
bool scheduler::at_operation(ggml_tensor *t, bool ask, void *data) {
    scheduler &s = *static_cast<scheduler *>(data);
    return ask ? s.ends_piece(t) : s.go_on();
}

} // namespace bge

bge_context::~bge_context() {
    devices.reset();
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

void bge_context::prepare(bge::graph &g) {
    for (const auto &[tensor, fill] : g.inputs) {
        if (tensor->data != nullptr) { // an input that nothing reads gets no memory
            fill(tensor);
        }
    }
    for (const auto &[tensor, op] : g.ops) {
        op->bind(tensor);
    }
    scratch.grow(g.scratch_bytes(), n_threads);
}

namespace {

void check_status(ggml_status status) {
    switch (status) {
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

} // namespace

void bge_context::compute(bge::graph &g, ggml_cgraph *nodes) {
    if (!ggml_gallocr_alloc_graph(memory, nodes)) {
        throw std::bad_alloc();
    }
    prepare(g);
    bytes = int64_t(ggml_gallocr_get_buffer_size(memory, 0) + headers.size() + work.size() + scratch.size);
    if (crew != nullptr) {
        run_kernels(g, nodes);
    } else {
        run_ggml(nodes);
    }
}

// ggml has given the operations an order and memory; here they are run.
void bge_context::run_kernels(bge::graph &g, ggml_cgraph *nodes) {
    std::unordered_map<const ggml_tensor *, bge::kernel_op *> op_of;
    for (const auto &[tensor, op] : g.ops) {
        op_of[tensor] = op.get();
    }
    const int n = crew->size();
    for (int i = 0; i < ggml_graph_n_nodes(nodes); i++) {
        const ggml_tensor *t = ggml_graph_node(nodes, i);
        const auto at = op_of.find(t);
        if (at == op_of.end()) {
            if (t->view_src == nullptr) { // a view is nothing to compute
                bge::fail(BGE_ERR_INTERNAL, "operation %d of a graph is none of our kernels'", i);
            }
            continue;
        }
        if (cancel.load() != 0) {
            check_status(GGML_STATUS_ABORTED);
        }
        crew->run(n, [op = at->second, n](int piece) { op->run(piece, n); });
    }
}

void bge_context::run_ggml(ggml_cgraph *nodes) {
    ggml_cplan plan = ggml_graph_plan(nodes, n_threads, threads);
    work.resize(plan.work_size);
    plan.work_data = work.data();
    plan.abort_callback = is_set;
    plan.abort_callback_data = &cancel;
    check_status(ggml_graph_compute(nodes, &plan));
}

void bge_context::compute_on_devices(bge::graph &g, ggml_cgraph *nodes) {
    bge::scheduler &d = *devices;
    ggml_backend_sched_reset(d.sched.get());
    for (const auto &[tensor, op] : g.ops) {
        ggml_backend_sched_set_tensor_backend(d.sched.get(), tensor, d.processor());
    }
    if (!ggml_backend_sched_alloc_graph(d.sched.get(), nodes)) {
        throw std::bad_alloc();
    }
    prepare(g); // inputs are the processor's, and copied from there
    bytes = int64_t(d.bytes() + headers.size() + scratch.size);
    check_status(d.compute(nodes));
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
        if (model->kernels != nullptr && !model->on_devices()) {
            context->crew = std::make_unique<bge::crew>(params->n_threads);
        } else if (params->n_threads > 1) {
            ggml_threadpool_params pool = ggml_threadpool_params_default(params->n_threads);
            context->threads = ggml_threadpool_new(&pool);
            if (context->threads == nullptr) {
                throw std::bad_alloc();
            }
        }
        if (model->on_devices()) {
            context->devices =
                std::make_unique<bge::scheduler>(*model, params->n_threads, context->threads, context->cancel);
        } else {
            context->memory = ggml_gallocr_new(ggml_backend_cpu_buffer_type());
        }
        if (context->memory == nullptr && context->devices == nullptr) {
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
