//go:build !bgevl_static

#include "encoder.hpp"

namespace bge {

void check_tower(const bge_tower &t, const char *name) {
    constexpr int32_t most = 1 << 20; // no transformer's width or depth comes near, and products stay far from int64's
    const auto in_range = [](int32_t v) { return v > 0 && v <= most; };
    if (!in_range(t.n_layer) || !in_range(t.n_embd) || !in_range(t.n_ff) || !in_range(t.n_head) ||
        t.n_embd % t.n_head != 0) {
        fail(BGE_ERR_ARGUMENT, "%s tower: %d layers of width %d, %d heads, feed-forward %d make no transformer", name,
             t.n_layer, t.n_embd, t.n_head, t.n_ff);
    }
    if (!(t.eps > 0 && t.eps < 1)) {
        fail(BGE_ERR_ARGUMENT, "%s tower: layer norm epsilon %g is not between 0 and 1", name, double(t.eps));
    }
}

void check_patches(int32_t image_size, int32_t patch_size) {
    constexpr int32_t largest = 16384; // pixels a side, as for decoded pictures
    if (patch_size <= 0 || image_size <= 0 || image_size > largest || image_size % patch_size != 0) {
        fail(BGE_ERR_ARGUMENT, "images of %d pixels a side are no whole number of patches of %d", image_size,
             patch_size);
    }
}

sequences uniform_sequences(int64_t n, int64_t n_tokens) {
    sequences s;
    for (int64_t i = 1; i <= n; i++) {
        s.q_start.push_back(int32_t(i * n_tokens));
        s.kv_start.push_back(int32_t(i * n_tokens));
    }
    return s;
}

void encoder::load(loader &load, const bge_tower &params, const std::string &prefix) {
    p = params;
    layers.resize(size_t(p.n_layer));
    for (size_t i = 0; i < layers.size(); i++) {
        load.layer(i);
        const std::string at = prefix + ".blk." + std::to_string(i) + ".";
        encoder_layer &l = layers[i];
        l.ln1 = load.norm(at + "ln1", p.n_embd);
        l.ln2 = load.norm(at + "ln2", p.n_embd);
        l.q = load.linear(at + "attn_q", p.n_embd, p.n_embd, true);
        l.k = load.linear(at + "attn_k", p.n_embd, p.n_embd, true);
        l.v = load.linear(at + "attn_v", p.n_embd, p.n_embd, true);
        l.out = load.linear(at + "attn_out", p.n_embd, p.n_embd, true);
        l.up = load.linear(at + "ffn_up", p.n_embd, p.n_ff, true);
        l.down = load.linear(at + "ffn_down", p.n_ff, p.n_embd, true);
    }
}

void encoder::append_weights(std::vector<linear_weight *> &all) {
    for (encoder_layer &l : layers) {
        all.insert(all.end(), {&l.q, &l.k, &l.v, &l.out, &l.up, &l.down});
    }
}

ggml_tensor *encoder::feed_forward(graph &g, const encoder_layer &l, ggml_tensor *x) const {
    return g.by_rows(x, p.n_ff, [this, &g, &l](ggml_tensor *x) {
        ggml_tensor *h = g.layer_norm(l.ln2, x, p.eps);
        h = g.linear(l.up, h, p.gelu != 0 ? BGE_ACT_GELU : BGE_ACT_QUICK_GELU, nullptr); // [n_ff, n]
        return g.linear(l.down, h, BGE_ACT_NONE, x);
    });
}

ggml_tensor *encoder::layer(graph &g, const encoder_layer &l, ggml_tensor *x, const sequences &s) const {
    g.compute_where(l.q.w);
    ggml_tensor *qkv[3];
    g.linears({&l.q, &l.k, &l.v}, g.layer_norm(l.ln1, x, p.eps), qkv);
    ggml_tensor *h = g.attention(qkv[0], qkv[1], qkv[2], p.n_head, p.n_head, s);
    x = g.linear(l.out, h, BGE_ACT_NONE, x);
    return feed_forward(g, l, x);
}

ggml_tensor *encoder::layer_rows(graph &g, const encoder_layer &l, ggml_tensor *x, const std::vector<int32_t> &rows,
                                 const sequences &s) const {
    g.compute_where(l.q.w);
    ggml_tensor *h = g.layer_norm(l.ln1, x, p.eps);
    ggml_tensor *q = g.linear(l.q, g.rows(h, rows), BGE_ACT_NONE, nullptr);
    ggml_tensor *kv[2];
    g.linears({&l.k, &l.v}, h, kv);
    h = g.attention(q, kv[0], kv[1], p.n_head, p.n_head, s);
    x = g.linear(l.out, h, BGE_ACT_NONE, g.rows(x, rows));
    return feed_forward(g, l, x);
}

void patch_embedding::load(loader &load, int64_t n_embd, int64_t image, int64_t side) {
    image_size = image;
    patch_size = side;
    patch = load.patches("v.patch_embd", side, n_embd);
    norm = load.norm("v.pre_ln", n_embd);
    positions = load.table("v.position_embd.weight", {n_embd, n_tokens()});
    // The class token's patch is all zeros, so its embedding can sit in the table that is added to every patch.
    const ggml_tensor *cls = load.table("v.class_embd", {n_embd});
    for (int64_t i = 0; i < n_embd; i++) {
        static_cast<float *>(positions->data)[i] += static_cast<const float *>(cls->data)[i];
    }
}

ggml_tensor *patch_embedding::build(graph &g, const float *pixels, int64_t n_images, float eps) const {
    g.compute_where(patch.w);
    ggml_tensor *patches = // [3 * patch * patch, n_tokens * n_images], the class token's row zero
        g.input(GGML_TYPE_F32, patch.n_in(), n_tokens() * n_images, [this, pixels, n_images](ggml_tensor *to) {
            float *rows = static_cast<float *>(to->data);
            const bge_patches_args a{pixels, rows, to->ne[0], n_images, image_size, patch_size, 1};
            bge_patches(&a, 0, 1);
        });
    ggml_tensor *x = g.linear(patch, patches, BGE_ACT_NONE, nullptr);
    return g.layer_norm(norm, g.add(x, positions), eps);
}

} // namespace bge
