/* The wal process, see the header. Threads: the log thread (this one, comm
 * eg-wal) runs rounds; apply threads apply and answer (appliers.c); one thread
 * links vectors into graphs (linker.c), one makes spare segments (spares.c). What it guarantees: an answer is sent when the
 * change is in the log in its mode and visible. If it dies, the master starts
 * another one on the same desk; workers keep answering recalls meanwhile.
 */
#include "wal/writer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/reclaim_write.h"
#include "shm/slot_write.h"
#include "wal/admit.h"
#include "wal/append.h"
#include "wal/lanes.h"
#include "wal/mend.h"
#include "wal/recover.h"
#include "wal/upkeep.h"

static volatile sig_atomic_t asked_stop, asked_reopen;
static int bell_fd = -1;

static void on_signal(int number)
{
	int saved = errno;
	uint64_t one = 1;
	ssize_t n;

	if (number == SIGUSR1)
		asked_reopen = 1;
	else
		asked_stop = 1;
	n = write(bell_fd, &one, sizeof one);
	(void)n;                           /* full means rung already */
	errno = saved;
}

/* After one of these a wild store is possible: say so in the store itself, where
 * the next writer looks, whoever else dies with us. */
static _Atomic uint32_t *suspect_word;

static void on_crash(int number)
{
	if (suspect_word != NULL)
		atomic_store(suspect_word, 1);
	raise(number);                     /* the handler was reset: this ends us */
}

static void catch_crashes(_Atomic uint32_t *word)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	struct sigaction act = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER };

	suspect_word = word;
	sigemptyset(&act.sa_mask);
	for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sigaction(numbers[i], &act, NULL);
}

static void catch_signals(int bell)
{
	struct sigaction act = { .sa_handler = on_signal };

	bell_fd = bell;
	sigemptyset(&act.sa_mask);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGQUIT, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
}

/* ---- one round ---------------------------------------------------------------- */

static enum err append_change(struct writer *w, struct change *c, struct fault *f)
{
	struct record *to;
	enum err e = append_record(&w->append, &c->head, &to, f);

	if (e != EG_E_OK)
		return e;
	memcpy(to + 1, c->payload != NULL ? c->payload : c->own, c->head.bytes - sizeof *to);
	append_done(&w->append, to);
	c->plan.record = to;
	return EG_E_OK;
}

static bool must_sync(const struct writer *w, const struct round *r)
{
	if (w->sync_mode == CONFIG_SYNC_IMMEDIATE || w->append.copy.bytes > EG_UNSYNCED_MAX)
		return true;
	for (unsigned i = 0; i < r->n_entries; i++)
		if (r->entries[i].flags & EG_SUBMIT_DURABLE)
			return true;
	return false;
}

/* Put the admitted changes into the log, as durable as the mode says. */
static enum err log_round(struct writer *w, struct round *r, struct fault *f)
{
	int64_t began = clock_mono_ns();
	size_t bytes;
	enum err e;

	bytes = round_reserve_buffer(r, w->append.main.spares.bytes);
	append_begin(&w->append, r->buf, r->cap);
	e = append_ready(&w->append, bytes, f);
	for (size_t i = 0; i < r->n_changes && e == EG_E_OK; i++)
		e = append_change(w, &r->changes[i], f);
	FAULT(ROUND_BUILT);
	if (e == EG_E_OK)
		e = append_write(&w->append, f);
	r->durable = must_sync(w, r);
	if (e == EG_E_OK && r->durable)
		e = append_sync(&w->append, f);
	if (e == EG_E_OK)
		r->last_lsn = w->append.next_lsn - 1;
	metric_observe_ns(M_WAL_FLUSH, (uint64_t)(clock_mono_ns() - began));
	metric_add(M_WAL_ROUNDS, 1);
	return e;
}

/* The log failed. Nothing of the round was written: take it back. Something was:
 * the next writer finds it in the log, so let it start from there. */
