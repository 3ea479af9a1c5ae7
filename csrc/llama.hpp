// Decoders of Llama's kind, of which Mistral is one.
#pragma once

#include "graph.hpp"
#include "loader.hpp"

namespace bge {

struct decoder_layer {
    norm_weight attn_norm, ffn_norm; // RMS
    linear_weight q, k, v, out;
    linear_weight gate, up, down;
};

struct llama_model {
    bge_llama_params p{};
    std::vector<decoder_layer> layers;
    norm_weight output_norm;
    linear_weight output;              // scores over the vocabulary
    ggml_tensor *token_embd = nullptr; // [n_embd, n_vocab]
    lazy_part part;                    // the layers
    lazy_part output_part;             // the output layer, which embeddings never need

    int32_t n_embd_kv() const { return p.n_head_kv * p.d_head; }

    // Operations that a graph may hold.
    size_t max_nodes() const { return 64 + most_layer_nodes * layers.size(); }
};

} // namespace bge
