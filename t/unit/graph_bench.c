/* See the header. */
#include "t/unit/graph_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/vec.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/repair_write.h"
#include "shm/slot.h"
#include "shm/space_write.h"
#include "wal/apply.h"
#include "wal/submit.h"

static double unit_random(struct graph_bench *b) { return (double)(bench_random(b->s) >> 11) / 9007199254740992.0; }

/* Sum of twelve: nearly normal. */
static float normal(struct graph_bench *b)
{
	double sum = -6;

	for (unsigned i = 0; i < 12; i++)
		sum += unit_random(b);
	return (float)sum;
}

static void random_vector(struct graph_bench *b, float *v)
{
	const float *c = b->centre[bench_random(b->s) % GB_CLUSTERS];
	float length = 0;

	for (unsigned k = 0; k < GB_DIM; k++) {
		v[k] = c[k] + 0.5f * normal(b);
		length += v[k] * v[k];
	}
	for (unsigned k = 0; k < GB_DIM; k++)
		v[k] /= sqrtf(length);
}

static void open_linker(struct graph_bench *b)
{
	atomic_store(&b->s->w.graph_min, 400);
	linkers_open(&b->l, &b->s->w, &b->s->desks, 64);
}

int gb_open(void **state)
{
	struct graph_bench *b = calloc(1, sizeof *b);
	void *s;

	EG_ASSERT(b != NULL && bench_open(&s) == 0);
	b->s = s;
	b->vector = calloc(GB_MEMORIES, sizeof *b->vector);
	b->alive = calloc(GB_MEMORIES, 1);
	EG_ASSERT(b->vector != NULL && b->alive != NULL);
	b->lsn = 100;
	for (unsigned c = 0; c < GB_CLUSTERS; c++)
		for (unsigned k = 0; k < GB_DIM; k++)
			b->centre[c][k] = normal(b);
	graph_scratch_init(&b->scratch);
	open_linker(b);
	*state = b;
	return 0;
}

int gb_close(void **state)
{
	struct graph_bench *b = *state;
	void *s = b->s;

	linkers_close(&b->l);
	graph_scratch_fini(&b->scratch);
	free(b->vector);
	free(b->alive);
	free(b);
	return bench_close(&s);
}

static struct record *record(struct graph_bench *b, uint32_t space, uint32_t i, unsigned dim)
{
	static _Alignas(64) uint8_t memory[8192];
	struct record *r = (struct record *)(void *)memory;
	const char *name = space_get(&b->s->w.store, space)->id;
	char id[24];

	snprintf(id, sizeof id, "m%u", i);
	memset(memory, 0, sizeof memory);
	r->bytes = (uint32_t)record_size(dim, 0, 0, (unsigned)strlen(id), 0);
	EG_ASSERT(r->bytes <= sizeof memory);
	r->dim = (uint16_t)dim;
	r->lsn = r->version = ++b->lsn;
	r->space = space;
	r->id_bytes = (uint16_t)strlen(id);
	r->key = record_key(name, strlen(name), id, strlen(id));
	r->shard = (uint8_t)(r->key % EG_SHARDS);
	r->confidence = 0.5f;
	memcpy((char *)(uintptr_t)record_id(r), id, strlen(id));
	return r;
}

static bool find(struct graph_bench *b, const struct record *r, struct engram *e)
{
	return slot_find(&b->s->w.store, space_get(&b->s->w.store, r->space), record_id(r), r->id_bytes, e);
}

void gb_store(struct graph_bench *b, uint32_t space, uint32_t i, unsigned dim, unsigned flags)
{
	struct record *r = record(b, space, i, dim);
	struct plan p = { .record = r, .fresh = true };
	float v[GB_DIM];
	struct engram e;
	struct fault f;

	EG_ASSERT(i < GB_MEMORIES);
	random_vector(b, v);
	r->type = EG_RECORD_PUT;
	r->flags = (uint8_t)flags;
	memcpy((float *)(uintptr_t)record_vector(r), v, (dim < GB_DIM ? dim : GB_DIM) * sizeof(float));
	if (find(b, r, &e)) {
		p.fresh = false;
		p.slot = e.number;
		p.generation = e.generation;
	} else if (!ids_has_room(&b->s->w, r->shard)) {
		EG_ASSERT(ids_grow(&b->s->w, r->shard, &f) == EG_E_OK);
	}
	EG_ASSERT(plan_reserve(&b->s->w, &p, r, &f) == EG_E_OK);
	apply_plan(&b->s->w, &p);
	if (space != 0)
		return;
	memcpy(b->vector[i], v, sizeof v);
	b->alive[i] = 1;
	b->n = b->n > i ? b->n : i + 1;
}

