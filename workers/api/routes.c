/* See routes.h. */
#include "workers/api/routes.h"

#include <string.h>

#include "workers/api/target.h"

static const struct route routes[] = {
#define X(method, path, handler, pool, flags, summary) \
	{ HTTP_##method, path, handler, POOL_##pool, flags, summary, #handler },
#include "workers/api/routes.def"
#undef X
};
enum { ROUTES = sizeof routes / sizeof *routes };

static const char *const methods[HTTP_METHODS] = {
	[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT",
	[HTTP_DELETE] = "DELETE", [HTTP_PATCH] = "PATCH", [HTTP_OPTIONS] = "OPTIONS",
};

const struct route *routes_all(unsigned *n)
{
	*n = ROUTES;
	return routes;
}

const char *method_name(enum method m)
{
	return methods[m];
}

static enum method method_of(const char *name)
{
	enum method m = 0;

	while (m < HTTP_METHODS && strcmp(methods[m], name))
		m++;
	return m;
}

/* How well path fits: 0 not at all, 1 through {..}, 2 exactly. */
static int fit(const struct route *route, const struct text *path, struct text params[EG_PATH_PARAMS])
{
	const char *want = route->path, *have = path->at;
	unsigned n = 0;

	if (!strcmp(want, have))
		return strchr(want, '{') ? 0 : 2;
	for (; *want && *have; want++, have++) {
		if (*want == '{') {
			size_t len = strcspn(have, "/");
			if (!len)
				return 0;
			params[n++] = (struct text){ have, len };
			have += len - 1;
			want += strcspn(want, "}");
		} else if (*want != *have) {
			return 0;
		}
	}
	return n && !*want && !*have;
}

static enum err not_found(struct request *r)
{
	const char *paths[ROUTES + 1], *near;
	struct fault f;
	char suggestion[160];

	for (unsigned i = 0; i < ROUTES; i++)
		paths[i] = routes[i].path;
	paths[ROUTES] = NULL;
	near = target_nearest(r->path.at, paths);
	err_set(&f, EG_E_NO_RESOURCE, "path", NULL, "there is no route %.200s", r->path.at);
	snprintf(suggestion, sizeof suggestion, "the nearest route is %s", near);
	reply_fault(r, &f, suggestion);
	return EG_E_NO_RESOURCE;
}

static enum err wrong_method(struct request *r, unsigned allowed)
{
	char list[64] = "";

	for (enum method m = 0; m < HTTP_METHODS; m++) {
		if (!(allowed >> m & 1))
			continue;
		strcat(list, *list ? ", " : "");
		strcat(list, methods[m]);
	}
	reply_error(r, EG_E_METHOD, "method", list, "this route takes %s only", list);
	reply_header(r, "Allow", "%s", list);
	return EG_E_METHOD;
}

/* A path parameter points into the path, where no NUL follows it. */
static enum err keep_params(struct request *r, const struct text params[EG_PATH_PARAMS])
{
	for (unsigned i = 0; i < EG_PATH_PARAMS && params[i].at; i++) {
		r->path_param[i].at = arena_strndup(&r->arena, params[i].at, params[i].len);
		r->path_param[i].len = params[i].len;
		if (!r->path_param[i].at) {
			reply_error(r, EG_E_URI, NULL, NULL, "the path is too long");
			return EG_E_URI;
		}
	}
	return EG_E_OK;
}

enum err routes_find(struct request *r, const char *method)
{
	struct text best_params[EG_PATH_PARAMS] = { { NULL, 0 } };
	const struct route *best = NULL;
	unsigned allowed = 0;
	int best_fit = 0;
	enum method wanted;

	r->method = method_of(method);
	wanted = r->method == HTTP_HEAD ? HTTP_GET : r->method;
	for (unsigned i = 0; i < ROUTES; i++) {
		struct text params[EG_PATH_PARAMS] = { { NULL, 0 } };
		int f = fit(&routes[i], &r->path, params);
		if (!f || f < best_fit)
			continue;
		if (f > best_fit) {    /* a static path hides those with {..} */
			best = NULL;
			allowed = 0;
			best_fit = f;
		}
		allowed |= 1u << routes[i].method | (routes[i].method == HTTP_GET) << HTTP_HEAD;
		if (routes[i].method == wanted) {
			best = &routes[i];
			memcpy(best_params, params, sizeof params);
			if (f == 2)
				break;
		}
	}
	if (!best_fit)
		return not_found(r);
	if (!best)
		return wrong_method(r, allowed);
	r->route = best;
	return keep_params(r, best_params);
}
