// The vision side of LLaVA: CLIP's vision tower without its last layers, and the projector to the language model.
#pragma once

#include "encoder.hpp"

namespace bge {

struct llava_model {
    encoder vision;
    patch_embedding patches;
    linear_weight projector[2]; // with a GELU between
    int64_t n_out = 0;
};

} // namespace bge
