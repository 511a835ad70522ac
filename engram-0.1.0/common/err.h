/* Errors that may travel between rooms, as values.
 *
 * A programmer's error is none of these: it stops the process (EG_ASSERT).
 * An operating error is a value that must be looked at (warn-unused-result),
 * logged once, where it is handled.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

enum err {
#define X(name, http, code, grpc, retry, text) EG_E_##name,
#include "common/err.def"
#undef X
	EG_E_COUNT
};

#define EG_MUST_USE __attribute__((warn_unused_result))
#define EG_PRINTF(f, a) __attribute__((format(printf, f, a)))

int err_http(enum err e);            /* HTTP status */
const char *err_code(enum err e);    /* wire code, static */
const char *err_text(enum err e);    /* default message, static */
int err_grpc(enum err e);            /* google.rpc.Code */
int err_retry_seconds(enum err e);   /* Retry-After, 0 = none */

/* An error with what a user needs to mend it. `field` names the input field,
 * `message` says what is wrong, with the limit. Filled by err_set(). */
struct fault {
	enum err err;
	char field[64];
	char limit[32];
	char message[256];
};

/* Fill f (which may be NULL) and return e. field, limit may be NULL. */
enum err err_set(struct fault *f, enum err e, const char *field, const char *limit,
                 const char *fmt, ...) EG_PRINTF(5, 6);

/* Stop on a programmer's error; kept in release builds. */
#define EG_ASSERT(c) ((c) ? (void)0 : err_assert(#c, __FILE__, __LINE__))
void err_assert(const char *what, const char *file, int line) __attribute__((noreturn));

#endif
