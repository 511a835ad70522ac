/* See http.h and http_flow.h: requests between libmicrohttpd and the handlers.
 *
 *   on_target     request line read: a request object begins
 *   on_request    first call: guard, target, route; then the body in pieces; last
 *                 call: run in this loop, or suspended and given to a pool
 *   http_run      the handler (or finish), in whatever thread
 *   http_returned back in the loop: resumed, or waiting for tickets
 *   on_request    called again: the answer is queued
 *   on_completed  the answer is out, or the client is gone
 */
#include "workers/api/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "workers/api/access.h"
#include "workers/api/conn.h"
#include "workers/api/health.h"
#include "workers/api/http_flow.h"
#include "workers/api/routes.h"
#include "workers/api/target.h"
#include "workers/api/wait.h"

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_AWAY, PHASE_READY, PHASE_ANSWERED };

enum {
	LIBRARY_BYTES = 16 * 1024,           /* its memory for a connection: the head and its records; it wipes all of it each time */
	READ_BYTES = 4096,             /* growth of the library's read buffer */
	ARENA_FIRST = 16 * 1024,
	ARENA_SPARE = 64 << 20,        /* beside four times the largest body */
	BODY_FIRST = 64 * 1024,        /* of a chunked body; doubled as needed */
	BODY_DROPPED = 1 << 20,        /* read beyond the limit, so that a client can see the 413 */
	IDLE_REQUESTS = 64,            /* objects kept for reuse */
};

/* ---- request objects */

static size_t body_limit(const struct request *r)
{
	return (size_t)r->config->limits_body_mb << 20;
}

static struct request *request_begin(struct loop *l)
{
	struct request *r = l->idle;

	if (r) {
		l->idle = r->next;
		l->n_idle--;
	} else {
		r = calloc(1, sizeof *r);
		if (!r)
			return NULL;
		arena_init(&r->arena, ARENA_FIRST, 0);
		buf_init(&r->out, EG_REPLY_MAX);
	}
	r->loop = l;
	r->hold = l->hold;
	config_hold_get(r->hold);
	r->config = r->hold->config;
	r->arena.limit_bytes = ARENA_SPARE + 4 * body_limit(r);
	r->begin_ns = l->now_ns;
	r->deadline_ms = l->now_ms + r->config->limits_request_seconds * 1000;
	return r;
}

static void request_end(struct request *r)
{
	struct loop *l = r->loop;
	struct arena arena = r->arena;
	struct buf out = r->out;

	wait_forget(r, r->n_tickets);
	config_hold_put(r->hold);
	if (l->n_idle == IDLE_REQUESTS) {
		arena_fini(&arena);
		buf_free(&out);
		free(r);
		return;
	}
	arena_reset(&arena);
	buf_free(&out);
	memset(r, 0, offsetof(struct request, query));
	memset(&r->n_query, 0, offsetof(struct request, ticket) - offsetof(struct request, n_query));
	memset(&r->n_tickets, 0, sizeof *r - offsetof(struct request, n_tickets));
	r->arena = arena;
	r->out = out;
	r->next = l->idle;
	l->idle = r;
	l->n_idle++;
}

/* ---- the answer */

static bool must_close(const struct request *r)
{
	return r->close || atomic_load_explicit(&r->loop->service->drain, memory_order_relaxed) != DRAIN_NO;
}

static bool add_headers(struct MHD_Response *m, const struct request *r)
{
	bool ok = MHD_add_response_header(m, "Content-Type", r->type ? r->type : "application/json") == MHD_YES &&
	          MHD_add_response_header(m, "X-Content-Type-Options", "nosniff") == MHD_YES;

	for (unsigned i = 0; ok && i < r->n_extra; i++)
		ok = MHD_add_response_header(m, r->extra[i].name, r->extra[i].value) == MHD_YES;
	if (ok && must_close(r))
		ok = MHD_add_response_header(m, "Connection", "close") == MHD_YES;
	return ok;
}

