// The graphs of CLIP's two towers, and the calls that run them.
#include "context.hpp"

#include <cinttypes>

namespace bge {
namespace {

// Operations that a graph may hold beside its layers, and in each layer: generous counts, checked by no one but
// ggml, which stops the process when they are too low. Every path of build() stays well under them.
constexpr size_t nodes_beside = 64, nodes_per_layer = 64;

size_t max_nodes(const encoder &e) {
    return nodes_beside + nodes_per_layer * e.layers.size();
}

// The rows of a batch whose final state is wanted, one for each sequence.
struct pooled {
    sequences all;   // every token asks: all layers but the last
    sequences asked; // the pooled tokens alone ask: the last layer
    std::vector<int32_t> rows;
};

pooled pool_rows(const int32_t *lengths, int64_t uniform, const int32_t *pool, int64_t n, bool causal) {
    pooled b;
    b.all.causal = b.asked.causal = causal;
    for (int64_t i = 0; i < n; i++) {
        const int32_t start = b.all.kv_start.back();
        const int32_t end = start + (lengths != nullptr ? lengths[i] : int32_t(uniform));
        const int32_t pos = pool != nullptr ? pool[i] : 0;
        b.all.q_start.push_back(end);
        b.all.kv_start.push_back(end);
        b.asked.q_start.push_back(int32_t(i) + 1);
        b.asked.kv_start.push_back(end);
        b.asked.q_pos.push_back(pos);
        b.rows.push_back(start + pos);
    }
    return b;
}

// x: [n_embd, n_tokens] -> [n_proj, n_sequences]
ggml_tensor *encode(graph &g, const encoder &e, ggml_tensor *x, const pooled &b) {
    const int32_t act = e.p.gelu != 0 ? BGE_ACT_GELU : BGE_ACT_QUICK_GELU;
    ggml_tensor *rows = g.input_ids(b.rows);
    for (const encoder_layer &l : e.layers) {
        const bool last = &l == &e.layers.back();
        ggml_tensor *h = g.layer_norm(l.ln1, x, e.p.eps);
        ggml_tensor *qkv[3];
        if (last) { // only the pooled tokens are read after the last layer; the others serve as keys and values
            qkv[0] = g.linear(l.q, ggml_get_rows(g.ctx, h, rows), BGE_ACT_NONE, nullptr);
            g.linears({&l.k, &l.v}, h, qkv + 1);
            x = ggml_get_rows(g.ctx, x, rows); // [n_embd, n_sequences]
        } else {
            g.linears({&l.q, &l.k, &l.v}, h, qkv);
        }
        h = g.attention(qkv[0], qkv[1], qkv[2], e.p.n_head, last ? b.asked : b.all);
        x = g.linear(l.out, h, BGE_ACT_NONE, x);
        h = g.layer_norm(l.ln2, x, e.p.eps);
        h = g.linear(l.up, h, act, nullptr); // [n_ff, n]
        x = g.linear(l.down, h, BGE_ACT_NONE, x);
    }
    x = g.layer_norm(e.post, x, e.p.eps);
    return g.linear(e.projection, x, BGE_ACT_NONE, nullptr);
}

void check_destination(const bge_context *context, int64_t n_rows, const float *dst, int64_t dst_len) {
    if (context == nullptr || dst == nullptr) {
        fail(BGE_ERR_ARGUMENT, "a context and a buffer for the features are needed");
    }
    const int64_t n_proj = context->model->clip.n_proj;
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
    bge_model &model = *context.model;
    const clip_model &c = model.clip;
    make_ready(model, model.clip.vision, context.n_threads);
    const int64_t n_tokens = 1 + c.n_patch();
    const pooled b = pool_rows(nullptr, n_tokens, nullptr, n_images, false);
    context.run(
        max_nodes(c.vision),
        [&](graph &g) {
            ggml_tensor *patches = // [3 * patch * patch, n_tokens * n_images], the class token's row zero
                g.input(GGML_TYPE_F32, c.vision.patch.n_in(), n_tokens * n_images, [&](ggml_tensor *to) {
                    const bge_patches_args a{
                        pixels, static_cast<float *>(to->data), to->ne[0], n_images, c.image_size, c.patch_size, 1};
                    bge_patches(&a, 0, 1);
                });
            ggml_tensor *x = g.linear(c.vision.patch, patches, BGE_ACT_NONE, nullptr);
            x = ggml_reshape_3d(g.ctx, x, x->ne[0], n_tokens, n_images);
            x = ggml_add(g.ctx, x, c.vision_pos); // [n_embd, n_tokens, n_images]
            x = ggml_reshape_2d(g.ctx, x, x->ne[0], n_tokens * n_images);
            x = g.layer_norm(c.pre, x, c.vision.p.eps);
            return encode(g, c.vision, x, b);
        },
        dst, dst_len);
}

void encode_text(bge_context &context, const int32_t *ids, int64_t n_ids, const int32_t *lengths, const int32_t *pool,
                 int64_t n_rows, float *dst, int64_t dst_len) {
    bge_model &model = *context.model;
    const clip_model &c = model.clip;
    make_ready(model, model.clip.text, context.n_threads);
    const pooled b = pool_rows(lengths, 0, pool, n_rows, true);
    context.run(
        max_nodes(c.text),
        [&](graph &g) {
            ggml_tensor *tokens = g.input_ids({ids, ids + n_ids});
            ggml_tensor *at = g.input_ids(positions(lengths, n_rows));
            ggml_tensor *x = ggml_get_rows(g.ctx, c.token_embd, tokens); // [n_embd, n_ids]
            x = ggml_add(g.ctx, x, ggml_get_rows(g.ctx, c.text_pos, at));
            return encode(g, c.text, x, b);
        },
        dst, dst_len);
}

} // namespace
} // namespace bge

int32_t bge_clip_encode_text(bge_context *context, const int32_t *ids, int64_t n_ids, const int32_t *lengths,
                             const int32_t *pool, int64_t n_rows, float *dst, int64_t dst_len,
                             bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_destination(context, n_rows, dst, dst_len);
        bge::check_text(context->model->clip, ids, n_ids, lengths, pool, n_rows);
        bge::encode_text(*context, ids, n_ids, lengths, pool, n_rows, dst, dst_len);
    });
}

int32_t bge_clip_encode_image(bge_context *context, const float *pixels, int64_t n_pixels, int64_t n_images, float *dst,
                              int64_t dst_len, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_destination(context, n_images, dst, dst_len);
        const bge::clip_model &c = context->model->clip;
        const int64_t image = 3 * c.image_size * c.image_size;
        if (pixels == nullptr || n_pixels != n_images * image || n_images * (1 + c.n_patch()) > INT32_MAX) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId64 " images need %" PRId64 " floats each, not %" PRId64 " in all",
                      n_images, image, n_pixels);
        }
        bge::encode_image(*context, pixels, n_images, dst, dst_len);
    });
}
