// Models: the weights of a network as ggml tensors over the caller's memory, and their repacked forms.
#pragma once

#include "bge.h"
#include "error.hpp"
#include "ggml_api.h"
#include "kernels.h"

#include <atomic>
#include <cstdlib>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace bge {

struct c_free {
    void operator()(void *p) const noexcept { std::free(p); }
};

// The weight of a linear layer, y = W x + bias.
struct linear_weight {
    ggml_tensor *w = nullptr;               // [n_in, n_out], as it stands in the file
    ggml_tensor *bias = nullptr;            // [n_out] f32; NULL where the layer has none
    std::unique_ptr<void, c_free> packed{}; // in the kernels' layout once its tower is ready; NULL: used as it stands
    int64_t n_in() const { return w->ne[0]; }
    int64_t n_out() const { return w->ne[1]; }
};

struct norm_weight {
    ggml_tensor *w = nullptr; // [n] f32
    ggml_tensor *b = nullptr; // [n] f32
};

struct encoder_layer {
    norm_weight ln1, ln2;
    linear_weight q, k, v, out, up, down;
};

// One transformer encoder with its final norm and its projection to the shared space. Its linear weights are repacked
// by the first call that needs them, so that a process which only embeds texts never reads the vision tower.
struct encoder {
    bge_tower p{};
    std::vector<encoder_layer> layers;
    norm_weight post;
    linear_weight patch; // vision only
    linear_weight projection;
    std::mutex packing;
    std::atomic<bool> ready{false};
};

struct clip_model {
    encoder text, vision;
    ggml_tensor *token_embd = nullptr; // [n_embd, n_vocab]
    ggml_tensor *text_pos = nullptr;   // [n_embd, n_ctx] f32
    ggml_tensor *vision_pos = nullptr; // [n_embd, 1 + n_patch] f32, the class embedding added to its first row
    norm_weight pre;
    int64_t image_size = 0, patch_size = 0, n_proj = 0;
    int64_t n_patch() const { return (image_size / patch_size) * (image_size / patch_size); }
};

} // namespace bge

struct bge_model {
    std::atomic<int32_t> refs{1};
    const bge_kernels *kernels = nullptr;  // NULL: ggml's own operations
    ggml_context *tensors = nullptr;       // headers of the weights; their data is the caller's or in tables
    std::deque<std::vector<float>> tables; // small weights, expanded to f32
    std::atomic<int64_t> packed_bytes{0};
    bool file_mapped = false;
    bge::clip_model clip;

    bge_model() = default;
    bge_model(const bge_model &) = delete;
    bge_model &operator=(const bge_model &) = delete;
    ~bge_model() { ggml_free(tensors); }
};

namespace bge {

// Repacks the linear weights of an encoder for the model's kernels on n_threads threads, once; later calls return at
// once. Throws failure.
void make_ready(bge_model &model, encoder &tower, int n_threads);

void retain(bge_model *model);
void release(bge_model *model);

} // namespace bge
