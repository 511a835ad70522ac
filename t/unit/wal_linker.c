/* The linking thread, step by step: graphs are built, caught up with, swept, dropped and taken
 * over in each state; after each the best ten of a graph are those of a full comparison
 * (at least 95 of 100), every memory is found, and marks, counts and links agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "shm/metrics.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/space_write.h"
#include "t/unit/graph_bench.h"
#include "wal/apply.h"

#define QUERIES 40u

static void good(struct graph_bench *b, const char *what)
{
	double recall = gb_recall(b, QUERIES);

	printf("# %s: recall@10 %.4f\n", what, recall);
	gb_invariants(b);
	assert_true(recall >= 0.95);
	gb_finds_all(b);
}

static void put_many(struct graph_bench *b, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		gb_put(b, i);
}

/* Steps until the job is that one; false when all was done without. */
static bool step_to(struct graph_bench *b, enum link_job job)
{
	while (b->l.job != job)
		if (!linker_step(&b->l))
			return false;
	return true;
}

static void ready(struct graph_bench *b, uint32_t n)
{
	put_many(b, 0, n);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
}

static void test_build(void **state)
{
	struct graph_bench *b = *state;

	put_many(b, 0, 399);
	assert_int_equal(gb_settle(b), 0);
	assert_int_equal(gb_state(b), EG_GRAPH_NONE);
	/* No code has a page, nor an address, for no space needs it. */
	assert_int_equal(region_grown(&b->s->w.store.code[node_class(GB_DIM)]), 0);
	put_many(b, 399, 400);
	assert_true(linker_step(&b->l));
	assert_int_equal(gb_state(b), EG_GRAPH_BUILDING);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	assert_int_equal(atomic_load(&gb_graph(b)->linked), 400);
	good(b, "400 built");
	put_many(b, 400, 5000);
	assert_int_equal(fresh_waiting(&b->s->w), 4600);
	good(b, "4600 in the ring");
	(void)gb_settle(b);
	assert_int_equal(fresh_waiting(&b->s->w), 0);
	assert_int_equal(atomic_load(&gb_graph(b)->linked), 5000);
	good(b, "all linked");
}

/* Stores, deletions and new versions at each step of a build. */
static void test_catching(void **state)
{
	struct graph_bench *b = *state;
	uint32_t next = 600;
	bool caught = false;

	put_many(b, 0, next);
	for (unsigned step = 0; linker_step(&b->l); step++) {
		caught |= gb_state(b) == EG_GRAPH_CATCHING;
		if (next < 1400) {
			gb_put(b, next++);
			gb_put(b, (next * 7) % 600);
			if (step % 3 == 0 && b->alive[next - 5])
				gb_delete(b, next - 5);
		}
		if (step % 20 == 0) {
			gb_reclaim(b);
			gb_invariants(b);
		}
	}
	assert_true(caught);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	good(b, "stores at each step");
}

/* A look and a job get their turn though the ring is never empty. */
static void test_turns(void **state)
{
	struct graph_bench *b = *state;
	uint32_t next = 600;

	ready(b, next);
	/* As if it had to be caught up with again. */
	graph_set_state(&b->s->w, gb_graph(b), EG_GRAPH_CATCHING);
	put_many(b, next, next + 100);
	next += 100;
	graph_look(&b->s->w, 0);
	while (gb_state(b) != EG_GRAPH_READY) {
		gb_put(b, next++);
		assert_true(linker_step(&b->l));
		assert_true(next < 4000);
	}
	assert_true(fresh_waiting(&b->s->w) > 0);
	good(b, "a ring that is never empty");
}

static unsigned delete_some(struct graph_bench *b, unsigned every, uint32_t from)
{
	unsigned n = 0;

	for (uint32_t i = from; i < b->n; i += every)
		if (b->alive[i]) {
			gb_delete(b, i);
			n++;
		}
	return n;
}

