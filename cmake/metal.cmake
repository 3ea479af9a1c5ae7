# ggml's backend for Apple's GPUs. The shaders' source lies in the library and is compiled when it is first used.

if(NOT APPLE)
  message(FATAL_ERROR "Metal is Apple's, and this builds for ${CMAKE_SYSTEM_NAME}: take another preset (cpu, cuda, vulkan, hip)")
endif()
set(GGML_METAL ON)
set(GGML_METAL_EMBED_LIBRARY ON)
set(GGML_METAL_NDEBUG ON)
list(APPEND BGEVL_GGML_TARGETS ggml-metal)
bgevl_link("-framework Foundation" "-framework Metal" "-framework MetalKit")
