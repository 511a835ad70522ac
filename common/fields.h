/* JSON objects read by table: a route declares its fields, one row each, and
 * gets a filled struct or a fault that names the field.
 *
 *	struct remember { uint64_t given; struct field_text content; double confidence; };
 *	static const struct field rows[] = {
 *		FIELD("content", STRING, struct remember, content, FIELD_REQUIRED | FIELD_NOT_BLANK, .max = 100000),
 *		FIELD("confidence", DOUBLE, struct remember, confidence, 0, .min = 0, .max = 1),
 *	};
 *	static const struct fields remember_fields = FIELDS(rows, struct remember, NULL);
 *
 *	err = fields_parse(body, len, &remember_fields, &in, arena, &fault);
 *
 * Refused, always naming the field (as in `memories.3.content`): fields that no
 * row names (with the nearest name that there is), another type, null unless
 * the row allows it (then it is as if absent), bounds, missing required ones.
 * What is read lives in the body and the arena.
 */
#ifndef COMMON_FIELDS_H
#define COMMON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json.h"

enum { FIELD_VECTOR_MAX = 4096 };

/* Kind: what JSON holds            -> what stands at the offset */
enum field_kind {
	FIELD_STRING,      /* string               -> struct field_text; min, max: bytes */
	FIELD_ENUM,        /* one of .names        -> int, index in .names */
	FIELD_BOOL,        /* true, false          -> bool */
	FIELD_INT,         /* integer              -> int64_t; min, max: value */
	FIELD_DOUBLE,      /* number               -> double; min, max: value */
	FIELD_TIME,        /* RFC 3339 string      -> int64_t, microseconds since 1970 UTC */
	FIELD_VECTOR,      /* numbers, or base64 of little-endian f32 -> struct field_vector: 1..4096, finite, not all 0 */
	FIELD_STRINGS,     /* array of strings     -> struct field_texts; min, max: count; item_max: bytes of each, none empty */
	FIELD_PAIRS,       /* object of string, number, bool -> struct field_pairs; max: keys; item_max: bytes of the object */
	FIELD_OBJECT,      /* object by .inner     -> the inner struct itself */
	FIELD_OBJECTS,     /* array of objects by .inner -> struct field_objects; min, max: count */
	FIELD_CALL,        /* anything             -> .call reads it */
};

enum {
	FIELD_REQUIRED = 1,
	FIELD_NULLABLE = 2,        /* null is as absent */
	FIELD_NOT_BLANK = 4,       /* STRING: something visible in it */
};

struct field_text { const char *text; size_t len; };              /* no NUL behind */
struct field_texts { const struct field_text *item; size_t n; };
struct field_vector { const float *v; size_t n; };
struct field_objects { void *item; size_t n; };                   /* n structs of inner->size */

struct field_pair {
	struct field_text name, text;      /* text: of a JSON_STRING */
	enum json_token kind;              /* JSON_STRING, JSON_INT, JSON_DOUBLE, JSON_TRUE, JSON_FALSE */
	int64_t integer;
	double number;                     /* also of a JSON_INT */
};
struct field_pairs {
	const struct field_pair *item;
	size_t n;
	struct field_text json;            /* the object as it was written */
};

/* Where in the body the reader is. */
struct field_path {
	char text[64];                     /* "" at the top */
	size_t len;
};

struct field;
struct fields;

/* Read the value of row (the parser is right before it) into target, the struct
 * that has the row. path names the field already. Nested values: field_enter,
 * fields_read, field_leave. */
typedef enum err field_call(struct json *p, const struct field *row, void *target,
                            struct field_path *path, struct fault *f);

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
	unsigned flags;
	double min, max;                   /* in force when max > min; both inclusive */
	size_t item_max;                   /* 0: no limit but the parser's */
	const char *const *names;          /* ENUM: ended by NULL */
	const struct fields *inner;
	field_call *call;
};

/* A row: name, kind without FIELD_, struct, member, flags, and what else applies. */
#define FIELD(text, KIND, type, member, bits, ...) \
	{ .name = text, .kind = FIELD_##KIND, .offset = offsetof(type, member), .flags = bits, ##__VA_ARGS__ }

struct fields {
	const struct field *row;
	unsigned n;                        /* at most 64 */
	size_t size;                       /* of the struct, which begins with uint64_t given: bit i = row i was there */
	const void *defaults;              /* the struct before anything is read; NULL: zeros */
};
#define FIELDS(rows, type, defaults) { rows, sizeof (rows) / sizeof *(rows), sizeof(type), defaults }

/* A whole body: one object and nothing behind it. */
enum err fields_parse(const char *body, size_t len, const struct fields *t, void *out,
                      struct arena *arena, struct fault *f) EG_MUST_USE;
/* One object, right before the parser. After an error the parser stands inside
 * it; unless json_broken(p), json_leave to the depth before goes on behind it. */
enum err fields_read(struct json *p, const struct fields *t, void *out,
                     struct field_path *path, struct fault *f) EG_MUST_USE;
/* A query parameter, percent-decoded: strings, names and times as they are,
 * vectors also as base64, anything else as in JSON. out was filled by
 * fields_start. */
enum err fields_param(const struct fields *t, void *out, const char *name, size_t name_len,
                      const char *value, size_t len, struct arena *arena, struct fault *f) EG_MUST_USE;
void fields_start(const struct fields *t, void *out);
/* Are the required fields there? Only after fields_param: the others do it themselves. */
enum err fields_complete(const struct fields *t, const void *out, const struct field_path *path,
                         struct fault *f) EG_MUST_USE;

bool field_given(const void *out, const struct fields *t, const char *name);

/* Append a name or an index; give back what field_leave restores. */
size_t field_enter(struct field_path *path, const char *name, size_t len);
size_t field_enter_index(struct field_path *path, size_t i);
void field_leave(struct field_path *path, size_t before);
/* A fault that names the field at path. limit may be NULL. */
enum err field_fault(struct fault *f, enum err e, const struct field_path *path, const char *limit,
                     const char *fmt, ...) EG_PRINTF(5, 6);

#endif
