/* Sixteen lanes, four sums, tails under a mask. */
#ifdef __x86_64__
#include "common/vec_kernels.h"

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

AVX512 static inline __m512 fma16(const float *a, const float *b, __m512 sum)
{
	return _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), sum);
}

AVX512 static inline __mmask16 first(size_t n)
{
	return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffffu);
}

AVX512 static float dot(const float *a, const float *b, size_t dim)
{
	__m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;

	for (; i + 64 <= dim; i += 64) {
		s0 = fma16(a + i, b + i, s0);
		s1 = fma16(a + i + 16, b + i + 16, s1);
		s2 = fma16(a + i + 32, b + i + 32, s2);
		s3 = fma16(a + i + 48, b + i + 48, s3);
	}
	for (; i + 16 <= dim; i += 16)
		s0 = fma16(a + i, b + i, s0);
	if (i < dim) {
		__mmask16 m = first(dim - i);

		s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i), s1);
	}
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

AVX512 static void dot3(const float *a, const float *b, size_t dim, float out[3])
{
	__m512 ab0 = _mm512_setzero_ps(), ab1 = ab0, aa0 = ab0, aa1 = ab0, bb0 = ab0, bb1 = ab0;
	size_t i = 0;

	for (; i + 32 <= dim; i += 32) {
		ab0 = fma16(a + i, b + i, ab0);
		ab1 = fma16(a + i + 16, b + i + 16, ab1);
		aa0 = fma16(a + i, a + i, aa0);
		aa1 = fma16(a + i + 16, a + i + 16, aa1);
		bb0 = fma16(b + i, b + i, bb0);
		bb1 = fma16(b + i + 16, b + i + 16, bb1);
	}
	for (; i < dim; i += 16) {
		__mmask16 m = first(dim - i);
		__m512 x = _mm512_maskz_loadu_ps(m, a + i), y = _mm512_maskz_loadu_ps(m, b + i);

		ab0 = _mm512_fmadd_ps(x, y, ab0);
		aa0 = _mm512_fmadd_ps(x, x, aa0);
		bb0 = _mm512_fmadd_ps(y, y, bb0);
	}
	out[0] = _mm512_reduce_add_ps(_mm512_add_ps(ab0, ab1));
	out[1] = _mm512_reduce_add_ps(_mm512_add_ps(aa0, aa1));
	out[2] = _mm512_reduce_add_ps(_mm512_add_ps(bb0, bb1));
}

/* Without VNNI the 256-bit kernels do as well for codes. */
const struct vec_kernels vec_avx512 = { "avx512", "avx512", &code_avx2, 16, dot, dot3 };
const struct vec_kernels vec_avx512_vnni = { "avx512-vnni", "avx512", &code_avx512_vnni, 16, dot, dot3 };
#endif
