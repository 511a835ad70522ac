#include "common/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base64.h"
#include "common/clock.h"
#include "common/nearest.h"
#include "common/utf8.h"

/* What a reader of one value needs. */
struct reader {
	struct json *p;
	const struct field *row;
	void *at;                  /* the row's place in the struct */
	struct field_path *path;
	struct fault *f;
};

/* ---- where we are, and what is wrong there ---- */

size_t field_enter(struct field_path *path, const char *name, size_t len)
{
	size_t before = path->len, room = sizeof path->text - 1 - before, n;

	if (before > 0 && room > 0) {
		path->text[path->len++] = '.';
		room--;
	}
	n = utf8_cut(name, len, room);
	memcpy(path->text + path->len, name, n);
	path->len += n;
	path->text[path->len] = '\0';
	return before;
}

size_t field_enter_index(struct field_path *path, size_t i)
{
	char t[24];

	return field_enter(path, t, (size_t)snprintf(t, sizeof t, "%zu", i));
}

void field_leave(struct field_path *path, size_t before)
{
	path->len = before;
	path->text[before] = '\0';
}

enum err field_fault(struct fault *f, enum err e, const struct field_path *path, const char *limit,
                     const char *fmt, ...)
{
	char text[sizeof f->message];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(f, e, path->text, limit, "%s", text);
}

/* The parser's error, with the field. */
static enum err broken(const struct json *p, const struct field_path *path, struct fault *f)
{
	*f = p->fault;
	snprintf(f->field, sizeof f->field, "%s", path->text);
	return f->err;
}

static enum err no_room(const struct field_path *path, struct fault *f)
{
	return field_fault(f, EG_E_TOO_LARGE, path, NULL, "the body needs more memory than one request may take");
}

static const char *token_text(enum json_token t)
{
	switch (t) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a string";
	case JSON_INT: return "an integer";
	case JSON_DOUBLE: return "a number with a fraction or an exponent";
	case JSON_TRUE: case JSON_FALSE: return "a boolean";
	case JSON_NULL: return "null";
	default: return "something else";
	}
}

/* Next token, which must be `want`. */
static enum err take(const struct reader *r, enum json_token want, const char *what)
{
	enum json_token t = json_next(r->p);

	if (t == want)
		return EG_E_OK;
	if (t == JSON_ERROR)
		return broken(r->p, r->path, r->f);
	return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be %s, not %s", what, token_text(t));
}

static bool bounded(const struct field *row) { return row->max > row->min; }

/* Is a count or number within the row's bounds? unit has a leading space. */
static enum err within(const struct reader *r, double v, const char *unit)
{
	char limit[64];

	if (!bounded(r->row) || (v >= r->row->min && v <= r->row->max))
		return EG_E_OK;
	snprintf(limit, sizeof limit, "%.12g..%.12g", r->row->min, r->row->max);
	return field_fault(r->f, EG_E_INPUT, r->path, limit, "must be %s%.12g to %.12g%s",
	                   *unit ? "of " : "", r->row->min, r->row->max, unit);
}

/* ---- one function for each kind ---- */

static enum err read_text(const struct reader *r, const char *text, size_t len)
{
	enum err e = within(r, (double)len, " bytes");

	if (e == EG_E_OK && (r->row->flags & FIELD_NOT_BLANK) && utf8_blank(text, len))
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must not be blank");
	*(struct field_text *)r->at = (struct field_text){ text, len };
	return e;
}

static enum err read_name(const struct reader *r, const char *text, size_t len)
{
	char list[160] = "";
	size_t n = 0;

	for (int i = 0; r->row->names[i] != NULL; i++) {
		const char *name = r->row->names[i];

		if (strlen(name) == len && memcmp(name, text, len) == 0) {
			*(int *)r->at = i;
			return EG_E_OK;
		}
		if (n < sizeof list)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", name);
	}
	return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be one of: %s", list);
}

