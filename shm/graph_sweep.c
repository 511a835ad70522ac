/* Graphs: taking deleted nodes out, see graph_write.h. */
#include "common/fault.h"
#include "shm/graph_parts.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"

bool graph_note_dead(struct store_writer *w, uint32_t space, unsigned class_)
{
	struct graph *g;
	bool look = false;

	pthread_mutex_lock(&w->graph_lock);
	g = graph_for_write(w, space);
	if (g != NULL && atomic_load(&g->class_) == class_)
		/* Not at each one: a sweep takes its time. */
		look = (atomic_fetch_add(&g->dead, 1) + 1) % w->sweep_min == 0 && graph_due(w, g);
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_DEAD);
	return look;
}

uint32_t graph_dead(struct store_writer *w, unsigned class_, uint32_t chunk)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, chunk);
	uint32_t dead = atomic_load(&c->named);

	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (atomic_load(&c->owner[i]) != EG_NODE_FREE)
			dead &= ~(1u << i);
	return dead;
}

static bool has(const _Atomic uint32_t *links, uint32_t node)
{
	for (unsigned i = 0; i < EG_LINKS; i++)
		if (atomic_load_explicit(&links[i], memory_order_relaxed) == node)
			return true;
	return false;
}

/* Of a list, the living one that is most like the node, whose levels are there; not the node, nor one of
 * its own links when these are given. EG_NODE_NONE: there is none. */
static uint32_t best_of(const struct graph_view *v, struct linker *l, uint32_t node, const _Atomic uint32_t *list,
                        const _Atomic uint32_t *but)
{
	uint8_t *own = levels(l, v, EG_LINKS + 1), *other = levels(l, v, EG_LINKS);
	uint32_t best = EG_NODE_NONE;
	float best_score = -2;

	for (unsigned i = 0; i < EG_LINKS; i++) {
		uint32_t to = atomic_load_explicit(&list[i], memory_order_relaxed);
		float score;

		if (to == node || to >= v->coded || !alive(v, to) || (but != NULL && has(but, to)))
			continue;
		unpack(v, to, other);
		score = code_between(own, graph_scale(v, node), other, graph_scale(v, to), v->dims);
		if (score > best_score) {
			best_score = score;
			best = to;
		}
	}
	return best;
}

/* Dead ones that this sweep does not retire are swept too: they are still stepped on. */
static void sweep_node(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                       uint32_t node)
{
	_Atomic uint32_t *links = links_of(w, v, class_, node);
	uint32_t back = EG_NODE_NONE;
	bool changed = false;

	node_lock(w, node);
	for (unsigned i = 0; i < EG_LINKS; i++) {
		uint32_t to = atomic_load_explicit(&links[i], memory_order_relaxed);

		if (to == EG_NODE_NONE || alive(v, to))
			continue;
		if (!changed)
			unpack(v, node, levels(l, v, EG_LINKS + 1));
		changed = true;
		atomic_store_explicit(&links[i], to < v->coded ? best_of(v, l, node, graph_links(v, to), links) : EG_NODE_NONE,
		                      memory_order_release);
		l->n_links++;
		FAULT(GRAPH_SWEPT);
	}
	if (changed && alive(v, node))
		back = best_of(v, l, node, links, NULL);
	node_unlock(w, node);
	/* All that named it may be among the dead: one at least shall. */
	if (back != EG_NODE_NONE)
		graph_connect(w, v, class_, l, back, node, true);
}

void graph_sweep_chunk(struct store_writer *w, struct graph *g, struct linker *l, uint32_t chunk)
{
	unsigned class_ = atomic_load(&g->class_);
	uint32_t named = atomic_load(&node_chunk_for_write(w, class_, chunk)->named);
	struct graph_view v;

	if (!graph_view(&w->store, class_, &v))
		return;
	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (named >> i & 1)
			sweep_node(w, &v, class_, l, chunk * EG_CHUNK + i);
}

/* A living neighbour of a dead entry, which takes its place. */
static uint32_t neighbour(const struct graph_view *v, uint32_t node)
{
	for (unsigned i = 0; i < EG_LINKS && node < v->coded; i++) {
		uint32_t next = atomic_load(&graph_links(v, node)[i]);

		if (next < v->coded && alive(v, next))
			return next;
	}
	return EG_NODE_NONE;
}

void graph_sweep_entries(struct store_writer *w, struct graph *g, uint32_t living)
{
	struct graph_view v;
	uint32_t n;

	if (!graph_view(&w->store, atomic_load(&g->class_), &v))
		return;
	pthread_mutex_lock(&w->graph_lock);
	n = atomic_load(&g->n_entries);
	for (uint32_t i = 0; i < n;) {
		uint32_t node = atomic_load(&g->entries[i]), to = node;

		if (!alive(&v, node))
			to = neighbour(&v, node);
		/* The last one, too, is replaced before it goes: a search may begin at any time. */
		if (to == EG_NODE_NONE && n == 1)
			to = living;
		if (to != EG_NODE_NONE) {
			atomic_store_explicit(&g->entries[i++], to, memory_order_release);
		} else {
			atomic_store_explicit(&g->entries[i], atomic_load(&g->entries[--n]), memory_order_release);
			atomic_store_explicit(&g->n_entries, n, memory_order_release);
		}
	}
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_ENTRIES_SWEPT);
}

/* ---- who is retired ---- */

/* Take the marks from a node, if it has any; true when it was named. Its lock is held. */
static bool unmark(struct node_chunk *c, uint32_t node, bool *linked)
{
	uint32_t bit = 1u << node % EG_CHUNK;

	*linked = atomic_fetch_and(&c->linked, ~bit) & bit;
	return atomic_fetch_and(&c->named, ~bit) & bit;
}

void graph_forget(struct store_writer *w, struct graph *g, uint32_t node)
{
	unsigned class_ = atomic_load(&g->class_);
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);
	bool linked, named;

	node_lock(w, node);
	EG_ASSERT(atomic_load(&c->owner[node % EG_CHUNK]) == EG_NODE_FREE);
	named = unmark(c, node, &linked);
	pthread_mutex_lock(&w->graph_lock);
	if (named)
		atomic_fetch_sub(&g->dead, 1);
	if (linked)
		atomic_fetch_sub(&g->linked, 1);
	pthread_mutex_unlock(&w->graph_lock);
	node_unlock(w, node);
	FAULT(GRAPH_FORGOTTEN);
	if (named)
		retire_node(w, class_, node, atomic_load(&g->space));
}

void graph_release(struct store_writer *w, uint32_t space, unsigned class_, uint32_t chunk)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, chunk);

	for (uint32_t i = 0; i < EG_CHUNK; i++) {
		uint32_t node = chunk * EG_CHUNK + i;
		bool linked, mine;

		node_lock(w, node);
		mine = unmark(c, node, &linked) && atomic_load(&c->owner[i]) == EG_NODE_FREE;
		node_unlock(w, node);
		FAULT(GRAPH_RELEASED);
		if (mine)
			retire_node(w, class_, node, space);
	}
}