void gb_put(struct graph_bench *b, uint32_t i) { gb_store(b, 0, i, GB_DIM, 0); }

void gb_remove(struct graph_bench *b, uint32_t space, uint32_t i)
{
	struct record *r = record(b, space, i, 0);
	struct plan p = { .record = r };
	struct engram e;

	r->type = EG_RECORD_DELETE;
	EG_ASSERT(find(b, r, &e));
	p.slot = e.number;
	p.generation = e.generation;
	apply_plan(&b->s->w, &p);
}

void gb_delete(struct graph_bench *b, uint32_t i)
{
	gb_remove(b, 0, i);
	b->alive[i] = 0;
}

void gb_drop_space(struct graph_bench *b, uint32_t space)
{
	struct record r = { .type = EG_RECORD_SPACE_DELETE, .space = space, .lsn = ++b->lsn };

	apply_space_delete(&b->s->w, &r);
}

void gb_reclaim(struct graph_bench *b)
{
	for (unsigned i = 0; i < 4 && reclaim(&b->s->w) > 0; i++)
		;
}

void gb_restart(struct graph_bench *b, bool suspect)
{
	struct repair_report r;
	struct fault f;

	linkers_close(&b->l);
	bench_new_writer(b->s);
	/* As desk_take: the next process reads nothing yet. */
	atomic_store(&desk_epochs(&b->s->desks, EG_DESK_WAL)[0].epoch, 0);
	if (suspect)
		graph_distrust(&b->s->w);
	EG_ASSERT(store_repair(&b->s->w, false, &r, &f) == EG_E_OK);
	open_linker(b);
}

unsigned gb_settle(struct graph_bench *b)
{
	unsigned n = 0;

	while (linker_step(&b->l))
		EG_ASSERT(++n < 1000000);
	return n;
}

struct graph *gb_graph(struct graph_bench *b) { return graph_for_write(&b->s->w, 0); }

enum graph_state gb_state(struct graph_bench *b)
{
	const struct graph *g = gb_graph(b);

	return g != NULL ? (enum graph_state)atomic_load(&g->state) : EG_GRAPH_NONE;
}

/* ---- searches ---- */

struct near { float cosine; uint32_t i; };

static int nearest(const void *a, const void *b)
{
	float x = ((const struct near *)a)->cosine, y = ((const struct near *)b)->cosine;

	return x < y ? 1 : x > y ? -1 : 0;
}

static uint32_t memory_of(struct graph_bench *b, const struct graph_hit *h)
{
	struct engram e;
	char id[24] = "";
	unsigned i;

	EG_ASSERT(slot_get(&b->s->w.store, (uint32_t)(h->owner >> 32), (uint32_t)h->owner, &e));
	EG_ASSERT(e.body->node == h->node);
	memcpy(id, body_id(e.body), e.body->record.id_bytes);
	EG_ASSERT(sscanf(id, "m%u", &i) == 1 && i < b->n && b->alive[i]);
	return i;
}

static size_t search(struct graph_bench *b, const struct graph *g, const float *query, unsigned k, struct graph_hit *hits)
{
	float padded[4096] = { 0 };
	size_t n;

	memcpy(padded, query, GB_DIM * sizeof *query);
	epoch_enter(&b->s->reader);
	n = graph_search(&b->s->w.store, g, &b->scratch, padded, 80, k, hits);
	epoch_leave(&b->s->reader);
	return n;
}

static unsigned common(struct graph_bench *b, const struct graph *g, struct near *all)
{
	struct graph_hit hits[10];
	float q[GB_DIM];
	unsigned same = 0;
	uint32_t n = 0;
	size_t found;

	random_vector(b, q);
	for (uint32_t i = 0; i < b->n; i++) {
		float dot = 0;

		for (unsigned k = 0; b->alive[i] && k < GB_DIM; k++)
			dot += q[k] * b->vector[i][k];
		if (b->alive[i])
			all[n++] = (struct near){ dot, i };
	}
	qsort(all, n, sizeof *all, nearest);
	found = search(b, g, q, 10, hits);
	for (size_t h = 0; h < found; h++) {
		uint32_t i = memory_of(b, &hits[h]);

		for (unsigned k = 0; k < 10; k++)
			same += all[k].i == i;
	}
	return same;
}

double gb_recall(struct graph_bench *b, unsigned queries)
{
	const struct graph *g = graph_ready(&b->s->w.store, space_get(&b->s->w.store, 0));
	struct near *all;
	unsigned same = 0;

	if (g == NULL)
		return 1;
	all = malloc(GB_MEMORIES * sizeof *all);
	EG_ASSERT(all != NULL);
	for (unsigned i = 0; i < queries; i++)
		same += common(b, g, all);
	free(all);
	return same / (queries * 10.0);
}

