//go:build !bgevl_static

// The decoder: loading it, its graph, and the calls that run it.
#include "llama.hpp"
#include "context.hpp"
#include "llama_batch.hpp"

#include <cinttypes>
#include <set>

namespace bge {
namespace {

void check_llama(const bge_llama_params &p) {
    constexpr int32_t most = 1 << 24; // of any width: products of two stay far from int64's end
    const auto in_range = [](int32_t v) { return v > 0 && v <= most; };
    if (!in_range(p.n_layer) || !in_range(p.n_embd) || !in_range(p.n_ff) || !in_range(p.n_head) ||
        !in_range(p.n_head_kv) || !in_range(p.d_head) || !in_range(p.n_vocab) || p.n_head % p.n_head_kv != 0 ||
        p.d_head % 2 != 0 || int64_t(p.n_head) * p.d_head > most) {
        fail(BGE_ERR_ARGUMENT,
             "%d layers of width %d, %d heads of %d over %d for keys, feed-forward %d, vocabulary %d make no decoder",
             p.n_layer, p.n_embd, p.n_head, p.d_head, p.n_head_kv, p.n_ff, p.n_vocab);
    }
    if (!(p.eps > 0 && p.eps < 1) || !(p.rope_theta >= 1 && p.rope_theta < 1e12f)) {
        fail(BGE_ERR_ARGUMENT, "RMS norm epsilon %g or rotary base %g is out of range", double(p.eps),
             double(p.rope_theta));
    }
}

std::unique_ptr<llama_model> load_llama(const bge_llama_params &p, loader &load) {
    check_llama(p);
    auto m = std::make_unique<llama_model>();
    m->p = p;
    const int32_t n_q = p.n_head * p.d_head, n_kv = m->n_embd_kv();
    const auto rms = [&](const std::string &name) {
        return norm_weight{load.table(name + ".weight", {p.n_embd}), nullptr};
    };
    m->token_embd = load.matrix("token_embd.weight", {p.n_embd, p.n_vocab});
    m->layers.resize(size_t(p.n_layer));
    load.tower();
    for (size_t i = 0; i < m->layers.size(); i++) {
        load.layer(i);
        const std::string at = "blk." + std::to_string(i) + ".";
        decoder_layer &l = m->layers[i];
        l.attn_norm = rms(at + "attn_norm");
        l.ffn_norm = rms(at + "ffn_norm");
        l.q = load.linear(at + "attn_q", p.n_embd, n_q, false);
        l.k = load.linear(at + "attn_k", p.n_embd, n_kv, false);
        l.v = load.linear(at + "attn_v", p.n_embd, n_kv, false);
        l.out = load.linear(at + "attn_output", n_q, p.n_embd, false);
        l.gate = load.linear(at + "ffn_gate", p.n_embd, p.n_ff, false);
        l.up = load.linear(at + "ffn_up", p.n_embd, p.n_ff, false);
        l.down = load.linear(at + "ffn_down", p.n_ff, p.n_embd, false);
    }
    m->output_norm = rms("output_norm");
    if (load.has("output.weight")) {
        m->output = load.linear("output", p.n_embd, p.n_vocab, false);
    } else {
        m->output.w = m->token_embd;
    }
    return m;
}

void make_layers_ready(bge_context &context, llama_model &m) {
    std::vector<linear_weight *> all;
    for (decoder_layer &l : m.layers) {
        all.insert(all.end(), {&l.q, &l.k, &l.v, &l.out, &l.gate, &l.up, &l.down});
    }
    make_ready(*context.model, m.part, all, context.n_threads);
}

// The tokens' embeddings, with the caller's own where it gave some. [n_embd, n_tokens]
ggml_tensor *embed(graph &g, const llama_model &m, const bge_llama_batch &in, const decoder_batch &b) {
    // The caller's belong to ids in order, some of which the batch may leave out as shared: never these.
    std::vector<int32_t> ids;
    for (const int32_t i : b.tokens) {
        ids.push_back(in.ids[i]);
    }
    return g.embeddings(m.token_embd, std::move(ids), in.embeddings);
}

// x: [n_embd, n_tokens] -> the wanted tokens' states after the final norm [n_embd, n_wanted]
ggml_tensor *decode(graph &g, const llama_model &m, ggml_tensor *x, const decoder_batch &b, key_value_cache *cache) {
    for (size_t i = 0; i < m.layers.size(); i++) {
        const decoder_layer &l = m.layers[i];
        g.compute_where(l.q.w);
        const bool last = i + 1 == m.layers.size(); // after which only the wanted tokens are read
        ggml_tensor *h = g.rms_norm(l.attn_norm, x, m.p.eps);
        ggml_tensor *qkv[3];
        if (last) {
            qkv[0] = g.linear(l.q, g.rows(h, b.wanted), BGE_ACT_NONE, nullptr);
            g.linears({&l.k, &l.v}, h, qkv + 1);
            x = g.rows(x, b.wanted);
        } else {
            g.linears({&l.q, &l.k, &l.v}, h, qkv);
        }
        ggml_tensor *q = g.rope(qkv[0], last ? b.wanted_positions : b.positions);
        ggml_tensor *k = g.rope(qkv[1], b.positions); // [n_embd_kv, n_tokens]
        ggml_tensor *v = qkv[2];
        if (cache != nullptr) {
            k = g.append(cache->k[i], k, cache->n_past);
            v = g.append(cache->v[i], v, cache->n_past);
        } else if (!b.kv_rows.empty()) {
            k = g.rows(k, b.kv_rows);
            v = g.rows(v, b.kv_rows);
        }
        h = g.attention(q, k, v, m.p.n_head, m.p.n_head_kv, last ? b.asked : b.all);
        x = g.linear(l.out, h, BGE_ACT_NONE, x);
        x = g.by_rows(x, m.p.n_ff, [&g, &m, &l](ggml_tensor *x) {
            ggml_tensor *h = g.gated(l.gate, l.up, g.rms_norm(l.ffn_norm, x, m.p.eps)); // [n_ff, n]
            return g.linear(l.down, h, BGE_ACT_NONE, x);
        });
    }
    return g.rms_norm(m.output_norm, x, m.p.eps);
}

llama_model &model_of(bge_context *context) {
    if (context == nullptr || context->model->llama == nullptr) {
        fail(BGE_ERR_ARGUMENT, "a context of a Llama model is needed");
    }
    return *context->model->llama;
}

void check_room(const bge_llama_batch &batch, const float *dst, int64_t dst_len, int64_t width) {
    if (dst == nullptr || dst_len != batch.n_wanted * width) {
        fail(BGE_ERR_ARGUMENT, "%" PRId64 " wanted tokens of %" PRId64 " values each need as many floats, not %" PRId64,
             batch.n_wanted, width, dst_len);
    }
}

void open_cache(bge_context &context, const llama_model &m, int64_t n_positions) {
    std::vector<ggml_backend_buffer_type *> memory; // of each layer
    for (const decoder_layer &l : m.layers) {
        ggml_backend_device *device = device_of(l.q.w);
        memory.push_back(device != nullptr ? ggml_backend_dev_buffer_type(device) : ggml_backend_cpu_buffer_type());
    }
    key_value_cache c;
    c.k.resize(m.layers.size());
    c.v.resize(m.layers.size());
    for (ggml_backend_buffer_type *kind : std::set<ggml_backend_buffer_type *>(memory.begin(), memory.end())) {
        c.headers.emplace_back(ggml_init({2 * m.layers.size() * ggml_tensor_overhead(), nullptr, true}), ggml_free);
        ggml_context *ctx = c.headers.back().get();
        if (ctx == nullptr) {
            throw std::bad_alloc();
        }
        for (size_t i = 0; i < memory.size(); i++) {
            if (memory[i] == kind) {
                c.k[i] = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, m.n_embd_kv(), n_positions);
                c.v[i] = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, m.n_embd_kv(), n_positions);
            }
        }
        c.data.emplace_back(ggml_backend_alloc_ctx_tensors_from_buft(ctx, kind));
        if (c.data.back() == nullptr) {
            throw std::bad_alloc();
        }
    }
    c.n_positions = n_positions;
    context.cache = std::move(c);
}

} // namespace
} // namespace bge

