// How fast the kernels are, as a share of what the processor's registers allow.
//
//     cd tests/kernels
//     cc -std=gnu11 -O3 -I../../csrc kernels_bench.c ../../csrc/kernels*.c ../../csrc/cpu.c -lm -lpthread -o bench
//     ./bench [SECONDS [TABLE [WORD]]]
//
// SECONDS is what each line may take (0.3), TABLE the kernels (the fastest), WORD picks lines that contain it. `go test
// ./tests -run '^$' -bench Kernels` does the same. The limit, a loop of multiply-adds on registers alone, is measured
// in turns with each shape, since other programs and the clock change it; the best round of each counts. Quantised
// weights are multiplied as integers and may pass that limit. GFLOP/s are by the threads' time on the processor, so
// that a busy machine does not change them much; milliseconds and the gain by a second thread are by the clock, and
// mean something on an idle machine only.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels.h"

enum { MAX_THREADS = 2 };

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

static void *take(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p)
        abort();
    memset(p, 0, bytes);
    return p;
}

static float *floats(int64_t n) {
    float *f = take((size_t)n * sizeof(float));
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)(int32_t)(state = state * 1664525u + 1013904223u) * 0x1p-31f;
    return f;
}

// ---- the limit ----

// ROUNDS times SUMS multiply-adds of vectors that never leave the registers.
enum { ROUNDS = 300000, SUMS = 12 };
#if defined(__x86_64__)
#define KEEP(v) ({ __asm__ volatile("" : "+v"(v)); }) // in a register, and as it is after each round
#elif defined(__aarch64__)
#define KEEP(v) ({ __asm__ volatile("" : "+w"(v)); })
#else
#define KEEP(v) ({ __asm__ volatile("" : "+m"(v)); })
#endif
#define EACH(f) f(c0) f(c1) f(c2) f(c3) f(c4) f(c5) f(c6) f(c7) f(c8) f(c9) f(c10) f(c11)
#define START(c) vector c = zero;
#define MULTIPLY_ADD(c) c = c * a + b, KEEP(c);
#define SINK(c) sink = c[0];
// Single variables: an array of them is kept in memory.
#define LIMIT(name, target_attribute, bytes)                                                                           \
    static target_attribute void name(void) {                                                                          \
        typedef float vector __attribute__((vector_size(bytes)));                                                      \
        const vector zero = {0}, a = zero + 0.5f, b = zero + 0.25f;                                                    \
        volatile float sink;                                                                                           \
        EACH(START)                                                                                                    \
        for (int i = 0; i < ROUNDS; i++) {                                                                             \
            EACH(MULTIPLY_ADD)                                                                                         \
        }                                                                                                              \
        EACH(SINK)                                                                                                     \
        (void)sink;                                                                                                    \
    }
LIMIT(limit_plain, , 16)
#if defined(__x86_64__)
LIMIT(limit_avx2, __attribute__((target("avx2,fma"))), 32)
LIMIT(limit_avx512, __attribute__((target("avx512f,fma"))), 64)
#endif

typedef void (*limit_loop)(void);

static limit_loop limit_of(const char *name) {
#if defined(__x86_64__)
    if (!strncmp(name, "avx512", 6))
        return limit_avx512;
    if (!strncmp(name, "avx", 3))
        return limit_avx2;
#endif
    (void)name;
    return limit_plain;
}

// ---- threads that are there already, as ggml's are ----

typedef struct task {
    const bge_kernels *k;
    limit_loop limit;
    bge_linear_args *linear;
    bge_attention_args *attention;
    bge_norm_args *norm;
    void *scratch[MAX_THREADS];
} task;

typedef struct worker {
    pthread_t thread;
    const task *job;
    double cpu;
    int32_t nth, turn, done; // it runs job when turn has changed; nth < 0 ends it
} worker;

// Returns the processor's time that it took this thread.
static double run_task(const task *j, int32_t ith, int32_t nth) {
    const double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    if (j->limit)
        j->limit();
    if (j->linear)
        bge_linear(j->k, j->linear, j->scratch[ith], ith, nth);
    if (j->attention)
        bge_attention(j->k, j->attention, j->scratch[ith], ith, nth);
    if (j->norm)
        bge_layer_norm(j->k, j->norm, ith, nth);
    return seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
}

