/* Searching graphs, see the header. */
#include "shm/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/vec.h"
#include "shm/store_names.h"

enum {
	STARTS = 4,                    /* entries that a walk begins with */
	VISITED_MIN = 1024,
};

/* A node is passed by when its sign estimate lies this many standard deviations
 * below the worst of a full beam; measured: 1 costs no recall at .95 and .99. */
static const float sign_slack = 1.0f;
/* Exact comparison ends where the score lies this far below the k-th best. */
static const float exact_slack = 2.5f;

size_t graph_chunk_bytes(unsigned class_)
{
	unsigned dims = code_dims(node_stride(class_));

	return EG_CHUNK * (code_sign_bytes(dims) + sizeof(struct code_scale) + code_low_bytes(dims)
	                   + EG_LINKS * sizeof(uint32_t));
}

bool graph_view(const struct store *s, unsigned class_, struct graph_view *v)
{
	if (!store_map_class(s, class_))
		return false;
	v->limit = atomic_load_explicit(&s->root->n_node_chunks[class_], memory_order_acquire) * EG_CHUNK;
	v->coded = (uint32_t)(region_grown(&s->code[class_]) / graph_chunk_bytes(class_)) * EG_CHUNK;
	v->coded = v->coded < v->limit ? v->coded : v->limit;
	v->codes = s->code[class_].base;
	v->vectors = (const float *)(const void *)s->vec[class_].base;
	v->owners = (const struct node_chunk *)(const void *)s->node[class_].base;
	v->stride = node_stride(class_);
	v->dims = code_dims(v->stride);
	v->sign_bytes = (uint32_t)code_sign_bytes(v->dims);
	v->low_bytes = (uint32_t)code_low_bytes(v->dims);
	v->scale_at = EG_CHUNK * v->sign_bytes;
	v->low_at = v->scale_at + EG_CHUNK * (uint32_t)sizeof(struct code_scale);
	v->links_at = v->low_at + EG_CHUNK * v->low_bytes;
	v->chunk_bytes = (uint32_t)graph_chunk_bytes(class_);
	return true;
}

const struct fresh *graph_fresh(const struct store *s)
{
	return region_at(&s->graph, 0, sizeof(struct fresh));
}

const struct graph *graph_ready(const struct store *s, const struct space *sp)
{
	uint32_t number = atomic_load_explicit(&sp->graph, memory_order_acquire);
	const struct graph *g;

	if (number == 0)
		return NULL;
	g = region_at(&s->graph, EG_GRAPHS_AT + (uint64_t)(number - 1) * sizeof *g, sizeof *g);
	if (atomic_load_explicit(&g->state, memory_order_acquire) != EG_GRAPH_READY
	    || atomic_load_explicit(&g->space, memory_order_relaxed) != sp->number
	    || atomic_load_explicit(&g->class_, memory_order_relaxed) != node_class(space_dimension(sp)))
		return NULL;
	return g;
}

static void add_graph(const struct store *s, const struct graph *g, struct graph_totals *t)
{
	uint32_t state = atomic_load_explicit(&g->state, memory_order_acquire);
	const struct space *sp = space_get(s, atomic_load(&g->space));
	uint64_t linked = atomic_load(&g->linked), dead = atomic_load(&g->dead), all;

	if (state == EG_GRAPH_NONE || state > EG_GRAPH_READY || sp == NULL)
		return;
	linked = linked > dead ? linked - dead : 0;
	all = atomic_load(&sp->with_vector);
	t->graphs[state]++;
	t->indexed += linked;
	if (state != EG_GRAPH_READY && all > linked)
		t->build += all - linked;
}

void graph_totals(const struct store *s, struct graph_totals *t)
{
	const struct fresh *f = graph_fresh(s);
	uint64_t tail = atomic_load(&f->tail), head = atomic_load(&f->head);
	uint32_t n = atomic_load_explicit(&s->root->n_graphs, memory_order_acquire);

	memset(t, 0, sizeof *t);
	t->ring = head > tail ? head - tail : 0;
	for (uint32_t i = 0; i < n; i++)
		add_graph(s, region_at(&s->graph, EG_GRAPHS_AT + (uint64_t)i * sizeof(struct graph), sizeof(struct graph)), t);
}

