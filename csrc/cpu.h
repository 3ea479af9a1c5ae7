// What the processor offers to the kernels, asked once per call: no state is kept.
#ifndef BGE_CPU_H
#define BGE_CPU_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    BGE_CPU_AVX2 = 1 << 0,       // AVX2, FMA and F16C
    BGE_CPU_AVXVNNI = 1 << 1,    // int8 dot products in 256 bits
    BGE_CPU_AVX512 = 1 << 2,     // F, BW, DQ and VL
    BGE_CPU_AVX512VNNI = 1 << 3, // int8 dot products in 512 bits
    BGE_CPU_AVX512BF16 = 1 << 4, // bf16 dot products in 512 bits
    BGE_CPU_NEON = 1 << 5,
    BGE_CPU_DOTPROD = 1 << 6, // Arm int8 dot products
    BGE_CPU_I8MM = 1 << 7,    // Arm int8 matrix products
    BGE_CPU_ARMBF16 = 1 << 8, // Arm bf16 dot and matrix products
};

// bge_cpu_features returns what this processor has and the operating system lets a program use: BGE_CPU_* bits.
unsigned bge_cpu_features(void);

#ifdef __cplusplus
}
#endif
#endif
