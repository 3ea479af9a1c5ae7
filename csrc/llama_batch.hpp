// Lays the rows of a bge_llama_batch out for one pass: tokens that all rows begin with come once.
#pragma once

#include "context.hpp"

namespace bge {

// A batch as the decoder computes it.
struct decoder_batch {
    std::vector<int32_t> tokens;  // index into the caller's ids of each token computed
    rotary positions;             // of the tokens computed
    std::vector<int32_t> wanted;  // index into tokens
    rotary wanted_positions;      // of the wanted
    std::vector<int32_t> kv_rows; // which tokens serve as keys, for sequences that share some; empty: all in order
    sequences all;                // every token asks
    sequences asked;              // the wanted tokens ask
};

// Checks a batch against the model and lays it out; n_past tokens lie in the cache before its only row, or 0.
// Throws failure naming the operand.
decoder_batch lay_out(const llama_model &model, const bge_llama_batch &batch, int64_t n_past);

} // namespace bge
