/* The target of a request: from the raw bytes of the request line to a decoded
 * path and decoded parameters. Own code, because libmicrohttpd's decoder turns
 * %00, %2f and dot segments into paths that mean something else to a proxy.
 */
#ifndef API_TARGET_H
#define API_TARGET_H

#include "workers/api/http.h"

struct target {
	struct text authority;         /* of an absolute target; at == NULL otherwise */
	struct text path;
	struct param *query;           /* room for EG_QUERY_PARAMS */
	unsigned n_query;
};

/* Decode raw (changed in place; len bytes and a NUL behind) into t, whose query
 * the caller has set. Refused with EG_E_REQUEST: bad escapes, %00, %2f, controls,
 * invalid UTF-8, dot segments, spaces, '#', anything that starts neither with '/'
 * nor with "http://". */
enum err target_parse(struct target *t, char *raw, size_t len, struct fault *f) EG_MUST_USE;

/* The one of names (ended by NULL) that is nearest to text by edits; NULL when there is none. */
const char *target_nearest(const char *text, const char *const names[]);

#endif
