/* The table of routes.def, and the search in it. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "workers/api/http.h"

/* Every handler that a row names. */
#define X(method, path, handler, pool, flags, summary) handler_fn handler;
#include "workers/api/routes.def"
#undef X

/* The table; *n is the number of rows. */
const struct route *routes_all(unsigned *n);
const char *method_name(enum method m);

/* Set r->route, r->method and r->path_param for r->path; or answer 404 (naming
 * the nearest path) or 405 (with Allow) and return the error. */
enum err routes_find(struct request *r, const char *method);

#endif
