/* Reclaiming, see the header. */
#include "shm/reclaim_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/epoch.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"

static void retire(struct store_writer *w, enum retired_kind kind, uint64_t what, uint32_t size)
{
	struct retired *r;

	pthread_mutex_lock(&w->retire_lock);
	if (w->retired_n == w->retired_cap) {
		size_t cap = w->retired_cap ? w->retired_cap * 2 : 1024;
		struct retired *bigger = malloc(cap * sizeof *bigger);

		EG_ASSERT(bigger != NULL);
		for (size_t i = 0; i < w->retired_n; i++)
			bigger[i] = w->retired[(w->retired_first + i) % w->retired_cap];
		free(w->retired);
		w->retired = bigger;
		w->retired_first = 0;
		w->retired_cap = cap;
	}
	r = &w->retired[(w->retired_first + w->retired_n++) % w->retired_cap];
	/* The object was unpublished before; a reader that entered in a later
	 * epoch than the one read here cannot have met it. */
	atomic_thread_fence(memory_order_seq_cst);
	r->epoch = atomic_load(&desk_wal(w->desks)->epoch);
	r->kind = kind;
	r->what = what;
	r->size = size;
	pthread_mutex_unlock(&w->retire_lock);
	FAULT(RETIRED);
}

void retire_block(struct store_writer *w, uint64_t offset, size_t bytes)
{
	retire(w, EG_RETIRED_BLOCK, offset, (uint32_t)bytes);
}

void retire_slot(struct store_writer *w, uint32_t slot, uint32_t space)
{
	retire(w, EG_RETIRED_SLOT, slot, space);
}

void retire_node(struct store_writer *w, unsigned class_, uint32_t node, uint32_t space)
{
	retire(w, EG_RETIRED_NODE, (uint64_t)class_ << 32 | node, space);
}

void retire_graph(struct store_writer *w, uint32_t number) { retire(w, EG_RETIRED_GRAPH, number, 0); }
void retire_space(struct store_writer *w, uint32_t space) { retire(w, EG_RETIRED_SPACE, space, 0); }

/* Of a space that was dropped before the linking thread retired it: the chunk is another's by now. */
static void free_node(struct store_writer *w, unsigned class_, uint32_t node, uint32_t space)
{
	if (atomic_load(&node_chunk_for_write(w, class_, node / EG_CHUNK)->space) == space)
		node_free(w, class_, node, space);
}

static void free_graph(struct store_writer *w, uint32_t number)
{
	pthread_mutex_lock(&w->graph_lock);
	stack32_push(&w->graphs, number);
	pthread_mutex_unlock(&w->graph_lock);
}

static bool pop_before(struct store_writer *w, uint64_t oldest, struct retired *out)
{
	bool got = false;

	pthread_mutex_lock(&w->retire_lock);
	if (w->retired_n > 0 && w->retired[w->retired_first].epoch < oldest) {
		*out = w->retired[w->retired_first];
		w->retired_first = (w->retired_first + 1) % w->retired_cap;
		w->retired_n--;
		got = true;
	}
	pthread_mutex_unlock(&w->retire_lock);
	return got;
}

static size_t waiting(struct store_writer *w)
{
	size_t n;

	pthread_mutex_lock(&w->retire_lock);
	n = w->retired_n;
	pthread_mutex_unlock(&w->retire_lock);
	return n;
}

size_t reclaim(struct store_writer *w)
{
	_Atomic uint64_t *epoch = &desk_wal(w->desks)->epoch;
	struct retired r;
	uint64_t oldest;

	if (waiting(w) == 0)
		return 0;
	/* Nobody is in an epoch below the oldest shown, or below the present one. */
	atomic_store(epoch, atomic_load(epoch) + 1);
	FAULT(RECLAIM_EPOCH);
	oldest = epoch_oldest(w->desks);
	if (oldest > atomic_load(epoch))
		oldest = atomic_load(epoch);
	while (pop_before(w, oldest, &r)) {
		switch (r.kind) {
		case EG_RETIRED_BLOCK:
			heap_free(&w->heap, r.what, r.size);
			break;
		case EG_RETIRED_SLOT:
			slot_free(w, (uint32_t)r.what, r.size);
			break;
		case EG_RETIRED_NODE:
			free_node(w, (unsigned)(r.what >> 32), (uint32_t)r.what, r.size);
			break;
		case EG_RETIRED_GRAPH:
			free_graph(w, (uint32_t)r.what);
			break;
		case EG_RETIRED_SPACE:
			slot_free_chunks(w, (uint32_t)r.what);
			node_free_chunks(w, (uint32_t)r.what);
			break;
		}
		FAULT(RECLAIMED);
	}
	return waiting(w);
}
