// Compiled against ggml's real headers: a prototype in csrc/ggml_api.h that is not compatible with the real one is an
// error of the C language here, so compiling is the whole test.
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#define BGE_GGML_REAL
#include "ggml_api.h"
