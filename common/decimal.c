#include "common/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MANTISSA_DIGITS = 19,      /* always fit in 64 bits */
	EXPONENT_MAX = 100000000,  /* beyond it all is 0 or infinite */
	/* A double's rounding is decided by at most 768 digits and whether
	 * anything but zeros follows. */
	DIGITS_MAX = 800,
};

static const double tens[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
	1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};
enum { TENS = sizeof tens / sizeof *tens - 1 };

static inline bool digit(const char *s, const char *end)
{
	return s < end && (unsigned char)(*s - '0') < 10;
}

/* How many of the eight bytes at s, from the first on, are digits; *value is
 * what these say: pairs, fours, eights, all in one register. */
static inline unsigned eight(const char *s, uint64_t *value)
{
	const uint64_t sixes = UINT64_C(0x0606060606060606), high = UINT64_C(0xf0f0f0f0f0f0f0f0);
	uint64_t w, other;
	unsigned n = 8;

	memcpy(&w, s, 8);
	w ^= UINT64_C(0x3030303030303030);              /* digits: 0 to 9 */
	other = (w | ((w & ~high) + sixes)) & high;
	if (other != 0) {
		n = (unsigned)__builtin_ctzll(other) / 8;
		w = n == 0 ? 0 : w << (64 - 8 * n);     /* as with zeros in front */
	}
	w = w * 10 + (w >> 8);
	*value = ((w & UINT64_C(0x000000ff000000ff)) * (100 + (UINT64_C(1000000) << 32)) +
	          (w >> 16 & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32))) >> 32;
	return n;
}

/* Digits from s on into d->mantissa; *n counts those in it. The caller accounts
 * for the decimal point. Returns the first byte that is no digit. */
static inline const char *digits(const char *s, const char *end, struct decimal *d, unsigned *n)
{
	static const uint64_t scale[9] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000 };
	uint64_t v;

	while (end - s >= 8 && *n <= MANTISSA_DIGITS - 8) {
		unsigned more = eight(s, &v);

		d->mantissa = d->mantissa * scale[more] + v;
		*n += more;
		s += more;
		if (more < 8)
			return s;
	}
	for (; digit(s, end); s++) {
		if (*n < MANTISSA_DIGITS) {
			d->mantissa = d->mantissa * 10 + (uint64_t)(*s - '0');
			++*n;
		} else {
			d->inexact |= *s != '0';
			d->exp10++;
		}
	}
	return s;
}

static const char *exponent(const char *s, const char *end, struct decimal *d)
{
	bool minus = false;
	int64_t e = 0;

	if (s < end && (*s == '+' || *s == '-'))
		minus = *s++ == '-';
	d->end = s;
	if (!digit(s, end))
		return "a digit of the exponent";
	for (; digit(s, end); s++)
		if (e < EXPONENT_MAX)
			e = e * 10 + (*s - '0');
	d->exp10 += minus ? -e : e;
	d->end = s;
	return NULL;
}

const char *decimal_scan(const char *s, const char *end, struct decimal *d)
{
	const char *from;
	unsigned n = 0;

	*d = (struct decimal){ .begin = s, .end = s, .integer = true };
	if (s < end && *s == '-') {
		d->negative = true;
		d->end = ++s;
	}
	if (!digit(s, end))
		return "a digit";
	if (*s == '0')
		s++;
	else
		s = digits(s, end, d, &n);
	d->end = s;
	if (digit(s, end))
		return "a number without leading zeros";
	if (s < end && *s == '.') {
		from = ++s;
		d->end = s;
		d->integer = false;
		if (!digit(s, end))
			return "a digit after the decimal point";
		s = digits(s, end, d, &n);
		d->exp10 -= s - from;
		d->end = s;
	}
	if (s < end && (*s == 'e' || *s == 'E')) {
		d->integer = false;
		return exponent(s + 1, end, d);
	}
	return NULL;
}

/* Exactly rounded by the hardware? */
static inline bool exact(const struct decimal *d, double *out)
{
	double v = (double)d->mantissa;

	if (d->inexact || d->mantissa > UINT64_C(1) << 53 || d->exp10 < -TENS || d->exp10 > TENS)
		return false;
	*out = d->exp10 < 0 ? v / tens[-d->exp10] : v * tens[d->exp10];
	return true;
}

/* The token again, as at most DIGITS_MAX digits, one more for all the rest,
 * and an exponent. */
static void plain(const struct decimal *d, char *out, size_t size)
{
	int64_t exp10 = 0;
	bool rest = false, point = false;
	size_t n = 0;
	struct decimal e = { 0 };
	const char *s = d->begin + d->negative;

	for (; s < d->end && *s != 'e' && *s != 'E'; s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		exp10 -= point;
		if (n == 0 && *s == '0')
			continue;
		if (n < DIGITS_MAX) {
			out[n++] = *s;
		} else {
			rest |= *s != '0';
			exp10++;
		}
	}
	if (s < d->end)
		(void)exponent(s + 1, d->end, &e);
	out[n++] = rest ? '1' : '0';
	snprintf(out + n, size - n, "e%" PRId64, exp10 + e.exp10 - 1);
}

double decimal_double(const struct decimal *d)
{
	char t[DIGITS_MAX + 32];
	double v;

	if (!exact(d, &v)) {
		plain(d, t, sizeof t);
		v = strtod(t, NULL);
	}
	return d->negative ? -v : v;
}

/* Sixteen digits and more (what programs print that hold floats in doubles)
 * need no exact double for an exact float: an estimate within a few units of
 * the last place of a double settles it, unless a float's midpoint is near. */
float decimal_float(const struct decimal *d)
{
	const double slack = 0x1p-50;
	char t[DIGITS_MAX + 32];
	double v;
	float f;

	if (!d->inexact && d->exp10 >= -TENS && d->exp10 <= TENS) {
		v = (double)d->mantissa;
		v = d->exp10 < 0 ? v / tens[-d->exp10] : v * tens[d->exp10];
		f = (float)(v * (1 + slack));
		if ((float)(v * (1 - slack)) == f)
			return d->negative ? -f : f;
	}
	plain(d, t, sizeof t);
	f = strtof(t, NULL);
	return d->negative ? -f : f;
}

bool decimal_int64(const struct decimal *d, int64_t *out)
{
	if (!d->integer || d->inexact || d->exp10 != 0 ||
	    d->mantissa > (uint64_t)INT64_MAX + d->negative)
		return false;
	*out = (int64_t)(d->negative ? -d->mantissa : d->mantissa);
	return true;
}
