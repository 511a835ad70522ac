/* Repair, see the header. One pass over spaces and their slots, one over nodes,
 * one over id tables; private memory only, but for what it mends. */
#include "shm/repair_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"

struct sums { uint64_t memories, terms, raw_bytes, with_vector, derived_bytes; };

struct repair {
	struct store_writer *w;
	struct repair_report *report;
	bool verify;                   /* check every body's CRC */
	uint8_t *seen;                 /* chunks reached from a space */
	struct sums all;
	uint32_t *late;                /* live slots whose id word may be missing */
	size_t n_late, cap_late;
	struct graph_repair graphs;
	uint32_t looked;               /* chunks; so that the heartbeat goes on */
	struct fault *f;
};

static void beat_now_and_then(struct repair *r)
{
	if (++r->looked % 4096 == 0)
		desk_beat(r->w->desks);
}

static void late_add(struct repair *r, uint32_t slot)
{
	if (r->n_late == r->cap_late) {
		r->cap_late = r->cap_late ? r->cap_late * 2 : 256;
		r->late = realloc(r->late, r->cap_late * sizeof *r->late);
		EG_ASSERT(r->late != NULL);
	}
	r->late[r->n_late++] = slot;
}

/* The body of a live slot, when it is what the slot says. */
static const struct body *body_of(struct repair *r, uint32_t number, const struct slot *s)
{
	uint64_t offset = atomic_load(&s->body), grown = region_grown(&r->w->store.heap);
	const struct body *b;

	if (offset < EG_HEAP_BASE || offset + sizeof *b > grown)
		return NULL;
	b = region_at(&r->w->store.heap, offset, sizeof *b);
	if (b->magic != EG_BODY_MAGIC || b->slot != number || b->bytes < sizeof *b || offset + b->bytes > grown
	    || b->generation != (uint32_t)(atomic_load(&s->word) >> 8))
		return NULL;
	return b;
}

static void count(struct sums *t, const struct body *b)
{
	uint64_t vector = b->class_ == EG_NONE ? 0 : (uint64_t)b->record.dim * sizeof(float);

	t->memories++;
	t->terms += b->record.length;
	t->raw_bytes += b->record.raw_bytes + vector;
	t->with_vector += vector != 0;
	if (b->record.flags & EG_RECORD_DERIVED)
		t->derived_bytes += vector;
}

static enum err repair_slot(struct repair *r, uint32_t number, uint32_t space, bool live_space, struct sums *t)
{
	struct slot *s = slot_for_write(r->w, number);
	enum slot_state state = atomic_load(&s->word) & 0xff;
	const struct body *b;

	if (state == EG_SLOT_LIVE && live_space) {
		b = body_of(r, number, s);
		if (b == NULL || b->record.space != space || (r->verify && !body_valid(&r->w->store, b)))
			return err_set(r->f, EG_E_INTERNAL, NULL, NULL, "slot %u has no valid body", number);
		heap_scan_mark(&r->w->heap, atomic_load(&s->body), b->bytes);
		count(t, b);
		if (b->record.lsn > atomic_load(&store_root(r->w)->applied_lsn[b->record.shard]))
			late_add(r, number);
		return EG_E_OK;
	}
	if (state == EG_SLOT_FREE) {
		stack32_push(&r->w->spaces[space].slots, number);
	} else {
		slot_free(r->w, number, space);
		r->report->freed_slots++;
	}
	return EG_E_OK;
}

static void store_sums(struct repair *r, struct space *sp, const struct sums *t)
{
	atomic_store(&sp->memories, t->memories);
	atomic_store(&sp->terms, t->terms);
	atomic_store(&sp->raw_bytes, t->raw_bytes);
	atomic_store(&sp->with_vector, t->with_vector);
	r->all.memories += t->memories;
	r->all.raw_bytes += t->raw_bytes;
	r->all.with_vector += t->with_vector;
	r->all.derived_bytes += t->derived_bytes;
}

static enum err repair_space(struct repair *r, uint32_t number)
{
	struct space *sp = space_for_write(r->w, number);
	bool live = atomic_load(&sp->state) == EG_SPACE_LIVE;
	struct sums t = { 0 };

	for (uint32_t c = atomic_load(&sp->slot_head); c != EG_NONE;
	     c = atomic_load(&slot_chunk_for_write(r->w, c)->next)) {
		beat_now_and_then(r);
		if (r->seen[c]++)
			return err_set(r->f, EG_E_INTERNAL, NULL, NULL, "slot chunk %u is in two lists", c);
		for (uint32_t i = 0; i < EG_CHUNK; i++) {
			enum err e = repair_slot(r, c * EG_CHUNK + i, number, live, &t);

			if (e != EG_E_OK)
				return e;
		}
	}
	store_sums(r, sp, &t);
	if (!live)
		slot_free_chunks(r->w, number);
	return EG_E_OK;
}

