/* The ring of nodes that are not linked yet (graph.h), the writing side. */
#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/region_write.h"

static struct fresh *ring(struct store_writer *w)
{
	return region_for_write(&w->store.graph, 0, sizeof(struct fresh));
}

bool fresh_push(struct store_writer *w, uint64_t word)
{
	struct fresh *f = ring(w);
	uint64_t head;
	bool room;

	pthread_mutex_lock(&w->fresh_lock);
	head = atomic_load(&f->head);
	room = head - atomic_load(&f->tail) < EG_FRESH;
	if (room) {
		atomic_store_explicit(&f->words[head % EG_FRESH], word, memory_order_release);
		FAULT(FRESH_WORD);
		atomic_store_explicit(&f->head, head + 1, memory_order_release);
	}
	pthread_mutex_unlock(&w->fresh_lock);
	FAULT(FRESH_PUSHED);
	return room;
}

uint64_t fresh_next(struct store_writer *w, uint64_t *at)
{
	struct fresh *f = ring(w);
	uint64_t word = 0;

	pthread_mutex_lock(&w->fresh_lock);
	if (w->fresh_taken < atomic_load(&f->tail))
		w->fresh_taken = atomic_load(&f->tail);
	while (word == 0 && w->fresh_taken < atomic_load(&f->head)) {
		*at = w->fresh_taken++;
		word = atomic_load(&f->words[*at % EG_FRESH]);
	}
	pthread_mutex_unlock(&w->fresh_lock);
	return word;
}

void fresh_done(struct store_writer *w, uint64_t at)
{
	struct fresh *f = ring(w);
	uint64_t tail;

	pthread_mutex_lock(&w->fresh_lock);
	atomic_store_explicit(&f->words[at % EG_FRESH], 0, memory_order_release);
	FAULT(FRESH_CLEARED);
	tail = atomic_load(&f->tail);
	while (tail < atomic_load(&f->head) && atomic_load(&f->words[tail % EG_FRESH]) == 0)
		tail++;
	atomic_store_explicit(&f->tail, tail, memory_order_release);
	pthread_mutex_unlock(&w->fresh_lock);
	FAULT(FRESH_DONE);
}
