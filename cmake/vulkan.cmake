# ggml's Vulkan backend, also with the tools of Debian 12 (headers and loader 1.3.239, glslc 2023.2), for which it was
# not written. Nothing of ggml's is changed for that. Four things stand in its way:
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
# 4. Work groups of hundreds of threads are slow on a software device, to compile and to run: vulkan/include/bgevl/narrow.hpp
#    has them narrower there, for which three of ggml's shaders are compiled once more.

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

# bgevl_vulkan_once(FILE REGEX...) wants each regular expression to match once in a file of ggml's Vulkan backend.
set(BGEVL_VULKAN_HEADERS ${CMAKE_CURRENT_LIST_DIR}/vulkan/include)
function(bgevl_vulkan_once file)
  file(READ ${GGML_DIR}/src/ggml-vulkan/${file} text)
  string(REPLACE ";" "" text "${text}") # which divides CMake's lists
  string(REPLACE "[" "(" text "${text}") # and these keep them together
  string(REPLACE "]" ")" text "${text}")
  foreach(regex ${ARGN})
    string(REGEX MATCHALL "${regex}" found "${text}")
    list(LENGTH found n)
    if(NOT n EQUAL 1)
      message(FATAL_ERROR "ggml's ${file} is another than ${BGEVL_VULKAN_HEADERS} was written for (${regex}: ${n} times, not "
        "once): read what vulkan/vulkan.hpp and bgevl/narrow.hpp there are for, and adapt them and this check")
    endif()
  endforeach()
endfunction()

# bgevl_vulkan_narrow(FILE OLD NEW) writes a copy of one of ggml's shader sources with one line changed into the build.
set(BGEVL_NARROW_DIR ${CMAKE_CURRENT_BINARY_DIR}/narrow)
function(bgevl_vulkan_narrow file old new)
  file(READ ${GGML_DIR}/src/ggml-vulkan/vulkan-shaders/${file} text)
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "ggml's shader ${file} has not one line \"${old}\", which cmake/vulkan.cmake changes for software devices: "
      "read what ${BGEVL_VULKAN_HEADERS}/bgevl/narrow.hpp is for, and adapt both")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  set(there "")
  if(EXISTS ${BGEVL_NARROW_DIR}/${file})
    file(READ ${BGEVL_NARROW_DIR}/${file} there)
  endif()
  if(NOT there STREQUAL text) # what stays as it was need not be compiled again
    file(WRITE ${BGEVL_NARROW_DIR}/${file} "${text}")
  endif()
endfunction()

# bgevl_vulkan_shaders() compiles ggml's shaders with work groups of 16 threads, as lists of numbers for narrow.hpp, with
# the options that vulkan-shaders-gen.cpp has for them.
function(bgevl_vulkan_shaders)
  bgevl_vulkan_narrow(norm.comp "#define BLOCK_SIZE 512" "#define BLOCK_SIZE 16")
  bgevl_vulkan_narrow(rms_norm.comp "#define BLOCK_SIZE 512" "#define BLOCK_SIZE 16")
  bgevl_vulkan_narrow(rope_head.glsl "local_size_y = 256," "local_size_y = 16,")
  bgevl_vulkan_narrow(rope_norm.comp "#include \"rope_head.glsl\"" "#include \"rope_head.glsl\"") # which is beside it
  bgevl_vulkan_once(vulkan-shaders/vulkan-shaders-gen.cpp
    "\"norm_f32\", \"norm.comp\", merge_maps.base_dict, ..\"A_TYPE\", \"float\"., .\"D_TYPE\", \"float\"..."
    "\"rms_norm_f32\", \"rms_norm.comp\", merge_maps.base_dict, ..\"A_TYPE\", \"float\"., .\"B_TYPE\", \"float\"., .\"D_TYPE\", \"float\"..."
    "\"rope_norm_f32\", \"rope_norm.comp\", ..\"A_TYPE\", \"float\"., .\"ROPE_D_TYPE\", \"float\".."
    "base_dict = ..\"FLOAT_TYPE\", \"float\"., .\"FLOAT_TYPE_VEC2\", \"vec2\"..")
  set(outputs "")
  foreach(name norm rms_norm rope_norm)
    set(optimize -O)
    if(name STREQUAL rope_norm) # for which ggml has it off
      set(optimize "")
    endif()
    add_custom_command(OUTPUT ${BGEVL_NARROW_DIR}/${name}.inc
      COMMAND ${Vulkan_GLSLC_EXECUTABLE} -fshader-stage=compute --target-env=vulkan1.2 ${optimize} -mfmt=c
        -I ${GGML_DIR}/src/ggml-vulkan/vulkan-shaders -DFLOAT_TYPE=float -DFLOAT_TYPE_VEC2=vec2
        -DA_TYPE=float -DB_TYPE=float -DD_TYPE=float -DROPE_D_TYPE=float
        ${BGEVL_NARROW_DIR}/${name}.comp -o ${BGEVL_NARROW_DIR}/${name}.inc
      DEPENDS ${BGEVL_NARROW_DIR}/${name}.comp ${BGEVL_NARROW_DIR}/rope_head.glsl
      COMMENT "Compiling ggml's shader ${name} for software devices" VERBATIM)
    list(APPEND outputs ${BGEVL_NARROW_DIR}/${name}.inc)
  endforeach()
  add_custom_target(bgevl-narrow-shaders DEPENDS ${outputs})
  add_dependencies(ggml-vulkan bgevl-narrow-shaders)
