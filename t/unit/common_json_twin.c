/* Our side of the twins, and the comparison. */
#include "t/unit/common_json_twin.h"

#include "common/json.h"

static bool trace(struct json *p, struct buf *b)
{
	for (;;) {
		enum json_token t = json_next(p);

		switch (t) {
		case JSON_NONE:
		case JSON_ERROR: return false;
		case JSON_END: return true;
		case JSON_NULL: buf_putc(b, 'n'); break;
		case JSON_TRUE: buf_putc(b, 't'); break;
		case JSON_FALSE: buf_putc(b, 'f'); break;
		case JSON_INT: buf_printf(b, "i%lld", (long long)p->integer); break;
		case JSON_DOUBLE: buf_printf(b, "d%a", p->number); break;
		case JSON_STRING: twin_text(b, 's', p->text, p->len); break;
		case JSON_KEY: twin_text(b, 'k', p->text, p->len); break;
		case JSON_ARRAY: buf_putc(b, '['); break;
		case JSON_ARRAY_END: buf_putc(b, ']'); break;
		case JSON_OBJECT: buf_putc(b, '{'); break;
		case JSON_OBJECT_END: buf_putc(b, '}'); break;
		}
	}
}

/* A refusal that jansson does not share: one of our limits. */
static bool limit(const struct fault *f)
{
	return strstr(f->message, "nested deeper") || strstr(f->message, "keys") ||
		strstr(f->message, "longer than") || f->err == EG_E_TOO_LARGE;
}

static const char *compare(struct json *p, size_t len, bool ours, bool theirs, const struct buf *a, const struct buf *b)
{
	if (ours && !theirs)
		return "we accept, jansson refuses";
	if (!ours && theirs)
		return limit(&p->fault) ? NULL : "we refuse, jansson accepts";
	if (!ours)
		return p->fault.message[0] == '\0' || p->fault.err == EG_E_OK || json_offset(p) > len ?
			"no reason given" : NULL;
	if (a->failed || b->failed)
		return "the trace is too long";
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0) ? NULL : "other content";
}

const char *twin_check(const char *data, size_t len, struct arena *arena)
{
	struct buf a, b;
	struct json p;
	const char *why;
	bool ours, theirs;

	buf_init(&a, TWIN_LIMIT);
	buf_init(&b, TWIN_LIMIT);
	arena_reset(arena);
	json_init(&p, data, len, arena);
	ours = trace(&p, &a);
	/* jansson 2.14 loses a NUL byte behind a number; no JSON has one. */
	theirs = memchr(data, '\0', len) == NULL && twin_jansson(data, len, &b);
	why = compare(&p, len, ours, theirs, &a, &b);
	buf_free(&a);
	buf_free(&b);
	return why;
}