static void log_failed(struct writer *w, struct round *r, uint64_t first_lsn, const struct fault *f)
{
	bool written = w->append.written > 0 || w->append.header.start_lsn > first_lsn || append_given_up(&w->append);

	LOG_ERROR("%s", f->message);
	if (f->err == EG_E_NO_STORAGE && written) {
		/* Half of the round is in the log: the next writer applies what is there,
		 * as soon as there is room for a segment. */
		LOG_ERROR("the wal process ends, for another one to go on from the log");
		log_flush();
		_exit(EX_TEMPFAIL);
	}
	if (f->err != EG_E_NO_STORAGE) {
		w->read_only = true;
		atomic_store(&desk_wal(w->desks)->state, EG_WAL_READ_ONLY);
		LOG_ERROR("the store is read-only until the wal process is restarted; recalls go on");
	}
	append_cancel(&w->append);
	/* What was written may be there for the next writer, synced or not: this round's
	 * outcome is not known. Later rounds are refused for certain. */
	admit_undo(&w->admit, r, f->err == EG_E_NO_STORAGE ? EG_E_NO_STORAGE : EG_E_WRITER);
}

static void refuse_round(struct writer *w, struct round *r)
{
	for (unsigned i = 0; i < r->n_entries; i++)
		r->entries[i].err = EG_E_READ_ONLY;
	admit_undo(&w->admit, r, EG_E_READ_ONLY);
}

static void publish_words(struct writer *w)
{
	struct wal_page *page = desk_wal(w->desks);

	/* First: who sees an LSN sees whether the data directory's own copy has it. */
	atomic_store_explicit(&page->main_doubt, mirror_main_doubt(w->append.mirror, w->append.main.lost),
	                      memory_order_relaxed);
	atomic_store_explicit(&page->lsn, w->append.next_lsn - 1, memory_order_release);
	atomic_store_explicit(&page->durable_lsn, w->append.durable_lsn, memory_order_release);
	atomic_store_explicit(&page->segments, w->append.segments - atomic_load(&w->install.gone_segments),
	                      memory_order_relaxed);
	atomic_store_explicit(&page->log_bytes, w->append.log_bytes - atomic_load(&w->install.gone_bytes),
	                      memory_order_relaxed);
	w->append.redo_lsn = atomic_load(&w->install.redo_lsn);
	install_wake(&w->install, w->read_only);
	atomic_store_explicit(&page->mirror_state, mirror_state(w->append.mirror, w->append.main.lost), memory_order_relaxed);
	atomic_store_explicit(&page->mirror_losses, w->append.mirror != NULL ? w->append.mirror->losses : 0,
	                      memory_order_relaxed);
	if (!w->append.unsynced)
		w->unsynced_since_ns = 0;
	else if (w->unsynced_since_ns == 0)
		w->unsynced_since_ns = clock_mono_ns();
	atomic_store_explicit(&page->unsynced_since_ns, (uint64_t)w->unsynced_since_ns, memory_order_relaxed);
}

static void finish_round(struct writer *w, struct round *r)
{
	uint64_t first_lsn = w->append.next_lsn;
	struct fault f;
	enum err e = EG_E_OK;

	FAULT(ROUND_ADMITTED);
	if (r->n_changes > 0) {
		e = log_round(w, r, &f);
		FAULT(ROUND_LOGGED);
		if (e == EG_E_OK && atomic_load(&store_root(&w->store)->segment_number) != w->append.header.number)
			recover_note_segment(&w->store, &w->append);
		w->logged_ns = clock_mono_ns();
		if (e == EG_E_OK)
			admit_logged(&w->admit, r);
		else
			log_failed(w, r, first_lsn, &f);
	} else {
		/* Answers that rest on what is in the log already are as durable as it is. */
		if (must_sync(w, r) && !w->read_only)
			e = append_sync(&w->append, &f);
		if (e != EG_E_OK)
			log_failed(w, r, first_lsn, &f);
		r->durable = !w->append.unsynced;
	}
	publish_words(w);
	/* What this round took of the processor is what a replay of it would take, about. */
	if (r->last_lsn != 0)
		atomic_fetch_add(&store_root(&w->store)->work_ns, metric_cpu_ns(&w->work_ns));
	appliers_run(&w->appliers, r);
	FAULT(ROUND_HANDED);
	cohort_answered(&w->cohort, clock_mono_ns());
}

