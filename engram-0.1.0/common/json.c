#include "common/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/decimal.h"
#include "common/hash.h"
#include "common/utf8.h"

/* What may come next. */
enum state {
	VALUE,             /* a value */
	FIRST_ITEM,        /* a value or ] */
	FIRST_NAME,        /* a name or } */
	NAME,              /* a name */
	AFTER,             /* , or the end of what is open */
	DONE,
	BROKEN
};

void json_init(struct json *p, const char *data, size_t len, struct arena *arena)
{
	memset(p, 0, offsetof(struct json, key_inline));
	p->max_keys = JSON_MAX_KEYS;
	p->data = p->at = p->start = data;
	p->end = data != NULL ? data + len : data;
	p->arena = arena;
	p->key = p->key_inline;
	p->key_cap = JSON_KEYS_INLINE;
	p->state = VALUE;
}

size_t json_offset(const struct json *p)
{
	return (size_t)(p->start - p->data);
}

static enum json_token EG_PRINTF(4, 5)
fail(struct json *p, enum err e, const char *at, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	p->state = BROKEN;
	p->start = p->at = at;
	(void)err_set(&p->fault, e, NULL, NULL, "JSON at byte %zu: %s", (size_t)(at - p->data), what);
	return p->token = JSON_ERROR;
}

static enum json_token expected(struct json *p, const char *at, const char *what)
{
	if (at >= p->end)
		return fail(p, EG_E_REQUEST, p->end, "expected %s, found the end of the body", what);
	if ((unsigned char)*at > 0x20 && (unsigned char)*at < 0x7f)
		return fail(p, EG_E_REQUEST, at, "expected %s, found '%c'", what, *at);
	return fail(p, EG_E_REQUEST, at, "expected %s, found byte 0x%02x", what, (unsigned char)*at);
}

static enum json_token no_memory(struct json *p)
{
	return fail(p, EG_E_TOO_LARGE, p->start, "the body needs more memory than one request may take");
}

static inline void space(struct json *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
		p->at++;
}

/* ---- strings ---- */

/* Bytes from s on that need no look: ASCII from space up, no quote, no backslash. */
static const char *ordinary(const char *s, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
	uint64_t w, quote, slash;

	for (; end - s >= 8; s += 8) {
		memcpy(&w, s, 8);
		quote = w ^ ones * '"';
		slash = w ^ ones * '\\';
		if (((w - ones * 0x20) | (quote - ones) | (slash - ones) | w) & high)
			break;
	}
	while (s < end && (unsigned char)*s >= 0x20 && (unsigned char)*s < 0x80 && *s != '"' && *s != '\\')
		s++;
	return s;
}

