/* See loop.h. */
#include "workers/api/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "workers/api/conn.h"
#include "workers/api/http_flow.h"
#include "workers/api/wait.h"

/* ---- configuration in force */

struct config_hold *config_hold_new(const struct config *c, bool owned)
{
	struct config_hold *h = calloc(1, sizeof *h);
	struct fault f;

	if (!h)
		return NULL;
	h->config = c;
	h->owned = owned;
	atomic_init(&h->refs, 1);
	if (guard_hosts_init(&h->hosts, c, &f)) {
		free(h);
		return NULL;
	}
	return h;
}

void config_hold_get(struct config_hold *h)
{
	atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
}

void config_hold_put(struct config_hold *h)
{
	if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (h->owned) {
		union { const struct config *in; struct config *out; } c = { h->config };
		config_free(c.out);
	}
	guard_hosts_fini(&h->hosts);
	free(h);
}

static void follow_config(struct loop *l)
{
	struct service *s = l->service;
	struct config_hold *old = l->hold;

	pthread_mutex_lock(&s->hold_lock);
	l->hold = s->hold;
	if (l->hold != old)
		config_hold_get(l->hold);
	pthread_mutex_unlock(&s->hold_lock);
	if (l->hold != old)
		config_hold_put(old);
}

/* ---- libmicrohttpd */

static void read_clock(struct loop *l)
{
	l->now_ns = clock_mono_ns();
	l->now_ms = l->now_ns / 1000000;
}

void loop_serve(struct loop *l)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	read_clock(l);
	if (MHD_run(l->daemon) != MHD_YES)
		LOG_ERROR("MHD_run failed: %s", strerror(errno));
	conn_hurry(l);
	if (MHD_get_timeout(l->daemon, &wait_ms) == MHD_YES) {
		struct timeval t = { (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };
		event_add(l->mhd_timer, &t);
	}
}

static void on_mhd(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	loop_serve(arg);
}

/* ---- draining */

static void drain(struct loop *l)
{
	unsigned how = atomic_load(&l->service->drain);

	if (how < DRAIN_SOFT)
		return;
	if (!l->stopping) {
		/* The sockets stay open: they are the master's, and the next worker serves them. */
		l->stopping = true;
		for (unsigned i = 0; i < l->n_listeners; i++)
			event_del(l->listen_events[i]);
		event_del(l->accept_again);
	}
	if (how == DRAIN_NOW) {
		conn_close_idle(l, false);
		loop_serve(l);
	}
	if (!l->n_conns)
		event_base_loopbreak(l->base);
}

void loop_break(struct loop *l)
{
	event_base_loopbreak(l->base);
}

/* ---- bells */

static void knock(const struct loop *l)
{
	uint64_t one = 1;

	(void)!write(l->bell, &one, sizeof one);
}

void loop_return(struct request *r)
{
	struct loop *l = r->loop;
	bool first;

	pthread_mutex_lock(&l->lock);
	first = !l->returned;
	r->next = l->returned;
	l->returned = r;
	pthread_mutex_unlock(&l->lock);
	if (first)
		knock(l);
}

void loop_wake(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->look = true;
	pthread_mutex_unlock(&l->lock);
	knock(l);
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct request *r, *next;
	bool look, resumed = false;
	uint64_t n;
	(void)what;

	(void)!read(fd, &n, sizeof n);
	pthread_mutex_lock(&l->lock);
	r = l->returned;
	l->returned = NULL;
	look = l->look;
	l->look = false;
	pthread_mutex_unlock(&l->lock);
	read_clock(l);
	for (; r; r = next) {
		next = r->next;
		if (http_returned(r))
			resumed = true;
		else
			look = true;   /* it may have been answered before we listened */
	}
	if (look)
		resumed |= wait_check(l);
	if (resumed)
		loop_serve(l);
	drain(l);
}