/* The last spare segment is kept for what must go on: stores are refused (507)
 * while no other can be made. The thread that makes them tries each second. */
static void look_for_room(struct writer *w)
{
	bool full = !w->append.main.lost && spares_short(&w->append.main.spares);

	if (full != w->admit.full)
		LOG_WARN(full ? "no room for the log: stores are refused, all else goes on"
		              : "there is room for the log again: stores are taken");
	w->admit.full = full;
	atomic_store_explicit(&desk_wal(w->desks)->no_room, full, memory_order_relaxed);
}

static void gather(struct writer *w, struct round *r)
{
	unsigned before = r->n_entries;

	(void)lanes_gather(&w->lanes, r);
	for (unsigned i = before; i < r->n_entries; i++)
		cohort_add(&w->cohort, (int64_t)r->entries[i].stamp_ns);
}

/* Those who were answered a moment ago are given the time to join (cohort.h).
 * Nobody rings meanwhile: the time is shorter than a wake-up is worth. */
static void await_cohort(struct writer *w, struct round *r)
{
	const struct timespec pause = { 0, EG_COHORT_GAP_NS / 10 };
	struct pollfd p = { .fd = w->desks->bell[EG_DESK_WAL], .events = POLLIN };

	if (w->sync_mode != CONFIG_SYNC_IMMEDIATE)
		return;
	while (!lanes_full(&w->lanes, r) && !asked_stop && cohort_wait(&w->cohort, clock_mono_ns())) {
		(void)ppoll(&p, 1, &pause, NULL);
		gather(w, r);
	}
}

/* Take what the lanes hold; false when there was nothing. */
static bool run_round(struct writer *w)
{
	struct round *r = appliers_round(&w->appliers);

	round_begin(r);
	(void)metric_cpu_ns(&w->work_ns);
	cohort_begin(&w->cohort);
	lanes_begin(&w->lanes);
	gather(w, r);
	if (r->n_entries == 0) {
		r->busy = false;
		return false;
	}
	await_cohort(w, r);
	if (w->read_only) {
		refuse_round(w, r);
	} else {
		look_for_room(w);
		for (unsigned i = 0; i < r->n_entries; i++)
			admit_entry(&w->admit, r, &r->entries[i], i);
	}
	finish_round(w, r);
	return true;
}

/* ---- sleeping and stopping ------------------------------------------------------ */

/* Long enough that a client that stores one memory after another never meets it, on a slow
 * disk neither, and a log that is written to all the time is no longer by it. */
#define EG_WITNESS_IDLE_NS INT64_C(50000000)

static bool wants_witness(const struct writer *w)
{
	return !w->read_only && append_wants_witness(&w->append);
}

static int sleep_ms(const struct writer *w)
{
	int64_t now = clock_mono_ns(), until = w->next_upkeep_ns;

	if (wants_witness(w) && w->logged_ns + EG_WITNESS_IDLE_NS < until)
		until = w->logged_ns + EG_WITNESS_IDLE_NS;
	if (w->unsynced_since_ns != 0 && !w->read_only) {
		int64_t due = w->unsynced_since_ns + w->config->wal_flush_interval_ms * 1000000;

		until = due < until ? due : until;
	}
	return until <= now ? 0 : (int)((until - now + 999999) / 1000000);
}

