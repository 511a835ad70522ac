#include "contrib/client/print.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <unistr.h>
#include <uniwidth.h>

unsigned print_columns(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col < 40)
		return 80;
	return size.ws_col;
}

/* The next character of text and how many bytes and columns it takes. */
static ucs4_t next(const char *text, int *bytes, int *columns)
{
	ucs4_t c;

	*bytes = u8_strmbtouc(&c, (const uint8_t *)text);
	if (*bytes <= 0) {
		*bytes = 1;
		c = 0xfffd;
	}
	*columns = uc_width(c, "UTF-8");
	if (*columns < 0 || c == 0x7f || (c >= 0x80 && c < 0xa0)) {
		c = ' ';
		*columns = 1;
	}
	return c;
}

static void put(ucs4_t c)
{
	uint8_t out[6];
	int n = u8_uctomb(out, c, sizeof out);

	if (n > 0)
		fwrite(out, 1, (size_t)n, stdout);
}

unsigned print_width(const char *text)
{
	unsigned width = 0;

	for (int bytes, columns; *text; text += bytes) {
		next(text, &bytes, &columns);
		width += (unsigned)columns;
	}
	return width;
}

void print_line(const char *text, unsigned columns)
{
	bool cut = columns && print_width(text) > columns;
	unsigned left = cut ? columns - 1 : columns;

	for (int bytes, wide; *text; text += bytes) {
		ucs4_t c = next(text, &bytes, &wide);

		if (columns && (unsigned)wide > left)
			break;
		left -= columns ? (unsigned)wide : 0;
		put(c);
	}
	if (cut)
		fputs("…", stdout);
}

void print_block(const char *text)
{
	for (int bytes, columns; *text; text += bytes) {
		ucs4_t c = next(text, &bytes, &columns);

		put(*text == '\n' || *text == '\t' ? (ucs4_t)*text : c);
	}
}

void print_head(const char *text)
{
	const char *term = getenv("TERM");
	bool bold = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb");

	printf(bold ? "\033[1m%s\033[0m\n" : "%s\n", text);
}

static void print_number(double v)
{
	if (v == floor(v) && fabs(v) < 1e15)
		printf("%.0f", v);
	else
		printf("%.4g", v);
}

static void print_members(const json_t *object)
{
	const char *name, *between = "";
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, name, value) {
		fputs(between, stdout);
		print_line(name, 0);
		putchar(' ');
		print_value(value);
		between = ", ";
	}
}

static void print_items(const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);

		fputs(i ? (json_is_object(item) ? "; " : " ") : "", stdout);
		print_value(item);
	}
}

void print_value(const json_t *value)
{
	if (json_is_object(value))
		print_members(value);
	else if (json_is_array(value))
		print_items(value);
	else if (json_is_string(value))
		print_line(json_string_value(value), 0);
	else if (json_is_number(value))
		print_number(json_number_value(value));
	else
		fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-", stdout);
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
	putchar('\n');
}

const char *print_count(double n, char out[32])
{
	char digits[32];
	size_t len = (size_t)snprintf(digits, sizeof digits, "%.0f", n), at = 0;

	if (len > 21)
		len = 21;
	for (size_t i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0 && digits[i - 1] != '-')
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
	return out;
}

const char *text_of(const json_t *object, const char *name, const char *other)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : other;
}

double number_of(const json_t *object, const char *name, double other)
{
	const json_t *value = json_object_get(object, name);

	return json_is_number(value) ? json_number_value(value) : other;
}
