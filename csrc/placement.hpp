// Placement: which layers of a model lie on which device.
#pragma once

#include "model.hpp"

namespace bge {

// The tensors of a tower or decoder, layer by layer: what lies before the first layer is with it, and what lies behind
// the last one with that.
using tower_tensors = std::vector<std::vector<ggml_tensor *>>;

// Moves the last `wanted` layers of each tower to the model's devices, or as many as fit where that is -1. The rest
// stays where it is. Throws bad_alloc where a device has no room.
void place(bge_model &model, const std::vector<tower_tensors> &towers, int32_t wanted);

} // namespace bge
