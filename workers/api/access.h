/* The access log and the log of slow requests. Neither holds contents: of a
 * request's target only the path is written. */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "workers/api/http.h"

/* Open, or open anew (reload, USR1), [monitoring] access_log. "" closes it. */
enum err access_open(const char *file, struct fault *f) EG_MUST_USE;
/* r is being answered with that many bytes. */
void access_note(const struct request *r, size_t bytes);

#endif
