/* Event threads of a worker: each has a libevent base, a libmicrohttpd daemon
 * without a thread of its own, its own listening sockets and connections. Nothing
 * of a loop is touched by another thread but its bell and its list of returned
 * requests.
 *
 *   listeners -> conn.c -> libmicrohttpd -> http.c -> pool
 *                                             ^         |
 *                          bell, loop_return -+---------+
 *                          doorbell of the desk -> wait.c
 *
 * libmicrohttpd in external mode has three traps (each cost a hang): requests
 * may be resumed in the loop's thread only; after every MHD_run a timer must be
 * set from MHD_get_timeout; its sockets are edge-triggered, so what it left in
 * its buffers is announced there alone.
 */
#ifndef API_LOOP_H
#define API_LOOP_H

#include <event2/event.h>
#include <microhttpd.h>
#include <pthread.h>

#include "shm/heritage.h"
#include "workers/api/guard.h"
#include "workers/api/http.h"

/* One configuration, kept until the last request that was begun under it ends. */
struct config_hold {
	const struct config *config;
	bool owned;                    /* config_free() at the end */
	struct guard_hosts hosts;
	_Atomic unsigned refs;
};
struct config_hold *config_hold_new(const struct config *c, bool owned);  /* one reference; NULL: no memory */
void config_hold_get(struct config_hold *h);
void config_hold_put(struct config_hold *h);

enum service_state { SERVICE_STARTING, SERVICE_READY };
enum drain {                       /* each answer ends its connection, and: */
	DRAIN_NO,
	DRAIN_LAST,                /* new ones are still accepted */
	DRAIN_SOFT,                /* kept ones go on until they are idle for too long */
	DRAIN_NOW,                 /* idle ones are closed */
};

struct ip_table;                       /* workers/api/conn.h */

/* What all event threads of a worker share. */
struct service {
	const struct heritage *heritage;
	struct desks *desks;
	struct store store;            /* attached once state is READY */
	_Atomic unsigned state;        /* enum service_state */
	_Atomic unsigned drain;        /* enum drain */
	struct loop *loops;
	unsigned n_loops;
	struct submit *lanes;
	unsigned n_lanes;
	struct ip_table *ips;
	_Atomic unsigned connections;
	unsigned n_workers;            /* of this configuration: limits.connections is divided over them */
	/* Give w to the pool; false: its queue is full (never when `must`). */
	bool (*push)(struct service *s, enum pool_kind pool, struct work *w, bool must);
	/* Map the store, if it is there by now; any thread. */
	bool (*attach)(struct service *s);
	pthread_mutex_t hold_lock;
	struct config_hold *hold;      /* in force */
};

/* Request line and headers; beyond: 414 or 431. Also the library's memory for a
 * connection, which its own records share: so somewhat more there. */
enum { EG_HEAD_BYTES = 12 * 1024 };

enum { EG_AWAITING = 64 };             /* more in one wake-up are as patient as the kernel */

struct loop {
	struct service *service;
	unsigned number;
	struct event_base *base;
	struct MHD_Daemon *daemon;
	struct event *mhd_event, *mhd_timer, *tick, *bell_event, *door_event;
	struct event **listen_events;
	unsigned n_listeners;
	struct event *accept_again;    /* after descriptors ran out */
	int spare_fd;                  /* given up to accept and refuse when they did */
	int bell;                      /* eventfd */
	pthread_mutex_t lock;          /* returned, look */
	struct request *returned;      /* requests that a pool has finished with */
	bool look;                     /* look at the tickets: the desk's doorbell rang */
	struct request *waiting;       /* requests with outstanding tickets */
	struct request *idle;          /* free request objects */
	unsigned n_idle;
	struct conn *conns;
	unsigned n_conns;
	struct conn *adding;           /* while MHD_add_connection runs */
	struct conn *awaiting[EG_AWAITING]; /* heads read in this wake-up, see conn_await_body */
	unsigned n_awaiting;
	struct config_hold *hold;      /* this loop's reference to the configuration in force */
	struct MHD_Response *alive, *alive_close;
	struct worker_thread thread;   /* for handlers that run here */
	int64_t now_ms, now_ns;        /* monotonic, of this wake-up */
	uint64_t cpu_ns;
	unsigned ticks;
	bool stopping;                 /* nothing accepted any more */
	bool forced;                   /* ended with connections open: nothing may be freed */
	char head[EG_HEAD_BYTES];      /* what conn.c looks at */
};

enum { EG_TICK_MS = 250 };

/* Ready to run: sockets, daemon, events. The loop is not entered. */
enum err loop_init(struct loop *l, struct service *s, unsigned number, struct fault *f) EG_MUST_USE;
/* Serve until the service drains and the last connection is gone. */
void loop_run(struct loop *l);
void loop_fini(struct loop *l);

/* From a pool's thread: r has an answer, or waits for tickets. */
void loop_return(struct request *r);
/* From any thread: look at service->drain, hold and the tickets. */
void loop_wake(struct loop *l);
/* End loop_run now, whatever is open (own thread or after loop_wake). */
void loop_break(struct loop *l);

/* Let libmicrohttpd work, then set its timer. Own thread only. */
void loop_serve(struct loop *l);

#endif
