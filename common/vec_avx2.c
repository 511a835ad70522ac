/* Eight lanes and fused multiply-add, four sums. The tail is loaded under a
 * mask, so nothing behind the rows is touched. */
#ifdef __x86_64__
#include "common/vec_kernels.h"

#include <immintrin.h>
#include <stdint.h>

#define AVX2 __attribute__((target("avx2,fma")))

/* Eight words from here on 8 - n: n times all ones, then zeros. */
static const int32_t ones[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };

AVX2 static inline __m256i first(size_t n)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}

AVX2 static inline float total(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

AVX2 static inline __m256 fma8(const float *a, const float *b, __m256 sum)
{
	return _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), sum);
}

AVX2 static float dot(const float *a, const float *b, size_t dim)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;

	for (; i + 32 <= dim; i += 32) {
		s0 = fma8(a + i, b + i, s0);
		s1 = fma8(a + i + 8, b + i + 8, s1);
		s2 = fma8(a + i + 16, b + i + 16, s2);
		s3 = fma8(a + i + 24, b + i + 24, s3);
	}
	for (; i + 8 <= dim; i += 8)
		s0 = fma8(a + i, b + i, s0);
	if (i < dim) {
		__m256i m = first(dim - i);

		s1 = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, m), _mm256_maskload_ps(b + i, m), s1);
	}
	return total(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
}

AVX2 static void dot3(const float *a, const float *b, size_t dim, float out[3])
{
	__m256 ab0 = _mm256_setzero_ps(), ab1 = ab0, aa0 = ab0, aa1 = ab0, bb0 = ab0, bb1 = ab0;
	size_t i = 0;

	for (; i + 16 <= dim; i += 16) {
		ab0 = fma8(a + i, b + i, ab0);
		ab1 = fma8(a + i + 8, b + i + 8, ab1);
		aa0 = fma8(a + i, a + i, aa0);
		aa1 = fma8(a + i + 8, a + i + 8, aa1);
		bb0 = fma8(b + i, b + i, bb0);
		bb1 = fma8(b + i + 8, b + i + 8, bb1);
	}
	for (; i < dim; i += 8) {
		__m256i m = first(dim - i < 8 ? dim - i : 8);
		__m256 x = _mm256_maskload_ps(a + i, m), y = _mm256_maskload_ps(b + i, m);

		ab0 = _mm256_fmadd_ps(x, y, ab0);
		aa0 = _mm256_fmadd_ps(x, x, aa0);
		bb0 = _mm256_fmadd_ps(y, y, bb0);
	}
	out[0] = total(_mm256_add_ps(ab0, ab1));
	out[1] = total(_mm256_add_ps(aa0, aa1));
	out[2] = total(_mm256_add_ps(bb0, bb1));
}

const struct vec_kernels vec_avx2 = { "avx2", "avx2", &code_avx2, 8, dot, dot3 };
#endif
