/* Recovery, see the header: start-up as a list, in recover() below. */
#include "wal/recover.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/epoch.h"
#include "shm/graph_write.h"
#include "shm/metrics.h"
#include "shm/repair_write.h"
#include "wal/load.h"
#include "wal/replayer.h"
#include "wal/scan.h"
#include "wal/submit.h"

/* Readers of the last writer's time may still look at what is free now. They
 * leave within milliseconds; a stuck one is ended by the master's watch. */
static void wait_for_old_readers(struct store_writer *w)
{
	struct wal_page *page = desk_wal(w->desks);
	uint64_t epoch = atomic_fetch_add(&page->epoch, 1);

	while (epoch_oldest(w->desks) <= epoch) {
		desk_beat(w->desks);
		usleep(500);               /* nobody rings when a reader leaves */
	}
}

/* Readers see that their store has ended, and attach to the next one. */
static void give_up_store(struct store_writer *w, const char *why)
{
	LOG_ERROR("%s; the store is built anew from the log", why);
	atomic_store_explicit(&store_root(w)->state, EG_STORE_BUILDING, memory_order_release);
	store_close(w);
}

static uint64_t applied(struct store_writer *w, bool highest)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (unsigned s = 0; s < EG_SHARDS; s++) {
		uint64_t lsn = atomic_load(&store_root(w)->applied_lsn[s]);

		low = lsn < low ? lsn : low;
		high = lsn > high ? lsn : high;
	}
	return highest ? high : low;
}

/* Readers of another one leave it. */
static void name_store(struct store_writer *w, const struct heritage *h)
{
	atomic_store(&desk_wal(h->desks)->store_generation, atomic_load(&store_root(w)->generation));
}

/* A family that was killed leaves a store that can be read, as it can after the death of the wal
 * process alone: at every instruction readers find each memory whole, or not at all.
 * So the new family's readers need not wait for repair and replay, if the store belongs to
 * this log. Not when the last writer may have stored anywhere. */
static void let_readers_in(struct store_writer *w, const struct heritage *h, const struct datadir *d)
{
	struct root *root = store_root(w);

	if (atomic_load(&root->boot_id) == h->boot_id
	    || !scan_reaches(d, atomic_load(&root->segment_number), atomic_load(&root->segment_salt), applied(w, true)))
		return;
	/* No lane of this family holds an entry of what is applied: a successor need not read
	 * the log from its beginning. */
	atomic_store(&desk_wal(h->desks)->acked_lsn, applied(w, false));
	store_publish(w, h->boot_id);
	FAULT(READERS_EARLY);
	for (unsigned k = EG_DESK_FIRST; k < h->desks->n; k++)
		desk_ring_always(h->desks, k);
}

/* Adopt what the last writer left, of this family or of one that died. False:
 * there is nothing, or it cannot be trusted. */
static bool adopt(struct store_writer *w, const struct heritage *h, const struct datadir *d)
{
	struct repair_report report;
	struct fault f;
	bool suspect;

	if (store_adopt(w, h->desks, h->shm_prefix, d->uuid, h->config->storage_use_huge_pages, &f) != EG_E_OK) {
		if (strcmp(f.field, "layout") == 0)
			LOG_WARN("%s: the store is built anew", f.message);
		return false;
	}
	name_store(w, h);
	wait_for_old_readers(w);
	FAULT(READERS_LEFT);
	suspect = atomic_load(&store_root(w)->suspect) != 0;
	if (suspect) {
		LOG_WARN("the last wal process did not die of a kill: every object is verified, and graphs are built anew");
		graph_distrust(w);
	} else {
		let_readers_in(w, h, d);
	}
	if (store_repair(w, suspect, &report, &f) == EG_E_OK) {
		atomic_store(&store_root(w)->suspect, 0);
		LOG_INFO("repair: %llu memories live; freed %llu slots, %llu vectors, %llu chunks; ids: %llu removed,"
		         " %llu added%s", (unsigned long long)report.live, (unsigned long long)report.freed_slots,
		         (unsigned long long)report.freed_nodes, (unsigned long long)report.freed_chunks,
		         (unsigned long long)report.removed_ids, (unsigned long long)report.added_ids,
		         suspect ? "; all verified" : "");
		if (report.graphs_dropped + report.graphs_rebuilt > 0)
			LOG_INFO("repair: %llu graphs dropped, %llu to be built again", (unsigned long long)report.graphs_dropped,
			         (unsigned long long)report.graphs_rebuilt);
		return true;
	}
	give_up_store(w, f.message);
	return false;
}

static enum err create(struct store_writer *w, const struct heritage *h, const struct datadir *d, struct fault *f)
{
	unsigned stale = region_unlink_all(h->shm_prefix);
	enum err e;

