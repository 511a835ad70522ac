/* Codes: every instruction set gives the scalar one's numbers, estimates are as near
 * as promised and without bias, and the format stays what it is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/code.h"
#include "common/code_kernels.h"
#include "common/crc32c.h"
#include "common/vec.h"

static const char *const names[] = { "scalar", "sse4", "avx2", "avx512", "avx512-vnni" };
enum { NAMES = sizeof names / sizeof *names };

static uint64_t seed = 42;

static uint32_t random_word(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

static float random_float(void) { return (float)(int32_t)random_word() * 0x1p-31f; }

/* Exactly as long as told: a sanitizer sees reads and writes beyond. */
static void *room(size_t bytes)
{
	void *p = malloc(bytes);

	assert_non_null(p);
	return p;
}

static float *unit_vector(unsigned dim)
{
	float *v = room(dim * sizeof *v);

	for (unsigned i = 0; i < dim; i++)
		v[i] = random_float();
	assert_true(vec_normalise(v, dim));
	return v;
}

/* Two vectors with a.b = about cosine. */
static float *neighbour(const float *a, unsigned dim, float cosine)
{
	float *b = unit_vector(dim), ab = 0;

	for (unsigned i = 0; i < dim; i++)
		ab += a[i] * b[i];
	for (unsigned i = 0; i < dim; i++)
		b[i] -= ab * a[i];
	assert_true(vec_normalise(b, dim));
	for (unsigned i = 0; i < dim; i++)
		b[i] = cosine * a[i] + sqrtf(1 - cosine * cosine) * b[i];
	return b;
}

struct coded { uint8_t *sign, *low, *levels; struct code_scale scale; float *rotated; int8_t *r; struct code_query q; unsigned dims; };

static struct coded coded(const float *v, unsigned dim)
{
	struct coded c = { .dims = code_dims(dim) };

	c.sign = room(code_sign_bytes(c.dims));
	c.low = room(code_low_bytes(c.dims));
	c.levels = room(c.dims);
	c.rotated = room(c.dims * sizeof(float));
	c.r = room(c.dims);
	code_rotate(v, dim, c.rotated);
	code_encode(c.rotated, c.dims, c.sign, c.low, &c.scale);
	code_levels(c.sign, c.low, c.dims, c.levels);
	code_query(c.rotated, c.dims, c.r, &c.q);
	return c;
}

static void drop(struct coded *c)
{
	free(c->sign);
	free(c->low);
	free(c->levels);
	free(c->rotated);
	free(c->r);
}

static float estimate(const struct coded *a, const struct coded *b, float *first)
{
	const uint8_t *sign = b->sign, *low = b->low;
	int32_t s, l;

	code_sign_each(&a->q, &sign, 1, 0, &s);
	code_low_each(&a->q, &low, 1, 0, &l);
	if (first != NULL)
		*first = code_first(&a->q, s, &b->scale);
	return code_full(&a->q, s, l, &b->scale);
}

