/* Answers: see http.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "workers/api/http.h"

/* What to do about an error, where the handler knows nothing better. */
static const char *const suggestions[EG_E_COUNT] = {
	[EG_E_INPUT] = "mend the field that is named and send the request again",
	[EG_E_REQUEST] = "mend what is named and send the request again",
	[EG_E_DIMENSION] = "send an embedding of the space's dimension, or use another space",
	[EG_E_UNAUTHORIZED] = "send a key: Authorization: Bearer KEY",
	[EG_E_FORBIDDEN] = "use a key that has this scope and space",
	[EG_E_NOT_FOUND] = "check the id and the memory space",
	[EG_E_NO_BELIEF] = "list what there is with GET /api/v1/consolidations",
	[EG_E_NO_RESOURCE] = "check the path",
	[EG_E_NO_SPACE] = "list the spaces with GET /api/v1/spaces, or store into it first",
	[EG_E_METHOD] = "use one of the methods in Allow",
	[EG_E_ACCEPT] = "accept the media type that limit names, or */*",
	[EG_E_TIMEOUT] = "give a larger budget, or narrow the query",
	[EG_E_CONFLICT] = "read the present state and decide again",
	[EG_E_COMPACTING] = "try again when it has ended",
	[EG_E_EMBEDDER] = "use the space with its own embedder, or re-embed it",
	[EG_E_PRECONDITION] = "read the memory again and send its present version",
	[EG_E_TOO_LARGE] = "send less at a time, or raise limits.body_mb",
	[EG_E_URI] = "send the parameters in a body",
	[EG_E_MEDIA] = "send JSON in UTF-8 with Content-Type: application/json",
	[EG_E_VALIDATION] = "mend what is named and send the request again",
	[EG_E_RATE] = "wait as long as Retry-After says",
	[EG_E_QUOTA] = "forget what is not needed, or raise the space's quota",
	[EG_E_HEADERS] = "send fewer or shorter headers",
	[EG_E_INTERNAL] = "look into the server's log",
	[EG_E_LATER] = "this is a single server",
	[EG_E_OVERLOADED] = "wait as long as Retry-After says",
	[EG_E_WRITER] = "wait as long as Retry-After says; storing with an id again is harmless",
	[EG_E_READ_ONLY] = "see the server's log for the reason",
	[EG_E_NO_STORAGE] = "make room on the device of server.data_dir",
};

void reply_header(struct request *r, const char *name, const char *fmt, ...)
{
	struct extra_header *h;
	va_list args;

	EG_ASSERT(r->n_extra < EG_EXTRA_HEADERS);
	h = &r->extra[r->n_extra++];
	h->name = name;
	va_start(args, fmt);
	vsnprintf(h->value, sizeof h->value, fmt, args);
	va_end(args);
}

enum verdict reply_text(struct request *r, int status, const char *type)
{
	if (r->out.failed)
		return reply_error(r, EG_E_INTERNAL, NULL, NULL, "the answer is too large");
	r->status = status;
	r->type = type;
	return REPLIED;
}

enum verdict reply_json(struct request *r, int status)
{
	return reply_text(r, status, NULL);
}

static void member(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, ",\"%s\":", name);
	buf_json_text(b, value);
}

void reply_envelope(struct buf *b, const struct fault *f, const char *suggestion)
{
	EG_ASSERT(f->err != EG_E_OK && f->err < EG_E_COUNT);
	if (!suggestion)
		suggestion = suggestions[f->err] ? suggestions[f->err] : "see the documentation";
	buf_puts(b, "{\"error\":{\"code\":");
	buf_json_text(b, err_code(f->err));
	member(b, "message", *f->message ? f->message : err_text(f->err));
	if (*f->field)
		member(b, "field", f->field);
	if (*f->limit)
		member(b, "limit", f->limit);
	member(b, "suggestion", suggestion);
	buf_puts(b, "}}");
}

enum verdict reply_fault(struct request *r, const struct fault *f, const char *suggestion)
{
	int retry = err_retry_seconds(f->err);

	buf_reset(&r->out);
	reply_envelope(&r->out, f, suggestion);
	r->err = f->err;
	r->status = err_http(f->err);
	r->type = NULL;
	r->n_extra = 0;
	if (retry)
		reply_header(r, "Retry-After", "%d", retry);
	return REPLIED;
}

enum verdict reply_error(struct request *r, enum err e, const char *field, const char *limit, const char *fmt, ...)
{
	struct fault f;
	char message[sizeof f.message];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	err_set(&f, e, field, limit, "%s", message);
	return reply_fault(r, &f, NULL);
}