	if (stale > 0)
		LOG_INFO("removed %u shared memory objects of an earlier server", stale);
	e = store_create(w, h->desks, h->shm_prefix, d->uuid, h->boot_id, h->config->storage_use_huge_pages, f);
	if (e == EG_E_OK)
		name_store(w, h);
	return e;
}

/* The next checkpoint may share extents with this one, when every row stands as it is there. */
static void note_loaded(struct store_writer *w, const struct checkpoint_place *place, const struct load_report *r)
{
	if (r->dropped == 0 && r->parted == 0 && !r->anew)
		atomic_store(&store_root(w)->checkpoint_id, place->id);
}

static void tell_loaded(const struct checkpoint_place *place, const struct load_report *r, int64_t began)
{
	if (r->anew)
		LOG_INFO("checkpoint %llu is of another layout of shared memory: each memory got a new place",
		         (unsigned long long)place->id);
	LOG_INFO("checkpoint %llu: %llu memories loaded in %.3f s, up to LSN %llu (rows %.3f s, room %.3f s, records %.3f s,"
	         " ids %.3f s, lists %.3f s)", (unsigned long long)place->id, (unsigned long long)r->memories,
	         (double)(clock_mono_ns() - began) / 1e9, (unsigned long long)place->start_lsn,
	         (double)r->ns[EG_LOAD_ROWS] / 1e9, (double)r->ns[EG_LOAD_FRAME] / 1e9,
	         (double)r->ns[EG_LOAD_RECORDS] / 1e9, (double)r->ns[EG_LOAD_IDS] / 1e9,
	         (double)r->ns[EG_LOAD_LISTS] / 1e9);
}

/* A new store: from the newest checkpoint that is whole, else empty, to be filled from the
 * whole log. *from: the first record that is to be applied. */
static enum err load(struct store_writer *w, const struct heritage *h, const struct datadir *d, uint64_t *from,
                     struct scan *s, struct fault *f)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t began = clock_mono_ns();
	struct load_report r;
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < d->super.n_places; i++) {
		const struct checkpoint_place *place = &d->super.places[i];

		scan_early(d, place->start_lsn + 1, s);
		e = create(w, h, d, f);
		if (e == EG_E_OK)
			e = load_checkpoint(w, d, place, cpus > 0 ? (unsigned)cpus : 1, &r, f);
		if (e == EG_E_OK) {
			*from = place->start_lsn + 1;
			note_loaded(w, place, &r);
			tell_loaded(place, &r, began);
			return e;
		}
		if (e != EG_E_VALIDATION || r.rot)
			return e;
		LOG_ERROR("checkpoint %llu cannot be used: %s; %s", (unsigned long long)place->id, f->message,
		          i + 1 < d->super.n_places ? "the one before is tried" : "the whole log is applied");
		metric_add(M_CHECKPOINT_FALLBACKS, 1);
		atomic_store(&desk_wal(w->desks)->checkpoint.fell_back, 1);
		store_close(w);
		FAULT(LOAD_FALLBACK);
		scan_free(s);
	}
	*from = 1;
	return create(w, h, d, f);
}

static uint64_t replay_from(struct store_writer *w, const struct heritage *h)
{
	uint64_t from = applied(w, false), acked = atomic_load(&desk_wal(w->desks)->acked_lsn);

	if (atomic_load(&store_root(w)->boot_id) != h->boot_id)
		acked = UINT64_MAX - 1;    /* another family's lanes: nobody waits for an answer */
	/* What was not answered yet is needed too: lanes are read again from there. */
	return (acked < from ? acked : from) + 1;
}

/* The end of the last segment was never used: give its blocks back. */
static void trim_last(const struct datadir *d, const struct scan *s)
{
	char name[32];
	int fd;

	if (s->segments == 0 || !s->blank)
		return;
	datadir_segment_name(name, s->last_start);
	fd = FAULT_FD(LOG_TRIM_OPEN, io_open(d->wal_fd, name, O_RDWR));
	if (fd < 0 || FAULT_IO(LOG_TRIM_CUT, io_truncate(fd, s->last_used)) != 0)
		LOG_WARN("log: the end of %s is not given back", name);
	if (fd >= 0)
		close(fd);
}

static enum err open_mirror(struct append *a, const struct datadir *d, const struct heritage *h, bool usable,
                            struct fault *f)
{
	a->mirror = mirror_open(d, h->config->wal_mirror_dir, usable, h->config->wal_use_direct_io,
	                        a->main.spares.bytes, f);
	return a->mirror != NULL ? EG_E_OK : f->err;
}

