// The most that a processor can compute: loops of one instruction on registers alone, which no program passes.
//
//     cc -std=gnu11 -O2 -Icsrc bench/limit/limit.c csrc/cpu.c -lpthread -o limit
//     ./limit                  a line of JSON that names what it measures; then, for each line "KIND THREADS" of
//     standard
//                              input, a line with the rate in operations a second, a multiplication and an addition
//                              each counting as one
//
// The benchmark has it measure beside every sample of a model, since the clock and the neighbours of a machine change.
//
// f32    float multiply-adds of the widest vectors
// bf16   dot products of bf16 pairs, where the processor has them
// int16  products of 16 bits, summed in 32 (AVX2: VPMADDWD and an addition)
// int8   products of 8 bits, summed in 32: VPDPBUSD, SDOT or SMMLA, where the processor has them; else VPMADDUBSW,
//        VPMADDWD and an addition, three instructions
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"

enum {
    ROUNDS = 1000000, // some milliseconds
    REPEATS = 3,      // the best counts, since a thread may be interrupted
    MAX_THREADS = 512,
};

#define EIGHT(f) f(c0) f(c1) f(c2) f(c3) f(c4) f(c5) f(c6) f(c7)
#define TWELVE(f) EIGHT(f) f(c8) f(c9) f(c10) f(c11)

// Tells the compiler that a register may have changed, so that nothing is taken out of the loop.
#if defined(__x86_64__)
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#elif defined(__aarch64__)
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#else
#define KEEP(v) __asm__ volatile("" : "+m"(v))
#endif

// A loop over sums of a vector type, EIGHT or TWELVE: more than latency times throughput of the addition, and few
// enough for all to stay in registers. STEP(c) adds a product of a and b to c.
#define LOOP(name, attribute, type, EACH, STEP)                                                                        \
    static attribute void name(void) {                                                                                 \
        type a, b, ones;                                                                                               \
        memset(&a, 1, sizeof a), memset(&b, 1, sizeof b), memset(&ones, 1, sizeof ones);                               \
        (void)ones;                                                                                                    \
        EACH(DECLARE)                                                                                                  \
        for (int i = 0; i < ROUNDS; i++) {                                                                             \
            KEEP(a);                                                                                                   \
            KEEP(b);                                                                                                   \
            EACH(STEP)                                                                                                 \
        }                                                                                                              \
        EACH(HOLD)                                                                                                     \
    }
#define DECLARE(c) __typeof__(a) c = {0};
#define HOLD(c) KEEP(c);

typedef struct loop {
    const char *kind;
    void (*run)(void);
    double ops; // of a round
    const char *how;
} loop;

#if !defined(__aarch64__)
// ---- what every processor has: vectors of 16 bytes as the compiler makes them ----

typedef float f4 __attribute__((vector_size(16)));
#define PLAIN(c)                                                                                                       \
    c = c * a + b;                                                                                                     \
    KEEP(c);
LOOP(plain_f32, , f4, TWELVE, PLAIN)
#endif

#if defined(__x86_64__)
#include <immintrin.h>

#define A2 __attribute__((target("avx2,fma")))
#define FMA2(c)                                                                                                        \
    c = _mm256_fmadd_ps(c, a, b);                                                                                      \
    KEEP(c);
LOOP(avx2_f32, A2, __m256, TWELVE, FMA2)
// As text, since a compiler may think that an operand is as well read from memory each time.
#define WORDS2(c)                                                                                                      \
    {                                                                                                                  \
        __m256i t;                                                                                                     \
        __asm__ volatile("vpmaddwd %3, %2, %1; vpaddd %1, %0, %0" : "+x"(c), "=&x"(t) : "x"(a), "x"(b));               \
    }
LOOP(avx2_int16, A2, __m256i, EIGHT, WORDS2)
#define BYTES2(c)                                                                                                      \
    {                                                                                                                  \
        __m256i t;                                                                                                     \
        __asm__ volatile("vpmaddubsw %3, %2, %1; vpmaddwd %4, %1, %1; vpaddd %1, %0, %0"                               \
                         : "+x"(c), "=&x"(t)                                                                           \
                         : "x"(a), "x"(b), "x"(ones));                                                                 \
    }
LOOP(avx2_int8, A2, __m256i, EIGHT, BYTES2)
#define DOT2(c)                                                                                                        \
    KEEP(a);                                                                                                           \
    c = _mm256_dpbusd_avx_epi32(c, a, b);                                                                              \
    KEEP(c);
LOOP(avxvnni_int8, __attribute__((target("avx2,avxvnni"))), __m256i, TWELVE, DOT2)
#define FMA5(c)                                                                                                        \
    c = _mm512_fmadd_ps(c, a, b);                                                                                      \
    KEEP(c);
LOOP(avx512_f32, __attribute__((target("avx512f"))), __m512, TWELVE, FMA5)
#define WORDS5(c)                                                                                                      \
    KEEP(a);                                                                                                           \
    c = _mm512_add_epi32(c, _mm512_madd_epi16(a, b));                                                                  \
    KEEP(c);
LOOP(avx512_int16, __attribute__((target("avx512f,avx512bw"))), __m512i, TWELVE, WORDS5)
#define DOT5(c)                                                                                                        \
    KEEP(a);                                                                                                           \
    c = _mm512_dpbusd_epi32(c, a, b);                                                                                  \
    KEEP(c);
LOOP(avx512_int8, __attribute__((target("avx512f,avx512vnni"))), __m512i, TWELVE, DOT5)
#define PAIRS5(c)                                                                                                      \
    c = _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);                                                                 \
    KEEP(c);
