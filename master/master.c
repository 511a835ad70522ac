#include "master/master.h"

#include <errno.h>
#include <limits.h>
#include <numa.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/notify.h"
#include "master/signals.h"
#include "master/title.h"
#include "shm/metrics.h"
#include "shm/region.h"

#define EG_TICK_MS 50                  /* while something is awaited that may not ring */
#define EG_STOP_SECONDS 10             /* patience of a fast stop, for each rank */
#define EG_GRACE_SECONDS 2             /* beyond drain_timeout_seconds, after which children end by themselves */
#define EG_ADDRESS_MS 2000u            /* a killed server's sockets close a moment after its LOCK is free */
#define EG_NS INT64_C(1000000000)

/* ---- before the first fork */

static enum err count_workers(struct master *m, struct fault *f)
{
	const struct config *cfg = m->cfg;
	unsigned most = (EG_DESKS_MAX - EG_DESK_FIRST) / 2 - 1;

	m->nodes = cfg->numa_numa_aware && numa_available() >= 0 ? (unsigned)numa_num_configured_nodes() : 1;
	m->workers = (unsigned)cfg->workers_per_node * m->nodes;
	if (m->workers > most)
		return err_set(f, EG_E_INPUT, "workers.per_node", NULL,
		               "%u workers on %u memory nodes: at most %u in all", m->workers, m->nodes, most);
	return EG_E_OK;
}

/* Desks for two generations during a reload and for dead ones that are being
 * drained; a lane for each store thread, as far as there are lanes. */
static enum err make_desks(struct master *m, struct fault *f)
{
	unsigned producers = m->workers + 1;
	unsigned n = EG_DESK_FIRST + 3 * producers;
	unsigned threads = ((unsigned)m->cfg->thread_pools_store_workers + m->workers - 1) / m->workers;

	return desks_new(&m->desks, n < EG_DESKS_MAX ? n : EG_DESKS_MAX, threads, producers,
	                 (size_t)m->cfg->wal_buffer_size_mb << 20, f);
}

static void master_seat(struct master *m)
{
	struct master_page *page = desk_master(&m->desks);
	struct seat *seat = &page->seats[EG_DESK_MASTER];
	struct desk_header *h = desk_header(&m->desks, EG_DESK_MASTER);

	atomic_store(&page->config_generation, 1);
	atomic_store(&page->clock_offset_seconds, m->cfg->testing_clock_offset_seconds);
	atomic_store(&seat->kind, EG_PROCESS_MASTER);
	atomic_store(&seat->pid, getpid());
	atomic_store(&seat->incarnation, 1);
	atomic_store(&seat->started_us, (uint64_t)clock_real_us());
	atomic_store(&seat->state, EG_DESK_BUSY);
	atomic_store(&h->incarnation, 1);
	atomic_store(&h->config_generation, 1);
	atomic_store(&h->pid, getpid());
	/* For good: children that ring when they are ready or drained are always heard. */
	atomic_store(&h->sleeping, 1);
	atomic_store(&h->ready, 1);
}

void master_heritage(struct master *m)
{
	struct spawn *s = &m->family.spawn;

	s->sockets = &m->sockets;
	s->heritage.config = m->cfg;
	s->heritage.config_path = m->config_path;
	s->heritage.overrides = m->overrides;
	s->heritage.n_overrides = m->n_overrides;
	s->heritage.config_generation = atomic_load(&desk_master(&m->desks)->config_generation);
	s->heritage.desks = &m->desks;
}

static enum err open_steps(struct master *m, struct fault *f)
{
	struct spawn *s = &m->family.spawn;
	enum err e = count_workers(m, f);

	if (e == EG_E_OK)
		e = files_owner(m->cfg, &s->owner, f);
	if (e == EG_E_OK)
		e = files_open(m->cfg, &s->owner, &s->heritage.lock_fd, s->heritage.shm_prefix, f);
	if (e == EG_E_OK)
		e = upgrade_expected() ? upgrade_join(m, f) : files_lock(m->cfg, &s->heritage.lock_fd, f);
	m->sockets.patience_ms = EG_ADDRESS_MS;
	if (e == EG_E_OK)
		e = sockets_update(&m->sockets, m->cfg, m->workers, f);
	m->sockets.patience_ms = 0;
	if (e == EG_E_OK)
		e = make_desks(m, f);
	if (e == EG_E_OK)
		e = files_pid_write(m->cfg->server_pid_file, f);
	if (e != EG_E_OK)
		return e;
	m->signal_fd = signals_open();
	if (m->signal_fd < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "signalfd: %s", strerror(errno));
	if (getrandom(&s->heritage.boot_id, sizeof s->heritage.boot_id, 0) != sizeof s->heritage.boot_id)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "getrandom: %s", strerror(errno));
	return EG_E_OK;
}

