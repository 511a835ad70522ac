/* Rows of half floats, and exact neighbours, from the files of a data set; in C and C++. */
#ifndef BENCH_ANN_ROWS_H
#define BENCH_ANN_ROWS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline float from_half(uint16_t h)
{
	int sign = h >> 15, exponent = h >> 10 & 31, fraction = h & 1023;
	float v = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(fraction + 1024), exponent - 25);

	return sign ? -v : v;
}

static inline void *read_file(const char *path, size_t *bytes)
{
	FILE *in = fopen(path, "rb");
	void *at;
	long size;

	if (in == NULL || fseek(in, 0, SEEK_END) != 0 || (size = ftell(in)) <= 0 || fseek(in, 0, SEEK_SET) != 0) {
		perror(path);
		exit(1);
	}
	at = malloc((size_t)size);
	if (at == NULL || fread(at, 1, (size_t)size, in) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(in);
	*bytes = (size_t)size;
	return at;
}

/* Rows of `stride` floats, the first `dim` of them from the file, scaled to unit length. */
static inline float *read_rows(const char *path, unsigned dim, unsigned stride, size_t *n)
{
	size_t bytes, cells;
	uint16_t *half = (uint16_t *)read_file(path, &bytes);
	float *rows;

	*n = bytes / 2 / dim;
	cells = *n * stride;
	rows = (float *)aligned_alloc(64, (cells * sizeof *rows + 63) / 64 * 64);
	if (rows == NULL)
		exit(1);
	for (size_t i = 0; i < *n; i++) {
		float *row = rows + i * stride, sum = 0;

		for (unsigned k = 0; k < stride; k++)
			row[k] = k < dim ? from_half(half[i * dim + k]) : 0;
		for (unsigned k = 0; k < dim; k++)
			sum += row[k] * row[k];
		for (unsigned k = 0; k < dim; k++)
			row[k] /= sqrtf(sum);
	}
	free(half);
	return rows;
}

/* How many of the ten found are among the first ten exact ones. */
static inline unsigned right_ones(const uint32_t *found, unsigned n, const int32_t *exact)
{
	unsigned right = 0;

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 10; k++)
			right += (int32_t)found[i] == exact[k];
	return right;
}

#endif