static void *must(void *p)
{
	EG_ASSERT(p != NULL);
	return p;
}

void graph_scratch_init(struct graph_scratch *sc)
{
	memset(sc, 0, sizeof *sc);
	sc->rotated = must(aligned_alloc(64, EG_CODE_DIMS_MAX * sizeof *sc->rotated));
	sc->r = must(aligned_alloc(64, EG_CODE_DIMS_MAX));
	sc->visited = must(malloc(VISITED_MIN * sizeof *sc->visited));
	sc->visited_mask = VISITED_MIN - 1;
}

void graph_scratch_fini(struct graph_scratch *sc)
{
	free(sc->rotated);
	free(sc->r);
	free(sc->visited);
	free(sc->beam);
	memset(sc, 0, sizeof *sc);
}

/* ---- the set of nodes met ---- */

static inline uint32_t slot_of(const struct graph_scratch *sc, uint32_t node)
{
	return (node * UINT32_C(2654435769) >> 7) & sc->visited_mask;
}

static void visited_grow(struct graph_scratch *sc)
{
	uint32_t *old = sc->visited, n = sc->visited_mask + 1;

	sc->visited = must(calloc((size_t)n * 2, sizeof *sc->visited));
	sc->visited_mask = n * 2 - 1;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at;

		if (old[i] == 0)
			continue;
		for (at = slot_of(sc, old[i] - 1); sc->visited[at] != 0;)
			at = (at + 1) & sc->visited_mask;
		sc->visited[at] = old[i];
	}
	free(old);
}

/* True when the node was not in it. */
static inline bool visit(struct graph_scratch *sc, uint32_t node)
{
	uint32_t at = slot_of(sc, node);

	while (sc->visited[at] != 0) {
		if (sc->visited[at] == node + 1)
			return false;
		at = (at + 1) & sc->visited_mask;
	}
	sc->visited[at] = node + 1;
	if (++sc->visited_n * 2 > sc->visited_mask)
		visited_grow(sc);
	return true;
}

static void begin(struct graph_scratch *sc, unsigned ef)
{
	uint32_t want = VISITED_MIN;

	EG_ASSERT(ef >= 1 && ef <= EG_EF_MAX);
	while (want < ef * EG_LINKS)
		want *= 2;
	if (sc->visited_mask + 1 < want) {
		free(sc->visited);
		sc->visited = must(malloc(want * sizeof *sc->visited));
		sc->visited_mask = want - 1;
	}
	if (sc->cap < ef + 1) {
		free(sc->beam);
		sc->beam = must(malloc((ef + 1) * sizeof *sc->beam));
		sc->cap = ef + 1;
	}
	memset(sc->visited, 0, (size_t)(sc->visited_mask + 1) * sizeof *sc->visited);
	sc->visited_n = 0;
	sc->ef = ef;
	sc->n = 0;
	sc->looked = sc->coded = sc->exact = 0;
}

/* ---- the beam ---- */

/* Put a node in its place; returns the place, or ef when it is not among the best. */
static inline uint32_t offer(struct graph_scratch *sc, float score, uint32_t node)
{
	struct beam *b = sc->beam;
	uint32_t low = 0, high = sc->n;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (b[mid].score >= score)
			low = mid + 1;
		else
			high = mid;
	}
	if (low >= sc->ef)
		return sc->ef;
	if (sc->n < sc->ef)
		sc->n++;
	memmove(&b[low + 1], &b[low], (sc->n - 1 - low) * sizeof *b);
	b[low] = (struct beam){ score, node };
	return low;
}

static inline void prefetch(const void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch((const uint8_t *)at + i);
}

/* Score n nodes: all by their signs, the promising ones in full, into the beam. Returns
 * the best place that one of them got. */
