/* Admission of entries and operations, see the header; spaces are in admit_space.c. */
#include "wal/admit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/vec.h"
#include "shm/ids_write.h"
#include "shm/metrics.h"
#include "wal/admit_parts.h"
#include "wal/lane.h"
#include "wal/segment.h"

void admit_open(struct admit *a, struct store_writer *w, struct appliers *p, const struct config *c,
                uint64_t segment_bytes)
{
	memset(a, 0, sizeof *a);
	a->w = w;
	a->appliers = p;
	a->config = c;
	a->segment_bytes = segment_bytes;
	overlay_init(&a->overlay);
	twins_init(&a->twins);
	twins_rebuild(&a->twins, &w->store);
	for (uint32_t n = 0; n < space_count(&w->store); n++) {
		admit_know_space(a, n);
		admit_space_changed(a, n);
	}
}

void admit_close(struct admit *a)
{
	overlay_fini(&a->overlay);
	twins_fini(&a->twins);
	logged_clear(&a->logged);
	free(a->spaces);
	free(a->pending);
	free(a->deleted);
}

void admit_result(struct admit *a, const struct entry *e, unsigned i, const struct outcome *o)
{
	struct lane_result *r = &desk_answers(a->w->desks, e->desk, e->lane)
		->results[(e->first_result + i) % EG_LANE_RESULTS];

	atomic_store_explicit(&r->version, o->version << 1 | o->created, memory_order_relaxed);
	atomic_store_explicit(&r->err, o->err, memory_order_relaxed);
	atomic_store_explicit(&r->detail, o->detail, memory_order_relaxed);
}

/* ---- one operation, copied and checked ------------------------------------ */

/* Copy what decides; the lane belongs to another process, which may be broken. */
static bool read_op(const uint8_t *at, size_t left, struct op *op)
{
	struct lane_op h;

	if (left < sizeof h + sizeof op->head)
		return false;
	memcpy(&h, at, sizeof h);
	if (h.bytes > left || h.bytes % 64 != 0 || h.bytes < sizeof h + sizeof op->head)
		return false;
	memcpy(&op->head, at + sizeof h, sizeof op->head);
	op->bytes = h.bytes;
	op->expect_version = h.expect_version;
	op->space_bytes = h.space_bytes;
	op->payload = at + sizeof h + sizeof op->head;
	if (op->head.bytes != h.bytes - sizeof h || op->head.dim > EG_DIM_MAX || op->head.n_tags > EG_TAGS_MAX
	    || op->head.id_bytes > EG_ID_MAX || op->head.n_terms > op->head.bytes / 8
	    || op->head.packed_bytes > op->head.bytes)
		return false;
	if (record_size(op->head.dim, op->head.n_terms, op->head.n_tags, op->head.id_bytes,
	                op->head.packed_bytes) != op->head.bytes)
		return false;
	memcpy(op->space_id, h.space_id, sizeof op->space_id);
	memcpy(op->id, op->payload + record_vector_bytes(op->head.dim)
	       + 8 * ((size_t)op->head.n_terms + op->head.n_tags), op->head.id_bytes);
	return true;
}

static enum err check_op(const struct admit *a, struct op *op)
{
	if (!space_valid_id(op->space_id, op->space_bytes))
		return EG_E_REQUEST;
	if ((op->head.type == EG_RECORD_PUT || op->head.type == EG_RECORD_DELETE) && op->head.id_bytes == 0)
		return EG_E_REQUEST;
	/* What an index or a sum is made of; senders check all of it before. */
	if (op->head.memory_type >= EG_TYPES || !(op->head.confidence >= 0 && op->head.confidence <= 1)
	    || op->head.raw_bytes > INT32_MAX)
		return EG_E_REQUEST;
	/* One number that is none would make every score of its memory one. */
	if (op->head.dim > 0 && !isfinite(vec_norm((const float *)(const void *)op->payload, op->head.dim)))
		return EG_E_REQUEST;
	if (op->head.bytes + 4 * EG_BLOCK > a->segment_bytes / 2)
		return EG_E_TOO_LARGE;
	op->head.key = record_key(op->space_id, op->space_bytes, op->id, op->head.id_bytes);
	op->head.shard = (uint8_t)(op->head.key % EG_SHARDS);
	return EG_E_OK;
}

/* What the id will be once all admitted changes are applied. */
static bool find_known(const struct admit *a, const struct op *op, struct promise *k)
{
	const struct promise *p = overlay_find(&a->overlay, op->head.key, op->head.space, op->id, op->head.id_bytes);
	const struct space *sp;
	struct engram e;

	if (p != NULL) {
		*k = *p;
		return p->live;
	}
	memset(k, 0, offsetof(struct promise, id));
	sp = space_get(&a->w->store, op->head.space);
	if (sp == NULL || !slot_find(&a->w->store, sp, op->id, op->head.id_bytes, &e))
		return false;
	k->version = e.body->record.version;
	k->digest = e.body->record.digest;
	k->slot = e.number;
	k->generation = e.generation;
	k->raw_bytes = e.body->record.raw_bytes + e.body->record.dim * (uint32_t)sizeof(float);
	k->live = true;
	return true;
}