/* A space whose state was stored, but not yet the number of spaces: it is whole. */
static void count_last_space(struct repair *r)
{
	struct root *root = store_root(r->w);
	uint32_t n = atomic_load(&root->n_spaces);

	if ((uint64_t)(n + 1) * sizeof(struct space) <= region_grown(&r->w->store.space)
	    && atomic_load(&space_for_write(r->w, n)->state) == EG_SPACE_LIVE)
		atomic_store_explicit(&root->n_spaces, n + 1, memory_order_release);
}

static enum err repair_slots(struct repair *r)
{
	struct root *root = store_root(r->w);
	uint32_t chunks = atomic_load(&root->n_slot_chunks), spaces = atomic_load(&root->n_spaces);
	enum err e = EG_E_OK;

	r->seen = calloc(1, chunks + 1u);
	EG_ASSERT(r->seen != NULL);
	for (uint32_t n = 0; n < spaces && e == EG_E_OK; n++) {
		e = space_reserve(r->w, n, r->f);
		if (e == EG_E_OK)
			e = repair_space(r, n);
	}
	for (uint32_t c = 0; c < chunks && e == EG_E_OK; c++) {
		if (r->seen[c])
			continue;
		atomic_store(&slot_chunk_for_write(r->w, c)->space, EG_NONE);
		stack32_push(&r->w->slot_chunks, c);
		r->report->freed_chunks++;
	}
	free(r->seen);
	return e;
}

static bool owned(struct repair *r, uint64_t owner, unsigned class_, uint32_t node)
{
	struct engram e;

	return owner != EG_NODE_FREE && slot_get(&r->w->store, (uint32_t)(owner >> 32), (uint32_t)owner, &e)
	       && e.body->class_ == class_ && e.body->node == node;
}

static void repair_chunk(struct repair *r, unsigned class_, uint32_t chunk, uint32_t space)
{
	struct node_chunk *c = node_chunk_for_write(r->w, class_, chunk);

	for (uint32_t i = 0; i < EG_CHUNK; i++) {
		uint32_t node = chunk * EG_CHUNK + i;
		uint64_t owner = atomic_load(&c->owner[i]);

		if (owned(r, owner, class_, node)) {
			graph_repair_node(r->w, &r->graphs, space, class_, node, true);
			continue;
		}
		if (owner != EG_NODE_FREE) {
			atomic_store_explicit(&c->owner[i], EG_NODE_FREE, memory_order_release);
			FAULT(NODE_UNPUBLISHED);
			r->report->freed_nodes++;
		}
		if (!graph_repair_node(r->w, &r->graphs, space, class_, node, false))
			node_free(r->w, class_, node, space);
	}
}

/* Free nodes are kept for the class of the newest chunk, as node_reserve does. */
static void repair_node_lists(struct repair *r, uint8_t *seen[EG_CLASSES])
{
	uint32_t spaces = atomic_load(&store_root(r->w)->n_spaces);

	for (uint32_t n = 0; n < spaces; n++) {
		struct space *sp = space_for_write(r->w, n);
		uint32_t link = atomic_load(&sp->node_head);

		if (link != EG_NONE)
			r->w->spaces[n].nodes_class = link >> EG_LINK_SHIFT;
		while (link != EG_NONE) {
			unsigned class_ = link >> EG_LINK_SHIFT;
			uint32_t chunk = link & EG_LINK_MASK;

			beat_now_and_then(r);
			seen[class_][chunk] = 1;
			repair_chunk(r, class_, chunk, n);
			link = atomic_load(&node_chunk_for_write(r->w, class_, chunk)->next);
		}
		if (atomic_load(&sp->state) == EG_SPACE_DELETED)
			node_free_chunks(r->w, n);
	}
}

static void repair_nodes(struct repair *r)
{
	struct root *root = store_root(r->w);
	uint8_t *seen[EG_CLASSES];

	for (unsigned k = 0; k < EG_CLASSES; k++) {
		seen[k] = calloc(1, atomic_load(&root->n_node_chunks[k]) + 1u);
		EG_ASSERT(seen[k] != NULL);
	}
	repair_node_lists(r, seen);
	for (unsigned k = 0; k < EG_CLASSES; k++) {
		for (uint32_t c = 0; c < atomic_load(&root->n_node_chunks[k]); c++) {
			if (seen[k][c])
				continue;
			atomic_store(&node_chunk_for_write(r->w, k, c)->space, EG_NONE);
			stack32_push(&r->w->node_chunks[k], c);
			r->report->freed_chunks++;
		}
		free(seen[k]);
	}
}

