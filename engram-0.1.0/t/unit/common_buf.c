/* Buffers: the limit, and what they print as JSON. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/json.h"

static void limit_is_sticky(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	buf_puts(&b, "12345");
	buf_printf(&b, "%d", 678);
	assert_string_equal(b.data, "12345678");
	buf_add(&b, "abc", 3);
	assert_true(b.failed);
	buf_putc(&b, 'x');
	assert_int_equal(b.len, 8);
	assert_null(buf_room(&b, 1));
	buf_reset(&b);
	assert_false(b.failed);
	buf_add(&b, "0123456789", 10);
	assert_false(b.failed);
	buf_add(&b, "", 0);
	assert_false(b.failed);
	assert_string_equal(b.data, "0123456789");
	buf_free(&b);
	for (int i = 0; i < 10; i++)
		memcpy(buf_room(&b, 1), "z", 2), b.len++;
	assert_string_equal(b.data, "zzzzzzzzzz");
	buf_free(&b);
}

static void strings(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	buf_json_string(&b, "a\"\\/\b\f\n\r\t\x01\x7f\0z", 13);
	buf_json_text(&b, NULL);
	assert_string_equal(b.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f\\u0000z\"null");
	buf_reset(&b);
	buf_json_text(&b, "\xc3\xbc\xff\xe2\x82|\xed\xa0\x80");
	assert_string_equal(b.data, "\"\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	buf_reset(&b);
	buf_json_int(&b, INT64_MIN);
	buf_putc(&b, ',');
	buf_json_int(&b, 0);
	buf_putc(&b, ',');
	buf_json_uint(&b, UINT64_MAX);
	buf_json_bool(&b, true);
	assert_string_equal(b.data, "-9223372036854775808,0,18446744073709551615true");
	buf_free(&b);
}

static void known_numbers(void **state)
{
	static const struct { double v; const char *text; } rows[] = {
		{ 0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1.5, "-1.5" }, { .7, "0.7" }, { .1, "0.1" }, { 1e-5, "0.00001" },
		{ 1e15, "1000000000000000" }, { 1e17, "100000000000000000" }, { 1e18, "1e18" }, { 1e19, "1e19" },
		{ 1.0 / 3, "0.3333333333333333" }, { 5e-324, "5e-324" },
		{ DBL_MAX, "1.7976931348623157e308" }, { 123456.789, "123456.789" }, { 1e-7, "1e-7" }, { 1e300, "1e300" },
		{ 0.1 + 0.2, "0.30000000000000004" }, { 9007199254740993., "9007199254740992" },
	};
	static const struct { float v; const char *text; } frows[] = {
		{ .1f, "0.1" }, { 16777216.f, "16777216" }, { 3.4028235e38f, "3.4028235e38" }, { 1e-45f, "1e-45" },
		{ .7f, "0.7" }, { -1.f / 3, "-0.33333334" }, { 0, "0" }, { 1e10f, "10000000000" }, { 1.17549435e-38f, "1.1754944e-38" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		buf_json_double(&b, rows[i].v);
		assert_string_equal(b.data, rows[i].text);
		buf_reset(&b);
	}
	for (size_t i = 0; i < sizeof frows / sizeof *frows; i++) {
		buf_json_float(&b, frows[i].v);
		assert_string_equal(b.data, frows[i].text);
		buf_reset(&b);
	}
	buf_free(&b);
}

static uint64_t seed = 88172645463325252;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Shortest digits by brute force with printf. */
static int digits_needed(double v, bool single)
{
	char t[64];

	for (int n = 1; n < 17; n++) {
		snprintf(t, sizeof t, "%.*e", n - 1, v);
		if (single ? strtof(t, NULL) == (float)v : strtod(t, NULL) == v)
			return n;
	}
	return 17;
}

static int digits_of(const char *s)
{
	int n = 0, zeros = 0;

	for (; *s && *s != 'e'; s++) {
		if (*s < '0' || *s > '9' || (n == 0 && *s == '0'))
			continue;
		n++;
		zeros = *s == '0' ? zeros + 1 : 0;
	}
	return n - zeros;
}

static void numbers_read_back_and_are_short(void **state)
{
	struct buf b;
	double v, back;
	float f;
	uint64_t bits;
	uint32_t bits32;

	(void)state;
	buf_init(&b, 100);
	for (int i = 0; i < 200000; i++) {
		bits = rnd();
		memcpy(&v, &bits, 8);
		if (i % 4 == 0)
			v = (double)(bits % 1000000007) / 1000;
		else if (i % 4 == 1)
			v = (double)(bits >> 11) * 0x1p-53;
		bits32 = (uint32_t)(bits >> 20);
		memcpy(&f, &bits32, 4);
		if (i % 4 == 2)
			f = (float)(bits >> 11) * 0x1p-53f;
		if (isfinite(v)) {
			buf_json_double(&b, v);
			assert_true(json_number(b.data, b.len, &back));
			assert_true(back == v);
			assert_true(strtod(b.data, NULL) == v);
			if (v != 0)
				assert_int_equal(digits_of(b.data), digits_needed(v, false) < 15 ? digits_needed(v, false) : digits_of(b.data));
			assert_true(digits_of(b.data) <= 17);
			buf_reset(&b);
		}
		if (isfinite(f)) {
			buf_json_float(&b, f);
			assert_true(strtof(b.data, NULL) == f);
			assert_true(json_number(b.data, b.len, &back));
			assert_true((float)back == f);
			assert_true(digits_of(b.data) <= 9);
			buf_reset(&b);
		}
	}
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_is_sticky),
		cmocka_unit_test(strings),
		cmocka_unit_test(known_numbers),
		cmocka_unit_test(numbers_read_back_and_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
