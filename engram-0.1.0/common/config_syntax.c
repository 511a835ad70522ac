/* Values: the common ground of TOML and INI on one line.
 *
 * Knows no key. Everything of TOML that is left out is refused with what to
 * write instead, never guessed. Comments and line ends are gone before
 * (config_read.c).
 */
#include "common/config_parts.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

#define TOKEN_MAX 64

struct cursor {
	const char *p;
	struct config_wrong *why;
};

bool config_wrong_set(struct config_wrong *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return false;
}

void toml_free(struct toml *v)
{
	for (size_t i = 0; i < v->n; i++)
		toml_free(&v->items[i]);
	free(v->items);
	free(v->name);
	free(v->s);
	*v = (struct toml){ 0 };
}

static void skip_space(struct cursor *c)
{
	while (*c->p == ' ' || *c->p == '\t')
		c->p++;
}

/* ---- strings */

/* \uXXXX or \UXXXXXXXX behind the backslash; writes UTF-8. 0: wrong. */
static unsigned escape_unicode(struct cursor *c, int digits, char *out)
{
	char hex[9] = "";
	char *end;
	unsigned long code;

	strncpy(hex, c->p + 1, (size_t)digits);
	code = strtoul(hex, &end, 16);
	if (strlen(hex) != (size_t)digits || *end || !isxdigit((unsigned char)hex[0]) || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000) || code == 0)
		return 0;
	c->p += 1 + digits;
	return utf8_put(out, (uint32_t)code);
}

/* The escape behind a backslash; returns bytes written, 0: wrong. */
static unsigned escape(struct cursor *c, char *out)
{
	static const char from[] = "\"\\btnfr", to[] = "\"\\\b\t\n\f\r";
	const char *at = *c->p ? strchr(from, *c->p) : NULL;

	if (at) {
		*out = to[at - from];
		c->p++;
		return 1;
	}
	if (*c->p == 'u' || *c->p == 'U')
		return escape_unicode(c, *c->p == 'u' ? 4 : 8, out);
	return 0;
}

static bool take_string(struct cursor *c, struct toml *v)
{
	char quote = *c->p++;
	size_t n = 0;

	if (c->p[0] == quote && c->p[1] == quote)
		return config_wrong_set(c->why, "strings over several lines are not supported; write \"...\" on one line");
	v->s = malloc(strlen(c->p) + 1);       /* an escape is never shorter than what it stands for */
	EG_ASSERT(v->s);
	v->kind = TOML_STRING;
	while (*c->p && *c->p != quote) {
		if (quote == '"' && *c->p == '\\') {
			const char *at = c->p++;
			unsigned got = escape(c, v->s + n);
			if (!got)
				return config_wrong_set(c->why, "\\%.1s is no escape; a backslash is written \\\\, or "
				                        "use '...', which knows no escapes", at + 1);
			n += got;
		} else {
			v->s[n++] = *c->p++;
		}
	}
	v->s[n] = '\0';
	if (*c->p++ != quote)
		return config_wrong_set(c->why, "the string has no closing %s", quote == '"' ? "\"" : "'");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)v->s[i] < 0x20 || v->s[i] == 0x7f)
			return config_wrong_set(c->why, "the string holds a control character, which no key takes");
	return true;
}

/* ---- bare words */

static bool all_in(const char *s, const char *set)
{
	return s[strspn(s, set)] == '\0';
}

/* Digits with single underscores between them; copies without those. */
static bool take_digits(const char **p, char **out)
{
	const char *start = *p;

	while (isdigit((unsigned char)**p) ||
	       (**p == '_' && *p > start && isdigit((unsigned char)(*p)[-1]) && isdigit((unsigned char)(*p)[1]))) {
		if (**p != '_')
			*(*out)++ = **p;
		(*p)++;
	}
	return *p > start;
}

static bool number_wrong(struct config_wrong *why, const char *t)
{
	const char *digits = t + strspn(t, "+-");

	if (digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]))
		return config_wrong_set(why, "%s: write the number in decimal", t);
	if (digits[0] == '.')
		return config_wrong_set(why, "%s: write a digit before the point, 0%s", t, digits);
	if (strlen(digits) >= 8 && isdigit((unsigned char)digits[0]) && strchr(digits, '-') && all_in(digits, "0123456789-:TZtz.+"))
		return config_wrong_set(why, "%s: dates are not supported, and no key takes one", t);
	if (digits[0] == '0' && isdigit((unsigned char)digits[1]))
		return config_wrong_set(why, "%s: write the number without leading zeros", t);
	return config_wrong_set(why, "%s is not a number; write digits, \"_\" only between two of them, and \".\" "
	                        "only between digits", t);
}

static bool convert_number(const char *digits, bool whole, const char *t, struct toml *v, struct config_wrong *why)
{
	errno = 0;
	if (whole) {
		v->kind = TOML_INT;
		v->i = strtoll(digits, NULL, 10);
	} else {
		v->kind = TOML_FLOAT;
		v->f = strtod(digits, NULL);
	}
	if (errno == ERANGE && (whole || isinf(v->f)))
		return config_wrong_set(why, "%s is too large a number", t);
	return true;
}