/* The bytes of r->out go to the library, which frees them. */
static struct MHD_Response *make_response(struct request *r)
{
	static char nothing[1];
	struct MHD_Response *m;

	if (!r->out.data)
		m = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	else
		m = MHD_create_response_from_buffer_with_free_callback(r->out.len, r->out.data, free);
	if (!m)
		return NULL;
	buf_init(&r->out, EG_REPLY_MAX);
	if (add_headers(m, r))
		return m;
	MHD_destroy_response(m);
	return NULL;
}

static void count_answer(const struct request *r)
{
	enum operation op = r->route ? (enum operation)(r->route->flags >> 8) : OPERATION_OTHER;
	static const enum metric ops[] = {
#define X(name) M_OP_##name,
		EG_OPERATIONS(X)
#undef X
	}, errors[] = {
#define X(name) M_ERR_##name,
		EG_OPERATIONS(X)
#undef X
	}, times[] = {
#define X(name) M_TIME_##name,
		EG_OPERATIONS(X)
#undef X
	};

	metric_add(ops[op], 1);
	if (r->status >= 400)
		metric_add(errors[op], 1);
	if (op == OPERATION_RECALL)
		metric_add(M_RECALLS, 1);
	else if (op == OPERATION_REMEMBER || op == OPERATION_BATCH)
		metric_add(M_STORES, 1);
	metric_add(r->status < 400 ? M_HTTP_2XX : r->status < 500 ? M_HTTP_4XX : M_HTTP_5XX, 1);
	metric_observe_ns(times[op], (uint64_t)((r->canned ? r->loop->now_ns : clock_mono_ns()) - r->begin_ns));
}

static enum MHD_Result answer(struct request *r)
{
	struct MHD_Response *m = NULL;
	enum MHD_Result done;
	size_t bytes = r->out.len;

	EG_ASSERT(r->status);
	r->phase = PHASE_ANSWERED;
	conn_phase(r->conn, CONN_SEND);
	count_answer(r);
	if (r->canned)
		return MHD_queue_response(r->connection, (unsigned)r->status, must_close(r) ? r->loop->alive_close : r->loop->alive);
	access_note(r, bytes);
	m = make_response(r);
	if (!m)
		return MHD_NO;
	done = MHD_queue_response(r->connection, (unsigned)r->status, m);
	MHD_destroy_response(m);
	return done;
}

/* One answer, then the connection ends: what follows cannot be trusted. */
static enum MHD_Result reject(struct request *r, const struct fault *f, const char *suggestion)
{
	reply_fault(r, f, suggestion);
	r->close = true;
	return answer(r);
}

/* ---- running */

void http_run(struct request *r, struct worker_thread *t)
{
	unsigned n = r->n_tickets;
	enum verdict v = n ? r->finish(r, t) : r->route->handler(r, t);

	if (v == REPLIED) {
		EG_ASSERT(r->status);
		wait_forget(r, r->n_tickets);
		return;
	}
	EG_ASSERT(!r->status && r->finish && r->n_tickets > n);
	wait_forget(r, n);
}

static void run_in_pool(struct work *w, void *thread)
{
	struct request *r = (struct request *)((char *)w - offsetof(struct request, work));

	http_run(r, thread);
	loop_return(r);
}

bool http_returned(struct request *r)
{
	if (!r->status) {
		wait_add(r);
		return false;
	}
	r->phase = PHASE_READY;
	MHD_resume_connection(r->connection);
	return true;
}

/* The writer has given the mapped store up and serves another one by now: what is
 * seen here is history, though this process has yet to notice (worker.c). */
static bool is_history(const struct service *s)
{
	return atomic_load(&s->state) == SERVICE_READY && !store_is_current(&s->store, s->desks)
	       && atomic_load_explicit(&desk_wal(s->desks)->state, memory_order_acquire) == EG_WAL_RUNNING;
}