static enum err read_time(const struct reader *r, const char *text, size_t len)
{
	if (clock_parse(text, len, r->at) == EG_E_OK)
		return EG_E_OK;
	return field_fault(r->f, EG_E_INPUT, r->path, NULL,
	                   "must be a date and time of RFC 3339 such as 2025-01-31T12:00:00Z");
}

static enum err read_bool(const struct reader *r)
{
	enum json_token t = json_next(r->p);

	if (t == JSON_ERROR)
		return broken(r->p, r->path, r->f);
	if (t != JSON_TRUE && t != JSON_FALSE)
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be a boolean, not %s", token_text(t));
	*(bool *)r->at = t == JSON_TRUE;
	return EG_E_OK;
}

static enum err read_int(const struct reader *r)
{
	enum err e = take(r, JSON_INT, "an integer");

	if (e != EG_E_OK)
		return e;
	*(int64_t *)r->at = r->p->integer;
	return within(r, (double)r->p->integer, "");
}

static enum err read_double(const struct reader *r)
{
	enum json_token t = json_next(r->p);

	if (t == JSON_ERROR)
		return broken(r->p, r->path, r->f);
	if (t != JSON_INT && t != JSON_DOUBLE)
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be a number, not %s", token_text(t));
	*(double *)r->at = r->p->number;
	return within(r, r->p->number, "");
}

static enum err read_base64(const struct reader *r, const char *text, size_t len, float *out, size_t *n)
{
	ssize_t bytes;

	if (len > BASE64_LEN(FIELD_VECTOR_MAX * sizeof *out))
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "has more than %d numbers", FIELD_VECTOR_MAX);
	bytes = base64_decode(text, len, out, FIELD_VECTOR_MAX * sizeof *out);
	if (bytes < 0 || bytes % (ssize_t)sizeof *out != 0)
		return field_fault(r->f, EG_E_INPUT, r->path, NULL,
		                   "as a string must be base64 of little-endian 32 bit floats");
	*n = (size_t)bytes / sizeof *out;
	return EG_E_OK;
}

/* Copy n numbers into the arena, if they make a vector. */
static enum err keep_vector(const struct reader *r, const float *v, size_t n)
{
	float *kept, sum = 0;

	if (n == 0)
		return field_fault(r->f, EG_E_INPUT, r->path, "1..4096", "must have 1 to %d numbers", FIELD_VECTOR_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!__builtin_isfinite(v[i]))
			return field_fault(r->f, EG_E_INPUT, r->path, NULL, "item %zu is not a finite number", i);
		sum += v[i] != 0;
	}
	if (sum == 0)
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must not be all zeros: it has no direction");
	kept = arena_alloc(r->p->arena, n * sizeof *v);
	if (kept == NULL)
		return no_room(r->path, r->f);
	memcpy(kept, v, n * sizeof *v);
	*(struct field_vector *)r->at = (struct field_vector){ kept, n };
	return EG_E_OK;
}

static enum err read_vector(const struct reader *r)
{
	float v[FIELD_VECTOR_MAX];
	size_t n;
	enum err e;

	switch (json_peek(r->p)) {
	case JSON_STRING:
		if (json_next(r->p) == JSON_ERROR)
			return broken(r->p, r->path, r->f);
		e = read_base64(r, r->p->text, r->p->len, v, &n);
		break;
	case JSON_ARRAY:
		e = json_floats(r->p, v, FIELD_VECTOR_MAX, &n, r->f);
		if (e != EG_E_OK && r->f->field[0] == '\0')
			snprintf(r->f->field, sizeof r->f->field, "%s", r->path->text);
		break;
	default:
		e = take(r, JSON_ARRAY, "an array of numbers or base64");
	}
	return e == EG_E_OK ? keep_vector(r, v, n) : e;
}

/* Memory for one more item behind n, doubling; NULL: no room. The arena keeps
 * what was outgrown: at most as much again. */
static void *more(struct arena *arena, void *items, size_t n, size_t bytes)
{
	size_t cap = n == 0 ? 4 : n * 2;
	void *grown;

	if (n != 0 && (n < 4 || (n & (n - 1)) != 0))
		return items;
	grown = arena_array(arena, cap, bytes);
	if (grown != NULL && n > 0)
		memcpy(grown, items, n * bytes);
	return grown;
}

