/* See worker.h. worker_main() is the start-up, top to bottom.
 *
 * The main thread runs the first event loop; what belongs to the process as a
 * whole (signals, heartbeat, the store, settings) are events of that loop.
 * How it stops: QUIT, or the master's death: the loops stop accepting, each
 * answer closes its connection, idle connections end by themselves (at once when
 * the whole server stops), and after drain_timeout_seconds whatever is left is
 * dropped. TERM: what is finished is answered, then the process ends. When it
 * dies otherwise, the master starts another one on the same sockets.
 */
#include "workers/worker.h"

#include <numa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/vec.h"
#include "common/words.h"
#include "shm/metrics.h"
#include "workers/api/access.h"
#include "workers/api/conn.h"
#include "workers/api/ip_table.h"
#include "workers/api/loop.h"
#include "workers/mind/embed.h"
#include "workers/mind/scratch.h"
#include "workers/pool.h"
#include "workers/settings.h"

enum {
	BEAT_MS = 1000,
	LAST_MS = 2000,                /* of an upgrade: kept connections get a last answer */
	ATTACH_MS = 10,                /* between two tries to attach the store */
	TEXT_MAX = 1 << 20,            /* longest text that words_*() may be given: a JSON string */
};

struct worker {
	const struct heritage *heritage;
	struct service service;
	struct pool *pools[POOLS];
	pthread_t *threads;            /* of loops 1.. */
	struct event *signals[4], *beat, *attach, *give_up, *last_over;
	uint32_t generation;
	unsigned n_epochs;             /* epoch slots given to pool threads */
	pthread_mutex_t lock;          /* n_epochs */
};

/* ---- pools */

static void close_thread(void *thread)
{
	struct worker_thread *t = thread;

	words_free(t->words);
	scratch_free(t->scratch);
	embed_free(t->embed);
	free(t);
}

static struct worker_thread *thread_new(struct worker *w, enum pool_kind kind, unsigned n)
{
	const struct config *c = w->heritage->config;
	struct worker_thread *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	pthread_mutex_lock(&w->lock);
	t->number = w->n_epochs++;
	pthread_mutex_unlock(&w->lock);
	t->desks = w->service.desks;
	t->store = &w->service.store;
	t->pool = kind;
	epoch_init(&t->epoch, t->desks, t->number);
	t->words = words_new(TEXT_MAX);
	t->scratch = scratch_new();
	if (c->embedding_provider == CONFIG_PROVIDER_BUILTIN)
		t->embed = embed_new((unsigned)c->embedding_dimension);
	if (kind == POOL_STORE)
		t->lane = &w->service.lanes[n % w->service.n_lanes];
	if (t->words && t->scratch && (t->embed || c->embedding_provider != CONFIG_PROVIDER_BUILTIN))
		return t;
	close_thread(t);
	return NULL;
}

static void *open_recall(void *w, unsigned n) { return thread_new(w, POOL_RECALL, n); }
static void *open_store(void *w, unsigned n) { return thread_new(w, POOL_STORE, n); }

static unsigned pool_size(const struct worker *w, int64_t threads)
{
	return pool_share((unsigned)threads, w->heritage->index, w->service.n_workers);
}

static void start_pools(struct worker *w)
{
	const struct config *c = w->heritage->config;
	struct pool_plan recall = {
		.comm = "engram-recall", .threads = pool_size(w, c->thread_pools_recall_workers),
		.active = M_POOL_ACTIVE_RECALL, .total = M_POOL_TOTAL_RECALL, .queued = M_POOL_QUEUED_RECALL, .cpu = M_CPU_RECALL,
		.open = open_recall, .close = close_thread, .arg = w,
	}, store = {
		.comm = "engram-store", .threads = pool_size(w, c->thread_pools_store_workers),
		.active = M_POOL_ACTIVE_STORE, .total = M_POOL_TOTAL_STORE, .queued = M_POOL_QUEUED_STORE, .cpu = M_CPU_STORE,
		.open = open_store, .close = close_thread, .arg = w,
	};
	struct fault f;

	EG_ASSERT(recall.threads + store.threads + w->service.n_loops <= EG_EPOCHS_MAX);
	w->pools[POOL_RECALL] = pool_new(&recall, &f);
	w->pools[POOL_STORE] = w->pools[POOL_RECALL] ? pool_new(&store, &f) : NULL;
	if (!w->pools[POOL_STORE])
		log_fatal(EX_OSERR, "%s", f.message);
}