static void test_sweep(void **state)
{
	struct graph_bench *b = *state;
	uint32_t chunks;
	unsigned gone;

	ready(b, 3000);
	chunks = atomic_load(&store_root(&b->s->w)->n_node_chunks[node_class(GB_DIM)]);
	gone = delete_some(b, 3, 0);
	assert_int_equal(atomic_load(&gb_graph(b)->dead), gone);
	good(b, "a third dead");
	/* Not one is retired before the sweep has ended. */
	gb_reclaim(b);
	assert_true(step_to(b, LINK_SWEEP));
	gb_delete(b, 1);
	gb_delete(b, 2);
	assert_true(step_to(b, LINK_FORGET));
	assert_int_equal(b->l.dead.n, gone);
	assert_int_equal(atomic_load(&gb_graph(b)->dead), gone + 2);
	good(b, "swept, not retired");
	(void)gb_settle(b);
	assert_int_equal(atomic_load(&gb_graph(b)->dead), 2);
	gb_reclaim(b);
	good(b, "retired");
	/* They are used again. */
	put_many(b, 3000, 3000 + gone);
	assert_int_equal(atomic_load(&store_root(&b->s->w)->n_node_chunks[node_class(GB_DIM)]), chunks);
	(void)gb_settle(b);
	good(b, "used again");
	/* Most of one cluster, then another sweep: no entry is lost. */
	for (unsigned round = 0; round < 4; round++) {
		(void)delete_some(b, 2, round % 2);
		(void)gb_settle(b);
		gb_reclaim(b);
		put_many(b, b->n, b->n + 900);
		(void)gb_settle(b);
		good(b, "half and half anew");
	}
}

static void test_drop(void **state)
{
	struct graph_bench *b = *state;

	ready(b, 1000);
	for (uint32_t i = 0; i < 801; i++) {
		gb_delete(b, i);
		if (i % 50 == 0)
			gb_invariants(b);
		if (i == 799) {
			(void)gb_settle(b);
			assert_int_equal(gb_state(b), EG_GRAPH_READY);
		}
	}
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_NONE);
	/* The record waits for readers as all does. */
	assert_int_equal(b->s->w.graphs.n, 0);
	gb_reclaim(b);
	assert_int_equal(b->s->w.graphs.n, 1);
	assert_int_equal(b->s->w.retired_n, 0);
	/* All that is nobody's is free: the next ones need no other chunk. */
	assert_true(b->s->w.spaces[0].nodes.n >= 801);
	put_many(b, 1000, 1300);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	assert_int_equal(atomic_load(&store_root(&b->s->w)->n_graphs), 1);
	good(b, "built again");
}

/* While a reader is in its section neither record nor nodes are used again. */
static void test_reader_holds(void **state)
{
	struct graph_bench *b = *state;
	const struct graph *g;
	uint32_t node;

	ready(b, 500);
	epoch_enter(&b->s->reader);
	g = graph_ready(&b->s->w.store, space_get(&b->s->w.store, 0));
	assert_non_null(g);
	node = atomic_load(&g->entries[0]);
	for (uint32_t i = 0; i < 400; i++)
		gb_delete(b, i);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_NONE);
	gb_reclaim(b);
	assert_int_equal(b->s->w.graphs.n, 0);
	for (uint32_t i = 0; i < b->s->w.spaces[0].nodes.n; i++)
		assert_int_not_equal(b->s->w.spaces[0].nodes.at[i], node);
	epoch_leave(&b->s->reader);
	gb_reclaim(b);
	assert_int_equal(b->s->w.graphs.n, 1);
}

/* Nobody links: the graph is to be built again, and nothing is lost. */
static void test_full_ring(void **state)
{
	struct graph_bench *b = *state;

	b->l.one.ef = 24;
	ready(b, 500);
	put_many(b, 500, 500 + EG_FRESH);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	gb_invariants(b);
	gb_put(b, 500 + EG_FRESH);
	assert_int_equal(gb_state(b), EG_GRAPH_BUILDING);
	linkers_look_at_all(&b->s->w);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	assert_int_equal(atomic_load(&gb_graph(b)->linked), 501 + EG_FRESH);
	gb_invariants(b);
	assert_true(gb_recall(b, QUERIES) >= 0.95);
}

static void mid_build(struct graph_bench *b)
{
	put_many(b, 0, 900);
	for (unsigned i = 0; i < 20; i++)
		assert_true(linker_step(&b->l));
	assert_int_equal(gb_state(b), EG_GRAPH_BUILDING);
}

static void mid_catch(struct graph_bench *b)
{
	put_many(b, 0, 900);
	assert_true(step_to(b, LINK_BUILD));
	for (unsigned i = 0; i < 5; i++)
		assert_true(linker_step(&b->l));
	put_many(b, 900, 1000);
	assert_true(step_to(b, LINK_CATCH));
	put_many(b, 1000, 1100);
	assert_true(linker_step(&b->l));
	assert_int_equal(gb_state(b), EG_GRAPH_CATCHING);
}

