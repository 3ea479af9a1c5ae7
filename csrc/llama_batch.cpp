//go:build !bgevl_static

#include "llama_batch.hpp"
#include "llama.hpp"

#include <algorithm>
#include <cinttypes>

namespace bge {
namespace {

// Sharing fewer tokens than this saves less than gathering keys and values for it costs.
constexpr int32_t least_shared = 4;

void check_batch(const llama_model &m, const bge_llama_batch &b) {
    if (b.ids == nullptr || b.lengths == nullptr || b.wanted == nullptr || b.n_rows <= 0 || b.n_wanted <= 0 ||
        b.n_ids > INT32_MAX || b.n_wanted > b.n_ids) {
        fail(BGE_ERR_ARGUMENT, "a batch needs ids, lengths and wanted tokens, fewer than 2^31 tokens in all");
    }
    int64_t total = 0;
    for (int64_t i = 0; i < b.n_rows; i++) {
        if (b.lengths[i] < 1) {
            fail(BGE_ERR_ARGUMENT, "row %" PRId64 " has %d tokens: want at least 1", i, b.lengths[i]);
        }
        total += b.lengths[i];
    }
    if (total != b.n_ids) {
        fail(BGE_ERR_ARGUMENT, "the lengths add up to %" PRId64 " tokens, but %" PRId64 " are given", total, b.n_ids);
    }
    int64_t n_embeddings = 0;
    for (int64_t i = 0; i < b.n_ids; i++) {
        n_embeddings += b.ids[i] == BGE_EMBEDDING;
        if (b.ids[i] != BGE_EMBEDDING && (b.ids[i] < 0 || b.ids[i] >= m.p.n_vocab)) {
            fail(BGE_ERR_ARGUMENT, "token id %d is outside the vocabulary of %d", b.ids[i], m.p.n_vocab);
        }
    }
    if (n_embeddings != b.n_embeddings || (n_embeddings > 0 && b.embeddings == nullptr)) {
        fail(BGE_ERR_ARGUMENT, "%" PRId64 " places for embeddings, but %" PRId64 " embeddings", n_embeddings,
             b.n_embeddings);
    }
    for (int64_t i = 0; i < b.n_wanted; i++) {
        if (b.wanted[i] < 0 || b.wanted[i] >= b.n_ids || (i > 0 && b.wanted[i] <= b.wanted[i - 1])) {
            fail(BGE_ERR_ARGUMENT, "wanted token %" PRId64 " is %d: want ascending indices below %" PRId64, i,
                 b.wanted[i], b.n_ids);
        }
    }
}

// Tokens that every row begins with and that may be computed once: before any wanted token, and never a whole row.
int32_t shared_tokens(const bge_llama_batch &b) {
    if (b.n_rows < 2) {
        return 0;
    }
    int32_t shared = b.lengths[0] - 1;
    int64_t start = 0, next_wanted = 0;
    for (int64_t r = 0; r < b.n_rows; r++) {
        const int32_t *row = b.ids + start;
        shared = std::min(shared, b.lengths[r] - 1);
        int32_t same = 0;
        while (same < shared && row[same] == b.ids[same] && row[same] != BGE_EMBEDDING) {
            same++;
        }
        shared = same;
        while (next_wanted < b.n_wanted && b.wanted[next_wanted] < start + b.lengths[r]) {
            shared = std::min<int32_t>(shared, int32_t(b.wanted[next_wanted++] - start));
        }
        start += b.lengths[r];
    }
    return shared >= least_shared ? shared : 0;
}

// Collects a batch sequence by sequence.
struct layout {
    const bge_llama_batch &b;
    int32_t n_past;
    std::vector<int32_t> tokens, at, wanted, wanted_at, kv_rows;
    sequences all, asked;
    int64_t next_wanted = 0;

    // One sequence: the shared tokens, which other sequences compute, and then those of ids that are its own.
    void add(int64_t first, int64_t end, int32_t shared) {
        for (int32_t i = 0; i < shared; i++) {
            kv_rows.push_back(i);
        }
        for (int64_t i = first; i < end; i++) {
            const int32_t position = n_past + shared + int32_t(i - first);
            if (next_wanted < b.n_wanted && b.wanted[next_wanted] == i) {
                wanted.push_back(int32_t(tokens.size()));
                wanted_at.push_back(position);
                asked.q_pos.push_back(position);
                next_wanted++;
            }
            kv_rows.push_back(int32_t(tokens.size()));
            tokens.push_back(int32_t(i));
            at.push_back(position);
        }
        all.q_start.push_back(int32_t(tokens.size()));
        all.kv_start.push_back(n_past + int32_t(kv_rows.size()));
        asked.q_start.push_back(int32_t(wanted.size()));
    }
};

} // namespace

decoder_batch lay_out(const llama_model &model, const bge_llama_batch &b, int64_t n_past) {
    check_batch(model, b);
    const int32_t shared = shared_tokens(b);
    layout l{b, int32_t(n_past), {}, {}, {}, {}, {}, {}, {}};
    l.all.causal = l.asked.causal = true;
    if (shared > 0) {
        l.add(0, shared, 0);
    }
    int64_t start = 0;
    for (int64_t r = 0; r < b.n_rows; r++) {
        l.add(start + shared, start + b.lengths[r], shared);
        start += b.lengths[r];
    }
    l.asked.kv_start = l.all.kv_start;
    if (shared == 0) {
        l.kv_rows.clear();
    }
    const int32_t d_head = model.p.d_head;
    const float theta = model.p.rope_theta;
    return {std::move(l.tokens),  rotary(std::move(l.at), d_head, theta),
            std::move(l.wanted),  rotary(std::move(l.wanted_at), d_head, theta),
            std::move(l.kv_rows), std::move(l.all),
            std::move(l.asked)};
}

} // namespace bge