endfunction()

# bgevl_vulkan_headers() puts vulkan/include first for ggml-vulkan.cpp, which must write its descriptor sets in one place
# and have one layout for all of them, and create its pipelines in one place, under the names, sizes and constants that
# narrow.hpp knows: a change of that would otherwise undo what these headers do, and nobody would know.
function(bgevl_vulkan_headers)
  bgevl_vulkan_once(ggml-vulkan.cpp
    "(update|push)DescriptorSet"
    "createDescriptorSetLayout"
    "i < MAX_PARAMETER_COUNT [^\n]*\n *dsl_binding\\.push_back"
    "getFenceStatus\\(ctx->fence\\)"
    "createComputePipeline"
    "device->device\\.createComputePipeline\\(VK_NULL_HANDLE, compute_pipeline_create_info\\)"
    "specialization_entries.i.\\.constantID = i"
    "\"norm_f32\", norm_f32_len, [^\n]*, {1, 1, 1}, {}, 1\\)"
    "\"rms_norm_f32\", rms_norm_f32_len, [^\n]*, {1, 1, 1}, {0, 0}, 1, true\\)"
    "\"rms_norm_mul_f32\", rms_norm_f32_len, [^\n]*, {1, 1, 1}, {0, 1}, 1, true\\)"
    "\"rope_norm_f32\", rope_norm_f32_len, [^\n]*, {1, 512, 1}, {}, 1\\)"
    "\"soft_max_f32_wg512\", [^\n]*, {1, 1, 1}, { 512 }, 1\\)"
    "\"soft_max_f32_f16_wg512\", [^\n]*, {1, 1, 1}, { 512 }, 1\\)"
    "\n        m_warptile = { 128,  64,  64, 16, subgroup_size_8, 32, 2, tm_m, tn_m, tk_m, subgroup_size_8 }"
    "\n        s_warptile = { subgroup_size_16, 32, 32, 16, 32, 32, 2, tm_s, tn_s, tk_s, subgroup_size_8 }"
    "\n        m_mmq_wg_denoms = m_wg_denoms = { 64,  64, 1 }"
    "\n        s_mmq_wg_denoms = s_wg_denoms = { 32,  32, 1 }")
  foreach(constant "0. const uint BLOCK_SIZE" "4. const uint WM" "5. const uint WN" "6. const uint WMITER" "7. const uint TM"
      "8. const uint TN" "10. const uint WARP")
    bgevl_vulkan_once(vulkan-shaders/mul_mm.comp "constant_id = ${constant} =")
  endforeach()
  bgevl_vulkan_once(vulkan-shaders/soft_max.comp "constant_id = 0. const uint BLOCK_SIZE =")
  bgevl_vulkan_shaders()
  set_source_files_properties(${GGML_DIR}/src/ggml-vulkan/ggml-vulkan.cpp TARGET_DIRECTORY ggml-vulkan
    PROPERTIES INCLUDE_DIRECTORIES "${BGEVL_VULKAN_HEADERS};${BGEVL_NARROW_DIR}")
endfunction()