/* What is damaged or missing in one copy comes from the other, before either is read. EG_E_COUNT: no mirror is wanted; EG_E_VALIDATION: no start. */
static enum err mend_copies(const struct heritage *h, struct fault *f)
{
	_Atomic uint32_t *seen = &desk_wal(h->desks)->mirror_seen;
	enum err e;

	if (h->config->wal_mirror_dir[0] == '\0')
		return EG_E_COUNT;
	e = mirror_mend(h->config->server_data_dir, h->config->wal_mirror_dir, atomic_load(seen) != 0, f);
	atomic_store(seen, e == EG_E_OK);
	return e;
}

static bool mirror_is_ahead(const char *data_dir)
{
	char path[4200];

	snprintf(path, sizeof path, "%s/%s", data_dir, EG_AHEAD);
	return access(path, F_OK) == 0;
}

/* May the start go on after mend_copies ended so? Never without the mirror when it alone
 * has the newest records. */
static enum err start_without(const struct heritage *h, enum err mirror, const struct fault *why, struct fault *f)
{
	if (mirror == EG_E_OK || (mirror != EG_E_VALIDATION && !mirror_is_ahead(h->config->server_data_dir)))
		return EG_E_OK;
	if (mirror == EG_E_COUNT)
		return err_set(f, EG_E_CONFLICT, NULL, NULL, "the newest records are in the mirror alone (AHEAD):"
		               " wal.mirror_dir must name it");
	*f = *why;
	return mirror;
}

/* mirror: how mend_copies ended. */
static enum err open_log(struct append *a, struct store_writer *w, const struct datadir *d, const struct scan *s,
                         const struct heritage *h, enum err mirror, struct fault *f)
{
	uint64_t start = s->last_lsn + 1;
	enum err e;

	memset(a, 0, sizeof *a);
	a->dir = d;
	a->announced = &store_root(w)->segment_next_salt;
	sink_init(&a->main, "the data directory", d, h->config->wal_use_direct_io);
	a->boot_id = h->boot_id;
	a->incarnation = s->incarnation + 1;
	a->header.number = s->last_number;
	a->prev_crc = s->last_crc;
	a->durable_lsn = s->durable_lsn > s->last_lsn ? s->last_lsn : s->durable_lsn;
	a->segments = s->segments;
	a->log_bytes = s->log_bytes;
	if (s->tail.bytes > 0)
		start = ((const struct group_header *)(const void *)s->tail.groups)->first_lsn;
	a->next_lsn = start;
	e = spares_open(&a->main.spares, d, (uint64_t)h->config->wal_segment_size_mb << 20, f);
	if (e == EG_E_OK && mirror != EG_E_COUNT)
		e = open_mirror(a, d, h, mirror == EG_E_OK, f);
	if (e == EG_E_OK)
		e = s->tail.bytes > 0 ? append_again(a, start, s->tail.groups, s->tail.bytes, f)
		                      : append_segment(a, start, f);
	if (e == EG_E_OK) {
		a->durable_lsn = s->last_lsn;
		a->durable_crc = a->prev_crc;
		a->copy.bytes = 0;
	}
	/* A segment of the same start was replaced, not added. */
	if (e == EG_E_OK && s->segments > 0 && start == s->last_start)
		a->segments--;
	return e;
}

/* The log and the store belong together: the segment that the store's newest
 * records went to is there, and the log reaches as far as the store. */
static bool log_matches(struct store_writer *w, const struct scan *s)
{
	return s->found && applied(w, true) <= s->last_lsn;
}

/* What is in memory went to this log first, and what was written outlives all processes:
 * a log that belongs to it and ends before it has rotted, and is not torn. */
static enum err reaches_store(struct store_writer *w, const struct scan *s, const struct heritage *h, struct fault *f)
{
	uint64_t highest = applied(w, true);

	if (!s->found || highest <= s->last_lsn)
		return EG_E_OK;
	return err_set(f, EG_E_VALIDATION, NULL, NULL, "the log is damaged: it ends at LSN %llu, and LSN %llu is in the shared"
	               " memory %s*: put the log right, or remove that memory to accept the loss",
	               (unsigned long long)s->last_lsn, (unsigned long long)highest, h->shm_prefix);
}

