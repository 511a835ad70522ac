/* The JSON parser: what it gives, what it refuses and how it says so; numbers
 * against the C library; random and broken documents against jansson. */
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
#include "t/unit/common_json_twin.h"

static struct arena arena;
static struct json p;

static uint64_t rnd(void)
{
	static uint64_t s = 88172645463325252u;

	s ^= s << 13;
	s ^= s >> 7;
	return s ^= s << 17;
}

/* The tokens as letters, with what they hold; "!" for an error. */
static const char *walk(const char *text, size_t len)
{
	static const char letters[] = "?!$OoAaKsidtfn";
	static char out[4096];
	size_t n = 0;
	enum json_token t;

	arena_reset(&arena);
	json_init(&p, text, len, &arena);
	do {
		enum json_token peek = json_peek(&p);

		t = json_next(&p);
		if (t != JSON_ERROR)
			assert_int_equal(peek, t == JSON_DOUBLE ? JSON_INT : t);
		out[n++] = letters[t];
		if (t == JSON_KEY || t == JSON_STRING)
			n += (size_t)sprintf(out + n, "(%.*s)", (int)p.len, p.text);
		if (t == JSON_INT)
			n += (size_t)sprintf(out + n, "(%lld)", (long long)p.integer);
		if (t == JSON_DOUBLE)
			n += (size_t)sprintf(out + n, "(%g)", p.number);
	} while (t != JSON_END && t != JSON_ERROR);
	out[n] = '\0';
	assert_int_equal(json_next(&p), t);
	return out;
}

