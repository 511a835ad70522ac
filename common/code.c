#include "common/code.h"

#include <math.h>
#include <string.h>

#include "common/code_kernels.h"
#include "common/err.h"
#include "common/vec.h"

enum { WORDS_MAX = EG_CODE_DIMS_MAX / 64, STEPS = 16, FIXED_BITS = 20, INVERSE_BITS = 24 };

static const struct code_kernels *kernels(void) { return vec_set()->code; }

/* Bits of splitmix64 (Steele et al. 2014); part of the format: other flips, other codes. */
static uint64_t flip_word(unsigned round, unsigned word)
{
	uint64_t z = 0x456e6772616d0001u + ((uint64_t)round * WORDS_MAX + word + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void code_rotate(const float *v, unsigned dim, float *out)
{
	unsigned dims = code_dims(dim), whole = EG_CODE_ROUND, rounds;
	uint64_t flip[WORDS_MAX];

	EG_ASSERT(dim > 0 && dim <= EG_CODE_DIMS_MAX);
	while (whole * 2 <= dims)
		whole *= 2;
	rounds = whole == dims ? 2 : 4;
	memcpy(out, v, dim * sizeof *out);
	memset(out + dim, 0, (dims - dim) * sizeof *out);
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned w = 0; w < whole / 64; w++)
			flip[w] = flip_word(r, w);
		kernels()->hadamard(r % 2 ? out + dims - whole : out, whole, flip, 1 / sqrtf((float)whole));
	}
}

/* Sums over one choice of the step, exact: coordinates are fixed-point numbers of
 * FIXED_BITS, x counted in halves. */
struct fit { int64_t xo, xx; };

/* 2 x of one coordinate: odd, -31 .. 31. inverse = 1 / step, INVERSE_BITS. */
static inline int32_t twice_x(int32_t o, int64_t inverse)
{
	int64_t level = o * inverse >> (FIXED_BITS + INVERSE_BITS);

	level = level < -16 ? -16 : level > 15 ? 15 : level;
	return (int32_t)level * 2 + 1;
}

static struct fit fit(const int32_t *o, unsigned dims, int64_t inverse)
{
	struct fit f = { 0, 0 };

	for (unsigned i = 0; i < dims; i++) {
		int32_t x = twice_x(o[i], inverse);

		f.xo += (int64_t)x * o[i];
		f.xx += x * x;
	}
	return f;
}

/* The step that makes x point nearest to o, among 0.11 to 0.26 standard deviations
 * (a normal distribution's best is 0.188; the sixteen are around it). */
static int64_t best_inverse(const int32_t *o, unsigned dims)
{
	double best = -1, unit = sqrt((double)dims) * (1 << INVERSE_BITS);
	int64_t chosen = 0;

	for (int k = 0; k < STEPS; k++) {
		int64_t inverse = (int64_t)(unit * 100 / (11 + k));
		struct fit f = fit(o, dims, inverse);
		double nearness = (double)f.xo * (double)f.xo / (double)f.xx;

		if (f.xo > 0 && nearness > best) {
			best = nearness;
			chosen = inverse;
		}
	}
	return chosen;
}

static void put_level(unsigned i, unsigned level, uint8_t *sign, uint8_t *low)
{
	uint8_t *byte = low + i / 128 * 64 + i % 64;

	sign[i / 8] |= (uint8_t)(level >> 4 << i % 8);
	*byte |= (uint8_t)((level & 15) << (i % 128 < 64 ? 0 : 4));
}

void code_encode(const float *rotated, unsigned dims, uint8_t *sign, uint8_t *low, struct code_scale *scale)
{
	int32_t o[EG_CODE_DIMS_MAX];
	const double fixed = 1 << FIXED_BITS;
	int64_t inverse, size = 0, xo = 0;
	double first, c2;

	EG_ASSERT(dims > 0 && dims <= EG_CODE_DIMS_MAX && dims % EG_CODE_ROUND == 0);
	for (unsigned i = 0; i < dims; i++) {
		o[i] = (int32_t)lrintf(rotated[i] * (float)(1 << FIXED_BITS));
		size += o[i] < 0 ? -o[i] : o[i];
	}
	memset(sign, 0, code_sign_bytes(dims));
	memset(low, 0, code_low_bytes(dims));
	inverse = best_inverse(o, dims);
	scale->sum = 0;
	for (unsigned i = 0; i < dims; i++) {
		int32_t x = twice_x(o[i], inverse);

		xo += (int64_t)x * o[i];
		put_level(i, (unsigned)(x + 31) / 2, sign, low);
		scale->sum += (unsigned)(x + 31) / 2;
	}
	first = (double)size / fixed;
	c2 = first * first / dims;
	scale->first = (float)(1 / first);
	scale->full = (float)(2 * fixed / (double)xo);
	scale->first_error = c2 < 1 ? (float)sqrt((1 - c2) / (c2 * (dims - 1))) : 0;
}

void code_query(const float *rotated, unsigned dims, int8_t *r, struct code_query *q)
{
	float size = 0, by;

	for (unsigned i = 0; i < dims; i++)
		size = fabsf(rotated[i]) > size ? fabsf(rotated[i]) : size;
	by = size > 0 ? 127 / size : 0;
	*q = (struct code_query){ .r = r, .dims = dims, .unit = size / 127 };
	for (unsigned i = 0; i < dims; i++) {
		r[i] = (int8_t)lrintf(rotated[i] * by);
		q->sum += r[i];
	}
}

void code_sign_each(const struct code_query *q, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out)
{
	kernels()->sign_each(q->r, q->dims, sign, n, ahead, out);
}

void code_low_each(const struct code_query *q, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out)
{
	kernels()->low_each(q->r, q->dims, low, n, ahead, out);
}

void code_levels(const uint8_t *sign, const uint8_t *low, unsigned dims, uint8_t *levels)
{
	kernels()->levels(sign, low, dims, levels);
}

float code_between(const uint8_t *a, const struct code_scale *as, const uint8_t *b, const struct code_scale *bs,
                   unsigned dims)
{
	/* Levels are below 32, so they are signed bytes too. */
	int32_t dot = kernels()->dot(a, (const int8_t *)b, dims);
	/* (a - 15.5) . (b - 15.5), times four, in whole numbers */
	int64_t x = 4 * (int64_t)dot - 62 * ((int64_t)as->sum + bs->sum) + 961 * (int64_t)dims;

	return (float)x * 0.25f * as->full * bs->full;
}