static void *work(void *arg) {
    worker *w = arg;
    for (int32_t seen = 0;; seen++) {
        while (__atomic_load_n(&w->turn, __ATOMIC_ACQUIRE) == seen)
            ;
        if (w->nth < 0)
            return NULL;
        w->cpu = run_task(w->job, 1, w->nth);
        __atomic_store_n(&w->done, seen + 1, __ATOMIC_RELEASE);
    }
}

// The time of a run by the clock, and each thread's time on the processor on average.
typedef struct duration {
    double wall, cpu;
} duration;

static duration shorter(duration a, duration b) {
    return (duration){fmin(a.wall, b.wall), fmin(a.cpu, b.cpu)};
}

static duration once(worker *w, const task *j, int32_t nth) {
    const double start = now();
    if (nth > 1) {
        w->job = j;
        w->nth = nth;
        __atomic_add_fetch(&w->turn, 1, __ATOMIC_ACQ_REL);
    }
    double cpu = run_task(j, 0, nth);
    while (nth > 1 && __atomic_load_n(&w->done, __ATOMIC_ACQUIRE) != w->turn)
        ;
    if (nth > 1)
        cpu += w->cpu;
    return (duration){now() - start, cpu / nth};
}

// The best of the rounds that fit into `seconds`, for the task and for the limit in turns.
static duration best_of(const task *j, const task *limit, int32_t nth, double seconds, duration *best_limit) {
    worker w = {.turn = 0};
    duration best = {1e9, 1e9};
    *best_limit = best;
    if (nth > 1 && pthread_create(&w.thread, NULL, work, &w))
        abort();
    once(&w, j, nth);
    for (const double end = now() + seconds; now() < end;) {
        *best_limit = shorter(*best_limit, once(&w, limit, nth));
        for (int i = 0; i < 4; i++)
            best = shorter(best, once(&w, j, nth));
    }
    if (nth > 1) {
        w.nth = -1;
        __atomic_add_fetch(&w.turn, 1, __ATOMIC_ACQ_REL);
        pthread_join(w.thread, NULL);
    }
    return best;
}

static void report(const char *title, task *j, double flop, double seconds) {
    const task limit = {.limit = limit_of(j->k->name)};
    const int wide = limit.limit == limit_plain ? 1 : !strncmp(j->k->name, "avx512", 6) ? 4 : 2;
    const double loop_flop = 2.0 * ROUNDS * SUMS * 4 * wide;
    double one = 0;
    for (int32_t nth = 1; nth <= MAX_THREADS; nth++) {
        duration most;
        const duration best = best_of(j, &limit, nth, seconds, &most);
        const double rate = flop / best.cpu * 1e-9, top = loop_flop * nth / most.cpu * 1e-9;
        printf("%-36s %d thread%s %8.1f GFLOP/s of %6.1f: %3.0f%%  %9.3f ms", title, nth, nth > 1 ? "s" : " ", rate,
               top, 100 * rate / top, best.wall * 1e3);
        if (nth == 1)
            one = best.wall;
        printf(nth > 1 ? "  x%.2f\n" : "\n", one / best.wall);
        fflush(stdout);
    }
}

// ---- what is measured ----

// Encodes x as the one part reads it, and returns what to free.
static void *encode(const bge_kernels *k, bge_linear_args *a) {
    const int32_t as = bge_linear_reads(k, a, 0);
    if (as == BGE_X_PLAIN)
        return NULL;
    bge_encode_args e = {.x = a->x, .x_stride = a->x_stride, .m = a->m, .n = a->n_in, .as = as};
    e.to = take((size_t)(a->m * bge_encoded_bytes(as, a->n_in)));
    bge_encode(k, &e, 0, 1);
    a->encoded[as] = e.to;
    return e.to;
}