static void tokens(void **state)
{
	static const char *const rows[][2] = {
		{ "{}", "Oo$" }, { " [ ] ", "Aa$" }, { "7", "i(7)$" }, { "-0", "i(0)$" }, { "\"x\"", "s(x)$" }, { "null", "n$" },
		{ "{\"a\":1,\"b\":[true,false,null,-2.5e1,\"\"]}", "OK(a)i(1)K(b)Atfnd(-25)s()ao$" },
		{ "\t{ \"a\" : { \"a\" : { } } , \"b\" : [ [ ] , 1 ] }\r\n", "OK(a)OK(a)OooK(b)AAai(1)ao$" + 0 },
		{ "\"\\u0041\\n\\/\\\\\\\"\\ud83d\\ude00\\u00e9\"", "s(A\n/\\\"\xf0\x9f\x98\x80\xc3\xa9)$" },
		{ "[9223372036854775807,-9223372036854775808,1e2,1E+2,0.5,0e0]", "Ai(9223372036854775807)i(-9223372036854775808)d(100)d(100)d(0.5)d(0)a$" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(walk(rows[i][0], strlen(rows[i][0])), rows[i][1]);
	(void)walk("\"a\\u0000b\"", 10);
	assert_int_equal(p.fault.err, EG_E_OK);
	assert_string_equal(walk(NULL, 0), "!");
	assert_non_null(strstr(p.fault.message, "found the end"));
}

static void refusals(void **state)
{
	static const struct { const char *text, *words; int offset; } rows[] = {
		{ "", "expected a JSON value", 0 }, { "{", "key or '}'", 1 }, { "[", "value or ']'", 1 }, { "[1", "',' or ']'", 2 },
		{ "[1,]", "a JSON value, found ']'", 3 }, { "{\"a\":1,}", "a key", 7 }, { "{\"a\" 1}", "':'", 5 }, { "{\"a\":1 \"b\":1}", "','", 7 },
		{ "{a:1}", "key", 1 }, { "{'a':1}", "key", 1 }, { "[tru]", "JSON value", 1 }, { "[nul", "JSON value", 1 }, { "nullx", "after the end", 4 },
		{ "{}x", "after the end", 2 }, { "{}{}", "after the end", 2 }, { "1 2", "after the end", 2 }, { "]", "JSON value", 0 }, { "[}", "", 1 }, { "{]", "", 1 },
		{ "\"a\nb\"", "control", 2 }, { "\"a", "quote", 2 }, { "\"\\x\"", "escapes", 1 }, { "\"\\u12\"", "hexadecimal", 1 }, { "\"\\u12g4\"", "hexadecimal", 1 },
		{ "\"\\", "", -1 }, { "\"\\\"", "quote", 3 },
		{ "\"\\ud800\"", "surrogate", 1 }, { "\"\\udc00\"", "surrogate", 1 }, { "\"\\udc00\\ud800\"", "surrogate", 1 }, { "\"\\ud800x\"", "surrogate", 1 }, { "\"\\ud800\\ud800\"", "surrogate", 1 },
		{ "\"\xff\"", "UTF-8", 1 }, { "\"\x80\"", "UTF-8", 1 }, { "\"\xc0\xaf\"", "UTF-8", 1 }, { "\"\xed\xa0\x80\"", "UTF-8", 1 },
		{ "\"\xf4\x90\x80\x80\"", "UTF-8", 1 }, { "\"\xe2\x82\"", "UTF-8", 1 }, { "\"\xf8\x88\x80\x80\x80\"", "UTF-8", 1 },
		{ "{\"a\":1,\"a\":2}", "duplicate key \"a\"", 7 }, { "{\"ab\":1,\"\\u0061b\":2}", "duplicate key \"ab\"", 8 }, { "{\"a\\u0000b\":1}", "u0000", 1 },
		{ "[NaN]", "value", 1 }, { "[Infinity]", "value", 1 }, { "[-Infinity]", "digit", 2 }, { "[1e999]", "finite", 1 }, { "[-1e999]", "finite", 1 }, { "[01]", "leading zeros", 2 },
		{ "[-01]", "leading zeros", 3 }, { "[+1]", "value", 1 }, { "[.5]", "value", 1 }, { "[1.]", "digit", 3 }, { "[1.e5]", "digit", 3 }, { "[1e]", "digit", 3 }, { "[1e+]", "digit", 4 }, { "[0x1]", "", 2 }, { "[--1]", "digit", 2 }, { "[-]", "digit", 2 },
		{ "[9223372036854775808]", "int64", 1 }, { "[-9223372036854775809]", "int64", 1 }, { "[18446744073709551616]", "int64", 1 }, { "[100000000000000000000000]", "int64", 1 },
		{ "{\"a\":1}/**/", "after the end", 7 }, { "\xef\xbb\xbf{}", "value", 0 }, { "\xff\xfe{", "value", 0 }, { "[1,\x0b" "2]", "value", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *got = walk(rows[i].text, strlen(rows[i].text));

		if (got[strlen(got) - 1] != '!' || strstr(p.fault.message, rows[i].words) == NULL ||
		    (rows[i].offset >= 0 && json_offset(&p) != (size_t)rows[i].offset)) {
			print_error("%s: %s at %zu: %s\n", rows[i].text, got, json_offset(&p), p.fault.message);
			fail();
		}
		assert_non_null(strstr(p.fault.message, "JSON at byte"));
		assert_int_equal(err_http(p.fault.err), 400);
	}
	assert_non_null(strchr(walk("{}\0", 3), '!'));
}

static void limits(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 23);
	for (int n = 32; n <= 33; n++)
		for (int object = 0; object < 2; object++) {
			buf_reset(&b);
			for (int i = 0; i < n; i++)
				buf_puts(&b, object ? "{\"a\":" : "[");
			buf_puts(&b, "1");
			for (int i = 0; i < n; i++)
				buf_puts(&b, object ? "}" : "]");
			assert_true((strchr(walk(b.data, b.len), '!') != NULL) == (n > 32));
			if (n > 32)
				assert_non_null(strstr(p.fault.message, "nested deeper than 32"));
		}
	for (int n = 256; n <= 257; n++) {
		buf_reset(&b);
		buf_puts(&b, "[{\"x\":0},{");
		for (int i = 0; i < n; i++)
			buf_printf(&b, "%s\"k%d\":{\"k%d\":%d}", i ? "," : "", i, i, i);
		buf_puts(&b, "}]");
		arena_reset(&arena);
		json_init(&p, b.data, b.len, &arena);
		assert_true(json_skip(&p) == (n == 256));
		if (n == 257)
			assert_non_null(strstr(p.fault.message, "256 keys"));
	}
	for (int n = JSON_MAX_STRING; n <= JSON_MAX_STRING + 1; n++) {
		buf_reset(&b);
		buf_putc(&b, '"');
		memset(buf_room(&b, (size_t)n), 'a', (size_t)n);
		b.len += (size_t)n;
		buf_putc(&b, '"');
		json_init(&p, b.data, b.len, &arena);
		assert_true(json_skip(&p) == (n == JSON_MAX_STRING));
	}
	assert_non_null(strstr(p.fault.message, "string"));
	buf_free(&b);
}

static void skip_and_leave(void **state)
{
	const char *text = "[{\"a\":[1,{\"b\":2}],\"c\":3},[[]],4]";

	(void)state;
	json_init(&p, text, strlen(text), &arena);
	assert_int_equal(json_next(&p), JSON_ARRAY);
	assert_int_equal(json_next(&p), JSON_OBJECT);
	assert_int_equal(json_next(&p), JSON_KEY);
	assert_int_equal(json_next(&p), JSON_ARRAY);
	assert_true(json_leave(&p, 1));
	assert_int_equal(p.depth, 1);
	assert_true(json_skip(&p));
	assert_int_equal(json_next(&p), JSON_INT);
	assert_int_equal(p.integer, 4);
	assert_int_equal(json_next(&p), JSON_ARRAY_END);
	assert_int_equal(json_next(&p), JSON_END);
	json_init(&p, "[1,x]", 5, &arena);
	assert_int_equal(json_next(&p), JSON_ARRAY);
	assert_false(json_leave(&p, 0));
}

static void check_double(const char *t)
{
	double v = 0, want = strtod(t, NULL);

	assert_true(json_number(t, strlen(t), &v) == (isfinite(want) != 0));
	if (isfinite(want) && memcmp(&v, &want, 8) != 0) {
		print_error("%s: %.17g, not %.17g\n", t, v, want);
		fail();
	}
}

static void check_float(const char *t)
{
	char body[2048];
	float v = 0, want = strtof(t, NULL);
	struct fault f;
	size_t n;

	snprintf(body, sizeof body, "[%s]", t);
	json_init(&p, body, strlen(body), &arena);
	if (!isfinite(want)) {
		assert_int_not_equal(json_floats(&p, &v, 1, &n, &f), EG_E_OK);
		return;
	}
	assert_int_equal(json_floats(&p, &v, 1, &n, &f), EG_E_OK);
	if (memcmp(&v, &want, 4) != 0) {
		print_error("%s: %.9g, not %.9g\n", t, (double)v, (double)want);
		fail();
	}
}

/* Decimals in the very middle between two floats or doubles, and beside it. */
static void check_halves(double v, float f)
{
	char t[1200];
	size_t n;

	snprintf(t, sizeof t, "%.60f", (double)f + ((double)nextafterf(f, INFINITY) - (double)f) / 2);
	check_float(t);
	strcat(t, "1");
	check_float(t);
	snprintf(t, sizeof t, "%.*e", 18 + (int)(rnd() % 4), (double)f + ((double)nextafterf(f, INFINITY) - (double)f) / 2);
	check_float(t);
	n = (size_t)snprintf(t, sizeof t, "%.900f", fabs(fmod(v, 1e9)));
	check_double(t);
	t[n - 1] = '1';
	check_double(t);
}

static void numbers_as_the_library_reads_them(void **state)
{
	static const char *const some[] = {
		"0.0", "1e-400", "1e400", "123456789012345678901234567890e-20", "9007199254740993.0", "9007199254740992.999999999999999999999999",
		"2.2250738585072011e-308", "2.2250738585072012e-308", "4.9e-324", "2.4703282292062327208e-324", "2.47032822920623272088284396434110686182e-324",
		"1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "0.000000000000000000000000000000000000001e39",
		"1e22", "1e23", "1e-22", "1e-23", "8.5e22", "100000000000000000000000.0", "3.4028235677973366e38", "3.4028235e38", "1.0e00000000000000000000001", "0e999999999999", "1e-99999999999",
	};
	char t[64];
	uint64_t bits;
	uint32_t bits32;
	double v;
	float f;

	(void)state;
	for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
		check_double(some[i]);
		check_float(some[i]);
	}
	for (int i = 0; i < 200000; i++) {
		bits = rnd();
		memcpy(&v, &bits, 8);
		bits32 = (uint32_t)(bits >> 13);
		memcpy(&f, &bits32, 4);
		if (!isfinite(v) || !isfinite(f))
			continue;
		snprintf(t, sizeof t, "%.*e", (int)(bits % 20), v);
		check_double(t);
		snprintf(t, sizeof t, "%.*e", (int)(bits % 20), (double)f);
		check_float(t);
		snprintf(t, sizeof t, "%.*f", (int)(bits % 22), (double)(int64_t)bits * 0x1p-63);
		check_float(t);
		check_double(t);
		if (i % 100 == 0 && fabsf(f) < 1e30f)
			check_halves(v, f);
	}
}

static void arrays_of_floats(void **state)
{
	static const struct { const char *text; enum err err; size_t n; } rows[] = {
		{ "[]", EG_E_OK, 0 }, { " [ 1 , -2.5,3e0 ] ", EG_E_OK, 3 }, { "[1,2,3,4]", EG_E_OK, 4 }, { "[1,2,3,4,5]", EG_E_INPUT, 4 },
		{ "[1e39]", EG_E_INPUT, 0 }, { "[1,-1e39]", EG_E_INPUT, 1 }, { "[1e999]", EG_E_INPUT, 0 }, { "[1,\"a\"]", EG_E_INPUT, 1 }, { "[[1]]", EG_E_INPUT, 0 },
		{ "[null]", EG_E_INPUT, 0 }, { "7", EG_E_INPUT, 0 }, { "\"x\"", EG_E_INPUT, 0 }, { "[1,]", EG_E_REQUEST, 1 }, { "[1", EG_E_REQUEST, 1 }, { "[NaN]", EG_E_REQUEST, 0 },
		{ "[1 2]", EG_E_REQUEST, 1 }, { "[01]", EG_E_REQUEST, 0 }, { "[,1]", EG_E_REQUEST, 0 }, { "[9223372036854775808]", EG_E_REQUEST, 0 }, { "{", EG_E_INPUT, 0 }, { "", EG_E_REQUEST, 0 },
	};
	float v[4];
	size_t n;
	struct fault f;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum err e;

		json_init(&p, rows[i].text, strlen(rows[i].text), &arena);
		e = json_floats(&p, v, 4, &n, &f);
		if (e != rows[i].err || n != rows[i].n) {
			print_error("%s: %d, %zu\n", rows[i].text, e, n);
			fail();
		}
		if (e == EG_E_OK)
			assert_int_equal(json_next(&p), JSON_END);
		else
			assert_int_equal(f.err, e);
	}
	assert_true(v[0] == 1);
	/* Behind an item that is no number the caller can go on. */
	json_init(&p, "[[1,\"a\",2],8]", 13, &arena);
	assert_int_equal(json_next(&p), JSON_ARRAY);
	assert_int_equal(json_floats(&p, v, 4, &n, &f), EG_E_INPUT);
	assert_true(json_leave(&p, 1));
	assert_int_equal(json_next(&p), JSON_INT);
	assert_int_equal(p.integer, 8);
}

