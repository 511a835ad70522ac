/* The kernels under codes in plain C: what every machine can do, what the others
 * are tested against. */
#include "common/code_kernels.h"

static void sign_each(const int8_t *r, size_t dims, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out)
{
	for (size_t k = 0; k < n; k++) {
		int32_t sum = 0;

		code_prefetch(sign, n, k, ahead, dims / 8);
		for (size_t i = 0; i < dims; i++)
			sum += (sign[k][i / 8] >> i % 8 & 1) * r[i];
		out[k] = sum;
	}
}

static void low_each(const int8_t *r, size_t dims, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out)
{
	for (size_t k = 0; k < n; k++) {
		int32_t sum = 0;

		code_prefetch(low, n, k, ahead, dims / 2);
		for (size_t g = 0; g < dims; g += 128)
			for (size_t j = 0; j < 64; j++) {
				uint8_t byte = low[k][g / 2 + j];

				sum += (byte & 15) * r[g + j] + (byte >> 4) * r[g + 64 + j];
			}
		out[k] = sum;
	}
}

static int32_t dot(const uint8_t *a, const int8_t *b, size_t dims)
{
	int32_t sum = 0;

	for (size_t i = 0; i < dims; i++)
		sum += a[i] * b[i];
	return sum;
}

static void levels(const uint8_t *sign, const uint8_t *low, size_t dims, uint8_t *out)
{
	for (size_t i = 0; i < dims; i++) {
		uint8_t byte = low[i / 128 * 64 + i % 64];

		out[i] = (uint8_t)((sign[i / 8] >> i % 8 & 1) << 4 | (i % 128 < 64 ? byte & 15 : byte >> 4));
	}
}

static void hadamard(float *x, size_t n, const uint64_t *flip, float scale)
{
	for (size_t i = 0; i < n; i++)
		if (flip[i / 64] >> i % 64 & 1)
			x[i] = -x[i];
	for (size_t h = 1; h < n; h *= 2)
		for (size_t i = 0; i < n; i += 2 * h)
			for (size_t j = i; j < i + h; j++) {
				float a = x[j], b = x[j + h];

				x[j] = a + b;
				x[j + h] = a - b;
			}
	for (size_t i = 0; i < n; i++)
		x[i] *= scale;
}

const struct code_kernels code_scalar = { "scalar", sign_each, low_each, dot, levels, hadamard };
