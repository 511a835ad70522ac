/* Graphs, the writing side, see the header. */
#include "shm/graph_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/node_write.h"
#include "shm/region_write.h"
#include "shm/space_write.h"

enum {
	LINK_FIRST = 24,               /* links that a new node gets */
	PRUNE_TO = 26,                 /* that a full list is cut to, so that the next ones find room */
};
/* A candidate is left out when it is nearer to a chosen one than this times its
 * distance to the node. */
static const float relax = 0.9f;

static void *must(void *p)
{
	EG_ASSERT(p != NULL);
	return p;
}

void linker_init(struct linker *l, unsigned ef)
{
	graph_scratch_init(&l->scratch);
	l->levels = must(aligned_alloc(64, (size_t)(EG_LINKS + 2) * EG_CODE_DIMS_MAX));
	l->near = must(malloc((EG_EF_MAX + 1) * sizeof *l->near));
	l->ef = ef;
}

void linker_fini(struct linker *l)
{
	graph_scratch_fini(&l->scratch);
	free(l->levels);
	free(l->near);
	memset(l, 0, sizeof *l);
}

static _Atomic uint32_t *links_of(struct store_writer *w, const struct graph_view *v, unsigned class_, uint32_t node)
{
	uint64_t at = (uint64_t)(node / EG_CHUNK) * v->chunk_bytes + v->links_at
	              + (uint64_t)(node % EG_CHUNK) * EG_LINKS * sizeof(uint32_t);

	return region_for_write(&w->store.code[class_], at, EG_LINKS * sizeof(uint32_t));
}

/* ---- graphs of spaces ---- */

static struct graph *graph_at(struct store_writer *w, uint32_t number)
{
	return region_for_write(&w->store.graph, EG_GRAPHS_AT + (uint64_t)number * sizeof(struct graph),
	                        sizeof(struct graph));
}

struct graph *graph_for_write(struct store_writer *w, uint32_t space)
{
	uint32_t number = atomic_load(&space_for_write(w, space)->graph);

	return number ? graph_at(w, number - 1) : NULL;
}

static enum err new_graph(struct store_writer *w, uint32_t *number, struct fault *f)
{
	struct root *root = store_root(w);
	enum err e;

	*number = stack32_pop(&w->graphs);
	if (*number != EG_NONE)
		return EG_E_OK;
	*number = atomic_load(&root->n_graphs);
	e = region_grow(&w->store.graph, EG_GRAPHS_AT + (uint64_t)(*number + 1) * sizeof(struct graph), f);
	if (e != EG_E_OK)
		return e;
	atomic_store(&graph_at(w, *number)->state, EG_GRAPH_NONE);
	FAULT(GRAPH_NEW);
	atomic_store_explicit(&root->n_graphs, *number + 1, memory_order_release);
	return EG_E_OK;
}

struct graph *graph_make(struct store_writer *w, uint32_t space, unsigned class_, struct fault *f)
{
	struct graph *g = graph_for_write(w, space);
	uint32_t number;

	if (g != NULL && atomic_load(&g->class_) == class_)
		return g;
	if (g != NULL)
		graph_drop(w, space);
	if (new_graph(w, &number, f) != EG_E_OK)
		return NULL;
	g = graph_at(w, number);
	atomic_store(&g->n_entries, 0);
	atomic_store(&g->linked, 0);
	atomic_store(&g->dead, 0);
	atomic_store(&g->space, space);
	atomic_store(&g->class_, class_);
	atomic_store_explicit(&g->state, EG_GRAPH_BUILDING, memory_order_release);
	FAULT(GRAPH_MADE);
	atomic_store_explicit(&space_for_write(w, space)->graph, number + 1, memory_order_release);
	FAULT(GRAPH_NAMED);
	return g;
}

void graph_drop(struct store_writer *w, uint32_t space)
{
	struct space *sp = space_for_write(w, space);
	uint32_t number = atomic_load(&sp->graph);

	if (number == 0)
		return;
	atomic_store_explicit(&sp->graph, 0, memory_order_release);
	atomic_store_explicit(&graph_at(w, number - 1)->state, EG_GRAPH_NONE, memory_order_release);
	FAULT(GRAPH_DROPPED);
	stack32_push(&w->graphs, number - 1);
}

/* ---- choosing neighbours ---- */

struct choice {
	const struct graph_view *v;
	struct linker *l;
	uint32_t kept[EG_LINKS];
	unsigned n;
};

static uint8_t *levels(struct linker *l, const struct graph_view *v, unsigned row)
{
	return l->levels + (size_t)row * v->dims;
}

static void unpack(const struct graph_view *v, uint32_t node, uint8_t *to)
{
	code_levels(graph_sign(v, node), graph_low(v, node), v->dims, to);
}

/* Is it in another direction than all that were chosen? score: its likeness to the node. */
static bool apart(const struct choice *c, uint32_t node, float score)
{
	const struct code_scale *s = graph_scale(c->v, node);
	const uint8_t *mine = levels(c->l, c->v, c->n);
	float limit = 1 - relax * (1 - score);

	for (unsigned i = 0; i < c->n; i++)
		if (code_between(mine, s, levels(c->l, c->v, i), graph_scale(c->v, c->kept[i]), c->v->dims) > limit)
			return false;
	return true;
}