void gb_finds_all(struct graph_bench *b)
{
	const struct graph *g = graph_ready(&b->s->w.store, space_get(&b->s->w.store, 0));

	for (uint32_t i = 0; i < b->n && g != NULL; i++) {
		struct graph_hit hits[3];
		size_t n;
		bool met = false;

		if (!b->alive[i])
			continue;
		n = search(b, g, b->vector[i], 3, hits);
		for (size_t h = 0; h < n; h++)
			met |= memory_of(b, &hits[h]) == i;
		if (!met)
			printf("# memory %u is not found\n", i);
		EG_ASSERT(met);
	}
}

/* ---- invariants ---- */

struct marks { uint64_t linked, dead; };

static void check_link(struct graph_bench *b, const struct graph *g, const struct graph_view *v, uint32_t to)
{
	const struct node_chunk *c;

	if (to == EG_NODE_NONE)
		return;
	EG_ASSERT(to < v->coded);
	c = &v->owners[to / EG_CHUNK];
	EG_ASSERT(atomic_load(&c->space) == atomic_load(&g->space));
	EG_ASSERT(atomic_load(&c->named) >> to % EG_CHUNK & 1);
	(void)b;
}

static bool in_ring(struct graph_bench *b, uint64_t word)
{
	const struct fresh *f = graph_fresh(&b->s->w.store);

	for (uint64_t at = atomic_load(&f->tail); at < atomic_load(&f->head); at++)
		if (atomic_load(&f->words[at % EG_FRESH]) == word)
			return true;
	return false;
}

static void check_node(struct graph_bench *b, const struct graph *g, const struct graph_view *v, uint32_t node,
                       struct marks *m)
{
	const struct node_chunk *c = &v->owners[node / EG_CHUNK];
	bool named = atomic_load(&c->named) >> node % EG_CHUNK & 1, linked = atomic_load(&c->linked) >> node % EG_CHUNK & 1;
	bool owned = graph_owner(v, node) != EG_NODE_FREE;

	EG_ASSERT(named || !linked);
	m->linked += linked;
	m->dead += named && !owned;
	for (unsigned i = 0; named && i < EG_LINKS; i++)
		check_link(b, g, v, atomic_load(&graph_links(v, node)[i]));
	if (owned && !linked && atomic_load(&g->state) == EG_GRAPH_READY)
		EG_ASSERT(in_ring(b, EG_FRESH_WORD(g->space, g->class_, node)));
}

/* Nobody's node stands in the free list once, if no link may name it, and else not at all. */
static void check_free(struct graph_bench *b, const struct graph_view *v)
{
	const struct stack32 *free_nodes = &b->s->w.spaces[0].nodes;
	uint8_t *met = calloc(1, v->limit + 1);

	EG_ASSERT(met != NULL);
	for (uint32_t i = 0; i < free_nodes->n; i++) {
		uint32_t node = free_nodes->at[i];
		const struct node_chunk *c = &v->owners[node / EG_CHUNK];

		EG_ASSERT(node < v->limit && !met[node]++ && graph_owner(v, node) == EG_NODE_FREE);
		EG_ASSERT(!(atomic_load(&c->named) >> node % EG_CHUNK & 1));
	}
	free(met);
}

void gb_invariants(struct graph_bench *b)
{
	const struct graph *g = gb_graph(b);
	const struct space *sp = space_get(&b->s->w.store, 0);
	struct marks m = { 0 };
	struct graph_view v;
	uint32_t n_entries;

	if (g == NULL)
		return;
	EG_ASSERT(graph_view(&b->s->w.store, atomic_load(&g->class_), &v));
	for (uint32_t link = atomic_load(&sp->node_head); link != EG_NONE;
	     link = atomic_load(&node_chunk_for_write(&b->s->w, link >> EG_LINK_SHIFT, link & EG_LINK_MASK)->next))
		for (uint32_t i = 0; link >> EG_LINK_SHIFT == atomic_load(&g->class_) && i < EG_CHUNK; i++)
			check_node(b, g, &v, (link & EG_LINK_MASK) * EG_CHUNK + i, &m);
	EG_ASSERT(m.linked == atomic_load(&g->linked) && m.dead == atomic_load(&g->dead));
	n_entries = atomic_load(&g->n_entries);
	EG_ASSERT(n_entries <= EG_GRAPH_ENTRIES && (n_entries > 0 || m.linked == 0));
	for (uint32_t i = 0; i < n_entries; i++)
		check_link(b, g, &v, atomic_load(&g->entries[i]));
	if (b->s->w.spaces[0].nodes_class == atomic_load(&g->class_))
		check_free(b, &v);
}