static enum err too_many(const struct reader *r)
{
	char limit[64];

	snprintf(limit, sizeof limit, "%.12g..%.12g", r->row->min, r->row->max);
	return field_fault(r->f, EG_E_INPUT, r->path, limit, "has more than %.12g items", r->row->max);
}

static enum err read_string_item(const struct reader *r, struct field_text *item)
{
	enum err e = r->p->token == JSON_STRING ? EG_E_OK :
		field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be a string, not %s", token_text(r->p->token));

	*item = (struct field_text){ r->p->text, r->p->len };
	if (e == EG_E_OK && item->len == 0)
		e = field_fault(r->f, EG_E_INPUT, r->path, NULL, "must not be empty");
	if (e == EG_E_OK && r->row->item_max > 0 && item->len > r->row->item_max)
		e = field_fault(r->f, EG_E_INPUT, r->path, NULL, "is longer than %zu bytes", r->row->item_max);
	return e;
}

static enum err read_strings(const struct reader *r)
{
	struct field_text *item = NULL;
	size_t n = 0, before;
	enum err e = take(r, JSON_ARRAY, "an array of strings");

	if (e != EG_E_OK)
		return e;
	while (json_next(r->p) != JSON_ARRAY_END) {
		if (r->p->token == JSON_ERROR)
			return broken(r->p, r->path, r->f);
		if (bounded(r->row) && n == (size_t)r->row->max)
			return too_many(r);
		item = more(r->p->arena, item, n, sizeof *item);
		if (item == NULL)
			return no_room(r->path, r->f);
		before = field_enter_index(r->path, n);
		e = read_string_item(r, &item[n++]);
		if (e != EG_E_OK)
			return e;
		field_leave(r->path, before);
	}
	*(struct field_texts *)r->at = (struct field_texts){ item, n };
	return within(r, (double)n, " items");
}

static enum err read_pair(const struct reader *r, struct field_pair *pair)
{
	struct json *p = r->p;
	size_t before = field_enter(r->path, p->text, p->len);

	pair->name = (struct field_text){ p->text, p->len };
	pair->kind = json_next(p);
	switch (pair->kind) {
	case JSON_ERROR:
		return broken(p, r->path, r->f);
	case JSON_STRING:
		pair->text = (struct field_text){ p->text, p->len };
		break;
	case JSON_INT:
	case JSON_DOUBLE:
		pair->integer = p->integer;
		pair->number = p->number;
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		break;
	default:
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "must be a string, a number or a boolean, not %s",
		                   token_text(pair->kind));
	}
	field_leave(r->path, before);
	return EG_E_OK;
}

static enum err read_pairs(const struct reader *r)
{
	struct json *p = r->p;
	struct field_pair *item = NULL;
	const char *begin;
	size_t n = 0, bytes;
	enum err e = take(r, JSON_OBJECT, "an object");

	if (e != EG_E_OK)
		return e;
	begin = p->start;
	while (json_next(p) != JSON_OBJECT_END) {
		if (p->token == JSON_ERROR)
			return broken(p, r->path, r->f);
		if (bounded(r->row) && n == (size_t)r->row->max)
			return too_many(r);
		item = more(p->arena, item, n, sizeof *item);
		if (item == NULL)
			return no_room(r->path, r->f);
		e = read_pair(r, &item[n++]);
		if (e != EG_E_OK)
			return e;
	}
	bytes = (size_t)(p->start + 1 - begin);
	if (r->row->item_max > 0 && bytes > r->row->item_max)
		return field_fault(r->f, EG_E_INPUT, r->path, NULL, "is longer than %zu bytes", r->row->item_max);
	*(struct field_pairs *)r->at = (struct field_pairs){ item, n, { begin, bytes } };
	return within(r, (double)n, " keys");
}

static enum err read_objects(const struct reader *r)
{
	const struct fields *inner = r->row->inner;
	char *item = NULL;
	size_t n = 0, before;
	enum err e = take(r, JSON_ARRAY, "an array of objects");