static bool push(struct service *s, enum pool_kind kind, struct work *work, bool must)
{
	struct worker *w = (struct worker *)((char *)s - offsetof(struct worker, service));
	bool ok = pool_push(w->pools[kind], work, must);

	if (!ok)
		metric_add(kind == POOL_STORE ? M_POOL_FULL_STORE : M_POOL_FULL_RECALL, 1);
	return ok;
}

/* ---- stopping */

static void wake_all(struct worker *w)
{
	for (unsigned i = 0; i < w->service.n_loops; i++)
		loop_wake(&w->service.loops[i]);
}

static void break_all(struct worker *w)
{
	for (unsigned i = 0; i < w->service.n_loops; i++)
		loop_break(&w->service.loops[i]);
}

static void on_give_up(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	(void)fd, (void)what;

	LOG_WARN("drain_timeout_seconds are over: %u connections are dropped", atomic_load(&w->service.connections));
	break_all(w);
}

static void drain_as(struct worker *w, unsigned how)
{
	atomic_store(&w->service.drain, how);
	wake_all(w);
}

static void on_last_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;

	drain_as(arg, DRAIN_NOW);
}

/* In an upgrade the next family cannot serve before this one has ended. So clients
 * are first told to come again while they are still served, and the time without
 * service begins when nearly nobody is left. */
static void begin_drain(struct worker *w)
{
	const struct master_page *master = desk_master(w->service.desks);
	bool whole = atomic_load(&master->stopping) || getppid() != w->heritage->parent_pid;
	unsigned how = whole ? DRAIN_NOW : atomic_load(&master->handover) ? DRAIN_LAST : DRAIN_SOFT;
	unsigned before = atomic_load(&w->service.drain);
	struct timeval timeout = { w->service.loops[0].hold->config->server_drain_timeout_seconds, 0 };
	struct timeval last = { LAST_MS / 1000, 0 };

	if (before >= how)
		return;
	if (before == DRAIN_NO) {
		LOG_INFO("draining");
		event_add(w->give_up, &timeout);
	}
	if (how == DRAIN_LAST)
		event_add(w->last_over, &last);
	drain_as(w, how);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct worker *w = arg;
	struct fault f;
	(void)what;

	switch (number) {
	case SIGQUIT:
		begin_drain(w);
		break;
	case SIGUSR1:
		if (log_reopen())
			LOG_ERROR("cannot open the log anew");
		if (access_open(w->service.loops[0].hold->config->monitoring_access_log, &f))
			LOG_ERROR("%s", f.message);
		break;
	default:                       /* TERM, INT */
		break_all(w);
	}
}

/* ---- the process's own events */

static void follow_settings(struct worker *w)
{
	const struct config *now = w->service.loops[0].hold->config;
	struct config *c = settings_follow(w->heritage, now, &w->generation);
	struct config_hold *old, *hold;
	struct fault f;

	if (!c)
		return;
	if (access_open(c->monitoring_access_log, &f))
		LOG_ERROR("%s", f.message);
	hold = config_hold_new(c, true);
	if (!hold) {
		LOG_ERROR("out of memory: the old configuration stays");
		config_free(c);
		return;
	}
	pthread_mutex_lock(&w->service.hold_lock);
	old = w->service.hold;
	w->service.hold = hold;
	pthread_mutex_unlock(&w->service.hold_lock);
	config_hold_put(old);
}

/* The writer may give a damaged store up and build another one: then this process
 * maps memory that nobody writes any more, and its successor attaches the new one. */