/* Value of four hexadecimal digits, or -1. */
static int32_t hex4(const char *s, const char *end)
{
	int32_t v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = s[i], l = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (l >= 'a' && l <= 'f')
			v = v * 16 + (l - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* The escape at *s (a backslash); *s moves behind it. False: failed. */
static bool escape(struct json *p, const char **s, const char *end, uint32_t *c)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *at = *s, *name;
	int32_t v, low;

	if (end - at >= 2 && at[1] != '\0' && (name = strchr(names, at[1])) != NULL) {
		*c = (uint32_t)values[name - names];
		*s = at + 2;
		return true;
	}
	if (end - at < 2 || at[1] != 'u') {
		fail(p, EG_E_REQUEST, at, "expected one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
		return false;
	}
	v = hex4(at + 2, end);
	if (v < 0) {
		fail(p, EG_E_REQUEST, at, "expected four hexadecimal digits after \\u");
		return false;
	}
	*s = at + 6;
	*c = (uint32_t)v;
	if (v < 0xd800 || v > 0xdfff)
		return true;
	low = v < 0xdc00 && end - *s >= 2 && (*s)[0] == '\\' && (*s)[1] == 'u' ? hex4(*s + 2, end) : -1;
	if (low < 0xdc00 || low > 0xdfff) {
		fail(p, EG_E_REQUEST, at, "expected a pair of surrogate escapes, found a lone surrogate");
		return false;
	}
	*c = 0x10000 + (((uint32_t)v - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
	*s += 6;
	return true;
}

/* The string's escapes resolved, into the arena. */
static bool unescape(struct json *p, const char *s, const char *end)
{
	char *out = arena_alloc(p->arena, (size_t)(end - s));
	uint32_t c;

	if (out == NULL) {
		no_memory(p);
		return false;
	}
	p->text = out;
	while (s < end) {
		const char *to = memchr(s, '\\', (size_t)(end - s));
		size_t n = (size_t)((to != NULL ? to : end) - s);

		memcpy(out, s, n);
		out += n;
		s += n;
		if (s == end)
			break;
		if (!escape(p, &s, end, &c))
			return false;
		out += utf8_put(out, c);
	}
	p->len = (size_t)(out - p->text);
	return true;
}

/* A string at p->at (its quote) to p->text, p->len. */
static bool string(struct json *p)
{
	const char *s = p->at + 1, *from = s;
	bool escaped = false;
	uint32_t c;
	unsigned n;

	for (;;) {
		s = ordinary(s, p->end);
		if (s == p->end) {
			expected(p, s, "the closing quote of a string");
			return false;
		}
		if (*s == '"')
			break;
		if (*s == '\\') {
			escaped = true;
			s += p->end - s >= 2 ? 2 : 1;
			if ((s[-1] & 0x80) != 0 || (unsigned char)s[-1] < 0x20)
				s--;
			continue;
		}
		if ((unsigned char)*s < 0x20) {
			fail(p, EG_E_REQUEST, s, "expected control character 0x%02x to be escaped in a string", (unsigned char)*s);
			return false;
		}
		n = utf8_get(s, (size_t)(p->end - s), &c);
		if (n == 0) {
			fail(p, EG_E_REQUEST, s, "expected valid UTF-8, found byte 0x%02x", (unsigned char)*s);
			return false;
		}
		s += n;
	}
	p->text = from;
	p->len = (size_t)(s - from);
	if (escaped && !unescape(p, from, s))
		return false;
	if (p->len > JSON_MAX_STRING) {
		fail(p, EG_E_INPUT, p->start, "a string is longer than %d bytes", JSON_MAX_STRING);
		return false;
	}
	p->at = s + 1;
	return true;
}

/* ---- names ---- */

static bool more_keys(struct json *p)
{
	struct json_key *key = arena_array(p->arena, p->key_cap * 2, sizeof *key);

	if (key == NULL) {
		no_memory(p);
		return false;
	}
	memcpy(key, p->key, p->key_n * sizeof *key);
	p->key = key;
	p->key_cap *= 2;
	return true;
}

/* Remember the name just read; refuse a second one of its kind. */
static bool new_key(struct json *p)
{
	struct json_key k = { hash64(p->text, p->len, 0), p->text, p->len };
	unsigned n = p->keys[p->depth];

	if (n >= p->max_keys) {
		fail(p, EG_E_INPUT, p->start, "an object has more than %u keys", p->max_keys);
		return false;
	}
	for (const struct json_key *o = p->key + p->key_n - n; o < p->key + p->key_n; o++) {
		if (o->hash == k.hash && o->len == k.len && memcmp(o->text, k.text, k.len) == 0) {
			fail(p, EG_E_REQUEST, p->start, "duplicate key \"%.*s\"",
			     (int)utf8_cut(k.text, k.len, 64), k.text);
			return false;
		}
	}
	if (p->key_n == p->key_cap && !more_keys(p))
		return false;
	p->key[p->key_n++] = k;
	p->keys[p->depth]++;
	return true;
}

static enum json_token name(struct json *p)
{
	const char *text;
	size_t len;

	if (p->at == p->end || *p->at != '"')
		return expected(p, p->at, p->state == FIRST_NAME ? "a key or '}'" : "a key");
	if (!string(p))
		return JSON_ERROR;
	text = p->text;
	len = p->len;
	if (memchr(text, '\0', len) != NULL)
		return fail(p, EG_E_REQUEST, p->start, "expected a key without \\u0000");
	if (!new_key(p))
		return JSON_ERROR;
	space(p);
	if (p->at == p->end || *p->at != ':')
		return expected(p, p->at, "':' after a key");
	p->at++;
	p->state = VALUE;
	return p->token = JSON_KEY;
}

/* ---- values ---- */

static enum json_token open(struct json *p)
{
	bool object = *p->at == '{';

	if (p->depth == JSON_MAX_DEPTH)
		return fail(p, EG_E_REQUEST, p->at, "nested deeper than %d levels", JSON_MAX_DEPTH);
	p->depth++;
	p->kind[p->depth] = (uint8_t)*p->at++;
	p->keys[p->depth] = 0;
	p->state = object ? FIRST_NAME : FIRST_ITEM;
	return p->token = object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token shut(struct json *p)
{
	bool object = p->kind[p->depth] == '{';

	p->key_n -= p->keys[p->depth];
	p->depth--;
	p->at++;
	p->state = AFTER;
	return p->token = object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

/* A number of the JSON grammar at p->at, integers within int64. */
static inline bool scan(struct json *p, struct decimal *d)
{
	const char *want = decimal_scan(p->at, p->end, d);

	if (want != NULL) {
		expected(p, d->end, want);
		return false;
	}
	if (d->integer && !decimal_int64(d, &p->integer)) {
		fail(p, EG_E_REQUEST, p->at, "integer outside the range of int64");
		return false;
	}
	p->at = d->end;
	p->state = AFTER;
	return true;
}

static enum json_token number(struct json *p)
{
	struct decimal d;

	if (!scan(p, &d))
		return JSON_ERROR;
	if (d.integer) {
		p->number = p->integer == 0 && d.negative ? -0.0 : (double)p->integer;
		return p->token = JSON_INT;
	}
	p->number = decimal_double(&d);
	if (!isfinite(p->number))
		return fail(p, EG_E_REQUEST, d.begin, "number out of range, it must be finite");
	return p->token = JSON_DOUBLE;
}

static enum json_token word(struct json *p, const char *text, enum json_token t)
{
	size_t n = strlen(text);

	if ((size_t)(p->end - p->at) < n || memcmp(p->at, text, n) != 0)
		return expected(p, p->at, "a JSON value");
	p->at += n;
	p->state = AFTER;
	return p->token = t;
}

static enum json_token value(struct json *p)
{
	switch (p->at < p->end ? *p->at : '\0') {
	case '"':
		if (!string(p))
			return JSON_ERROR;
		p->state = AFTER;
		return p->token = JSON_STRING;
	case '{':
	case '[':
		return open(p);
	case 't':
		return word(p, "true", JSON_TRUE);
	case 'f':
		return word(p, "false", JSON_FALSE);
	case 'n':
		return word(p, "null", JSON_NULL);
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return number(p);
	}
	return expected(p, p->at, p->state == FIRST_ITEM ? "a JSON value or ']'" : "a JSON value");
}

/* Behind a value: a comma, or the end of what is open. */
static enum json_token after(struct json *p)
{
	bool object = p->kind[p->depth] == '{';

	if (p->depth == 0) {
		if (p->at < p->end)
			return expected(p, p->at, "nothing after the end of the JSON value");
		p->state = DONE;
		return p->token = JSON_END;
	}
	if (p->at < p->end && *p->at == (object ? '}' : ']'))
		return shut(p);
	if (p->at == p->end || *p->at != ',')
		return expected(p, p->at, object ? "',' or '}'" : "',' or ']'");
	p->at++;
	space(p);
	p->start = p->at;
	p->state = object ? NAME : VALUE;
	return object ? name(p) : value(p);
}

enum json_token json_next(struct json *p)
{
	if (p->state == BROKEN)
		return JSON_ERROR;
	space(p);
	p->start = p->at;
	switch ((enum state)p->state) {
	case FIRST_ITEM:
		if (p->at < p->end && *p->at == ']')
			return shut(p);
		return value(p);
	case VALUE:
		return value(p);
	case FIRST_NAME:
		if (p->at < p->end && *p->at == '}')
			return shut(p);
		return name(p);
	case NAME:
		return name(p);
	case AFTER:
		return after(p);
	case DONE:
		return p->token = JSON_END;
	case BROKEN:
		break;
	}
	return JSON_ERROR;
}

enum json_token json_peek(const struct json *p)
{
	struct json q;

	memcpy(&q, p, offsetof(struct json, key_inline));
	space(&q);
	if (q.state == BROKEN)
		return JSON_ERROR;
	if (q.state == AFTER && q.at < q.end && *q.at == ',') {
		q.at++;
		q.state = q.kind[q.depth] == '{' ? NAME : VALUE;
		space(&q);
	}
	if (q.at == q.end)
		return q.state == DONE || (q.state == AFTER && q.depth == 0) ? JSON_END : JSON_ERROR;
	switch (*q.at) {
	case '"': return q.state == NAME || q.state == FIRST_NAME ? JSON_KEY : JSON_STRING;
	case '{': return JSON_OBJECT;
	case '[': return JSON_ARRAY;
	case '}': return JSON_OBJECT_END;
	case ']': return JSON_ARRAY_END;
	case 't': return JSON_TRUE;
	case 'f': return JSON_FALSE;
	case 'n': return JSON_NULL;
	}
	return *q.at == '-' || (*q.at >= '0' && *q.at <= '9') ? JSON_INT : JSON_ERROR;
}

bool json_leave(struct json *p, unsigned depth)
{
	while (p->depth > depth)
		if (json_next(p) == JSON_ERROR)
			return false;
	return p->state != BROKEN;
}

bool json_skip(struct json *p)
{
	unsigned depth = p->depth;

	switch (json_next(p)) {
	case JSON_ERROR:
		return false;
	case JSON_OBJECT:
	case JSON_ARRAY:
		return json_leave(p, depth);
	default:
		return true;
	}
}

/* ---- arrays of numbers ---- */

/* What stands instead of a number: broken JSON, or another value. */
static enum err not_a_number(struct json *p, size_t i, struct fault *f)
{
	if (json_next(p) == JSON_ERROR) {
		*f = p->fault;
		return p->fault.err;
	}
	return err_set(f, EG_E_INPUT, NULL, NULL, "item %zu must be a number", i);
}

static inline bool numeric(const struct json *p)
{
	return p->at < p->end && (*p->at == '-' || (*p->at >= '0' && *p->at <= '9'));
}

enum err json_floats(struct json *p, float *out, size_t max, size_t *n, struct fault *f)
{
	struct decimal d;
	enum json_token t = json_next(p);

	*n = 0;
	if (t == JSON_ERROR) {
		*f = p->fault;
		return p->fault.err;
	}
	if (t != JSON_ARRAY)
		return err_set(f, EG_E_INPUT, NULL, NULL, "must be an array of numbers");
	space(p);
	if (p->at < p->end && *p->at == ']') {
		shut(p);
		return EG_E_OK;
	}
	for (;;) {
		if (!numeric(p))
			return not_a_number(p, *n, f);
		p->start = p->at;
		if (!scan(p, &d)) {
			*f = p->fault;
			return p->fault.err;
		}
		if (*n == max)
			return err_set(f, EG_E_INPUT, NULL, NULL, "has more than %zu numbers", max);
		out[*n] = decimal_float(&d);
		if (!isfinite(out[*n]))
			return err_set(f, EG_E_INPUT, NULL, NULL, "item %zu is not a finite 32 bit number", *n);
		++*n;
		space(p);
		if (p->at < p->end && *p->at == ',') {
			p->at++;
			p->state = VALUE;
			space(p);
			continue;
		}
		p->start = p->at;
		return after(p) == JSON_ERROR ? (*f = p->fault, p->fault.err) : EG_E_OK;
	}
}

bool json_number(const char *text, size_t len, double *out)
{
	struct decimal d;

	if (decimal_scan(text, text + len, &d) != NULL || d.end != text + len)
		return false;
	*out = decimal_double(&d);
	return isfinite(*out);
}
