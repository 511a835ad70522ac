/* Every instruction set against sums in double, all tails, no byte too far. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/vec.h"

static const char *const names[] = { "scalar", "sse4", "avx2", "avx512", "avx512-vnni" };
enum { NAMES = sizeof names / sizeof *names };

static float random_float(void)
{
	static uint64_t s = 42;

	s = s * 6364136223846793005u + 1442695040888963407u;
	return (float)(int32_t)(s >> 32) * 0x1p-31f;
}

static void close_to(double got, double want, double magnitude)
{
	assert_true(fabs(got - want) <= 1e-5 * magnitude);
}

static void check_dim(size_t dim)
{
	/* Exactly as long as told: a sanitizer sees reads beyond. */
	float *a = malloc(dim * sizeof *a), *b = malloc(dim * sizeof *b), out[3];
	double ab = 0, aa = 0, bb = 0, size = 0;

	for (size_t i = 0; i < dim; i++) {
		a[i] = random_float();
		b[i] = random_float();
		ab += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
		size += fabs((double)a[i] * b[i]);
	}
	for (unsigned k = 0; k < NAMES; k++) {
		const struct vec_kernels *v = vec_kernels(names[k]);

		if (v == NULL)
			continue;
		assert_string_equal(v->name, names[k]);
		close_to(v->dot(a, b, dim), ab, size);
		v->dot3(a, b, dim, out);
		close_to(out[0], ab, size);
		close_to(out[1], aa, aa);
		close_to(out[2], bb, bb);
	}
	close_to(vec_norm(a, dim), sqrt(aa), sqrt(aa));
	close_to(vec_cosine(a, b, dim), ab / sqrt(aa * bb), 1);
	assert_true(vec_normalise(a, dim));
	close_to(vec_norm(a, dim), 1, 1);
	free(a);
	free(b);
}

static void all_sets_agree(void **state)
{
	static const size_t more[] = { 384, 512, 768, 1000, 1024, 1536, 4096 };

	(void)state;
	for (size_t dim = 1; dim <= 130; dim++)
		check_dim(dim);
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		check_dim(more[i]);
	for (unsigned k = 0; k < NAMES; k++)
		if (vec_kernels(names[k]) != NULL)
			assert_true(vec_kernels(names[k])->dot(NULL, NULL, 0) == 0);
	assert_null(vec_kernels("mmx"));
}

static void choice(void **state)
{
	const struct vec_kernels *widest = vec_kernels("scalar");

	(void)state;
	unsetenv("ENGRAM_SIMD");
	assert_string_equal(vec_name(), "scalar");
	for (unsigned k = 0; k < NAMES; k++) {
		const struct vec_kernels *v = vec_kernels(names[k]);
		const char *why;

		if (v != NULL && strcmp(v->name, v->isa) != 0) {
			assert_null(vec_init(true, v->isa));     /* the better one of two of a name */
			assert_ptr_equal(vec_set(), v);
			assert_non_null(vec_init(true, v->name)); /* is not a name to be asked for */
			continue;
		}
		why = vec_init(true, names[k]);
		if (v != NULL) {
			widest = vec_kernels(names[k]);
			assert_null(why);
			assert_string_equal(vec_name(), names[k]);
		} else {
			assert_non_null(strstr(why, names[k]));
			assert_string_equal(vec_name(), widest->name);
		}
	}
	assert_null(vec_init(true, NULL));
	assert_string_equal(vec_name(), widest->name);
	assert_int_equal(vec_lanes(), widest->lanes);
	assert_null(vec_init(true, "auto"));
	assert_string_equal(vec_name(), widest->name);
	assert_null(vec_init(false, "avx2"));
	assert_string_equal(vec_name(), "scalar");
	assert_non_null(vec_init(true, "mmx"));
	assert_string_equal(vec_name(), widest->name);
	setenv("ENGRAM_SIMD", "scalar", 1);
	assert_null(vec_init(true, "auto"));
	assert_string_equal(vec_name(), "scalar");
	setenv("ENGRAM_SIMD", "nonsense", 1);
	assert_non_null(vec_init(false, NULL));
	unsetenv("ENGRAM_SIMD");
	assert_null(vec_init(true, NULL));
}

static void extremes(void **state)
{
	float big[8], small[8], zero[8] = { 0 }, nan[8] = { NAN };

	(void)state;
	for (int i = 0; i < 8; i++) {
		big[i] = 3e38f;
		small[i] = 1e-40f;
	}
	assert_true(vec_normalise(big, 8));
	assert_true(vec_normalise(small, 8));
	close_to(big[3], sqrt(1 / 8.), 1);
	close_to(small[3], sqrt(1 / 8.), 1);
	assert_false(vec_normalise(zero, 8));
	assert_false(vec_normalise(nan, 8));
	assert_true(vec_cosine(zero, big, 8) == 0);
}

static void many_and_each(void **state)
{
	enum { N = 20, DIM = 37, STRIDE = 48 };
	float base[N * STRIDE], query[DIM], out[N];
	const float *rows[N];

	(void)state;
	for (int i = 0; i < N * STRIDE; i++)
		base[i] = random_float();
	for (int i = 0; i < DIM; i++)
		query[i] = random_float();
	for (int i = 0; i < N; i++)
		rows[i] = base + (N - 1 - i) * STRIDE;
	for (unsigned ahead = 0; ahead < 30; ahead += 5) {
		vec_dot_many(query, DIM, base, STRIDE, N, ahead, out);
		for (int i = 0; i < N; i++)
			assert_true(out[i] == vec_dot(query, base + i * STRIDE, DIM));
		vec_dot_each(query, DIM, rows, N, ahead, out);
		for (int i = 0; i < N; i++)
			assert_true(out[i] == vec_dot(query, rows[i], DIM));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choice),
		cmocka_unit_test(all_sets_agree),
		cmocka_unit_test(extremes),
		cmocka_unit_test(many_and_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
