/* The Hadamard transform, once for every width of register: each set's file defines
 * HADAMARD_LANES and HADAMARD_TARGET and includes this. Every output is the same
 * tree of additions whatever the width, and multiplication comes last, so that no
 * compiler can fuse it with one: the results are the same to the last bit. */
#ifndef COMMON_CODE_HADAMARD_H
#define COMMON_CODE_HADAMARD_H

#include <stddef.h>
#include <stdint.h>

#ifndef HADAMARD_LANES
#define HADAMARD_LANES 4
#define HADAMARD_TARGET
#endif

typedef float hadamard_v __attribute__((vector_size(HADAMARD_LANES * 4), aligned(4), may_alias));
typedef uint32_t hadamard_u __attribute__((vector_size(HADAMARD_LANES * 4), aligned(4), may_alias));

/* Pairs inside one register: lane i meets lane i ^ h. */
HADAMARD_TARGET static inline hadamard_v hadamard_within(hadamard_v v, unsigned h)
{
	hadamard_u other, flip;

	for (unsigned i = 0; i < HADAMARD_LANES; i++) {
		other[i] = i ^ h;
		flip[i] = (i & h) != 0 ? 0x80000000u : 0;
	}
	return __builtin_shuffle(v, other) + (hadamard_v)((hadamard_u)v ^ flip);
}

HADAMARD_TARGET static inline hadamard_v hadamard_flip(hadamard_v v, uint64_t bits)
{
	hadamard_u lane;

	for (unsigned i = 0; i < HADAMARD_LANES; i++)
		lane[i] = 1u << i;
	return (hadamard_v)((hadamard_u)v ^ ((hadamard_u)((lane & (uint32_t)bits) != 0) & 0x80000000u));
}

HADAMARD_TARGET static inline void hadamard(float *x, size_t n, const uint64_t *flip, float scale)
{
	for (size_t i = 0; i < n; i += HADAMARD_LANES) {
		hadamard_v *p = (hadamard_v *)(void *)(x + i), v;

		v = hadamard_flip(*p, flip[i / 64] >> (i % 64));
		for (unsigned h = 1; h < HADAMARD_LANES; h *= 2)
			v = hadamard_within(v, h);
		*p = v;
	}
	for (size_t h = HADAMARD_LANES; h < n; h *= 2)
		for (size_t i = 0; i < n; i += 2 * h)
			for (size_t j = i; j < i + h; j += HADAMARD_LANES) {
				hadamard_v *p = (hadamard_v *)(void *)(x + j), *q = (hadamard_v *)(void *)(x + j + h);
				hadamard_v a = *p, b = *q;

				*p = a + b;
				*q = a - b;
			}
	for (size_t i = 0; i < n; i += HADAMARD_LANES)
		*(hadamard_v *)(void *)(x + i) *= scale;
}

#endif