static enum MHD_Result dispatch(struct request *r)
{
	struct service *s = r->loop->service;

	conn_phase(r->conn, CONN_WORK);
	r->body = r->incoming;
	if (!(r->route->flags & ROUTE_EARLY) && atomic_load(&s->state) != SERVICE_READY && !s->attach(s)) {
		reply_error(r, EG_E_WRITER, NULL, NULL, "the server is starting: the store is not there yet");
		return answer(r);
	}
	if (!(r->route->flags & ROUTE_EARLY) && is_history(s)) {
		reply_error(r, EG_E_WRITER, NULL, NULL, "the store was built anew: ask again in a moment");
		return answer(r);
	}
	if (r->route->pool == POOL_INLINE) {
		http_run(r, &r->loop->thread);
		if (r->status)
			return answer(r);
		wait_add(r);
	} else {
		r->work.run = run_in_pool;
		if (!s->push(s, r->route->pool, &r->work, false)) {
			reply_error(r, EG_E_OVERLOADED, NULL, NULL, "too many requests wait for a thread");
			return answer(r);
		}
	}
	r->phase = PHASE_AWAY;
	MHD_suspend_connection(r->connection);
	return MHD_YES;
}

/* ---- the body */

static enum MHD_Result body_part(struct request *r, const char *data, size_t *n)
{
	size_t limit = body_limit(r), len = *n;
	char *more;

	*n = 0;
	r->conn->awaits_body = false;
	r->body_bytes += len;
	if (r->body_bytes > limit)     /* chunked: too late to refuse it, so it is dropped for a while */
		return r->body_bytes > limit + BODY_DROPPED ? MHD_NO : MHD_YES;
	if (r->body_bytes > r->incoming_cap) {
		size_t cap = r->incoming_cap ? 2 * r->incoming_cap : BODY_FIRST;
		if (cap < r->body_bytes)
			cap = r->body_bytes;
		more = arena_alloc(&r->arena, cap);
		if (!more)
			return MHD_NO;
		if (r->incoming)
			memcpy(more, r->incoming, r->body_bytes - len);
		r->incoming = more;
		r->incoming_cap = cap;
	}
	memcpy(r->incoming + r->body_bytes - len, data, len);
	return MHD_YES;
}

static enum MHD_Result body_end(struct request *r)
{
	struct fault f;

	if (r->body_bytes <= body_limit(r))
		return dispatch(r);
	err_set(&f, EG_E_TOO_LARGE, "body", NULL, "the body is larger than %d MiB", (int)r->config->limits_body_mb);
	snprintf(f.limit, sizeof f.limit, "%d MiB", (int)r->config->limits_body_mb);
	return reject(r, &f, NULL);
}

/* ---- the head */

struct fields { struct guard *guard; struct request *request; };

static enum MHD_Result on_field(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_bytes,
                                const char *value, size_t value_bytes)
{
	const struct fields *f = arg;
	(void)kind;

	guard_field(f->guard, f->request, name, name_bytes, value ? value : "", value ? value_bytes : 0);
	return MHD_YES;
}

/* The walk needs to know where libmicrohttpd leaves the bytes of the head; that
 * is so in 0.9.7x, the releases of Debian 12. */
static bool library_is_known(void)
{
	return !strncmp(MHD_get_version(), "0.9.7", 5);
}

static enum err check_head(struct request *r, struct guard *g, const char *method, const char *version)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct fields fields = { g, r };
	const char *raw = r->target;

	/* on_target left the place of the raw target; from now on it is our copy. */
	r->target = arena_strndup(&r->arena, r->path.at, r->target_bytes);
	guard_begin(g, version, info && library_is_known() ? method : NULL, info ? info->header_size : 0, raw, r->target_bytes);
	MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, on_field, &fields);
	if (guard_end(g))
		return g->fault.err;
	if (g->n_host && !guard_hosts_allow(&r->hold->hosts, g->host.at, g->host.len))
		return err_set(&g->fault, EG_E_REQUEST, "Host", NULL, "Host names another server");
	return EG_E_OK;
}

