/* Replay, see the header. */
#include "wal/replay.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/ids.h"
#include "shm/ids_write.h"
#include "shm/metrics.h"
#include "shm/reclaim_write.h"
#include "shm/space_write.h"
#include "wal/submit.h"

static _Atomic uint64_t *applied_lsn(struct replay *p, unsigned shard)
{
	return &store_root(p->w)->applied_lsn[shard];
}

/* Every record that changes something passes here. */
static void changed_by(struct replay *p, const struct record *r)
{
	atomic_store_explicit(&store_root(p->w)->changed_lsn, r->lsn, memory_order_relaxed);
	if (p->applied == 0)
		(void)metric_cpu_ns(&p->cpu_ns);
}

void replay_count(struct replay *p)
{
	if (p->applied > 0)
		atomic_fetch_add(&store_root(p->w)->work_ns, metric_cpu_ns(&p->cpu_ns));
}

static enum err replay_put(struct replay *p, const struct record *r, const struct space *sp, struct fault *f)
{
	struct plan plan = { .record = r };
	struct engram e;
	enum err err = EG_E_OK;

	if (slot_find(&p->w->store, sp, record_id(r), r->id_bytes, &e)) {
		if (e.body->record.lsn >= r->lsn)
			return EG_E_OK;
		plan.slot = e.number;
		plan.generation = e.generation;
	} else {
		plan.fresh = true;
		if (!ids_has_room(p->w, r->shard))
			err = ids_grow(p->w, r->shard, f);
	}
	if (err == EG_E_OK)
		err = plan_reserve(p->w, &plan, r, f);
	if (err == EG_E_OK)
		apply_plan(p->w, &plan);
	return err;
}

static void replay_delete(struct replay *p, const struct record *r, const struct space *sp)
{
	struct plan plan = { .record = r };
	struct engram e;

	if (!slot_find(&p->w->store, sp, record_id(r), r->id_bytes, &e) || e.body->record.lsn > r->lsn)
		return;
	plan.slot = e.number;
	plan.generation = e.generation;
	apply_plan(p->w, &plan);
}

static enum err replay_memory(struct replay *p, const struct record *r, struct fault *f)
{
	const struct space *sp = space_get(&p->w->store, r->space);
	enum err e = EG_E_OK;

	if (sp == NULL && p->loss) {
		p->homeless++;
		return EG_E_OK;
	}
	if (sp == NULL)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "LSN %llu stores into space %u, which no record made",
		               (unsigned long long)r->lsn, r->space);
	if (r->lsn <= atomic_load(applied_lsn(p, r->shard))) {
		p->skipped++;
		return EG_E_OK;
	}
	changed_by(p, r);
	if (atomic_load(&sp->state) == EG_SPACE_LIVE) {
		if (r->type == EG_RECORD_PUT)
			e = replay_put(p, r, sp, f);
		else
			replay_delete(p, r, sp);
		FAULT(REPLAY_MEMORY);
	}
	if (e == EG_E_OK)
		atomic_store_explicit(applied_lsn(p, r->shard), r->lsn, memory_order_release);
	if (++p->applied % 4096 == 0) {
		(void)reclaim(p->w);
		replay_count(p);
		desk_beat(p->w->desks);
		/* How far it is, for who waits (status of the service). */
		atomic_store_explicit(&desk_wal(p->w->desks)->recovered_records, p->applied, memory_order_relaxed);
	}
	return e;
}

static enum err replay_space(struct replay *p, const struct record *r, struct fault *f)
{
	enum err e = EG_E_OK;

	if (r->lsn <= atomic_load(applied_lsn(p, EG_SHARDS)))
		return EG_E_OK;
	changed_by(p, r);
	if (r->type == EG_RECORD_SPACE_PUT) {
		e = space_reserve(p->w, r->space, f);
		if (e == EG_E_OK)
			apply_space_put(p->w, r);
	} else {
		apply_space_delete(p->w, r);
	}
	FAULT(REPLAY_SPACE);
	if (e == EG_E_OK)
		atomic_store_explicit(applied_lsn(p, EG_SHARDS), r->lsn, memory_order_release);
	p->applied++;
	return e;
}

