// Devices that fail, in place of ggml's own device of the processor: the linker lets the functions below stand for
// ggml's (-Wl,--wrap). Built by CMake and run by ctest, once for each fault, since a device is tried once in a process.
//
// usage: faults none|abort|wrong|memory
#include "bge.h"
#include "tiny_clip.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct ggml_tensor;
void ggml_abort(const char *file, int line, const char *format, ...);

static const char *fault;
static bool on_device; // what is computed was computed there

static bool is_fault(const char *name) {
    return strcmp(fault, name) == 0;
}

int __real_ggml_backend_sched_graph_compute(void *sched, void *graph);
int __wrap_ggml_backend_sched_graph_compute(void *sched, void *graph);
int __wrap_ggml_backend_sched_graph_compute(void *sched, void *graph) {
    on_device = true;
    if (is_fault("abort")) {
        ggml_abort(__FILE__, __LINE__, "the device fell off");
    }
    return __real_ggml_backend_sched_graph_compute(sched, graph);
}

void __real_ggml_backend_tensor_get(const struct ggml_tensor *t, void *data, size_t offset, size_t size);
void __wrap_ggml_backend_tensor_get(const struct ggml_tensor *t, void *data, size_t offset, size_t size);
void __wrap_ggml_backend_tensor_get(const struct ggml_tensor *t, void *data, size_t offset, size_t size) {
    __real_ggml_backend_tensor_get(t, data, offset, size);
    if (on_device && is_fault("wrong")) { // the last row's second half
        memset((char *)data + size - 4 * 128, 0, 4 * 128);
    }
    on_device = false;
}

void *__real_ggml_backend_alloc_ctx_tensors_from_buft(void *context, void *kind);
void *__wrap_ggml_backend_alloc_ctx_tensors_from_buft(void *context, void *kind);
void *__wrap_ggml_backend_alloc_ctx_tensors_from_buft(void *context, void *kind) {
    return is_fault("memory") ? NULL : __real_ggml_backend_alloc_ctx_tensors_from_buft(context, kind);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int32_t processor(void) {
    bge_device d;
    for (int32_t i = 0; bge_device_get(i, &d, NULL) == BGE_OK; i++) {
        if (d.kind == BGE_DEVICE_CPU) {
            return i;
        }
    }
    return -1;
}

static int check_probe(bge_probe_outcome outcome, const char *why) {
    bge_probe p;
    bge_error err;
    CHECK(bge_device_probe(processor(), 2, &p, &err) == BGE_OK);
    printf("outcome %d, %.1f ms, processor %.1f ms: %s\n", p.outcome, 1e3 * p.seconds, 1e3 * p.processor_seconds,
           p.why);
    CHECK(p.outcome == (int32_t)outcome && strstr(p.why, why) != NULL);
    CHECK((p.seconds > 0) == (outcome == BGE_PROBE_RIGHT));
    CHECK(bge_device_probe(-1, 2, &p, &err) == BGE_ERR_ARGUMENT);
    CHECK(bge_device_probe(processor(), 2, NULL, &err) == BGE_ERR_ARGUMENT);
    CHECK(bge_device_default(2, NULL, &err) == BGE_ERR_ARGUMENT);
    return 0;
}

// Embeds a text with a model of this placement.
static int embed(const weights *w, const bge_placement *placement, float *row, int32_t *layers) {
    bge_model *model = NULL;
    bge_context *context = NULL;
    const bge_context_params cp = {sizeof cp, 2};
    const int32_t ids[] = {1, 2, 3}, length = 3, pool = 2;
    bge_clip_params p = make_params();
    bge_error err;
    p.placement = *placement;
    const int32_t code = bge_clip_new(&p, w->tensors, w->n, &model, &err);
    if (code == BGE_OK) {
        *layers = bge_model_device_layers(model, 0);
        CHECK(bge_context_new(model, &cp, &context, &err) == BGE_OK);
        CHECK(bge_clip_encode_text(context, ids, 3, &length, &pool, 1, row, PROJECTION, &err) == BGE_OK);
    }
    bge_context_free(context);
    bge_model_free(model);
    return code;
}

// A model that a device has no room for fails, or is the processor's where that is allowed.
static int check_placement(bool room) {
    bge_placement p = {NULL, NULL, 0, 0, 0, 0};
    float row[PROJECTION], want[PROJECTION];
    int32_t layers = -1;
    static weights w;
    make_weights(&w);
    CHECK(embed(&w, &p, want, &layers) == BGE_OK && layers == 0);
    p.devices = "CPU";
    p.device_layers = 100;
    CHECK(embed(&w, &p, row, &layers) == (room ? BGE_OK : BGE_ERR_MEMORY));
    p.devices_optional = 1;
    CHECK(embed(&w, &p, row, &layers) == BGE_OK && layers == (room ? 2 : 0));
    free_weights(&w);
    for (int i = 0; i < PROJECTION; i++) {
        CHECK(fabsf(row[i] - want[i]) < 1e-3f);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        printf("usage: faults none|abort|wrong|memory\n");
        return 2;
    }
    fault = argv[1];
    if (is_fault("none")) {
        return check_probe(BGE_PROBE_RIGHT, "") || check_placement(true);
    }
    if (is_fault("abort")) {
        return check_probe(BGE_PROBE_FAILED, "the device fell off");
    }
    if (is_fault("wrong")) {
        return check_probe(BGE_PROBE_WRONG, "a row is off by");
    }
    return check_probe(BGE_PROBE_FAILED, "out of memory") || check_placement(false);
}
