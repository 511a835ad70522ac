/* Codes: a vector of unit length in five bits a dimension, made without training.
 *
 * The vector graph walks on codes: 0.625 bytes a dimension instead of 4, in
 * memory for every tier; full vectors are read only for the last few candidates.
 *
 * How. The vector is padded with zeros to a multiple of 128 dimensions and turned
 * by a fixed random rotation R (code_rotate). o = R v has coordinates that look
 * like a normal distribution of variance 1 / dims, whatever v was, so one uniform
 * grid serves all vectors and no data need be seen first. With a step d chosen
 * for the vector (the one of sixteen whose result points nearest to o):
 *
 *     level_i = clamp(floor(o_i / d) + 16, 0, 31)      x_i = level_i - 15.5
 *
 * A level is kept in two parts, so that most candidates are dismissed after one
 * bit a dimension (one cache line at 512 dimensions):
 *
 *     sign   dims / 8 bytes    bit i % 8 of byte i / 8: level_i >> 4, o_i >= 0
 *     low    dims / 2 bytes    level_i & 15; byte 64 g + j holds dimension
 *                              128 g + j in its lower half, 128 g + 64 + j above
 *     scale  16 bytes          struct code_scale
 *
 * A query r = R q is kept as int8 (code_query). Then, with s = 2 sign - 1:
 *
 *     q.v ~ (s.r) / (s.o)    "first", from the signs alone
 *     q.v ~ (x.r) / (x.o)    "full"
 *
 * Both estimates have no bias over the random rotation, and err by about
 * sqrt((1 - c^2) / (c^2 (dims - 1))), c = cosine of o and s, or x: 0.033 and 0.0026
 * at 512 dimensions. Sources: Gao and Long, RaBitQ (SIGMOD 2024), the estimator and
 * its bound; Gao et al., extended RaBitQ (SIGMOD 2025), the step chosen for each
 * vector. R: rounds of random sign flips and a Hadamard transform of the largest
 * power of two that fits, laid over the head and the tail by turns (Ailon and
 * Chazelle 2009; two rounds where it covers everything, else four).
 *
 * Rotation and code of a vector are bit by bit the same on every machine and with
 * every instruction set: additions in a fixed order, then integers. Scalars are
 * made of exact sums. So a code may be compared with one that is made anew.
 */
#ifndef COMMON_CODE_H
#define COMMON_CODE_H

#include <stddef.h>
#include <stdint.h>

#define EG_CODE_ROUND 128u         /* dims is a multiple of this */
#define EG_CODE_DIMS_MAX 4096u
#define EG_CODE_LEVELS 32u

struct code_scale {
	float first;               /* 1 / s.o */
	float full;                /* 1 / x.o */
	float first_error;         /* standard deviation of the first estimate, for |q| = 1 */
	uint32_t sum;              /* of all levels */
};
_Static_assert(sizeof(struct code_scale) == 16, "four to a cache line");

static inline unsigned code_dims(unsigned dim) { return (dim + EG_CODE_ROUND - 1) / EG_CODE_ROUND * EG_CODE_ROUND; }
static inline size_t code_sign_bytes(unsigned dims) { return dims / 8; }
static inline size_t code_low_bytes(unsigned dims) { return dims / 2; }

/* out = R v; v has dim floats (1 .. EG_CODE_DIMS_MAX), out code_dims(dim). */
void code_rotate(const float *v, unsigned dim, float *out);

/* The code of a rotated vector of unit length; sign and low in full. */
void code_encode(const float *rotated, unsigned dims, uint8_t *sign, uint8_t *low, struct code_scale *scale);

struct code_query {
	const int8_t *r;           /* dims numbers, -127 .. 127; 64-byte alignment is fastest */
	unsigned dims;
	int32_t sum;               /* of r */
	float unit;                /* what 1 in r stands for */
};
/* Make *q of a rotated vector; r is the caller's, dims bytes, and must outlive q. */
void code_query(const float *rotated, unsigned dims, int8_t *r, struct code_query *q);

/* out[i] = the integer sum of r over the set bits of sign[i], i < n; row i + ahead
 * is asked into the cache meanwhile (ahead 0: off). Exact, all sets agree. */
void code_sign_each(const struct code_query *q, const uint8_t *const *sign, size_t n, unsigned ahead, int32_t *out);
/* out[i] = r . (level & 15) of low[i]. */
void code_low_each(const struct code_query *q, const uint8_t *const *low, size_t n, unsigned ahead, int32_t *out);

static inline float code_first(const struct code_query *q, int32_t sign_dot, const struct code_scale *s)
{
	return (float)(2 * sign_dot - q->sum) * s->first * q->unit;
}

static inline float code_full(const struct code_query *q, int32_t sign_dot, int32_t low_dot, const struct code_scale *s)
{
	return ((float)(16 * sign_dot + low_dot) - 15.5f * (float)q->sum) * s->full * q->unit;
}

/* Two codes: levels as bytes first, then as many products as wanted. */
void code_levels(const uint8_t *sign, const uint8_t *low, unsigned dims, uint8_t *levels);
/* About a.b of the vectors, for levels with their scales; without bias, errs
 * by about 1.4 times the full estimate's error. */
float code_between(const uint8_t *a, const struct code_scale *as, const uint8_t *b, const struct code_scale *bs,
                   unsigned dims);

#endif
