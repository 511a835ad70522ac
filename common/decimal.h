/* Decimal numbers, as JSON spells them, to binary, whatever the locale.
 *
 * Most numbers are short: up to 2^53 times a power of ten up to 10^22 is
 * exactly one multiplication or division (W. Clinger, How to read floating
 * point numbers accurately, 1990). Only the others go to strtod, as digits and
 * exponent without a decimal point, which no locale changes.
 */
#ifndef COMMON_DECIMAL_H
#define COMMON_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

struct decimal {
	const char *begin, *end;   /* the token */
	uint64_t mantissa;         /* the first digits, at most 19, leading zeros included */
	int64_t exp10;             /* value = mantissa * 10^exp10, but for dropped digits */
	bool negative;
	bool integer;              /* no fraction, no exponent */
	bool inexact;              /* a digit beyond the 19th, not 0, was dropped */
};

/* Read a number at s, as far as it goes. NULL: fine; else what was expected,
 * at d->end. */
const char *decimal_scan(const char *s, const char *end, struct decimal *d);
/* To the nearest; infinite when out of range. */
double decimal_double(const struct decimal *d);
float decimal_float(const struct decimal *d);
/* False: not an integer, or outside int64. */
bool decimal_int64(const struct decimal *d, int64_t *out);

#endif
