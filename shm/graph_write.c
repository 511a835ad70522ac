/* Graphs, the writing side, see the header. */
#include "shm/graph_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/graph_parts.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/region_write.h"
#include "shm/space_write.h"

/* Links that a new node gets, and that a full list is cut to, so that the next ones find room: of as many
 * as a list may have. */
static unsigned link_first(const struct store_writer *w) { return w->links * 3 / 4; }
static unsigned prune_to(const struct store_writer *w) { return w->links * 13 / 16; }

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
	l->code = must(aligned_alloc(64, EG_CODE_DIMS_MAX));
	l->near = must(malloc((EG_EF_MAX + 1) * sizeof *l->near));
	l->ef = ef;
}

void linker_fini(struct linker *l)
{
	graph_scratch_fini(&l->scratch);
	free(l->levels);
	free(l->code);
	free(l->near);
	memset(l, 0, sizeof *l);
}

/* ---- graphs of spaces ---- */

struct graph *graph_at(struct store_writer *w, uint32_t number)
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

	pthread_mutex_lock(&w->graph_lock);
	*number = stack32_pop(&w->graphs);
	pthread_mutex_unlock(&w->graph_lock);
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
	struct graph *g;
	uint32_t number;

	EG_ASSERT(graph_for_write(w, space) == NULL);
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
	pthread_mutex_lock(&w->graph_lock);
	atomic_store_explicit(&space_for_write(w, space)->graph, number + 1, memory_order_release);
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_NAMED);
	return g;
}

void graph_drop(struct store_writer *w, uint32_t space)
{
	struct space *sp = space_for_write(w, space);
	uint32_t number = atomic_load(&sp->graph);

	if (number == 0)
		return;
	pthread_mutex_lock(&w->graph_lock);
	atomic_store_explicit(&sp->graph, 0, memory_order_release);
	atomic_store_explicit(&graph_at(w, number - 1)->state, EG_GRAPH_NONE, memory_order_release);
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_DROPPED);
	retire_graph(w, number - 1);
}

void graph_set_state(struct store_writer *w, struct graph *g, enum graph_state state)
{
	pthread_mutex_lock(&w->graph_lock);
	atomic_store_explicit(&g->state, (uint32_t)state, memory_order_release);
	pthread_mutex_unlock(&w->graph_lock);
	/* Of an apply thread's owner word and its look at the state, and this and our look at
	 * owners, one comes first (graph_offer). */
	atomic_thread_fence(memory_order_seq_cst);
	FAULT(GRAPH_STATE);
}

bool graph_due(struct store_writer *w, const struct graph *g)
{
	uint64_t dead = atomic_load(&g->dead);

	return dead >= w->sweep_min && dead * 16 >= atomic_load(&g->linked);
}

enum err graph_room(struct store_writer *w, unsigned class_, uint32_t chunk, struct fault *f)
{
	struct region *r = &w->store.code[class_];
	size_t bytes = graph_chunk_bytes(class_);
	enum err e = region_stretch(r, ((uint64_t)chunk + 1) * bytes, f);

	return e == EG_E_OK ? region_back(r, chunk * bytes, bytes, f) : e;
}

/* ---- choosing neighbours ---- */

struct choice {
	const struct graph_view *v;
	struct linker *l;
	uint32_t kept[EG_LINKS];
	unsigned n;
};

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

/* A full list and one more: the living ones, chosen anew. The one more is among them in any case when
 * it must: so that each new node is named by the nearest other at least. */
static void prune(const struct graph_view *v, struct linker *l, uint32_t node, _Atomic uint32_t *links, uint32_t more,
                  bool must_keep, unsigned most)
{
	bool kept = !must_keep;
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
	choose(&c, near, n, most);
	for (unsigned i = 0; i < c.n; i++)
		kept |= c.kept[i] == more;
	if (!kept)
		c.kept[c.n++] = more;      /* `most` leaves room */
	write_list(links, c.kept, c.n);
}