static const char *const pieces[] = {
	"{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\u0061\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"", "\"\xc3\xbc\"", "\"\xff\"", "\"\\u0000\"", "\"\\n\\t\\\"\"",
	"0", "-1", "1.5", "1e5", "-0.0", "1e999", "01", "9223372036854775807", "9223372036854775808", "true", "false", "null", " ", "\n", "\"a\":", "\"b\":1", "\"\\", "\"", "\x00", "\x01",
};
enum { PIECES = sizeof pieces / sizeof *pieces };

static void generate(struct buf *b, int depth)
{
	switch (rnd() % (depth > 6 ? 5 : 8)) {
	case 0: buf_printf(b, "%lld", (long long)rnd() >> rnd() % 64); break;
	case 1: buf_printf(b, "%.*g", (int)(rnd() % 18), (double)(int64_t)rnd() * 0x1p-40); break;
	case 2: buf_puts(b, rnd() % 2 ? "true" : "null"); break;
	case 3: buf_puts(b, pieces[6 + rnd() % 6]); break;
	case 4: buf_printf(b, "\"%c\\u%04x%c\"", (int)('a' + rnd() % 26), (unsigned)(rnd() % 0xd800), (int)(' ' + rnd() % 2)); break;
	case 5: case 6:
		buf_putc(b, '[');
		for (unsigned n = (unsigned)(rnd() % 4), i = 0; i < n; i++) {
			buf_puts(b, i > 0 ? " ," : "");
			generate(b, depth + 1);
		}
		buf_putc(b, ']');
		break;
	default:
		buf_putc(b, '{');
		for (unsigned n = (unsigned)(rnd() % 5), i = 0; i < n; i++) {
			buf_printf(b, "%s\"%c%c\":", i > 0 ? "," : "", (int)('a' + rnd() % 3), (int)('a' + rnd() % 3));
			generate(b, depth + 1);
		}
		buf_putc(b, '}');
	}
}

