/* Loading: id tables, lists of chunks and counts, see load.h. */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/ids.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/load_parts.h"

void load_count_end(struct load *l, struct load_sums *s)
{
	struct store_counts *c = &store_root(l->w)->counts;
	struct space *sp;

	if (s->space == EG_NONE)
		return;
	sp = space_for_write(l->w, s->space);
	atomic_fetch_add(&sp->memories, s->memories);
	atomic_fetch_add(&sp->terms, s->terms);
	atomic_fetch_add(&sp->raw_bytes, s->raw_bytes);
	atomic_fetch_add(&sp->with_vector, s->with_vector);
	atomic_fetch_add(&c->memories, s->memories);
	atomic_fetch_add(&c->vectors, s->with_vector);
	atomic_fetch_add(&c->raw_bytes, s->raw_bytes);
	atomic_fetch_add(&c->derived_bytes, s->derived_bytes);
	atomic_fetch_add(&c->taken_bytes, s->raw_bytes);
	*s = (struct load_sums){ .space = EG_NONE };
}

void load_count(struct load *l, struct load_sums *s, const struct record *r, int64_t sign)
{
	uint64_t vector = (uint64_t)r->dim * sizeof(float);

	if (s->space != r->space) {
		load_count_end(l, s);
		s->space = r->space;
	}
	s->memories += (uint64_t)sign;
	s->terms += (uint64_t)sign * r->length;
	s->raw_bytes += (uint64_t)sign * (r->raw_bytes + vector);
	s->with_vector += vector > 0 ? (uint64_t)sign : 0;
	s->derived_bytes += r->flags & EG_RECORD_DERIVED ? (uint64_t)sign * vector : 0;
}

#define EG_AT_ONCE 12u                 /* words on their way from memory */

/* ---- id tables ------------------------------------------------------------------- */

enum err load_prepare_ids(struct load *l, struct fault *f)
{
	uint64_t n[EG_SHARDS] = { 0 }, at[EG_SHARDS], sum = 0;
	enum err e = EG_E_OK;

	for (uint64_t i = 0; i < l->n; i++)
		if (l->loaded[i].live)
			n[l->loaded[i].shard]++;
	for (unsigned s = 0; s < EG_SHARDS; s++) {
		at[s] = l->shard_first[s] = sum;
		sum += n[s];
	}
	l->shard_first[EG_SHARDS] = sum;
	l->by_shard = load_room(l, sum, sizeof *l->by_shard);
	for (uint64_t i = 0; i < l->n; i++)
		if (l->loaded[i].live)
			l->by_shard[at[l->loaded[i].shard]++] = (struct load_key){ l->loaded[i].key, (uint32_t)i, l->rows[i].slot };
	for (unsigned s = 0; s < EG_SHARDS && e == EG_E_OK; s++) {
		if (n[s] == 0)
			continue;
		atomic_store(&l->w->ids_pending[s], (uint32_t)n[s]);
		e = ids_grow(l->w, s, f);
		atomic_store(&l->w->ids_pending[s], 0);
	}
	return e;
}

static void drop(struct load *l, uint32_t slot, const struct body *b, struct load_sums *sums)
{
	uint64_t offset = atomic_load(&slot_for_write(l->w, slot)->body);

	load_count(l, sums, &b->record, -1);
	if (b->class_ != EG_NONE)
		(void)node_unpublish(l->w, b->class_, b->node);
	pthread_mutex_lock(&l->lock);
	if (l->anew) {
		load_unplace(l, b, slot);
	} else {
		l->live[slot] = 0;
		if (b->class_ != EG_NONE)
			l->taken[b->class_][b->node] = 0;
	}
	heap_free(&l->w->heap, offset, b->bytes);
	l->report->dropped++;
	pthread_mutex_unlock(&l->lock);
}

static const struct body *body_at(const struct load *l, uint64_t offset)
{
	return region_at(&l->w->store.heap, offset, sizeof(struct body));
}

static bool same_id(const struct body *a, const struct body *b)
{
	return a->record.key == b->record.key && a->record.space == b->record.space
	       && a->record.id_bytes == b->record.id_bytes && memcmp(body_id(a), body_id(b), a->record.id_bytes) == 0;
}