enum err master_open(struct master *m, struct fault *f)
{
	struct spawn *s = &m->family.spawn;
	enum err e;

	m->signal_fd = s->heritage.lock_fd = m->upgrade.channel = m->upgrade.handle = -1;
	m->serve = true;
	clock_set_offset_seconds(m->cfg->testing_clock_offset_seconds);
	e = open_steps(m, f);
	if (e != EG_E_OK) {
		master_close(m);
		return e;
	}
	files_give(log_fd(), &s->owner);
	memset(s->private_fds, 0xff, sizeof s->private_fds);
	s->private_fds[0] = m->signal_fd;
	master_seat(m);
	family_init(&m->family, m->kinds, &m->desks, m->workers, (unsigned)m->cfg->workers_per_node);
	master_heritage(m);
	if (m->upgrade.phase != UPGRADE_NONE)
		upgrade_prepared(m);
	return EG_E_OK;
}

void master_close(struct master *m)
{
	struct heritage *h = &m->family.spawn.heritage;

	if (h->lock_fd >= 0)
		files_pid_remove(m->cfg->server_pid_file);
	sockets_close(&m->sockets);
	if (m->desks.n > 0)
		desks_free(&m->desks);
	if (m->signal_fd >= 0)
		close(m->signal_fd);
	if (h->lock_fd >= 0)
		close(h->lock_fd);
	if (m->upgrade.channel >= 0)
		close(m->upgrade.channel);
	if (m->upgrade.handle >= 0)
		close(m->upgrade.handle);
}

/* ---- the wishes */

static int64_t drain_ns(const struct master *m)
{
	return (m->cfg->server_drain_timeout_seconds + EG_GRACE_SECONDS) * EG_NS;
}

static void reopen(struct master *m)
{
	if (log_reopen() != EG_E_OK)
		LOG_ERROR("the log file cannot be opened anew: %s", strerror(errno));
	files_give(log_fd(), &m->family.spawn.owner);
	family_signal(&m->family, SIGUSR1);
	LOG_INFO("log files are open anew");
}

static void drain(struct master *m, int64_t now)
{
	const struct kind *v = m->kinds->v;

	m->serve = false;
	for (unsigned k = 0; k < m->kinds->n; k++) {
		if (v[k].serves)
			family_tell(&m->family, v[k].rank, FAMILY_LEAVE, drain_ns(m), now);
	}
}

static void end_begin(struct master *m, enum master_end end)
{
	if (end > m->end)
		m->end = end;
	upgrade_cancel(m);
	if (atomic_exchange(&desk_master(&m->desks)->stopping, 1) != 0)
		return;
	notify_stopping();
	family_ring(&m->family);
}

static void grant(struct master *m, unsigned wishes, int64_t now)
{
	if (wishes & SIGNALS_STOP)
		end_begin(m, MASTER_STOPS);
	if (wishes & SIGNALS_LEAVE)
		end_begin(m, MASTER_LEAVES);
	if (wishes & SIGNALS_REOPEN)
		reopen(m);
	if (m->end != MASTER_STAYS)
		return;
	if (m->upgrade.phase != UPGRADE_NONE && (wishes & (SIGNALS_RELOAD | SIGNALS_DRAIN | SIGNALS_UPGRADE))) {
		LOG_WARN("not while an upgrade is going on");
		return;
	}
	if (wishes & SIGNALS_RELOAD)
		(void)reload_run(m);
	if (wishes & SIGNALS_DRAIN)
		drain(m, now);
	if (wishes & SIGNALS_UPGRADE)
		upgrade_begin(m, now);
}

bool master_leave(struct master *m, int64_t now)
{
	bool fast = m->end == MASTER_STOPS;
	int64_t patience = fast ? EG_STOP_SECONDS * EG_NS : drain_ns(m);

	for (unsigned rank = 0; rank < EG_KINDS_MAX; rank++) {
		if (family_count(&m->family, rank) == 0)
			continue;
		family_tell(&m->family, rank, fast ? FAMILY_STOP : FAMILY_LEAVE, patience, now);
		return false;
	}
	return true;
}