LOOP(avx512_bf16, __attribute__((target("avx512f,avx512bf16"))), __m512, TWELVE, PAIRS5)

static int list(loop *to) {
    const unsigned have = bge_cpu_features();
    int n = 0;
    if (have & BGE_CPU_AVX512)
        to[n++] = (loop){"f32", avx512_f32, 12 * 2 * 16, "AVX-512 VFMADD"};
    else if (have & BGE_CPU_AVX2)
        to[n++] = (loop){"f32", avx2_f32, 12 * 2 * 8, "AVX2 VFMADD"};
    else
        to[n++] = (loop){"f32", plain_f32, 12 * 2 * 4, "SSE MULPS and ADDPS"};
    if (have & BGE_CPU_AVX512BF16)
        to[n++] = (loop){"bf16", avx512_bf16, 12 * 2 * 32, "VDPBF16PS"};
    if (have & BGE_CPU_AVX512)
        to[n++] = (loop){"int16", avx512_int16, 12 * 2 * 32, "AVX-512 VPMADDWD and VPADDD"};
    else if (have & BGE_CPU_AVX2)
        to[n++] = (loop){"int16", avx2_int16, 8 * 2 * 16, "AVX2 VPMADDWD and VPADDD"};
    if (have & BGE_CPU_AVX512VNNI)
        to[n++] = (loop){"int8", avx512_int8, 12 * 2 * 64, "AVX-512 VPDPBUSD"};
    else if (have & BGE_CPU_AVXVNNI)
        to[n++] = (loop){"int8", avxvnni_int8, 12 * 2 * 32, "AVX VPDPBUSD"};
    else if (have & BGE_CPU_AVX2)
        to[n++] = (loop){"int8", avx2_int8, 8 * 2 * 32, "AVX2 VPMADDUBSW, VPMADDWD and VPADDD"};
    return n;
}

#elif defined(__aarch64__)
#include <arm_neon.h>

#define FMA(c)                                                                                                         \
    c = vfmaq_f32(c, a, b);                                                                                            \
    KEEP(c);
LOOP(neon_f32, , float32x4_t, TWELVE, FMA)
// The assembler is told what the instruction needs: compilers spell the attributes differently.
#define ARM(extension, instruction, c)                                                                                 \
    __asm__ volatile(".arch armv8.6-a+" extension "\n\t" instruction : "+w"(c) : "w"(a), "w"(b));
#define SDOT(c) ARM("dotprod", "sdot %0.4s, %1.16b, %2.16b", c)
LOOP(neon_dot, , int32x4_t, TWELVE, SDOT)
#define SMMLA(c) ARM("i8mm", "smmla %0.4s, %1.16b, %2.16b", c)
LOOP(neon_i8mm, , int32x4_t, TWELVE, SMMLA)
#define BFMMLA(c) ARM("bf16", "bfmmla %0.4s, %1.8h, %2.8h", c)
LOOP(neon_bf16, , int32x4_t, TWELVE, BFMMLA)

static int list(loop *to) {
    const unsigned have = bge_cpu_features();
    int n = 0;
    to[n++] = (loop){"f32", neon_f32, 12 * 2 * 4, "NEON FMLA"};
    if (have & BGE_CPU_ARMBF16)
        to[n++] = (loop){"bf16", neon_bf16, 12 * 2 * 16, "BFMMLA"};
    if (have & BGE_CPU_I8MM)
        to[n++] = (loop){"int8", neon_i8mm, 12 * 2 * 32, "SMMLA"};
    else if (have & BGE_CPU_DOTPROD)
        to[n++] = (loop){"int8", neon_dot, 12 * 2 * 16, "SDOT"};
    return n;
}

#else
static int list(loop *to) {
    to[0] = (loop){"f32", plain_f32, 12 * 2 * 4, "plain vectors"};
    return 1;
}
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Threads that start together: each says that it is there and waits until all are.
typedef struct crew {
    const loop *l;
    int n, there, done;
} crew;

static void *work(void *arg) {
    crew *c = arg;
    __atomic_add_fetch(&c->there, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&c->there, __ATOMIC_ACQUIRE) < c->n)
        ;
    c->l->run();
    __atomic_add_fetch(&c->done, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

// The seconds that n threads take for a loop each.
static double once(const loop *l, int n) {
    crew c = {.l = l, .n = n};
    pthread_t threads[MAX_THREADS];
    for (int i = 1; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, &c))
            abort();
    while (__atomic_load_n(&c.there, __ATOMIC_ACQUIRE) < n - 1)
        ;
    const double start = now();
    work(&c);
    for (int i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
    return now() - start;
}

static void measure(const loop *l, int n) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double t = once(l, n);
        best = t < best ? t : best;
    }
    printf("{\"ops\": %.4e}\n", l->ops * ROUNDS * n / best);
}

int main(void) {
    loop loops[8];
    const int n = list(loops);
    printf("{\"ready\": true, \"limits\": {");
    for (int i = 0; i < n; i++)
        printf("%s\"%s\": \"%s\"", i ? ", " : "", loops[i].kind, loops[i].how);
    printf("}}\n");
    fflush(stdout);
    char kind[16];
    for (int threads; scanf("%15s %d", kind, &threads) == 2; fflush(stdout)) {
        const loop *l = NULL;
        for (int i = 0; i < n; i++)
            if (!strcmp(loops[i].kind, kind))
                l = &loops[i];
        if (!l || threads < 1 || threads > MAX_THREADS)
            printf("{\"error\": \"no limit %s of %d threads here\"}\n", kind, threads);
        else
            measure(l, threads);
    }
    return 0;
}
