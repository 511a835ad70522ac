/* Graphs after the death of a writer, see graph_write.h.
 *
 * A kill leaves each node of a READY graph linked, or in the ring, and each link within
 * its space: what each step of a link, a sweep or a drop guarantees. A graph that was being built is
 * built on: what is linked is passed over. Counts are made anew from the nodes' marks.
 */
#include <stdlib.h>

#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/region_write.h"
#include "shm/space_write.h"

static struct fresh *ring(struct store_writer *w)
{
	return region_for_write(&w->store.graph, 0, sizeof(struct fresh));
}

void graph_distrust(struct store_writer *w)
{
	struct root *root = store_root(w);
	uint64_t grown = region_grown(&w->store.graph);
	uint32_t fit = grown > EG_GRAPHS_AT ? (uint32_t)((grown - EG_GRAPHS_AT) / sizeof(struct graph)) : 0;
	struct fresh *f = ring(w);

	if (atomic_load(&root->n_graphs) > fit)
		atomic_store(&root->n_graphs, fit);
	for (uint32_t i = 0; i < atomic_load(&root->n_graphs); i++) {
		atomic_store_explicit(&graph_at(w, i)->state, EG_GRAPH_NONE, memory_order_release);
		FAULT(GRAPH_DISTRUSTED);
	}
	for (uint32_t i = 0; i < EG_FRESH; i++)
		atomic_store(&f->words[i], 0);
	/* Empty by one store; where a wild one made it endless it begins anew (and whoever dies in between
	 * leaves a store that is not trusted either). */
	if (atomic_load(&f->head) > UINT64_C(1) << 62)
		atomic_store(&f->head, 0);
	atomic_store_explicit(&f->tail, atomic_load(&f->head), memory_order_release);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The ring's words are as they were; it may begin with some that are done. */
static void read_ring(struct store_writer *w, struct graph_repair *r)
{
	struct fresh *f = ring(w);
	uint64_t head = atomic_load(&f->head), tail = atomic_load(&f->tail);

	while (tail < head && atomic_load(&f->words[tail % EG_FRESH]) == 0)
		tail++;
	atomic_store_explicit(&f->tail, tail, memory_order_release);
	FAULT(FRESH_REPAIRED);
	r->ring = malloc(EG_FRESH * sizeof *r->ring);
	EG_ASSERT(r->ring != NULL && head - tail <= EG_FRESH);
	for (; tail < head; tail++)
		r->ring[r->n_ring++] = atomic_load(&f->words[tail % EG_FRESH]);
	qsort(r->ring, r->n_ring, sizeof *r->ring, by_number);
}

static bool still_right(struct store_writer *w, uint32_t space, uint32_t number)
{
	const struct space *sp = space_for_write(w, space);
	const struct graph *g = graph_at(w, number);

	return atomic_load(&sp->state) == EG_SPACE_LIVE && atomic_load(&g->space) == space
	       && atomic_load(&g->state) != EG_GRAPH_NONE && space_dimension(sp) > 0
	       && atomic_load(&g->class_) == node_class(space_dimension(sp));
}

static void keep(struct graph *g)
{
	atomic_store(&g->linked, 0);
	atomic_store(&g->dead, 0);
	/* What came meanwhile is partly in the ring, partly not: it is met by another build. */
	if (atomic_load(&g->state) == EG_GRAPH_CATCHING)
		atomic_store(&g->state, EG_GRAPH_BUILDING);
}

void graph_repair_begin(struct store_writer *w, struct graph_repair *r)
{
	uint32_t n = atomic_load(&store_root(w)->n_graphs), spaces = atomic_load(&store_root(w)->n_spaces);
	uint8_t *used = calloc(1, n + 1u);

	EG_ASSERT(used != NULL);
	*r = (struct graph_repair){ 0 };
	read_ring(w, r);
	for (uint32_t s = 0; s < spaces; s++) {
		struct space *sp = space_for_write(w, s);
		uint32_t number = atomic_load(&sp->graph);

		if (number == 0)
			continue;
		if (number > n || used[number - 1]) {
			atomic_store(&sp->graph, 0);
			r->dropped++;
		} else if (still_right(w, s, number - 1)) {
			keep(graph_at(w, number - 1));
			used[number - 1] = 1;
		} else {
			graph_drop(w, s);
			used[number - 1] = 1;
			r->dropped++;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		if (!used[i])
			stack32_push(&w->graphs, i);
	free(used);
	FAULT(GRAPH_RECORDS);
}

static bool in_ring(const struct graph_repair *r, uint64_t word)
{
	return bsearch(&word, r->ring, r->n_ring, sizeof word, by_number) != NULL;
}

/* The node is linked in g: counted, and a search can begin somewhere. */
static void count_linked(struct graph *g, uint32_t node)
{
	atomic_fetch_add(&g->linked, 1);
	if (atomic_load(&g->n_entries) != 0)
		return;
	atomic_store_explicit(&g->entries[0], node, memory_order_release);
	atomic_store_explicit(&g->n_entries, 1, memory_order_release);
}

static struct graph *graph_of(struct store_writer *w, uint32_t space, unsigned class_)
{
	struct graph *g = graph_for_write(w, space);

	return g != NULL && atomic_load(&g->class_) == class_ ? g : NULL;
}

bool graph_repair_node(struct store_writer *w, struct graph_repair *r, uint32_t space, unsigned class_, uint32_t node,
                       bool owned)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);
	struct graph *g = graph_of(w, space, class_);
	uint32_t bit = 1u << node % EG_CHUNK;
	bool named = atomic_load(&c->named) & bit, linked = named && atomic_load(&c->linked) & bit;

	if (g == NULL && named) {
		atomic_fetch_and(&c->linked, ~bit);
		atomic_fetch_and(&c->named, ~bit);
		/* Readers may have met it in a graph that was dropped just now. */
		if (!owned)
			retire_node(w, class_, node, space);
		return !owned;
	}
	if (g == NULL)
		return false;
	if (linked)
		count_linked(g, node);
	else if (owned && atomic_load(&g->state) == EG_GRAPH_READY && !in_ring(r, EG_FRESH_WORD(space, class_, node))) {
		atomic_store_explicit(&g->state, EG_GRAPH_BUILDING, memory_order_release);
		r->rebuilt++;
	}
	if (named && !owned)
		atomic_fetch_add(&g->dead, 1);
	FAULT(GRAPH_REPAIRED);
	return named && !owned;
}

void graph_repair_end(struct graph_repair *r)
{
	free(r->ring);
	r->ring = NULL;
	r->n_ring = 0;
}
