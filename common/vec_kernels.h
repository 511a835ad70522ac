/* The sets of kernels, for vec.c alone: one file each. A file is compiled for
 * any x86-64; only its functions are marked with what they need, so nothing of
 * it may run before vec.c has asked the CPU. */
#ifndef COMMON_VEC_KERNELS_H
#define COMMON_VEC_KERNELS_H

#include "common/code_kernels.h"
#include "common/vec.h"

extern const struct vec_kernels vec_scalar;
#ifdef __x86_64__
extern const struct vec_kernels vec_sse4;       /* SSE4.1 */
extern const struct vec_kernels vec_avx2;       /* AVX2 and FMA */
extern const struct vec_kernels vec_avx512;     /* AVX-512F */
extern const struct vec_kernels vec_avx512_vnni; /* and BW and VNNI, for codes */
#endif

#endif
