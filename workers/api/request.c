/* Reading a request: see http.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "shm/space.h"
#include "workers/api/http.h"
#include "workers/api/target.h"

const struct text *request_query(const struct request *r, const char *name)
{
	for (unsigned i = 0; i < r->n_query; i++)
		if (!strcmp(r->query[i].name.at, name))
			return &r->query[i].value;
	return NULL;
}

static bool listed(const char *const names[], const char *name)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

enum err request_query_check(const struct request *r, const char *const names[], struct fault *f)
{
	for (unsigned i = 0; i < r->n_query; i++) {
		const char *name = r->query[i].name.at;
		if (strcmp(name, "space") && !listed(names, name)) {
			const char *near = target_nearest(name, names);
			return err_set(f, EG_E_REQUEST, name, NULL, "unknown query parameter %.64s; the nearest known one is %s",
			               name, near ? near : "space");
		}
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(r->query[j].name.at, name))
				return err_set(f, EG_E_REQUEST, name, NULL, "query parameter %.64s is given twice", name);
	}
	return EG_E_OK;
}

/* One more place that names the space: valid, and the same as before. */
static enum err take_space(struct text *out, const struct text *given, const char *where, struct fault *f)
{
	if (!given || !given->at)
		return EG_E_OK;
	if (!space_valid_id(given->at, given->len))
		return err_set(f, EG_E_REQUEST, where, "[a-z0-9][a-z0-9_-]{0,62}",
		               "the name of the memory space in %s must be 1 to 63 of a-z, 0-9, '_' and '-', starting with a letter or digit", where);
	if (out->at && (out->len != given->len || memcmp(out->at, given->at, out->len)))
		return err_set(f, EG_E_REQUEST, where, NULL, "two different memory spaces are named: %.*s, and in %s %.*s",
		               (int)out->len, out->at, where, (int)given->len, given->at);
	if (!out->at)
		*out = *given;
	return EG_E_OK;
}

enum err request_space(const struct request *r, const struct text *body, struct text *out, struct fault *f)
{
	enum err e;

	*out = (struct text){ NULL, 0 };
	if ((e = take_space(out, &r->header[HEADER_SPACE], "X-Memory-Space", f)) ||
	    (e = take_space(out, &r->header[HEADER_SPACE_ID], "X-Memory-Space-Id", f)) ||
	    (e = take_space(out, &r->header[HEADER_SPACE_ENGRAM], "X-Engram-Memory-Space", f)) ||
	    (e = take_space(out, request_query(r, "space"), "space", f)) ||
	    (e = take_space(out, body, "memory_space_id", f)))
		return e;
	if (!out->at)
		*out = (struct text){ r->config->memory_spaces_default_space, strlen(r->config->memory_spaces_default_space) };
	return EG_E_OK;
}

enum err request_durable(const struct request *r, bool *durable, struct fault *f)
{
	const struct text *t = &r->header[HEADER_DURABILITY];

	*durable = false;
	if (!t->at)
		return EG_E_OK;
	if (t->len == 9 && !strncasecmp(t->at, "immediate", 9)) {
		*durable = true;
		return EG_E_OK;
	}
	return err_set(f, EG_E_REQUEST, "X-Durability", "immediate", "X-Durability (durability of this request) may only be strengthened: immediate");
}
