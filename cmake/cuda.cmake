# ggml's CUDA backend, with the flash-attention instances that are ggml's default. CUDA's runtime is linked statically,
# cuBLAS as a shared library, and the driver not at all (cuda/driver.cpp says why).
#
# CMAKE_CUDA_ARCHITECTURES chooses the GPUs to compile for: "90" for one, "native" for those here; the default is ggml's
# list, which takes hours on a small machine. tools/cuda.sh does everything from PyPI's compiler on.

if(WIN32)
  message(FATAL_ERROR "the cuda preset is not prepared for Windows (cmake/cuda/driver.cpp needs dlopen)")
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "nvcc was not found or does not work: install the CUDA toolkit (12 or newer), or say where nvcc is by "
    "-DCMAKE_CUDA_COMPILER=FILE; tools/cuda.sh fetches a compiler from PyPI and does the rest")
endif()
if(NOT CUDAToolkit_ROOT)
  get_filename_component(CUDAToolkit_ROOT ${CMAKE_CUDA_COMPILER}/../.. ABSOLUTE)
endif()
find_package(CUDAToolkit REQUIRED)
foreach(library cudart_static cudart cublas)
  if(NOT TARGET CUDA::${library})
    message(FATAL_ERROR "the CUDA toolkit at ${CUDAToolkit_ROOT} has no library ${library}: install the whole toolkit")
  endif()
endforeach()
if(NOT TARGET CUDA::cuda_driver)
  add_library(CUDA::cuda_driver INTERFACE IMPORTED GLOBAL) # ggml names it; nothing of it is linked
endif()

set(GGML_CUDA ON)
set(GGML_CUDA_FA ON)
set(GGML_CUDA_GRAPHS ON)
set(GGML_CUDA_PEER_MAX_BATCH_SIZE 128)
set(GGML_CUDA_COMPRESSION_MODE size)

add_library(bgevl-cuda-driver OBJECT ${CMAKE_CURRENT_LIST_DIR}/cuda/driver.cpp)
target_include_directories(bgevl-cuda-driver PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_options(bgevl-cuda-driver PRIVATE -Wall -Wextra -fvisibility=hidden)

list(APPEND BGEVL_GGML_TARGETS ggml-cuda bgevl-cuda-driver)
bgevl_link(${CUDA_cudart_static_LIBRARY} ${CUDA_cublas_LIBRARY} -lrt)
