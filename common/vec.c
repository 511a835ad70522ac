#include "common/vec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/vec_kernels.h"

/* Bytes of the next row that are asked for; from there on the CPU's own
 * prefetcher follows. */
enum { PREFETCH_BYTES = 1024, CACHE_LINE = 64 };

static const struct vec_kernels *now = &vec_scalar;

/* Best last. */
static const struct vec_kernels *const sets[] = {
	&vec_scalar,
#ifdef __x86_64__
	&vec_sse4, &vec_avx2, &vec_avx512, &vec_avx512_vnni,
#endif
};
enum { SETS = sizeof sets / sizeof *sets };

static bool supported(const struct vec_kernels *k)
{
#ifdef __x86_64__
	if (k == &vec_sse4)
		return __builtin_cpu_supports("sse4.1");
	if (k == &vec_avx2)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	if (k == &vec_avx512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2");
	if (k == &vec_avx512_vnni)
		return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni") && supported(&vec_avx512);
#endif
	return k == &vec_scalar;
}

const struct vec_kernels *vec_kernels(const char *name)
{
	for (unsigned i = 0; i < SETS; i++)
		if (strcmp(sets[i]->name, name) == 0)
			return supported(sets[i]) ? sets[i] : NULL;
	return NULL;
}

/* The best supported set up to `name` (NULL: of all), or the reason in *why. */
static const struct vec_kernels *best(const char *name, const char **why)
{
	static char reason[128];
	unsigned top = SETS - 1;

	if (name != NULL) {
		while (top > 0 && strcmp(sets[top]->isa, name) != 0)
			top--;
		if (strcmp(sets[top]->isa, name) != 0) {
			snprintf(reason, sizeof reason, "there are no kernels \"%.32s\" on this machine (scalar, sse4, avx2, avx512)", name);
			*why = reason;
			top = SETS - 1;
		}
	}
	for (unsigned i = top; i > 0; i--) {
		if (supported(sets[i]))
			return sets[i];
		if (name != NULL && *why == NULL && strcmp(sets[i]->isa, sets[i]->name) == 0) {
			snprintf(reason, sizeof reason, "this CPU does not support %s", name);
			*why = reason;
		}
	}
	return &vec_scalar;
}

const char *vec_init(bool simd_enabled, const char *avx_version)
{
	const char *env = getenv("ENGRAM_SIMD"), *name = env, *why = NULL;

	if (env == NULL || *env == '\0') {
		name = !simd_enabled ? "scalar" : avx_version;
		if (name != NULL && strcmp(name, "auto") == 0)
			name = NULL;
		else if (name != NULL && strcmp(name, "none") == 0)
			name = "scalar";
	}
	now = best(name, &why);
	return why;
}

const char *vec_name(void) { return now->isa; }
const struct vec_kernels *vec_set(void) { return now; }
unsigned vec_lanes(void) { return now->lanes; }

float vec_dot(const float *a, const float *b, size_t dim)
{
	return now->dot(a, b, dim);
}

float vec_cosine(const float *a, const float *b, size_t dim)
{
	float s[3];
	double norms;

	now->dot3(a, b, dim, s);
	norms = sqrt((double)s[1] * (double)s[2]);
	return norms > 0 ? (float)(s[0] / norms) : 0;
}

/* In double: the squares of f32 numbers can be out of range for f32. */
static double square_sum(const float *a, size_t dim)
{
	double s[4] = { 0 };
	size_t i = 0;

	for (; i + 4 <= dim; i += 4)
		for (int k = 0; k < 4; k++)
			s[k] += (double)a[i + k] * (double)a[i + k];
	for (; i < dim; i++)
		s[0] += (double)a[i] * (double)a[i];
	return (s[0] + s[1]) + (s[2] + s[3]);
}

float vec_norm(const float *a, size_t dim)
{
	return (float)sqrt(square_sum(a, dim));
}

bool vec_normalise(float *a, size_t dim)
{
	double norm = sqrt(square_sum(a, dim));

	if (!(norm > 0) || !isfinite(norm))
		return false;
	for (size_t i = 0; i < dim; i++)
		a[i] = (float)((double)a[i] / norm);
	return true;
}

static inline void prefetch(const float *row, size_t dim)
{
	size_t bytes = dim * sizeof *row;

	if (bytes > PREFETCH_BYTES)
		bytes = PREFETCH_BYTES;
	for (size_t at = 0; at < bytes; at += CACHE_LINE)
		__builtin_prefetch((const char *)row + at);
}

void vec_dot_many(const float *query, size_t dim, const float *base, size_t stride_floats, size_t n,
                  unsigned prefetch_rows, float *out)
{
	for (size_t i = 0; i < n; i++) {
		if (prefetch_rows > 0 && prefetch_rows < n - i)
			prefetch(base + (i + prefetch_rows) * stride_floats, dim);
		out[i] = now->dot(query, base + i * stride_floats, dim);
	}
}

void vec_dot_each(const float *query, size_t dim, const float *const *rows, size_t n,
                  unsigned prefetch_rows, float *out)
{
	for (size_t i = 0; i < n; i++) {
		if (prefetch_rows > 0 && prefetch_rows < n - i)
			prefetch(rows[i + prefetch_rows], dim);
		out[i] = now->dot(query, rows[i], dim);
	}
}