static void wait_for_work(struct writer *w)
{
	struct desk_header *h = desk_header(w->desks, EG_DESK_WAL);
	struct pollfd p = { .fd = w->desks->bell[EG_DESK_WAL], .events = POLLIN };
	int ms = sleep_ms(w);

	atomic_store_explicit(&h->sleeping, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (ms > 0 && !lanes_pending(&w->lanes) && !asked_stop)
		(void)poll(&p, 1, ms);
	atomic_store_explicit(&h->sleeping, 0, memory_order_relaxed);
	(void)desk_hush(w->desks);
}

static void sync_when_due(struct writer *w, bool now)
{
	struct fault f;

	if (w->unsynced_since_ns == 0 || w->read_only)
		return;
	if (!now && clock_mono_ns() < w->unsynced_since_ns + w->config->wal_flush_interval_ms * 1000000)
		return;
	if (append_sync(&w->append, &f) != EG_E_OK) {
		LOG_ERROR("%s; the store is read-only until the wal process is restarted", f.message);
		w->read_only = true;
		atomic_store(&desk_wal(w->desks)->state, EG_WAL_READ_ONLY);
	}
	publish_words(w);
}

/* The log is idle: one group more says that the last one was synced, else damage to it
 * would be taken for a commit that did not end. Nobody waits for that. */
static void witness_when_idle(struct writer *w)
{
	if (!wants_witness(w) || clock_mono_ns() < w->logged_ns + EG_WITNESS_IDLE_NS)
		return;
	(void)append_witness(&w->append);
	publish_words(w);
}

/* A copy of the log that was given up is tried again. */
static void rejoin_copy(struct writer *w)
{
	struct fault f;

	if (w->read_only || w->append.mirror == NULL)
		return;
	if (append_rejoin(&w->append, &f) != EG_E_OK)
		LOG_ERROR("%s", f.message);
	if (atomic_load(&store_root(&w->store)->segment_number) != w->append.header.number)
		recover_note_segment(&w->store, &w->append);
	publish_words(w);
}

/* The store holds all that is in the log: a successor has nothing to apply again,
 * whichever shard the last records were for. */
static void settle(struct writer *w)
{
	uint64_t last = w->append.next_lsn - 1;

	if (w->read_only || w->append.unsynced)
		return;
	for (unsigned s = 0; s <= EG_SHARDS; s++)
		atomic_store_explicit(&store_root(&w->store)->applied_lsn[s], last, memory_order_release);
}

/* A clean end: nothing is left in the lanes, and the log says so. */
static void shut_down(struct writer *w)
{
	struct round *r;
	struct change *c;

	while (run_round(w))
		;
	appliers_wait(&w->appliers);
	sync_when_due(w, true);
	FAULT(WRITER_DRAINED);
	if (!w->read_only) {
		r = appliers_round(&w->appliers);
		round_begin(r);
		c = round_add_change(r);
		c->head.bytes = sizeof c->head;
		c->head.type = EG_RECORD_SHUTDOWN;
		c->head.space = EG_NONE;
		c->head.stored_us = clock_real_us();
		w->sync_mode = CONFIG_SYNC_IMMEDIATE;
		finish_round(w, r);
	}
	appliers_close(&w->appliers);
	linkers_close(&w->linkers);
	backup_close(&w->backup);
	install_close(&w->install);
	settle(w);
	admit_close(&w->admit);
	append_close(&w->append);
	suspect_word = NULL;
	store_close(&w->store);
	datadir_close(&w->dir);
}

/* ---- start ------------------------------------------------------------------------ */

static enum err bootstrap(struct writer *w, struct fault *f)
{
	struct round *r = appliers_round(&w->appliers);
	enum err e = EG_E_OK;

	round_begin(r);
	for (size_t i = 0; i < w->config->memory_spaces_bootstrap_spaces.n && e == EG_E_OK; i++)
		e = admit_bootstrap(&w->admit, r, w->config->memory_spaces_bootstrap_spaces.v[i], f);
	if (e == EG_E_OK)
		e = admit_bootstrap(&w->admit, r, w->config->memory_spaces_default_space, f);
	if (e != EG_E_OK)
		LOG_ERROR("bootstrap_spaces: %s", f->message);
	finish_round(w, r);
	return e;
}

/* An operator went on without what could not be read: nobody shall forget that. */
static void say_losses(const struct writer *w)
{
	struct wal_page *page = desk_wal(w->desks);
	struct losses l;

	losses_read(w->dir.fd, &l);
	atomic_store(&page->lost_records, l.records);
	atomic_store(&page->lost_first, l.first);
	atomic_store(&page->lost_last, l.last);
	atomic_store(&page->lost_ranges, l.ranges);
	if (l.ranges > 0)
		LOG_WARN("loss was accepted: %llu records in %u ranges from LSN %llu to %llu are gone (LOSS tells more)",
		         (unsigned long long)l.records, l.ranges, (unsigned long long)l.first, (unsigned long long)l.last);
}

static enum err start(struct writer *w, const struct heritage *h, struct fault *f)
{
	struct wal_page *page = desk_wal(h->desks);
	struct logged logged = { 0 };
	struct recovered r;
	enum err e;

	config_choose_kernels(h->config);  /* for the linking thread */
	w->heritage = h;
	w->config = h->config;
	w->desks = h->desks;
	w->sync_mode = (enum config_sync)h->config->wal_sync_mode;
	w->generation = h->config_generation;
	atomic_store(&page->state, EG_WAL_STARTING);
	if (atomic_load(&page->epoch) == 0)
		atomic_store(&page->epoch, 1);
	e = recover(&w->dir, &w->store, &w->append, &logged, h, &r, f);
	if (e == EG_E_OK)
		e = appliers_open(&w->appliers, &w->store, h->desks, (unsigned)h->config->wal_apply_threads, f);
	if (e != EG_E_OK)
		return e;
	say_losses(w);
	catch_crashes(&store_root(&w->store)->suspect);
	writer_graph_min(w);
	w->store.links = 2 * (unsigned)h->config->hnsw_index_M;
	linkers_open(&w->linkers, &w->store, h->desks, (unsigned)h->config->hnsw_index_ef_construction);
	e = linkers_start(&w->linkers, f);
	if (e != EG_E_OK)
		return e;
	atomic_store(&page->recovered_records, r.records);
	atomic_store(&page->recovery_ns, r.ns);
	e = install_open(&w->install, &w->dir, w->desks, &w->store, f);
	if (e != EG_E_OK)
		return e;
	e = backup_open(&w->backup, &w->dir, w->desks, &w->install, h->config->storage_backup_dir, f);
	if (e != EG_E_OK)
		return e;
	admit_open(&w->admit, &w->store, &w->appliers, w->config, w->append.main.spares.bytes);
	w->admit.logged = logged;
	w->admit.install = &w->install;
	w->admit.backup = &w->backup;
	appliers_hold_acked(&w->appliers, logged.n > 0);
	lanes_open(&w->lanes, h->desks);
	publish_words(w);
	return bootstrap(w, f);
}

int wal_main(const struct heritage *h)
{
	static struct writer w;            /* large; one a process */
	struct fault f;
	enum err e;

	catch_signals(h->desks->bell[EG_DESK_WAL]);
	metrics_attach(h->desks);
	FAULT(WRITER_STARTED);
	e = start(&w, h, &f);
	if (e != EG_E_OK) {
		LOG_ERROR("%s", f.message);
		return e == EG_E_VALIDATION || e == EG_E_LATER ? EX_DATAERR : EX_TEMPFAIL;
	}
	/* Read-only: the log took not even the spaces that a start makes. */
	if (!w.read_only)
		atomic_store(&desk_wal(h->desks)->state, EG_WAL_RUNNING);
	atomic_store(&desk_header(h->desks, EG_DESK_WAL)->config_generation, w.generation);
	atomic_store(&desk_header(h->desks, EG_DESK_WAL)->ready, 1);
	FAULT(WRITER_READY);
	desk_ring_always(h->desks, EG_DESK_MASTER);
	for (unsigned k = EG_DESK_FIRST; k < h->desks->n; k++)
		desk_ring_always(h->desks, k); /* those who wait for the store */
	while (!asked_stop && getppid() == h->parent_pid) {
		bool busy = run_round(&w);

		sync_when_due(&w, false);
		witness_when_idle(&w);
		if (asked_reopen) {
			asked_reopen = 0;
			if (log_reopen() != EG_E_OK)
				LOG_ERROR("the log file cannot be opened again: %s", strerror(errno));
		}
		rejoin_copy(&w);
		upkeep(&w, busy);
		if (!busy) {
			publish_words(&w); /* the second hand may have changed some */
			wait_for_work(&w);
		}
	}
	shut_down(&w);
	LOG_INFO("the wal process ends; the log is complete up to LSN %llu",
	         (unsigned long long)atomic_load(&desk_wal(h->desks)->lsn));
	return EX_OK;
}
