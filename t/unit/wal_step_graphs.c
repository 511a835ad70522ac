/* Scenes of graphs, see wal_step_scenes.c. */
#include "t/unit/wal_step.h"

#include "shm/reclaim_write.h"
#include "shm/repair_write.h"

#define DIM 24u
#define PUT(...) world_put(x, (struct step_put){ __VA_ARGS__ })

static void drain(struct step_world *x)
{
	while (reclaim(&x->w) > 0)
		;
}

/* A scene's pages are those that it leaves changed: without this the ring would end as it began. */
static void leave_one(struct step_world *x)
{
	world_settle(x);
	PUT(.id = 60, .dim = DIM, .packed = 30);
}

static void put_some(struct step_world *x, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		PUT(.id = i, .dim = DIM, .packed = 30);
}

static void delete_some(struct step_world *x, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		(void)world_log_delete(x, 0, i);
		world_apply(x);
	}
}

static void enough(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
	put_some(x, 0, 5);
	world_linker(x);
}

static void build(struct step_world *x)
{
	world_settle(x);
}

static void ready(struct step_world *x)
{
	enough(x);
	world_settle(x);
	EG_ASSERT(graph_ready(&x->w.store, space_get(&x->w.store, 0)) != NULL);
}

static void catching(struct step_world *x)
{
	enough(x);
	while (x->links.job != LINK_CATCH)
		EG_ASSERT(linker_step(&x->links));
}

static void catch_up(struct step_world *x)
{
	PUT(.id = 7, .dim = DIM, .packed = 30);
	PUT(.id = 1, .dim = DIM, .packed = 31);
	leave_one(x);
}

static void stores(struct step_world *x)
{
	PUT(.id = 8, .dim = DIM, .packed = 30);
	PUT(.id = 9, .dim = DIM, .packed = 30);
	PUT(.id = 8, .dim = DIM, .packed = 31);
	PUT(.id = 2, .dim = DIM, .packed = 32);
	delete_some(x, 3, 4);
	leave_one(x);
}

/* The ring is not empty, so nobody sleeps. */
static void ring(struct step_world *x)
{
	_Atomic bool stop = false;

	PUT(.id = 8, .dim = DIM, .packed = 30);
	EG_ASSERT(fresh_waiting(&x->w) == 1);
	fresh_wait(&x->w, &stop);
	fresh_wake(&x->w);
	leave_one(x);
}

static void with_dead(struct step_world *x)
{
	ready(x);
	put_some(x, 5, 12);
	world_settle(x);
	delete_some(x, 0, 3);
	x->links.w->looks.n = 0;
}

static void sweep(struct step_world *x)
{
	graph_look(&x->w, 0);
	while (x->links.job != LINK_SWEEP)
		EG_ASSERT(linker_step(&x->links));
	delete_some(x, 11, 12);
	world_settle(x);
	drain(x);
	PUT(.id = 20, .dim = DIM, .packed = 30);
	leave_one(x);
}

static void shrunk(struct step_world *x)
{
	ready(x);
	delete_some(x, 1, 5);
}

static void drop(struct step_world *x)
{
	world_settle(x);
	drain(x);
	PUT(.id = 1, .dim = DIM, .packed = 30);
}

static void space_drop(struct step_world *x)
{
	(void)world_log_space_delete(x, 0);
	world_apply(x);
	world_settle(x);
	drain(x);
	world_space(x, 1, "second", 0);
	PUT(.space = 1, .id = 0, .dim = DIM, .packed = 30);
}

static void derived(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
	for (uint32_t i = 0; i < 5; i++)
		PUT(.id = i, .dim = 32, .packed = 30, .flags = EG_RECORD_DERIVED);
	world_linker(x);
	world_settle(x);
}

static void other_class(struct step_world *x)
{
	PUT(.id = 1, .dim = 70, .packed = 30);
	world_settle(x);
	drain(x);
	PUT(.id = 2, .dim = 70, .packed = 30);
	world_settle(x);
	PUT(.id = 3, .dim = 70, .packed = 30);
}

/* Another space's words, which nobody takes out: a replay. */
static void full_ring(struct step_world *x)
{
	ready(x);
	for (unsigned i = 0; i < EG_FRESH; i++)
		EG_ASSERT(fresh_push(&x->w, EG_FRESH_WORD(77, 1, 1)));
}

static void overflow(struct step_world *x) { PUT(.id = 9, .dim = DIM, .packed = 30); }

/* Dead nodes, nodes in the ring, one of them deleted, and one half linked. */
static void left_behind(struct step_world *x)
{
	with_dead(x);
	put_some(x, 13, 16);
	delete_some(x, 13, 14);
	linkers_close(&x->links);
	store_close(&x->w);
}

static void take_over(struct step_world *x)
{
	world_adopt(x, false);
	world_linker(x);
	world_settle(x);
	linkers_close(&x->links);          /* and begun again: all that it knows stands in the store */
	world_linker(x);
	world_settle(x);
	drain(x);
	leave_one(x);
}

static void distrust(struct step_world *x)
{
	struct repair_report r;
	struct fault f;

	EG_ASSERT(store_adopt(&x->w, &x->desks, x->prefix, x->uuid, false, &f) == EG_E_OK);
	graph_distrust(&x->w);
	EG_ASSERT(store_repair(&x->w, true, &r, &f) == EG_E_OK && r.graphs_dropped == 1);
	x->replay = (struct replay){ .w = &x->w };
	drain(x);
}

const struct step_scene step_graphs[] = {
	{ "a graph is built", STEP_GRAPH, enough, build },
	{ "a graph is caught up with", STEP_GRAPH, catching, catch_up },
	{ "stores to a space with a graph", STEP_GRAPH, ready, stores },
	{ "the ring of fresh nodes", STEP_GRAPH, ready, ring },
	{ "a sweep", STEP_GRAPH, with_dead, sweep },
	{ "a graph dropped", STEP_GRAPH | STEP_BRIEF, shrunk, drop },
	{ "a space with a graph dropped", STEP_GRAPH, ready, space_drop },
	{ "a graph of another class", STEP_GRAPH, derived, other_class },
	{ "the ring is full", STEP_GRAPH | STEP_BRIEF, full_ring, overflow },
	{ "a graph taken over", STEP_GRAPH, left_behind, take_over },
	{ "a graph not trusted", STEP_GRAPH, left_behind, distrust },
};
const unsigned n_step_graphs = sizeof step_graphs / sizeof step_graphs[0];
