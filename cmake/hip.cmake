# ggml's backend for AMD GPUs. CMAKE_HIP_ARCHITECTURES chooses the GPUs to compile for, as "gfx1100".

include(CheckLanguage)
check_language(HIP)
if(NOT CMAKE_HIP_COMPILER)
  message(FATAL_ERROR "ROCm's compiler was not found or does not work: install ROCm 6.1 or newer with hip, hipblas and "
    "rocblas, set ROCM_PATH if it is not in /opt/rocm, or say where its clang++ is by -DCMAKE_HIP_COMPILER=FILE")
endif()

set(GGML_HIP ON)
set(GGML_CUDA_FA ON)
set(GGML_HIP_NO_VMM ON)
set(GGML_HIP_MMQ_MFMA ON)

list(APPEND BGEVL_GGML_TARGETS ggml-hip)
set(rocm "$ENV{ROCM_PATH}")
if(NOT rocm)
  set(rocm /opt/rocm)
endif()
foreach(library amdhip64 hipblas rocblas)
  find_library(BGEVL_${library} ${library} HINTS ${rocm}/lib ${rocm}/lib64)
  if(NOT BGEVL_${library})
    message(FATAL_ERROR "ROCm's library ${library} was not found in ${rocm}: install it, or set ROCM_PATH")
  endif()
  bgevl_link(${BGEVL_${library}})
endforeach()
