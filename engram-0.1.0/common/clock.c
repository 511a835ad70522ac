/* Calendar arithmetic is done on days since 1970 by eras of 400 years, whose
 * length is constant (146097 days); years begin in March, so that the leap day
 * is the last of its year. No libc time function is asked: they know locales,
 * zones and races. */
#include "common/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define DAY_SECONDS 86400
#define ERA_DAYS 146097
#define EPOCH_DAYS 719468              /* from 0000-03-01 to 1970-01-01 */
#define SECOND_US INT64_C(1000000)

static _Atomic int64_t offset_seconds;

int64_t clock_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_real_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ((int64_t)t.tv_sec + clock_offset_seconds()) * SECOND_US + t.tv_nsec / 1000;
}

void clock_set_offset_seconds(int64_t seconds)
{
	atomic_store_explicit(&offset_seconds, seconds, memory_order_relaxed);
}

int64_t clock_offset_seconds(void)
{
	return atomic_load_explicit(&offset_seconds, memory_order_relaxed);
}

/* ---- calendar */

static int64_t days_from_date(int64_t year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + EPOCH_DAYS;
	int64_t era = (z >= 0 ? z : z - (ERA_DAYS - 1)) / ERA_DAYS;
	int64_t d = z - era * ERA_DAYS;
	int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
	int64_t of_year = d - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = (int)(y + era * 400 + (*month <= 2));
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* ---- text */

struct scan {
	const char *p, *end;
};

static bool scan_number(struct scan *s, int digits, int *value)
{
	*value = 0;
	if (s->end - s->p < digits)
		return false;
	for (int i = 0; i < digits; i++, s->p++) {
		if (*s->p < '0' || *s->p > '9')
			return false;
		*value = *value * 10 + (*s->p - '0');
	}
	return true;
}

static bool scan_one_of(struct scan *s, const char *set, char *found)
{
	for (; s->p < s->end && *set; set++)
		if (*s->p == *set) {
			*found = *s->p++;
			return true;
		}
	return false;
}

/* ".5" and so on; digits beyond the sixth are cut. */
static bool scan_fraction(struct scan *s, int64_t *us)
{
	int64_t unit = SECOND_US / 10;
	char c;
	int digits = 0;

	*us = 0;
	if (!scan_one_of(s, ".", &c))
		return true;
	for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++, digits++, unit /= 10)
		*us += (*s->p - '0') * unit;
	return digits > 0;
}

static bool scan_zone(struct scan *s, int *minutes)
{
	char sign;
	int h, m;

	*minutes = 0;
	if (scan_one_of(s, "Zz", &sign))
		return true;
	if (!scan_one_of(s, "+-", &sign) || !scan_number(s, 2, &h) || !scan_one_of(s, ":", &(char){ 0 }) ||
	    !scan_number(s, 2, &m) || h > 23 || m > 59)
		return false;
	*minutes = (h * 60 + m) * (sign == '-' ? -1 : 1);
	return true;
}

static bool leap_second_at(int64_t second)
{
	int year, month, day;
	int64_t days = second / DAY_SECONDS - (second % DAY_SECONDS < 0);

	if (second - days * DAY_SECONDS != DAY_SECONDS - 1)
		return false;
	date_from_days(days, &year, &month, &day);
	return (month == 6 && day == 30) || (month == 12 && day == 31);
}

enum err clock_parse(const char *text, size_t len, int64_t *us)
{
	struct scan s = { text, text + len };
	int year, month, day, h, m, sec, zone;
	int64_t fraction, t;
	char c;

	if (!scan_number(&s, 4, &year) || !scan_one_of(&s, "-", &c) || !scan_number(&s, 2, &month) ||
	    !scan_one_of(&s, "-", &c) || !scan_number(&s, 2, &day) || !scan_one_of(&s, "Tt ", &c) ||
	    !scan_number(&s, 2, &h) || !scan_one_of(&s, ":", &c) || !scan_number(&s, 2, &m) ||
	    !scan_one_of(&s, ":", &c) || !scan_number(&s, 2, &sec) || !scan_fraction(&s, &fraction) ||
	    !scan_zone(&s, &zone) || s.p != s.end)
		return EG_E_INPUT;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || h > 23 ||
	    m > 59 || sec > 60)
		return EG_E_INPUT;
	t = days_from_date(year, month, day) * DAY_SECONDS + h * 3600 + m * 60 + (sec == 60 ? 59 : sec) - zone * 60;
	if (sec == 60 && !leap_second_at(t))
		return EG_E_INPUT;
	t = t * SECOND_US + fraction;
	if (t < EG_CLOCK_MIN_US || t > EG_CLOCK_MAX_US)
		return EG_E_INPUT;
	*us = t;
	return EG_E_OK;
}

size_t clock_format(int64_t us, char out[EG_CLOCK_TEXT])
{
	int64_t seconds, days;
	int year, month, day, of_day, fraction, n;

	EG_ASSERT(us >= EG_CLOCK_MIN_US && us <= EG_CLOCK_MAX_US);
	seconds = us / SECOND_US - (us % SECOND_US < 0);
	fraction = (int)(us - seconds * SECOND_US);
	days = seconds / DAY_SECONDS - (seconds % DAY_SECONDS < 0);
	of_day = (int)(seconds - days * DAY_SECONDS);
	date_from_days(days, &year, &month, &day);
	n = snprintf(out, EG_CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, of_day / 3600,
	             of_day / 60 % 60, of_day % 60);
	if (fraction % 1000)
		n += snprintf(out + n, EG_CLOCK_TEXT - (size_t)n, ".%06d", fraction);
	else if (fraction)
		n += snprintf(out + n, EG_CLOCK_TEXT - (size_t)n, ".%03d", fraction / 1000);
	n += snprintf(out + n, EG_CLOCK_TEXT - (size_t)n, "Z");
	return (size_t)n;
}
