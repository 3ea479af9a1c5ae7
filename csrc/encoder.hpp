// The transformer encoder of CLIP's towers and of LLaVA's vision tower: weights, and its blocks in a graph.
#pragma once

#include "graph.hpp"
#include "loader.hpp"

namespace bge {

struct encoder_layer {
    norm_weight ln1, ln2;
    linear_weight q, k, v, out, up, down;
};

// Pre-norm layers of one width.
struct encoder {
    bge_tower p{};
    std::vector<encoder_layer> layers;
    lazy_part part; // these layers, and whatever linear weights lie around them

    // Reads the layers PREFIX.blk.N.* of a tower that check_tower accepted and that load.tower() began.
    void load(loader &load, const bge_tower &params, const std::string &prefix);

    // Appends the layers' weights to a list for make_ready.
    void append_weights(std::vector<linear_weight *> &all);

    // One layer over all tokens. x: [n_embd, n_tokens], result alike
    ggml_tensor *layer(graph &g, const encoder_layer &l, ggml_tensor *x, const sequences &s) const;

    // One layer, its result for some tokens only; the others serve as keys and values. rows are those tokens' indices
    // in x, and s their sequences. result: [n_embd, n_rows]
    ggml_tensor *layer_rows(graph &g, const encoder_layer &l, ggml_tensor *x, const std::vector<int32_t> &rows,
                            const sequences &s) const;

    // Operations that a graph may hold.
    size_t max_nodes() const { return 64 + most_layer_nodes * layers.size(); }

  private:
    ggml_tensor *feed_forward(graph &g, const encoder_layer &l, ggml_tensor *x) const;
};

// The front of a vision tower: patches, the class token, positions, and the norm before the layers.
struct patch_embedding {
    linear_weight patch;
    ggml_tensor *positions = nullptr; // [n_embd, 1 + n_patch] f32, the class embedding added to its first row
    norm_weight norm;
    int64_t image_size = 0, patch_size = 0;

    void load(loader &load, int64_t n_embd, int64_t image_size, int64_t patch_size);

    int64_t n_patch() const { return (image_size / patch_size) * (image_size / patch_size); }
    int64_t n_tokens() const { return 1 + n_patch(); }
    int64_t n_pixels() const { return 3 * image_size * image_size; }

    // pixels: n_images planes of [3][image_size][image_size]. result: [n_embd, n_tokens * n_images]
    ggml_tensor *build(graph &g, const float *pixels, int64_t n_images, float eps) const;
};

// Fail with BGE_ERR_ARGUMENT for what no tower or picture can be.
void check_tower(const bge_tower &t, const char *name);
void check_patches(int32_t image_size, int32_t patch_size);

// Sequences of n_tokens each, all of whose tokens ask.
sequences uniform_sequences(int64_t n, int64_t n_tokens);

} // namespace bge
