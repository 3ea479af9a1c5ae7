//go:build !bgevl_static

// Processor features: cpuid and xgetbv on x86, the auxiliary vector on Linux on Arm, sysctl on Macs.
//
// The compiler's own __builtin_cpu_supports would do, but each compiler knows other names; cpuid does not change.
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

// The register sets that the operating system saves: bit 1 SSE, 2 AVX, 5 to 7 AVX-512.
static unsigned saved_state(void) {
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

static int bit(unsigned word, int n) {
    return (word >> n) & 1;
}

unsigned bge_cpu_features(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    const int fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
    if (!osxsave || !avx)
        return 0;
    const unsigned saved = saved_state();
    const int ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;
    if (!ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    const unsigned max_sub = a;
    const int avx2 = bit(b, 5), f = bit(b, 16), dq = bit(b, 17), bw = bit(b, 30), vl = bit(b, 31);
    const int vnni512 = bit(c, 11);
    unsigned have = 0;
    if (avx2 && fma && f16c)
        have |= BGE_CPU_AVX2;
    if ((have & BGE_CPU_AVX2) && zmm && f && dq && bw && vl)
        have |= BGE_CPU_AVX512;
    if ((have & BGE_CPU_AVX512) && vnni512)
        have |= BGE_CPU_AVX512VNNI;
    if (max_sub < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d))
        return have;
    if ((have & BGE_CPU_AVX2) && bit(a, 4))
        have |= BGE_CPU_AVXVNNI;
    if ((have & BGE_CPU_AVX512) && bit(a, 5))
        have |= BGE_CPU_AVX512BF16;
    return have;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

unsigned bge_cpu_features(void) {
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    unsigned have = BGE_CPU_NEON; // part of the base architecture
    if (cap & (1ul << 20))
        have |= BGE_CPU_DOTPROD; // HWCAP_ASIMDDP
    if (cap2 & (1ul << 13))
        have |= BGE_CPU_I8MM; // HWCAP2_I8MM
    if (cap2 & (1ul << 14))
        have |= BGE_CPU_ARMBF16; // HWCAP2_BF16
    return have;
}

#elif defined(__aarch64__) && defined(__APPLE__)
#include <stddef.h>
#include <sys/sysctl.h>

static int has(const char *feature) {
    int value = 0;
    size_t size = sizeof value;
    return !sysctlbyname(feature, &value, &size, NULL, 0) && value;
}

unsigned bge_cpu_features(void) {
    unsigned have = BGE_CPU_NEON | BGE_CPU_DOTPROD; // every M
    if (has("hw.optional.arm.FEAT_I8MM"))
        have |= BGE_CPU_I8MM;
    if (has("hw.optional.arm.FEAT_BF16"))
        have |= BGE_CPU_ARMBF16;
    return have;
}

#elif defined(__aarch64__)
unsigned bge_cpu_features(void) {
    return BGE_CPU_NEON;
}

#else
unsigned bge_cpu_features(void) {
    return 0;
}
#endif