static uint64_t promise_add(struct admit *a, const struct change *c, const struct op *op, bool live)
{
	struct promise p;

	memset(&p, 0, offsetof(struct promise, id));
	p.key = op->head.key;
	p.version = c->head.version;
	p.digest = c->head.digest;
	p.space = op->head.space;
	p.slot = c->plan.slot;
	p.generation = c->plan.generation;
	p.raw_bytes = c->head.raw_bytes + c->head.dim * (uint32_t)sizeof(float);
	p.id_bytes = op->head.id_bytes;
	p.shard = op->head.shard;
	p.live = live;
	memcpy(p.id, op->id, op->head.id_bytes);
	return overlay_add(&a->overlay, &p);
}

/* Vector rules of a space: a client's vectors have one length; once there are
 * any, those of the built-in embedder are left out. */
static enum err admit_vector(struct admit_space *sp, struct op *op, struct outcome *o)
{
	struct record *r = &op->head;

	if (r->dim == 0)
		return EG_E_OK;
	if (r->flags & EG_RECORD_DERIVED) {
		if (sp->source != EG_SOURCE_CLIENT)
			return EG_E_OK;
		op->payload += record_vector_bytes(r->dim);
		r->dim = 0;
		r->flags &= (uint8_t)~EG_RECORD_DERIVED;
		r->bytes = (uint32_t)record_size(0, r->n_terms, r->n_tags, r->id_bytes, r->packed_bytes);
		return EG_E_OK;
	}
	if (sp->source == EG_SOURCE_CLIENT && sp->dimension != 0 && sp->dimension != r->dim) {
		o->detail = sp->dimension;
		return EG_E_DIMENSION;
	}
	return EG_E_OK;
}

static enum err check_quota(const struct admit *a, const struct op *op, const struct promise *k, bool fresh)
{
	const struct admit_space *sp = &a->spaces[op->head.space];
	const struct space *shown = space_get(&a->w->store, op->head.space);
	uint64_t memories, bytes, raw = op->head.raw_bytes + op->head.dim * sizeof(float);

	if (shown == NULL)
		return EG_E_OK;
	memories = atomic_load(&shown->quota_memories);
	bytes = atomic_load(&shown->quota_bytes);
	if (memories != 0 && fresh && sp->memories + 1 > memories)
		return EG_E_QUOTA;
	if (bytes != 0 && sp->raw_bytes + raw - (fresh ? 0 : k->raw_bytes) > bytes)
		return EG_E_QUOTA;
	return EG_E_OK;
}

/* The id table must have room before a slot is reserved; it can only be doubled
 * while nobody works on it. */
static enum err make_room(struct admit *a, unsigned shard, struct fault *f)
{
	if (ids_has_room(a->w, shard))
		return EG_E_OK;
	appliers_wait(a->appliers);
	return ids_grow(a->w, shard, f);
}

static void note_vector(struct admit_space *sp, struct change *c)
{
	const struct record *r = &c->head;

	c->old_dimension = sp->dimension;
	c->old_source = sp->source;
	if (r->dim == 0)
		return;
	if (!(r->flags & EG_RECORD_DERIVED)) {
		sp->source = EG_SOURCE_CLIENT;
		sp->dimension = r->dim;
	} else if (sp->source == EG_SOURCE_UNSET) {
		sp->source = EG_SOURCE_BUILTIN;
		sp->dimension = r->dim;
	}
}

static uint32_t raw_of(const struct record *r) { return r->raw_bytes + r->dim * (uint32_t)sizeof(float); }

static void add_sums(struct admit *a, struct change *c, int64_t count, int64_t raw)
{
	struct admit_space *sp = &a->spaces[c->head.space];

	c->count_delta = count;
	c->raw_delta = raw;
	sp->memories += (uint64_t)count;
	sp->raw_bytes += (uint64_t)raw;
}

static enum err admit_put(struct admit *a, struct round *round, struct op *op, struct outcome *o)
{
	struct fault f;
	struct promise k;
	struct change *c;
	bool known;
	enum err e = admit_resolve_space(a, round, op, true);