/* The desk's doorbell has one eventfd: the first loop hears it for all. */
static void on_door(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct service *s = l->service;
	(void)fd, (void)what;

	desk_hush(s->desks);
	for (unsigned i = 0; i < s->n_lanes; i++)
		submit_wake(&s->lanes[i]);
	for (unsigned i = 1; i < s->n_loops; i++)
		loop_wake(&s->loops[i]);
	read_clock(l);
	if (wait_check(l))
		loop_serve(l);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	(void)fd, (void)what;

	l->ticks++;
	read_clock(l);
	metric_add(M_CPU_OTHER, metric_cpu_ns(&l->cpu_ns));
	follow_config(l);
	conn_watch(l);
	wait_check(l);
	loop_serve(l);
	drain(l);
}

/* ---- life */

static enum err add_event(struct loop *l, struct event **e, int fd, short what, event_callback_fn fn, const struct timeval *t)
{
	*e = event_new(l->base, fd, what, fn, l);
	return *e && (fd < 0 && !t ? 0 : event_add(*e, t)) == 0 ? EG_E_OK : EG_E_INTERNAL;
}

/* The worker's sockets are dealt out: there may be more than loops x addresses. */
static enum err add_listeners(struct loop *l)
{
	const struct heritage *h = l->service->heritage;
	enum err e;

	for (unsigned i = l->number; i < h->n_listeners; i += l->service->n_loops) {
		int fd = h->listeners[i].fd;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if ((e = add_event(l, &l->listen_events[l->n_listeners], fd, EV_READ | EV_PERSIST, conn_accept, NULL)))
			return e;
		l->n_listeners++;
	}
	return EG_E_OK;
}

static enum err add_events(struct loop *l)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct timeval tick = { 0, EG_TICK_MS * 1000 };
	const short in = EV_READ | EV_PERSIST;
	enum err e;

	if (!info || info->epoll_fd < 0)
		return EG_E_INTERNAL;
	if ((e = add_event(l, &l->mhd_event, info->epoll_fd, in, on_mhd, NULL)) ||
	    (e = add_event(l, &l->mhd_timer, -1, 0, on_mhd, NULL)) ||
	    (e = add_event(l, &l->accept_again, -1, 0, conn_accept_again, NULL)) ||
	    (e = add_event(l, &l->bell_event, l->bell, in, on_bell, NULL)) ||
	    (e = add_event(l, &l->tick, -1, EV_PERSIST, on_tick, &tick)))
		return e;
	if (l->number == 0 &&
	    (e = add_event(l, &l->door_event, l->service->desks->bell[l->service->desks->self], in, on_door, NULL)))
		return e;
	return add_listeners(l);
}

enum err loop_init(struct loop *l, struct service *s, unsigned number, struct fault *f)
{
	const struct heritage *h = s->heritage;

	memset(l, 0, sizeof *l);
	l->service = s;
	l->number = number;
	l->listen_events = calloc(h->n_listeners + 1, sizeof *l->listen_events);
	l->base = event_base_new();
	l->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_init(&l->lock, NULL);
	read_clock(l);
	follow_config(l);
	if (!l->base || !l->listen_events || l->bell < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "cannot make an event loop: %s", strerror(errno));
	if (http_open(l, f))
		return f->err;
	if (add_events(l))
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "cannot watch the sockets: %s", strerror(errno));
	return EG_E_OK;
}

void loop_run(struct loop *l)
{
	metric_cpu_ns(&l->cpu_ns);
	event_base_dispatch(l->base);
	l->forced = l->n_conns > 0;
	metric_add(M_CPU_OTHER, metric_cpu_ns(&l->cpu_ns));
}

void loop_fini(struct loop *l)
{
	struct event *events[] = { l->mhd_event, l->mhd_timer, l->tick, l->bell_event, l->door_event, l->accept_again };

	if (l->forced)                 /* libmicrohttpd must not be stopped with suspended connections */
		return;
	http_close(l);
	for (unsigned i = 0; i < sizeof events / sizeof *events; i++)
		if (events[i])
			event_free(events[i]);
	for (unsigned i = 0; i < l->n_listeners; i++)
		if (l->listen_events[i])
			event_free(l->listen_events[i]);
	free(l->listen_events);
	event_base_free(l->base);
	close(l->bell);
	close(l->spare_fd);
	config_hold_put(l->hold);
	pthread_mutex_destroy(&l->lock);
}
