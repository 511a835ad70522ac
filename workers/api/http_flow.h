/* The way of a request through its event loop: what loop.c, wait.c and the pools
 * call. Handlers see http.h only. */
#ifndef API_HTTP_FLOW_H
#define API_HTTP_FLOW_H

#include "workers/api/loop.h"

/* libmicrohttpd's daemon of this loop, without a thread or a listening socket. */
enum err http_open(struct loop *l, struct fault *f) EG_MUST_USE;
void http_close(struct loop *l);
/* Run the handler, or finish, in this thread; afterwards the tickets that finish
 * has seen are forgotten. */
void http_run(struct request *r, struct worker_thread *t);
/* r comes back to its loop: resume its connection (true), or wait for tickets. */
bool http_returned(struct request *r);

#endif
