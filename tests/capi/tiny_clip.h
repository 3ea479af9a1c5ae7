// A small CLIP model of made-up weights, for the tests of the C API in C and in C++.
#ifndef TINY_CLIP_H
#define TINY_CLIP_H

#include "bge.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 32, FFN = 64, HEADS = 2, VOCAB = 10, POSITIONS = 8, IMAGE = 8, PATCH = 4, PROJECTION = 16, MAX = 64 };

typedef struct weights {
    bge_tensor tensors[MAX];
    char names[MAX][48];
    int64_t n;
} weights;

static float next_random(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 24) - 0.5f;
}

static void add(weights *w, const char *name, float offset, int64_t n0, int64_t n1, int64_t n2, int64_t n3) {
    const int64_t n = n0 * n1 * n2 * n3;
    float *data = (float *)aligned_alloc(64, ((size_t)n * sizeof(float) + 63) / 64 * 64);
    for (int64_t i = 0; i < n; i++) {
        data[i] = offset + 0.5f * next_random();
    }
    snprintf(w->names[w->n], sizeof w->names[0], "%s", name);
    const bge_tensor tensor = {w->names[w->n], 0, 0, {n0, n1, n2, n3}, data, (uint64_t)n * sizeof(float)};
    w->tensors[w->n] = tensor;
    w->n++;
}

static void add_pair(weights *w, const char *name, float offset, int64_t n_in, int64_t n_out) {
    char full[48];
    snprintf(full, sizeof full, "%s.weight", name);
    add(w, full, offset, n_in, n_out, 1, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    add(w, full, 0, n_out > 1 ? n_out : n_in, 1, 1, 1);
}

static void add_tower(weights *w, const char *prefix) {
    static const struct {
        const char *name;
        float offset;
        int64_t n_in, n_out;
    } parts[] = {
        {"blk.0.ln1", 1, WIDTH, 1},        {"blk.0.ln2", 1, WIDTH, 1},        {"blk.0.attn_q", 0, WIDTH, WIDTH},
        {"blk.0.attn_k", 0, WIDTH, WIDTH}, {"blk.0.attn_v", 0, WIDTH, WIDTH}, {"blk.0.attn_out", 0, WIDTH, WIDTH},
        {"blk.0.ffn_up", 0, WIDTH, FFN},   {"blk.0.ffn_down", 0, FFN, WIDTH}, {"post_ln", 1, WIDTH, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s.%s", prefix, parts[i].name);
        add_pair(w, name, parts[i].offset, parts[i].n_in, parts[i].n_out);
    }
}

static void make_weights(weights *w) {
    const int64_t side = IMAGE / PATCH;
    w->n = 0;
    add_tower(w, "t");
    add_tower(w, "v");
    add_pair(w, "v.pre_ln", 1, WIDTH, 1);
    add(w, "t.token_embd.weight", 0, WIDTH, VOCAB, 1, 1);
    add(w, "t.position_embd.weight", 0, WIDTH, POSITIONS, 1, 1);
    add(w, "text_projection.weight", 0, WIDTH, PROJECTION, 1, 1);
    add(w, "v.patch_embd.weight", 0, PATCH, PATCH, 3, WIDTH);
    add(w, "v.position_embd.weight", 0, WIDTH, 1 + side * side, 1, 1);
    add(w, "v.class_embd", 0, WIDTH, 1, 1, 1);
    add(w, "visual_projection.weight", 0, WIDTH, PROJECTION, 1, 1);
}

static bge_clip_params make_params(void) {
    const bge_tower tower = {1, WIDTH, FFN, HEADS, 1e-5f, 0};
    bge_clip_params p;
    memset(&p, 0, sizeof p);
    p.struct_size = sizeof p;
    p.text = p.vision = tower;
    p.n_vocab = VOCAB;
    p.n_ctx = POSITIONS;
    p.image_size = IMAGE;
    p.patch_size = PATCH;
    p.n_proj = PROJECTION;
    return p;
}

static void free_weights(weights *w) {
    for (int64_t i = 0; i < w->n; i++) {
        free((void *)w->tensors[i].data);
    }
    w->n = 0;
}

#endif // TINY_CLIP_H
