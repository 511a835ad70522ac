/* Looking at memories, see the header. */
#include "shm/slot.h"

#include <string.h>

#include "shm/ids.h"

static const struct slot_chunk *chunk_at(const struct store *s, uint32_t chunk)
{
	return region_at(&s->slot, (uint64_t)chunk * sizeof(struct slot_chunk), sizeof(struct slot_chunk));
}

/* The body of a live slot. The word is looked at again after the body: a slot
 * that was given away in between has another generation. */
static bool open_slot(const struct store *s, const struct slot *slot, uint32_t number, struct engram *e)
{
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire), offset;
	const struct body *b;

	if ((word & 0xff) != EG_SLOT_LIVE)
		return false;
	offset = atomic_load_explicit(&slot->body, memory_order_acquire);
	if (offset == 0)
		return false;
	b = region_at(&s->heap, offset, sizeof *b);
	e->slot = slot;
	e->body = b;
	e->number = number;
	e->generation = (uint32_t)(word >> 8);
	return atomic_load_explicit(&slot->word, memory_order_acquire) == word;
}

bool slot_get(const struct store *s, uint32_t number, uint32_t generation, struct engram *e)
{
	if (number / EG_CHUNK >= atomic_load_explicit(&s->root->n_slot_chunks, memory_order_acquire))
		return false;
	return open_slot(s, &chunk_at(s, number / EG_CHUNK)->slots[number % EG_CHUNK], number, e)
	       && e->generation == generation;
}

bool slot_at(const struct store *s, uint32_t number, struct engram *e)
{
	const struct slot *slot = &chunk_at(s, number / EG_CHUNK)->slots[number % EG_CHUNK];

	if (open_slot(s, slot, number, e))
		return true;
	e->generation = (uint32_t)(atomic_load_explicit(&slot->word, memory_order_acquire) >> 8);
	return false;
}

uint32_t slot_chunks(const struct store *s)
{
	return atomic_load_explicit(&s->root->n_slot_chunks, memory_order_acquire);
}

uint64_t slot_chunk_changed(const struct store *s, uint32_t chunk)
{
	return atomic_load_explicit(&chunk_at(s, chunk)->changed_lsn, memory_order_acquire);
}

bool slot_find(const struct store *s, const struct space *sp, const char *id, size_t n, struct engram *e)
{
	uint64_t key = record_key(sp->id, strlen(sp->id), id, n);
	struct ids_probe p;
	uint32_t number;

	ids_probe(s, key % EG_SHARDS, key, &p);
	while ((number = ids_next(&p)) != EG_NONE) {
		const struct slot *slot = &chunk_at(s, number / EG_CHUNK)->slots[number % EG_CHUNK];

		if (open_slot(s, slot, number, e) && e->body->record.key == key
		    && e->body->record.space == sp->number && e->body->record.id_bytes == n
		    && memcmp(body_id(e->body), id, n) == 0)
			return true;
	}
	return false;
}

void slot_walk(const struct store *s, const struct space *sp, struct slot_walk *w)
{
	w->store = s;
	w->space = sp->number;
	w->chunk = atomic_load_explicit(&sp->slot_head, memory_order_acquire);
	w->at = 0;
}

bool slot_next(struct slot_walk *w, struct engram *e)
{
	while (w->chunk != EG_NONE) {
		const struct slot_chunk *c = chunk_at(w->store, w->chunk);

		while (w->at < EG_CHUNK) {
			uint32_t i = w->at++;

			if (open_slot(w->store, &c->slots[i], w->chunk * EG_CHUNK + i, e)
			    && e->body->record.space == w->space)
				return true;
		}
		w->chunk = atomic_load_explicit(&c->next, memory_order_acquire);
		w->at = 0;
	}
	return false;
}
