//go:build !bgevl_static

// The pieces of work that devices are tried with, and what they found, for the whole process.
#include "devices.hpp"
#include "model.hpp"
#include "probe.hpp"

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

namespace bge {
namespace {

// A driver may compile what it runs when it first does, which takes seconds; one that takes longer is no default.
constexpr std::chrono::seconds longest_run(10);

// What a row may be off by. Devices may multiply in f16 where the kernels do in f32, and round activations for weights
// of few bits to 8, as the kernels do in their own way. A matrix of which one tile is wrong is off by a tenth and more.
constexpr double most_error_f16 = 0.01, most_error_quantised = 0.04;

[[noreturn]] void stop_in_words(const char *message) {
    fail(BGE_ERR_INTERNAL, "%.200s", message);
}

// While it lives, a check of ggml's that fails in this thread throws, and does not end the process: a driver that
// cannot do what ggml takes for granted means "not this device". What is thrown through is never used again.
class throwing_checks {
  public:
    throwing_checks() : before(ggml_set_abort_callback(act)) { here = true; }
    throwing_checks(const throwing_checks &) = delete;
    throwing_checks &operator=(const throwing_checks &) = delete;
    ~throwing_checks() {
        here = false;
        ggml_set_abort_callback(before);
    }

  private:
    static thread_local bool here;
    ggml_abort_callback_t before;

    static void act(const char *message) {
        if (here) {
            stop_in_words(message);
        }
        std::fprintf(stderr, "%s\n", message); // and ggml ends the process
    }
};
thread_local bool throwing_checks::here = false;

// A model in memory, of weights that are always the same.
struct probe_model {
    std::deque<std::string> names;
    std::vector<std::unique_ptr<void, c_free>> data;
    std::vector<bge_tensor> tensors;
    uint32_t state = 1;
    bge_model *model = nullptr;
    bge_context *context = nullptr;

    probe_model() = default;
    probe_model(const probe_model &) = delete;
    probe_model &operator=(const probe_model &) = delete;
    ~probe_model() {
        bge_context_free(context);
        bge_model_free(model);
    }

    float next() { // evenly from -1 to 1
        state = state * 1664525u + 1013904223u;
        return float(state >> 8) / float(1 << 23) - 1;
    }

    // A tensor of values around `mean`, which differ from it by up to `spread`.
    void add(const std::string &name, ggml_type type, std::initializer_list<int64_t> ne, float mean, float spread) {
        bge_tensor t{names.emplace_back(name).c_str(), type, 0, {1, 1, 1, 1}, nullptr, 0};
        std::copy(ne.begin(), ne.end(), t.ne);
        const int64_t n = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3];
        std::vector<float> values(static_cast<size_t>(n));
        for (float &v : values) {
            v = mean + spread * next();
        }
        constexpr size_t alignment = 64;
        t.size = ggml_row_size(type, t.ne[0]) * uint64_t(n / t.ne[0]);
        data.emplace_back(std::aligned_alloc(alignment, (t.size + alignment - 1) / alignment * alignment));
        if (data.back() == nullptr) {
            throw std::bad_alloc();
        }
        t.data = data.back().get();
        if (type == GGML_TYPE_F32) {
            std::memcpy(data.back().get(), values.data(), t.size);
        } else {
            ggml_quantize_chunk(type, values.data(), data.back().get(), 0, n / t.ne[0], t.ne[0], nullptr);
        }
        tensors.push_back(t);
    }

    // A linear layer that keeps the size of what it is given.
    void linear(const std::string &name, ggml_type type, int64_t n_in, int64_t n_out, bool bias) {
        add(name + ".weight", type, {n_in, n_out}, 0, std::sqrt(3.0f / float(n_in)));
        if (bias) {
            add(name + ".bias", GGML_TYPE_F32, {n_out}, 0, 0.1f);
        }
    }

    void norm(const std::string &name, int64_t n, bool bias) {
        add(name + ".weight", GGML_TYPE_F32, {n}, 1, 0.1f);
        if (bias) {
            add(name + ".bias", GGML_TYPE_F32, {n}, 0, 0.1f);
        }
    }

    // All layers on a device; NULL: on the processor.
    static bge_placement on(const char *device) {
        bge_placement p{};
        p.devices = device;
        p.device_layers = device != nullptr ? INT32_MAX : 0;
        return p;
    }

    static void require(int32_t code, const bge_error &err) {
        if (code != BGE_OK) {
            fail(bge_code(code), "%s", err.message);
        }
    }

