/* Four lanes, four sums: the sums hide the latency of the addition. */
#ifdef __x86_64__
#include "common/vec_kernels.h"

#include <immintrin.h>

#define SSE4 __attribute__((target("sse4.1")))

SSE4 static inline float total(__m128 v)
{
	v = _mm_add_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

SSE4 static inline __m128 mul(const float *a, const float *b)
{
	return _mm_mul_ps(_mm_loadu_ps(a), _mm_loadu_ps(b));
}

SSE4 static float dot(const float *a, const float *b, size_t dim)
{
	__m128 s0 = _mm_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;
	float rest = 0;

	for (; i + 16 <= dim; i += 16) {
		s0 = _mm_add_ps(s0, mul(a + i, b + i));
		s1 = _mm_add_ps(s1, mul(a + i + 4, b + i + 4));
		s2 = _mm_add_ps(s2, mul(a + i + 8, b + i + 8));
		s3 = _mm_add_ps(s3, mul(a + i + 12, b + i + 12));
	}
	for (; i + 4 <= dim; i += 4)
		s0 = _mm_add_ps(s0, mul(a + i, b + i));
	for (; i < dim; i++)
		rest += a[i] * b[i];
	return total(_mm_add_ps(_mm_add_ps(s0, s1), _mm_add_ps(s2, s3))) + rest;
}

SSE4 static void dot3(const float *a, const float *b, size_t dim, float out[3])
{
	__m128 ab0 = _mm_setzero_ps(), ab1 = ab0, aa0 = ab0, aa1 = ab0, bb0 = ab0, bb1 = ab0;
	size_t i = 0;

	for (; i + 8 <= dim; i += 8) {
		ab0 = _mm_add_ps(ab0, mul(a + i, b + i));
		ab1 = _mm_add_ps(ab1, mul(a + i + 4, b + i + 4));
		aa0 = _mm_add_ps(aa0, mul(a + i, a + i));
		aa1 = _mm_add_ps(aa1, mul(a + i + 4, a + i + 4));
		bb0 = _mm_add_ps(bb0, mul(b + i, b + i));
		bb1 = _mm_add_ps(bb1, mul(b + i + 4, b + i + 4));
	}
	out[0] = total(_mm_add_ps(ab0, ab1));
	out[1] = total(_mm_add_ps(aa0, aa1));
	out[2] = total(_mm_add_ps(bb0, bb1));
	for (; i < dim; i++) {
		out[0] += a[i] * b[i];
		out[1] += a[i] * a[i];
		out[2] += b[i] * b[i];
	}
}

const struct vec_kernels vec_sse4 = { "sse4", "sse4", &code_sse4, 4, dot, dot3 };
#endif
