// CLIP: a text tower and a vision tower with one shared space.
#pragma once

#include "encoder.hpp"

namespace bge {

// An encoder of which one token a sequence is projected to the shared space.
struct clip_tower {
    encoder layers;
    norm_weight post;
    linear_weight projection;
};

struct clip_model {
    clip_tower text, vision;
    ggml_tensor *token_embd = nullptr; // [n_embd, n_vocab]
    ggml_tensor *text_pos = nullptr;   // [n_embd, n_ctx] f32
    patch_embedding patches;
    int64_t n_proj = 0;
};

} // namespace bge
