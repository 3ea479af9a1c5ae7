// What the parts of the kernels' test share: guarded memory, random numbers, threads, comparisons. Build: see
// kernels_test.c.
//
// All state of a test is in its own frame but the two counters of check.c: the parts run one after another.
#ifndef BGE_CHECK_H
#define BGE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

enum { MAX_THREADS = 3, MAX_TABLES = 8, MAX_BLOCKS = 48 };

// The tables under test, without the reference.
typedef struct tables {
    const bge_kernels *k[MAX_TABLES];
    int n;
    const bge_kernels *ref;
    int share; // run one case in `share`: emulators and sanitizers are slow
} tables;

// check counts a failure and prints the message where ok is 0, and returns ok. The program ends after 20 failures.
int check(int ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
int check_failures(void);
long check_count(void);

// Memory between guard bytes. Under AddressSanitizer the blocks are exact, so that it sees reads past them too.
typedef struct arena {
    struct {
        unsigned char *base, *block;
        size_t bytes;
    } at[MAX_BLOCKS];
    int n;
} arena;

// take returns bytes of memory that start `off` bytes after a multiple of 64, filled with 0xA5.
void *take(arena *a, size_t bytes, size_t off);
float *take_floats(arena *a, int64_t n);                  // aligned to 4 bytes only
float *take_copy(arena *a, const float *from, int64_t n); // the same with from's values
void give_back(arena *a, int to, const char *what);       // checks the guards of the blocks from `to` on, frees them

// Random numbers, the same on every machine.
typedef struct random_state {
    uint64_t state;
} random_state;
uint32_t random_bits(random_state *r);
int64_t random_below(random_state *r, int64_t n);
float random_unit(random_state *r); // uniform in (-1, 1)
void random_fill(random_state *r, float *to, int64_t n, float scale);
#define PICK(r, list) (list)[random_below(r, (int64_t)(sizeof(list) / sizeof((list)[0])))]

// Runs f(arg, ith, nth) in nth threads at once.
void run_threads(void (*f)(void *arg, int32_t ith, int32_t nth), void *arg, int32_t nth);

// Encodes x as the parts of a linear layer read it. What it allocates stays in *a.
void encode_x(arena *a, const bge_kernels *k, bge_linear_args *args, int32_t nth);

// The squared error of rows x cols values over the reference's squares, which count as at least `floor` a value.
double nmse(const float *got, int64_t got_stride, const float *want, int64_t want_stride, int64_t rows, int64_t cols,
            double floor);
int same_bits(const float *a, int64_t a_stride, const float *b, int64_t b_stride, int64_t rows, int64_t cols);

uint16_t half_of(float f); // nearest f16, ties to even
uint16_t bf16_of(float f);
float of_half(uint16_t h);
float of_bf16(uint16_t h);

void test_linear(const tables *t);
void test_linear_special(const tables *t);
void test_codes(const tables *t);
void test_attention(const tables *t);
void test_norms(const tables *t);
void test_patches(const tables *t);
void test_packing(const tables *t);
void test_rows(const tables *t);
void test_choice(const tables *t);
void test_reference(const tables *t);

#endif
