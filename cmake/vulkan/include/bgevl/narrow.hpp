// Narrow work groups for software devices: what vulkan.hpp has ggml-vulkan.cpp create its pipelines through.
//
// Mesa's software device computes the threads of a subgroup as one vector, and each further subgroup of a work group as
// a coroutine, which is left and entered again at every barrier. GPUs hide that; for a processor, a norm in work groups
// of 512 threads was thirty times as slow as in work groups of 16, and its compiler took minutes for coroutines. So on
// devices of type CPU, and on no others, some pipelines get work groups of one subgroup, or of a few:
//
//  - soft_max of long rows by its specialization constant;
//  - products of small and middle tiles by theirs, with as large a piece of the tile for each thread as LLVM compiles
//    in reasonable time: reading the tile, thread by thread, is what takes the time;
//  - norms and rotary positions, whose work groups are fixed in the shader, by ggml's own shaders compiled once more
//    with another size (cmake/vulkan.cmake).
//
// Pipelines are told by their names and constants. cmake/vulkan.cmake checks that ggml still has them.
#ifndef BGEVL_NARROW_HPP
#define BGEVL_NARROW_HPP

#include <cstdint>
#include <string>
#include <vector>

#include <vulkan/vulkan.hpp>

namespace bgevl {

constexpr uint32_t narrow_threads = 16; // Mesa's widest subgroup, which `LP_NATIVE_VECTOR_WIDTH=512` gives

// ggml's shaders with work groups of narrow_threads.
constexpr uint32_t narrow_norm[] =
#include "norm.inc"
    ;
constexpr uint32_t narrow_rms_norm[] =
#include "rms_norm.inc"
    ;
constexpr uint32_t narrow_rope_norm[] =
#include "rope_norm.inc"
    ;

// What ggml is about to create a pipeline from, with another shader and other constants where the device is software.
class narrowed {
  public:
    vk::ComputePipelineCreateInfo create_info;

    // device and pipeline are ggml's, which are declared after this.
    template <class Device, class Pipeline>
    narrowed(const Device &device, Pipeline &pipeline, const vk::ComputePipelineCreateInfo &ggml)
        : create_info(ggml), handle(device->device) {
        if (device->properties.deviceType != vk::PhysicalDeviceType::eCpu) {
            return;
        }
        const std::string &name = pipeline->name;
        if (name == "norm_f32") {
            take(narrow_norm);
        } else if (name == "rms_norm_f32" || name == "rms_norm_mul_f32") { // one shader, with another constant
            take(narrow_rms_norm);
        } else if (name == "rope_norm_f32") {
            take(narrow_rope_norm);
            pipeline->wg_denoms[1] = 2 * narrow_threads; // a thread turns a pair
        } else if (name == "soft_max_f32_wg512" || name == "soft_max_f32_f16_wg512") {
            set({{0, narrow_threads}});
        } else if (name.rfind("matmul_", 0) == 0 && name.rfind("matmul_id_", 0) != 0 && !device->coopmat_support &&
                   name.find("_q8_1") == std::string::npos) {
            set(tile(pipeline->wg_denoms));
        }
    }
    ~narrowed() {
        if (shader) {
            handle.destroyShaderModule(shader);
        }
    }
    narrowed(const narrowed &) = delete;
    narrowed &operator=(const narrowed &) = delete;

  private:
    struct constant {
        uint32_t id, value;
    };

    vk::Device handle;
    vk::ShaderModule shader;
    std::vector<uint32_t> values;
    vk::SpecializationInfo constants;

    template <class Sizes> static std::vector<constant> tile(const Sizes &denoms) {
        enum { threads = 0, warp_m = 4, warp_n, steps_m, thread_m, thread_n, warp = 10 }; // mul_mm.comp's ids
        const uint32_t w = narrow_threads;
        if (denoms[0] == 64 && denoms[1] == 64) { // two subgroups, a thread has 8 rows and 16 columns
            return {{threads, 2 * w}, {warp_m, 32},  {warp_n, 64}, {steps_m, 2},
                    {thread_m, 4},    {thread_n, 4}, {warp, w}};
        }
        if (denoms[0] == 32 && denoms[1] == 32) { // one subgroup, a thread has 8 of each
            return {{threads, w}, {warp_m, 32}, {warp_n, 32}, {steps_m, 2}, {thread_m, 4}, {thread_n, 4}, {warp, w}};
        }
        return {};
    }

    template <size_t N> void take(const uint32_t (&code)[N]) {
        shader = handle.createShaderModule({{}, sizeof(code), code});
        create_info.stage.module = shader;
    }

    // ggml numbers its constants from 0, one after the other.
    void set(const std::vector<constant> &changes) {
        constants = *create_info.stage.pSpecializationInfo;
        const uint32_t *old = static_cast<const uint32_t *>(constants.pData);
        values.assign(old, old + constants.dataSize / sizeof(uint32_t));
        for (const constant &c : changes) {
            values.at(c.id) = c.value;
        }
        constants.pData = values.data();
        create_info.stage.pSpecializationInfo = &constants;
    }
};

} // namespace bgevl

#endif // BGEVL_NARROW_HPP