static void sets_agree_at(unsigned dims)
{
	enum { ROWS = 9 };
	uint8_t *sign[ROWS], *low[ROWS], *levels = room(dims), *want_levels = room(dims);
	int8_t *r = room(dims);
	int32_t want[2][ROWS], got[ROWS], dot;

	for (unsigned i = 0; i < dims; i++)
		r[i] = dims % 256 == 0 && i % 2 ? (i % 4 > 1 ? 127 : -127) : (int8_t)((int)(random_word() % 255) - 127);
	for (int k = 0; k < ROWS; k++) {
		sign[k] = room(dims / 8);
		low[k] = room(dims / 2);
		for (unsigned i = 0; i < dims / 2; i++)
			low[k][i] = k == 0 ? 0xff : (uint8_t)random_word();
		for (unsigned i = 0; i < dims / 8; i++)
			sign[k][i] = k == 0 ? 0xff : (uint8_t)random_word();
	}
	code_scalar.sign_each(r, dims, (const uint8_t *const *)sign, ROWS, 0, want[0]);
	code_scalar.low_each(r, dims, (const uint8_t *const *)low, ROWS, 0, want[1]);
	code_scalar.levels(sign[1], low[1], dims, want_levels);
	dot = code_scalar.dot(want_levels, r, dims);
	assert_int_equal(dot, 16 * want[0][1] + want[1][1]);
	for (unsigned k = 1; k < NAMES; k++) {
		const struct vec_kernels *v = vec_kernels(names[k]);

		if (v == NULL)
			continue;
		for (unsigned ahead = 0; ahead < 12; ahead += 4) {
			v->code->sign_each(r, dims, (const uint8_t *const *)sign, ROWS, ahead, got);
			assert_memory_equal(got, want[0], sizeof got);
			v->code->low_each(r, dims, (const uint8_t *const *)low, ROWS, ahead, got);
			assert_memory_equal(got, want[1], sizeof got);
		}
		v->code->levels(sign[1], low[1], dims, levels);
		assert_memory_equal(levels, want_levels, dims);
		assert_int_equal(v->code->dot(levels, r, dims), dot);
	}
	memset(levels, 127, dims);                /* the largest products there are */
	memset(r, -127, dims);
	for (unsigned k = 0; k < NAMES; k++)
		if (vec_kernels(names[k]) != NULL)
			assert_int_equal(vec_kernels(names[k])->code->dot(levels, r, dims), -127 * 127 * (int)dims);
	for (int k = 0; k < ROWS; k++) {
		free(sign[k]);
		free(low[k]);
	}
	free(levels);
	free(want_levels);
	free(r);
}

static void all_sets_agree(void **state)
{
	(void)state;
	for (unsigned dims = EG_CODE_ROUND; dims <= EG_CODE_DIMS_MAX; dims += EG_CODE_ROUND)
		sets_agree_at(dims);
}

static void transforms_agree(void **state)
{
	(void)state;
	for (size_t n = 128; n <= 4096; n *= 2) {
		float *x = room(n * sizeof *x), *want = room(n * sizeof *x), *from = room(n * sizeof *x);
		uint64_t *flip = room(n / 8);

		for (size_t i = 0; i < n; i++)
			from[i] = random_float();
		for (size_t i = 0; i < n / 64; i++)
			flip[i] = (uint64_t)random_word() << 32 | random_word();
		memcpy(want, from, n * sizeof *x);
		code_scalar.hadamard(want, n, flip, 0.1f);
		for (unsigned k = 1; k < NAMES; k++) {
			if (vec_kernels(names[k]) == NULL)
				continue;
			memcpy(x, from, n * sizeof *x);
			vec_kernels(names[k])->code->hadamard(x, n, flip, 0.1f);
			assert_memory_equal(x, want, n * sizeof *x);
		}
		free(x);
		free(want);
		free(from);
		free(flip);
	}
}

/* A rotation keeps lengths and angles, at any dimension. */
static void rotation(void **state)
{
	(void)state;
	for (unsigned dim = 1; dim <= EG_CODE_DIMS_MAX; dim += dim < 260 ? 1 : 131) {
		unsigned dims = code_dims(dim);
		float *a = unit_vector(dim), *b = unit_vector(dim), *x = room(dims * sizeof *x), *y = room(dims * sizeof *y);

		code_rotate(a, dim, x);
		code_rotate(b, dim, y);
		assert_true(fabsf(vec_norm(x, dims) - 1) < 1e-5f);
		assert_true(fabsf(vec_dot(x, y, dims) - vec_dot(a, b, dim)) < 1e-5f);
		free(a);
		free(b);
		free(x);
		free(y);
	}
}

