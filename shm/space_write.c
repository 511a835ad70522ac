/* Memory spaces, the writing side, see the header. */
#include "shm/space_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"

struct space *space_for_write(struct store_writer *w, uint32_t number)
{
	return region_for_write(&w->store.space, (uint64_t)number * sizeof(struct space), sizeof(struct space));
}

static void know_spaces(struct store_writer *w, uint32_t n)
{
	uint32_t cap = w->cap_spaces;

	if (n <= cap)
		return;
	cap = n + n / 2 + 16;
	w->spaces = realloc(w->spaces, cap * sizeof *w->spaces);
	EG_ASSERT(w->spaces != NULL);
	memset(w->spaces + w->cap_spaces, 0, (cap - w->cap_spaces) * sizeof *w->spaces);
	w->cap_spaces = cap;
}

enum err space_reserve(struct store_writer *w, uint32_t number, struct fault *f)
{
	struct space *sp;
	enum err e = region_grow(&w->store.space, (uint64_t)(number + 1) * sizeof *sp, f);

	if (e == EG_E_OK && !ids_has_room(w, EG_SHARDS))
		e = ids_grow(w, EG_SHARDS, f);
	if (e != EG_E_OK)
		return e;
	know_spaces(w, number + 1);
	sp = space_for_write(w, number);
	if (atomic_load(&sp->state) != EG_SPACE_NONE)
		return EG_E_OK;            /* found by a repair */
	atomic_fetch_add(&w->ids_pending[EG_SHARDS], 1);
	sp->number = number;
	atomic_store(&sp->slot_head, EG_NONE);
	atomic_store(&sp->node_head, EG_NONE);
	FAULT(SPACE_RESERVED);
	return EG_E_OK;
}

static void note_change(struct space *sp, uint64_t lsn)
{
	uint64_t seen = atomic_load_explicit(&sp->changed_lsn, memory_order_relaxed);

	while (seen < lsn && !atomic_compare_exchange_weak(&sp->changed_lsn, &seen, lsn))
		;
	FAULT(SPACE_MARKED);
}

static void set_terms(struct space *sp, const struct space_terms *t, uint64_t lsn)
{
	note_change(sp, lsn);
	atomic_store(&sp->settings, t->settings);
	atomic_store(&sp->quota_memories, t->quota_memories);
	atomic_store(&sp->quota_bytes, t->quota_bytes);
	atomic_store(&sp->lsn, lsn);
}

void space_publish(struct store_writer *w, uint32_t number, const struct space_terms *t,
                   int64_t created_us, uint64_t lsn)
{
	struct root *root = store_root(w);
	struct space *sp = space_for_write(w, number);
	uint64_t key = ids_space_key(t->id, t->id_bytes);

	EG_ASSERT(t->id_bytes <= EG_SPACE_ID_MAX);
	memset(sp->id, 0, sizeof sp->id);
	memcpy(sp->id, t->id, t->id_bytes);
	sp->created_us = created_us;
	atomic_store(&sp->vectors, (uint64_t)t->source << 32 | t->dimension);
	set_terms(sp, t, lsn);
	FAULT(SPACE_FILLED);
	atomic_store_explicit(&sp->state, EG_SPACE_LIVE, memory_order_release);
	FAULT(SPACE_LIVE);
	if (number >= atomic_load(&root->n_spaces))
		atomic_store_explicit(&root->n_spaces, number + 1, memory_order_release);
	FAULT(SPACE_COUNTED);
	if (!ids_has(w, EG_SHARDS, key, number)) {
		ids_insert(w, EG_SHARDS, key, number);
		atomic_fetch_add(&root->counts.spaces, 1);
	}
	atomic_fetch_sub(&w->ids_pending[EG_SHARDS], 1);
	FAULT(SPACE_PUBLISHED);
}

void space_unreserve(struct store_writer *w, uint32_t number)
{
	EG_ASSERT(atomic_load(&space_for_write(w, number)->state) == EG_SPACE_NONE);
	/* Its memories were taken back before; what was handed to it for them must not
	 * go to the next space of this number, whose lists begin empty. */
	slot_free_chunks(w, number);
	node_free_chunks(w, number);
	atomic_fetch_sub(&w->ids_pending[EG_SHARDS], 1);
	FAULT(SPACE_UNRESERVED);
}

void space_change(struct store_writer *w, uint32_t number, const struct space_terms *t, uint64_t lsn)
{
	struct space *sp = space_for_write(w, number);

	if (space_dimension(sp) == 0 && t->dimension != 0)
		atomic_store(&sp->vectors, (uint64_t)t->source << 32 | t->dimension);
	set_terms(sp, t, lsn);
	FAULT(SPACE_CHANGED);
}

void space_unpublish(struct store_writer *w, uint32_t number, uint64_t lsn)
{
	struct space *sp = space_for_write(w, number);

	note_change(sp, lsn);
	/* State first: who meets the LSN of the deletion meets the deletion. */
	atomic_store_explicit(&sp->state, EG_SPACE_DELETED, memory_order_release);
	atomic_store(&sp->lsn, lsn);
	FAULT(SPACE_UNPUBLISHED);
	if (ids_remove(w, EG_SHARDS, ids_space_key(sp->id, strlen(sp->id)), number))
		atomic_fetch_sub(&store_root(w)->counts.spaces, 1);
	FAULT(SPACE_NAME_REMOVED);
}

void space_note_vector(struct store_writer *w, uint32_t number, enum vector_source source, uint32_t dim, uint64_t lsn)
{
	struct space *sp = space_for_write(w, number);
	uint64_t seen = atomic_load(&sp->vectors), want = (uint64_t)source << 32 | dim;

	while (seen != want) {
		enum vector_source now = (enum vector_source)(seen >> 32);

		if (now == EG_SOURCE_CLIENT && (source != EG_SOURCE_CLIENT || (uint32_t)seen != 0))
			return;
		if (now == EG_SOURCE_BUILTIN && source == EG_SOURCE_BUILTIN)
			return;
		note_change(sp, lsn);
		if (atomic_compare_exchange_weak(&sp->vectors, &seen, want)) {
			FAULT(SPACE_VECTORS);
			if (atomic_load(&sp->graph) != 0)
				graph_look(w, number);   /* of another class now, perhaps */
			return;
		}
	}
}