static void leave_old_store(struct worker *w)
{
	const struct service *s = &w->service;

	if (atomic_load(&s->state) != SERVICE_READY || store_is_current(&s->store, s->desks))
		return;
	LOG_WARN("the store is built anew: this process ends, its successor attaches the new one");
	break_all(w);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	(void)fd, (void)what;

	desk_beat(w->service.desks);
	metrics_report_memory(w->service.desks);
	log_flush();
	follow_settings(w);
	leave_old_store(w);
	if (atomic_load(&w->service.drain) != DRAIN_NO || getppid() != w->heritage->parent_pid)
		begin_drain(w);
}

/* Map the store if the writer has made it: by the timer, or when a request needs
 * it (a sibling may be seen ready a moment before this process has looked). */
static bool attach_store(struct service *s)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char said[sizeof ((struct fault *)0)->message];     /* by this lock */
	struct fault f = { .err = EG_E_OK };
	enum err e = EG_E_OK;

	pthread_mutex_lock(&lock);
	if (atomic_load(&s->state) != SERVICE_READY) {
		e = store_attach(&s->store, s->heritage->shm_prefix, s->heritage->boot_id, &f);
		if (!e) {
			atomic_store(&s->state, SERVICE_READY);
			FAULT(WORKER_ATTACHED);
			LOG_INFO("the store is attached");
		} else if (e != EG_E_WRITER && strcmp(said, f.message) != 0) {
			snprintf(said, sizeof said, "%s", f.message);
			LOG_ERROR("cannot attach the store, trying again: %s", f.message);
		}
	}
	pthread_mutex_unlock(&lock);
	return !e;
}

static void on_attach(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct timeval again = { 0, ATTACH_MS * 1000 };
	(void)fd, (void)what;

	if (!attach_store(&w->service))
		event_add(w->attach, &again);
}

static void add_events(struct worker *w)
{
	static const int numbers[] = { SIGQUIT, SIGTERM, SIGINT, SIGUSR1 };
	struct event_base *base = w->service.loops[0].base;
	struct timeval beat = { BEAT_MS / 1000, 0 };

	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		w->signals[i] = evsignal_new(base, numbers[i], on_signal, w);
		if (!w->signals[i] || event_add(w->signals[i], NULL))
			log_fatal(EX_OSERR, "cannot watch signal %d", numbers[i]);
	}
	w->beat = event_new(base, -1, EV_PERSIST, on_beat, w);
	w->attach = evtimer_new(base, on_attach, w);
	w->give_up = evtimer_new(base, on_give_up, w);
	w->last_over = evtimer_new(base, on_last_over, w);
	if (!w->beat || !w->attach || !w->give_up || !w->last_over || event_add(w->beat, &beat))
		log_fatal(EX_OSERR, "cannot make timers");
}

/* ---- start-up */

static void start_lanes(struct worker *w)
{
	struct service *s = &w->service;

	s->n_lanes = s->desks->lanes;
	s->lanes = calloc(s->n_lanes, sizeof *s->lanes);
	if (!s->lanes)
		log_fatal(EX_OSERR, "out of memory");
	for (unsigned i = 0; i < s->n_lanes; i++)
		submit_init(&s->lanes[i], s->desks, i);
	/* libevent cannot look at the answers between deciding to sleep and sleeping,
	 * so this desk is always rung; rings in a row cost one wake-up. */
	atomic_store(&desk_header(s->desks, w->heritage->desk)->sleeping, 1);
}

/* As the master counts them. */
static unsigned count_workers(const struct config *c)
{
	int nodes = c->numa_numa_aware && numa_available() >= 0 ? numa_num_configured_nodes() : 1;

	return (unsigned)c->workers_per_node * (unsigned)nodes;
}

