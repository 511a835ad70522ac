/* A strict pull parser for JSON that comes from outside.
 *
 * It reads a complete buffer, calls nothing back, does not recurse, and refuses
 * whatever RFC 8259 leaves open: duplicate names (however spelled), invalid or
 * overlong UTF-8, lone surrogates, U+0000 in names, numbers that do not fit
 * (integers: int64; others: finite double), more than one value. Depth, names
 * per object and string length are limited.
 *
 * Strings without escapes point into the input, others into the arena; both
 * live as long as these do and are NOT NUL-terminated.
 *
 *	struct json p;
 *	json_init(&p, body, len, arena);
 *	while ((t = json_next(&p)) != JSON_END)
 *		if (t == JSON_ERROR)
 *			return p.fault.err;
 *
 * An error is final: json_next returns JSON_ERROR from then on. p.fault says
 * what was expected at which byte. Table-driven reading of objects is in
 * common/fields.h; most callers want that.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"

enum {
	JSON_MAX_DEPTH = 32,               /* nested arrays and objects */
	JSON_MAX_KEYS = 256,               /* names in one object */
	JSON_MAX_STRING = 1 << 20,         /* bytes of one decoded string */
	JSON_KEYS_INLINE = 48,             /* names of open objects held without the arena */
};

enum json_token {
	JSON_NONE,                         /* nothing read yet */
	JSON_ERROR,                        /* p->fault is set */
	JSON_END,                          /* one value was read, nothing follows */
	JSON_OBJECT, JSON_OBJECT_END,
	JSON_ARRAY, JSON_ARRAY_END,
	JSON_KEY,                          /* p->text, p->len; the value comes next */
	JSON_STRING,                       /* p->text, p->len */
	JSON_INT,                          /* p->integer, and p->number = the same as double */
	JSON_DOUBLE,                       /* p->number: had a fraction or an exponent */
	JSON_TRUE, JSON_FALSE, JSON_NULL
};

struct json_key {
	uint64_t hash;
	const char *text;
	size_t len;
};

struct json {
	/* results of the latest token */
	const char *text;
	size_t len;
	int64_t integer;
	double number;
	unsigned depth;                    /* arrays and objects open after it */
	enum json_token token;             /* the latest token itself */
	const char *start;                 /* where it began, in the input */

	struct fault fault;
	unsigned max_keys;                 /* may be changed between tokens */

	/* private */
	const char *data, *at, *end;
	struct arena *arena;
	uint8_t state;
	uint8_t kind[JSON_MAX_DEPTH + 1];      /* '{' or '[' of each open level */
	uint16_t keys[JSON_MAX_DEPTH + 1];     /* names seen at each level */
	struct json_key *key;                  /* names of all open objects, outermost first */
	size_t key_n, key_cap;
	struct json_key key_inline[JSON_KEYS_INLINE];
};

/* data may be NULL when len is 0. The arena must outlive what is read. */
void json_init(struct json *p, const char *data, size_t len, struct arena *arena);

enum json_token json_next(struct json *p);
/* The token that json_next would give, as far as its first byte tells: for a
 * number JSON_INT. Consumes nothing, reports no error. */
enum json_token json_peek(const struct json *p);
/* Read and drop the next value, checked as strictly as any. False: error. */
bool json_skip(struct json *p) EG_MUST_USE;
/* Read on until only `depth` levels are open, e.g. to leave a batch item in
 * which a field was wrong. False: error. */
bool json_leave(struct json *p, unsigned depth) EG_MUST_USE;

/* Read an array of at most max numbers as f32; to be called where json_next
 * would give JSON_ARRAY. *n is how many there were. EG_E_OK; EG_E_INPUT with f
 * filled when an item is no number, is not finite as f32, or there are too
 * many (the parser is then inside the array: json_leave goes on behind it);
 * EG_E_REQUEST for broken JSON (the parser's error).
 * About 13 ns for a number of nine digits, 15 for one of seventeen. */
enum err json_floats(struct json *p, float *out, size_t max, size_t *n, struct fault *f) EG_MUST_USE;

/* Was the latest token an error? Then nothing more comes. */
static inline bool json_broken(const struct json *p) { return p->token == JSON_ERROR; }

/* Byte offset in the input of the latest token. */
size_t json_offset(const struct json *p);

/* A decimal number as in JSON at text[0..len), all of it, to the nearest
 * double, whatever the locale. False: no JSON number, or not finite. */
bool json_number(const char *text, size_t len, double *out) EG_MUST_USE;

#endif
