// The backends of the static library, by themselves: every device that ggml finds multiplies matrices of the types that
// models have, and the results are held to the processor's. Built by CMake and run by ctest.
//
// usage: backend [NAME]    NAME is the backend that must have a device, as "Vulkan"; without one, or with BGEVL_REQUIRE
// unset, a backend without a device is a skip (status 77).
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

namespace {

constexpr int skipped = 77; // SKIP_RETURN_CODE
constexpr int64_t n_in = 512, n_out = 96, n_rows = 33;
// Both sides multiply the same encoded weights; they differ in how they encode activations and round sums.
constexpr double max_nmse = 5e-4;

struct Free {
    void operator()(ggml_context *p) const { ggml_free(p); }
    void operator()(ggml_backend_buffer *p) const { ggml_backend_buffer_free(p); }
    void operator()(ggml_backend *p) const { ggml_backend_free(p); }
};
template <typename T> using Owned = std::unique_ptr<T, Free>;

std::vector<float> random_floats(size_t n, uint32_t state) {
    std::vector<float> values(n);
    for (float &value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
    }
    return values;
}

// product multiplies on a device: weights [n_in, n_out] of a type by activations [n_in, n_rows]. Empty where the device
// cannot.
std::vector<float> product(ggml_backend_dev_t device, ggml_type type) {
    const Owned<ggml_backend> backend(ggml_backend_dev_init(device, nullptr));
    const Owned<ggml_context> ctx(ggml_init({16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true}));
    ggml_tensor *weights = ggml_new_tensor_2d(ctx.get(), type, n_in, n_out);
    ggml_tensor *input = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_in, n_rows);
    ggml_tensor *output = ggml_mul_mat(ctx.get(), weights, input); // [n_out, n_rows]
    if (!ggml_backend_dev_supports_op(device, output)) {
        return {};
    }
    const Owned<ggml_backend_buffer> buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend.get()));
    if (buffer == nullptr) {
        std::printf("no memory on the device\n");
        std::exit(1);
    }
    const std::vector<float> w = random_floats(n_in * n_out, 1), x = random_floats(n_in * n_rows, 2);
    std::vector<uint8_t> encoded(ggml_nbytes(weights));
    ggml_quantize_chunk(type, w.data(), encoded.data(), 0, n_out, n_in, nullptr);
    ggml_backend_tensor_set(weights, encoded.data(), 0, encoded.size());
    ggml_backend_tensor_set(input, x.data(), 0, x.size() * sizeof(float));
    ggml_cgraph *graph = ggml_new_graph(ctx.get());
    ggml_build_forward_expand(graph, output);
    if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
        std::printf("the graph failed\n");
        std::exit(1);
    }
    std::vector<float> result(n_out * n_rows);
    ggml_backend_tensor_get(output, result.data(), 0, result.size() * sizeof(float));
    return result;
}

double nmse(const std::vector<float> &a, const std::vector<float> &b) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < a.size(); i++) {
        error += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
        norm += static_cast<double>(b[i]) * b[i];
    }
    return error / norm;
}

int check(ggml_backend_dev_t device, ggml_backend_dev_t cpu) {
    int failures = 0;
    for (const ggml_type type :
         {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K}) {
        const std::vector<float> got = product(device, type);
        if (got.empty()) {
            std::printf("  %-5s not supported\n", ggml_type_name(type));
            continue;
        }
        const double error = nmse(got, product(cpu, type));
        const bool ok = error < max_nmse; // and so no NaN
        std::printf("  %-5s NMSE %.2g%s\n", ggml_type_name(type), error, ok ? "" : "  FAIL");
        failures += !ok;
    }
    return failures;
}

} // namespace

int main(int argc, char **argv) {
    const std::string wanted = argc > 1 ? argv[1] : "";
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    int failures = 0, found = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const char *backend = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
        size_t free_bytes = 0, total_bytes = 0;
        ggml_backend_dev_memory(device, &free_bytes, &total_bytes);
        std::printf("%s: %s, %s, %zu of %zu MiB free\n", backend, ggml_backend_dev_name(device),
                    ggml_backend_dev_description(device), free_bytes >> 20, total_bytes >> 20);
        found += wanted == backend;
        if (device != cpu) {
            failures += check(device, cpu);
        }
    }
    if (cpu == nullptr || failures > 0) {
        std::printf("FAIL: %d failures\n", failures);
        return 1;
    }
    if (!wanted.empty() && found == 0) {
        const char *require = std::getenv("BGEVL_REQUIRE");
        const bool must = require != nullptr && std::strcmp(require, "1") == 0;
        std::printf("%s: no device of the backend %s here\n", must ? "FAIL" : "skipped", wanted.c_str());
        return must ? 1 : skipped;
    }
    std::printf("ok\n");
    return 0;
}
