/* The overlay, see the header. Buckets hold positions in a ring; a position that
 * has left the ring ends its chain. */
#include "wal/overlay.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

static struct promise *at(const struct overlay *o, uint64_t position)
{
	return &o->ring[position & (o->cap - 1)];
}

static size_t bucket(uint64_t key) { return (key >> 20) % EG_OVERLAY_BUCKETS; }

void overlay_init(struct overlay *o)
{
	memset(o, 0, sizeof *o);
	o->cap = 4096;
	o->ring = calloc(o->cap, sizeof *o->ring);
	EG_ASSERT(o->ring != NULL);
}

void overlay_fini(struct overlay *o)
{
	free(o->ring);
	memset(o, 0, sizeof *o);
}

const struct promise *overlay_find(const struct overlay *o, uint64_t key, uint32_t space,
                                   const char *id, size_t n)
{
	uint64_t next = o->buckets[bucket(key)];

	/* Older positions have left the ring: the chain ends there. */
	while (next > o->first) {
		const struct promise *p = at(o, next - 1);

		if (p->key == key && p->space == space && p->id_bytes == n && memcmp(p->id, id, n) == 0)
			return p;
		next = p->prev;
	}
	return NULL;
}

static void grow(struct overlay *o)
{
	struct promise *bigger = calloc(o->cap * 2, sizeof *bigger);

	EG_ASSERT(bigger != NULL);
	for (uint64_t p = o->first; p < o->next; p++)
		bigger[p & (o->cap * 2 - 1)] = *at(o, p);
	free(o->ring);
	o->ring = bigger;
	o->cap *= 2;
}

uint64_t overlay_add(struct overlay *o, const struct promise *p)
{
	uint64_t *b = &o->buckets[bucket(p->key)];

	if (o->next - o->first == o->cap)
		grow(o);
	*at(o, o->next) = *p;
	at(o, o->next)->prev = *b;
	*b = o->next + 1;
	return o->next++;
}

void overlay_number(struct overlay *o, uint64_t position, uint64_t lsn)
{
	EG_ASSERT(position >= o->first && position < o->next);
	at(o, position)->lsn = lsn;
}

void overlay_undo(struct overlay *o)
{
	struct promise *p;

	EG_ASSERT(o->next > o->first);
	p = at(o, o->next - 1);
	o->buckets[bucket(p->key)] = p->prev;
	o->next--;
}

void overlay_prune(struct overlay *o, const _Atomic uint64_t *applied_lsn)
{
	while (o->first < o->next) {
		const struct promise *p = at(o, o->first);

		if (p->lsn == 0 || atomic_load_explicit(&applied_lsn[p->shard], memory_order_acquire) < p->lsn)
			break;
		o->first++;
	}
}