    void start(int32_t n_threads) {
        const bge_context_params params{sizeof params, std::min(n_threads, int32_t(GGML_MAX_N_THREADS))};
        bge_error err;
        require(bge_context_new(model, &params, &context, &err), err);
    }
};

// Stops a context's call that takes too long.
class deadline {
  public:
    explicit deadline(bge_context *context)
        : waiting([this, context] {
              std::unique_lock<std::mutex> hold(lock);
              if (!ended.wait_for(hold, longest_run, [this] { return done; })) {
                  bge_context_cancel(context, 1);
              }
          }) {}
    deadline(const deadline &) = delete;
    deadline &operator=(const deadline &) = delete;
    ~deadline() {
        {
            const std::lock_guard<std::mutex> hold(lock);
            done = true;
        }
        ended.notify_one();
        waiting.join();
    }

  private:
    std::mutex lock;
    std::condition_variable ended;
    bool done = false;
    std::thread waiting; // last: it uses the others
};

// Does something with a model. One that a check of ggml's was thrown through is never freed: its driver's state is not
// known.
template <class Body> void with_checks(const std::shared_ptr<probe_model> &m, Body &&body) {
    try {
        const throwing_checks checks;
        body();
    } catch (const failure &f) {
        if (f.code == BGE_ERR_INTERNAL) {
            new std::shared_ptr<probe_model>(m); // which keeps it
        }
        throw;
    }
}

// The work of a model that `build` makes on a device and `run` runs: n_values values.
template <class Build, class Run>
prepared_work make_work(const char *device, int32_t n_threads, size_t n_values, Build build, Run run) {
    auto m = std::make_shared<probe_model>();
    with_checks(m, [&] {
        build(*m, device);
        m->start(n_threads);
    });
    return [m, n_values, run] {
        std::vector<float> values(n_values);
        with_checks(m, [&] {
            const deadline limit(m->context);
            bge_error err;
            const int32_t code = run(*m, values, err);
            if (code == BGE_ERR_CANCELLED) {
                fail(BGE_ERR_UNSUPPORTED, "not done after %d seconds", int(longest_run.count()));
            }
            probe_model::require(code, err);
        });
        return values;
    };
}

// A layer of CLIP base's vision tower, and a projector, over one picture.
constexpr int32_t image_side = 224, patch_side = 16, n_patches = 14 * 14, vision_width = 768, vision_out = 256;

void build_vision(probe_model &m, const char *device) {
    const bge_tower tower{1, vision_width, 4 * vision_width, vision_width / 64, 1e-5f, 0};
    m.add("v.patch_embd.weight", GGML_TYPE_F16, {patch_side, patch_side, 3, vision_width}, 0, 0.06f);
    m.norm("v.pre_ln", vision_width, true);
    m.add("v.position_embd.weight", GGML_TYPE_F32, {vision_width, 1 + n_patches}, 0, 1);
    m.add("v.class_embd", GGML_TYPE_F32, {vision_width}, 0, 1);
    for (int32_t i = 0; i < tower.n_layer; i++) {
        const std::string at = "v.blk." + std::to_string(i) + ".";
        m.norm(at + "ln1", vision_width, true);
        m.norm(at + "ln2", vision_width, true);
        for (const char *name : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
            m.linear(at + name, GGML_TYPE_F16, vision_width, vision_width, true);
        }
        m.linear(at + "ffn_up", GGML_TYPE_F16, vision_width, tower.n_ff, true);
        m.linear(at + "ffn_down", GGML_TYPE_F16, tower.n_ff, vision_width, true);
    }
    m.linear("mm.0", GGML_TYPE_F16, vision_width, vision_out, true);
    m.linear("mm.2", GGML_TYPE_F16, vision_out, vision_out, true);
    const bge_llava_params params{sizeof params, tower, image_side, patch_side, vision_out, probe_model::on(device)};
    bge_error err;
    probe_model::require(bge_llava_new(&params, m.tensors.data(), int64_t(m.tensors.size()), &m.model, &err), err);
}

int32_t run_vision(probe_model &m, std::vector<float> &values, bge_error &err) {
    std::vector<float> pixels(size_t(3 * image_side * image_side));
    m.state = 2;
    for (float &p : pixels) {
        p = 2 * m.next();
    }
    return bge_llava_encode(m.context, pixels.data(), int64_t(pixels.size()), 1, values.data(), int64_t(values.size()),
                            &err);
}

// A decoder of two layers in the types of q4_k_m and q8_0, over two texts.
constexpr int32_t decoder_width = 256, text_lengths[] = {37, 5}, n_tokens = 37 + 5;

void build_decoder(probe_model &m, const char *device) {
    bge_llama_params params{sizeof params, 2, decoder_width, 2 * decoder_width, 2, 1, 128, n_tokens, 1e-5f, 10000, {}};
    params.placement = probe_model::on(device);
    const int64_t width = params.n_embd, n_kv = params.n_head_kv * params.d_head;
    m.add("token_embd.weight", GGML_TYPE_F16, {width, params.n_vocab}, 0, 1);
    for (int32_t i = 0; i < params.n_layer; i++) {
        const std::string at = "blk." + std::to_string(i) + ".";
        m.norm(at + "attn_norm", width, false);
        m.norm(at + "ffn_norm", width, false);
        m.linear(at + "attn_q", GGML_TYPE_Q8_0, width, width, false);
        m.linear(at + "attn_k", GGML_TYPE_Q4_K, width, n_kv, false);
        m.linear(at + "attn_v", GGML_TYPE_Q6_K, width, n_kv, false);
        m.linear(at + "attn_output", GGML_TYPE_Q8_0, width, width, false);
        m.linear(at + "ffn_gate", GGML_TYPE_Q4_K, width, params.n_ff, false);
        m.linear(at + "ffn_up", GGML_TYPE_Q4_K, width, params.n_ff, false);
        m.linear(at + "ffn_down", GGML_TYPE_Q6_K, params.n_ff, width, false);
    }
    m.norm("output_norm", width, false);
    bge_error err;
    probe_model::require(bge_llama_new(&params, m.tensors.data(), int64_t(m.tensors.size()), &m.model, &err), err);
}

int32_t run_decoder(probe_model &m, std::vector<float> &values, bge_error &err) {
    std::vector<int32_t> ids; // each token once, and all are wanted
    for (int32_t i = 0; i < n_tokens; i++) {
        ids.push_back(i);
    }
    const bge_llama_batch batch{sizeof batch, ids.data(), n_tokens, nullptr, 0, text_lengths, 2, ids.data(), n_tokens};
    return bge_llama_encode(m.context, &batch, values.data(), int64_t(values.size()), &err);
}

// What devices were found to do, for the whole process: each is tried once.
class process_probes {
  public:
    bge_probe of(int32_t i, const bge_device &device, int32_t n_threads) {
        const std::lock_guard<std::mutex> hold(lock);
        const auto known = found.find(i);
        if (known != found.end()) {
            return known->second;
        }
        if (device.kind == BGE_DEVICE_ACCELERATOR) {
            return found[i] = bge_probe{};
        }
        if (processor == nullptr) {
            processor = std::make_unique<prober>(probe_tasks(n_threads), [] {
                return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
            });
        }
        return found[i] = processor->try_device(device.name);
    }

