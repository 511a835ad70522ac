/* 16 dimensions an instruction; signs become bytes by a shuffle and a comparison. */
#ifdef __x86_64__
#include "common/code_kernels.h"

#include <immintrin.h>
#include <string.h>

#define SSE4 __attribute__((target("sse4.1")))
#define HADAMARD_LANES 4
#define HADAMARD_TARGET SSE4
#include "common/code_hadamard.h"

SSE4 static inline __m128i load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
SSE4 static inline void store(void *p, __m128i v) { _mm_storeu_si128((__m128i *)p, v); }
SSE4 static inline __m128i low4(__m128i v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
SSE4 static inline __m128i high4(__m128i v) { return low4(_mm_srli_epi16(v, 4)); }

/* sum + the products of unsigned by signed bytes, four to each 32-bit sum. A pair of
 * products must fit 16 bits: 2 x 127 x 127 does. */
SSE4 static inline __m128i add(__m128i sum, __m128i a, __m128i b)
{
	return _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(a, b), _mm_set1_epi16(1)));
}

SSE4 static inline int32_t total(__m128i v)
{
	v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

/* 16 bytes, all ones where a sign is set. */
SSE4 static inline __m128i where(const uint8_t *sign)
{
	const __m128i byte = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
	const __m128i bit = _mm_set1_epi64x((int64_t)0x8040201008040201);
	int16_t bits;
	__m128i v;

	memcpy(&bits, sign, sizeof bits);
	v = _mm_and_si128(_mm_shuffle_epi8(_mm_set1_epi16(bits), byte), bit);
	return _mm_cmpeq_epi8(v, bit);
}

SSE4 static void sign_each(const int8_t *r, size_t dims, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out)
{
	const __m128i one = _mm_set1_epi8(1);

	for (size_t k = 0; k < n; k++) {
		__m128i sum = _mm_setzero_si128();

		code_prefetch(sign, n, k, ahead, dims / 8);
		for (size_t i = 0; i < dims; i += 16)
			sum = add(sum, one, _mm_and_si128(where(sign[k] + i / 8), load(r + i)));
		out[k] = total(sum);
	}
}

SSE4 static void low_each(const int8_t *r, size_t dims, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out)
{
	for (size_t k = 0; k < n; k++) {
		__m128i s0 = _mm_setzero_si128(), s1 = s0;

		code_prefetch(low, n, k, ahead, dims / 2);
		for (size_t i = 0; i < dims; i += 128)
			for (size_t j = 0; j < 64; j += 16) {
				__m128i v = load(low[k] + i / 2 + j);

				s0 = add(s0, low4(v), load(r + i + j));
				s1 = add(s1, high4(v), load(r + i + 64 + j));
			}
		out[k] = total(_mm_add_epi32(s0, s1));
	}
}

SSE4 static int32_t dot(const uint8_t *a, const int8_t *b, size_t dims)
{
	__m128i s0 = _mm_setzero_si128(), s1 = s0;

	for (size_t i = 0; i < dims; i += 32) {
		s0 = add(s0, load(a + i), load(b + i));
		s1 = add(s1, load(a + i + 16), load(b + i + 16));
	}
	return total(_mm_add_epi32(s0, s1));
}

SSE4 static void levels(const uint8_t *sign, const uint8_t *low, size_t dims, uint8_t *out)
{
	const __m128i top = _mm_set1_epi8(16);

	for (size_t i = 0; i < dims; i += 128)
		for (size_t j = 0; j < 64; j += 16) {
			__m128i v = load(low + i / 2 + j);
			const uint8_t *s = sign + (i + j) / 8;

			store(out + i + j, _mm_or_si128(low4(v), _mm_and_si128(where(s), top)));
			store(out + i + j + 64, _mm_or_si128(high4(v), _mm_and_si128(where(s + 8), top)));
		}
}

const struct code_kernels code_sse4 = { "sse4", sign_each, low_each, dot, levels, hadamard };
#endif
