/* Id tables, the writing side, see the header. */
#include "shm/ids_write.h"

#include <string.h>

#include "common/fault.h"
#include "shm/reclaim_write.h"

#define EG_IDS_SMALLEST 6u             /* log2 of the words of a first table */

static _Atomic uint64_t *table(struct store_writer *w, unsigned shard, uint64_t *size)
{
	uint64_t root = atomic_load(&store_root(w)->ids[shard].word);

	*size = root ? UINT64_C(1) << (root & 0xff) : 0;
	return root ? region_for_write(&w->store.heap, root >> 8, *size * 8) : NULL;
}

bool ids_has_room(struct store_writer *w, unsigned shard)
{
	uint64_t size;

	(void)table(w, shard, &size);
	/* At most three quarters full, so that probes stay short and end. */
	return (w->ids_used[shard] + atomic_load(&w->ids_pending[shard]) + 1) * 4 <= size * 3;
}

static void put(_Atomic uint64_t *words, uint64_t size, uint64_t word)
{
	uint64_t at = (word >> 32) & (size - 1);

	while (atomic_load_explicit(&words[at], memory_order_relaxed) > 1)
		at = (at + 1) & (size - 1);
	atomic_store_explicit(&words[at], word, memory_order_release);
}

enum err ids_grow(struct store_writer *w, unsigned shard, struct fault *f)
{
	uint64_t old_size, live = 0, size, offset, old_root = atomic_load(&store_root(w)->ids[shard].word);
	_Atomic uint64_t *old = table(w, shard, &old_size), *new;
	unsigned log2 = EG_IDS_SMALLEST;
	enum err e;

	for (uint64_t i = 0; i < old_size; i++)
		live += atomic_load(&old[i]) > 1;
	while ((UINT64_C(1) << log2) < (live + atomic_load(&w->ids_pending[shard]) + 1) * 2)
		log2++;
	size = UINT64_C(1) << log2;
	e = heap_alloc(&w->heap, size * 8, &offset, f);
	if (e != EG_E_OK)
		return e;
	new = region_for_write(&w->store.heap, offset, size * 8);
	memset((void *)(uintptr_t)new, 0, size * 8);
	for (uint64_t i = 0; i < old_size; i++) {
		uint64_t word = atomic_load(&old[i]);

		if (word > 1)
			put(new, size, word);
	}
	FAULT(IDS_COPIED);
	atomic_store_explicit(&store_root(w)->ids[shard].word, offset << 8 | log2, memory_order_release);
	FAULT(IDS_SWITCHED);
	w->ids_used[shard] = live;
	if (old_root != 0)
		retire_block(w, old_root >> 8, old_size * 8);
	return EG_E_OK;
}

void ids_insert(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number)
{
	uint64_t size, at, word, seen;
	_Atomic uint64_t *words = table(w, shard, &size);

	EG_ASSERT(size > 0 && number < EG_NONE - 2);
	word = key >> 32 << 32 | (number + 2u);
	at = (key >> 32) & (size - 1);
	while ((seen = atomic_load_explicit(&words[at], memory_order_relaxed)) > 1)
		at = (at + 1) & (size - 1);
	atomic_store_explicit(&words[at], word, memory_order_release);
	FAULT(IDS_INSERTED);
	if (seen == 0)
		w->ids_used[shard]++;
}

static _Atomic uint64_t *find(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number)
{
	uint64_t size, word = key >> 32 << 32 | (number + 2u);
	_Atomic uint64_t *words = table(w, shard, &size);

	for (uint64_t n = 0, at = (key >> 32) & (size - 1); n < size; n++, at = (at + 1) & (size - 1)) {
		uint64_t seen = atomic_load_explicit(&words[at], memory_order_relaxed);

		if (seen == word)
			return &words[at];
		if (seen == 0)
			break;
	}
	return NULL;
}

bool ids_remove(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number)
{
	_Atomic uint64_t *word = find(w, shard, key, number);

	if (word == NULL)
		return false;
	atomic_store_explicit(word, 1, memory_order_release);
	FAULT(IDS_REMOVED);
	return true;
}

bool ids_has(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number)
{
	return find(w, shard, key, number) != NULL;
}

void ids_sweep(struct store_writer *w, unsigned shard, bool (*keep)(void *, uint32_t, uint32_t), void *arg)
{
	uint64_t size;
	_Atomic uint64_t *words = table(w, shard, &size);

	w->ids_used[shard] = 0;
	for (uint64_t i = 0; i < size; i++) {
		uint64_t word = atomic_load(&words[i]);

		if (word > 1 && !keep(arg, (uint32_t)(word >> 32), (uint32_t)word - 2))
			atomic_store_explicit(&words[i], 1, memory_order_release);
		w->ids_used[shard] += word != 0;
	}
	FAULT(IDS_SWEPT);
}
