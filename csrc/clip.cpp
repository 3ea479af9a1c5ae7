//go:build !bgevl_static

// CLIP's two towers: loading them, their graphs, and the calls that run them.
#include "clip.hpp"
#include "context.hpp"

#include <algorithm>
#include <cinttypes>

namespace bge {
namespace {

void load_tower(loader &load, clip_tower &t, const bge_tower &p, const std::string &prefix,
                const std::string &projection, int64_t n_proj) {
    t.layers.load(load, p, prefix);
    t.post = load.norm(prefix + ".post_ln", p.n_embd);
    t.projection = load.linear(projection, p.n_embd, n_proj, false);
}

void check_clip(const bge_clip_params &p) {
    check_tower(p.text, "text");
    check_tower(p.vision, "vision");
    check_patches(p.image_size, p.patch_size);
    if (p.n_vocab <= 0 || p.n_ctx <= 0 || p.n_proj <= 0) {
        fail(BGE_ERR_ARGUMENT, "vocabulary of %d, %d positions and projection to %d: each must be at least 1",
             p.n_vocab, p.n_ctx, p.n_proj);
    }
}

std::unique_ptr<clip_model> load_clip(const bge_clip_params &p, loader &load) {
    auto c = std::make_unique<clip_model>();
    c->n_proj = p.n_proj;
    c->token_embd = load.matrix("t.token_embd.weight", {p.text.n_embd, p.n_vocab});
    load.tower();
    c->text_pos = load.table("t.position_embd.weight", {p.text.n_embd, p.n_ctx});
    load_tower(load, c->text, p.text, "t", "text_projection", p.n_proj);
    load.tower();
    c->patches.load(load, p.vision.n_embd, p.image_size, p.patch_size);
    load_tower(load, c->vision, p.vision, "v", "visual_projection", p.n_proj);
    return c;
}

void make_tower_ready(bge_context &context, clip_tower &t, linear_weight *patch) {
    std::vector<linear_weight *> all;
    t.layers.append_weights(all);
    all.push_back(&t.projection);
    if (patch != nullptr) {
        all.push_back(patch);
    }
    make_ready(*context.model, t.layers.part, all, context.n_threads);
}

// The rows of a batch whose final state is wanted, one for each sequence.
struct pooled {
    sequences all;   // every token asks: all layers but the last
    sequences asked; // the pooled tokens alone ask: the last layer
    std::vector<int32_t> rows;
};

// Text: the position asked for, of causal sequences.
pooled pool_texts(const int32_t *lengths, const int32_t *pool, int64_t n) {
    pooled b;
    b.all.causal = b.asked.causal = true;
    for (int64_t i = 0; i < n; i++) {
        const int32_t start = b.all.kv_start.back();
        b.all.q_start.push_back(start + lengths[i]);
        b.all.kv_start.push_back(start + lengths[i]);
        b.asked.q_start.push_back(int32_t(i) + 1);
        b.asked.q_pos.push_back(pool[i]);
        b.rows.push_back(start + pool[i]);
    }
    b.asked.kv_start = b.all.kv_start;
    return b;
}

// Images: the class token, which comes first.
pooled pool_images(int64_t n, int64_t n_tokens) {
    pooled b;
    b.all = uniform_sequences(n, n_tokens);
    b.asked = uniform_sequences(n, 1);
    b.asked.kv_start = b.all.kv_start;
    for (int64_t i = 0; i < n; i++) {
        b.rows.push_back(int32_t(i * n_tokens));
    }
    return b;
}

// x: [n_embd, n_tokens] -> [n_proj, n_sequences]
ggml_tensor *encode(graph &g, const clip_tower &t, ggml_tensor *x, const pooled &b) {
    const encoder &e = t.layers;
    for (size_t i = 0; i + 1 < e.layers.size(); i++) {
        x = e.layer(g, e.layers[i], x, b.all);
    }
    x = e.layer_rows(g, e.layers.back(), x, b.rows, b.asked); // [n_embd, n_sequences]
    x = g.layer_norm(t.post, x, e.p.eps);
    return g.linear(t.projection, x, BGE_ACT_NONE, nullptr);
}

void check_destination(const bge_context *context, int64_t n_rows, const float *dst, int64_t dst_len) {
    if (context == nullptr || dst == nullptr || context->model->clip == nullptr) {
        fail(BGE_ERR_ARGUMENT, "a context of a CLIP model and a buffer for the features are needed");
    }
    const int64_t n_proj = context->model->clip->n_proj;
    if (n_rows <= 0 || n_rows > INT32_MAX || dst_len != n_rows * n_proj) {
        fail(BGE_ERR_ARGUMENT, "%" PRId64 " rows of %" PRId64 " features need as many floats, not %" PRId64, n_rows,
             n_proj, dst_len);
    }
}

void check_text(const clip_model &c, const int32_t *ids, int64_t n_ids, const int32_t *lengths, const int32_t *pool,
                int64_t n_rows) {
    if (ids == nullptr || lengths == nullptr || pool == nullptr || n_ids > INT32_MAX) {
        fail(BGE_ERR_ARGUMENT, "token ids, lengths and pooled positions are needed, fewer than 2^31 tokens in all");
    }
    int64_t total = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        if (lengths[i] < 1 || lengths[i] > c.text_pos->ne[1] || pool[i] < 0 || pool[i] >= lengths[i]) {
            fail(BGE_ERR_ARGUMENT,
                 "row %" PRId64 ": %d tokens, position %d: want 1 to %" PRId64 " tokens and a position inside", i,
                 lengths[i], pool[i], c.text_pos->ne[1]);
        }
        total += lengths[i];
    }
    if (total != n_ids) {
        fail(BGE_ERR_ARGUMENT, "the lengths add up to %" PRId64 " tokens, but %" PRId64 " are given", total, n_ids);
    }
    for (int64_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= c.token_embd->ne[1]) {
            fail(BGE_ERR_ARGUMENT, "token id %d is outside the vocabulary of %" PRId64, ids[i], c.token_embd->ne[1]);
        }
    }
}

