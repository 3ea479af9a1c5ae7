//go:build !bgevl_static

#include "llava.hpp"
#include "context.hpp"

#include <cinttypes>

namespace bge {
namespace {

std::unique_ptr<llava_model> load_llava(const bge_llava_params &p, loader &load) {
    check_tower(p.vision, "vision");
    check_patches(p.image_size, p.patch_size);
    if (p.n_out <= 0) {
        fail(BGE_ERR_ARGUMENT, "a language model of width %d: want at least 1", p.n_out);
    }
    auto m = std::make_unique<llava_model>();
    m->n_out = p.n_out;
    load.tower();
    m->patches.load(load, p.vision.n_embd, p.image_size, p.patch_size);
    m->vision.load(load, p.vision, "v");
    m->projector[0] = load.linear("mm.0", p.vision.n_embd, p.n_out, true);
    m->projector[1] = load.linear("mm.2", p.n_out, p.n_out, true);
    return m;
}

// The rows of all tokens but each tile's class token.
std::vector<int32_t> patch_rows(int64_t n_tiles, int64_t n_tokens) {
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n_tiles * n_tokens; i++) {
        if (i % n_tokens != 0) {
            rows.push_back(int32_t(i));
        }
    }
    return rows;
}

void encode_tiles(bge_context &context, const float *pixels, int64_t n_tiles, float *dst, int64_t dst_len) {
    llava_model &m = *context.model->llava;
    std::vector<linear_weight *> weights;
    m.vision.append_weights(weights);
    weights.insert(weights.end(), {&m.patches.patch, &m.projector[0], &m.projector[1]});
    make_ready(*context.model, m.vision.part, weights, context.n_threads);
    const sequences tiles = uniform_sequences(n_tiles, m.patches.n_tokens());
    const auto build = [&](graph &g) {
        ggml_tensor *x = m.patches.build(g, pixels, n_tiles, m.vision.p.eps); // [n_embd, n_tokens * n_tiles]
        for (const encoder_layer &l : m.vision.layers) {
            x = m.vision.layer(g, l, x, tiles);
        }
        x = g.rows(x, patch_rows(n_tiles, m.patches.n_tokens())); // [n_embd, n_patch * n_tiles]
        x = g.linear(m.projector[0], x, BGE_ACT_GELU, nullptr);
        return g.linear(m.projector[1], x, BGE_ACT_NONE, nullptr); // [n_out, n_patch * n_tiles]
    };
    context.run(build, dst, dst_len);
}

} // namespace
} // namespace bge

int32_t bge_llava_new(const bge_llava_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                      bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_call("bge_llava_new", params, {tensors, out});
        auto model = std::make_unique<bge_model>(params->placement);
        bge::loader load(*model, tensors, n_tensors);
        model->llava = bge::load_llava(*params, load);
        model->max_nodes = model->llava->vision.max_nodes();
        load.place(params->placement);
        *out = model.release();
    });
}

int32_t bge_llava_encode(bge_context *context, const float *pixels, int64_t n_pixels, int64_t n_tiles, float *dst,
                         int64_t dst_len, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        if (context == nullptr || context->model->llava == nullptr || pixels == nullptr || dst == nullptr) {
            bge::fail(BGE_ERR_ARGUMENT, "a context of a LLaVA vision model, pixels and a buffer are needed");
        }
        const bge::llava_model &m = *context->model->llava;
        if (n_tiles <= 0 || n_tiles * m.patches.n_tokens() > INT32_MAX || n_pixels != n_tiles * m.patches.n_pixels() ||
            dst_len != n_tiles * m.patches.n_patch() * m.n_out) {
            bge::fail(BGE_ERR_ARGUMENT,
                      "%" PRId64 " tiles of %" PRId64 " pixel values and %" PRId64 " features each: got %" PRId64
                      " and room for %" PRId64,
                      n_tiles, m.patches.n_pixels(), m.patches.n_patch() * m.n_out, n_pixels, dst_len);
        }
        bge::encode_tiles(*context, pixels, n_tiles, dst, dst_len);
    });
}
