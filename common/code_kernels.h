/* The integer kernels under codes, one table for each instruction set; for code.c,
 * vec*.c, tests and measurements. dims is a multiple of 128. All sets give the same
 * results, to the last bit. */
#ifndef COMMON_CODE_KERNELS_H
#define COMMON_CODE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct code_kernels {
	const char *name;          /* "scalar", "sse4", "avx2", "avx512-vnni" */
	void (*sign_each)(const int8_t *r, size_t dims, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out);
	void (*low_each)(const int8_t *r, size_t dims, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out);
	/* a . b, for a of 0 .. 127 and b of -127 .. 127 */
	int32_t (*dot)(const uint8_t *a, const int8_t *b, size_t dims);
	void (*levels)(const uint8_t *sign, const uint8_t *low, size_t dims, uint8_t *levels);
	/* x of n floats, n a power of two >= 128: the sign of x[i] is flipped where
	 * bit i of flip is set, then the Hadamard transform, then times scale. */
	void (*hadamard)(float *x, size_t n, const uint64_t *flip, float scale);
};

extern const struct code_kernels code_scalar;
#ifdef __x86_64__
extern const struct code_kernels code_sse4;          /* SSE4.1 */
extern const struct code_kernels code_avx2;          /* AVX2 */
extern const struct code_kernels code_avx512_vnni;   /* AVX-512 F, BW and VNNI */
#endif

static inline void code_prefetch(const uint8_t *const *rows, size_t n, size_t i, unsigned ahead, size_t bytes)
{
	if (ahead > 0 && ahead < n - i)
		for (size_t at = 0; at < bytes; at += 64)
			__builtin_prefetch(rows[i + ahead] + at);
}

#endif
