/* What the vector kernels cost, per instruction set and dimension:
 *
 *	make bench && contrib/bench/kernels [--json]
 *
 * In ns for one row of a call that scores a batch of rows; median of nine runs hot
 * (the same row again and again), of five cold (rows in random order out of more
 * memory than the caches hold). Sets that this CPU lacks are left out.
 *
 *   dot       f32; the server stores vectors of length 1 and needs no more
 *   cosine    f32, with both norms inside
 *   sign      int8 query against the signs of codes (common/code.h), prefetching
 *   low       int8 query against the low four bits of codes, prefetching
 *   between   two codes as bytes
 *
 * `scalar` is strict C; of f32 the compiler was kept from making vectors of it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/code.h"
#include "common/code_kernels.h"
#include "common/vec.h"

enum { COLD_BYTES = 256 << 20, LINE = 64, ROWS_MAX = COLD_BYTES / LINE, COLD_ROWS = 50000,
       HOT_RUNS = 9, COLD_RUNS = 5, HOT_NS = 1000000, BATCH = 32, AHEAD = 8 };

static const unsigned dims[] = { 100, 384, 512, 768, 1024, 1536 };
static const char *const isas[] = { "scalar", "sse4", "avx2", "avx512", "avx512-vnni" };

static volatile float sink;
static int32_t sums[BATCH];

typedef void run_fn(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n);

static void run_dot(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink = v->dot(query, (const float *)(const void *)rows[i], dim);
}

static void run_cosine(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n)
{
	float s[3];

	for (size_t i = 0; i < n; i++) {
		v->dot3(query, (const float *)(const void *)rows[i], dim, s);
		sink = s[0] / sqrtf(s[1] * s[2]);
	}
}

static void run_sign(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n)
{
	v->code->sign_each(query, code_dims(dim), rows, n, AHEAD, sums);
}

static void run_low(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n)
{
	v->code->low_each(query, code_dims(dim), rows, n, AHEAD, sums);
}

static void run_between(const struct vec_kernels *v, unsigned dim, const void *query, const uint8_t *const *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sums[i % BATCH] = v->code->dot(rows[i], query, code_dims(dim));
}

static size_t f32_bytes(unsigned dim) { return dim * sizeof(float); }
static size_t sign_bytes(unsigned dim) { return code_sign_bytes(code_dims(dim)); }
static size_t low_bytes(unsigned dim) { return code_low_bytes(code_dims(dim)); }
static size_t level_bytes(unsigned dim) { return code_dims(dim); }

static const struct kernel { const char *name; run_fn *run; size_t (*row_bytes)(unsigned dim); bool code; } kernels[] = {
	{ "dot", run_dot, f32_bytes, false },
	{ "cosine", run_cosine, f32_bytes, false },
	{ "sign", run_sign, sign_bytes, true },
	{ "low", run_low, low_bytes, true },
	{ "between", run_between, level_bytes, true },
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *runs, int n)
{
	qsort(runs, (size_t)n, sizeof *runs, by_size);
	return runs[n / 2];
}

static double hot(const struct vec_kernels *v, const struct kernel *k, unsigned dim, const void *query, const uint8_t *row)
{
	const uint8_t *rows[BATCH];
	double runs[HOT_RUNS];
	long calls = 100;

	for (int i = 0; i < BATCH; i++)
		rows[i] = row;
	for (int run = -1; run < HOT_RUNS; run++) {
		int64_t begin = clock_mono_ns(), took;

		for (long i = 0; i < calls; i++)
			k->run(v, dim, query, rows, BATCH);
		took = clock_mono_ns() - begin;
		if (run < 0)
			calls = calls * HOT_NS / (took > 0 ? took : 1) + 1;
		else
			runs[run] = (double)took / (double)calls / BATCH;
	}
	return median(runs, HOT_RUNS);
}

/* order: a permutation of the rows' numbers. */
static double cold(const struct vec_kernels *v, const struct kernel *k, unsigned dim, const void *query,
                   const uint8_t *memory, const unsigned *order, unsigned n)
{
	size_t stride = (k->row_bytes(dim) + LINE - 1) / LINE * LINE;
	double runs[COLD_RUNS];
	unsigned used = n < COLD_ROWS ? n / BATCH * BATCH : COLD_ROWS / BATCH * BATCH;

	for (int run = 0; run < COLD_RUNS; run++) {
		int64_t begin = clock_mono_ns();

		for (unsigned i = 0; i < used; i += BATCH) {
			const uint8_t *rows[BATCH];

			for (int j = 0; j < BATCH; j++)
				rows[j] = memory + order[(i + (unsigned)j + (unsigned)run * used) % n] * stride;
			k->run(v, dim, query, rows, BATCH);
		}
		runs[run] = (double)(clock_mono_ns() - begin) / used;
	}
	return median(runs, COLD_RUNS);
}