static uint32_t score(const struct graph_view *v, struct graph_scratch *sc, const struct code_query *q,
                      uint32_t *nodes, unsigned n, const uint8_t **rows)
{
	int32_t signs[EG_LINKS], lows[EG_LINKS];
	float worst = sc->n == sc->ef ? sc->beam[sc->n - 1].score : -INFINITY;
	uint32_t best = sc->ef;
	unsigned kept = 0;

	code_sign_each(q, rows, n, 0, signs);
	sc->looked += n;
	for (unsigned i = 0; i < n; i++) {
		const struct code_scale *s = graph_scale(v, nodes[i]);

		if (code_first(q, signs[i], s) + sign_slack * s->first_error < worst)
			continue;
		nodes[kept] = nodes[i];
		signs[kept] = signs[i];
		rows[kept] = graph_low(v, nodes[i]);
		prefetch(rows[kept++], v->low_bytes);
	}
	code_low_each(q, rows, kept, 0, lows);
	sc->coded += kept;
	for (unsigned i = 0; i < kept; i++) {
		uint32_t place = offer(sc, code_full(q, signs[i], lows[i], graph_scale(v, nodes[i])), nodes[i]);

		best = place < best ? place : best;
	}
	return best;
}

/* Neighbours of a node that were not met yet. */
static unsigned unmet(const struct graph_view *v, struct graph_scratch *sc, uint32_t node, uint32_t *nodes,
                      const uint8_t **rows)
{
	const _Atomic uint32_t *links = graph_links(v, node);
	unsigned n = 0;

	for (unsigned i = 0; i < EG_LINKS; i++) {
		/* What stands at a node that is named was there before. */
		uint32_t to = atomic_load_explicit(&links[i], memory_order_acquire);

		if (to >= v->coded || !visit(sc, to))
			continue;
		nodes[n] = to;
		rows[n] = graph_sign(v, to);
		prefetch(rows[n++], v->sign_bytes);
		__builtin_prefetch(graph_scale(v, to));
	}
	return n;
}

static uint32_t next_unseen(const struct graph_scratch *sc, uint32_t from)
{
	while (from < sc->n && sc->beam[from].node & EG_BEAM_SEEN)
		from++;
	return from;
}

/* The best entries, by their signs. */
static void start(const struct graph_view *v, const struct graph *g, struct graph_scratch *sc,
                  const struct code_query *q)
{
	uint32_t nodes[EG_LINKS], n_entries = atomic_load_explicit(&g->n_entries, memory_order_acquire);
	const uint8_t *rows[EG_LINKS];
	struct beam best[STARTS];
	unsigned n_best = 0;

	n_entries = n_entries < EG_GRAPH_ENTRIES ? n_entries : EG_GRAPH_ENTRIES;
	for (uint32_t at = 0; at < n_entries;) {
		int32_t signs[EG_LINKS];
		unsigned n = 0;

		for (; at < n_entries && n < EG_LINKS; at++) {
			nodes[n] = atomic_load_explicit(&g->entries[at], memory_order_acquire);
			if (nodes[n] < v->coded) {
				rows[n] = graph_sign(v, nodes[n]);
				n++;
			}
		}
		code_sign_each(q, rows, n, 4, signs);
		for (unsigned i = 0; i < n; i++) {
			float s = code_first(q, signs[i], graph_scale(v, nodes[i]));
			unsigned to = n_best < STARTS ? n_best++ : STARTS;

			for (; to > 0 && best[to - 1].score < s; to--)
				if (to < STARTS)
					best[to] = best[to - 1];
			if (to < STARTS)
				best[to] = (struct beam){ s, nodes[i] };
		}
	}
	for (unsigned i = n_best; i-- > 0;) {
		if (!visit(sc, best[i].node))
			continue;
		nodes[0] = best[i].node;
		rows[0] = graph_sign(v, nodes[0]);
		(void)score(v, sc, q, nodes, 1, rows);
	}
}

void graph_walk(const struct graph_view *v, const struct graph *g, struct graph_scratch *sc,
                const struct code_query *q, unsigned ef)
{
	uint32_t nodes[EG_LINKS], at, then;
	const uint8_t *rows[EG_LINKS];

	begin(sc, ef);
	start(v, g, sc, q);
	for (at = next_unseen(sc, 0); at < sc->n;) {
		uint32_t node = sc->beam[at].node;
		unsigned n = unmet(v, sc, node, nodes, rows);

		sc->beam[at].node |= EG_BEAM_SEEN;
		then = next_unseen(sc, at + 1);
		if (then < sc->n)
			prefetch((const void *)(uintptr_t)graph_links(v, sc->beam[then].node), EG_LINKS * sizeof(uint32_t));
		at = n > 0 ? score(v, sc, q, nodes, n, rows) : sc->ef;
		at = next_unseen(sc, at < then ? at : then);
	}
}