  private:
    std::mutex lock;
    std::unique_ptr<prober> processor;
    std::map<int32_t, bge_probe> found;
};

process_probes &probes() {
    static process_probes all;
    return all;
}

bge_device device_at(int32_t i) {
    bge_device d;
    bge_error err;
    probe_model::require(bge_device_get(i, &d, &err), err);
    return d;
}

} // namespace

std::vector<probe_task> probe_tasks(int32_t n_threads) {
    const auto vision = [n_threads](const char *device) {
        return make_work(device, n_threads, size_t(n_patches * vision_out), build_vision, run_vision);
    };
    const auto decoder = [n_threads](const char *device) {
        return make_work(device, n_threads, size_t(n_tokens * decoder_width), build_decoder, run_decoder);
    };
    return {{"a vision tower in f16", vision_out, most_error_f16, vision},
            {"a decoder in q8_0, q6_k and q4_k", decoder_width, most_error_quantised, decoder}};
}

} // namespace bge

int32_t bge_device_probe(int32_t i, int32_t n_threads, bge_probe *out, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        if (out == nullptr) {
            bge::fail(BGE_ERR_ARGUMENT, "bge_device_probe: every argument is needed");
        }
        *out = bge::probes().of(i, bge::device_at(i), n_threads);
    });
}

int32_t bge_device_default(int32_t n_threads, int32_t *out, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        if (out == nullptr) {
            bge::fail(BGE_ERR_ARGUMENT, "bge_device_default: every argument is needed");
        }
        bge_error counting;
        const int32_t n = bge_device_count(&counting);
        if (n < 0) {
            bge::fail(bge_code(counting.code), "%s", counting.message);
        }
        std::vector<bge_probe> results(static_cast<size_t>(n));
        int32_t processor = -1;
        for (int32_t i = 0; i < n; i++) {
            const bge_device d = bge::device_at(i);
            if (d.kind == BGE_DEVICE_CPU) {
                processor = processor < 0 ? i : processor;
            } else {
                results[size_t(i)] = bge::probes().of(i, d, n_threads);
            }
        }
        const int32_t best = bge::fastest(results);
        *out = best >= 0 ? best : processor;
    });
}
