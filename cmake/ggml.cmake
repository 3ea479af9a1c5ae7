# ggml, from the Go module, with the backends that the options ask for. Sets GGML_DIR, and in BGEVL_GGML_TARGETS the targets
# whose objects make up ggml; adds to BGEVL_LINK_FLAGS what they need.

find_program(GO_PROGRAM go)
if(NOT GO_PROGRAM)
  message(FATAL_ERROR "go was not found, and ggml's sources come as a Go module: install Go (https://go.dev/dl), "
    "or say where it is by -DGO_PROGRAM=FILE")
endif()
execute_process(
  COMMAND ${GO_PROGRAM} list -m -f {{.Dir}} github.com/ollama/ollama
  WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
  OUTPUT_VARIABLE OLLAMA_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_VARIABLE GO_ERROR RESULT_VARIABLE GO_FAILED)
if(GO_FAILED OR NOT OLLAMA_DIR)
  message(FATAL_ERROR "ggml's Go module is not there: run 'go mod download github.com/ollama/ollama' first\n${GO_ERROR}")
endif()
set(GGML_DIR ${OLLAMA_DIR}/ml/backend/ggml/ggml)

find_package(Threads REQUIRED) # before ggml, which links it without asking

# What ggml's own top-level CMake file, which the module lacks, would have set; its defaults where none is given here.
set(BUILD_SHARED_LIBS OFF)
set(GGML_SCHED_MAX_COPIES 4)
set(GGML_CPU ON)
set(GGML_LLAMAFILE ON) # as in the module's cgo build
set(GGML_ACCELERATE ON)
set(GGML_NATIVE ${BGEVL_NATIVE})
add_compile_definitions(GGML_VERSION=0x0 GGML_COMMIT=0x0)

set(BGEVL_GGML_TARGETS ggml-base ggml ggml-cpu)
if(APPLE)
  bgevl_link("-framework Accelerate")
endif()
foreach(backend CUDA HIP METAL VULKAN)
  if(BGEVL_${backend})
    string(TOLOWER ${backend} file)
    include(${CMAKE_CURRENT_LIST_DIR}/${file}.cmake)
  endif()
endforeach()

add_subdirectory(${GGML_DIR}/src ggml EXCLUDE_FROM_ALL)
target_include_directories(ggml-base PUBLIC ${GGML_DIR}/include)
if(BGEVL_VULKAN)
  bgevl_vulkan_headers()
endif()

# C++'s own libraries: a C or Go program's linker does not add them by itself.
foreach(library IN LISTS CMAKE_CXX_IMPLICIT_LINK_LIBRARIES)
  if(NOT library IN_LIST CMAKE_C_IMPLICIT_LINK_LIBRARIES AND NOT library STREQUAL m)
    bgevl_link(-l${library})
  endif()
endforeach()
if(NOT APPLE)
  bgevl_link(-lm -ldl -lpthread)
endif()
