/* Twins, see the header. Nothing is ever removed: a stale answer is seen through,
 * and the table is made anew at each start of the writer. */
#include "wal/twins.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"

void twins_init(struct twins *t)
{
	t->cap = 1024;
	t->used = 0;
	t->keys = calloc(t->cap, sizeof *t->keys);
	t->slots = calloc(t->cap, sizeof *t->slots);
	EG_ASSERT(t->keys != NULL && t->slots != NULL);
}

void twins_fini(struct twins *t)
{
	free(t->keys);
	free(t->slots);
	memset(t, 0, sizeof *t);
}

static uint64_t place(const struct twins *t, uint64_t key)
{
	uint64_t at = key & (t->cap - 1);

	while (t->keys[at] != 0 && t->keys[at] != key)
		at = (at + 1) & (t->cap - 1);
	return at;
}

static void grow(struct twins *t)
{
	struct twins bigger = { .cap = t->cap * 2 };

	bigger.keys = calloc(bigger.cap, sizeof *bigger.keys);
	bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
	EG_ASSERT(bigger.keys != NULL && bigger.slots != NULL);
	for (uint64_t i = 0; i < t->cap; i++) {
		uint64_t at;

		if (t->keys[i] == 0)
			continue;
		at = place(&bigger, t->keys[i]);
		bigger.keys[at] = t->keys[i];
		bigger.slots[at] = t->slots[i];
	}
	bigger.used = t->used;
	twins_fini(t);
	*t = bigger;
}

uint32_t twins_swap(struct twins *t, uint32_t space, uint64_t fingerprint, uint32_t slot)
{
	uint64_t key = hash_mix(fingerprint + space * UINT64_C(0x9e3779b97f4a7c15)) | 1, at;
	uint32_t old = EG_NONE;

	if (fingerprint == 0)
		return EG_NONE;
	if (t->used * 4 >= t->cap * 3)
		grow(t);
	at = place(t, key);
	if (t->keys[at] == key)
		old = t->slots[at];
	else
		t->used++;
	t->keys[at] = key;
	t->slots[at] = slot;
	return old == slot ? EG_NONE : old;
}

void twins_rebuild(struct twins *t, const struct store *s)
{
	for (uint32_t n = 0; n < space_count(s); n++) {
		const struct space *sp = space_get(s, n);
		struct slot_walk w;
		struct engram e;

		if (sp == NULL || atomic_load(&sp->state) != EG_SPACE_LIVE)
			continue;
		slot_walk(s, sp, &w);
		while (slot_next(&w, &e))
			(void)twins_swap(t, n, e.body->record.fingerprint, e.number);
	}
}
