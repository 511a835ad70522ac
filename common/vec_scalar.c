/* Plain C, one number after the other: what every machine can do, what the
 * others are measured against. The compiler must not make vectors of it. */
#include "common/vec_kernels.h"

#if defined(__clang__)
#define PLAIN_LOOP _Pragma("clang loop vectorize(disable) interleave(disable)")
#define PLAIN
#else
#define PLAIN_LOOP
#define PLAIN __attribute__((optimize("no-tree-vectorize")))
#endif

PLAIN static float dot(const float *a, const float *b, size_t dim)
{
	float sum = 0;

	PLAIN_LOOP
	for (size_t i = 0; i < dim; i++)
		sum += a[i] * b[i];
	return sum;
}

PLAIN static void dot3(const float *a, const float *b, size_t dim, float out[3])
{
	float ab = 0, aa = 0, bb = 0;

	PLAIN_LOOP
	for (size_t i = 0; i < dim; i++) {
		ab += a[i] * b[i];
		aa += a[i] * a[i];
		bb += b[i] * b[i];
	}
	out[0] = ab;
	out[1] = aa;
	out[2] = bb;
}

const struct vec_kernels vec_scalar = { "scalar", "scalar", &code_scalar, 1, dot, dot3 };
