/* A request and its answer, as route handlers see them.
 *
 * Who does what:
 *   http.c     hands connections to libmicrohttpd, collects the body, queues answers
 *   guard.c    refuses what is malformed or ambiguous before anything else looks
 *   routes.c   finds the row of routes.def, checks method, media type, body flags
 *   pool.c     runs the handler in the pool that the row names
 *   handlers   memories.c, spaces.c, health.c, system.c, prom.c
 *
 * A handler runs once, in a thread of its row's pool, and either
 *   - replies (reply_*()) and returns REPLIED, or
 *   - pushes changes to the thread's lane, gives the tickets to request_wait(),
 *     sets r->finish and returns WAITING. When all tickets are answered, finish
 *     is called (in the event loop when r->finish_pool is POOL_INLINE, else in a
 *     thread of that pool); there submit_poll/submit_outcome tell the outcome.
 *     finish may wait again, or replies. Tickets are forgotten by http.c after
 *     finish returned; a handler never calls submit_forget for them. When the
 *     deadline passes first, http.c answers 503 WRITER_UNAVAILABLE by itself.
 *
 * Everything a handler allocates for a request comes from r->arena. Text from
 * outside (path, query, headers) is valid UTF-8, followed by a NUL, without NUL
 * or control characters inside (tab and line ends may stand in a query value).
 * The body is bytes: json_init() checks it.
 *
 * Must never be added here: what a single route needs.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"
#include "shm/epoch.h"
#include "shm/store.h"
#include "wal/submit.h"

struct words;                          /* common/words.h */
struct embed;                          /* workers/mind/embed.h */
struct scratch;                        /* workers/mind/scratch.h */
struct request;
struct worker_thread;
struct loop;                           /* workers/api/loop.h */
struct conn;                           /* workers/api/conn.h */

enum {
	EG_PATH_PARAMS = 2,            /* {..} in a path */
	EG_QUERY_PARAMS = 64,
	EG_EXTRA_HEADERS = 4,
	EG_REQUEST_TICKETS = 64,       /* lane entries that a request waits for at a time */
};

enum method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_PATCH, HTTP_OPTIONS, HTTP_METHODS };
enum verdict { REPLIED, WAITING };
enum pool_kind { POOL_INLINE, POOL_RECALL, POOL_STORE, POOLS };

typedef enum verdict handler_fn(struct request *r, struct worker_thread *t);

/* ---- the thread that runs a handler */

struct work {                          /* an entry of a pool's queue, part of what is to be done */
	struct work *next;
	void (*run)(struct work *w, void *thread);
};

struct worker_thread {
	const struct desks *desks;
	const struct store *store;     /* attached before any handler of a row without ROUTE_EARLY runs */
	struct epoch epoch;            /* this thread's; enter before touching the store */
	struct words *words;           /* pool threads; NULL in event loops */
	struct embed *embed;           /* pool threads, provider builtin; else NULL */
	struct submit *lane;           /* store pool; NULL elsewhere */
	struct scratch *scratch;       /* pool threads; NULL in event loops */
	enum pool_kind pool;
	unsigned number;               /* within the process: epoch slot */
};

/* ---- routes: one row of routes.def each */

enum route_flags {
	ROUTE_BODY = 1,                /* takes a JSON body: media type is checked; may be empty (length 0) */
	ROUTE_PUBLIC = 2,              /* needs no key */
	ROUTE_EARLY = 4,               /* served before the store is there (never touches it) */
	ROUTE_TEXT = 8,                /* answers text/plain; all others JSON */
};

struct route {
	enum method method;            /* HTTP_GET serves HEAD too */
	const char *path;              /* "/api/v1/memories/{id}" */
	handler_fn *handler;
	enum pool_kind pool;
	unsigned flags;
	const char *summary;
	const char *name;              /* of the handler, e.g. "memories_get" */
};

/* What a row counts as in the metrics: a column of operations, OTHER unless the
 * row's flags say so, e.g. ROUTE_BODY | ROUTE_OP(RECALL). */
#define EG_OPERATIONS(X) X(OTHER) X(REMEMBER) X(BATCH) X(RECALL) X(GET) X(LIST) X(FORGET) X(SPACES)
enum operation {
#define X(name) OPERATION_##name,
	EG_OPERATIONS(X)
#undef X
	OPERATIONS
};
#define ROUTE_OP(name) ((unsigned)OPERATION_##name << 8)

/* ---- the request */

struct text { const char *at; size_t len; };   /* NUL behind */
struct param { struct text name, value; };

/* Headers that handlers may look at: name on the wire. Absent: at == NULL. */
#define EG_HEADERS(X) \
	X(SPACE, "X-Memory-Space") X(SPACE_ID, "X-Memory-Space-Id") X(SPACE_ENGRAM, "X-Engram-Memory-Space") \
	X(DURABILITY, "X-Durability") X(IDEMPOTENCY, "Idempotency-Key") X(IF_MATCH, "If-Match") \
	X(ACCEPT, "Accept") X(AUTHORIZATION, "Authorization")