static enum err check_target(struct request *r, struct guard *g)
{
	struct target t = { .query = r->query };
	char *copy = arena_strndup(&r->arena, r->path.at, r->target_bytes);
	enum err e;

	if (!copy || !r->target)
		return err_set(&g->fault, EG_E_HEADERS, NULL, NULL, "the request's head is too large");
	if ((e = target_parse(&t, copy, r->target_bytes, &g->fault)))
		return e;
	if (t.authority.at && (t.authority.len != g->host.len || strncasecmp(t.authority.at, g->host.at, t.authority.len)))
		return err_set(&g->fault, EG_E_REQUEST, "target", NULL, "the request target names another server than Host");
	r->path = t.path;
	r->n_query = t.n_query;
	return EG_E_OK;
}

static enum err check_body(struct request *r, struct guard *g)
{
	enum err e;

	r->chunked = g->n_coding > 0;
	if (!r->chunked && !g->content_length)
		return EG_E_OK;
	if (!(r->route->flags & ROUTE_BODY))
		return err_set(&g->fault, EG_E_REQUEST, "body", NULL, "this route takes no body");
	if ((e = guard_body(g, body_limit(r))))
		return e;
	if (r->chunked)
		return EG_E_OK;
	r->incoming_cap = (size_t)g->content_length;
	r->incoming = arena_alloc(&r->arena, r->incoming_cap);
	return r->incoming ? EG_E_OK : err_set(&g->fault, EG_E_OVERLOADED, NULL, NULL, "there is no memory for the body");
}

static enum err check_accept(struct request *r)
{
	bool text = r->route->flags & ROUTE_TEXT;
	const char *type = text ? "text/plain" : "application/json";

	if (guard_accepts(&r->header[HEADER_ACCEPT], type))
		return EG_E_OK;
	reply_error(r, EG_E_ACCEPT, "Accept", type, "this route answers with %s, which Accept excludes", type);
	return EG_E_ACCEPT;
}

static const char *advice(const struct guard *g)
{
	return !strcmp(g->fault.field, "Host") ? "use a listening address, localhost, or a name listed in server.allowed_hosts" : NULL;
}

/* The library ends a connection whose answer is queued in this first call, so
 * that only what must end is answered here; the rest waits for the last call. */
static enum MHD_Result head(struct request *r, const char *method, const char *version)
{
	struct guard g;

	if (check_head(r, &g, method, version) || check_target(r, &g))
		return reject(r, &g.fault, advice(&g));
	if (routes_find(r, method) || check_accept(r)) {
		if (g.n_coding || g.content_length)
			return answer(r);
		r->phase = PHASE_READY;
		return MHD_YES;
	}
	if (check_body(r, &g))
		return reject(r, &g.fault, NULL);
	r->phase = PHASE_BODY;
	if (r->chunked || r->incoming) {
		conn_phase(r->conn, CONN_BODY);
		conn_await_body(r->conn);
	}
	return MHD_YES;
}

/* ---- called by libmicrohttpd */

/* The library makes a record of each parameter, from the memory that the headers
 * need, and gets lost when that runs out (no answer, no close). We have our own
 * copy, so it may see one parameter only. */
static void hide_parameters(char *target)
{
	for (char *at = strchr(target, '?'); at && *at; at++)
		if (*at == '&')
			*at = '.';
}

static void *on_target(void *loop, const char *target, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct request *r;

	if (!info || !info->socket_context || !(r = request_begin(loop)))
		return NULL;
	r->conn = info->socket_context;
	r->connection = c;
	if (r->conn->phase == CONN_IDLE)
		conn_phase(r->conn, CONN_HEAD);
	/* The library is about to cut the target at '?', '&' and '='. */
	r->target_bytes = target ? strlen(target) : 0;
	r->path.at = arena_strndup(&r->arena, target ? target : "", r->target_bytes);
	union { const char *in; char *out; } place = { target };
	r->target = place.out;         /* its place, for the guard; replaced by a copy there */
	if (!r->path.at) {
		request_end(r);
		return NULL;
	}
	if (r->target)
		hide_parameters(r->target);
	return r;
}