static void run_add(struct replay *p, const struct record *r)
{
	if (p->run_bytes + r->bytes > p->run_cap) {
		size_t cap = (p->run_bytes + r->bytes) * 2;
		uint8_t *bigger = aligned_alloc(64, cap);

		EG_ASSERT(bigger != NULL);
		if (p->run_bytes > 0)
			memcpy(bigger, p->run, p->run_bytes);
		free(p->run);
		p->run = bigger;
		p->run_cap = cap;
	}
	memcpy(p->run + p->run_bytes, r, r->bytes);
	p->run_bytes += r->bytes;
	p->run_parts++;
	p->run_entry = r->entry;
	p->run_producer = r->producer;
}

/* Only the last `parts` records count: before them may lie those of a first try
 * that a killed writer did not finish, logged again by the next one. */
static enum err run_close(struct replay *p, uint64_t parts, struct fault *f)
{
	uint64_t skip = p->run_parts > parts ? p->run_parts - parts : 0;
	bool broken = p->torn && p->run_parts < parts;
	enum err e = EG_E_OK;

	FAULT(REPLAY_RUN);
	p->torn = false;
	for (size_t at = 0; at < p->run_bytes && e == EG_E_OK && !broken;) {
		const struct record *r = (const struct record *)(const void *)(p->run + at);

		if (skip > 0)
			skip--;
		else
			e = replay_memory(p, r, f);
		at += r->bytes;
	}
	p->run_bytes = p->run_parts = 0;
	return e;
}

static void remember(struct replay *p, const struct record *r, const struct segment_header *h)
{
	if (p->logged != NULL && h->boot_id == p->boot_id && r->lsn > p->acked_lsn && r->producer != 0)
		logged_add(p->logged, r, r->type == EG_RECORD_COMMIT);
}

void replay_peek(const struct replay *p, const struct record *r)
{
	if (r->shard < EG_SHARDS)
		ids_prefetch(&p->w->store, r->shard, r->key);
}

enum err replay_record(void *arg, const struct record *r, const struct segment_header *h, struct fault *f)
{
	struct replay *p = arg;
	bool same_run = p->run_bytes > 0 && p->run_entry == r->entry && p->run_producer == r->producer;

	remember(p, r, h);
	/* A space made for a batch stands between its parts, and is none. */
	if (r->type == EG_RECORD_SPACE_PUT)
		return replay_space(p, r, f);
	if (p->run_bytes > 0 && !same_run)
		p->run_bytes = p->run_parts = 0;   /* never closed: never happened */
	switch (r->type) {
	case EG_RECORD_PUT:
	case EG_RECORD_DELETE:
		if (r->flags & EG_RECORD_PART) {
			run_add(p, r);
			return EG_E_OK;
		}
		p->torn = false;
		return replay_memory(p, r, f);
	case EG_RECORD_COMMIT:
		return run_close(p, r->version, f);
	case EG_RECORD_SPACE_DELETE:
		return replay_space(p, r, f);
	case EG_RECORD_SHUTDOWN:
		return EG_E_OK;
	case EG_RECORD_LOSS:
		p->torn = p->loss = true;
		p->run_bytes = p->run_parts = 0;
		return EG_E_OK;
	default:
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "LSN %llu has type %u, unknown to this build",
		               (unsigned long long)r->lsn, r->type);
	}
}

void replay_end(struct replay *p, uint64_t last_lsn)
{
	for (unsigned s = 0; s <= EG_SHARDS; s++)
		if (atomic_load(applied_lsn(p, s)) < last_lsn)
			atomic_store_explicit(applied_lsn(p, s), last_lsn, memory_order_release);
	FAULT(REPLAY_ENDED);
	free(p->run);
	p->run = NULL;
	p->run_bytes = p->run_cap = 0;
}
