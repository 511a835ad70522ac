/* A value in its field: set with checks, compare, print, free.
 *
 * One function per type in each table below; a new type is a new row in each. */
#include "common/config_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static const char *kind_name(enum toml_kind kind)
{
	static const char *const names[] = { "true or false", "a whole number", "a number with a fraction", "a string",
	                                     "a list", "a table" };

	return names[kind];
}

static bool wrong_type(const struct config_key *k, const struct toml *v, struct config_wrong *why)
{
	return config_wrong_set(why, "%s is %s, but the key takes %s", k->name, kind_name(v->kind), config_range(k));
}

/* ---- set */

typedef bool set_fn(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why);

static bool set_bool(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	if (v->kind != TOML_BOOL)
		return wrong_type(k, v, why);
	*(bool *)field = v->b;
	return true;
}

static bool check_int(const struct config_key *k, const struct toml *v, struct config_wrong *why)
{
	if (v->kind != TOML_INT)
		return wrong_type(k, v, why);
	if ((double)v->i < k->lo || (double)v->i > k->hi)
		return config_wrong_set(why, "%s = %lld is out of range; write %s", k->name, (long long)v->i, config_range(k));
	return true;
}

static bool set_int(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	if (!check_int(k, v, why))
		return false;
	*(int64_t *)field = v->i;
	return true;
}

static bool set_float(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	double f = v->kind == TOML_INT ? (double)v->i : v->f;

	if (v->kind != TOML_INT && v->kind != TOML_FLOAT)
		return wrong_type(k, v, why);
	if (f < k->lo || f > k->hi)
		return config_wrong_set(why, "%s = %g is out of range; write %s", k->name, f, config_range(k));
	*(double *)field = f;
	return true;
}

static bool set_string(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	char **s = field;
	char *copy;

	if (v->kind != TOML_STRING)
		return wrong_type(k, v, why);
	if ((double)strlen(v->s) < k->lo || (double)strlen(v->s) > k->hi)
		return config_wrong_set(why, "%s has %zu bytes; write %s", k->name, strlen(v->s), config_range(k));
	copy = strdup(v->s);
	EG_ASSERT(copy);
	free(*s);
	*s = copy;
	return true;
}

static bool set_enum(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	if (v->kind != TOML_STRING)
		return wrong_type(k, v, why);
	for (int i = 0; k->names[i]; i++)
		if (strcmp(k->names[i], v->s) == 0) {
			*(int *)field = i;
			return true;
		}
	return config_wrong_set(why, "%s = \"%.64s\" is not known; write %s", k->name, v->s, config_range(k));
}

static bool set_ints(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	struct config_ints *list = field;
	int64_t *n;

	if (v->kind != TOML_LIST)
		return wrong_type(k, v, why);
	if (v->n == 0)
		return config_wrong_set(why, "%s is an empty list; leave the key out, or write %s", k->name, config_range(k));
	for (size_t i = 0; i < v->n; i++)
		if (!check_int(k, &v->items[i], why))
			return false;
	n = calloc(v->n, sizeof *n);
	EG_ASSERT(n);
	for (size_t i = 0; i < v->n; i++)
		n[i] = v->items[i].i;
	free(list->v);
	*list = (struct config_ints){ n, v->n };
	return true;
}

static void free_strings(void *field)
{
	struct config_strings *list = field;

	for (size_t i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct config_strings){ 0 };
}

/* A single string stands for a list of one. */
static bool set_strings(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	const struct toml *items = v->kind == TOML_LIST ? v->items : v;
	size_t n = v->kind == TOML_LIST ? v->n : 1;
	struct config_strings list = { calloc(n + 1, sizeof *list.v), n };

	EG_ASSERT(list.v);
	for (size_t i = 0; i < n; i++) {
		if (items[i].kind != TOML_STRING) {
			free_strings(&list);
			return wrong_type(k, v->kind == TOML_LIST ? &items[i] : v, why);
		}
		list.v[i] = strdup(items[i].s);
		EG_ASSERT(list.v[i]);
	}
	if ((double)n < k->lo || (double)n > k->hi) {
		free_strings(&list);
		return config_wrong_set(why, "%s has %zu entries; write %s", k->name, n, config_range(k));
	}
	free_strings(field);
	*(struct config_strings *)field = list;
	return true;
}