	if (e != EG_E_OK)
		return e;
	known = find_known(a, op, &k);
	if (op->expect_version != 0 && (!known || k.version != op->expect_version))
		return EG_E_PRECONDITION;
	if (known && k.digest == op->head.digest) {
		o->version = k.version;    /* the same body again */
		o->detail = EG_NONE;
		return EG_E_OK;
	}
	e = admit_vector(&a->spaces[op->head.space], op, o);
	if (e == EG_E_OK)
		e = check_quota(a, op, &k, !known);
	if (e == EG_E_OK && !known)
		e = make_room(a, op->head.shard, &f);
	if (e != EG_E_OK)
		return e;
	c = round_add_change(round);
	c->head = op->head;
	c->payload = op->payload;
	c->plan.fresh = !known;
	c->plan.slot = k.slot;
	c->plan.generation = k.generation;
	e = plan_reserve(a->w, &c->plan, &c->head, &f);
	if (e != EG_E_OK) {
		round->n_changes--;
		return e;
	}
	c->head.version = known ? k.version + 1 : 1;
	c->promise = promise_add(a, c, op, true);
	add_sums(a, c, !known, (int64_t)raw_of(&c->head) - (known ? k.raw_bytes : 0));
	note_vector(&a->spaces[op->head.space], c);
	o->version = c->head.version;
	o->created = !known;
	o->detail = twins_swap(&a->twins, op->head.space, op->head.fingerprint, c->plan.slot);
	return EG_E_OK;
}

static enum err admit_delete(struct admit *a, struct round *round, struct op *op, struct outcome *o)
{
	struct promise k;
	struct change *c;
	enum err e = admit_resolve_space(a, round, op, false);

	if (e != EG_E_OK)
		return e;
	if (!find_known(a, op, &k))
		return EG_E_NOT_FOUND;
	if (op->expect_version != 0 && k.version != op->expect_version)
		return EG_E_PRECONDITION;
	c = round_add_change(round);
	c->head = op->head;
	c->head.version = k.version;
	c->payload = op->payload;
	c->plan.slot = k.slot;
	c->plan.generation = k.generation;
	c->plan.class_ = EG_NONE;
	c->promise = promise_add(a, c, op, false);
	add_sums(a, c, -1, -(int64_t)k.raw_bytes);
	o->version = k.version;
	return EG_E_OK;
}

static enum err admit_op(struct admit *a, struct round *round, struct op *op, struct outcome *o)
{
	if (a->full && (op->head.type == EG_RECORD_PUT || op->head.type == EG_RECORD_SPACE_PUT))
		return EG_E_NO_STORAGE;
	switch (op->head.type) {
	case EG_RECORD_PUT:
		return admit_put(a, round, op, o);
	case EG_RECORD_DELETE:
		return admit_delete(a, round, op, o);
	case EG_RECORD_SPACE_PUT:
		return admit_space_put(a, round, op, o);
	case EG_RECORD_SPACE_DELETE:
		return admit_space_delete(a, round, op, o);
	default:
		return EG_E_REQUEST;
	}
}

/* ---- whole entries ---------------------------------------------------------- */

static void undo_change(struct admit *a, struct change *c)
{
	struct admit_space *sp;

	if (c->head.space == EG_NONE)      /* COMMIT, SHUTDOWN */
		return;
	sp = &a->spaces[c->head.space];
	if (c->promise != UINT64_MAX)
		overlay_undo(&a->overlay);
	if (c->head.type == EG_RECORD_PUT) {
		plan_undo(a->w, &c->plan, &c->head);
		sp->dimension = c->old_dimension;
		sp->source = c->old_source;
	}
	sp->memories -= (uint64_t)c->count_delta;
	sp->raw_bytes -= (uint64_t)c->raw_delta;
	admit_undo_space(a, c);
}

static void undo_to(struct admit *a, struct round *r, size_t n)
{
	while (r->n_changes > n)
		undo_change(a, &r->changes[--r->n_changes]);
}

static void add_commit(struct round *r, size_t first, const struct entry *e, unsigned entry_index)
{
	size_t parts = 0;
	struct change *c;

	/* A space made on the way is no part: it stands whatever becomes of the batch. */
	for (size_t i = first; i < r->n_changes; i++)
		if (r->changes[i].head.type <= EG_RECORD_DELETE) {
			r->changes[i].head.flags |= EG_RECORD_PART;
			parts++;
		}
	c = round_add_change(r);
	c->head.bytes = sizeof c->head;
	c->head.type = EG_RECORD_COMMIT;
	c->head.version = parts;
	c->head.producer = e->producer;
	c->head.entry = logged_entry(e->lane, e->seq);
	c->head.space = EG_NONE;
	c->entry = entry_index;
}

