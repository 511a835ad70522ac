/* What the vector kernels cost, per instruction set and dimension:
 *
 *	make bench && contrib/bench/kernels [--json]
 *
 * hot: the same two vectors again and again, best of nine runs; cold: rows in
 * random order out of more memory than the caches hold, best of three. Best, not
 * mean: whatever else the machine does only adds. In ns
 * for one call; sets that this CPU lacks are left out. `scalar` is strict C that
 * the compiler was kept from making vectors of; `cosine` has both norms inside,
 * the server stores vectors of length 1 and needs `dot` only.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/vec.h"

enum { COLD_BYTES = 256 << 20, HOT_RUNS = 9, COLD_RUNS = 3, HOT_NS = 2000000, ALIGN = 64 };

static const unsigned dims[] = { 100, 384, 512, 768, 1024, 1536 };
static const char *const isas[] = { "scalar", "sse4", "avx2", "avx512" };
enum kernel { DOT, COSINE, KERNELS };
static const char *const kernel_names[KERNELS] = { "dot", "cosine" };

static volatile float sink;

static float call(const struct vec_kernels *v, enum kernel kernel, const float *a, const float *b, unsigned dim)
{
	float s[3];

	if (kernel == DOT)
		return v->dot(a, b, dim);
	v->dot3(a, b, dim, s);
	return s[0] / sqrtf(s[1] * s[2]);
}

static double hot(const struct vec_kernels *v, enum kernel kernel, const float *rows, unsigned dim)
{
	double best = 0;
	long calls = 1000;

	for (int run = -1; run < HOT_RUNS; run++) {
		int64_t begin = clock_mono_ns(), took;

		for (long i = 0; i < calls; i++)
			sink = call(v, kernel, rows, rows + dim, dim);
		took = clock_mono_ns() - begin;
		if (run < 0)
			calls = calls * HOT_NS / (took > 0 ? took : 1) + 1;
		else if (run == 0 || (double)took / (double)calls < best)
			best = (double)took / (double)calls;
	}
	return best;
}

/* order: a permutation of the rows' numbers. */
static double cold(const struct vec_kernels *v, enum kernel kernel, const float *rows, unsigned dim,
                   const unsigned *order, unsigned n)
{
	float *query = malloc(dim * sizeof *query);
	double best = 0;

	if (query == NULL)
		exit(1);
	memcpy(query, rows, dim * sizeof *query);
	for (int run = 0; run < COLD_RUNS; run++) {
		int64_t begin = clock_mono_ns();
		double ns;

		for (unsigned i = 0; i < n; i++)
			sink = call(v, kernel, query, rows + (size_t)order[i] * dim, dim);
		ns = (double)(clock_mono_ns() - begin) / n;
		if (run == 0 || ns < best)
			best = ns;
	}
	free(query);
	return best;
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

static void show(bool json, bool first, unsigned dim, enum kernel kernel, const char *isa, double hot_ns, double cold_ns)
{
	if (json)
		printf("%s\n {\"dim\": %u, \"kernel\": \"%s\", \"isa\": \"%s\", \"ns_hot\": %.2f, \"ns_cold\": %.2f}",
		       first ? "" : ",", dim, kernel_names[kernel], isa, hot_ns, cold_ns);
	else
		printf("%6u  %-8s%-8s%10.1f%10.1f\n", dim, kernel_names[kernel], isa, hot_ns, cold_ns);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0, first = true;
	size_t floats = COLD_BYTES / sizeof(float);
	float *rows = aligned_alloc(ALIGN, COLD_BYTES);
	unsigned *order = malloc(floats / dims[0] * sizeof *order);

	if (argc > 1 && !json) {
		fprintf(stderr, "usage: %s [--json]\n", argv[0]);
		return 2;
	}
	if (rows == NULL || order == NULL) {
		fprintf(stderr, "kernels: not enough memory\n");
		return 1;
	}
	for (size_t i = 0; i < floats; i++)
		rows[i] = (float)(i * 2654435761u % 2048) / 1024 - 1;
	printf(json ? "[" : "   dim  kernel  isa         hot ns   cold ns\n");
	for (unsigned d = 0; d < sizeof dims / sizeof *dims; d++) {
		unsigned n = (unsigned)(floats / dims[d]);

		shuffle(order, n);
		for (enum kernel k = DOT; k < KERNELS; k++)
			for (unsigned i = 0; i < sizeof isas / sizeof *isas; i++) {
				const struct vec_kernels *v = vec_kernels(isas[i]);

				if (v == NULL)
					continue;
				show(json, first, dims[d], k, isas[i], hot(v, k, rows, dims[d]),
				     cold(v, k, rows, dims[d], order, n));
				first = false;
			}
	}
	puts(json ? "\n]" : "");
	free(order);
	free(rows);
	return 0;
}