static bool set_tiers(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	static const char *const names[] = { "hot", "warm", "cold" };
	int64_t n[3];
	unsigned seen = 0;

	if (v->kind != TOML_TABLE)
		return wrong_type(k, v, why);
	for (size_t i = 0; i < v->n; i++) {
		unsigned t = 0;
		while (t < 3 && strcmp(names[t], v->items[i].name) != 0)
			t++;
		if (t == 3 || (seen & 1u << t) || !check_int(k, &v->items[i], why))
			return config_wrong_set(why, "%s: entry \"%.32s\" is not known, given twice or out of range; write "
			                        "{ hot = N, warm = N, cold = N }, each %.15g..%.15g", k->name,
			                        v->items[i].name, k->lo, k->hi);
		n[t] = v->items[i].i;
		seen |= 1u << t;
	}
	if (seen != 7)
		return config_wrong_set(why, "%s needs all of hot, warm and cold", k->name);
	*(struct config_tiers *)field = (struct config_tiers){ n[0], n[1], n[2] };
	return true;
}

bool config_value_set(const struct config_key *k, const struct toml *v, void *field, struct config_wrong *why)
{
	static set_fn *const set[] = {
		[CONFIG_BOOL] = set_bool, [CONFIG_INT] = set_int, [CONFIG_FLOAT] = set_float, [CONFIG_STRING] = set_string,
		[CONFIG_ENUM] = set_enum, [CONFIG_INTS] = set_ints, [CONFIG_STRINGS] = set_strings, [CONFIG_TIERS] = set_tiers,
	};

	return set[k->type](k, v, field, why);
}

/* ---- free, compare */

void config_value_free(const struct config_key *k, void *field)
{
	if (k->type == CONFIG_STRING) {
		free(*(char **)field);
		*(char **)field = NULL;
	} else if (k->type == CONFIG_INTS) {
		struct config_ints *list = field;
		free(list->v);
		*list = (struct config_ints){ 0 };
	} else if (k->type == CONFIG_STRINGS) {
		free_strings(field);
	}
}

/* What a value is, is what it prints as: no second notion of equality. */
bool config_value_equal(const struct config_key *k, const void *a, const void *b)
{
	struct buf x, y;
	bool equal;

	buf_init(&x, 1 << 20);
	buf_init(&y, 1 << 20);
	config_value_print(k, a, true, &x);
	config_value_print(k, b, true, &y);
	EG_ASSERT(!x.failed && !y.failed);
	equal = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	buf_free(&x);
	buf_free(&y);
	return equal;
}

/* ---- print: strings, numbers and lists look alike in JSON and in the file */

typedef void print_fn(const struct config_key *k, const void *field, bool json, struct buf *out);

static void print_bool(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	(void)k, (void)json;
	buf_json_bool(out, *(const bool *)field);
}

static void print_int(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	(void)k, (void)json;
	buf_json_int(out, *(const int64_t *)field);
}

/* TOML tells a float from an integer by its point. */
static void print_float(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	size_t start = out->len;

	(void)k;
	buf_json_double(out, *(const double *)field);
	if (!json && !out->failed && !strpbrk(out->data + start, ".eE"))
		buf_puts(out, ".0");
}

static void print_string(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	(void)k, (void)json;
	buf_json_text(out, *(char *const *)field);
}

static void print_enum(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	(void)json;
	buf_json_text(out, k->names[*(const int *)field]);
}

static void print_ints(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	const struct config_ints *list = field;

	(void)k, (void)json;
	buf_putc(out, '[');
	for (size_t i = 0; i < list->n; i++) {
		buf_puts(out, i ? ", " : "");
		buf_json_int(out, list->v[i]);
	}
	buf_putc(out, ']');
}

static void print_strings(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	const struct config_strings *list = field;

	(void)k, (void)json;
	buf_putc(out, '[');
	for (size_t i = 0; i < list->n; i++) {
		buf_puts(out, i ? ", " : "");
		buf_json_text(out, list->v[i]);
	}
	buf_putc(out, ']');
}

static void print_tiers(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	const struct config_tiers *t = field;

	(void)k;
	buf_printf(out, json ? "{\"hot\": %lld, \"warm\": %lld, \"cold\": %lld}" : "{ hot = %lld, warm = %lld, cold = %lld }",
	           (long long)t->hot, (long long)t->warm, (long long)t->cold);
}

void config_value_print(const struct config_key *k, const void *field, bool json, struct buf *out)
{
	static print_fn *const print[] = {
		[CONFIG_BOOL] = print_bool, [CONFIG_INT] = print_int, [CONFIG_FLOAT] = print_float,
		[CONFIG_STRING] = print_string, [CONFIG_ENUM] = print_enum, [CONFIG_INTS] = print_ints,
		[CONFIG_STRINGS] = print_strings, [CONFIG_TIERS] = print_tiers,
	};

	print[k->type](k, field, json, out);
}
