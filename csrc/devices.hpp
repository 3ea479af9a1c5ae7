// Devices: what ggml's backends can compute on beside the processor, and a model's memory there.
#pragma once

#include "bge.h"
#include "ggml_api.h"

#include <memory>
#include <vector>

namespace bge {

struct buffer_free {
    void operator()(ggml_backend_buffer *b) const noexcept { ggml_backend_buffer_free(b); }
};
using buffer = std::unique_ptr<ggml_backend_buffer, buffer_free>;

struct stream_free {
    void operator()(ggml_backend *b) const noexcept { ggml_backend_free(b); }
};
using stream = std::unique_ptr<ggml_backend, stream_free>; // of one caller's work on a device

// A device that a model uses, and what lies there.
struct device_part {
    ggml_backend_device *device = nullptr;
    buffer weights{};
    int32_t n_layers = 0;
    int64_t bytes = 0;
};

// The devices of a list of names with commas between; none for NULL and "". Throws failure for one that is not here.
std::vector<device_part> find_devices(const char *names);

// The device in whose memory a weight lies; NULL for one of the processor's.
ggml_backend_device *device_of(const ggml_tensor *weight);

} // namespace bge