/* An id with two rows was deleted and stored again during the dump: the newer row stays. */
static void load_id(struct load *l, unsigned shard, const struct load_key *me, struct load_sums *sums)
{
	struct ids_probe p;
	uint32_t other;

	ids_probe(&l->w->store, shard, me->key, &p);
	while ((other = ids_next(&p)) != EG_NONE) {
		const struct body *mine = body_at(l, l->loaded[me->row].body);
		const struct body *his = body_at(l, atomic_load(&slot_for_write(l->w, other)->body));

		if (!same_id(mine, his))
			continue;
		if (his->record.lsn > mine->record.lsn) {
			drop(l, me->slot, mine, sums);
			return;
		}
		(void)ids_remove(l->w, shard, me->key, other);
		drop(l, other, his, sums);
	}
	ids_insert(l->w, shard, me->key, me->slot);
}

void load_ids(struct load *l)
{
	struct load_sums sums = { .space = EG_NONE };
	unsigned shard;

	while ((shard = atomic_fetch_add(&l->next, 1)) < EG_SHARDS) {
		for (uint64_t i = l->shard_first[shard]; i < l->shard_first[shard + 1]; i++) {
			if (i + EG_AT_ONCE < l->shard_first[shard + 1])
				ids_prefetch(&l->w->store, shard, l->by_shard[i + EG_AT_ONCE].key);
			load_id(l, shard, &l->by_shard[i], &sums);
		}
		desk_beat(l->w->desks);
		FAULT(LOAD_SHARD);
	}
	load_count_end(l, &sums);
}

/* ---- lists of chunks ------------------------------------------------------------- */

static void list_slots(struct load *l)
{
	const unsigned per_extent = extent_entries(EG_EXTENT_ROWS);

	for (uint32_t c = atomic_load(&store_root(l->w)->n_slot_chunks); c-- > 0;) {
		struct slot_chunk *chunk = slot_chunk_for_write(l->w, c);
		uint32_t space = atomic_load(&chunk->space), generation = l->generations[c * EG_CHUNK / per_extent] + 1;

		for (uint32_t i = EG_CHUNK; i-- > 0;) {
			if (l->live[c * EG_CHUNK + i])
				continue;
			atomic_store(&chunk->slots[i].word, (uint64_t)generation << 8 | EG_SLOT_FREE);
			atomic_store(&chunk->slots[i].body, 0);
			if (space != EG_NONE)
				stack32_push(&l->w->spaces[space].slots, c * EG_CHUNK + i);
		}
		if (space == EG_NONE) {
			stack32_push(&l->w->slot_chunks, c);
			continue;
		}
		atomic_store(&chunk->next, atomic_load(&space_for_write(l->w, space)->slot_head));
		atomic_store(&space_for_write(l->w, space)->slot_head, c);
	}
	FAULT(LOAD_SLOT_LISTS);
}

/* The class in which the space's next vector will be: its free nodes are kept. */
static unsigned present_class(const struct space *sp)
{
	unsigned dim = space_dimension(sp);

	return dim > 0 ? node_class(dim) : EG_CLASSES;
}

/* Chunks of this class; of spaces whose present class it is, or of the others. */
static void list_nodes(struct load *l, unsigned class_, bool present)
{
	for (uint32_t c = atomic_load(&store_root(l->w)->n_node_chunks[class_]); c-- > 0;) {
		struct node_chunk *chunk = node_chunk_for_write(l->w, class_, c);
		uint32_t space = atomic_load(&chunk->space);
		struct space *sp;

		if (space == EG_NONE) {
			if (!present)
				stack32_push(&l->w->node_chunks[class_], c);
			continue;
		}
		sp = space_for_write(l->w, space);
		if ((present_class(sp) == class_) != present)
			continue;
		l->w->spaces[space].nodes_class = class_;
		for (uint32_t i = EG_CHUNK; i-- > 0 && present;)
			if (!l->taken[class_][c * EG_CHUNK + i])
				stack32_push(&l->w->spaces[space].nodes, c * EG_CHUNK + i);
		atomic_store(&chunk->next, atomic_load(&sp->node_head));
		atomic_store(&sp->node_head, class_ << EG_LINK_SHIFT | c);
	}
}

void load_lists(struct load *l)
{
	list_slots(l);
	desk_beat(l->w->desks);
	for (unsigned k = 0; k < EG_CLASSES; k++)
		list_nodes(l, k, false);
	for (unsigned k = 0; k < EG_CLASSES; k++)
		list_nodes(l, k, true);
	FAULT(LOAD_NODE_LISTS);
}
