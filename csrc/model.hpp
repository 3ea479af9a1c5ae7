// Models: the weights of a network as ggml tensors over the caller's memory, and their repacked forms.
#pragma once

#include "bge.h"
#include "devices.hpp"
#include "error.hpp"
#include "ggml_api.h"
#include "kernels.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace bge {

struct c_free {
    void operator()(void *p) const noexcept { std::free(p); }
};

// The weight of a linear layer, y = W x + bias.
struct linear_weight {
    ggml_tensor *w = nullptr;               // [n_in, n_out], as it stands in the file
    ggml_tensor *bias = nullptr;            // [n_out] f32; NULL where the layer has none
    std::unique_ptr<void, c_free> packed{}; // in the kernels' layout once its part is ready; NULL: used as it stands
    int64_t n_in() const { return w->ne[0]; }
    int64_t n_out() const { return w->ne[1]; }
};

struct norm_weight {
    ggml_tensor *w = nullptr; // [n] f32
    ggml_tensor *b = nullptr; // [n] f32; NULL for an RMS norm
};

// A part of a network whose linear weights are repacked together, by the first call that needs them: a process that
// only embeds texts never reads the vision tower.
struct lazy_part {
    std::mutex packing;
    std::atomic<bool> ready{false};
};

struct clip_model;
struct llava_model;
struct llama_model;

} // namespace bge

struct bge_model {
    std::atomic<int32_t> refs{1};
    const bge_kernels *kernels = nullptr;  // NULL: ggml's own operations
    ggml_context *tensors = nullptr;       // headers of the weights; their data is the caller's or in tables
    std::deque<std::vector<float>> tables; // small weights, expanded to f32
    std::atomic<int64_t> packed_bytes{0};
    bool file_mapped = false;
    size_t max_nodes = 0; // operations that a graph of this model may hold

    // Where layers lie on devices: each device's part. Empty: the processor computes all.
    std::vector<bge::device_part> devices;
    bool devices_optional = false; // without room there, the processor does their part
    bool flash_attention = true;   // on devices that have it
    bge::buffer host_tables;       // the tables that stay on the processor while others are on a device
    int32_t n_layers = 0;          // that could lie on a device

    // What the model is: one of these.
    std::unique_ptr<bge::clip_model> clip;
    std::unique_ptr<bge::llava_model> llava;
    std::unique_ptr<bge::llama_model> llama;

    bool on_devices() const {
        return std::any_of(devices.begin(), devices.end(), [](const bge::device_part &d) { return d.n_layers > 0; });
    }

    // Throws failure where the kernels or devices named cannot run here.
    explicit bge_model(const bge_placement &placement);
    bge_model(const bge_model &) = delete;
    bge_model &operator=(const bge_model &) = delete;
    ~bge_model();
};

namespace bge {

// Repacks the linear weights of a part for the model's kernels on n_threads threads, once; later calls return at
// once. Throws failure.
void make_ready(bge_model &model, lazy_part &part, const std::vector<linear_weight *> &weights, int n_threads);

// Tells the system that the pages of a mapped weight are not needed any more.
void give_back(const void *data, size_t size);

void retain(bge_model *model);
void release(bge_model *model);

// Fails unless a caller's parameter struct is of this version of bge.h and the other pointers are given.
template <class Params>
void check_call(const char *function, const Params *params, std::initializer_list<const void *> pointers) {
    bool given = params != nullptr && params->struct_size == sizeof(Params);
    for (const void *p : pointers) {
        given = given && p != nullptr;
    }
    if (!given) {
        fail(BGE_ERR_ARGUMENT, "%s: every argument is needed, and params of this version of bge.h", function);
    }
}

} // namespace bge
