/* Graphs in a state that a kill left: every vector that a reader can ask for is found, and what
 * the repaired store says of its graphs is what its nodes say. And the linking thread,
 * which scenes and checks drive by steps. */
#include "t/unit/wal_step.h"

#include <stdlib.h>
#include <string.h>

#include "shm/node_write.h"
#include "shm/space_write.h"

enum { MOST = 256 };                   /* more than any scene stores */

void world_linker(struct step_world *x)
{
	atomic_store(&x->w.graph_min, STEP_GRAPH_MIN);
	x->w.sweep_min = 2;
	linkers_open(&x->links, &x->w, &x->desks, 32);
}

void world_settle(struct step_world *x)
{
	while (linker_step(&x->links))
		;
}

bool step_graph_finds(const struct store *s, const struct space *sp, const struct body *b)
{
	const struct graph *g = graph_ready(s, sp);
	struct graph_hit hits[MOST];
	struct graph_scratch scratch;
	bool met = false;
	size_t n;

	if (g == NULL || b->class_ != atomic_load(&g->class_))
		return true;
	graph_scratch_init(&scratch);
	n = graph_search(s, g, &scratch, node_vector(s, b), MOST, MOST, hits);
	for (size_t i = 0; i < n; i++)
		met |= hits[i].node == b->node && hits[i].owner == ((uint64_t)b->slot << 32 | b->generation);
	graph_scratch_fini(&scratch);
	return met;
}

struct marks { uint64_t linked, dead; };

static const char *bad_link(const struct graph *g, const struct graph_view *v, uint32_t to)
{
	if (to == EG_NODE_NONE)
		return NULL;
	if (to >= v->coded || atomic_load(&v->owners[to / EG_CHUNK].space) != atomic_load(&g->space))
		return "a link leads out of its space";
	return atomic_load(&v->owners[to / EG_CHUNK].named) >> to % EG_CHUNK & 1 ? NULL : "a link names a node that is not marked";
}

static const char *bad_node(const struct graph *g, const struct graph_view *v, uint32_t node, struct marks *m)
{
	const struct node_chunk *c = &v->owners[node / EG_CHUNK];
	bool named = atomic_load(&c->named) >> node % EG_CHUNK & 1, linked = atomic_load(&c->linked) >> node % EG_CHUNK & 1;
	const char *why = linked && !named ? "a node is linked and not named" : NULL;

	m->linked += linked;
	m->dead += named && graph_owner(v, node) == EG_NODE_FREE;
	for (unsigned i = 0; named && i < EG_LINKS && why == NULL; i++)
		why = bad_link(g, v, atomic_load(&graph_links(v, node)[i]));
	return why;
}

const char *step_graph_wrong(struct store_writer *w, uint32_t space)
{
	const struct graph *g = graph_for_write(w, space);
	struct marks m = { 0 };
	const char *why = NULL;
	struct graph_view v;

	/* That of a deleted space is the linking thread's to drop: nobody can ask for it. */
	if (g == NULL || atomic_load(&space_for_write(w, space)->state) != EG_SPACE_LIVE)
		return NULL;
	if (atomic_load(&g->space) != space || !graph_view(&w->store, atomic_load(&g->class_), &v))
		return "a space names another's graph";
	for (uint32_t link = atomic_load(&space_for_write(w, space)->node_head); link != EG_NONE && why == NULL;) {
		uint32_t chunk = link & EG_LINK_MASK;

		for (uint32_t i = 0; link >> EG_LINK_SHIFT == atomic_load(&g->class_) && i < EG_CHUNK && why == NULL; i++)
			why = bad_node(g, &v, chunk * EG_CHUNK + i, &m);
		link = atomic_load(&node_chunk_for_write(w, link >> EG_LINK_SHIFT, chunk)->next);
	}
	for (uint32_t i = 0; i < atomic_load(&g->n_entries) && why == NULL; i++)
		why = bad_link(g, &v, atomic_load(&g->entries[i]));
	if (why == NULL && (m.linked != atomic_load(&g->linked) || m.dead != atomic_load(&g->dead)))
		why = "a graph miscounts its nodes";
	if (why == NULL && m.linked > 0 && atomic_load(&g->n_entries) == 0)
		why = "a graph has no entry";
	return why;
}
