// The C API from plain C: a small CLIP model of made-up weights, in and out, and every kind of wrong argument.
//
// Built by CMake and run by ctest. The numbers themselves are held to the reference by the Go tests; this file holds
// the interface: that C11 alone can use it, that errors are reported and that two ways to the same row agree.
#include "bge.h"
#include "tiny_clip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static void check_errors(const weights *w) {
    bge_error err;
    bge_model *model = NULL;
    bge_clip_params p = make_params();
    CHECK(bge_clip_new(&p, w->tensors, w->n - 1, &model, &err) == BGE_ERR_ARGUMENT && model == NULL);
    CHECK(strstr(err.message, "visual_projection.weight is missing") != NULL);
    CHECK(bge_clip_new(NULL, w->tensors, w->n, &model, &err) == BGE_ERR_ARGUMENT);
    CHECK(bge_clip_new(&p, w->tensors, w->n, &model, NULL) == BGE_OK); // an error struct is optional
    bge_model_free(model);
    model = NULL;
    p.struct_size--;
    CHECK(bge_clip_new(&p, w->tensors, w->n, &model, &err) == BGE_ERR_ARGUMENT);
    p = make_params();
    p.placement.kernels = "abacus";
    CHECK(bge_clip_new(&p, w->tensors, w->n, &model, &err) == BGE_ERR_UNSUPPORTED);
    bge_model_free(NULL);
    bge_context_free(NULL);
}

static void check_use(const weights *w) {
    bge_error err;
    bge_model *model = NULL;
    bge_context *context = NULL;
    const bge_clip_params p = make_params();
    const bge_context_params cp = {sizeof cp, 2};
    const bge_context_params none = {sizeof none, 0};
    CHECK(bge_clip_new(&p, w->tensors, w->n, &model, &err) == BGE_OK);
    CHECK(bge_context_new(model, &none, &context, &err) == BGE_ERR_ARGUMENT);
    CHECK(bge_context_new(model, &cp, &context, &err) == BGE_OK);
    bge_model_free(model); // the context keeps it alive

    const int32_t ids[] = {1, 2, 3, 4, 5, 6}, lengths[] = {2, 4}, pool[] = {1, 0};
    float both[2 * PROJECTION], one[PROJECTION];
    CHECK(bge_clip_encode_text(context, ids, 6, lengths, pool, 2, both, 2 * PROJECTION, &err) == BGE_OK);
    CHECK(bge_clip_encode_text(context, ids + 2, 4, lengths + 1, pool + 1, 1, one, PROJECTION, &err) == BGE_OK);
    CHECK(memcmp(both + PROJECTION, one, sizeof one) == 0);
    CHECK(isfinite(one[0]) && one[0] != 0);
    CHECK(bge_clip_encode_text(context, ids, 5, lengths, pool, 2, both, 2 * PROJECTION, &err) == BGE_ERR_ARGUMENT);

    float pixels[2 * 3 * IMAGE * IMAGE];
    for (size_t i = 0; i < sizeof pixels / sizeof pixels[0]; i++) {
        pixels[i] = next_random();
    }
    const int64_t image = 3 * IMAGE * IMAGE;
    CHECK(bge_clip_encode_image(context, pixels, 2 * image, 2, both, 2 * PROJECTION, &err) == BGE_OK);
    CHECK(bge_clip_encode_image(context, pixels + image, image, 1, one, PROJECTION, &err) == BGE_OK);
    CHECK(memcmp(both + PROJECTION, one, sizeof one) == 0);

    bge_context_cancel(context, 1);
    CHECK(bge_clip_encode_image(context, pixels, image, 1, one, PROJECTION, &err) == BGE_ERR_CANCELLED);
    bge_context_cancel(context, 0);
    CHECK(bge_clip_encode_image(context, pixels, image, 1, one, PROJECTION, &err) == BGE_OK);
    CHECK(bge_context_bytes(context) > 0);
    bge_context_free(context);
}

int main(void) {
    static weights w;
    make_weights(&w);
    check_errors(&w);
    check_use(&w);
    free_weights(&w);
    printf("%s: kernels %s, %d failures\n", failures == 0 ? "ok" : "FAIL", bge_cpu_kernels(), failures);
    return failures != 0;
}