/* An operation that the last writer had logged: its answer, from the log. */
static bool answered_by_log(struct admit *a, struct entry *e, unsigned i, struct outcome *o)
{
	const struct logged_op *l;

	if (a->logged.n == 0)
		return false;
	if ((e->flags & EG_SUBMIT_ATOMIC) != 0) {
		l = logged_find(&a->logged, e->producer, logged_entry(e->lane, e->seq), 0, true);
		if (l == NULL)
			return false;
		e->lsn = l->lsn;
	}
	l = logged_find(&a->logged, e->producer, logged_entry(e->lane, e->seq), (uint16_t)i, false);
	if (l == NULL)
		return false;
	*o = (struct outcome){ .err = EG_E_OK, .version = l->version, .created = l->version == 1, .detail = EG_NONE };
	if (l->lsn > e->lsn)
		e->lsn = l->lsn;
	return true;
}

/* Nothing to log: what it says goes to the second or third hand. */
static enum err admit_control(struct admit *a, const struct op *op, struct outcome *o)
{
	struct control c;

	if (op->head.dim != 0 || op->head.n_terms != 0 || op->head.n_tags != 0 || op->head.id_bytes != 0
	    || !control_read(op->payload, op->head.packed_bytes, &c))
		return EG_E_REQUEST;
	if (c.what == EG_CONTROL_BACKUP)
		return backup_take(a->backup, &c, &o->version);
	return install_take(a->install, &c, &o->version);
}

static enum err one_op(struct admit *a, struct round *r, struct entry *e, unsigned i, struct op *op,
                       struct outcome *o)
{
	enum err err;

	if (op->head.type == EG_RECORD_CHECKPOINT)
		return admit_control(a, op, o);
	err = check_op(a, op);
	op->head.producer = e->producer;
	op->head.entry = logged_entry(e->lane, e->seq);
	op->head.op = (uint16_t)i;
	op->head.flags &= EG_RECORD_PINNED | EG_RECORD_DERIVED | EG_RECORD_AUTO_LINK;
	op->head.stored_us = clock_real_us();
	op->head.lsn = 0;
	/* A space is changed while nothing else is under way. */
	if (err == EG_E_OK && op->head.type > EG_RECORD_DELETE && (!e->solo || e->n_ops != 1))
		err = EG_E_REQUEST;
	return err == EG_E_OK ? admit_op(a, r, op, o) : err;
}

void admit_entry(struct admit *a, struct round *r, struct entry *e, unsigned entry_index)
{
	const uint8_t *at = e->data + sizeof(struct lane_entry), *end = e->data + e->bytes;
	size_t first = r->n_changes;
	struct op op;

	overlay_prune(&a->overlay, store_root(a->w)->applied_lsn);
	for (unsigned i = 0; i < e->n_ops; i++) {
		struct outcome o = { .err = EG_E_OK, .detail = EG_NONE };
		size_t before = r->n_changes;
		bool readable = read_op(at, (size_t)(end - at), &op);

		if (!readable)
			o.err = EG_E_INTERNAL;
		else if (!answered_by_log(a, e, i, &o))
			o.err = one_op(a, r, e, i, &op, &o);
		for (size_t c = before; c < r->n_changes; c++)
			r->changes[c].entry = entry_index;
		admit_result(a, e, i, &o);
		if (o.err != EG_E_OK) {
			undo_to(a, r, before);     /* a space made for it */
			metric_add(M_WAL_REFUSED, 1);
			if (e->first_bad == EG_NONE)
				e->first_bad = i;
			if (e->flags & EG_SUBMIT_ATOMIC) {
				e->err = o.err;
				undo_to(a, r, first);
				return;
			}
		}
		if (!readable) {
			LOG_ERROR("desk %u, lane %u: operation %u cannot be read", e->desk, e->lane, i);
			e->err = EG_E_INTERNAL;
			undo_to(a, r, first);
			return;
		}
		at += op.bytes;
	}
	if ((e->flags & EG_SUBMIT_ATOMIC) && r->n_changes > first)
		add_commit(r, first, e, entry_index);
}

void admit_undo(struct admit *a, struct round *r, enum err err)
{
	undo_to(a, r, 0);
	for (unsigned i = 0; i < r->n_entries; i++) {
		struct entry *e = &r->entries[i];

		e->err = err;
		e->lsn = 0;
		for (unsigned k = 0; k < e->n_ops; k++)
			admit_result(a, e, k, &(struct outcome){ .err = err });
	}
	r->last_lsn = 0;
}

void admit_logged(struct admit *a, struct round *r)
{
	for (size_t i = 0; i < r->n_changes; i++) {
		const struct change *c = &r->changes[i];
		const struct record *rec = c->plan.record;

		if (c->promise != UINT64_MAX)
			overlay_number(&a->overlay, c->promise, rec->lsn);
		if (c->entry != EG_NONE && rec->lsn > r->entries[c->entry].lsn)
			r->entries[c->entry].lsn = rec->lsn;
		if (rec->type == EG_RECORD_SPACE_PUT || rec->type == EG_RECORD_SPACE_DELETE)
			admit_apply_space(a, rec);
	}
	a->n_pending = 0;
}
