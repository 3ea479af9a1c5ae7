// The functions of ggml's C interface that csrc calls, declared by hand; see ggml_types.h for why.
//
// tests/ggmlcheck includes this file after ggml's real headers with BGE_GGML_REAL set: C then refuses any prototype
// that is not compatible with the real one.
#ifndef BGE_GGML_API_H
#define BGE_GGML_API_H

#ifndef BGE_GGML_REAL
#include "ggml_types.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_context;
struct ggml_cgraph;
struct ggml_gallocr;
struct ggml_threadpool;
struct ggml_backend;
struct ggml_backend_buffer;
struct ggml_backend_buffer_type;
struct ggml_backend_device;
struct ggml_backend_reg;
struct ggml_backend_sched;

typedef void (*ggml_custom_op_t)(struct ggml_tensor *dst, int ith, int nth, void *userdata);
typedef void (*ggml_abort_callback_t)(const char *error_message);
typedef void (*ggml_log_callback)(enum ggml_log_level level, const char *text, void *user_data);
typedef bool (*ggml_backend_sched_eval_callback)(struct ggml_tensor *t, bool ask, void *user_data);

// Contexts and tensors.
struct ggml_context *ggml_init(struct ggml_init_params params);
void ggml_free(struct ggml_context *ctx);
size_t ggml_tensor_overhead(void);
struct ggml_tensor *ggml_new_tensor(struct ggml_context *ctx, enum ggml_type type, int n_dims, const int64_t *ne);
struct ggml_tensor *ggml_new_tensor_1d(struct ggml_context *ctx, enum ggml_type type, int64_t ne0);
struct ggml_tensor *ggml_new_tensor_2d(struct ggml_context *ctx, enum ggml_type type, int64_t ne0, int64_t ne1);
struct ggml_tensor *ggml_new_tensor_3d(struct ggml_context *ctx, enum ggml_type type, int64_t ne0, int64_t ne1,
                                       int64_t ne2);
struct ggml_tensor *ggml_set_name(struct ggml_tensor *tensor, const char *name);
void ggml_set_input(struct ggml_tensor *tensor);
void ggml_set_output(struct ggml_tensor *tensor);
bool ggml_is_quantized(enum ggml_type type);
size_t ggml_nbytes(const struct ggml_tensor *tensor);
struct ggml_tensor *ggml_get_first_tensor(const struct ggml_context *ctx);
struct ggml_tensor *ggml_get_next_tensor(const struct ggml_context *ctx, struct ggml_tensor *tensor);
ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback);
void ggml_log_set(ggml_log_callback log_callback, void *user_data);

// Types.
int64_t ggml_blck_size(enum ggml_type type);
size_t ggml_type_size(enum ggml_type type);
size_t ggml_row_size(enum ggml_type type, int64_t ne);
const char *ggml_type_name(enum ggml_type type);
const struct ggml_type_traits *ggml_get_type_traits(enum ggml_type type);
void ggml_quantize_init(enum ggml_type type);
bool ggml_quantize_requires_imatrix(enum ggml_type type);
size_t ggml_quantize_chunk(enum ggml_type type, const float *src, void *dst, int64_t start, int64_t nrows,
                           int64_t n_per_row, const float *imatrix);
bool ggml_validate_row_data(enum ggml_type type, const void *data, size_t nbytes);

// Operations.
struct ggml_tensor *ggml_add(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b);
struct ggml_tensor *ggml_mul(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b);
struct ggml_tensor *ggml_norm(struct ggml_context *ctx, struct ggml_tensor *a, float eps);
struct ggml_tensor *ggml_gelu_erf(struct ggml_context *ctx, struct ggml_tensor *a);
struct ggml_tensor *ggml_gelu_quick(struct ggml_context *ctx, struct ggml_tensor *a);
struct ggml_tensor *ggml_rms_norm(struct ggml_context *ctx, struct ggml_tensor *a, float eps);
struct ggml_tensor *ggml_silu(struct ggml_context *ctx, struct ggml_tensor *a);
struct ggml_tensor *ggml_cpy(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b);
struct ggml_tensor *ggml_rope_ext(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b,
                                  struct ggml_tensor *c, int n_dims, int mode, int n_ctx_orig, float freq_base,
                                  float freq_scale, float ext_factor, float attn_factor, float beta_fast,
                                  float beta_slow);
