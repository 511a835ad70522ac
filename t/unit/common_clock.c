/* Time as text, at the edges of the calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"

static const struct { const char *text; int64_t us; const char *formatted; } good[] = {
	{ "1970-01-01T00:00:00Z", 0, NULL },
	{ "1969-12-31T23:59:59.999999Z", -1, NULL },
	{ "1970-01-01T00:00:00.123Z", 123000, NULL },
	{ "1970-01-01T00:00:00.123400Z", 123400, NULL },
	{ "1970-01-01T00:00:00.1Z", 100000, "1970-01-01T00:00:00.100Z" },
	{ "1970-01-01T00:00:00.1234569Z", 123456, "1970-01-01T00:00:00.123456Z" },
	{ "1970-01-01t01:00:00+01:00", 0, "1970-01-01T00:00:00Z" },
	{ "1970-01-01 00:00:00z", 0, "1970-01-01T00:00:00Z" },
	{ "1969-12-31T23:30:00-00:30", 0, "1970-01-01T00:00:00Z" },
	{ "2024-02-29T12:00:00Z", INT64_C(1709208000000000), NULL },
	{ "2000-02-29T00:00:00Z", INT64_C(951782400000000), NULL },
	{ "2000-03-01T00:00:00Z", INT64_C(951868800000000), NULL },
	{ "2038-01-19T03:14:08Z", INT64_C(2147483648000000), NULL },
	{ "2100-02-28T23:59:59Z", INT64_C(4107542399000000), NULL },
	{ "2100-03-01T00:00:00Z", INT64_C(4107542400000000), NULL },
	{ "1600-02-29T00:00:00Z", INT64_C(-11670998400000000), NULL },
	{ "0001-01-01T00:00:00Z", EG_CLOCK_MIN_US, NULL },
	{ "9999-12-31T23:59:59.999999Z", EG_CLOCK_MAX_US, NULL },
	{ "2016-12-31T23:59:60Z", INT64_C(1483228799000000), "2016-12-31T23:59:59Z" },
	{ "2017-01-01T00:59:60+01:00", INT64_C(1483228799000000), "2016-12-31T23:59:59Z" },
	{ "0000-12-31T23:59:59Z", 1, "" },                     /* "": refused */
	{ "0001-01-01T00:00:00+00:01", 1, "" },
	{ "9999-12-31T23:59:59.999999-00:01", 1, "" },
	{ "2023-02-29T00:00:00Z", 1, "" },
	{ "1900-02-29T00:00:00Z", 1, "" },
	{ "2024-04-31T00:00:00Z", 1, "" },
	{ "2024-13-01T00:00:00Z", 1, "" },
	{ "2024-00-01T00:00:00Z", 1, "" },
	{ "2024-01-00T00:00:00Z", 1, "" },
	{ "2024-01-01T24:00:00Z", 1, "" },
	{ "2024-01-01T00:60:00Z", 1, "" },
	{ "2024-01-01T00:00:61Z", 1, "" },
	{ "2024-01-01T23:59:60Z", 1, "" },
	{ "2024-01-01", 1, "" },
	{ "2024-01-01Z", 1, "" },
	{ "2024-01-01T00:00Z", 1, "" },
	{ "2024-01-01T00:00:00", 1, "" },
	{ "2024-01-01T00:00:00.Z", 1, "" },
	{ "2024-01-01T00:00:00,5Z", 1, "" },
	{ "2024-01-01T00:00:00+0100", 1, "" },
	{ "2024-01-01T00:00:00+24:00", 1, "" },
	{ "2024-01-01T00:00:00+01:60", 1, "" },
	{ "2024-01-01T00:00:00Zx", 1, "" },
	{ " 2024-01-01T00:00:00Z", 1, "" },
	{ "24-01-01T00:00:00Z", 1, "" },
	{ "2024-1-01T00:00:00Z", 1, "" },
	{ "2024-01-01T+0:00:00Z", 1, "" },
	{ "", 1, "" },
};

static void text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		const char *want = good[i].formatted ? good[i].formatted : good[i].text;
		int64_t us = 1;
		char out[EG_CLOCK_TEXT];
		enum err e = clock_parse(good[i].text, strlen(good[i].text), &us);
		if (e != (*want ? EG_E_OK : EG_E_INPUT) || us != good[i].us)
			fail_msg("%s: error %d, %lld us", good[i].text, e, (long long)us);
		if (*want && (clock_format(us, out) != strlen(want) || strcmp(out, want) != 0))
			fail_msg("%s is formatted as %s", good[i].text, out);
	}
}

/* A parse never reads beyond its length. */
static void prefixes(void **state)
{
	const char *full = "2024-01-01T00:00:00.5+01:00";
	int64_t us;

	(void)state;
	for (size_t n = 0; n < strlen(full); n++)
		assert_int_equal(clock_parse(full, n, &us), EG_E_INPUT);
	assert_int_equal(clock_parse(full, strlen(full), &us), EG_E_OK);
}

static void every_day_goes_round(void **state)
{
	int64_t day = INT64_C(86400000000), back;
	char out[EG_CLOCK_TEXT];

	(void)state;
	for (int64_t us = EG_CLOCK_MIN_US; us <= EG_CLOCK_MAX_US; us += day * 13 + 1000007) {
		size_t n = clock_format(us, out);
		assert_int_equal(clock_parse(out, n, &back), EG_E_OK);
		assert_true(back == us);
	}
}

static void offset(void **state)
{
	int64_t before = clock_real_us(), mono = clock_mono_ns(), moved;

	(void)state;
	clock_set_offset_seconds(1000000);
	assert_true(clock_offset_seconds() == 1000000);
	moved = clock_real_us();
	assert_true(moved - before >= INT64_C(999999000000) && moved - before < INT64_C(1100000000000));
	assert_true(clock_mono_ns() >= mono && clock_mono_ns() - mono < INT64_C(100000000000));
	clock_set_offset_seconds(-10);
	assert_true(clock_real_us() < before);
	clock_set_offset_seconds(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text), cmocka_unit_test(prefixes), cmocka_unit_test(every_day_goes_round),
		cmocka_unit_test(offset),
	};

	return cmocka_run_group_tests_name("common/clock", tests, NULL, NULL);
}