/* The neighbours among n candidates, best first: at most `most`, each apart from
 * the ones before; places left over go to the nearest that were passed by. */
static void choose(struct choice *c, const struct beam *near, unsigned n, unsigned most)
{
	uint32_t passed[EG_LINKS];
	unsigned n_passed = 0;

	c->n = 0;
	for (unsigned i = 0; i < n && c->n < most; i++) {
		unpack(c->v, near[i].node, levels(c->l, c->v, c->n));
		if (apart(c, near[i].node, near[i].score))
			c->kept[c->n++] = near[i].node;
		else if (n_passed < EG_LINKS)
			passed[n_passed++] = near[i].node;
	}
	for (unsigned i = 0; i < n_passed && c->n < most / 2; i++)
		c->kept[c->n++] = passed[i];
}

static bool alive(const struct graph_view *v, uint32_t node)
{
	return node < v->limit && graph_owner(v, node) != EG_NODE_FREE;
}

static void write_list(_Atomic uint32_t *links, const uint32_t *nodes, unsigned n)
{
	for (unsigned i = 0; i < EG_LINKS; i++)
		atomic_store_explicit(&links[i], i < n ? nodes[i] : EG_NODE_NONE, memory_order_release);
}

static int by_score(const void *a, const void *b)
{
	float x = ((const struct beam *)a)->score, y = ((const struct beam *)b)->score;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* A full list and one more: the living ones, chosen anew. */
static void prune(const struct graph_view *v, struct linker *l, uint32_t node, _Atomic uint32_t *links, uint32_t more)
{
	struct choice c = { .v = v, .l = l };
	struct beam near[EG_LINKS + 1];
	uint8_t *own = levels(l, v, EG_LINKS + 1), *other = levels(l, v, EG_LINKS);
	unsigned n = 0;

	unpack(v, node, own);
	for (unsigned i = 0; i <= EG_LINKS; i++) {
		uint32_t to = i < EG_LINKS ? atomic_load_explicit(&links[i], memory_order_relaxed) : more;

		if (!alive(v, to))
			continue;
		unpack(v, to, other);
		near[n].node = to;
		near[n++].score = code_between(own, graph_scale(v, node), other, graph_scale(v, to), v->dims);
	}
	qsort(near, n, sizeof *near, by_score);
	choose(&c, near, n, PRUNE_TO);
	write_list(links, c.kept, c.n);
}

/* `to` shall name `node`. */
static void connect(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                    uint32_t to, uint32_t node)
{
	_Atomic uint32_t *links = links_of(w, v, class_, to);
	unsigned hole = EG_LINKS;

	node_lock(w, to);
	for (unsigned i = 0; i < EG_LINKS; i++) {
		uint32_t have = atomic_load_explicit(&links[i], memory_order_relaxed);

		if (have == node) {
			node_unlock(w, to);
			return;
		}
		if (have == EG_NODE_NONE && hole == EG_LINKS)
			hole = i;
	}
	if (hole < EG_LINKS)
		atomic_store_explicit(&links[hole], node, memory_order_release);
	else
		prune(v, l, to, links, node);
	node_unlock(w, to);
	FAULT(GRAPH_LINK);
}

static void encode(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                   uint32_t node, struct code_query *q)
{
	uint8_t *chunk = region_for_write(&w->store.code[class_], (uint64_t)(node / EG_CHUNK) * v->chunk_bytes,
	                                  v->chunk_bytes);
	unsigned i = node % EG_CHUNK;
	struct code_scale *scale = (struct code_scale *)(void *)(chunk + v->scale_at) + i;

	code_rotate(graph_vector(v, node), v->stride, l->scratch.rotated);
	code_encode(l->scratch.rotated, v->dims, chunk + i * v->sign_bytes, chunk + v->low_at + i * v->low_bytes, scale);
	code_query(l->scratch.rotated, v->dims, l->scratch.r, q);
}

/* Another entry when there are few for so many nodes: about a quarter of the root. */
static void grow_entries(struct store_writer *w, struct graph *g, uint32_t node)
{
	uint64_t linked, n;

	pthread_mutex_lock(&w->entries_lock);
	linked = atomic_fetch_add(&g->linked, 1) + 1;
	n = atomic_load(&g->n_entries);
	if (n < EG_GRAPH_ENTRIES && linked > 16 * n * n) {
		atomic_store_explicit(&g->entries[n], node, memory_order_relaxed);
		atomic_store_explicit(&g->n_entries, (uint32_t)n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&w->entries_lock);
	FAULT(GRAPH_ENTRY);
}

/* The node may be named from now on; false when it is deleted, or linked already. */
static bool begin_link(struct store_writer *w, struct node_chunk *c, uint32_t node)
{
	uint32_t bit = 1u << node % EG_CHUNK;
	bool go;

	node_lock(w, node);
	go = atomic_load(&c->owner[node % EG_CHUNK]) != EG_NODE_FREE && !(atomic_load(&c->linked) & bit);
	if (go)
		atomic_fetch_or(&c->named, bit);
	node_unlock(w, node);
	FAULT(GRAPH_NAMED_NODE);
	return go;
}

void graph_link(struct store_writer *w, struct graph *g, struct linker *l, uint32_t node)
{
	unsigned class_ = atomic_load(&g->class_), n = 0;
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);
	struct choice pick = { .l = l };
	struct graph_view v;
	struct code_query q;

	if (!graph_view(&w->store, class_, &v) || !begin_link(w, c, node))
		return;
	pick.v = &v;
	encode(w, &v, class_, l, node, &q);
	FAULT(GRAPH_CODED);
	graph_walk(&v, g, &l->scratch, &q, l->ef);
	for (unsigned i = 0; i < l->scratch.n; i++) {
		uint32_t to = l->scratch.beam[i].node & ~EG_BEAM_SEEN;

		if (to != node && alive(&v, to))
			l->near[n++] = (struct beam){ l->scratch.beam[i].score, to };
	}
	choose(&pick, l->near, n, LINK_FIRST);
	node_lock(w, node);
	write_list(links_of(w, &v, class_, node), pick.kept, pick.n);
	node_unlock(w, node);
	FAULT(GRAPH_LIST);
	for (unsigned i = 0; i < pick.n; i++)
		connect(w, &v, class_, l, pick.kept[i], node);
	atomic_fetch_or(&c->linked, 1u << node % EG_CHUNK);
	FAULT(GRAPH_LINKED);
	grow_entries(w, g, node);
}

/* ---- taking deleted nodes out ---- */

bool graph_note_dead(struct store_writer *w, uint32_t space, unsigned class_)
{
	struct graph *g = graph_for_write(w, space);

	if (g == NULL || atomic_load(&g->class_) != class_)
		return false;
	atomic_fetch_add(&g->dead, 1);
	return true;
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

/* The neighbour of a dead one that is nearest to the node and not in its list yet. */
static uint32_t heir(const struct graph_view *v, struct linker *l, uint32_t node, const _Atomic uint32_t *links,
                     uint32_t dead)
{
	const _Atomic uint32_t *theirs = graph_links(v, dead);
	uint8_t *own = levels(l, v, EG_LINKS + 1), *other = levels(l, v, EG_LINKS);
	uint32_t best = EG_NODE_NONE;
	float best_score = -2;

	for (unsigned i = 0; i < EG_LINKS; i++) {
		uint32_t to = atomic_load_explicit(&theirs[i], memory_order_relaxed);
		float score;

		if (to == node || !alive(v, to) || has(links, to))
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

static void sweep_node(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                       uint32_t node)
{
	_Atomic uint32_t *links = links_of(w, v, class_, node);
	bool ready = false;

	node_lock(w, node);
	for (unsigned i = 0; i < EG_LINKS; i++) {
		uint32_t to = atomic_load_explicit(&links[i], memory_order_relaxed);

		if (to == EG_NODE_NONE || alive(v, to))
			continue;
		if (!ready)
			unpack(v, node, levels(l, v, EG_LINKS + 1));
		ready = true;
		atomic_store_explicit(&links[i], heir(v, l, node, links, to), memory_order_release);
		FAULT(GRAPH_SWEPT);
	}
	node_unlock(w, node);
}

void graph_sweep_chunk(struct store_writer *w, struct graph *g, struct linker *l, uint32_t chunk)
{
	unsigned class_ = atomic_load(&g->class_);
	struct node_chunk *c = node_chunk_for_write(w, class_, chunk);
	uint32_t named = atomic_load(&c->named);
	struct graph_view v;

	if (!graph_view(&w->store, class_, &v))
		return;
	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (named >> i & 1 && atomic_load(&c->owner[i]) != EG_NODE_FREE)
			sweep_node(w, &v, class_, l, chunk * EG_CHUNK + i);
}

void graph_sweep_entries(struct store_writer *w, struct graph *g)
{
	struct graph_view v;
	uint32_t n;

	if (!graph_view(&w->store, atomic_load(&g->class_), &v))
		return;
	pthread_mutex_lock(&w->entries_lock);
	n = atomic_load(&g->n_entries);
	for (uint32_t i = 0; i < n;) {
		uint32_t node = atomic_load(&g->entries[i]), to = EG_NODE_NONE;

		for (unsigned k = 0; k < EG_LINKS && !alive(&v, node) && to == EG_NODE_NONE; k++) {
			uint32_t next = atomic_load(&graph_links(&v, node)[k]);

			to = alive(&v, next) ? next : EG_NODE_NONE;
		}
		if (alive(&v, node)) {
			i++;
		} else if (to != EG_NODE_NONE) {
			atomic_store(&g->entries[i++], to);
		} else {
			atomic_store(&g->entries[i], atomic_load(&g->entries[--n]));
			atomic_store_explicit(&g->n_entries, n, memory_order_release);
		}
	}
	pthread_mutex_unlock(&w->entries_lock);
	FAULT(GRAPH_ENTRIES_SWEPT);
}
