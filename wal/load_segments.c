/* Loading: the records that rows name, a thread a segment, see load.h. */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/apply.h"
#include "wal/load_parts.h"
#include "wal/segment.h"
#include "wal/submit.h"

static enum err rotten(struct load *l, uint64_t from, uint64_t to, const char *why, struct fault *f)
{
	atomic_store(&l->rot, true);
	return err_set(f, EG_E_VALIDATION, NULL, NULL,
	               "the log is damaged: of LSN %llu to %llu records are missing that checkpoint %llu needs (%s)",
	               (unsigned long long)from, (unsigned long long)to, (unsigned long long)l->c.header.id, why);
}

/* The segments that rows need, each with its rows. The last segment that begins at or
 * below an LSN has it; later ones supersede. */
enum err load_plan_spans(struct load *l, struct fault *f)
{
	uint64_t *starts, at = 0;
	unsigned n;
	enum err e = datadir_segments(l->d, &starts, &n, f);

	if (e != EG_E_OK)
		return e;
	l->spans = calloc(n + 1u, sizeof *l->spans);
	EG_ASSERT(l->spans != NULL);
	if (l->n > 0 && (n == 0 || l->order[0].lsn < starts[0]))
		e = rotten(l, l->order[0].lsn, n == 0 ? l->order[l->n - 1].lsn : starts[0] - 1, "no segment has them", f);
	for (unsigned i = 0; i < n && e == EG_E_OK; i++) {
		struct load_span span = { .start = starts[i], .first = at };

		while (at < l->n && (i + 1 == n || l->order[at].lsn < starts[i + 1]))
			at++;
		span.end = at;
		if (span.end > span.first)
			l->spans[l->n_spans++] = span;
	}
	free(starts);
	return e;
}

static bool take_chunk(_Atomic uint32_t *of, uint32_t space)
{
	uint32_t nobody = EG_NONE;

	return atomic_compare_exchange_strong(of, &nobody, space) || nobody == space;
}

/* Does the record fit its row? A chunk belongs to one space. */
static bool fits(struct load *l, const struct checkpoint_row *row, const struct record *r)
{
	unsigned class_ = r->dim > 0 && r->dim <= EG_DIM_MAX ? node_class(r->dim) : EG_NONE;

	if (r->type != EG_RECORD_PUT || r->shard >= EG_SHARDS || r->key % EG_SHARDS != r->shard || r->dim > EG_DIM_MAX)
		return false;
	if (l->anew)
		return (class_ == EG_NONE) == (row->class_ == EG_NONE);
	return class_ == row->class_
	       && take_chunk(&slot_chunk_for_write(l->w, row->slot / EG_CHUNK)->space, r->space)
	       && (class_ == EG_NONE
	           || take_chunk(&node_chunk_for_write(l->w, class_, row->node / EG_CHUNK)->space, r->space));
}

static enum err load_record(struct load *l, uint32_t number, const struct record *r, struct load_sums *sums,
                            struct fault *f)
{
	struct checkpoint_row *row = &l->rows[number];
	const struct space *sp = space_get(&l->w->store, r->space);
	struct plan plan;
	enum err e = EG_E_OK;

	if (sp != NULL && atomic_load(&sp->state) != EG_SPACE_LIVE)
		return EG_E_OK;            /* deleted while the rows were written */
	if (sp == NULL || !fits(l, row, r))
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %llu: the row of slot %u is not that of LSN %llu",
		               (unsigned long long)l->c.header.id, row->slot, (unsigned long long)r->lsn);
	if (l->anew)
		e = load_place(l, row, r, f);
	if (e != EG_E_OK)
		return e;
	plan = (struct plan){ .record = r, .slot = row->slot, .generation = row->generation, .class_ = row->class_,
		.node = row->node, .body_bytes = apply_body_bytes(r) };
	pthread_mutex_lock(&l->lock);
	e = heap_alloc(&l->w->heap, plan.body_bytes, &plan.body, f);
	pthread_mutex_unlock(&l->lock);
	if (e != EG_E_OK)
		return e;
	apply_loaded(l->w, &plan, &(struct slot_words){ row->truth, row->memory, row->last_access_ms, row->accesses,
		row->tier });
	l->loaded[number] = (struct loaded){ plan.body, r->key, r->space, r->shard, true };
	if (!l->anew)
		l->live[row->slot] = 1;
	load_count(l, sums, r, 1);
	return EG_E_OK;
}

/* The rows that this group has; *at moves on. */
static enum err load_group(struct load *l, const struct group_header *g, const struct load_span *span, uint64_t *at,
                           struct load_sums *sums, struct fault *f)
{
	const struct record *r = NULL;
	enum err e = EG_E_OK;

	while (*at < span->end && e == EG_E_OK && (r = group_next(g, r)) != NULL) {
		if (r->lsn < l->order[*at].lsn)
			continue;
		if (r->lsn > l->order[*at].lsn)
			return rotten(l, l->order[*at].lsn, r->lsn - 1, "the log jumps", f);
		e = load_record(l, l->order[*at].row, r, sums, f);
		++*at;
	}
	FAULT(LOAD_GROUP);
	return e;
}

static enum err load_span(struct load *l, const struct load_span *span, struct load_sums *sums, struct fault *f)
{
	struct fault reason = { .message = "it ends early" };
	const struct group_header *g;
	struct segment_reader s;
	uint64_t at = span->first;
	char path[4200];
	enum err e, why = EG_E_OK;

	datadir_segment_path(l->d, path, span->start);
	e = segment_open(&s, path, f);
	if (e == EG_E_VALIDATION
	    || (e == EG_E_OK && (memcmp(s.header.uuid, l->d->uuid, sizeof s.header.uuid) != 0
	                         || s.header.start_lsn != span->start)))
		e = rotten(l, l->order[at].lsn, l->order[span->end - 1].lsn,
		           e == EG_E_OK ? "the segment is of another place" : f->message, &reason);
	if (e == EG_E_VALIDATION)
		*f = reason;
	while (e == EG_E_OK && at < span->end && !atomic_load(&l->failed)
	       && (g = segment_next(&s, &why, &reason)) != NULL) {
		if (g->first_lsn + g->n_records > l->order[at].lsn)
			e = load_group(l, g, span, &at, sums, f);
		desk_beat(l->w->desks);
	}
	if (e == EG_E_OK && at < span->end && why == EG_E_INTERNAL) {
		*f = reason;           /* not rot: the next start may read it */
		e = why;
	}
	if (e == EG_E_OK && at < span->end && !atomic_load(&l->failed))
		e = rotten(l, l->order[at].lsn, l->order[span->end - 1].lsn, reason.message, f);
	atomic_fetch_add(&l->bytes, s.offset);
	segment_close(&s);
	return e;
}

void load_segments(struct load *l)
{
	struct load_sums sums = { .space = EG_NONE };
	struct fault f;
	unsigned i;

	while (!atomic_load(&l->failed) && (i = atomic_fetch_add(&l->next, 1)) < l->n_spans)
		if (load_span(l, &l->spans[i], &sums, &f) != EG_E_OK)
			load_fail(l, &f);
	load_count_end(l, &sums);
}
