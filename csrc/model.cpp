//go:build !bgevl_static

#include "clip.hpp"
#include "llama.hpp"
#include "llava.hpp"
#include "model.hpp"

#include <algorithm>
#include <cinttypes>
#include <string>
#include <system_error>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace bge {
namespace {

constexpr size_t cache_line = 64;

// The instruction sets that can be asked for here, as a list for an error.
std::string kernels_here() {
    std::string names;
    for (int32_t i = 0; const bge_kernels *k = bge_kernels_at(i); i++) {
        names += (i > 0 ? ", " : "") + std::string(k->name);
    }
    return names;
}

const bge_kernels *choose_kernels(const char *name) {
    const char *asked = name != nullptr && *name != '\0' ? name : std::getenv("BGEVL_CPU");
    if (asked != nullptr && std::strcmp(asked, "ggml") == 0) {
        return nullptr;
    }
    bge_kernels_status status = BGE_KERNELS_OK;
    const bge_kernels *k = bge_kernels_select(name, &status);
    if (k == nullptr) {
        const bool unknown = status == BGE_KERNELS_UNKNOWN;
        fail(BGE_ERR_UNSUPPORTED, "kernels %s (BGEVL_CPU): %s: name none, ggml, or one of %s",
             asked != nullptr ? asked : "",
             unknown ? "no instruction set of that name is known" : "this processor or build cannot run them",
             kernels_here().c_str());
    }
    return k;
}

// Whether devices take their fused attention, if they have one.
bool flash_attention_wanted() {
    const char *asked = std::getenv("BGEVL_FLASH_ATTENTION");
    if (asked == nullptr || *asked == '\0' || std::strcmp(asked, "on") == 0) {
        return true;
    }
    if (std::strcmp(asked, "off") != 0) {
        fail(BGE_ERR_UNSUPPORTED, "BGEVL_FLASH_ATTENTION=%s: want on or off", asked);
    }
    return false;
}

void pack(bge_model &model, linear_weight &l) {
    if (l.packed != nullptr || device_of(l.w) != nullptr) {
        return; // done by an earlier call that ran out of memory further on, or no work for the processor
    }
    const ggml_type type = l.w->type;
    const int64_t size = bge_linear_pack_size(model.kernels, type, l.n_in(), l.n_out());
    if (size <= 0) {
        return;
    }
    const size_t rounded = (size_t(size) + cache_line - 1) / cache_line * cache_line;
    l.packed.reset(std::aligned_alloc(cache_line, rounded));
    if (l.packed == nullptr) {
        throw std::bad_alloc();
    }
    bge_linear_pack(model.kernels, type, type, l.n_in(), l.n_out(), l.w->data, l.packed.get(), 0, 1);
    model.packed_bytes += int64_t(rounded);
    if (model.file_mapped) {
        give_back(l.w->data, ggml_nbytes(l.w));
    }
}

} // namespace

void give_back(const void *data, size_t size) {
#if defined(__unix__) || defined(__APPLE__)
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (uintptr_t(data) + page - 1) / page * page;
    const uintptr_t end = (uintptr_t(data) + size) / page * page;
    if (begin < end) {
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED); // advice: a refusal changes nothing
    }
#else
    (void)data;
    (void)size;
#endif
}

void make_ready(bge_model &model, lazy_part &part, const std::vector<linear_weight *> &weights, int n_threads) {
    if (model.kernels == nullptr || part.ready.load(std::memory_order_acquire)) {
        return;
    }
    const std::lock_guard<std::mutex> hold(part.packing);
    if (part.ready.load(std::memory_order_relaxed)) {
        return;
    }
    std::atomic<size_t> next{0};
    std::atomic<bool> out_of_memory{false};
    const auto work = [&] {
        for (size_t i; !out_of_memory && (i = next++) < weights.size();) {
            try {
                pack(model, *weights[i]);
            } catch (const std::bad_alloc &) {
                out_of_memory = true;
            }
        }
    };
    std::vector<std::thread> threads;
    try {
        for (int i = 1; i < n_threads; i++) {
            threads.emplace_back(work);
        }
    } catch (const std::system_error &) {
        // No more threads to be had: those there are do the work.
    }
    work();
    for (std::thread &t : threads) {
        t.join();
    }
    if (out_of_memory) {
        throw std::bad_alloc();
    }
    part.ready.store(true, std::memory_order_release);
}

void retain(bge_model *model) {
    model->refs.fetch_add(1, std::memory_order_relaxed);
}

void release(bge_model *model) {
    if (model != nullptr && model->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete model;
    }
}

} // namespace bge

bge_model::bge_model(const bge_placement &p)
    : kernels(bge::choose_kernels(p.kernels)), file_mapped(p.file_mapped != 0), devices(bge::find_devices(p.devices)),
      devices_optional(p.devices_optional != 0), flash_attention(bge::flash_attention_wanted()) {
    if (kernels == nullptr && !devices.empty()) {
        bge::fail(BGE_ERR_ARGUMENT, "kernels ggml (BGEVL_CPU) and device %s: want one of them",
                  ggml_backend_dev_name(devices[0].device));
    }
}

bge_model::~bge_model() {
    ggml_free(tensors);
}

void bge_model_free(bge_model *model) noexcept {
    bge::release(model);
}

int64_t bge_model_bytes(const bge_model *model) noexcept {
    int64_t n = model->packed_bytes.load();
    for (const std::vector<float> &t : model->tables) {
        n += int64_t(t.size() * sizeof(float));
    }
    return n;
}

const char *bge_model_kernels(const bge_model *model) noexcept {
    return model->kernels == nullptr ? "ggml" : model->kernels->name;
}

int32_t bge_model_layers(const bge_model *model) noexcept {
    return model->n_layers;
}

int32_t bge_model_device_layers(const bge_model *model, int32_t i) noexcept {
    return i >= 0 && size_t(i) < model->devices.size() ? model->devices[size_t(i)].n_layers : 0;
}

int64_t bge_model_device_bytes(const bge_model *model, int32_t i) noexcept {
    return i >= 0 && size_t(i) < model->devices.size() ? model->devices[size_t(i)].bytes : 0;
}

const char *bge_cpu_kernels(void) noexcept {
    try {
        const bge_kernels *k = bge::choose_kernels(nullptr);
        return k == nullptr ? "ggml" : k->name;
    } catch (const bge::failure &) {
        return nullptr;
    }
}

const char *bge_cpu_kernels_at(int32_t i) noexcept {
    const bge_kernels *k = bge_kernels_at(i);
    return k != nullptr ? k->name : nullptr;
}
