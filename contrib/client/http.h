/* HTTP for the commands: one request, one reply, and what an error reply means.
 *
 * Only the URL that was given is talked to: no proxy, no redirect, no protocol
 * but HTTP(S). A command that needs several requests under way at a time
 * (import) prepares easy handles here and drives them itself.
 */
#ifndef CONTRIB_CLIENT_HTTP_H
#define CONTRIB_CLIENT_HTTP_H

#include <curl/curl.h>
#include <jansson.h>

#include "common/buf.h"
#include "contrib/client/client.h"

struct reply {
	long status;                           /* of HTTP */
	unsigned retry_after_s;                /* 0 = the server did not say */
	struct buf body;
	char trouble[CURL_ERROR_SIZE];         /* when there was no answer */
};

void reply_init(struct reply *r);
void reply_free(struct reply *r);

/* The headers of every request (JSON, key, space); freed by the caller with
 * curl_slist_free_all. NULL: out of memory. */
struct curl_slist *http_headers(const struct client *c, bool with_body);
/* Make h ready to send one request whose answer goes to r. path begins with a
 * slash; body may be NULL and must live until the answer is there. False: out
 * of memory or a URL that libcurl refuses. */
bool http_prepare(CURL *h, const struct client *c, const char *method, const char *path,
                  struct curl_slist *headers, const char *body, size_t len, struct reply *r) EG_MUST_USE;

/* One request. Whatever the server answered, EX_OK; EX_UNAVAILABLE after a
 * message when there was no answer. body may be NULL. */
int http_call(const struct client *c, const char *method, const char *path, const json_t *body,
              struct reply *r);
/* The same, and an answer other than 2xx is reported and made an exit status. */
int http_expect(const struct client *c, const char *method, const char *path, const json_t *body,
                struct reply *r);
/* What most commands do: http_expect, then with --json the answer is printed as
 * it came and *json stays NULL; else it is *json, to be decref'ed. */
int http_ask(const struct client *c, const char *method, const char *path, const json_t *body,
             json_t **json);
/* Print an error reply (message, field, limit, suggestion) to stderr, with
 * --json as it came; returns the exit status for it. */
int http_report(const struct client *c, const struct reply *r);
int http_exit_status(long status);
/* JSON of a reply; NULL after a message. */
json_t *http_parse(const struct reply *r);

/* "/api/v1/..." with name=value pairs behind it, escaped. */
void http_path(struct buf *b, const char *path);
void http_path_part(struct buf *b, const char *text);         /* adds "/text" */
void http_query(struct buf *b, const char *name, const char *value);

#endif