static bool parse_number(const char *t, struct toml *v, struct config_wrong *why)
{
	char digits[TOKEN_MAX + 1], *out = digits;
	const char *p = t, *first;
	bool whole = true;

	if (*p == '+' || *p == '-')
		*out++ = *p++;
	first = p;
	if (!take_digits(&p, &out) || (first[0] == '0' && p > first + 1))
		return number_wrong(why, t);
	if (*p == '.') {
		whole = false;
		*out++ = *p++;
		if (!take_digits(&p, &out))
			return number_wrong(why, t);
	}
	if (*p == 'e' || *p == 'E') {
		whole = false;
		*out++ = *p++;
		if (*p == '+' || *p == '-')
			*out++ = *p++;
		if (!take_digits(&p, &out))
			return number_wrong(why, t);
	}
	if (*p)
		return number_wrong(why, t);
	*out = '\0';
	return convert_number(digits, whole, t, v, why);
}

static bool is_one_of(const char *t, const char *const *words)
{
	for (; *words; words++)
		if (strcasecmp(t, *words) == 0)
			return true;
	return false;
}

static bool parse_word(const char *t, struct toml *v, struct config_wrong *why)
{
	static const char *const yes_no[] = { "true", "false", "yes", "no", "on", "off", NULL };
	static const char *const infinite[] = { "inf", "nan", "+inf", "-inf", "+nan", "-nan", NULL };

	if (strcmp(t, "true") == 0 || strcmp(t, "false") == 0) {
		v->kind = TOML_BOOL;
		v->b = t[0] == 't';
		return true;
	}
	if (is_one_of(t, yes_no))
		return config_wrong_set(why, "%s: write true or false", t);
	if (is_one_of(t, infinite))
		return config_wrong_set(why, "%s is not a number that a key takes", t);
	if (isdigit((unsigned char)t[0]) || strchr("+-.", t[0]))
		return parse_number(t, v, why);
	return config_wrong_set(why, "%s is not a value; write strings in quotes, \"%s\"", t, t);
}

static bool take_word(struct cursor *c, struct toml *v)
{
	char t[TOKEN_MAX + 1] = "";
	size_t n = strcspn(c->p, " \t,[]{}\"'=");

	if (n == 0)
		return *c->p ? config_wrong_set(c->why, "%.1s stands where a value should", c->p)
		             : config_wrong_set(c->why, "the value is missing");
	if (n > TOKEN_MAX)
		return config_wrong_set(c->why, "%.32s... is not a value; write strings in quotes", c->p);
	memcpy(t, c->p, n);
	c->p += n;
	return parse_word(t, v, c->why);
}

static bool take_scalar(struct cursor *c, struct toml *v)
{
	if (*c->p == '"' || *c->p == '\'')
		return take_string(c, v);
	if (*c->p == '[' || *c->p == '{')
		return config_wrong_set(c->why, "lists and tables inside of lists and tables are not supported, and no key "
		                        "takes one");
	return take_word(c, v);
}

/* ---- lists and tables */

static bool take_name(struct cursor *c, struct toml *v)
{
	size_t n = 0;

	while (isalnum((unsigned char)c->p[n]) || c->p[n] == '_' || c->p[n] == '-')
		n++;
	v->name = strndup(c->p, n);
	EG_ASSERT(v->name);
	c->p += n;
	skip_space(c);
	if (n == 0 || *c->p != '=')
		return config_wrong_set(c->why, "an entry of { } is written name = value, its name without quotes and dots");
	c->p++;
	skip_space(c);
	return true;
}

static bool take_items(struct cursor *c, struct toml *v)
{
	bool table = *c->p == '{';
	char close = table ? '}' : ']';

	v->kind = table ? TOML_TABLE : TOML_LIST;
	v->items = calloc(EG_CONFIG_LIST_MAX, sizeof *v->items);
	EG_ASSERT(v->items);
	for (c->p++, skip_space(c); *c->p != close; skip_space(c)) {
		if (*c->p == '\0')
			return config_wrong_set(c->why, "%s over several lines are not supported; write the whole value on "
			                        "one line", table ? "tables" : "lists");
		if (v->n == EG_CONFIG_LIST_MAX)
			return config_wrong_set(c->why, "a list has %d entries at most", EG_CONFIG_LIST_MAX);
		struct toml *item = &v->items[v->n++];
		if ((table && !take_name(c, item)) || !take_scalar(c, item))
			return false;
		skip_space(c);
		if (*c->p == ',')
			c->p++;
		else if (*c->p && *c->p != close)
			return config_wrong_set(c->why, "entries are separated by commas");
	}
	c->p++;
	return true;
}

bool toml_parse(const char *text, struct toml *v, struct config_wrong *why)
{
	struct cursor c = { text, why };
	bool good;

	*v = (struct toml){ 0 };
	skip_space(&c);
	good = *c.p == '[' || *c.p == '{' ? take_items(&c, v) : take_scalar(&c, v);
	skip_space(&c);
	if (good && *c.p)
		good = config_wrong_set(why, "%.40s stands behind the value; only a comment (# ...) may", c.p);
	if (!good)
		toml_free(v);
	return good;
}