static void shuffle(unsigned *order, unsigned n)
{
	uint64_t s = 1;

	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned j, t;

		s = s * 6364136223846793005u + 1442695040888963407u;
		j = (unsigned)((s >> 33) % i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

static void show(bool json, bool first, unsigned dim, const char *kernel, const char *isa, double hot_ns, double cold_ns)
{
	if (json)
		printf("%s\n {\"dim\": %u, \"kernel\": \"%s\", \"isa\": \"%s\", \"ns_hot\": %.2f, \"ns_cold\": %.2f}",
		       first ? "" : ",", dim, kernel, isa, hot_ns, cold_ns);
	else
		printf("%6u  %-8s  %-12s%10.1f%10.1f\n", dim, kernel, isa, hot_ns, cold_ns);
	fflush(stdout);
}

/* One kernel at one dimension, by every set that has one of its own. */
static void measure(const struct kernel *k, unsigned dim, const uint8_t *memory, unsigned *order, bool json, bool *first)
{
	unsigned n = (unsigned)(COLD_BYTES / ((k->row_bytes(dim) + LINE - 1) / LINE * LINE));
	_Alignas(LINE) uint8_t query[EG_CODE_DIMS_MAX * sizeof(float)];

	memcpy(query, memory, sizeof query);
	if (k->code)
		for (unsigned i = 0; i < EG_CODE_DIMS_MAX; i++)
			query[i] &= 63;
	shuffle(order, n);
	for (unsigned i = 0; i < sizeof isas / sizeof *isas; i++) {
		const struct vec_kernels *v = vec_kernels(isas[i]);

		if (v == NULL || strcmp(k->code ? v->code->name : v->isa, isas[i]) != 0)
			continue;
		show(json, *first, dim, k->name, isas[i], hot(v, k, dim, query, memory), cold(v, k, dim, query, memory, order, n));
		*first = false;
	}
}

int main(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0, first = true;
	uint8_t *memory = aligned_alloc(LINE, COLD_BYTES);
	unsigned *order = malloc(ROWS_MAX * sizeof *order);

	if (argc > 1 && !json) {
		fprintf(stderr, "usage: %s [--json]\n", argv[0]);
		return 2;
	}
	if (memory == NULL || order == NULL) {
		fprintf(stderr, "kernels: not enough memory\n");
		return 1;
	}
	for (size_t i = 0; i < COLD_BYTES / sizeof(float); i++)
		((float *)(void *)memory)[i] = (float)(i * 2654435761u % 2048) / 1024 - 1;
	printf(json ? "[" : "   dim  kernel    isa             hot ns   cold ns\n");
	for (unsigned d = 0; d < sizeof dims / sizeof *dims; d++)
		for (unsigned k = 0; k < sizeof kernels / sizeof *kernels; k++)
			measure(&kernels[k], dims[d], memory, order, json, &first);
	puts(json ? "\n]" : "");
	free(order);
	free(memory);
	return 0;
}
