/* See consolidator.h.
 *
 * The main thread waits for signals, the desk's doorbell and timers; what takes
 * time runs in two pools: "consolidation" forms beliefs, "background" does the
 * rest: a run, every [consolidation] interval_seconds, that deletes what has expired;
 * and a checkpoint, when one is due (checkpoints.h). A run promises nothing to a waiting
 * client, so when the writer does not answer, or memory is short, it is given up and counted.
 * How it stops: QUIT lets the present work finish what it has sent, and makes a last
 * checkpoint if anything changed, all within drain_timeout_seconds; the master's death
 * is the same without a checkpoint; TERM ends it at once.
 */
#include "workers/consolidator.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/fault.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "workers/checkpoints.h"
#include "workers/expire.h"
#include "workers/pool.h"
#include "workers/settings.h"

enum { BEAT_MS = 250, LANE_WAIT_MS = 1000, BACKGROUND_LANE = 0 };

struct consolidator {
	const struct heritage *heritage;
	const struct config *config;   /* main thread's */
	bool own_config;
	uint32_t generation;
	struct store store;
	bool attached;
	struct submit lane;
	struct pool *beliefs, *background;
	struct event_base *base;
	struct event *signals[4], *door, *beat;
	int64_t next_run_ms, stop_ms;  /* INT64_MAX: not stopping */
	bool forced;
	struct work run, checkpoint;
	struct checkpoints checkpoints;
	bool last_wanted;              /* a checkpoint before this process ends */
	pthread_mutex_t lock;          /* the fields below */
	pthread_cond_t rung;
	unsigned rings;
	bool running, checkpointing, stopping;
	unsigned n_epochs;
};

/* ---- a run (background pool) */

struct background { struct consolidator *c; struct epoch epoch; };

static bool stopping(struct consolidator *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

/* Until the ticket is answered; each look happens after the doorbell was noted. */
static enum err await(struct consolidator *c, struct ticket *t, unsigned *deleted)
{
	enum err e = EG_E_OK;
	uint64_t lsn;
	bool durable;

	pthread_mutex_lock(&c->lock);
	for (unsigned seen = c->rings; !submit_poll(t, &e, &lsn, &durable); seen = c->rings)
		while (seen == c->rings)
			pthread_cond_wait(&c->rung, &c->lock);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; e == EG_E_OK && i < t->n_ops; i++)
		*deleted += submit_outcome(t, i).err == EG_E_OK;
	submit_forget(t);
	return e;
}

static enum err delete_all(struct consolidator *c, const struct expired *found, unsigned n, unsigned *deleted)
{
	struct draft drafts[EXPIRE_BATCH];
	struct ticket t;
	struct fault f;
	enum err e;

	for (unsigned i = 0; i < n; i++)
		expire_draft(&found[i], &drafts[i]);
	FAULT(CONSOLIDATION_PUSH);
	e = submit_push(&c->lane, drafts, n, 0, LANE_WAIT_MS, &t, &f);
	if (e)
		return e;
	FAULT(CONSOLIDATION_PUSHED);
	return await(c, &t, deleted);
}

static enum err expire_all(struct consolidator *c, struct epoch *epoch, unsigned *deleted)
{
	struct expired *found = malloc(EXPIRE_BATCH * sizeof *found);
	struct expire_walk w;
	enum err e = EG_E_OK;
	bool more = true;
	unsigned n;

	if (!found)
		return EG_E_INTERNAL;
	expire_begin(&w, &c->store, epoch, clock_real_us());
	while (more && !e && !stopping(c)) {
		more = expire_find(&w, found, &n);
		if (n)
			e = delete_all(c, found, n, deleted);
	}
	free(found);
	return e;
}

static void run(struct work *work, void *thread)
{
	struct background *b = thread;
	struct consolidator *c = b->c;
	int64_t begin = clock_mono_ns();
	unsigned deleted = 0;
	enum err e = expire_all(c, &b->epoch, &deleted);
	(void)work;

	metric_add(M_CONSOLIDATION_RUNS, 1);
	metric_add(M_CONSOLIDATION_EXPIRED, deleted);
	if (e) {
		metric_add(M_CONSOLIDATION_FAILED, 1);
		LOG_WARN("a run was given up: %s", err_text(e));
	} else if (!deleted) {
		metric_add(M_CONSOLIDATION_IDLE, 1);
	}
	if (deleted)
		LOG_INFO("%u memories had expired and are deleted", deleted);
	metric_observe_ns(M_CONSOLIDATION_TIME, (uint64_t)(clock_mono_ns() - begin));
	pthread_mutex_lock(&c->lock);
	c->running = false;
	pthread_mutex_unlock(&c->lock);
}

/* ---- a checkpoint (background pool) */

