/* Apply, see the header. Order of stores within a change: first everything that
 * nobody can see, then the one word that shows it; first out of sight, then retire. */
#include "wal/apply.h"

#include <string.h>

#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/region_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/spacemsg.h"
#include "wal/submit.h"

uint32_t apply_body_bytes(const struct record *r)
{
	return r->bytes - (uint32_t)record_vector_bytes(r->dim) + (uint32_t)offsetof(struct body, record);
}

enum err plan_reserve(struct store_writer *w, struct plan *p, const struct record *head, struct fault *f)
{
	enum err e = EG_E_OK;

	p->class_ = p->node = EG_NONE;
	p->body_bytes = apply_body_bytes(head);
	if (p->fresh)
		e = slot_reserve(w, head->space, &p->slot, &p->generation, f);
	if (e != EG_E_OK)
		return e;
	e = heap_alloc(&w->heap, p->body_bytes, &p->body, f);
	if (e == EG_E_OK && head->dim > 0) {
		e = node_reserve(w, head->space, head->dim, &p->node, f);
		if (e == EG_E_OK)
			p->class_ = node_class(head->dim);
		else
			heap_free(&w->heap, p->body, p->body_bytes);
	}
	if (e != EG_E_OK && p->fresh)
		slot_free(w, p->slot, head->space);
	if (e == EG_E_OK && p->fresh)
		atomic_fetch_add(&w->ids_pending[head->shard], 1);
	FAULT(APPLY_RESERVED);
	return e;
}

void plan_undo(struct store_writer *w, struct plan *p, const struct record *head)
{
	if (p->class_ != EG_NONE)
		node_free(w, p->class_, p->node, head->space);
	heap_free(&w->heap, p->body, p->body_bytes);
	if (p->fresh) {
		slot_free(w, p->slot, head->space);
		atomic_fetch_sub(&w->ids_pending[head->shard], 1);
	}
	FAULT(APPLY_UNDONE);
}

/* The body: the record without its vector. */
static void write_body(struct store_writer *w, const struct plan *p)
{
	const struct record *r = p->record;
	size_t vector = record_vector_bytes(r->dim), rest = r->bytes - sizeof *r - vector;
	struct body *b = region_for_write(&w->store.heap, p->body, p->body_bytes);

	b->magic = EG_BODY_MAGIC;
	b->bytes = p->body_bytes;
	b->slot = p->slot;
	b->generation = p->generation;
	b->class_ = p->class_;
	b->node = p->node;
	b->pad = 0;
	b->record = *r;
	memcpy((uint8_t *)b + sizeof *b, (const uint8_t *)r + sizeof *r + vector, rest);
}

/* Add (sign 1) or take away (sign -1) a version in the counts. */
static void count(struct store_writer *w, const struct record *r, int64_t sign, bool memory)
{
	struct space *sp = space_for_write(w, r->space);
	struct store_counts *c = &store_root(w)->counts;
	uint64_t vector = r->dim * sizeof(float), raw = r->raw_bytes + vector;
	uint32_t least = atomic_load_explicit(&w->graph_min, memory_order_relaxed);

	atomic_fetch_add(&sp->terms, (uint64_t)sign * r->length);
	atomic_fetch_add(&sp->raw_bytes, (uint64_t)sign * raw);
	atomic_fetch_add(&c->raw_bytes, (uint64_t)sign * raw);
	if (r->flags & EG_RECORD_DERIVED)
		atomic_fetch_add(&c->derived_bytes, (uint64_t)sign * vector);
	if (vector > 0) {
		uint64_t before = atomic_fetch_add(&sp->with_vector, (uint64_t)sign);

		atomic_fetch_add(&c->vectors, (uint64_t)sign);
		/* The space gets a graph, or loses it. */
		if (sign > 0 ? before + 1 == least : before == (least > 1 ? least / 2 : 1))
			graph_look(w, r->space);
	}
	if (memory) {
		atomic_fetch_add(&sp->memories, (uint64_t)sign);
		atomic_fetch_add(&c->memories, (uint64_t)sign);
	}
	if (sign > 0)
		atomic_fetch_add(&c->taken_bytes, raw);
}

/* Out of sight already: its node, its block. */
static void retire_body(struct store_writer *w, uint64_t offset)
{
	const struct body *b = region_at(&w->store.heap, offset, sizeof *b);

	/* A node that a graph may name is retired by the linking thread. */
	if (b->class_ != EG_NONE && !node_unpublish(w, b->class_, b->node))
		retire_node(w, b->class_, b->node, b->record.space);
	retire_block(w, offset, b->bytes);
}

