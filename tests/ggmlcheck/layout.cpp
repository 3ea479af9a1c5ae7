// Compiled against ggml's real headers: every size, offset and value that csrc/ggml_types.h states by hand is compared
// with the real one, so compiling is the whole test. The types declared by hand live in a namespace of their own here.
#include <cstdbool>
#include <cstddef>
#include <cstdint>

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#define SAME_CONSTANT(name) constexpr long long real_##name = name;
SAME_CONSTANT(GGML_MAX_DIMS)
SAME_CONSTANT(GGML_MAX_SRC)
SAME_CONSTANT(GGML_MAX_OP_PARAMS)
SAME_CONSTANT(GGML_MAX_NAME)
SAME_CONSTANT(GGML_MAX_N_THREADS)
#undef GGML_MAX_DIMS
#undef GGML_MAX_SRC
#undef GGML_MAX_OP_PARAMS
#undef GGML_MAX_NAME
#undef GGML_MAX_N_THREADS

namespace by_hand {
#include "ggml_types.h"
}

static_assert(real_GGML_MAX_DIMS == GGML_MAX_DIMS, "GGML_MAX_DIMS");
static_assert(real_GGML_MAX_SRC == GGML_MAX_SRC, "GGML_MAX_SRC");
static_assert(real_GGML_MAX_OP_PARAMS == GGML_MAX_OP_PARAMS, "GGML_MAX_OP_PARAMS");
static_assert(real_GGML_MAX_NAME == GGML_MAX_NAME, "GGML_MAX_NAME");
static_assert(real_GGML_MAX_N_THREADS == GGML_MAX_N_THREADS, "GGML_MAX_N_THREADS");

#define VALUE(name) static_assert((int)by_hand::name == (int)::name, #name)
#define SIZE(type)                                                                                                     \
    static_assert(sizeof(by_hand::type) == sizeof(::type) && alignof(by_hand::type) == alignof(::type), #type)
#define FIELD(type, field)                                                                                             \
    static_assert(offsetof(by_hand::type, field) == offsetof(::type, field) &&                                         \
                      sizeof(by_hand::type::field) == sizeof(::type::field),                                           \
                  #type "." #field)

VALUE(GGML_STATUS_ALLOC_FAILED);
VALUE(GGML_STATUS_FAILED);
VALUE(GGML_STATUS_SUCCESS);
VALUE(GGML_STATUS_ABORTED);

VALUE(GGML_TYPE_F32);
VALUE(GGML_TYPE_F16);
VALUE(GGML_TYPE_Q4_0);
VALUE(GGML_TYPE_Q4_1);
VALUE(GGML_TYPE_Q5_0);
VALUE(GGML_TYPE_Q5_1);
VALUE(GGML_TYPE_Q8_0);
VALUE(GGML_TYPE_Q8_1);
VALUE(GGML_TYPE_Q2_K);
VALUE(GGML_TYPE_Q3_K);
VALUE(GGML_TYPE_Q4_K);
VALUE(GGML_TYPE_Q5_K);
VALUE(GGML_TYPE_Q6_K);
VALUE(GGML_TYPE_Q8_K);
VALUE(GGML_TYPE_IQ2_XXS);
VALUE(GGML_TYPE_IQ2_XS);
VALUE(GGML_TYPE_IQ3_XXS);
VALUE(GGML_TYPE_IQ1_S);
VALUE(GGML_TYPE_IQ4_NL);
VALUE(GGML_TYPE_IQ3_S);
VALUE(GGML_TYPE_IQ2_S);
VALUE(GGML_TYPE_IQ4_XS);
VALUE(GGML_TYPE_I8);
VALUE(GGML_TYPE_I16);
VALUE(GGML_TYPE_I32);
VALUE(GGML_TYPE_I64);
VALUE(GGML_TYPE_F64);
VALUE(GGML_TYPE_IQ1_M);
VALUE(GGML_TYPE_BF16);
VALUE(GGML_TYPE_TQ1_0);
VALUE(GGML_TYPE_TQ2_0);
VALUE(GGML_TYPE_MXFP4);
VALUE(GGML_TYPE_COUNT);

VALUE(GGML_SCHED_PRIO_LOW);
VALUE(GGML_SCHED_PRIO_NORMAL);
VALUE(GGML_SCHED_PRIO_MEDIUM);
VALUE(GGML_SCHED_PRIO_HIGH);
VALUE(GGML_SCHED_PRIO_REALTIME);

VALUE(GGML_PREC_DEFAULT);
VALUE(GGML_PREC_F32);

VALUE(GGML_LOG_LEVEL_ERROR);

VALUE(GGML_BACKEND_BUFFER_USAGE_ANY);
VALUE(GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

VALUE(GGML_BACKEND_DEVICE_TYPE_CPU);
VALUE(GGML_BACKEND_DEVICE_TYPE_GPU);
VALUE(GGML_BACKEND_DEVICE_TYPE_IGPU);
VALUE(GGML_BACKEND_DEVICE_TYPE_ACCEL);

SIZE(ggml_init_params);
FIELD(ggml_init_params, mem_size);
FIELD(ggml_init_params, mem_buffer);
FIELD(ggml_init_params, no_alloc);

SIZE(ggml_tensor);
FIELD(ggml_tensor, type);
FIELD(ggml_tensor, buffer);
FIELD(ggml_tensor, ne);
FIELD(ggml_tensor, nb);
FIELD(ggml_tensor, op);
FIELD(ggml_tensor, op_params);
FIELD(ggml_tensor, flags);
FIELD(ggml_tensor, src);
FIELD(ggml_tensor, view_src);
FIELD(ggml_tensor, view_offs);
FIELD(ggml_tensor, data);
FIELD(ggml_tensor, name);
FIELD(ggml_tensor, extra);
FIELD(ggml_tensor, padding);

SIZE(ggml_type_traits);
FIELD(ggml_type_traits, type_name);
FIELD(ggml_type_traits, blck_size);
FIELD(ggml_type_traits, blck_size_interleave);
FIELD(ggml_type_traits, type_size);
FIELD(ggml_type_traits, is_quantized);
FIELD(ggml_type_traits, to_float);
FIELD(ggml_type_traits, from_float_ref);

SIZE(ggml_threadpool_params);
FIELD(ggml_threadpool_params, cpumask);
FIELD(ggml_threadpool_params, n_threads);
FIELD(ggml_threadpool_params, prio);
FIELD(ggml_threadpool_params, poll);
FIELD(ggml_threadpool_params, strict_cpu);
FIELD(ggml_threadpool_params, paused);

SIZE(ggml_cplan);
FIELD(ggml_cplan, work_size);
FIELD(ggml_cplan, work_data);
FIELD(ggml_cplan, n_threads);
FIELD(ggml_cplan, threadpool);
FIELD(ggml_cplan, abort_callback);
FIELD(ggml_cplan, abort_callback_data);