void graph_connect(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                   uint32_t to, uint32_t node, bool must_keep)
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
		if (have == EG_NODE_NONE && hole == EG_LINKS && i < w->links)
			hole = i;
	}
	if (hole < EG_LINKS)
		atomic_store_explicit(&links[hole], node, memory_order_release);
	else
		prune(v, l, to, links, node, must_keep, prune_to(w));
	node_unlock(w, to);
	l->n_links++;
	FAULT(GRAPH_LINK);
}

/* The code is made aside and stored where it differs: a node that a dropped graph had, or that is linked
 * again after a kill, has it already, and readers may be looking. */
static void put(uint8_t *to, const void *from, size_t bytes)
{
	if (memcmp(to, from, bytes) != 0)
		memcpy(to, from, bytes);
}

static void encode(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                   uint32_t node, struct code_query *q)
{
	uint8_t *chunk = region_for_write(&w->store.code[class_], (uint64_t)(node / EG_CHUNK) * v->chunk_bytes,
	                                  v->chunk_bytes);
	uint8_t *sign = l->code, *low = sign + v->sign_bytes;
	unsigned i = node % EG_CHUNK;
	struct code_scale scale;

	code_rotate(graph_vector(v, node), v->stride, l->scratch.rotated);
	code_encode(l->scratch.rotated, v->dims, sign, low, &scale);
	put(chunk + i * v->sign_bytes, sign, v->sign_bytes);
	put(chunk + v->low_at + i * v->low_bytes, low, v->low_bytes);
	put(chunk + v->scale_at + i * sizeof scale, &scale, sizeof scale);
	code_query(l->scratch.rotated, v->dims, l->scratch.r, q);
}

static bool is_entry(const struct graph *g, uint64_t n, uint32_t node)
{
	for (uint64_t i = 0; i < n; i++)
		if (atomic_load_explicit(&g->entries[i], memory_order_relaxed) == node)
			return true;
	return false;
}

/* Count a linked node. It is another entry when there are few for so many nodes (about a quarter of
 * the root), or when nothing is near to it that would lead there. */
static void add_entry(struct store_writer *w, struct graph *g, uint32_t node, bool alone)
{
	uint64_t linked, n;

	pthread_mutex_lock(&w->graph_lock);
	linked = atomic_fetch_add(&g->linked, 1) + 1;
	n = atomic_load(&g->n_entries);
	if ((alone || (n < EG_GRAPH_ENTRIES && linked > 16 * n * n)) && !is_entry(g, n, node)) {
		uint64_t at = n < EG_GRAPH_ENTRIES ? n : node % EG_GRAPH_ENTRIES;

		atomic_store_explicit(&g->entries[at], node, memory_order_release);
		if (at == n)
			atomic_store_explicit(&g->n_entries, (uint32_t)n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&w->graph_lock);
	FAULT(GRAPH_ENTRY);
}

/* The node may be named from now on, and its list is one; false when it is deleted, or linked already. */
static bool begin_link(struct store_writer *w, const struct graph_view *v, unsigned class_, uint32_t node)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);
	uint32_t bit = 1u << node % EG_CHUNK;
	bool go;

	node_lock(w, node);
	go = atomic_load(&c->owner[node % EG_CHUNK]) != EG_NODE_FREE && !(atomic_load(&c->linked) & bit);
	if (go && !(atomic_load(&c->named) & bit)) {
		write_list(links_of(w, v, class_, node), NULL, 0);
		atomic_fetch_or(&c->named, bit);
	}
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

	if (!graph_view(&w->store, class_, &v) || !begin_link(w, &v, class_, node))
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
	choose(&pick, l->near, n, link_first(w));
	node_lock(w, node);
	write_list(links_of(w, &v, class_, node), pick.kept, pick.n);
	node_unlock(w, node);
	l->n_links += pick.n;
	FAULT(GRAPH_LIST);
	for (unsigned i = 0; i < pick.n; i++)
		graph_connect(w, &v, class_, l, pick.kept[i], node, i == 0);
	/* Before the mark: who finds it set finds the node. */
	add_entry(w, g, node, pick.n == 0);
	atomic_fetch_or(&c->linked, 1u << node % EG_CHUNK);
	FAULT(GRAPH_LINKED);
}