static void linear(const bge_kernels *k, int32_t type, int64_t m, int64_t n_in, int64_t n_out, double seconds,
                   const char *word) {
    char title[64];
    snprintf(title, sizeof title, "linear %s %dx%dx%d",
             type == BGE_TYPE_F32   ? "f32"
             : type == BGE_TYPE_F16 ? "f16"
                                    : "bf16",
             (int)m, (int)n_in, (int)n_out);
    if (!strstr(title, word))
        return;
    const int64_t bytes = n_in * n_out * (type == BGE_TYPE_F32 ? 4 : 2);
    float *x = floats(m * n_in), *y = floats(m * n_out), *bias = floats(n_out);
    uint16_t *w = take((size_t)bytes);
    if (type == BGE_TYPE_F32)
        for (int64_t i = 0; i < n_in * n_out; i++)
            ((float *)(void *)w)[i] = x[i % (m * n_in)];
    else
        for (int64_t i = 0; i < n_in * n_out; i++) // about 1, and never denormal
            w[i] = (uint16_t)((type == BGE_TYPE_F16 ? 0x3800 : 0x3f00) + i * 37 % 1024);
    void *packed = take((size_t)bge_linear_pack_size(k, type, n_in, n_out));
    bge_linear_pack(k, type, type, n_in, n_out, w, packed, 0, 1);
    bge_linear_args args = {.x = x, .x_stride = n_in, .m = m, .n_in = n_in, .n_parts = 1};
    args.part[0] = (bge_linear_part){
        .w = packed, .type = type, .packed = 1, .n_out = n_out, .bias = bias, .y = y, .y_stride = n_out};
    void *encoded = encode(k, &args);
    task j = {.k = k, .linear = &args};
    for (int i = 0; i < MAX_THREADS; i++)
        j.scratch[i] = take((size_t)bge_linear_scratch(k, &args));
    report(title, &j, 2.0 * (double)(m * n_in * n_out), seconds);
    for (int i = 0; i < MAX_THREADS; i++)
        free(j.scratch[i]);
    free(encoded), free(packed), free(w), free(bias), free(y), free(x);
}

// Quantised weights: any bytes but for the scales, which are small numbers of f16.
static void codes(const bge_kernels *k, int32_t type, int64_t m, int64_t n_in, int64_t n_out, double seconds,
                  const char *word) {
    const int small = type == BGE_TYPE_Q8_0, six = type == BGE_TYPE_Q6_K;
    const int64_t values = small ? 32 : 256, bytes = small ? 34 : six ? 210 : 144;
    char title[64];
    snprintf(title, sizeof title, "linear %s %dx%dx%d",
             small ? "q8_0"
             : six ? "q6_k"
                   : "q4_k",
             (int)m, (int)n_in, (int)n_out);
    if (!strstr(title, word) || bge_linear_pack_size(k, type, n_in, n_out) < 0)
        return;
    float *x = floats(m * n_in), *y = floats(m * n_out);
    const int64_t size = n_in / values * bytes;
    uint8_t *w = take((size_t)(size * n_out));
    for (int64_t i = 0; i < size * n_out; i++)
        w[i] = (uint8_t)(i * 37 >> 3);
    for (int64_t i = 0; i < size * n_out; i += bytes)
        w[i + 1] = w[i + 3] = w[i + bytes - 1] = 0x10;
    bge_linear_args args = {.x = x, .x_stride = n_in, .m = m, .n_in = n_in, .n_parts = 1};
    void *packed = take((size_t)bge_linear_pack_size(k, type, n_in, n_out));
    bge_linear_pack(k, type, type, n_in, n_out, w, packed, 0, 1);
    args.part[0] = (bge_linear_part){.w = packed, .type = type, .packed = 1, .n_out = n_out, .y = y, .y_stride = n_out};
    void *encoded = encode(k, &args);
    task j = {.k = k, .linear = &args};
    for (int i = 0; i < MAX_THREADS; i++)
        j.scratch[i] = take((size_t)bge_linear_scratch(k, &args));
    report(title, &j, 2.0 * (double)(m * n_in * n_out), seconds);
    for (int i = 0; i < MAX_THREADS; i++)
        free(j.scratch[i]);
    free(encoded), free(packed), free(w), free(y), free(x);
}