	if (e != EG_E_OK)
		return e;
	while (json_peek(r->p) != JSON_ARRAY_END) {
		if (bounded(r->row) && n == (size_t)r->row->max)
			return too_many(r);
		item = more(r->p->arena, item, n, inner->size);
		if (item == NULL)
			return no_room(r->path, r->f);
		before = field_enter_index(r->path, n);
		e = fields_read(r->p, inner, item + n++ * inner->size, r->path, r->f);
		if (e != EG_E_OK)
			return e;
		field_leave(r->path, before);
	}
	if (json_next(r->p) == JSON_ERROR)
		return broken(r->p, r->path, r->f);
	*(struct field_objects *)r->at = (struct field_objects){ item, n };
	return within(r, (double)n, " items");
}

/* ---- objects ---- */

static enum err read_value(struct reader *r, void *out)
{
	enum err e;

	switch (r->row->kind) {
	case FIELD_STRING:
	case FIELD_ENUM:
	case FIELD_TIME:
		e = take(r, JSON_STRING, "a string");
		if (e != EG_E_OK)
			return e;
		return (r->row->kind == FIELD_STRING ? read_text : r->row->kind == FIELD_ENUM ? read_name : read_time)
			(r, r->p->text, r->p->len);
	case FIELD_BOOL: return read_bool(r);
	case FIELD_INT: return read_int(r);
	case FIELD_DOUBLE: return read_double(r);
	case FIELD_VECTOR: return read_vector(r);
	case FIELD_STRINGS: return read_strings(r);
	case FIELD_PAIRS: return read_pairs(r);
	case FIELD_OBJECT: return fields_read(r->p, r->row->inner, r->at, r->path, r->f);
	case FIELD_OBJECTS: return read_objects(r);
	case FIELD_CALL: return r->row->call(r->p, r->row, out, r->path, r->f);
	}
	EG_ASSERT(!"a kind of field");
	return EG_E_INTERNAL;
}

static const struct field *find(const struct fields *t, const char *name, size_t len)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strlen(t->row[i].name) == len && memcmp(t->row[i].name, name, len) == 0)
			return &t->row[i];
	return NULL;
}

static enum err unknown(const struct fields *t, const char *name, size_t len,
                        struct field_path *path, struct fault *f)
{
	const char *nearest = "";
	unsigned least = ~0u;

	for (unsigned i = 0; i < t->n; i++) {
		unsigned d = nearest_distance(name, len, t->row[i].name, strlen(t->row[i].name));

		if (d < least) {
			least = d;
			nearest = t->row[i].name;
		}
	}
	(void)field_enter(path, name, len);
	if (t->n == 0)
		return field_fault(f, EG_E_INPUT, path, NULL, "there is no field \"%.*s\" here, nor any other",
		                   (int)utf8_cut(name, len, 64), name);
	return field_fault(f, EG_E_INPUT, path, NULL, "there is no field \"%.*s\" here; the nearest is \"%s\"",
	                   (int)utf8_cut(name, len, 64), name, nearest);
}

static enum err read_field(struct json *p, const struct fields *t, void *out, const struct field *row,
                           struct field_path *path, struct fault *f)
{
	struct reader r = { p, row, (char *)out + row->offset, path, f };
	enum err e;

	if ((row->flags & FIELD_NULLABLE) && json_peek(p) == JSON_NULL)
		return json_next(p) == JSON_ERROR ? broken(p, path, f) : EG_E_OK;
	e = read_value(&r, out);
	if (e == EG_E_OK)
		*(uint64_t *)out |= UINT64_C(1) << (row - t->row);
	return e;
}

void fields_start(const struct fields *t, void *out)
{
	EG_ASSERT(t->n <= 64 && t->size >= sizeof(uint64_t));
	if (t->defaults != NULL)
		memcpy(out, t->defaults, t->size);
	else
		memset(out, 0, t->size);
	*(uint64_t *)out = 0;
}

