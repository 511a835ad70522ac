/* The table of errors, and how the process stops on a programmer's error. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
	int http;
	const char *code;
	int grpc;
	int retry;
	const char *text;
} rows[] = {
#define X(name, http, code, grpc, retry, text) { http, code, grpc, retry, text },
#include "common/err.def"
#undef X
};

static const struct row *row(enum err e)
{
	EG_ASSERT((unsigned)e < EG_E_COUNT);
	return &rows[e];
}

int err_http(enum err e) { return row(e)->http; }
const char *err_code(enum err e) { return row(e)->code; }
const char *err_text(enum err e) { return row(e)->text; }
int err_grpc(enum err e) { return row(e)->grpc; }
int err_retry_seconds(enum err e) { return row(e)->retry; }

enum err err_set(struct fault *f, enum err e, const char *field, const char *limit,
                 const char *fmt, ...)
{
	va_list ap;

	if (f == NULL)
		return e;
	f->err = e;
	snprintf(f->field, sizeof f->field, "%s", field ? field : "");
	snprintf(f->limit, sizeof f->limit, "%s", limit ? limit : "");
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof f->message, fmt, ap);
	va_end(ap);
	return e;
}

void err_assert(const char *what, const char *file, int line)
{
	fprintf(stderr, "engram: assertion failed: %s (%s:%d)\n", what, file, line);
	abort();
}