static void mutate(struct buf *b)
{
	for (unsigned k = (unsigned)(rnd() % 3) + 1; k > 0; k--) {
		size_t at = rnd() % (b->len + 1), n = rnd() % 4;
		const char *piece = pieces[rnd() % PIECES];
		struct buf c;

		buf_init(&c, 1 << 20);
		buf_add(&c, b->data, at);
		switch (rnd() % 4) {
		case 0: break;
		case 1: buf_add(&c, piece, *piece ? strlen(piece) : 1); n = 0; break;
		case 2: buf_putc(&c, (char)rnd()); break;
		default: buf_add(&c, b->data, at < 20 ? at : 20);
		}
		if (at + n < b->len)
			buf_add(&c, b->data + at + n, b->len - at - n);
		buf_free(b);
		*b = c;
	}
}

static void as_jansson(void **state)
{
	struct buf b;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		const char *why;

		buf_init(&b, 1 << 20);
		if (i % 3 == 2)
			for (unsigned n = (unsigned)(rnd() % 12); n > 0; n--)
				buf_puts(&b, pieces[rnd() % PIECES]);
		else
			generate(&b, 0);
		buf_puts(&b, "");
		if (i % 3 == 1)
			mutate(&b);
		/* In memory of exactly its size, so that a sanitizer sees a byte too far. */
		char *exact = malloc(b.len);

		if (b.len > 0)
			memcpy(exact, b.data, b.len);
		why = twin_check(exact, b.len, &arena);
		if (why != NULL) {
			for (size_t k = 0; k < b.len; k++)
				print_error(exact[k] > ' ' && exact[k] < 0x7f ? "%c" : "<%02x>", (unsigned char)exact[k]);
			print_error(": %s\n", why);
			fail();
		}
		free(exact);
		buf_free(&b);
	}
}

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 16, 1 << 24);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens),
		cmocka_unit_test(refusals),
		cmocka_unit_test(limits),
		cmocka_unit_test(skip_and_leave),
		cmocka_unit_test(numbers_as_the_library_reads_them),
		cmocka_unit_test(arrays_of_floats),
		cmocka_unit_test(as_jansson),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
