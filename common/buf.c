#include "common/buf.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/utf8.h"

enum { SMALLEST = 256 };

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){ .limit = limit };
}

void buf_free(struct buf *b)
{
	free(b->data);
	buf_init(b, b->limit);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data != NULL)
		b->data[0] = '\0';
}

/* len more bytes and a NUL fit afterwards. */
static bool grow(struct buf *b, size_t len)
{
	size_t want, cap;
	char *p;

	if (b->failed || len > b->limit - b->len) {
		b->failed = true;
		return false;
	}
	want = b->len + len + 1;
	if (want <= b->cap)
		return true;
	cap = b->cap < SMALLEST ? SMALLEST : b->cap;
	while (cap < want)
		cap *= 2;
	p = realloc(b->data, cap);
	if (p == NULL) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

char *buf_room(struct buf *b, size_t len)
{
	return grow(b, len) ? b->data + b->len : NULL;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!grow(b, len))
		return;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_putc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_puts(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	EG_ASSERT(n >= 0);
	if (!grow(b, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

/* ---- JSON ---- */

static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One byte or character that cannot stand as it is; how many bytes it took. */
static size_t special(struct buf *b, const char *text, size_t len)
{
	static const char names[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
	const char *at = text[0] != '\0' ? strchr(names, text[0]) : NULL;
	uint32_t c;
	unsigned n;

	if (at != NULL) {
		char e[2] = { '\\', letters[at - names] };

		buf_add(b, e, 2);
		return 1;
	}
	n = utf8_get(text, len, &c);
	if (n > 1)
		buf_add(b, text, n);
	else if (n == 1)
		buf_printf(b, "\\u%04x", (unsigned)c);
	else
		buf_add(b, "\xef\xbf\xbd", 3);
	return n > 1 ? n : 1;
}

void buf_json_string(struct buf *b, const char *text, size_t len)
{
	size_t from = 0, i = 0;

	buf_putc(b, '"');
	while (i < len) {
		if (plain((unsigned char)text[i])) {
			i++;
			continue;
		}
		buf_add(b, text + from, i - from);
		i += special(b, text + i, len - i);
		from = i;
	}
	buf_add(b, text + from, i - from);
	buf_putc(b, '"');
}

void buf_json_text(struct buf *b, const char *text)
{
	if (text == NULL)
		buf_puts(b, "null");
	else
		buf_json_string(b, text, strlen(text));
}

void buf_json_bool(struct buf *b, bool v)
{
	buf_puts(b, v ? "true" : "false");
}

void buf_json_uint(struct buf *b, uint64_t v)
{
	char t[20], *p = t + sizeof t;

	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	buf_add(b, p, (size_t)(t + sizeof t - p));
}

void buf_json_int(struct buf *b, int64_t v)
{
	if (v < 0)
		buf_putc(b, '-');
	buf_json_uint(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

/* digits * 10^exp10, digits without trailing zeros: as plain decimal where that
 * is not long, else with an exponent. */
static void put_decimal(struct buf *b, uint64_t digits, int exp10)
{
	char t[64];
	int n = snprintf(t, sizeof t, "%" PRIu64, digits), point = n + exp10;

	if (point > 18 || point < -5) {
		buf_add(b, t, 1);
		if (n > 1) {
			buf_putc(b, '.');
			buf_add(b, t + 1, (size_t)n - 1);
		}
		buf_printf(b, "e%d", point - 1);
	} else if (point <= 0) {
		buf_add(b, "0.000000", (size_t)(2 - point));
		buf_add(b, t, (size_t)n);
	} else if (point < n) {
		buf_add(b, t, (size_t)point);
		buf_putc(b, '.');
		buf_add(b, t + point, (size_t)(n - point));
	} else {
		buf_add(b, t, (size_t)n);
		buf_add(b, "000000000000000000000", (size_t)(point - n));
	}
}

static const double tens[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
	1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* v as printed with n significant digits, in integers; trailing zeros dropped.
 * Reads the digits only, so the locale's decimal point does not matter. */
static void rounded(double v, int n, uint64_t *digits, int *exp10)
{
	char t[64];
	const char *e;

	snprintf(t, sizeof t, "%.*e", n - 1, v);
	e = strchr(t, 'e');
	*exp10 = atoi(e + 1) - (n - 1);
	*digits = 0;
	for (const char *p = t; p < e; p++)
		if (*p >= '0' && *p <= '9')
			*digits = *digits * 10 + (uint64_t)(*p - '0');
	for (; *digits != 0 && *digits % 10 == 0; *digits /= 10)
		++*exp10;
}

static double read_back(uint64_t digits, int exp10)
{
	char t[64];
	double v;
	int n = snprintf(t, sizeof t, "%" PRIu64 "e%d", digits, exp10);

	/* Rounded up, the largest numbers are out of range. */
	return json_number(t, (size_t)n, &v) ? v : HUGE_VAL;
}

void buf_json_double(struct buf *b, double v)
{
	double a = fabs(v), m;
	uint64_t digits;
	int exp10;

	EG_ASSERT(isfinite(v));
	if (signbit(v))
		buf_putc(b, '-');
	/* An integer below 2^53 divided by an exact power of ten is rounded
	 * correctly, so it reads back. The first such power is the shortest. */
	for (int k = 0; k <= 15 && a * tens[k] < 9007199254740992.; k++) {
		m = (double)(uint64_t)(a * tens[k] + .5);
		if (m / tens[k] == a) {
			put_decimal(b, (uint64_t)m, -k);
			return;
		}
	}
	/* Up to DBL_DIG digits survive the way there and back, so fewer need not
	 * be tried, but for subnormal numbers. */
	for (int n = a < DBL_MIN ? 1 : DBL_DIG; n <= 17; n++) {
		rounded(a, n, &digits, &exp10);
		if (n == 17 || read_back(digits, exp10) == a)
			break;
	}
	put_decimal(b, digits, exp10);
}

/* d narrows to v, and not by a hair: also after d was itself rounded. */
static bool narrows(double d, float v)
{
	return (float)d == v && (float)nextafter(d, 0) == v && (float)nextafter(d, DBL_MAX) == v;
}

void buf_json_float(struct buf *b, float v)
{
	float a = fabsf(v);
	uint64_t digits;
	int exp10;

	EG_ASSERT(isfinite(v));
	if (signbit(v))
		buf_putc(b, '-');
	for (int k = 0; k <= 20 && (double)a * tens[k] < 1e9; k++) {
		double m = (double)(uint64_t)((double)a * tens[k] + .5);

		if (a == 0 || (m > 0 && narrows(m / tens[k], a))) {
			put_decimal(b, (uint64_t)m, -k);
			return;
		}
	}
	for (int n = a < FLT_MIN ? 1 : FLT_DIG; n <= 9; n++) {
		rounded((double)a, n, &digits, &exp10);
		if (n == 9 || narrows(read_back(digits, exp10), a))
			break;
	}
	put_decimal(b, digits, exp10);
}