static void start_service(struct worker *w)
{
	const struct heritage *h = w->heritage;
	struct service *s = &w->service;
	struct fault f;

	s->heritage = h;
	s->desks = h->desks;
	s->push = push;
	s->attach = attach_store;
	s->n_loops = (unsigned)h->config->workers_event_threads;
	s->n_workers = count_workers(h->config);
	s->ips = ip_table_new();
	s->loops = calloc(s->n_loops, sizeof *s->loops);
	s->hold = config_hold_new(h->config, false);
	pthread_mutex_init(&s->hold_lock, NULL);
	if (!s->ips || !s->loops || !s->hold)
		log_fatal(EX_OSERR, "out of memory");
	if (access_open(h->config->monitoring_access_log, &f))
		log_fatal(EX_CANTCREAT, "%s", f.message);
}

static void start_loops(struct worker *w)
{
	struct service *s = &w->service;
	struct fault f;

	for (unsigned i = 0; i < s->n_loops; i++) {
		if (loop_init(&s->loops[i], s, i, &f))
			log_fatal(EX_OSERR, "%s", f.message);
		s->loops[i].thread = (struct worker_thread){ .desks = s->desks, .store = &s->store, .pool = POOL_INLINE, .number = i };
		epoch_init(&s->loops[i].thread.epoch, s->desks, i);
	}
	w->n_epochs = s->n_loops;
}

static void *loop_main(void *loop)
{
	pthread_setname_np(pthread_self(), "engram-io");
	loop_run(loop);
	return NULL;
}

/* Signals are the main thread's: threads started meanwhile inherit the mask. */
static void block_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < 4; i++)
		sigaddset(&set, (const int[]){ SIGQUIT, SIGTERM, SIGINT, SIGUSR1 }[i]);
	pthread_sigmask(how, &set, NULL);
}

static void start_threads(struct worker *w)
{
	struct service *s = &w->service;

	block_signals(SIG_BLOCK);
	start_pools(w);
	w->threads = calloc(s->n_loops, sizeof *w->threads);
	for (unsigned i = 1; i < s->n_loops; i++)
		if (!w->threads || pthread_create(&w->threads[i], NULL, loop_main, &s->loops[i]))
			log_fatal(EX_OSERR, "cannot start an event thread");
	block_signals(SIG_UNBLOCK);
}

/* ---- the end */

static void free_events(struct worker *w)
{
	for (unsigned i = 0; i < 4; i++)
		event_free(w->signals[i]);
	event_free(w->beat);
	event_free(w->attach);
	event_free(w->give_up);
	event_free(w->last_over);
}

/* Threads first, then what they used. When requests were dropped, threads may
 * still be busy with them: the process ends under their feet. */
static void finish(struct worker *w)
{
	struct service *s = &w->service;
	bool forced = false;

	for (unsigned i = 1; i < s->n_loops; i++)
		pthread_join(w->threads[i], NULL);
	for (unsigned i = 0; i < s->n_loops; i++)
		forced |= s->loops[i].forced;
	log_flush();
	if (forced)
		return;
	pool_free(w->pools[POOL_RECALL]);
	pool_free(w->pools[POOL_STORE]);
	free_events(w);
	for (unsigned i = 0; i < s->n_loops; i++)
		loop_fini(&s->loops[i]);
	for (unsigned i = 0; i < s->n_lanes; i++)
		submit_fini(&s->lanes[i]);
	if (atomic_load(&s->state) == SERVICE_READY)
		store_detach(&s->store);
	config_hold_put(s->hold);
	ip_table_free(s->ips);
	free(s->loops);
	free(s->lanes);
	free(w->threads);
}

int worker_main(const struct heritage *h)
{
	static struct worker worker;
	struct worker *w = &worker;

	w->heritage = h;
	w->generation = h->config_generation;
	pthread_mutex_init(&w->lock, NULL);
	metrics_attach(h->desks);
	config_choose_kernels(h->config);
	start_service(w);
	start_lanes(w);
	start_loops(w);
	add_events(w);
	start_threads(w);
	on_attach(-1, 0, w);
	on_beat(-1, 0, w);
	atomic_store(&desk_header(h->desks, h->desk)->ready, 1);
	FAULT(WORKER_READY);
	loop_run(&w->service.loops[0]);
	finish(w);
	return 0;
}