/* Mean and spread of the errors over many pairs, against the header's figures. */
static void errors_at(unsigned dim, float cosine)
{
	enum { PAIRS = 200 };
	double first_mean = 0, first2 = 0, full_mean = 0, full2 = 0, both2 = 0, promised = 0;
	unsigned dims = code_dims(dim);
	double full_sigma = 0.0605 / sqrt(dims);

	for (int k = 0; k < PAIRS; k++) {
		float *a = unit_vector(dim), *b = neighbour(a, dim, cosine), first, full;
		struct coded x = coded(a, dim), y = coded(b, dim);
		double exact = vec_dot(a, b, dim), between;

		full = estimate(&x, &y, &first);
		between = code_between(x.levels, &x.scale, y.levels, &y.scale, dims);
		first_mean += (first - exact) / PAIRS;
		first2 += (first - exact) * (first - exact) / PAIRS;
		full_mean += (full - exact) / PAIRS;
		full2 += (full - exact) * (full - exact) / PAIRS;
		both2 += (between - exact) * (between - exact) / PAIRS;
		promised += (double)y.scale.first_error / PAIRS;
		drop(&x);
		drop(&y);
		free(a);
		free(b);
	}
	assert_true(fabs(first_mean) < 4 * promised / sqrt(PAIRS));
	assert_true(sqrt(first2) < 1.2 * promised);
	assert_true(fabs(full_mean) < 4 * full_sigma / sqrt(PAIRS));
	assert_true(sqrt(full2) < 1.2 * full_sigma);
	assert_true(sqrt(both2) < 1.2 * 1.42 * full_sigma);
}

static void estimates(void **state)
{
	static const unsigned dims[] = { 100, 384, 512, 768, 1536 };

	(void)state;
	for (unsigned i = 0; i < sizeof dims / sizeof *dims; i++) {
		errors_at(dims[i], 0);
		errors_at(dims[i], 0.5f);
		errors_at(dims[i], 0.8f);
	}
}

/* Vectors that look like nothing random: one coordinate, all equal, a duplicate. */
static void odd_vectors(void **state)
{
	(void)state;
	for (unsigned dim = 1; dim <= 1100; dim += 157) {
		float *one = room(dim * sizeof *one), *flat = room(dim * sizeof *flat);
		struct coded a, b;

		for (unsigned i = 0; i < dim; i++) {
			one[i] = i == dim / 2 ? -1 : 0;
			flat[i] = 1 / sqrtf((float)dim);
		}
		a = coded(one, dim);
		b = coded(flat, dim);
		assert_true(fabsf(estimate(&a, &a, NULL) - 1) < 0.01f);
		assert_true(fabsf(estimate(&b, &b, NULL) - 1) < 0.01f);
		assert_true(fabsf(estimate(&a, &b, NULL) - vec_dot(one, flat, dim)) < 0.03f);
		assert_true(isfinite(a.scale.first_error) && isfinite(b.scale.first_error));
		drop(&a);
		drop(&b);
		free(one);
		free(flat);
	}
}

/* The format: a code is made once and kept, so other builds must make the same. */
static void format(void **state)
{
	static const struct { unsigned dim; uint32_t crc; } fixed[] = { { 512, 0x15b6191c }, { 768, 0x7e98399d }, { 100, 0x8c655c9a } };
	float v[768];

	(void)state;
	for (unsigned k = 0; k < sizeof fixed / sizeof *fixed; k++) {
		struct coded c;
		uint32_t crc;

		seed = fixed[k].dim;
		for (unsigned i = 0; i < fixed[k].dim; i++)
			v[i] = (float)((int)(random_word() % 2001) - 1000) * 0x1p-14f;
		c = coded(v, fixed[k].dim);
		crc = crc32c(0, c.sign, code_sign_bytes(c.dims));
		crc = crc32c(crc, c.low, code_low_bytes(c.dims));
		crc = crc32c(crc, &c.scale, sizeof c.scale);
		assert_int_equal(crc, fixed[k].crc);
		drop(&c);
	}
}

/* The same with every set in force: the code does not depend on the machine. */
static void every_set(void **state)
{
	(void)state;
	for (unsigned k = 0; k < NAMES; k++) {
		if (vec_kernels(names[k]) == NULL || strcmp(vec_kernels(names[k])->isa, names[k]) != 0)
			continue;
		assert_null(vec_init(true, names[k]));
		format(state);
	}
	estimates(state);
	rotation(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sets_agree),
		cmocka_unit_test(transforms_agree),
		cmocka_unit_test(rotation),
		cmocka_unit_test(estimates),
		cmocka_unit_test(odd_vectors),
		cmocka_unit_test(format),
		cmocka_unit_test(every_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