static void attention(const bge_kernels *k, int32_t n, int32_t heads, int32_t d_head, int32_t causal, double seconds,
                      const char *word) {
    char title[64];
    snprintf(title, sizeof title, "attention %d tokens, %dx%d%s", n, heads, d_head, causal ? ", causal" : "");
    if (!strstr(title, word))
        return;
    const int64_t width = (int64_t)heads * d_head;
    float *q = floats(3 * n * width), *out = floats(n * width);
    const int32_t start[2] = {0, n};
    bge_attention_args args = {.q = q,
                               .k = q + width,
                               .v = q + 2 * width,
                               .out = out,
                               .q_stride = 3 * width,
                               .k_stride = 3 * width,
                               .v_stride = 3 * width,
                               .out_stride = width,
                               .q_start = start,
                               .kv_start = start,
                               .n_seq = 1,
                               .n_head = heads,
                               .n_kv_head = heads,
                               .d_head = d_head,
                               .causal = causal,
                               .scale = 0.125f};
    task j = {.k = k, .attention = &args};
    for (int i = 0; i < MAX_THREADS; i++)
        j.scratch[i] = take((size_t)bge_attention_scratch(k, &args));
    report(title, &j, 4.0 * n * (causal ? (n + 1) / 2 : n) * (double)width, seconds);
    for (int i = 0; i < MAX_THREADS; i++)
        free(j.scratch[i]);
    free(q), free(out);
}

static void norm(const bge_kernels *k, int64_t m, int64_t n, double seconds, const char *word) {
    char title[64];
    snprintf(title, sizeof title, "layer norm %dx%d", (int)m, (int)n);
    if (!strstr(title, word))
        return;
    float *x = floats(m * n), *y = floats(m * n);
    bge_norm_args args = {
        .x = x, .x_stride = n, .weight = x, .bias = x, .y = y, .y_stride = n, .m = m, .n = n, .eps = 1e-5f};
    task j = {.k = k, .norm = &args};
    report(title, &j, 8.0 * (double)(m * n), seconds);
    free(x), free(y);
}

int main(int argc, char **argv) {
    static const int64_t rows[] = {1, 16, 197, 577, 1576};
    static const int64_t shapes[][2] = {{768, 768}, {768, 3072}, {3072, 768}, {1024, 4096}, {512, 2048}, {4096, 4096}};
    static const int32_t types[] = {BGE_TYPE_F16, BGE_TYPE_F32, BGE_TYPE_BF16};
    const double seconds = argc > 1 ? atof(argv[1]) : 0.3;
    const char *word = argc > 3 ? argv[3] : "";
    const bge_kernels *k = bge_kernels_select(argc > 2 ? argv[2] : NULL, NULL);
    if (!k || seconds <= 0) {
        fprintf(stderr, "usage: %s [SECONDS [TABLE [WORD]]]: this processor has no such table\n", argv[0]);
        return 2;
    }
    printf("kernels: %s\n", k->name);
    for (int t = 0; t < 3; t++)
        for (int s = 0; s < 6; s++)
            for (int r = 0; r < 5; r++)
                linear(k, types[t], rows[r], shapes[s][0], shapes[s][1], seconds, word);
    static const int32_t quantised[] = {BGE_TYPE_Q4_K, BGE_TYPE_Q6_K, BGE_TYPE_Q8_0};
    for (int t = 0; t < 3; t++)
        for (int r = 0; r < 5; r++)
            codes(k, quantised[t], rows[r], 4096, 1024, seconds, word);
    attention(k, 197, 12, 64, 0, seconds, word);
    attention(k, 577, 16, 64, 0, seconds, word);
    attention(k, 77, 8, 64, 1, seconds, word);
    attention(k, 2929, 4, 128, 1, seconds, word);
    norm(k, 197, 768, seconds, word);
    norm(k, 1576, 1024, seconds, word);
    return 0;
}
