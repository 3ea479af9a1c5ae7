// Stands before Vulkan's own vulkan.hpp for ggml-vulkan.cpp, and adds what that file needs to compile with older
// headers and to run on Mesa's software device. ggml has set vulkan.hpp up by macros before it gets here.
#ifndef BGEVL_VULKAN_HPP
#define BGEVL_VULKAN_HPP

#include_next <vulkan/vulkan.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

// What ggml uses and Vulkan headers before 1.3.272 lack: the settings of VK_EXT_layer_settings. ggml hands them to the
// validation layer, which it loads only where it was compiled with GGML_VULKAN_VALIDATE; a loader that does not know
// the structure in the chain skips it, as Vulkan demands.
#ifndef VK_EXT_layer_settings

namespace vk {

enum class LayerSettingTypeEXT : int32_t { eBool32 = 0 };

// VkLayerSettingEXT
struct LayerSettingEXT {
    const char *pLayerName;
    const char *pSettingName;
    LayerSettingTypeEXT type;
    uint32_t valueCount;
    const void *pValues;
};

// VkLayerSettingsCreateInfoEXT
struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> &settings)
        : settingCount(static_cast<uint32_t>(settings.size())), pSettings(settings.data()) {}

    VkStructureType sType = static_cast<VkStructureType>(1000496000);
    const void *pNext = nullptr;
    uint32_t settingCount;
    const LayerSettingEXT *pSettings;
};

} // namespace vk

#endif // VK_EXT_layer_settings

// Every descriptor set of ggml's has MAX_PARAMETER_COUNT bindings, all buffers, and a dispatch writes the first few: as
// many as its shader reads. The others keep what an earlier dispatch wrote, among it buffers that were destroyed since,
// when ggml's scheduler made larger ones. Vulkan allows that for bindings that a shader does not use. Mesa's software
// device (lavapipe, seen in 22.3.6) takes references to the buffers of all bindings of a set nevertheless, destroyed
// ones too, and so corrupts the heap. Here every write becomes one of the whole set, its first buffer standing in the
// bindings that the shader does not read: no set names a buffer that this dispatch does not use.
namespace bgevl {

template <uint32_t n_bindings> struct whole_set {
    std::array<vk::DescriptorBufferInfo, n_bindings> buffers;
    vk::WriteDescriptorSet write;

    explicit whole_set(const vk::WriteDescriptorSet &part) : write(part) {
        // What ggml asserts before: one to n_bindings buffers, from the first binding on.
        buffers.fill(part.pBufferInfo[0]);
        std::copy_n(part.pBufferInfo, part.descriptorCount, buffers.begin());
        write.descriptorCount = n_bindings;
        write.pBufferInfo = buffers.data();
    }
    whole_set(const whole_set &) = delete;
    whole_set &operator=(const whole_set &) = delete;
};

} // namespace bgevl

// The one call of ggml's, device.updateDescriptorSets({write}, {}). cmake/vulkan.cmake sees to it that it is the only
// one.
#define updateDescriptorSets(writes, copies)                                                                           \
    updateDescriptorSets(bgevl::whole_set<MAX_PARAMETER_COUNT>(writes).write, copies)

// ggml asks whether a device is through until it is, without sleeping, which answers a GPU soonest. A device that is
// software wants that processor for its work: it is waited for asleep, in steps of a tenth of a second.
#define getFenceStatus(fence)                                                                                          \
    waitForFences({fence}, true,                                                                                       \
                  ctx->device->properties.deviceType == vk::PhysicalDeviceType::eCpu ? uint64_t(100000000) : 0) ==     \
            vk::Result::eSuccess                                                                                       \
        ? vk::Result::eSuccess                                                                                         \
        : vk::Result::eNotReady

// The one call of ggml's, where it has the device and the pipeline at hand.
#include <bgevl/narrow.hpp>
#define createComputePipeline(cache, ggml)                                                                             \
    createComputePipeline(cache, bgevl::narrowed(device, pipeline, ggml).create_info)

#endif // BGEVL_VULKAN_HPP
