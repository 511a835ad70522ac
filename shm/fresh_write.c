/* The ring of nodes that are not linked yet (graph.h), the writing side. */
#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/region_write.h"
#include "shm/space_write.h"

static struct fresh *ring(struct store_writer *w)
{
	return region_for_write(&w->store.graph, 0, sizeof(struct fresh));
}

enum { ROOM = EG_FRESH / 16 };         /* who waits is woken for that many places */

/* With fresh_lock held. */
static void wake(struct store_writer *w)
{
	if (w->link_idle)
		pthread_cond_signal(&w->fresh_work);
	w->link_idle = false;
}

bool fresh_push(struct store_writer *w, uint64_t word)
{
	struct fresh *f = ring(w);
	uint64_t head;
	bool room;

	pthread_mutex_lock(&w->fresh_lock);
	head = atomic_load(&f->head);
	while (head - atomic_load(&f->tail) >= EG_FRESH && w->linking) {
		wake(w);
		pthread_cond_wait(&w->fresh_room, &w->fresh_lock);
		/* The log thread may wait for this one: as long as nodes are linked, we live. */
		desk_beat(w->desks);
		head = atomic_load(&f->head);
	}
	room = head - atomic_load(&f->tail) < EG_FRESH;
	if (room) {
		atomic_store_explicit(&f->words[head % EG_FRESH], word, memory_order_release);
		FAULT(FRESH_WORD);
		atomic_store_explicit(&f->head, head + 1, memory_order_release);
		wake(w);
	}
	pthread_mutex_unlock(&w->fresh_lock);
	FAULT(FRESH_PUSHED);
	return room;
}

/* With fresh_lock held. */
static uint64_t first_not_taken(struct store_writer *w, const struct fresh *f)
{
	uint64_t tail = atomic_load(&f->tail);

	return w->fresh_taken < tail ? tail : w->fresh_taken;
}

uint64_t fresh_next(struct store_writer *w, uint64_t *at)
{
	struct fresh *f = ring(w);
	uint64_t word = 0;

	pthread_mutex_lock(&w->fresh_lock);
	w->fresh_taken = first_not_taken(w, f);
	while (word == 0 && w->fresh_taken < atomic_load(&f->head)) {
		*at = w->fresh_taken++;
		word = atomic_load(&f->words[*at % EG_FRESH]);
	}
	pthread_mutex_unlock(&w->fresh_lock);
	return word;
}

uint64_t fresh_waiting(struct store_writer *w)
{
	struct fresh *f = ring(w);
	uint64_t n;

	pthread_mutex_lock(&w->fresh_lock);
	n = atomic_load(&f->head) - first_not_taken(w, f);
	pthread_mutex_unlock(&w->fresh_lock);
	return n;
}

void fresh_wait(struct store_writer *w, const _Atomic bool *stop)
{
	const struct fresh *f = ring(w);

	pthread_mutex_lock(&w->fresh_lock);
	while (w->looks.n == 0 && first_not_taken(w, f) == atomic_load(&f->head) && !atomic_load(stop)) {
		w->link_idle = true;
		pthread_cond_wait(&w->fresh_work, &w->fresh_lock);
	}
	w->link_idle = false;
	pthread_mutex_unlock(&w->fresh_lock);
}

void fresh_wake(struct store_writer *w)
{
	pthread_mutex_lock(&w->fresh_lock);
	wake(w);
	pthread_mutex_unlock(&w->fresh_lock);
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
	if (atomic_load(&f->head) - tail <= EG_FRESH - ROOM)
		pthread_cond_broadcast(&w->fresh_room);
	pthread_mutex_unlock(&w->fresh_lock);
	FAULT(FRESH_DONE);
}

void graph_look(struct store_writer *w, uint32_t space)
{
	pthread_mutex_lock(&w->fresh_lock);
	if (w->looks.n == 0 || w->looks.at[w->looks.n - 1] != space)
		stack32_push(&w->looks, space);
	wake(w);
	pthread_mutex_unlock(&w->fresh_lock);
}

/* Its graph, if new nodes have to be pushed for it. With graph_lock held. */
static struct graph *wants_fresh(struct store_writer *w, uint32_t space, unsigned class_)
{
	struct graph *g = graph_for_write(w, space);

	return g != NULL && atomic_load(&g->class_) == class_ && atomic_load(&g->state) >= EG_GRAPH_CATCHING ? g : NULL;
}

void graph_offer(struct store_writer *w, uint32_t space, unsigned class_, uint32_t node)
{
	struct graph *g;
	bool wanted;

	/* Between the owner's word and this look (graph_set_state). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&space_for_write(w, space)->graph) == 0)
		return;
	pthread_mutex_lock(&w->graph_lock);
	wanted = wants_fresh(w, space, class_) != NULL;
	pthread_mutex_unlock(&w->graph_lock);
	if (!wanted || fresh_push(w, EG_FRESH_WORD(space, class_, node)))
		return;
	/* A replay: nobody links. Before the slot shows the node, so that no search misses it. */
	pthread_mutex_lock(&w->graph_lock);
	g = wants_fresh(w, space, class_);
	if (g != NULL)
		atomic_store_explicit(&g->state, EG_GRAPH_BUILDING, memory_order_release);
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_STATE);
}
