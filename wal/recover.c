/* Recovery, see the header: start-up as a list, in recover() below. */
#include "wal/recover.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/epoch.h"
#include "shm/metrics.h"
#include "shm/repair_write.h"
#include "wal/replay.h"
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

/* Adopt what the last writer of this family left. False: build it anew. */
static bool adopt(struct store_writer *w, const struct heritage *h, const struct datadir *d)
{
	struct repair_report report;
	struct fault f;

	if (store_adopt(w, h->desks, h->shm_prefix, d->uuid, h->boot_id, h->config->storage_use_huge_pages, &f)
	    != EG_E_OK)
		return false;
	wait_for_old_readers(w);
	if (store_repair(w, &report, &f) == EG_E_OK) {
		LOG_INFO("repair: %llu memories live; freed %llu slots, %llu vectors, %llu chunks; ids: %llu removed,"
		         " %llu added", (unsigned long long)report.live, (unsigned long long)report.freed_slots,
		         (unsigned long long)report.freed_nodes, (unsigned long long)report.freed_chunks,
		         (unsigned long long)report.removed_ids, (unsigned long long)report.added_ids);
		return true;
	}
	LOG_ERROR("repair: %s; the store is built anew from the log", f.message);
	/* Readers see that their store has ended, and attach to the new one. */
	atomic_store_explicit(&store_root(w)->state, EG_STORE_BUILDING, memory_order_release);
	store_close(w);
	return false;
}

static enum err create(struct store_writer *w, const struct heritage *h, const struct datadir *d, struct fault *f)
{
	unsigned stale = region_unlink_all(h->shm_prefix);

	if (stale > 0)
		LOG_INFO("removed %u shared memory objects of an earlier server", stale);
	return store_create(w, h->desks, h->shm_prefix, d->uuid, h->boot_id, h->config->storage_use_huge_pages, f);
}

static uint64_t replay_from(struct store_writer *w, bool adopted)
{
	uint64_t from = UINT64_MAX, acked = atomic_load(&desk_wal(w->desks)->acked_lsn);

	if (!adopted)
		return 1;
	for (unsigned s = 0; s < EG_SHARDS; s++) {
		uint64_t lsn = atomic_load(&store_root(w)->applied_lsn[s]);

		from = lsn < from ? lsn : from;
	}
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
	fd = io_open(d->wal_fd, name, O_RDWR);
	if (fd < 0 || ftruncate(fd, (off_t)s->last_used) != 0)
		LOG_WARN("log: the end of %s is not given back", name);
	if (fd >= 0)
		close(fd);
}

/* Write the groups of the scan's tail again, LSN for LSN. */
static enum err rewrite_tail(struct append *a, const struct scan *s, struct fault *f)
{
	size_t cap = append_buffer_bytes(s->tail.bytes, a->spares.bytes);
	uint8_t *buf;
	enum err e = EG_E_OK;

	cap = (cap + 4095) / 4096 * 4096;
	buf = aligned_alloc(4096, cap);
	EG_ASSERT(buf != NULL);
	append_begin(a, buf, cap);
	for (size_t at = 0; at < s->tail.bytes && e == EG_E_OK;) {
		const struct group_header *g = (const struct group_header *)(const void *)(s->tail.groups + at);
		const struct record *r = NULL;

		while (e == EG_E_OK && (r = group_next(g, r)) != NULL) {
			struct record *to;

			e = append_record(a, r, &to, f);
			if (e != EG_E_OK)
				break;
			EG_ASSERT(to->lsn == r->lsn);
			memcpy(to + 1, r + 1, r->bytes - sizeof *r);
			append_done(a, to);
		}
		at += g->bytes;
	}
	if (e == EG_E_OK)
		e = append_write(a, f);
	if (e == EG_E_OK)
		e = append_sync(a, f);
	append_begin(a, NULL, 0);
	free(buf);
	return e;
}

static enum err open_log(struct append *a, const struct datadir *d, const struct scan *s,
                         const struct heritage *h, struct fault *f)
{
	uint64_t start = s->last_lsn + 1;
	enum err e;

	memset(a, 0, sizeof *a);
	a->dir = d;
	a->fd = -1;
	a->direct = h->config->wal_use_direct_io;
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
	e = spares_open(&a->spares, d, (uint64_t)h->config->wal_segment_size_mb << 20, f);
	if (e == EG_E_OK)
		e = append_segment(a, start, f);
	if (e == EG_E_OK && s->tail.bytes > 0)
		e = rewrite_tail(a, s, f);
	if (e == EG_E_OK)
		a->durable_lsn = s->last_lsn;
	/* A segment of the same start was replaced, not added. */
	if (e == EG_E_OK && s->segments > 0 && start == s->last_start)
		a->segments--;
	return e;
}

enum err recover(struct datadir *d, struct store_writer *w, struct append *a, struct logged *logged,
                 const struct heritage *h, struct recovered *r, struct fault *f)
{
	struct replay p = { .w = w, .logged = logged, .boot_id = h->boot_id };
	int64_t began = clock_mono_ns();
	struct scan s;
	enum err e;

	memset(r, 0, sizeof *r);
	e = datadir_open(d, h->config->server_data_dir, (uint32_t)h->config->storage_stores, f);
	if (e != EG_E_OK)
		return e;
	r->adopted = adopt(w, h, d);
	if (!r->adopted)
		e = create(w, h, d, f);
	if (e != EG_E_OK)
		return e;
	p.acked_lsn = atomic_load(&desk_wal(h->desks)->acked_lsn);
	e = scan_log(d, replay_from(w, r->adopted), replay_record, &p, &s, f);
	if (e == EG_E_OK) {
		replay_end(&p, s.last_lsn);
		trim_last(d, &s);
		e = open_log(a, d, &s, h, f);
	}
	scan_free(&s);
	if (e != EG_E_OK)
		return e;
	atomic_store(&desk_wal(h->desks)->acked_lsn, s.last_lsn);
	store_publish(w);
	r->records = p.applied;
	r->ns = (uint64_t)(clock_mono_ns() - began);
	LOG_INFO("log: %llu records applied up to LSN %llu in %.3f s (%s); next segment %llu",
	         (unsigned long long)p.applied, (unsigned long long)s.last_lsn, (double)r->ns / 1e9,
	         r->adopted ? "shared memory kept" : "built from the log", (unsigned long long)a->header.number);
	return EG_E_OK;
}