/* Decoding is target.c's. */
static size_t leave_alone(void *arg, struct MHD_Connection *c, char *text)
{
	(void)arg, (void)c;
	return strlen(text);
}

static enum MHD_Result on_request(void *loop, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_bytes, void **context)
{
	struct request *r = *context;
	(void)loop, (void)c, (void)url;

	if (!r)
		return MHD_NO;
	switch ((enum phase)r->phase) {
	case PHASE_HEAD:
		return head(r, method, version);
	case PHASE_BODY:
		return *data_bytes ? body_part(r, data, data_bytes) : body_end(r);
	case PHASE_READY:
		return answer(r);
	case PHASE_AWAY:
	case PHASE_ANSWERED:
		break;
	}
	*data_bytes = 0;
	return MHD_YES;
}

static void on_completed(void *loop, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode how)
{
	struct request *r = *context;
	(void)loop, (void)c, (void)how;

	if (!r)
		return;
	*context = NULL;
	if (r->conn->phase != CONN_CUT)
		conn_phase(r->conn, CONN_IDLE);
	request_end(r);
}

static void on_message(void *arg, const char *fmt, va_list args)
{
	char text[512];
	(void)arg;

	vsnprintf(text, sizeof text, fmt, args);
	text[strcspn(text, "\n")] = '\0';
	LOG_DEBUG("libmicrohttpd: %s", text);
}

/* ---- life */

static struct MHD_Response *canned_response(bool close)
{
	static const char body[] = EG_ALIVE_BODY;
	union { const char *in; void *out; } b = { body };
	struct MHD_Response *m = MHD_create_response_from_buffer(sizeof body - 1, b.out, MHD_RESPMEM_PERSISTENT);

	if (m && MHD_add_response_header(m, "Content-Type", "application/json") == MHD_YES &&
	    MHD_add_response_header(m, "X-Content-Type-Options", "nosniff") == MHD_YES &&
	    (!close || MHD_add_response_header(m, "Connection", "close") == MHD_YES))
		return m;
	if (m)
		MHD_destroy_response(m);
	return NULL;
}

enum err http_open(struct loop *l, struct fault *f)
{
	unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (!library_is_known() && l->number == 0)
		LOG_WARN("libmicrohttpd %s is not known: bare LF, folded lines and NUL in headers are not refused", MHD_get_version());
	/* Our own limits (conn.c) are below this one: above its limit the library lets clients wait. */
	l->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, l,
		MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
		MHD_OPTION_CONNECTION_LIMIT, 1u << 30,
		MHD_OPTION_CONNECTION_TIMEOUT, 0u,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIBRARY_BYTES,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)READ_BYTES,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, l,
		MHD_OPTION_UNESCAPE_CALLBACK, leave_alone, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, l,
		MHD_OPTION_NOTIFY_CONNECTION, conn_notify, l,
		MHD_OPTION_END);
	l->alive = canned_response(false);
	l->alive_close = canned_response(true);
	if (!l->daemon || !l->alive || !l->alive_close)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "cannot start libmicrohttpd");
	return EG_E_OK;
}

void http_close(struct loop *l)
{
	if (l->daemon)
		MHD_stop_daemon(l->daemon);
	if (l->alive)
		MHD_destroy_response(l->alive);
	if (l->alive_close)
		MHD_destroy_response(l->alive_close);
	for (struct request *r = l->idle, *next; r; r = next) {
		next = r->next;
		arena_fini(&r->arena);
		buf_free(&r->out);
		free(r);
	}
	l->idle = NULL;
}