/* ---- the cycle */

/* Until a signal, a ring, or the next moment at which something is due. */
static void wait_for_something(const struct master *m, bool impatient)
{
	struct pollfd fds[] = {
		{ .fd = m->signal_fd, .events = POLLIN },
		{ .fd = m->upgrade.channel, .events = POLLIN },
		{ .fd = m->desks.bell[EG_DESK_MASTER], .events = POLLIN },
	};
	int64_t now = clock_mono_ns();
	int64_t wait_ns = family_deadline(&m->family, now) - now;
	int64_t watch_ns = m->cfg->server_heartbeat_seconds * EG_NS / 4;

	if (watch_ns > EG_NS)
		watch_ns = EG_NS;
	if (watch_ns > notify_watchdog_ns())
		watch_ns = notify_watchdog_ns();
	if (impatient)
		watch_ns = EG_TICK_MS * INT64_C(1000000);
	if (wait_ns > watch_ns)
		wait_ns = watch_ns;
	if (wait_ns > 0)
		(void)poll(fds, 3, (int)((wait_ns + 999999) / 1000000));
	(void)desk_hush(&m->desks);
}

static void report_memory(struct master *m, int64_t now)
{
	if (now < m->report_at)
		return;
	m->report_at = now + EG_NS;
	metrics_report_memory(&m->desks);
}

/* Says once per generation that everybody is ready. */
static void say_ready(struct master *m, unsigned old)
{
	if (m->ready || old > 0 || !m->serve || !family_ready(&m->family))
		return;
	m->ready = true;
	notify_ready();
	LOG_INFO("ready: configuration generation %u, %u worker process%s",
	         m->family.spawn.heritage.config_generation, m->workers, m->workers == 1 ? "" : "es");
}

/* False: this master has come to its end. */
static bool step(struct master *m, int64_t now, bool *impatient)
{
	struct family *fam = &m->family;
	enum upgrade_rule rule = upgrade_step(m, now);
	unsigned old;

	if (m->upgrade.end != EG_E_OK)
		end_begin(m, MASTER_STOPS);
	*impatient |= m->upgrade.phase != UPGRADE_NONE;
	if (rule == UPGRADE_GONE)
		return false;
	if (m->end != MASTER_STAYS)
		return !master_leave(m, now) || m->upgrade.phase == UPGRADE_RECLAIMING;
	if (rule == UPGRADE_HOLD)
		return true;
	family_fill(fam, m->serve && rule == UPGRADE_SERVE, now);
	old = family_retire(fam, drain_ns(m), now);
	if (old == 0 && sockets_sweep(&m->sockets) > 0)
		LOG_INFO("addresses that are not configured any more are closed");
	say_ready(m, old);
	*impatient |= old > 0 || !m->ready;
	return true;
}

enum err master_run(struct master *m)
{
	struct family *fam = &m->family;
	int64_t heartbeat_ns;
	bool impatient = false;

	while (true) {
		int64_t now = clock_mono_ns();
		/* Before reaping: who dies from here on leaves a signal for the next round. */
		unsigned wishes = signals_take(m->signal_fd);

		heartbeat_ns = m->cfg->server_heartbeat_seconds * EG_NS;
		desk_beat(&m->desks);
		report_memory(m, now);
		family_reap(fam, now);
		family_watch(fam, heartbeat_ns, now);
		impatient = family_release(fam);
		grant(m, wishes, now);
		if (fam->hopeless != 0 && m->end == MASTER_STAYS) {
			LOG_ERROR("the data directory is damaged: nothing is served; see engram-server(8)");
			end_begin(m, MASTER_STOPS);
		}
		if (!step(m, now, &impatient))
			break;
		notify_round(fam, m->ready, heartbeat_ns, now);
		log_flush();
		wait_for_something(m, impatient);
	}
	/* Only here: a start that failed leaves what a crash left to the next one, and
	 * an upgrade that is not over leaves it to the other master. */
	if (m->upgrade.phase == UPGRADE_NONE)
		region_unlink_all(fam->spawn.heritage.shm_prefix);
	LOG_INFO("everybody has left");
	return fam->hopeless != 0 ? EG_E_VALIDATION : m->upgrade.end;
}