enum err fields_complete(const struct fields *t, const void *out, const struct field_path *path,
                         struct fault *f)
{
	struct field_path at = *path;

	for (unsigned i = 0; i < t->n; i++) {
		if (!(t->row[i].flags & FIELD_REQUIRED) || (*(const uint64_t *)out >> i & 1))
			continue;
		(void)field_enter(&at, t->row[i].name, strlen(t->row[i].name));
		return field_fault(f, EG_E_INPUT, &at, NULL, "the field \"%s\" is missing", t->row[i].name);
	}
	return EG_E_OK;
}

enum err fields_read(struct json *p, const struct fields *t, void *out, struct field_path *path,
                     struct fault *f)
{
	struct reader r = { .p = p, .path = path, .f = f };
	enum err e = take(&r, JSON_OBJECT, "an object");

	fields_start(t, out);
	while (e == EG_E_OK) {
		enum json_token token = json_next(p);
		const struct field *row;
		size_t before;

		if (token == JSON_OBJECT_END)
			return fields_complete(t, out, path, f);
		if (token == JSON_ERROR)
			return broken(p, path, f);
		row = find(t, p->text, p->len);
		if (row == NULL)
			return unknown(t, p->text, p->len, path, f);
		before = field_enter(path, row->name, strlen(row->name));
		e = read_field(p, t, out, row, path, f);
		if (e == EG_E_OK)
			field_leave(path, before);
	}
	return e;
}

enum err fields_parse(const char *body, size_t len, const struct fields *t, void *out,
                      struct arena *arena, struct fault *f)
{
	struct field_path path = { "", 0 };
	struct json p;
	enum err e;

	json_init(&p, body, len, arena);
	e = fields_read(&p, t, out, &path, f);
	if (e == EG_E_OK)
		return json_next(&p) == JSON_END ? e : broken(&p, &path, f);
	/* A body that is no JSON is told so, wherever a field was wrong first: what
	 * nests too deep is that before it is of another type. */
	if (!json_broken(&p) && !json_leave(&p, 0))
		*f = p.fault;
	return f->err;
}

enum err fields_param(const struct fields *t, void *out, const char *name, size_t name_len,
                      const char *value, size_t len, struct arena *arena, struct fault *f)
{
	const struct field *row = find(t, name, name_len);
	struct field_path path = { "", 0 };
	struct json p;
	struct reader r = { &p, row, NULL, &path, f };
	float v[FIELD_VECTOR_MAX];
	size_t n;
	enum err e;

	if (row == NULL)
		return unknown(t, name, name_len, &path, f);
	(void)field_enter(&path, name, name_len);
	r.at = (char *)out + row->offset;
	if (*(uint64_t *)out >> (row - t->row) & 1)
		return field_fault(f, EG_E_REQUEST, &path, NULL, "is given twice");
	if (utf8_valid(value, len) != len)
		return field_fault(f, EG_E_REQUEST, &path, NULL, "must be valid UTF-8");
	json_init(&p, value, len, arena);
	if (row->kind == FIELD_STRING) {
		e = read_text(&r, value, len);
	} else if (row->kind == FIELD_ENUM) {
		e = read_name(&r, value, len);
	} else if (row->kind == FIELD_TIME) {
		e = read_time(&r, value, len);
	} else if (row->kind == FIELD_VECTOR && (len == 0 || value[0] != '[')) {
		e = read_base64(&r, value, len, v, &n);
		if (e == EG_E_OK)
			e = keep_vector(&r, v, n);
	} else {
		e = read_value(&r, out);
		if (e == EG_E_OK && json_next(&p) != JSON_END)
			e = broken(&p, &path, f);
	}
	if (e == EG_E_OK)
		*(uint64_t *)out |= UINT64_C(1) << (row - t->row);
	return e;
}

bool field_given(const void *out, const struct fields *t, const char *name)
{
	const struct field *row = find(t, name, strlen(name));

	EG_ASSERT(row != NULL);
	return *(const uint64_t *)out >> (row - t->row) & 1;
}
