/* Loading: the records that rows name, a thread a segment, see load.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Segments are cut to their used length when the next one begins. */
static uint64_t bytes_of_a_record(const struct load *l, const uint64_t *starts, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i + 1 < n; i++) {
		char path[4200];
		struct stat st;

		datadir_segment_path(l->d, path, starts[i]);
		bytes += stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	return n > 1 && starts[n - 1] > starts[0] ? bytes / (starts[n - 1] - starts[0]) : 0;
}

/* Of a segment that was not cut yet: what was never written has no blocks. */
static uint64_t written_bytes(const struct load *l, uint64_t start)
{
	char path[4200];
	off_t end = -1;
	int fd;

	datadir_segment_path(l->d, path, start);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		end = lseek(fd, 0, SEEK_HOLE);
		close(fd);
	}
	return end > 0 ? (uint64_t)end : 0;
}

/* Memories that the log brings above the checkpoint, about, for the room that they take: its records,
 * as many of which are of new memories as were of all before. */
static uint64_t tail_memories(const struct load *l, const uint64_t *starts, unsigned n)
{
	uint64_t start = l->c.header.start_lsn, end;

	if (n == 0 || l->record_bytes == 0 || start == 0)
		return 0;
	end = starts[n - 1] + written_bytes(l, starts[n - 1]) / l->record_bytes;
	if (end <= start)
		return 0;
	return l->n < start ? (uint64_t)((double)(end - start) * (double)l->n / (double)start) : end - start;
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
	l->record_bytes = bytes_of_a_record(l, starts, n);
	l->tail = tail_memories(l, starts, n);
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

struct pending { const struct record *r; uint32_t row; uint64_t body; };

/* Records that are taken in one go: the heap's lock is taken once for all of them, and their
 * places are on their way from memory meanwhile. */
#define EG_BUNCH 32u
struct bunch { unsigned n; struct pending of[EG_BUNCH]; };

static enum err check_record(struct load *l, const struct checkpoint_row *row, const struct record *r, bool *live, struct fault *f)
{
	const struct space *sp = space_get(&l->w->store, r->space);

	*live = sp == NULL || atomic_load(&sp->state) == EG_SPACE_LIVE;   /* deleted while the rows were written */
	if (*live && (sp == NULL || !fits(l, row, r)))
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %llu: the row of slot %u is not that of LSN %llu",
		               (unsigned long long)l->c.header.id, row->slot, (unsigned long long)r->lsn);
	return EG_E_OK;
}

static enum err bunch_add(struct load *l, struct bunch *b, uint32_t number, const struct record *r, struct fault *f)
{
	struct checkpoint_row *row = &l->rows[number];
	bool live;
	enum err e = check_record(l, row, r, &live, f);

	if (e == EG_E_OK && live && l->anew)
		e = load_place(l, row, r, f);
	if (e != EG_E_OK || !live)
		return e;
	__builtin_prefetch(slot_for_write(l->w, row->slot), 1);
	b->of[b->n++] = (struct pending){ r, number, 0 };
	return EG_E_OK;
}

static void load_record(struct load *l, const struct pending *p, struct load_sums *sums)
{
	const struct checkpoint_row *row = &l->rows[p->row];
	const struct record *r = p->r;
	struct plan plan = { .record = r, .slot = row->slot, .generation = row->generation, .class_ = row->class_,
		.node = row->node, .body_bytes = apply_body_bytes(r), .body = p->body };

	apply_loaded(l->w, &plan, &(struct slot_words){ row->truth, row->memory, row->last_access_ms, row->accesses,
		row->tier });
	l->loaded[p->row] = (struct loaded){ plan.body, r->key, r->space, r->shard, true };
	if (!l->anew)
		l->live[row->slot] = 1;
	load_count(l, sums, r, 1);
}

static enum err bunch_load(struct load *l, struct bunch *b, struct load_sums *sums, struct fault *f)
{
	enum err e = EG_E_OK;

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < b->n && e == EG_E_OK; i++)
		e = heap_alloc(&l->w->heap, apply_body_bytes(b->of[i].r), &b->of[i].body, f);
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < b->n && e == EG_E_OK; i++)
		load_record(l, &b->of[i], sums);
	b->n = 0;
	return e;
}

/* The rows that this group has; *at moves on. */
static enum err load_group(struct load *l, const struct group_header *g, const struct load_span *span, uint64_t *at,
                           struct load_sums *sums, struct fault *f)
{
	const struct record *r = NULL;
	struct bunch b = { 0 };
	enum err e = EG_E_OK;

	while (*at < span->end && e == EG_E_OK && (r = group_next(g, r)) != NULL) {
		if (r->lsn < l->order[*at].lsn)
			continue;
		if (r->lsn > l->order[*at].lsn)
			return rotten(l, l->order[*at].lsn, r->lsn - 1, "the log jumps", f);
		e = bunch_add(l, &b, l->order[*at].row, r, f);
		if (e == EG_E_OK && b.n == EG_BUNCH)
			e = bunch_load(l, &b, sums, f);
		++*at;
	}
	if (e == EG_E_OK)
		e = bunch_load(l, &b, sums, f);
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
	e = segment_open_once(&s, path, false, f);
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