int32_t bge_llama_new(const bge_llama_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                      bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::check_call("bge_llama_new", params, {tensors, out});
        auto model = std::make_unique<bge_model>(params->placement);
        bge::loader load(*model, tensors, n_tensors);
        model->llama = bge::load_llama(*params, load);
        model->max_nodes = model->llama->max_nodes();
        load.place(params->placement);
        *out = model.release();
    });
}

int32_t bge_llama_encode(bge_context *context, const bge_llama_batch *batch, float *dst, int64_t dst_len,
                         bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::llama_model &m = bge::model_of(context);
        bge::check_call("bge_llama_encode", batch, {});
        const bge::decoder_batch b = bge::lay_out(m, *batch, 0);
        bge::check_room(*batch, dst, dst_len, m.p.n_embd);
        bge::make_layers_ready(*context, m);
        const auto build = [&](bge::graph &g) { return bge::decode(g, m, bge::embed(g, m, *batch, b), b, nullptr); };
        context->run(build, dst, dst_len);
    });
}

int32_t bge_llama_plan(bge_context *context, int64_t n_tokens, int64_t *bytes, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        const bge::llama_model &m = bge::model_of(context);
        if (n_tokens < 1 || n_tokens > INT32_MAX || bytes == nullptr) {
            bge::fail(BGE_ERR_ARGUMENT, "a plan for %" PRId64 " tokens: want 1 to 2^31 - 1", n_tokens);
        }
        const std::vector<int32_t> ids(static_cast<size_t>(n_tokens), 0);
        const int32_t length = int32_t(n_tokens), last = length - 1;
        const bge_llama_batch batch{sizeof batch, ids.data(), n_tokens, nullptr, 0, &length, 1, &last, 1};
        const bge::decoder_batch b = bge::lay_out(m, batch, 0);
        *bytes =
            context->plan([&](bge::graph &g) { return bge::decode(g, m, bge::embed(g, m, batch, b), b, nullptr); });
    });
}

