/* The strict check of a request's head, before anything else looks at it.
 *
 * libmicrohttpd 0.9.75 reads leniently: it accepts two Content-Length headers,
 * Content-Length beside Transfer-Encoding, bare LF, folded lines, NUL in values
 * and spaces before the colon, and each of these is a way to make a proxy and a
 * server see different requests. What it cannot be told, the guard finds out.
 *
 * The library parses in place: it replaces the bytes that end a token (blank,
 * colon, CR, LF) by NUL and leaves the rest where it was. So the guard walks the
 * head from the version to the empty line and demands that each header starts
 * where the one before has ended: name, colon, value, CR and LF. Whatever the
 * library skipped, cut or moved shows as a gap.
 *
 * Called by http.c once for each request, and by its unit test.
 */
#ifndef API_GUARD_H
#define API_GUARD_H

#include "workers/api/http.h"

struct guard {
	const char *at, *end;          /* walk through the raw head */
	bool walk;                     /* the head's bytes are known */
	bool http10;
	unsigned n_host, n_length, n_coding;
	struct text host, length, coding, type, encoding;
	uint64_t content_length;       /* 0 unless n_length */
	struct fault fault;            /* the first one met; err EG_E_OK = none */
};

/* version: the text that ends the request line, NUL behind. head, bytes: where
 * the request line began and how far the empty line reaches; NULL: not known,
 * then only values are checked. target: where the target began, with its length
 * up to the first NUL. */
void guard_begin(struct guard *g, const char *version, const char *head, size_t bytes,
                 const char *target, size_t target_bytes);
/* Each header, in order. Known ones are kept in r->header. */
void guard_field(struct guard *g, struct request *r, const char *name, size_t name_bytes,
                 const char *value, size_t value_bytes);
/* Judge the whole. EG_E_REQUEST or EG_E_OK; g->fault says why. */
enum err guard_end(struct guard *g) EG_MUST_USE;
/* Is the body announced JSON in UTF-8 without encoding, and not over the limit?
 * EG_E_MEDIA, EG_E_TOO_LARGE or EG_E_OK; to be asked after guard_end when the
 * route takes a body and one was announced. */
enum err guard_body(struct guard *g, uint64_t limit_bytes) EG_MUST_USE;

/* May an answer of this media type (without parameters) be sent to a client whose
 * Accept header this is? The range that fits best decides, q=0 excludes (RFC 9110, 12.5.1).
 * No header, or an empty one, takes everything. */
bool guard_accepts(const struct text *accept, const char *type);

/* A token of RFC 9110; no control characters but tabs. */
bool guard_token(const char *at, size_t n);
bool guard_printable(const char *at, size_t n);

/* Names accepted in Host: loopback, the listening addresses, more from the
 * configuration; any address when listening on all of them (only names can be
 * rebound to a loopback address by a foreign page). */
struct guard_hosts {
	char (*names)[256];
	unsigned n;
	bool any_address;
};
enum err guard_hosts_init(struct guard_hosts *h, const struct config *c, struct fault *f) EG_MUST_USE;
void guard_hosts_fini(struct guard_hosts *h);
/* "name", "name:port", "[v6]:port" */
bool guard_hosts_allow(const struct guard_hosts *h, const char *host, size_t n);

#endif
