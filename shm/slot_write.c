/* Slots, the writing side, see the header. */
#include "shm/slot_write.h"

#include <string.h>

#include "common/fault.h"
#include "shm/space_write.h"

struct slot_chunk *slot_chunk_for_write(struct store_writer *w, uint32_t chunk)
{
	return region_for_write(&w->store.slot, (uint64_t)chunk * sizeof(struct slot_chunk),
	                        sizeof(struct slot_chunk));
}

struct slot *slot_for_write(struct store_writer *w, uint32_t slot)
{
	return &slot_chunk_for_write(w, slot / EG_CHUNK)->slots[slot % EG_CHUNK];
}

static void set_word(struct slot *s, uint32_t generation, enum slot_state state)
{
	atomic_store_explicit(&s->word, (uint64_t)generation << 8 | state, memory_order_release);
}

static uint32_t generation_of(const struct slot *s)
{
	return (uint32_t)(atomic_load_explicit(&s->word, memory_order_relaxed) >> 8);
}

/* Give the space one more chunk: 16 free slots. */
static enum err add_chunk(struct store_writer *w, uint32_t space, struct fault *f)
{
	struct root *root = store_root(w);
	struct space *sp = space_for_write(w, space);
	uint32_t chunk = stack32_pop(&w->slot_chunks);
	struct slot_chunk *c;

	if (chunk == EG_NONE) {
		enum err e;

		chunk = atomic_load(&root->n_slot_chunks);
		e = region_grow(&w->store.slot, (uint64_t)(chunk + 1) * sizeof *c, f);
		if (e != EG_E_OK)
			return e;
		c = slot_chunk_for_write(w, chunk);
		atomic_store(&c->space, EG_NONE);
		atomic_store(&c->next, EG_NONE);
		FAULT(SLOT_CHUNK_NEW);
		atomic_store_explicit(&root->n_slot_chunks, chunk + 1, memory_order_release);
		FAULT(SLOT_CHUNK_COUNTED);
	}
	c = slot_chunk_for_write(w, chunk);
	atomic_store(&c->next, atomic_load(&sp->slot_head));
	atomic_store_explicit(&c->space, space, memory_order_release);
	FAULT(SLOT_CHUNK_CHAINED);
	atomic_store_explicit(&sp->slot_head, chunk, memory_order_release);
	FAULT(SLOT_CHUNK_LINKED);
	for (uint32_t i = EG_CHUNK; i-- > 0;)
		stack32_push(&w->spaces[space].slots, chunk * EG_CHUNK + i);
	return EG_E_OK;
}

enum err slot_reserve(struct store_writer *w, uint32_t space, uint32_t *slot, uint32_t *generation,
                      struct fault *f)
{
	struct slot *s;

	if (w->spaces[space].slots.n == 0) {
		enum err e = add_chunk(w, space, f);

		if (e != EG_E_OK)
			return e;
	}
	*slot = stack32_pop(&w->spaces[space].slots);
	s = slot_for_write(w, *slot);
	*generation = generation_of(s);
	set_word(s, *generation, EG_SLOT_FILLING);
	FAULT(SLOT_RESERVED);
	return EG_E_OK;
}

void slot_free(struct store_writer *w, uint32_t slot, uint32_t space)
{
	struct slot *s = slot_for_write(w, slot);

	set_word(s, generation_of(s) + 1, EG_SLOT_FREE);
	FAULT(SLOT_GENERATION);
	atomic_store(&s->body, 0);
	FAULT(SLOT_FREED);
	stack32_push(&w->spaces[space].slots, slot);
}

void slot_free_chunks(struct store_writer *w, uint32_t space)
{
	struct space *sp = space_for_write(w, space);
	uint32_t chunk = atomic_load(&sp->slot_head);

	atomic_store_explicit(&sp->slot_head, EG_NONE, memory_order_release);
	FAULT(SLOT_CHUNKS_CUT);
	while (chunk != EG_NONE) {
		struct slot_chunk *c = slot_chunk_for_write(w, chunk);
		uint32_t next = atomic_load(&c->next);

		atomic_store_explicit(&c->space, EG_NONE, memory_order_release);
		FAULT(SLOT_CHUNK_FREED);
		stack32_push(&w->slot_chunks, chunk);
		chunk = next;
	}
	stack32_free(&w->spaces[space].slots);
}

static uint64_t two_floats(float a, float b)
{
	float pair[2] = { a, b };
	uint64_t word;

	memcpy(&word, pair, sizeof word);
	return word;
}

void slot_note_change(struct store_writer *w, uint32_t slot, uint64_t lsn)
{
	_Atomic uint64_t *changed = &slot_chunk_for_write(w, slot / EG_CHUNK)->changed_lsn;
	uint64_t seen = atomic_load_explicit(changed, memory_order_relaxed);

	/* Shards of a space share its chunks: the highest stays. */
	while (seen < lsn && !atomic_compare_exchange_weak(changed, &seen, lsn))
		;
	FAULT(SLOT_MARKED);
}

void slot_publish(struct store_writer *w, uint32_t slot, uint64_t body, const struct record *r)
{
	struct slot *s = slot_for_write(w, slot);
	/* Beta(a, b) with mean = the confidence given, worth two observations; the
	 * prior of COGNITION's truth until independent sources are counted. */
	uint64_t truth = two_floats(2 * r->confidence, 2 * (1 - r->confidence));

	atomic_store_explicit(&s->truth, truth, memory_order_relaxed);
	atomic_store_explicit(&s->memory, 0, memory_order_relaxed);
	atomic_store_explicit(&s->last_access_ms, 0, memory_order_relaxed);
	atomic_store_explicit(&s->accesses, 0, memory_order_relaxed);
	atomic_store_explicit(&s->tier, EG_TIER_HOT, memory_order_relaxed);
	atomic_store_explicit(&s->associations, 0, memory_order_relaxed);
	atomic_store_explicit(&s->body, body, memory_order_release);
	FAULT(SLOT_FILLED);
	set_word(s, generation_of(s), EG_SLOT_LIVE);
	FAULT(SLOT_LIVE);
}

uint64_t slot_replace(struct store_writer *w, uint32_t slot, uint64_t body)
{
	struct slot *s = slot_for_write(w, slot);
	uint64_t old = atomic_load(&s->body);

	atomic_store_explicit(&s->body, body, memory_order_release);
	FAULT(SLOT_REPLACED);
	return old;
}

void slot_unpublish(struct store_writer *w, uint32_t slot)
{
	struct slot *s = slot_for_write(w, slot);

	set_word(s, generation_of(s), EG_SLOT_RETIRED);
	FAULT(SLOT_UNPUBLISHED);
}