static void apply_put(struct store_writer *w, const struct plan *p)
{
	const struct record *r = p->record;

	if (p->class_ != EG_NONE) {
		node_publish(w, p->class_, p->node, record_vector(r), r->dim, p->slot, p->generation);
		space_note_vector(w, r->space, r->flags & EG_RECORD_DERIVED ? EG_SOURCE_BUILTIN : EG_SOURCE_CLIENT,
		                  r->dim, r->lsn);
		graph_offer(w, r->space, p->class_, p->node);
	}
	write_body(w, p);
	FAULT(APPLY_BODY);
	slot_note_change(w, p->slot, r->lsn);
	if (p->fresh) {
		slot_publish(w, p->slot, p->body, r);
		ids_insert(w, r->shard, r->key, p->slot);
		atomic_fetch_sub(&w->ids_pending[r->shard], 1);
		FAULT(APPLY_ID);
		count(w, r, 1, true);
	} else {
		uint64_t old = slot_replace(w, p->slot, p->body);
		const struct body *b = region_at(&w->store.heap, old, sizeof *b);

		count(w, &b->record, -1, false);
		count(w, r, 1, false);
		retire_body(w, old);
		FAULT(APPLY_RETIRED);
	}
}

static void apply_delete(struct store_writer *w, uint32_t slot, uint64_t lsn)
{
	uint64_t offset = atomic_load(&slot_for_write(w, slot)->body);
	const struct body *b = region_at(&w->store.heap, offset, sizeof *b);
	struct record r = b->record;

	slot_note_change(w, slot, lsn);
	slot_unpublish(w, slot);
	(void)ids_remove(w, r.shard, r.key, slot);
	count(w, &r, -1, true);
	retire_body(w, offset);
	retire_slot(w, slot, r.space);
	FAULT(APPLY_DELETED);
}

void apply_plan(struct store_writer *w, struct plan *p)
{
	if (p->record->type == EG_RECORD_PUT)
		apply_put(w, p);
	else if (p->record->type == EG_RECORD_DELETE)
		apply_delete(w, p->slot, p->record->lsn);
}

void apply_loaded(struct store_writer *w, const struct plan *p, const struct slot_words *words)
{
	struct slot *s = slot_for_write(w, p->slot);

	if (p->class_ != EG_NONE)
		node_publish(w, p->class_, p->node, record_vector(p->record), p->record->dim, p->slot, p->generation);
	write_body(w, p);
	atomic_store_explicit(&s->truth, words->truth, memory_order_relaxed);
	atomic_store_explicit(&s->memory, words->memory, memory_order_relaxed);
	atomic_store_explicit(&s->last_access_ms, words->last_access_ms, memory_order_relaxed);
	atomic_store_explicit(&s->accesses, words->accesses, memory_order_relaxed);
	atomic_store_explicit(&s->tier, words->tier, memory_order_relaxed);
	atomic_store_explicit(&s->associations, 0, memory_order_relaxed);
	atomic_store_explicit(&s->body, p->body, memory_order_relaxed);
	atomic_store_explicit(&s->word, (uint64_t)p->generation << 8 | EG_SLOT_LIVE, memory_order_release);
	FAULT(APPLY_LOADED);
}

void apply_space_put(struct store_writer *w, const struct record *r)
{
	struct space_terms t;
	struct space_message m;

	EG_ASSERT(space_message_read(r, &m));
	t = (struct space_terms){ .id = m.id, .id_bytes = m.id_bytes, .source = m.source,
		.dimension = m.dimension, .settings = m.settings,
		.quota_memories = m.quota_memories, .quota_bytes = m.quota_bytes };
	if (atomic_load(&space_for_write(w, r->space)->state) == EG_SPACE_NONE)
		space_publish(w, r->space, &t, r->stored_us, r->lsn);
	else
		space_change(w, r->space, &t, r->lsn);
}

void apply_space_delete(struct store_writer *w, const struct record *r)
{
	const struct space *sp = space_get(&w->store, r->space);
	struct slot_walk walk;
	struct engram e;

	if (sp == NULL || atomic_load(&sp->state) != EG_SPACE_LIVE)
		return;
	space_unpublish(w, r->space, r->lsn);
	slot_walk(&w->store, sp, &walk);
	while (slot_next(&walk, &e)) {
		apply_delete(w, e.number, r->lsn);
		FAULT(SPACE_MEMORY_DROPPED);
	}
	if (atomic_load(&sp->graph) != 0)
		graph_look(w, r->space);
	retire_space(w, r->space);
}
