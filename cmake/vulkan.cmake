# ggml's Vulkan backend, also with the tools of Debian 12 (headers and loader 1.3.239, glslc 2023.2), for which it was
# not written. Nothing of ggml's is changed for that. Three things stand in its way:
#
# 1. ggml's CMake files find out which extensions glslc knows by compiling a shader for each, and the Go module comes
#    without those four shaders: a file that is missing is not the error that they look for, so every extension counts as
#    known and the shaders for matrix cores then fail to compile. Here glslc is called through a script (vulkan/glslc.in)
#    that compiles the shaders in vulkan/feature-tests in the missing ones' place. Debian 12's glslc knows none of the four
#    extensions (cooperative matrices 1 and 2, integer dot products, bfloat16); a newer one is asked and answers.
# 2. vulkan.hpp has no vk::LayerSettingEXT before headers 1.3.272: vulkan/include, a folder that stands first where
#    ggml-vulkan.cpp looks for headers, has a vulkan.hpp that includes the real one and adds what it lacks.
# 3. A software device (Mesa's lavapipe) is of type CPU, and ggml leaves such out: GGML_VK_VISIBLE_DEVICES=0 in the
#    environment of the program that runs makes it take the first device whatever it is. That device also corrupts the
#    heap unless descriptor sets are written whole, which the same vulkan.hpp sees to.

if(WIN32)
  message(FATAL_ERROR "the vulkan preset is not prepared for Windows (cmake/vulkan.cmake needs a POSIX shell)")
endif()
find_path(Vulkan_INCLUDE_DIR NAMES vulkan/vulkan.hpp HINTS $ENV{VULKAN_SDK}/include)
find_library(Vulkan_LIBRARY NAMES vulkan HINTS $ENV{VULKAN_SDK}/lib)
if(NOT Vulkan_INCLUDE_DIR OR NOT Vulkan_LIBRARY)
  message(FATAL_ERROR "Vulkan's C++ headers or loader were not found: install libvulkan-dev (Debian, Ubuntu), vulkan-headers and "
    "vulkan-loader-devel (Fedora), or set VULKAN_SDK to the folder of LunarG's SDK")
endif()
find_program(BGEVL_GLSLC glslc HINTS $ENV{VULKAN_SDK}/bin)
if(NOT BGEVL_GLSLC)
  message(FATAL_ERROR "glslc was not found, which compiles the shaders: install glslc (Debian, Ubuntu, Fedora) or shaderc (Arch, "
    "Homebrew), set VULKAN_SDK to the folder of LunarG's SDK, or say where it is by -DBGEVL_GLSLC=FILE")
endif()

set(BGEVL_FEATURE_TESTS ${CMAKE_CURRENT_LIST_DIR}/vulkan/feature-tests)
configure_file(${CMAKE_CURRENT_LIST_DIR}/vulkan/glslc.in ${CMAKE_CURRENT_BINARY_DIR}/glslc @ONLY
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(Vulkan_GLSLC_EXECUTABLE ${CMAKE_CURRENT_BINARY_DIR}/glslc CACHE FILEPATH "a script around BGEVL_GLSLC" FORCE)

set(GGML_VULKAN ON)
list(APPEND BGEVL_GGML_TARGETS ggml-vulkan)
bgevl_link(${Vulkan_LIBRARY})

# bgevl_vulkan_headers() puts vulkan/include first for ggml-vulkan.cpp, which must write its descriptor sets in one place
# and have one layout for all of them: a change of that would otherwise undo what vulkan.hpp does, and nobody would know.
set(BGEVL_VULKAN_HEADERS ${CMAKE_CURRENT_LIST_DIR}/vulkan/include)
function(bgevl_vulkan_headers)
  set(source ${GGML_DIR}/src/ggml-vulkan/ggml-vulkan.cpp)
  file(READ ${source} text)
  string(REPLACE ";" "" text "${text}") # which divides CMake's lists
  string(REGEX MATCHALL "(update|push)DescriptorSet" writes "${text}")
  string(REGEX MATCHALL "createDescriptorSetLayout" layouts "${text}")
  string(REGEX MATCHALL "i < MAX_PARAMETER_COUNT [^\n]*\n *dsl_binding\\.push_back" bindings "${text}")
  string(REGEX MATCHALL "getFenceStatus\\(ctx->fence\\)" waits "${text}")
  foreach(found writes layouts bindings waits)
    list(LENGTH ${found} n)
    if(NOT n EQUAL 1)
      message(FATAL_ERROR "ggml-vulkan.cpp handles descriptor sets or fences in another way (${found}: ${n}, not 1) than "
        "${BGEVL_VULKAN_HEADERS}/vulkan/vulkan.hpp was written for: read what that is for, and adapt it and this check")
    endif()
  endforeach()
  set_source_files_properties(${source} TARGET_DIRECTORY ggml-vulkan PROPERTIES INCLUDE_DIRECTORIES ${BGEVL_VULKAN_HEADERS})
endfunction()