float graph_score_error(unsigned dims)
{
	/* 1 - c^2 of 32 levels is 0.0034 (common/code.h: 0.0026 at 512 dimensions). */
	return 0.059f / sqrtf((float)(dims - 1));
}

/* Keep the k best of what is offered, best first. */
static size_t keep(struct graph_hit *hits, size_t n, size_t k, struct graph_hit h)
{
	size_t at = n < k ? n : k;

	for (size_t i = 0; i < n; i++)
		if (hits[i].node == h.node)
			return n;
	if (at == k && (k == 0 || hits[k - 1].cosine >= h.cosine))
		return n;
	n = n < k ? n + 1 : k;
	for (at = n - 1; at > 0 && hits[at - 1].cosine < h.cosine; at--)
		hits[at] = hits[at - 1];
	hits[at] = h;
	return n;
}

/* What is not linked yet, exactly. */
static size_t search_fresh(const struct store *s, const struct graph *g, const struct graph_view *v,
                           struct graph_scratch *sc, const float *query, unsigned k, struct graph_hit *hits)
{
	const struct fresh *f = graph_fresh(s);
	uint64_t head = atomic_load_explicit(&f->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&f->tail, memory_order_acquire);
	uint64_t mine = EG_FRESH_WORD(g->space, g->class_, 0);
	size_t n = 0;

	/* Only a store gone wild makes it longer: the writer mends that. */
	if (tail < head && head - tail > EG_FRESH)
		tail = head > EG_FRESH ? head - EG_FRESH : 0;
	for (; tail < head; tail++) {
		uint64_t word = atomic_load_explicit(&f->words[tail % EG_FRESH], memory_order_acquire);
		struct graph_hit h = { .node = (uint32_t)(word & ((1u << 30) - 1)) };

		if ((word ^ mine) >> 30 != 0 || h.node >= v->limit)
			continue;
		h.owner = graph_owner(v, h.node);
		if (h.owner == EG_NODE_FREE)
			continue;
		h.cosine = vec_dot(query, graph_vector(v, h.node), v->stride);
		sc->exact++;
		n = keep(hits, n, k, h);
	}
	return n;
}

size_t graph_search(const struct store *s, const struct graph *g, struct graph_scratch *sc,
                    const float *query, unsigned ef, unsigned k, struct graph_hit *hits)
{
	struct graph_view v;
	struct code_query q;
	size_t n;
	uint64_t fresh;
	float slack;

	if (!graph_view(s, atomic_load_explicit(&g->class_, memory_order_relaxed), &v))
		return 0;
	/* The ring before the graph: what leaves it meanwhile was linked before that. */
	n = search_fresh(s, g, &v, sc, query, k, hits);
	fresh = sc->exact;
	code_rotate(query, v.stride, sc->rotated);
	code_query(sc->rotated, v.dims, sc->r, &q);
	graph_walk(&v, g, sc, &q, ef < k ? k : ef > EG_EF_MAX ? EG_EF_MAX : ef);
	sc->exact = fresh;
	slack = exact_slack * graph_score_error(v.dims);
	for (uint32_t i = 0; i < sc->n; i++) {
		struct graph_hit h = { .node = sc->beam[i].node & ~EG_BEAM_SEEN };

		if (n == k && sc->beam[i].score + slack < hits[k - 1].cosine)
			break;
		if (i + 4 < sc->n)
			__builtin_prefetch(graph_vector(&v, sc->beam[i + 4].node & ~EG_BEAM_SEEN));
		h.owner = graph_owner(&v, h.node);
		if (h.owner == EG_NODE_FREE)
			continue;
		h.cosine = vec_dot(query, graph_vector(&v, h.node), v.stride);
		sc->exact++;
		n = keep(hits, n, k, h);
	}
	return n;
}
