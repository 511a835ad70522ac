/* Kernels for f32 vectors, in four instruction sets chosen once; the kernels for
 * codes (common/code.h) are chosen with them, of AVX-512 with and without VNNI.
 *
 * vec_init sets function pointers before the first fork; every process then
 * uses the same set. Results of the sets differ in the last bits (within 1e-5
 * of the sum of |a_i b_i|), so nothing that is replayed may depend on comparing
 * them bit by bit. Rows need no alignment; 64 bytes is fastest.
 */
#ifndef COMMON_VEC_H
#define COMMON_VEC_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct code_kernels;               /* common/code_kernels.h */

struct vec_kernels {
	const char *name;          /* "scalar", "sse4", "avx2", "avx512", "avx512-vnni" */
	const char *isa;           /* the same without "-vnni": what is asked for and told */
	const struct code_kernels *code;
	unsigned lanes;            /* floats per register: 1, 4, 8, 16 */
	float (*dot)(const float *a, const float *b, size_t dim);
	/* dot and both squared norms in one pass: out = {a.b, a.a, b.b} */
	void (*dot3)(const float *a, const float *b, size_t dim, float out[3]);
};

/* Choose the kernels: scalar unless simd_enabled; at most avx_version ("avx512",
 * "avx2", "sse4", "scalar" or "none"; NULL or "auto": the best this CPU has). The
 * environment's ENGRAM_SIMD (same names) wins over both. NULL: as asked for;
 * else why something else was taken, static text for the log. Call it before
 * threads exist; before the first call the scalar kernels are in force. */
const char *vec_init(bool simd_enabled, const char *avx_version) EG_MUST_USE;
const char *vec_name(void);        /* isa of the set in force */
const struct vec_kernels *vec_set(void);
unsigned vec_lanes(void);
/* A set by name, for tests and measurements; NULL: unknown, or this CPU lacks it. */
const struct vec_kernels *vec_kernels(const char *name);

float vec_dot(const float *a, const float *b, size_t dim);
/* a.b / (|a| |b|); 0 when either norm is 0. */
float vec_cosine(const float *a, const float *b, size_t dim);
float vec_norm(const float *a, size_t dim);
/* Scale a to length 1. False, a unchanged: its norm is 0 or not finite. */
bool vec_normalise(float *a, size_t dim) EG_MUST_USE;

/* out[i] = query . (base + i * stride_floats), i < n; row i + prefetch_rows is
 * asked into the cache meanwhile (0: off). */
void vec_dot_many(const float *query, size_t dim, const float *base, size_t stride_floats, size_t n,
                  unsigned prefetch_rows, float *out);
/* The same for scattered rows. */
void vec_dot_each(const float *query, size_t dim, const float *const *rows, size_t n,
                  unsigned prefetch_rows, float *out);

#endif
