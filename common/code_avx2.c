/* 32 dimensions an instruction; signs become bytes by a shuffle and a comparison. */
#ifdef __x86_64__
#include "common/code_kernels.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))
#define HADAMARD_LANES 8
#define HADAMARD_TARGET AVX2
#include "common/code_hadamard.h"

AVX2 static inline __m256i load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
AVX2 static inline void store(void *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }
AVX2 static inline __m256i low4(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
AVX2 static inline __m256i high4(__m256i v) { return low4(_mm256_srli_epi16(v, 4)); }

/* sum + the products of unsigned by signed bytes, four to each 32-bit sum. A pair of
 * products must fit 16 bits: 2 x 127 x 127 does. */
AVX2 static inline __m256i add(__m256i sum, __m256i a, __m256i b)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}

AVX2 static inline int32_t total(__m256i v)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* 32 bytes, all ones where a sign is set. */
AVX2 static inline __m256i where(const uint8_t *sign)
{
	const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
	                                      2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
	const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
	int32_t bits;
	__m256i v;

	memcpy(&bits, sign, sizeof bits);
	v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte), bit);
	return _mm256_cmpeq_epi8(v, bit);
}

AVX2 static void sign_each(const int8_t *r, size_t dims, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out)
{
	const __m256i one = _mm256_set1_epi8(1);

	for (size_t k = 0; k < n; k++) {
		__m256i sum = _mm256_setzero_si256();

		code_prefetch(sign, n, k, ahead, dims / 8);
		for (size_t i = 0; i < dims; i += 32)
			sum = add(sum, one, _mm256_and_si256(where(sign[k] + i / 8), load(r + i)));
		out[k] = total(sum);
	}
}

AVX2 static void low_each(const int8_t *r, size_t dims, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out)
{
	for (size_t k = 0; k < n; k++) {
		__m256i s0 = _mm256_setzero_si256(), s1 = s0;

		code_prefetch(low, n, k, ahead, dims / 2);
		for (size_t i = 0; i < dims; i += 128)
			for (size_t j = 0; j < 64; j += 32) {
				__m256i v = load(low[k] + i / 2 + j);

				s0 = add(s0, low4(v), load(r + i + j));
				s1 = add(s1, high4(v), load(r + i + 64 + j));
			}
		out[k] = total(_mm256_add_epi32(s0, s1));
	}
}

AVX2 static int32_t dot(const uint8_t *a, const int8_t *b, size_t dims)
{
	__m256i s0 = _mm256_setzero_si256(), s1 = s0;

	for (size_t i = 0; i < dims; i += 64) {
		s0 = add(s0, load(a + i), load(b + i));
		s1 = add(s1, load(a + i + 32), load(b + i + 32));
	}
	return total(_mm256_add_epi32(s0, s1));
}

AVX2 static void levels(const uint8_t *sign, const uint8_t *low, size_t dims, uint8_t *out)
{
	const __m256i top = _mm256_set1_epi8(16);

	for (size_t i = 0; i < dims; i += 128)
		for (size_t j = 0; j < 64; j += 32) {
			__m256i v = load(low + i / 2 + j);
			const uint8_t *s = sign + (i + j) / 8;

			store(out + i + j, _mm256_or_si256(low4(v), _mm256_and_si256(where(s), top)));
			store(out + i + j + 64, _mm256_or_si256(high4(v), _mm256_and_si256(where(s + 8), top)));
		}
}

const struct code_kernels code_avx2 = { "avx2", sign_each, low_each, dot, levels, hadamard };
#endif