struct sweep { struct repair *r; unsigned shard; };

static bool keep_memory(void *arg, uint32_t tag, uint32_t number)
{
	struct sweep *s = arg;
	struct root *root = store_root(s->r->w);
	const struct slot *slot;
	const struct body *b = NULL;

	if (number / EG_CHUNK < atomic_load(&root->n_slot_chunks)) {
		slot = slot_for_write(s->r->w, number);
		if ((atomic_load(&slot->word) & 0xff) == EG_SLOT_LIVE)
			b = body_of(s->r, number, slot);
	}
	if (b != NULL && b->record.shard == s->shard && (uint32_t)(b->record.key >> 32) == tag)
		return true;
	s->r->report->removed_ids++;
	return false;
}

static bool keep_space(void *arg, uint32_t tag, uint32_t number)
{
	struct sweep *s = arg;

	(void)tag;
	if (number < atomic_load(&store_root(s->r->w)->n_spaces)
	    && atomic_load(&space_for_write(s->r->w, number)->state) == EG_SPACE_LIVE)
		return true;
	s->r->report->removed_ids++;
	return false;
}

static void mark_tables(struct repair *r)
{
	for (unsigned shard = 0; shard <= EG_SHARDS; shard++) {
		uint64_t root = atomic_load(&store_root(r->w)->ids[shard].word);
		struct sweep s = { r, shard };

		if (root == 0)
			continue;
		desk_beat(r->w->desks);
		heap_scan_mark(&r->w->heap, root >> 8, (size_t)8 << (root & 0xff));
		ids_sweep(r->w, shard, shard == EG_SHARDS ? keep_space : keep_memory, &s);
	}
}

static enum err add_id(struct repair *r, unsigned shard, uint64_t key, uint32_t number)
{
	enum err e = EG_E_OK;

	if (ids_has(r->w, shard, key, number))
		return EG_E_OK;
	if (!ids_has_room(r->w, shard))
		e = ids_grow(r->w, shard, r->f);
	if (e == EG_E_OK)
		ids_insert(r->w, shard, key, number);
	r->report->added_ids++;
	return e;
}

static enum err add_missing_ids(struct repair *r)
{
	struct root *root = store_root(r->w);
	uint64_t spaces = 0;
	enum err e = EG_E_OK;

	for (size_t i = 0; i < r->n_late && e == EG_E_OK; i++) {
		const struct body *b = body_of(r, r->late[i], slot_for_write(r->w, r->late[i]));

		e = add_id(r, b->record.shard, b->record.key, r->late[i]);
	}
	for (uint32_t n = 0; n < atomic_load(&root->n_spaces) && e == EG_E_OK; n++) {
		struct space *sp = space_for_write(r->w, n);

		if (atomic_load(&sp->state) != EG_SPACE_LIVE)
			continue;
		spaces++;
		e = add_id(r, EG_SHARDS, ids_space_key(sp->id, strlen(sp->id)), n);
	}
	atomic_store(&root->counts.spaces, spaces);
	return e;
}

enum err store_repair(struct store_writer *w, bool verify, struct repair_report *report, struct fault *f)
{
	struct repair r = { .w = w, .report = report, .verify = verify, .f = f };
	struct store_counts *c = &store_root(w)->counts;
	enum err e;

	memset(report, 0, sizeof *report);
	heap_scan_begin(&w->heap);
	count_last_space(&r);
	e = repair_slots(&r);
	if (e == EG_E_OK) {
		FAULT(REPAIR_SLOTS);
		graph_repair_begin(w, &r.graphs);
		repair_nodes(&r);
		graph_repair_end(&r.graphs);
		report->graphs_dropped = r.graphs.dropped;
		report->graphs_rebuilt = r.graphs.rebuilt;
		FAULT(REPAIR_NODES);
		mark_tables(&r);
		FAULT(REPAIR_IDS);
		heap_scan_end(&w->heap);
		e = add_missing_ids(&r);
		FAULT(REPAIR_DONE);
	}
	report->live = r.all.memories;
	atomic_store(&c->memories, r.all.memories);
	atomic_store(&c->vectors, r.all.with_vector);
	atomic_store(&c->raw_bytes, r.all.raw_bytes);
	atomic_store(&c->derived_bytes, r.all.derived_bytes);
	free(r.late);
	return e;
}
