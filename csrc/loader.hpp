// Looks up the weights of a model that is being made: by name, with the shape and type compared.
#pragma once

#include "placement.hpp"

#include <initializer_list>
#include <string>
#include <unordered_map>

namespace bge {

class loader {
  public:
    loader(bge_model &model, const bge_tensor *tensors, int64_t n);

    // What is looked up from here on belongs to a tower or decoder that begins here, and to its layer i. Before the
    // first tower it stays on the processor.
    void tower() { towers.emplace_back(1); }
    void layer(size_t i) { towers.back().resize(i + 1); }

    // Puts what was looked up where it is to lie. params is the caller's.
    void place(const bge_placement &params) { bge::place(model, towers, params.device_layers); }

    bool has(const std::string &name) const { return by_name.count(name) != 0; }

    // A weight of the shape given (the contiguous dimension first), used where it stands.
    ggml_tensor *matrix(const std::string &name, std::initializer_list<int64_t> shape);

    // A small weight, expanded to f32.
    ggml_tensor *table(const std::string &name, std::initializer_list<int64_t> shape);

    // A layer norm's weight and bias of n values each.
    norm_weight norm(const std::string &name, int64_t n);

    linear_weight linear(const std::string &name, int64_t n_in, int64_t n_out, bool bias);

    // A convolution over patches, which is a linear layer over the pixels of a patch.
    linear_weight patches(const std::string &name, int64_t patch, int64_t n_out);

  private:
    bge_model &model;
    std::unordered_map<std::string, const bge_tensor *> by_name;
    std::vector<tower_tensors> towers;

    const bge_tensor &find(const std::string &name, std::initializer_list<int64_t> shape);
    ggml_tensor *header(const std::string &name, ggml_type type, std::initializer_list<int64_t> shape, void *data);
};

} // namespace bge