static unsigned rings(void *arg)
{
	struct consolidator *c = arg;
	unsigned n;

	pthread_mutex_lock(&c->lock);
	n = c->rings;
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void await_ring(void *arg, unsigned seen)
{
	struct consolidator *c = arg;

	pthread_mutex_lock(&c->lock);
	while (c->rings == seen)
		pthread_cond_wait(&c->rung, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void checkpoint(struct work *work, void *thread)
{
	struct background *b = thread;
	struct consolidator *c = b->c;
	(void)work;

	(void)!checkpoints_make(&c->checkpoints, &b->epoch);
	pthread_mutex_lock(&c->lock);
	c->checkpointing = false;
	pthread_mutex_unlock(&c->lock);
}

/* ---- main thread */

static bool is_busy(struct consolidator *c)
{
	bool busy;

	pthread_mutex_lock(&c->lock);
	busy = c->running || c->checkpointing;
	pthread_mutex_unlock(&c->lock);
	return busy;
}

static void begin_checkpoint(struct consolidator *c)
{
	bool busy;

	pthread_mutex_lock(&c->lock);
	busy = c->checkpointing;
	c->checkpointing = true;
	pthread_mutex_unlock(&c->lock);
	if (busy)
		return;
	c->checkpoint.run = checkpoint;
	pool_push(c->background, &c->checkpoint, true);
}

static void begin_run(struct consolidator *c)
{
	bool busy;

	pthread_mutex_lock(&c->lock);
	busy = c->running || c->stopping;
	c->running |= !busy;
	pthread_mutex_unlock(&c->lock);
	c->next_run_ms = clock_mono_ms() + c->config->consolidation_interval_seconds * 1000;
	if (busy)
		return;
	c->run.run = run;
	pool_push(c->background, &c->run, true);
}

static void begin_stop(struct consolidator *c)
{
	if (c->stop_ms != INT64_MAX)
		return;
	c->stop_ms = clock_mono_ms() + c->config->server_drain_timeout_seconds * 1000;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
}

static void follow(struct consolidator *c)
{
	struct config *newer = settings_follow(c->heritage, c->config, &c->generation);
	union { const struct config *in; struct config *out; } old = { c->config };
	int64_t change_ms;

	if (!newer)
		return;
	change_ms = (newer->consolidation_interval_seconds - c->config->consolidation_interval_seconds) * 1000;
	if (c->own_config)
		config_free(old.out);
	c->config = newer;
	c->own_config = true;
	c->next_run_ms += change_ms;
}

static void attach(struct consolidator *c)
{
	struct fault f = { .err = EG_E_OK };
	enum err e = store_attach(&c->store, c->heritage->shm_prefix, c->heritage->boot_id, &f);

	if (e && e != EG_E_WRITER)
		LOG_ERROR("cannot attach the store, trying again: %s", f.message);
	c->attached = !e;
	if (c->attached)
		c->next_run_ms = clock_mono_ms() + c->config->consolidation_interval_seconds * 1000;
}

/* As in worker.c: nobody writes this memory any more. */
static void leave_old_store(struct consolidator *c)
{
	LOG_WARN("the store is built anew: this process ends, its successor attaches the new one");
	c->forced = true;
	event_base_loopbreak(c->base);
}

/* Once, when all else has ended. The family that leaves to another one makes none: it waits. */
static bool last_checkpoint(struct consolidator *c)
{
	if (!c->last_wanted || !c->attached || getppid() != c->heritage->parent_pid
	    || atomic_load(&desk_master(c->heritage->desks)->handover) || !checkpoints_missing(&c->checkpoints))
		return false;
	c->last_wanted = false;
	begin_checkpoint(c);
	return true;
}

static void step_to_end(struct consolidator *c, int64_t now_ms)
{
	bool busy = is_busy(c);

	if (now_ms < c->stop_ms && (busy || last_checkpoint(c)))
		return;
	c->forced = busy;
	event_base_loopbreak(c->base);
}

static void begin_what_is_due(struct consolidator *c, int64_t now_ms)
{
	bool busy;

	pthread_mutex_lock(&c->lock);
	busy = c->checkpointing;
	pthread_mutex_unlock(&c->lock);
	if (now_ms >= c->next_run_ms)
		begin_run(c);
	if (!busy && checkpoints_due(&c->checkpoints, c->config, now_ms))
		begin_checkpoint(c);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct consolidator *c = arg;
	int64_t now_ms = clock_mono_ms();
	(void)fd, (void)what;

	desk_beat(c->heritage->desks);
	metrics_report_memory(c->heritage->desks);
	log_flush();
	follow(c);
	if (!c->attached)
		attach(c);
	else if (!store_is_current(&c->store, c->heritage->desks))
		leave_old_store(c);
	if (getppid() != c->heritage->parent_pid)
		begin_stop(c);
	if (c->stop_ms != INT64_MAX)
		step_to_end(c, now_ms);
	else if (c->attached)
		begin_what_is_due(c, now_ms);
}

static void on_door(evutil_socket_t fd, short what, void *arg)
{
	struct consolidator *c = arg;

	desk_hush(c->heritage->desks);
	submit_wake(&c->lane);
	pthread_mutex_lock(&c->lock);
	c->rings++;
	pthread_cond_broadcast(&c->rung);
	pthread_mutex_unlock(&c->lock);
	on_beat(fd, what, c);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct consolidator *c = arg;

	switch (number) {
	case SIGQUIT:
		c->last_wanted = true;
		begin_stop(c);
		on_beat(-1, what, c);
		break;
	case SIGUSR1:
		if (log_reopen())
			LOG_ERROR("cannot open the log anew");
		break;
	default:                       /* TERM, INT */
		c->forced = true;
		event_base_loopbreak(c->base);
	}
}

/* ---- start-up and end */

static void *open_thread(void *arg, unsigned n)
{
	struct background *b = calloc(1, sizeof *b);
	(void)n;

	if (!b)
		return NULL;
	b->c = arg;
	pthread_mutex_lock(&b->c->lock);
	epoch_init(&b->epoch, b->c->heritage->desks, b->c->n_epochs++);
	pthread_mutex_unlock(&b->c->lock);
	return b;
}

static void start_pools(struct consolidator *c)
{
	const struct config *cfg = c->config;
	struct pool_plan beliefs = {
		.comm = "engram-consol", .threads = (unsigned)cfg->thread_pools_consolidation_workers,
		.active = M_POOL_ACTIVE_CONSOLIDATION, .total = M_POOL_TOTAL_CONSOLIDATION, .queued = M_POOL_QUEUED_CONSOLIDATION,
		.cpu = M_CPU_CONSOLIDATION, .open = open_thread, .close = free, .arg = c,
	}, background = {
		.comm = "engram-bgnd", .threads = (unsigned)cfg->thread_pools_background_workers,
		.active = M_POOL_ACTIVE_BACKGROUND, .total = M_POOL_TOTAL_BACKGROUND, .queued = M_POOL_QUEUED_BACKGROUND,
		.cpu = M_CPU_CONSOLIDATION, .open = open_thread, .close = free, .arg = c,
	};
	struct fault f;

	EG_ASSERT(beliefs.threads + background.threads <= EG_EPOCHS_MAX);
	c->beliefs = pool_new(&beliefs, &f);
	c->background = c->beliefs ? pool_new(&background, &f) : NULL;
	if (!c->background)
		log_fatal(EX_OSERR, "%s", f.message);
}

static const int signal_numbers[] = { SIGQUIT, SIGTERM, SIGINT, SIGUSR1 };

static void start_events(struct consolidator *c)
{
	const struct desks *d = c->heritage->desks;
	struct timeval beat = { 0, BEAT_MS * 1000 };

	c->base = event_base_new();
	if (!c->base)
		log_fatal(EX_OSERR, "cannot make an event loop");
	for (unsigned i = 0; i < 4; i++) {
		c->signals[i] = evsignal_new(c->base, signal_numbers[i], on_signal, c);
		if (!c->signals[i] || event_add(c->signals[i], NULL))
			log_fatal(EX_OSERR, "cannot watch signal %d", signal_numbers[i]);
	}
	c->door = event_new(c->base, d->bell[d->self], EV_READ | EV_PERSIST, on_door, c);
	c->beat = event_new(c->base, -1, EV_PERSIST, on_beat, c);
	if (!c->door || !c->beat || event_add(c->door, NULL) || event_add(c->beat, &beat))
		log_fatal(EX_OSERR, "cannot watch the doorbell");
	/* As in worker.c: this desk is always rung. */
	atomic_store(&desk_header(d, c->heritage->desk)->sleeping, 1);
}

/* Signals are the main thread's: threads started meanwhile inherit the mask. */
static void start_threads(struct consolidator *c)
{
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < 4; i++)
		sigaddset(&set, signal_numbers[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	start_pools(c);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* With a run still busy, the process ends under its feet: nothing it does is
 * more than a record in a lane, which is whole or not there. */
static void finish(struct consolidator *c)
{
	union { const struct config *in; struct config *out; } config = { c->config };

	log_flush();
	if (c->forced)
		return;
	pool_free(c->beliefs);
	pool_free(c->background);
	for (unsigned i = 0; i < 4; i++)
		event_free(c->signals[i]);
	event_free(c->door);
	event_free(c->beat);
	event_base_free(c->base);
	submit_fini(&c->lane);
	if (c->attached)
		store_detach(&c->store);
	if (c->own_config)
		config_free(config.out);
}

int consolidator_main(const struct heritage *h)
{
	static struct consolidator consolidator;
	struct consolidator *c = &consolidator;

	*c = (struct consolidator){ .heritage = h, .config = h->config, .generation = h->config_generation, .stop_ms = INT64_MAX };
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->rung, NULL);
	metrics_attach(h->desks);
	submit_init(&c->lane, h->desks, BACKGROUND_LANE);
	c->checkpoints = (struct checkpoints){ .heritage = h, .store = &c->store, .lane = &c->lane,
		.rings = rings, .await_ring = await_ring, .arg = c };
	start_events(c);
	start_threads(c);
	on_beat(-1, 0, c);
	atomic_store(&desk_header(h->desks, h->desk)->ready, 1);
	FAULT(CONSOLIDATION_READY);
	event_base_dispatch(c->base);
	finish(c);
	return 0;
}
