//go:build !bgevl_static

#include "quantize.h"

#include "error.hpp"
#include "ggml_api.h"

#include <cinttypes>
#include <cstring>

namespace {

// Above these, rounding gives infinity. A block's scale is an f16, so that block types share f16's range.
constexpr uint32_t f32_max_bits = 0x7f7fffffu;
constexpr uint32_t bf16_max_bits = 0x7f7f7fffu;  // one more rounds to bf16's infinity
constexpr uint32_t f16_max_bits = 0x477fefffu;   // just under 65520, which rounds to f16's infinity
constexpr uint32_t block_max_bits = 0x477fe000u; // 65504

uint32_t limit_bits(int32_t type) {
    switch (type) {
    case GGML_TYPE_F32:
        return f32_max_bits;
    case GGML_TYPE_BF16:
        return bf16_max_bits;
    case GGML_TYPE_F16:
        return f16_max_bits;
    default:
        return block_max_bits;
    }
}

const ggml_type_traits *traits(int32_t type) {
    const ggml_type_traits *t = nullptr;
    if (type >= 0 && type < GGML_TYPE_COUNT) {
        t = ggml_get_type_traits(static_cast<ggml_type>(type));
    }
    // The numbers of types that ggml has dropped are kept with a block of nothing, and unused ones without a name.
    if (t == nullptr || t->type_name == nullptr || t->blck_size <= 0 || t->type_size == 0) {
        bge::fail(BGE_ERR_ARGUMENT, "type %" PRId32 " is not one of ggml's types", type);
    }
    return t;
}

// Bytes of n elements, which must be whole blocks.
int64_t bytes_of(const ggml_type_traits *t, int64_t n, const char *what) {
    if (n < 0 || n % t->blck_size != 0) {
        bge::fail(BGE_ERR_ARGUMENT, "%s of %" PRId64 " elements cannot be %s: want a multiple of %" PRId64, what, n,
                  t->type_name, t->blck_size);
    }
    int64_t bytes = 0;
    if (__builtin_mul_overflow(n / t->blck_size, static_cast<int64_t>(t->type_size), &bytes)) {
        bge::fail(BGE_ERR_ARGUMENT, "%s of %" PRId64 " elements is too large", what, n);
    }
    return bytes;
}

void check_quantizable(int32_t type, const ggml_type_traits *t) {
    // IQ1_M is left out of ggml's own list, but is of no use without one.
    if (ggml_quantize_requires_imatrix(static_cast<ggml_type>(type)) || type == GGML_TYPE_IQ1_M) {
        bge::fail(BGE_ERR_UNSUPPORTED, "type %s needs an importance matrix, which cannot be given here: use %s",
                  t->type_name, "iq2_s, q2_k or a larger type");
    }
    const bool plain = type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
    // A type without to_float is one of activations (q8_1, q8_K) or integers.
    if (!plain && (!t->is_quantized || t->to_float == nullptr)) {
        bge::fail(BGE_ERR_UNSUPPORTED, "type %s is not a type of weights", t->type_name);
    }
}

// Refuses what would become infinite or undefined; a bit pattern past the limit is too large, infinite or NaN.
void check_values(int32_t type, const ggml_type_traits *t, const float *src, int64_t n) {
    const uint32_t limit = limit_bits(type);
    constexpr int64_t stretch = 4096; // long enough for a loop without branches, short enough to find the culprit
    for (int64_t i = 0; i < n; i += stretch) {
        const int64_t end = i + stretch < n ? i + stretch : n;
        uint32_t bad = 0;
        for (int64_t j = i; j < end; ++j) {
            uint32_t bits;
            std::memcpy(&bits, src + j, sizeof bits);
            bad |= (bits & 0x7fffffffu) > limit ? 1u : 0u;
        }
        for (int64_t j = i; bad != 0 && j < end; ++j) {
            uint32_t bits;
            std::memcpy(&bits, src + j, sizeof bits);
            if ((bits & 0x7fffffffu) > limit) {
                bge::fail(BGE_ERR_ARGUMENT, "element %" PRId64 " is %g, which %s cannot hold", j,
                          static_cast<double>(src[j]), t->type_name);
            }
        }
    }
}

} // namespace

int32_t bge_type_block(int32_t type, int64_t *elements, int64_t *bytes, bge_error *err) BGE_NOEXCEPT {
    return bge::guarded(err, [&] {
        const ggml_type_traits *t = traits(type);
        *elements = t->blck_size;
        *bytes = static_cast<int64_t>(t->type_size);
    });
}

int32_t bge_type_quantizable(int32_t type, bge_error *err) BGE_NOEXCEPT {
    return bge::guarded(err, [&] { check_quantizable(type, traits(type)); });
}

float bge_type_limit(int32_t type) BGE_NOEXCEPT {
    const uint32_t bits = limit_bits(type);
    float limit;
    std::memcpy(&limit, &bits, sizeof limit);
    return limit;
}

int32_t bge_quantize(int32_t type, const float *src, int64_t n_src, int64_t n_per_row, void *dst, int64_t dst_size,
                     bge_error *err) BGE_NOEXCEPT {
    return bge::guarded(err, [&] {
        const ggml_type_traits *t = traits(type);
        check_quantizable(type, t);
        if (n_per_row <= 0 || n_src <= 0 || n_src % n_per_row != 0) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId64 " elements are not rows of %" PRId64, n_src, n_per_row);
        }
        bytes_of(t, n_per_row, "a row");
        const int64_t want = bytes_of(t, n_src, "a tensor");
        if (dst_size != want) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId64 " elements take %" PRId64 " bytes as %s, and there are %" PRId64,
                      n_src, want, t->type_name, dst_size);
        }
        check_values(type, t, src, n_src);
        const size_t wrote =
            ggml_quantize_chunk(static_cast<ggml_type>(type), src, dst, 0, n_src / n_per_row, n_per_row, nullptr);
        if (static_cast<int64_t>(wrote) != want) {
            bge::fail(BGE_ERR_INTERNAL, "ggml wrote %zu bytes as %s in place of %" PRId64, wrote, t->type_name, want);
        }
    });
}

int32_t bge_dequantize(int32_t type, const void *src, int64_t src_size, float *dst, int64_t n_dst,
                       bge_error *err) BGE_NOEXCEPT {
    return bge::guarded(err, [&] {
        const ggml_type_traits *t = traits(type);
        const int64_t want = bytes_of(t, n_dst, "a tensor");
        if (src_size != want) {
            bge::fail(BGE_ERR_ARGUMENT, "%" PRId64 " elements take %" PRId64 " bytes as %s, and there are %" PRId64,
                      n_dst, want, t->type_name, src_size);
        }
        if (type == GGML_TYPE_F32) {
            std::memcpy(dst, src, static_cast<size_t>(src_size));
            return;
        }
        if (t->to_float == nullptr) {
            bge::fail(BGE_ERR_UNSUPPORTED, "type %s is not a type of weights", t->type_name);
        }
        t->to_float(src, dst, n_dst);
    });
}