static void with_ring(struct graph_bench *b)
{
	ready(b, 900);
	put_many(b, 900, 1000);
	for (unsigned i = 0; i < 30; i++)
		assert_true(linker_step(&b->l));
	gb_delete(b, 950);
	gb_delete(b, 910);
}

static void sweeping(struct graph_bench *b, enum link_job job)
{
	ready(b, 1500);
	(void)delete_some(b, 4, 1);
	assert_true(step_to(b, job));
	for (unsigned i = 0; i < (job == LINK_FORGET ? 1 : 20); i++)
		assert_true(linker_step(&b->l));
	assert_int_equal(b->l.job, job);
	put_many(b, 1500, 1510);
}

static void mid_collect(struct graph_bench *b) { sweeping(b, LINK_COLLECT); }
static void mid_sweep(struct graph_bench *b) { sweeping(b, LINK_SWEEP); }
static void mid_forget(struct graph_bench *b) { sweeping(b, LINK_FORGET); }

static void mid_release(struct graph_bench *b)
{
	ready(b, 1000);
	for (uint32_t i = 0; i < 801; i++)
		gb_delete(b, i);
	assert_true(step_to(b, LINK_RELEASE));
	assert_true(linker_step(&b->l));
}

static void dead_and_ready(struct graph_bench *b)
{
	ready(b, 1000);
	(void)delete_some(b, 20, 3);
}

static void test_restarts(void **state)
{
	static const struct { const char *name; void (*to)(struct graph_bench *b); } scenes[] = {
		{ "killed while building", mid_build }, { "while catching", mid_catch }, { "with nodes in the ring", with_ring },
		{ "while collecting", mid_collect }, { "while sweeping", mid_sweep }, { "while retiring", mid_forget },
		{ "while releasing", mid_release }, { "with dead nodes", dead_and_ready },
	};

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof scenes / sizeof scenes[0]; i++) {
		bool suspect = i % 2;
		enum graph_state before;
		struct graph_bench *b;
		void *s;

		assert_int_equal(gb_open(&s), 0);
		b = s;
		scenes[i / 2].to(b);
		before = gb_state(b);
		gb_restart(b, suspect);
		/* A graph that readers walk stays one, if it can be trusted. */
		assert_int_equal(gb_state(b), suspect ? EG_GRAPH_NONE : before == EG_GRAPH_CATCHING ? EG_GRAPH_BUILDING : before);
		gb_invariants(b);
		good(b, scenes[i / 2].name);
		(void)gb_settle(b);
		gb_reclaim(b);
		good(b, suspect ? "and built anew" : "and gone on");
		assert_int_equal(gb_state(b), scenes[i / 2].to == mid_release ? EG_GRAPH_NONE : EG_GRAPH_READY);
		put_many(b, b->n, b->n + 700);
		(void)gb_settle(b);
		assert_int_equal(gb_state(b), EG_GRAPH_READY);
		good(b, "and grown");
		assert_int_equal(b->s->w.retired_n, 0);
		assert_int_equal(gb_close(&s), 0);
	}
}

