// Guarded memory, random numbers, threads and comparisons for the kernels' test. Build: see kernels_test.c.
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long checks;
static int failures;

int check(int ok, const char *format, ...) {
    checks++;
    if (ok)
        return 1;
    va_list args;
    va_start(args, format);
    printf("FAIL: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    if (++failures >= 20) {
        printf("FAIL: too many failures, stopped\n");
        exit(1);
    }
    return 0;
}

int check_failures(void) {
    return failures;
}
long check_count(void) {
    return checks;
}

#if defined(__SANITIZE_ADDRESS__)
enum { GUARD = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { GUARD = 0 };
#else
enum { GUARD = 256 };
#endif
#else
enum { GUARD = 256 };
#endif

void *take(arena *a, size_t bytes, size_t off) {
    if (a->n == MAX_BLOCKS)
        abort();
    unsigned char *base, *block;
    if (GUARD == 0) {
        base = block = malloc(bytes);
    } else {
        base = malloc(bytes + 2 * GUARD + 64);
        if (base)
            block = base + GUARD + (64 - ((uintptr_t)base + GUARD) % 64) % 64 + off % 64;
    }
    if (!base)
        abort();
    if (GUARD)
        memset(base, 0x5C, (size_t)(block - base) + bytes + (size_t)GUARD - 64);
    memset(block, 0xA5, bytes);
    a->at[a->n].base = base;
    a->at[a->n].block = block;
    a->at[a->n++].bytes = bytes;
    return block;
}

float *take_floats(arena *a, int64_t n) {
    return take(a, (size_t)n * sizeof(float), 4);
}

float *take_copy(arena *a, const float *from, int64_t n) {
    float *f = take_floats(a, n);
    memcpy(f, from, (size_t)n * sizeof(float));
    return f;
}

void give_back(arena *a, int to, const char *what) {
    while (a->n > to) {
        a->n--;
        const unsigned char *block = a->at[a->n].block, *end = block + a->at[a->n].bytes;
        int whole = 1;
        for (int i = 0; i < GUARD - 64; i++)
            whole &= block[-1 - i] == 0x5C && end[i] == 0x5C;
        check(whole, "%s: wrote outside a block of %zu bytes", what, a->at[a->n].bytes);
        free(a->at[a->n].base);
    }
}

uint32_t random_bits(random_state *r) { // splitmix64
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

int64_t random_below(random_state *r, int64_t n) {
    return (int64_t)random_bits(r) % n;
}
float random_unit(random_state *r) {
    return (float)((double)random_bits(r) / 2147483648.0 - 1);
}

void random_fill(random_state *r, float *to, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++)
        to[i] = random_unit(r) * scale;
}

typedef struct job {
    void (*f)(void *, int32_t, int32_t);
    void *arg;
    int32_t ith, nth;
} job;

static void *run_job(void *arg) {
    const job *j = arg;
    j->f(j->arg, j->ith, j->nth);
    return NULL;
}

void run_threads(void (*f)(void *, int32_t, int32_t), void *arg, int32_t nth) {
    pthread_t thread[MAX_THREADS];
    job jobs[MAX_THREADS];
    for (int32_t i = 0; i < nth; i++)
        jobs[i] = (job){f, arg, i, nth};
    for (int32_t i = 1; i < nth; i++)
        if (pthread_create(&thread[i], NULL, run_job, &jobs[i]))
            abort();
    run_job(&jobs[0]);
    for (int32_t i = 1; i < nth; i++)
        pthread_join(thread[i], NULL);
}

typedef struct encoding {
    const bge_kernels *k;
    bge_encode_args args;
} encoding;

static void run_encoding(void *arg, int32_t ith, int32_t nth) {
    encoding *e = arg;
    bge_encode(e->k, &e->args, ith, nth);
}

void encode_x(arena *a, const bge_kernels *k, bge_linear_args *args, int32_t nth) {
    for (int32_t i = 0; i < args->n_parts; i++) {
        const int32_t as = bge_linear_reads(k, args, i);
        if (as == BGE_X_PLAIN || args->encoded[as])
            continue;
        encoding e = {k, {.x = args->x, .x_stride = args->x_stride, .m = args->m, .n = args->n_in, .as = as}};
        e.args.to = take(a, (size_t)(bge_encoded_bytes(as, args->n_in) * args->m), 4);
        run_threads(run_encoding, &e, nth);
        args->encoded[as] = e.args.to;
    }
}

double nmse(const float *got, int64_t got_stride, const float *want, int64_t want_stride, int64_t rows, int64_t cols,
            double floor) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const double w = want[i * want_stride + j], d = got[i * got_stride + j] - w;
            error += d * d;
            size += w * w;
        }
    return error / fmax(size, floor * (double)(rows * cols));
}

int same_bits(const float *a, int64_t a_stride, const float *b, int64_t b_stride, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows; i++)
        if (memcmp(a + i * a_stride, b + i * b_stride, (size_t)cols * sizeof(float)))
            return 0;
    return 1;
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t half_of(float f) {
    const uint16_t sign = (uint16_t)(bits_of(f) >> 16 & 0x8000);
    const double size = fabs((double)f);
    if (isnan(f))
        return sign | 0x7e00;
    if (size >= 65520)
        return sign | 0x7c00;
    if (size < 0x1p-14) // subnormal, or just rounded up to normal: the bits go on in order
        return sign | (uint16_t)nearbyint(size * 0x1p24);
    int exponent;
    const double fraction = frexp(size, &exponent); // in [0.5, 1)
    return (uint16_t)(sign | (((exponent + 14) << 10) + (int)nearbyint((fraction * 2 - 1) * 1024)));
}

float of_half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    float f = exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
    if (exponent == 31)
        f = fraction ? NAN : INFINITY;
    return h & 0x8000 ? -f : f;
}

uint16_t bf16_of(float f) {
    const uint32_t u = bits_of(f);
    if (isnan(f))
        return (uint16_t)(u >> 16 | 0x40);
    const uint32_t low = u & 0xffff;
    return (uint16_t)((u >> 16) + (low > 0x8000 || (low == 0x8000 && (u >> 16 & 1))));
}

float of_bf16(uint16_t h) {
    return float_of((uint32_t)h << 16);
}