struct ggml_tensor *ggml_mul_mat(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b);
void ggml_mul_mat_set_prec(struct ggml_tensor *a, enum ggml_prec prec);
struct ggml_tensor *ggml_concat(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b, int dim);
struct ggml_tensor *ggml_repeat_4d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1,
                                   int64_t ne2, int64_t ne3);
struct ggml_tensor *ggml_cast(struct ggml_context *ctx, struct ggml_tensor *a, enum ggml_type type);
struct ggml_tensor *ggml_cont(struct ggml_context *ctx, struct ggml_tensor *a);
struct ggml_tensor *ggml_cont_2d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1);
struct ggml_tensor *ggml_reshape_2d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1);
struct ggml_tensor *ggml_reshape_3d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1,
                                    int64_t ne2);
struct ggml_tensor *ggml_reshape_4d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1,
                                    int64_t ne2, int64_t ne3);
struct ggml_tensor *ggml_view_2d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1, size_t nb1,
                                 size_t offset);
struct ggml_tensor *ggml_view_3d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1, int64_t ne2,
                                 size_t nb1, size_t nb2, size_t offset);
struct ggml_tensor *ggml_view_4d(struct ggml_context *ctx, struct ggml_tensor *a, int64_t ne0, int64_t ne1, int64_t ne2,
                                 int64_t ne3, size_t nb1, size_t nb2, size_t nb3, size_t offset);
struct ggml_tensor *ggml_permute(struct ggml_context *ctx, struct ggml_tensor *a, int axis0, int axis1, int axis2,
                                 int axis3);
struct ggml_tensor *ggml_get_rows(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b);
struct ggml_tensor *ggml_soft_max_ext(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *mask,
                                      float scale, float max_bias);
struct ggml_tensor *ggml_flash_attn_ext(struct ggml_context *ctx, struct ggml_tensor *q, struct ggml_tensor *k,
                                        struct ggml_tensor *v, struct ggml_tensor *mask, float scale, float max_bias,
                                        float logit_softcap);
void ggml_flash_attn_ext_set_prec(struct ggml_tensor *a, enum ggml_prec prec);
struct ggml_tensor *ggml_custom_4d(struct ggml_context *ctx, enum ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2,
                                   int64_t ne3, struct ggml_tensor **args, int n_args, ggml_custom_op_t fun,
                                   int n_tasks, void *userdata);

// Graphs.
struct ggml_cgraph *ggml_new_graph_custom(struct ggml_context *ctx, size_t size, bool grads);
size_t ggml_graph_overhead_custom(size_t size, bool grads);
int ggml_graph_n_nodes(struct ggml_cgraph *cgraph);
struct ggml_tensor *ggml_graph_node(struct ggml_cgraph *cgraph, int i);
void ggml_build_forward_expand(struct ggml_cgraph *cgraph, struct ggml_tensor *tensor);

// Memory of a graph's intermediate tensors.
struct ggml_backend_buffer_type *ggml_backend_cpu_buffer_type(void);
struct ggml_gallocr *ggml_gallocr_new(struct ggml_backend_buffer_type *buft);
void ggml_gallocr_free(struct ggml_gallocr *galloc);
bool ggml_gallocr_reserve(struct ggml_gallocr *galloc, struct ggml_cgraph *graph);
bool ggml_gallocr_alloc_graph(struct ggml_gallocr *galloc, struct ggml_cgraph *graph);
void ggml_gallocr_reserve_n_size(struct ggml_gallocr *galloc, struct ggml_cgraph *graph, const int *node_buffer_ids,
                                 const int *leaf_buffer_ids, size_t *sizes);
size_t ggml_gallocr_get_buffer_size(struct ggml_gallocr *galloc, int buffer_id);