int32_t bge_llama_open_cache(bge_context *context, int64_t n_positions, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        const bge::llama_model &m = bge::model_of(context);
        if (n_positions < 1 || n_positions > INT32_MAX) {
            bge::fail(BGE_ERR_ARGUMENT, "a cache of %" PRId64 " positions: want 1 to 2^31 - 1", n_positions);
        }
        bge::open_cache(*context, m, n_positions);
    });
}

int32_t bge_llama_decode(bge_context *context, const bge_llama_batch *batch, int64_t n_past, float *dst,
                         int64_t dst_len, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        bge::llama_model &m = bge::model_of(context);
        bge::check_call("bge_llama_decode", batch, {});
        bge::key_value_cache &cache = context->cache;
        if (batch->n_rows != 1 || n_past < 0 || n_past > cache.n_past || n_past + batch->n_ids > cache.n_positions) {
            bge::fail(BGE_ERR_ARGUMENT,
                      "%" PRId64 " tokens at position %" PRId64 ", %" PRId64 " of %" PRId64
                      " positions in use: want one row that fits; open a larger cache",
                      batch->n_ids, n_past, cache.n_past, cache.n_positions);
        }
        const bge::decoder_batch b = bge::lay_out(m, *batch, n_past);
        bge::check_room(*batch, dst, dst_len, m.p.n_vocab);
        bge::make_layers_ready(*context, m);
        bge::make_ready(*context->model, m.output_part, {&m.output}, context->n_threads);
        cache.n_past = n_past;
        const auto build = [&](bge::graph &g) {
            ggml_tensor *x = bge::decode(g, m, bge::embed(g, m, *batch, b), b, &cache);
            g.compute_where(m.output.w);
            return g.linear(m.output, x, BGE_ACT_NONE, nullptr); // [n_vocab, n_wanted]
        };
        context->run(build, dst, dst_len);
        cache.n_past += batch->n_ids;
    });
}