std::vector<int32_t> positions(const int32_t *lengths, int64_t n_rows) {
    std::vector<int32_t> all;
    for (int64_t i = 0; i < n_rows; i++) {
        for (int32_t at = 0; at < lengths[i]; at++) {
            all.push_back(at);
        }
    }
    return all;
}

void encode_image(bge_context &context, const float *pixels, int64_t n_images, float *dst, int64_t dst_len) {
    clip_model &c = *context.model->clip;
    make_tower_ready(context, c.vision, &c.patches.patch);
    const pooled b = pool_images(n_images, c.patches.n_tokens());
    const auto build = [&](graph &g) {
        return encode(g, c.vision, c.patches.build(g, pixels, n_images, c.vision.layers.p.eps), b);
    };
    context.run(build, dst, dst_len);
}

void encode_text(bge_context &context, const int32_t *ids, int64_t n_ids, const int32_t *lengths, const int32_t *pool,
                 int64_t n_rows, float *dst, int64_t dst_len) {
    clip_model &c = *context.model->clip;
    make_tower_ready(context, c.text, nullptr);
    const pooled b = pool_texts(lengths, pool, n_rows);
    const auto build = [&](graph &g) {
        g.compute_where(c.text.layers.layers.front().q.w);
        ggml_tensor *x = g.embeddings(c.token_embd, {ids, ids + n_ids}, nullptr); // [n_embd, n_ids]
        x = g.add(x, g.rows(c.text_pos, positions(lengths, n_rows)));
        return encode(g, c.text, x, b);
    };
    context.run(build, dst, dst_len);
}

} // namespace
} // namespace bge

int32_t bge_clip_new(const bge_clip_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                     bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_call("bge_clip_new", params, {tensors, out});
        bge::check_clip(*params);
        auto model = std::make_unique<bge_model>(params->placement);
        bge::loader load(*model, tensors, n_tensors);
        model->clip = bge::load_clip(*params, load);
        model->max_nodes = std::max(model->clip->text.layers.max_nodes(), model->clip->vision.layers.max_nodes());
        load.place(params->placement);
        *out = model.release();
    });
}

int32_t bge_clip_encode_text(bge_context *context, const int32_t *ids, int64_t n_ids, const int32_t *lengths,
                             const int32_t *pool, int64_t n_rows, float *dst, int64_t dst_len,
                             bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_destination(context, n_rows, dst, dst_len);
        bge::check_text(*context->model->clip, ids, n_ids, lengths, pool, n_rows);
        bge::encode_text(*context, ids, n_ids, lengths, pool, n_rows, dst, dst_len);
    });
}

int32_t bge_clip_encode_image(bge_context *context, const float *pixels, int64_t n_pixels, int64_t n_images, float *dst,
                              int64_t dst_len, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_destination(context, n_images, dst, dst_len);
        const bge::patch_embedding &p = context->model->clip->patches;
        const int64_t image = p.n_pixels();
        if (pixels == nullptr || n_pixels != n_images * image || n_images * p.n_tokens() > INT32_MAX) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId64 " images need %" PRId64 " floats each, not %" PRId64 " in all",
                      n_images, image, n_pixels);
        }
        bge::encode_image(*context, pixels, n_images, dst, dst_len);
    });
}
