// The C API from C++: handles in smart pointers, and one text embedded. Built against the installed library, by
// pkg-config and by find_package, in tests/capi/installed.sh.
#include "bge.h"
#include "tiny_clip.h"

#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

struct Free {
    void operator()(bge_model *p) const noexcept { bge_model_free(p); }
    void operator()(bge_context *p) const noexcept { bge_context_free(p); }
};

int fail(const char *what, const bge_error &err) {
    std::printf("FAIL: %s: %s\n", what, err.message);
    return 1;
}

} // namespace

int main() {
    static weights w;
    make_weights(&w);
    bge_error err{};
    const bge_clip_params params = make_params();
    bge_model *raw = nullptr;
    if (bge_clip_new(&params, w.tensors, w.n, &raw, &err) != BGE_OK) {
        return fail("bge_clip_new", err);
    }
    const std::unique_ptr<bge_model, Free> model(raw);

    bge_context_params context_params{};
    context_params.struct_size = sizeof context_params;
    context_params.n_threads = 1;
    bge_context *raw_context = nullptr;
    if (bge_context_new(model.get(), &context_params, &raw_context, &err) != BGE_OK) {
        return fail("bge_context_new", err);
    }
    const std::unique_ptr<bge_context, Free> context(raw_context);

    const std::vector<int32_t> ids = {1, 2, 3};
    const int32_t length = 3, pool = 2;
    std::vector<float> embedding(PROJECTION);
    if (bge_clip_encode_text(context.get(), ids.data(), 3, &length, &pool, 1, embedding.data(), PROJECTION, &err) !=
        BGE_OK) {
        return fail("bge_clip_encode_text", err);
    }
    float norm = 0;
    for (const float value : embedding) {
        norm += value * value;
    }
    const bool ok = std::isfinite(norm) && norm > 0;
    std::printf("%s: kernels %s, norm %g\n", ok ? "ok" : "FAIL", bge_cpu_kernels(), std::sqrt(norm));
    free_weights(&w);
    return ok ? 0 : 1;
}