/* A client's vectors take the place of the embedder's. */
static void test_class_changes(void **state)
{
	struct graph_bench *b = *state;

	for (uint32_t i = 0; i < 500; i++)
		gb_store(b, 0, i, 100, EG_RECORD_DERIVED);
	(void)gb_settle(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	assert_int_equal(atomic_load(&gb_graph(b)->class_), node_class(100));
	gb_put(b, 0);
	assert_null(graph_ready(&b->s->w.store, space_get(&b->s->w.store, 0)));
	(void)gb_settle(b);
	assert_int_equal(atomic_load(&gb_graph(b)->class_), node_class(GB_DIM));
	put_many(b, 0, 500);
	(void)gb_settle(b);
	gb_reclaim(b);
	assert_int_equal(gb_state(b), EG_GRAPH_READY);
	assert_int_equal(atomic_load(&gb_graph(b)->linked), 501);
	assert_int_equal(b->s->w.retired_n, 0);
}

/* A space that goes while it is worked on: its chunks serve another one at once. */
static void test_space_dropped(void **state)
{
	struct graph_bench *b = *state;

	ready(b, 500);
	for (unsigned n = 1; n < 8; n++) {
		char name[16];

		snprintf(name, sizeof name, "space-%u", n);
		bench_space(b->s, n, name);
		for (uint32_t i = 0; i < 800; i++)
			gb_store(b, n, i, GB_DIM, 0);
		/* Building; catching; with words in the ring; with dead nodes in each state of a sweep; releasing. */
		if (n < 4) {
			for (unsigned step = 0; step < n * 25; step++)
				assert_true(linker_step(&b->l));
			assert_true(b->l.job == LINK_BUILD || b->l.job == LINK_CATCH);
		} else {
			(void)gb_settle(b);
		}
		for (uint32_t i = 0; n > 2 && i < 300; i++)
			gb_store(b, n, i, GB_DIM, 0);
		for (uint32_t i = 0; n == 7 && i < 700; i++)
			gb_remove(b, n, i);
		if (n > 4)
			assert_true(step_to(b, n == 5 ? LINK_SWEEP : n == 6 ? LINK_FORGET : LINK_RELEASE));
		gb_drop_space(b, n);
		gb_reclaim(b);
		put_many(b, b->n, b->n + 100);
		gb_invariants(b);
		(void)gb_settle(b);
		gb_reclaim(b);
		assert_int_equal(b->s->w.retired_n, 0);
		assert_int_equal(atomic_load(&space_for_write(&b->s->w, n)->graph), 0);
		good(b, "another space dropped");
	}
	assert_true(atomic_load(&store_root(&b->s->w)->n_graphs) <= 2);
}

/* What the linking thread retires of a space that is dropped at that moment comes after the space. */
static void test_retired_late(void **state)
{
	struct graph_bench *b = *state;
	struct store_writer *w = &b->s->w;
	uint32_t node;

	bench_space(b->s, 1, "other");
	gb_store(b, 1, 0, GB_DIM, 0);
	node = (atomic_load(&space_for_write(w, 1)->node_head) & EG_LINK_MASK) * EG_CHUNK;
	gb_drop_space(b, 1);
	retire_node(w, node_class(GB_DIM), node, 1);
	gb_reclaim(b);
	assert_int_equal(w->retired_n, 0);
	assert_int_equal(w->spaces[1].nodes.n, 0);
}

/* The last entry is dead, and nothing lives next to it: another one takes its place at once. */
static void test_last_entry(void **state)
{
	struct graph_bench *b = *state;
	struct node_chunk *c;
	struct graph_view v;
	struct graph *g;
	uint32_t entry, living;

	ready(b, 400);
	g = gb_graph(b);
	atomic_store(&g->n_entries, 1);
	entry = atomic_load(&g->entries[0]);
	living = entry ^ 1;
	assert_true(graph_view(&b->s->w.store, atomic_load(&g->class_), &v));
	for (unsigned i = 0; i < EG_LINKS; i++)
		atomic_store((_Atomic uint32_t *)(uintptr_t)&graph_links(&v, entry)[i], EG_NODE_NONE);
	c = node_chunk_for_write(&b->s->w, atomic_load(&g->class_), entry / EG_CHUNK);
	atomic_store(&c->owner[entry % EG_CHUNK], EG_NODE_FREE);
	graph_sweep_entries(&b->s->w, g, living);
	assert_int_equal(atomic_load(&g->n_entries), 1);
	assert_int_equal(atomic_load(&g->entries[0]), living);
	/* And none, when nothing is linked that lives. */
	atomic_store(&c->owner[living % EG_CHUNK], EG_NODE_FREE);
	for (unsigned i = 0; i < EG_LINKS; i++)
		atomic_store((_Atomic uint32_t *)(uintptr_t)&graph_links(&v, living)[i], EG_NODE_NONE);
	graph_sweep_entries(&b->s->w, g, EG_NODE_NONE);
	assert_int_equal(atomic_load(&g->n_entries), 0);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
	puts("1..0 # SKIP driven by steps in one thread; wal_link_threads is for ThreadSanitizer");
	return 0;
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_build, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_catching, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_turns, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_sweep, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_drop, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_reader_holds, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_full_ring, gb_open, gb_close),
		cmocka_unit_test(test_restarts),
		cmocka_unit_test_setup_teardown(test_class_changes, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_space_dropped, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_retired_late, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_last_entry, gb_open, gb_close),
	};

	return cmocka_run_group_tests_name("wal linker", tests, NULL, NULL);
}
