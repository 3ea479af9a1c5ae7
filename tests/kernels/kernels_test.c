// Every kernel table that this machine can run, against the plain reference, over odd shapes.
//
//     cd tests/kernels
//     cc -std=gnu11 -O2 -I../../csrc *_test.c check.c ../../csrc/kernels*.c ../../csrc/cpu.c -lm -lpthread -o kernels
//     ./kernels [SHARE [TABLE]]
//
// SHARE n runs one in n of the random cases, for emulators and sanitizers; TABLE picks one table. With -DBGE_SIMDE
// -mavx2 -mfma -mf16c the AVX-512 tables are compiled over SIMDe and tested on a processor without AVX-512. It prints
// what was tested and ends with 0 where all is well, 1 where not.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BGE_SIMDE
extern const bge_kernels bge_kernels_avxvnni, bge_kernels_avx512, bge_kernels_avx512vnni, bge_kernels_avx512bf16;
#endif

static void add(tables *t, const bge_kernels *k, const char *only) {
    if (!strcmp(k->name, "ref"))
        t->ref = k;
    else if ((!only || !strcmp(k->name, only)) && t->n < MAX_TABLES)
        t->k[t->n++] = k;
}

int main(int argc, char **argv) {
    tables t = {.share = argc > 1 ? atoi(argv[1]) : 1};
    const char *only = argc > 2 ? argv[2] : NULL;
    if (t.share < 1) {
        fprintf(stderr, "usage: %s [SHARE [TABLE]]: SHARE is a number from 1 on\n", argv[0]);
        return 2;
    }
    const bge_kernels *k;
    for (int32_t i = 0; (k = bge_kernels_at(i)); i++)
        add(&t, k, only);
#ifdef BGE_SIMDE
    add(&t, &bge_kernels_avx512bf16, only);
    add(&t, &bge_kernels_avx512vnni, only);
    add(&t, &bge_kernels_avx512, only);
    add(&t, &bge_kernels_avxvnni, only);
#endif
    check(t.ref != NULL, "the reference is not in the list of tables");
    check(t.n > 0 || !only, "no table is named %s", only);
    static const struct {
        const char *name;
        void (*f)(const tables *);
    } tests[] = {
        {"reference", test_reference},
        {"choice", test_choice},
        {"packing", test_packing},
        {"linear", test_linear},
        {"special values", test_linear_special},
        {"codes", test_codes},
        {"norms", test_norms},
        {"attention", test_attention},
        {"patches", test_patches},
        {"rows", test_rows},
    };
    printf("tables:");
    for (int i = 0; i < t.n; i++)
        printf(" %s%s", t.k[i]->name, t.k[i]->bf16 ? "+bf16" : "");
    printf("\n");
    for (size_t i = 0; t.ref && i < sizeof tests / sizeof tests[0]; i++) {
        const long before = check_count();
        tests[i].f(&t);
        printf("%-16s %ld checks\n", tests[i].name, check_count() - before);
        fflush(stdout);
    }
    printf("%s: %ld checks, %d failures\n", check_failures() ? "FAIL" : "ok", check_count(), check_failures());
    return check_failures() != 0;
}