// Running a graph on the processor.
struct ggml_threadpool_params ggml_threadpool_params_default(int n_threads);
struct ggml_threadpool *ggml_threadpool_new(struct ggml_threadpool_params *params);
void ggml_threadpool_free(struct ggml_threadpool *threadpool);
struct ggml_cplan ggml_graph_plan(const struct ggml_cgraph *cgraph, int n_threads, struct ggml_threadpool *threadpool);
enum ggml_status ggml_graph_compute(struct ggml_cgraph *cgraph, struct ggml_cplan *cplan);

// Devices.
size_t ggml_backend_dev_count(void);
struct ggml_backend_device *ggml_backend_dev_get(size_t index);
struct ggml_backend_device *ggml_backend_dev_by_type(enum ggml_backend_dev_type type);
const char *ggml_backend_dev_name(struct ggml_backend_device *device);
const char *ggml_backend_dev_description(struct ggml_backend_device *device);
void ggml_backend_dev_memory(struct ggml_backend_device *device, size_t *free, size_t *total);
enum ggml_backend_dev_type ggml_backend_dev_type(struct ggml_backend_device *device);
struct ggml_backend_reg *ggml_backend_dev_backend_reg(struct ggml_backend_device *device);
const char *ggml_backend_reg_name(struct ggml_backend_reg *reg);
struct ggml_backend *ggml_backend_dev_init(struct ggml_backend_device *device, const char *params);
struct ggml_backend_buffer_type *ggml_backend_dev_buffer_type(struct ggml_backend_device *device);
bool ggml_backend_dev_supports_op(struct ggml_backend_device *device, const struct ggml_tensor *op);
struct ggml_backend_device *ggml_backend_buft_get_device(struct ggml_backend_buffer_type *buft);
size_t ggml_backend_buft_get_alloc_size(struct ggml_backend_buffer_type *buft, const struct ggml_tensor *tensor);

// Memory on devices.
struct ggml_backend_buffer *ggml_backend_alloc_ctx_tensors_from_buft(struct ggml_context *ctx,
                                                                     struct ggml_backend_buffer_type *buft);
void ggml_backend_buffer_free(struct ggml_backend_buffer *buffer);
void ggml_backend_buffer_set_usage(struct ggml_backend_buffer *buffer, enum ggml_backend_buffer_usage usage);
enum ggml_backend_buffer_usage ggml_backend_buffer_get_usage(struct ggml_backend_buffer *buffer);
struct ggml_backend_buffer_type *ggml_backend_buffer_get_type(struct ggml_backend_buffer *buffer);
void ggml_backend_tensor_set(struct ggml_tensor *tensor, const void *data, size_t offset, size_t size);
void ggml_backend_tensor_get(const struct ggml_tensor *tensor, void *data, size_t offset, size_t size);

// Running a graph on devices.
void ggml_backend_free(struct ggml_backend *backend);
void ggml_backend_cpu_set_n_threads(struct ggml_backend *backend, int n_threads);
void ggml_backend_cpu_set_threadpool(struct ggml_backend *backend, struct ggml_threadpool *threadpool);
void ggml_backend_cpu_set_abort_callback(struct ggml_backend *backend, ggml_abort_callback abort_callback, void *data);
struct ggml_backend_sched *ggml_backend_sched_new(struct ggml_backend **backends,
                                                  struct ggml_backend_buffer_type **bufts, int n_backends,
                                                  size_t graph_size, bool parallel, bool op_offload);
void ggml_backend_sched_free(struct ggml_backend_sched *sched);
void ggml_backend_sched_reset(struct ggml_backend_sched *sched);
bool ggml_backend_sched_alloc_graph(struct ggml_backend_sched *sched, struct ggml_cgraph *graph);
enum ggml_status ggml_backend_sched_graph_compute(struct ggml_backend_sched *sched, struct ggml_cgraph *graph);
size_t ggml_backend_sched_get_buffer_size(struct ggml_backend_sched *sched, struct ggml_backend *backend);
void ggml_backend_sched_set_tensor_backend(struct ggml_backend_sched *sched, struct ggml_tensor *node,
                                           struct ggml_backend *backend);
void ggml_backend_sched_set_eval_callback(struct ggml_backend_sched *sched, ggml_backend_sched_eval_callback callback,
                                          void *user_data);

#ifdef __cplusplus
}
#endif

#endif
