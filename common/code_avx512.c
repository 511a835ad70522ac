/* 64 dimensions an instruction: dpbusd multiplies unsigned by signed bytes and adds
 * four products to each 32-bit sum; a word of signs is a mask register. */
#ifdef __x86_64__
#include "common/code_kernels.h"

#include <immintrin.h>
#include <string.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define HADAMARD_LANES 16
#define HADAMARD_TARGET __attribute__((target("avx512f,avx512bw")))
#include "common/code_hadamard.h"

VNNI static inline __m512i load(const void *p) { return _mm512_loadu_si512(p); }

VNNI static inline __m512i where(const uint8_t *sign, __m512i value)
{
	uint64_t bits;

	memcpy(&bits, sign, sizeof bits);
	return _mm512_maskz_mov_epi8(bits, value);
}

VNNI static void sign_each(const int8_t *r, size_t dims, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out)
{
	const __m512i one = _mm512_set1_epi8(1);

	for (size_t k = 0; k < n; k++) {
		__m512i s0 = _mm512_setzero_si512(), s1 = s0;

		code_prefetch(sign, n, k, ahead, dims / 8);
		for (size_t i = 0; i < dims; i += 128) {
			s0 = _mm512_dpbusd_epi32(s0, where(sign[k] + i / 8, one), load(r + i));
			s1 = _mm512_dpbusd_epi32(s1, where(sign[k] + i / 8 + 8, one), load(r + i + 64));
		}
		out[k] = _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
	}
}

VNNI static void low_each(const int8_t *r, size_t dims, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out)
{
	const __m512i four = _mm512_set1_epi8(15);

	for (size_t k = 0; k < n; k++) {
		__m512i s0 = _mm512_setzero_si512(), s1 = s0;

		code_prefetch(low, n, k, ahead, dims / 2);
		for (size_t i = 0; i < dims; i += 128) {
			__m512i v = load(low[k] + i / 2);

			s0 = _mm512_dpbusd_epi32(s0, _mm512_and_si512(v, four), load(r + i));
			s1 = _mm512_dpbusd_epi32(s1, _mm512_and_si512(_mm512_srli_epi16(v, 4), four), load(r + i + 64));
		}
		out[k] = _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
	}
}

VNNI static int32_t dot(const uint8_t *a, const int8_t *b, size_t dims)
{
	__m512i s0 = _mm512_setzero_si512(), s1 = s0;

	for (size_t i = 0; i < dims; i += 128) {
		s0 = _mm512_dpbusd_epi32(s0, load(a + i), load(b + i));
		s1 = _mm512_dpbusd_epi32(s1, load(a + i + 64), load(b + i + 64));
	}
	return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

VNNI static void levels(const uint8_t *sign, const uint8_t *low, size_t dims, uint8_t *out)
{
	const __m512i four = _mm512_set1_epi8(15), top = _mm512_set1_epi8(16);

	for (size_t i = 0; i < dims; i += 128) {
		__m512i v = load(low + i / 2), high = _mm512_srli_epi16(v, 4);

		_mm512_storeu_si512(out + i, _mm512_or_si512(_mm512_and_si512(v, four), where(sign + i / 8, top)));
		_mm512_storeu_si512(out + i + 64, _mm512_or_si512(_mm512_and_si512(high, four), where(sign + i / 8 + 8, top)));
	}
}

const struct code_kernels code_avx512_vnni = { "avx512-vnni", sign_each, low_each, dot, levels, hadamard };
#endif