static enum err replay_log(struct datadir *d, struct store_writer *w, struct logged *logged,
                           const struct heritage *h, bool adopted, uint64_t from, struct scan *s,
                           uint64_t *applied, struct fault *f)
{
	struct replay p = { .w = w, .logged = logged, .boot_id = h->boot_id };
	struct replayer beside;
	enum err e;

	FAULT(RECOVER_REPAIRED);
	s->moves = replayer_moves;
	s->want_salt[0] = atomic_load(&store_root(w)->segment_salt);
	s->want_salt[1] = atomic_load(&store_root(w)->segment_next_salt);
	p.acked_lsn = atomic_load(&desk_wal(h->desks)->acked_lsn);
	replayer_open(&beside, &p);
	e = replayer_close(&beside, scan_log(d, from, replayer_record, &beside, s, f), f);
	/* Else LSNs that the checkpoint has seen were given again, and not replayed next time. */
	if (e == EG_E_OK && !adopted && s->last_lsn + 1 < from)
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "the log is damaged: it ends at LSN %llu, and the checkpoint reaches %llu",
		            (unsigned long long)s->last_lsn, (unsigned long long)from - 1);
	if (e == EG_E_OK && adopted)
		e = reaches_store(w, s, h, f);
	if (e == EG_E_OK && (!adopted || log_matches(w, s)))
		replay_end(&p, s->last_lsn);
	else
		free(p.run);
	*applied = p.applied;
	return e;
}

/* The store that was left, or another one, with all that the log has. *from: the first LSN that was replayed. */
static enum err fill_store(struct datadir *d, struct store_writer *w, struct logged *logged, const struct heritage *h,
                           struct recovered *r, uint64_t *from, struct scan *s, struct fault *f)
{
	enum err e = EG_E_OK;

	r->adopted = adopt(w, h, d);
	if (r->adopted)
		*from = replay_from(w, h);
	else
		e = load(w, h, d, from, s, f);
	if (e == EG_E_OK)
		e = replay_log(d, w, logged, h, r->adopted, *from, s, &r->records, f);
	if (e != EG_E_OK || !r->adopted || log_matches(w, s))
		return e;
	give_up_store(w, "the shared memory does not belong to this log");
	scan_free(s);
	*s = (struct scan){ 0 };
	logged_clear(logged);
	r->adopted = false;
	e = load(w, h, d, from, s, f);
	return e != EG_E_OK ? e : replay_log(d, w, logged, h, false, *from, s, &r->records, f);
}

enum err recover(struct datadir *d, struct store_writer *w, struct append *a, struct logged *logged,
                 const struct heritage *h, struct recovered *r, struct fault *f)
{
	_Atomic uint64_t *acked = &desk_wal(h->desks)->acked_lsn;
	int64_t began = clock_mono_ns();
	uint64_t from = 1;
	struct fault mirror_fault;
	struct scan s = { 0 };
	enum err e, mirror;

	memset(r, 0, sizeof *r);
	mirror = mend_copies(h, &mirror_fault);
	e = start_without(h, mirror, &mirror_fault, f);
	if (e != EG_E_OK)
		return e;
	e = datadir_open(d, h->config->server_data_dir, (uint32_t)h->config->storage_stores, f);
	if (e != EG_E_OK)
		return e;
	e = fill_store(d, w, logged, h, r, &from, &s, f);
	if (e != EG_E_OK) {
		scan_free(&s);
		return e;
	}
	FAULT(RECOVER_REPLAYED);
	/* Before the next one is announced: a writer may have died between showing a segment and
	 * naming it. */
	if (r->adopted)
		atomic_store(&store_root(w)->segment_salt, s.found_salt);
	FAULT(RECOVER_NAMED);
	trim_last(d, &s);
	/* No lane holds an entry of what was read. Said before a segment bears this
	 * boot's id, so that nobody takes a record of an earlier boot for an answer.
	 * Else the writer moves it on when the lanes were read again. */
	if (logged->n == 0)
		atomic_store(acked, s.last_lsn);
	if (mirror != EG_E_OK && mirror != EG_E_COUNT)
		LOG_ERROR("%s", mirror_fault.message);
	e = open_log(a, w, d, &s, h, mirror, f);
	FAULT(RECOVER_OPENED);
	scan_free(&s);
	if (e != EG_E_OK)
		return e;
	recover_note_segment(w, a);
	store_publish(w, h->boot_id);
	r->ns = (uint64_t)(clock_mono_ns() - began);
	LOG_INFO("log: %llu records applied up to LSN %llu in %.3f s (%s); next segment %llu",
	         (unsigned long long)r->records, (unsigned long long)s.last_lsn, (double)r->ns / 1e9,
	         r->adopted ? "shared memory kept" : from > 1 ? "loaded from a checkpoint" : "built from the log", (unsigned long long)a->header.number);
	return EG_E_OK;
}

void recover_note_segment(struct store_writer *w, const struct append *a)
{
	/* The salt says which it is; the number is looked at to see whether to come here
	 * again, and so it is the last. */
	atomic_store(&store_root(w)->segment_salt, a->header.salt);
	FAULT(SEGMENT_HALF_NAMED);
	atomic_store(&store_root(w)->segment_number, a->header.number);
}