enum header_index {
#define X(name, wire) HEADER_##name,
	EG_HEADERS(X)
#undef X
	HEADERS
};

struct extra_header { const char *name; char value[64]; };

struct request {
	/* in */
	enum method method;
	const struct route *route;
	struct text path;                          /* decoded */
	struct text path_param[EG_PATH_PARAMS];    /* decoded, in order of the row's {..} */
	struct param query[EG_QUERY_PARAMS];       /* decoded, in order */
	unsigned n_query;
	struct text header[HEADERS];
	const char *body;                          /* body_bytes; may be NULL when 0 */
	size_t body_bytes;
	const struct config *config;               /* in force for this request */
	int64_t begin_ns;                          /* CLOCK_MONOTONIC, when the head was read */
	int64_t deadline_ms;                       /* clock_mono_ms() at which it must be answered */
	struct arena arena;

	/* out: by reply_*() only */
	int status;                                /* 0 = not answered yet */
	enum err err;                              /* of the answer, EG_E_OK when it is none */
	struct buf out;                            /* body; limit EG_REPLY_MAX */
	const char *type;                          /* media type, JSON unless set */
	struct extra_header extra[EG_EXTRA_HEADERS];
	unsigned n_extra;

	/* waiting for the writer */
	handler_fn *finish;
	enum pool_kind finish_pool;                /* POOL_INLINE: in the event loop */
	struct ticket ticket[EG_REQUEST_TICKETS];
	unsigned n_tickets;
	bool (*until)(const struct request *r);    /* NULL, or what must be true as well before finish is called:
	                                            * looked at when the doorbell rings */
	void *state;                               /* the handler's own, from the arena */

	/* private to workers/api */
	struct work work;
	struct loop *loop;
	struct conn *conn;
	struct request *next, *prev;               /* list of those that wait for the writer; free list */
	void *connection;                          /* libmicrohttpd's */
	struct config_hold *hold;                  /* keeps config */
	char *target;                              /* as it came, for the log */
	size_t target_bytes;
	char *incoming;                            /* body, as far as it came */
	size_t incoming_cap;
	unsigned phase;                            /* enum of http.c */
	bool chunked;
	bool close;                                /* end the connection after the answer */
	bool canned;                               /* the answer of /health/alive, made once */
};

#define EG_REPLY_MAX ((size_t)256 << 20)           /* bytes of an answer */

/* ---- reading it */

/* The query parameter of that name, or NULL. */
const struct text *request_query(const struct request *r, const char *name);
/* Refuse unknown and repeated query parameters (`space` is always known): names
 * ends with NULL. EG_E_REQUEST naming the parameter and the nearest known one. */
enum err request_query_check(const struct request *r, const char *const names[], struct fault *f) EG_MUST_USE;
/* The memory space: headers, query `space`, then `body` (NULL: the body named
 * none), then the default. All that are given are validated; two different
 * ones are EG_E_REQUEST. *out points into the request or the configuration. */
enum err request_space(const struct request *r, const struct text *body, struct text *out,
                       struct fault *f) EG_MUST_USE;
/* X-Durability: *durable is true for "immediate"; EG_E_REQUEST for any other value. */
enum err request_durable(const struct request *r, bool *durable, struct fault *f) EG_MUST_USE;

/* ---- waiting */

/* Remember a pushed ticket; finish is called when all of them are answered.
 * More than EG_REQUEST_TICKETS is a programmer's error. */
void request_wait(struct request *r, const struct ticket *t);

/* ---- answering: all return REPLIED, so a handler may `return reply_...` */

/* r->out holds a JSON document, written by the handler with buf_*(). A failed
 * buffer becomes 500. */
enum verdict reply_json(struct request *r, int status);
/* r->out holds text of another media type (static string). */
enum verdict reply_text(struct request *r, int status, const char *type);
/* The JSON envelope of INTERFACE.md for this fault, with Retry-After where the
 * error has one. Throws away what is in r->out. suggestion NULL: the error's own. */
enum verdict reply_fault(struct request *r, const struct fault *f, const char *suggestion);
/* The same, made on the spot. field, limit may be NULL. */
enum verdict reply_error(struct request *r, enum err e, const char *field, const char *limit,
                         const char *fmt, ...) EG_PRINTF(5, 6);
/* The envelope alone. */
void reply_envelope(struct buf *b, const struct fault *f, const char *suggestion);
/* A further header of the answer. name is static; beyond EG_EXTRA_HEADERS: programmer's error. */
void reply_header(struct request *r, const char *name, const char *fmt, ...) EG_PRINTF(3, 4);

#endif
