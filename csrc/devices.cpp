//go:build !bgevl_static

#include "devices.hpp"
#include "error.hpp"

#include <algorithm>
#include <mutex>
#include <string>

namespace bge {
namespace {

// What ggml and its backends have to say goes nowhere: results and errors are the library's to report.
void silence(ggml_log_level, const char *, void *) {}

// Starts the backends of this build, which ggml does on the first question. Throws what a driver throws.
size_t count_devices() {
    static std::once_flag silenced;
    std::call_once(silenced, [] { ggml_log_set(silence, nullptr); });
    return ggml_backend_dev_count();
}

std::string names_here() {
    std::string names;
    for (size_t i = 0; i < count_devices(); i++) {
        names += (i > 0 ? ", " : "") + std::string(ggml_backend_dev_name(ggml_backend_dev_get(i)));
    }
    return names;
}

ggml_backend_device *find_device(const std::string &name) {
    for (size_t i = 0; i < count_devices(); i++) {
        ggml_backend_device *d = ggml_backend_dev_get(i);
        if (name == ggml_backend_dev_name(d)) {
            if (ggml_backend_dev_type(d) == GGML_BACKEND_DEVICE_TYPE_ACCEL) {
                fail(BGE_ERR_UNSUPPORTED, "device %s holds no weights: it helps the processor, which needs no choosing",
                     name.c_str());
            }
            return d;
        }
    }
    fail(BGE_ERR_UNSUPPORTED, "device %s: this machine and build have %s", name.c_str(), names_here().c_str());
}

void copy_text(char *to, size_t size, const char *from) {
    std::snprintf(to, size, "%s", from != nullptr ? from : "");
}

} // namespace

std::vector<device_part> find_devices(const char *names) {
    std::vector<device_part> found;
    const std::string list = names != nullptr ? names : "";
    for (size_t at = 0; !list.empty() && at <= list.size();) {
        const size_t end = std::min(list.find(',', at), list.size());
        device_part part;
        part.device = find_device(list.substr(at, end - at));
        for (const device_part &p : found) {
            if (p.device == part.device) {
                fail(BGE_ERR_ARGUMENT, "device %s is named twice", list.substr(at, end - at).c_str());
            }
        }
        found.push_back(std::move(part));
        at = end + 1;
    }
    return found;
}

ggml_backend_device *device_of(const ggml_tensor *w) {
    if (w->buffer == nullptr || ggml_backend_buffer_get_usage(w->buffer) != GGML_BACKEND_BUFFER_USAGE_WEIGHTS) {
        return nullptr;
    }
    ggml_backend_device *device = ggml_backend_buft_get_device(ggml_backend_buffer_get_type(w->buffer));
    // ggml's own buffers for the processor name no device.
    return device != nullptr ? device : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

} // namespace bge

int32_t bge_device_count(bge_error *err) noexcept {
    int32_t n = -1;
    bge::guarded(err, [&] { n = int32_t(bge::count_devices()); });
    return n;
}

int32_t bge_device_get(int32_t i, bge_device *out, bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        const size_t n = bge::count_devices();
        if (i < 0 || size_t(i) >= n || out == nullptr) {
            bge::fail(BGE_ERR_ARGUMENT, "device %d: this machine and build have %zu", i, n);
        }
        ggml_backend_device *d = ggml_backend_dev_get(size_t(i));
        size_t free_bytes = 0, total_bytes = 0;
        ggml_backend_dev_memory(d, &free_bytes, &total_bytes);
        *out = {};
        bge::copy_text(out->name, sizeof out->name, ggml_backend_dev_name(d));
        bge::copy_text(out->description, sizeof out->description, ggml_backend_dev_description(d));
        bge::copy_text(out->backend, sizeof out->backend, ggml_backend_reg_name(ggml_backend_dev_backend_reg(d)));
        out->kind = int32_t(ggml_backend_dev_type(d));
        out->free_bytes = int64_t(free_bytes);
        out->total_bytes = int64_t(total_bytes);
    });
}
