//go:build !bgevl_static

#include "loader.hpp"

#include <algorithm>
#include <cinttypes>

namespace bge {
namespace {

std::string shape_text(const int64_t *ne, size_t n) {
    std::string s;
    for (size_t i = n; i-- > 0;) {
        s += std::to_string(ne[i]);
        s += i > 0 ? "x" : "";
    }
    return s;
}

void check_type(const bge_tensor &t) {
    const bool known = t.type >= 0 && t.type < GGML_TYPE_COUNT && ggml_blck_size(ggml_type(t.type)) > 0 &&
                       (t.type == GGML_TYPE_F32 || ggml_get_type_traits(ggml_type(t.type))->to_float != nullptr);
    if (!known) {
        fail(BGE_ERR_ARGUMENT, "tensor %s: type %d holds no weights that can be computed with", t.name, t.type);
    }
    if (t.ne[0] % ggml_blck_size(ggml_type(t.type)) != 0) {
        fail(BGE_ERR_ARGUMENT, "tensor %s: rows of %" PRId64 " are no multiple of the block of type %s", t.name,
             t.ne[0], ggml_type_name(ggml_type(t.type)));
    }
}

} // namespace

loader::loader(bge_model &model, const bge_tensor *tensors, int64_t n) : model(model) {
    for (int64_t i = 0; i < n; i++) {
        if (tensors[i].name == nullptr || tensors[i].data == nullptr) {
            fail(BGE_ERR_ARGUMENT, "tensor %" PRId64 " has no name or no data", i);
        }
        by_name[tensors[i].name] = &tensors[i];
    }
    // Twice: a table expanded to f32 has a header of its own, and the class embedding joins one.
    const ggml_init_params params{ggml_tensor_overhead() * (2 * size_t(n) + 8), nullptr, true};
    model.tensors = ggml_init(params);
    if (model.tensors == nullptr) {
        throw std::bad_alloc();
    }
}

ggml_tensor *loader::matrix(const std::string &name, std::initializer_list<int64_t> shape) {
    const bge_tensor &t = find(name, shape);
    return header(name, ggml_type(t.type), shape, const_cast<void *>(t.data));
}

ggml_tensor *loader::table(const std::string &name, std::initializer_list<int64_t> shape) {
    const bge_tensor &t = find(name, shape);
    int64_t n = 1;
    for (const int64_t d : shape) {
        n *= d;
    }
    std::vector<float> &values = model.tables.emplace_back(size_t(n));
    if (t.type == GGML_TYPE_F32) {
        std::memcpy(values.data(), t.data, values.size() * sizeof(float));
    } else {
        ggml_get_type_traits(ggml_type(t.type))->to_float(t.data, values.data(), n);
    }
    return header(name, GGML_TYPE_F32, shape, values.data());
}

norm_weight loader::norm(const std::string &name, int64_t n) {
    return {table(name + ".weight", {n}), table(name + ".bias", {n})};
}

linear_weight loader::linear(const std::string &name, int64_t n_in, int64_t n_out, bool bias) {
    linear_weight l;
    l.w = matrix(name + ".weight", {n_in, n_out});
    l.bias = bias ? table(name + ".bias", {n_out}) : nullptr;
    return l;
}

linear_weight loader::patches(const std::string &name, int64_t patch, int64_t n_out) {
    const bge_tensor &t = find(name + ".weight", {patch, patch, 3, n_out});
    const int64_t n_in = patch * patch * 3;
    if (ggml_blck_size(ggml_type(t.type)) > 1) {
        fail(BGE_ERR_ARGUMENT, "tensor %s.weight: its type is quantised; convert it as f16 or f32", name.c_str());
    }
    linear_weight l;
    l.w = header(name + ".weight", ggml_type(t.type), {n_in, n_out}, const_cast<void *>(t.data));
    return l;
}

const bge_tensor &loader::find(const std::string &name, std::initializer_list<int64_t> shape) {
    const auto at = by_name.find(name);
    if (at == by_name.end()) {
        fail(BGE_ERR_ARGUMENT, "tensor %s is missing", name.c_str());
    }
    const bge_tensor &t = *at->second;
    check_type(t);
    int64_t want[GGML_MAX_DIMS] = {1, 1, 1, 1};
    std::copy(shape.begin(), shape.end(), want);
    if (!std::equal(want, want + GGML_MAX_DIMS, t.ne)) {
        fail(BGE_ERR_ARGUMENT, "tensor %s: want %s, got %s", name.c_str(), shape_text(want, shape.size()).c_str(),
             shape_text(t.ne, GGML_MAX_DIMS).c_str());
    }
    const uint64_t size = ggml_row_size(ggml_type(t.type), t.ne[0]) * uint64_t(t.ne[1] * t.ne[2] * t.ne[3]);
    if (t.size != size) {
        fail(BGE_ERR_ARGUMENT, "tensor %s: want %" PRIu64 " bytes, got %" PRIu64, name.c_str(), size, t.size);
    }
    return t;
}

ggml_tensor *loader::header(const std::string &name, ggml_type type, std::initializer_list<int64_t> shape, void *data) {
    ggml_tensor *t = ggml_new_tensor(model.tensors, type, int(shape.size()), shape.begin());
    t->data = data;
    ggml_set_name(t, name.c_str());
    if (!towers.empty()) {
        towers.back().back().push_back(t);
    }
    return t;
}

} // namespace bge
