// What ggml-vulkan.cpp uses of vulkan.hpp and what Vulkan headers before 1.3.272 lack: the settings of
// VK_EXT_layer_settings. ggml hands them to the validation layer, which it loads only where it was compiled with
// GGML_VULKAN_VALIDATE; a loader that does not know the structure in the chain skips it, as Vulkan demands.
#ifndef BGEVL_VULKAN_SHIM_HPP
#define BGEVL_VULKAN_SHIM_HPP

#include <vulkan/vulkan_core.h>

#ifndef VK_EXT_layer_settings

#include <cstdint>
#include <vector>

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
#endif // BGEVL_VULKAN_SHIM_HPP
