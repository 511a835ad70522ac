/* What killstep steps through. Every function of a *_write.h must be in one of these
 * (wal_killstep says which is not); add a row for each new way through one. */
#include "t/unit/wal_step.h"

#include <string.h>

#include "shm/ids_write.h"
#include "shm/node.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/region_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/apply.h"

#define DIM 24u
#define PUT(...) world_put(x, (struct step_put){ __VA_ARGS__ })

static void must(enum err e) { EG_ASSERT(e == EG_E_OK); }

static void nothing(struct step_world *x) { (void)x; }

/* Three memories in the first space, one of them without a vector. */
static void few(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
	PUT(.id = 0, .dim = DIM, .packed = 30);
	PUT(.id = 1, .dim = DIM, .packed = 90);
	PUT(.id = 2, .packed = 10);
}

static void one_space(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
}

static void create(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
}

static void put_first(struct step_world *x) { PUT(.id = 0, .dim = DIM, .packed = 40); }
static void put_next(struct step_world *x) { PUT(.id = 3, .dim = DIM, .packed = 40); }
static void put_plain(struct step_world *x) { PUT(.id = 4, .packed = 300); }

static void overwrite(struct step_world *x)
{
	PUT(.id = 1, .dim = DIM, .packed = 20);
	PUT(.id = 1, .packed = 21);
	PUT(.id = 1, .dim = DIM, .packed = 22);
}

static void derived(struct step_world *x)
{
	world_create(x);
	world_space(x, 0, "first", 0);
	PUT(.id = 0, .dim = 32, .packed = 30, .flags = EG_RECORD_DERIVED);
	PUT(.id = 1, .dim = 32, .packed = 30, .flags = EG_RECORD_DERIVED);
}

/* A client's vectors take the place of the embedder's: another class. */
static void other_dimension(struct step_world *x)
{
	PUT(.id = 1, .dim = 70, .packed = 30);
	PUT(.id = 0, .dim = 70, .packed = 30);
	(void)reclaim(&x->w);
	(void)reclaim(&x->w);
	PUT(.id = 5, .dim = 70, .packed = 30);
}

static void delete(struct step_world *x)
{
	(void)world_log_delete(x, 0, 1);
	world_apply(x);
	(void)world_log_delete(x, 0, 2);
	world_apply(x);
}

static void drain(struct step_world *x)
{
	while (reclaim(&x->w) > 0)
		;
}

static void delete_reclaim(struct step_world *x)
{
	delete(x);
	drain(x);
	PUT(.id = 1, .dim = DIM, .packed = 90);
}

/* Nothing that the reader holds is used again while it stays. */
static void held(struct step_world *x)
{
	few(x);
	world_hold(x, 0, 0);
	world_hold(x, 0, 1);
	world_hold(x, 0, 2);
}

static void reuse_under_reader(struct step_world *x)
{
	delete(x);
	PUT(.id = 0, .dim = DIM, .packed = 31);
	(void)reclaim(&x->w);
	(void)reclaim(&x->w);
	PUT(.id = 6, .dim = DIM, .packed = 90);
	PUT(.id = 7, .packed = 10);
	(void)reclaim(&x->w);
	PUT(.id = 8, .dim = DIM, .packed = 31);
	world_let_go(x);
	drain(x);
	PUT(.id = 9, .dim = DIM, .packed = 90);
}

static void space_more(struct step_world *x)
{
	world_space(x, 1, "second", 9);
	world_space(x, 1, "second", 11);
	PUT(.space = 1, .id = 0, .dim = DIM, .packed = 30);
}

static void two_spaces(struct step_world *x)
{
	few(x);
	world_space(x, 1, "second", 0);
	for (uint32_t i = 0; i < 18; i++)
		PUT(.space = 1, .id = i, .dim = DIM, .packed = 30);
}

static void space_drop(struct step_world *x)
{
	(void)world_log_space_delete(x, 1);
	world_apply(x);
	drain(x);
	world_space(x, 2, "third", 0);
	PUT(.space = 2, .id = 0, .dim = DIM, .packed = 30);
}

static void space_taken_back(struct step_world *x)
{
	struct step_put p = { .space = 0, .id = 20, .dim = DIM, .packed = 30 };
	uint32_t slot, generation, node;
	struct fault f;

	must(space_reserve(&x->w, 1, &f));
	must(slot_reserve(&x->w, 1, &slot, &generation, &f));
	must(node_reserve(&x->w, 1, DIM, &node, &f));
	node_free(&x->w, node_class(DIM), node, 1);
	slot_free(&x->w, slot, 1);
	space_unreserve(&x->w, 1);
	world_put(x, p);
	world_space(x, 1, "second", 0);
	PUT(.space = 1, .id = 0, .dim = DIM, .packed = 30);
}

/* 48 memories of one shard: the next one needs a larger table. */
static void full_table(struct step_world *x)
{
	char name[24];

	one_space(x);
	for (uint32_t i = 0, n = 0; n < 48; i++) {
		world_id(name, i);
		if (record_key("first", 5, name, strlen(name)) % EG_SHARDS != 3)
			continue;
		PUT(.id = i, .packed = 20);
		n++;
	}
}

static void table_grows(struct step_world *x)
{
	uint32_t i = (uint32_t)x->s->ids_tried;
	char name[24];
	struct fault f;

	do
		world_id(name, ++i);
	while (record_key("first", 5, name, strlen(name)) % EG_SHARDS != 3);
	PUT(.id = i, .packed = 20);
	must(ids_grow(&x->w, EG_SHARDS, &f));
	drain(x);
}

/* Logged before, for it is the copy into the heap that is of interest. */
static void large_logged(struct step_world *x)
{
	few(x);
	(void)world_log_put(x, (struct step_put){ .id = 9, .dim = DIM, .packed = 132 << 10 });
}

static void large(struct step_world *x) { world_apply(x); }

static void large_before(struct step_world *x)
{
	few(x);
	PUT(.id = 9, .packed = 300 << 10);
}

/* A run of chunks comes back and is cut into small blocks and other runs. */
static void split_and_join(struct step_world *x)
{
	uint64_t a, b, c;
	struct fault f;

	(void)world_log_delete(x, 0, 9);
	world_apply(x);
	drain(x);
	must(heap_alloc(&x->w.heap, 100 << 10, &a, &f));
	must(heap_alloc(&x->w.heap, 200 << 10, &b, &f));
	must(heap_alloc(&x->w.heap, 90 << 10, &c, &f));
	heap_free(&x->w.heap, b, 200 << 10);
	heap_free(&x->w.heap, a, 100 << 10);
	must(heap_alloc(&x->w.heap, 500 << 10, &b, &f));
	heap_free(&x->w.heap, c, 90 << 10);
	heap_free(&x->w.heap, b, 500 << 10);
	PUT(.id = 10, .packed = 90);
}

static void heap_grows(struct step_world *x)
{
	uint64_t at[8];
	struct fault f;

	for (unsigned i = 0; i < 8; i++)
		must(heap_alloc(&x->w.heap, 300 << 10, &at[i], &f));
	PUT(.id = 11, .packed = 2000);
}

/* All the vectors that the region holds are taken. */
static void vectors_full(struct step_world *x)
{
	uint32_t node;
	struct fault f;

	few(x);
	world_space(x, 1, "wide", 0);
	for (unsigned i = 0; i < 32 * EG_CHUNK; i++)
		must(node_reserve(&x->w, 1, 1024, &node, &f));
}

static void vectors_grow(struct step_world *x) { PUT(.space = 1, .id = 0, .dim = 1000, .packed = 30); }

static void slots_full(struct step_world *x)
{
	uint32_t slot, generation, chunk;
	struct fault f;

	few(x);
	do {
		must(slot_reserve(&x->w, 0, &slot, &generation, &f));
		chunk = atomic_load(&store_root(&x->w)->n_slot_chunks);
	} while (x->w.spaces[0].slots.n > 0
	         || (chunk + 1) * sizeof(struct slot_chunk) <= region_grown(&x->w.store.slot));
}

/* As a round does it: all is reserved, then all is applied, then shards move on. */
static void round_of_three(struct step_world *x)
{
	struct plan p[3] = { { .fresh = true }, { .fresh = true }, { .fresh = false } }, gone = { .fresh = true };
	const struct record *r[3];
	struct engram e;
	char name[24];
	struct fault f;

	for (uint32_t i = 0; i < 3; i++) {
		r[i] = world_log_put(x, (struct step_put){ .id = i == 2 ? 1 : 30 + i, .dim = DIM, .packed = 30 + i });
		p[i].record = r[i];
		world_id(name, 1);
		EG_ASSERT(slot_find(&x->w.store, space_get(&x->w.store, 0), name, strlen(name), &e));
		p[i].slot = e.number;
		p[i].generation = e.generation;
		if (p[i].fresh && !ids_has_room(&x->w, r[i]->shard))
			must(ids_grow(&x->w, r[i]->shard, &f));
		must(plan_reserve(&x->w, &p[i], r[i], &f));
	}
	must(plan_reserve(&x->w, &gone, r[0], &f));
	plan_undo(&x->w, &gone, r[0]);
	/* Shards are of different threads: the last record may be the first to be applied. */
	EG_ASSERT(r[0]->shard != r[2]->shard && r[1]->shard != r[2]->shard && r[0]->shard != r[1]->shard);
	for (unsigned i = 3; i-- > 0;) {
		apply_plan(&x->w, &p[i]);
		atomic_store(&store_root(&x->w)->applied_lsn[r[i]->shard], r[i]->lsn);
	}
	for (unsigned s = 0; s < EG_SHARDS; s++)
		atomic_store(&store_root(&x->w)->applied_lsn[s], x->s->last_lsn);
	x->s->n_applied = x->n_seen = x->s->n_logged;
}

/* Entry 6 died with its writer before it was closed; entry 7 is whole. */
static void batch(struct step_world *x)
{
	static const struct step_put parts[] = {
		{ .id = 41, .dim = DIM, .packed = 32, .flags = EG_RECORD_PART, .entry = 6 },
		{ .id = 0, .dim = DIM, .packed = 33, .flags = EG_RECORD_PART, .entry = 7 },
		{ .id = 40, .dim = DIM, .packed = 34, .flags = EG_RECORD_PART, .entry = 7 },
	};

	for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		(void)world_log_put(x, parts[i]);
		world_apply(x);
	}
	(void)world_log_commit(x, 7, 2);
	world_apply(x);
}

/* Deleted and stored again, in one life: replay of it all must not lose it on the way. */
static void comes_back(struct step_world *x)
{
	(void)world_log_delete(x, 0, 1);
	world_apply(x);
	PUT(.id = 1, .dim = DIM, .packed = 91);
	PUT(.id = 1, .dim = DIM, .packed = 92);
	drain(x);
	x->n_seen = 0;
	for (unsigned s = 0; s < EG_SHARDS; s++)
		atomic_store(&store_root(&x->w)->applied_lsn[s], 0);
	world_apply(x);
}

static void closed(struct step_world *x)
{
	few(x);
	store_close(&x->w);
}

/* A clean end, taken over: nothing to mend. */
static void take_over(struct step_world *x) { world_adopt(x, true); }

/* As a killed writer leaves it, in many places at once. */
static void mess(struct step_world *x)
{
	struct plan half = { .fresh = true }, written = { .fresh = true };
	const struct record *r;
	struct engram e;
	struct fault f;
	char name[24];

	two_spaces(x);
	world_space(x, 2, "third", 0);
	PUT(.space = 2, .id = 0, .dim = DIM, .packed = 30);
	r = world_log_put(x, (struct step_put){ .id = 50, .dim = DIM, .packed = 30 });
	must(plan_reserve(&x->w, &half, r, &f));
	r = world_log_put(x, (struct step_put){ .id = 51, .dim = DIM, .packed = 30 });
	must(ids_has_room(&x->w, r->shard) ? EG_E_OK : ids_grow(&x->w, r->shard, &f));
	must(plan_reserve(&x->w, &written, r, &f));
	written.record = r;
	apply_plan(&x->w, &written);
	EG_ASSERT(ids_remove(&x->w, r->shard, r->key, written.slot));
	r = world_log_delete(x, 0, 1);
	world_id(name, 1);
	EG_ASSERT(slot_find(&x->w.store, space_get(&x->w.store, 0), name, strlen(name), &e));
	slot_unpublish(&x->w, e.number);
	r = world_log_space_delete(x, 1);
	space_unpublish(&x->w, 1, r->lsn);
	store_close(&x->w);
}

static void repair_and_replay(struct step_world *x)
{
	world_adopt(x, false);
	world_apply(x);
	drain(x);
}

static void repair_verified(struct step_world *x)
{
	world_adopt(x, true);
	store_close(&x->w);
}

const struct step_scene step_scenes[] = {
	{ "repair of many halves", 0, mess, repair_and_replay },
	{ "repair, verified", 0, mess, repair_verified },
	{ "a space dropped, its chunks reused", 0, two_spaces, space_drop },
	{ "a table of ids grows", 0, full_table, table_grows },
	{ "a large body", 0, large_logged, large },
	{ "large blocks split and joined", 0, large_before, split_and_join },
	{ "the heap grows", 0, few, heap_grows },
	{ "vectors grow", 0, vectors_full, vectors_grow },
	{ "slots grow", 0, slots_full, put_next },
	{ "a clean store taken over", 0, closed, take_over },
	{ "a store made", STEP_NEW, nothing, create },
	{ "first memory", STEP_BRIEF, one_space, put_first },
	{ "next memory", STEP_BRIEF, few, put_next },
	{ "a memory without vector", STEP_BRIEF, few, put_plain },
	{ "new versions", STEP_BRIEF, few, overwrite },
	{ "another dimension", 0, derived, other_dimension },
	{ "deletions", STEP_BRIEF, few, delete },
	{ "deletions, reclaimed and reused", 0, few, delete_reclaim },
	{ "reuse while a reader looks", 0, held, reuse_under_reader },
	{ "spaces made and changed", 0, few, space_more },
	{ "a space taken back", 0, few, space_taken_back },
	{ "a round of three", STEP_BRIEF, few, round_of_three },
	{ "a memory comes back", 0, few, comes_back },
	{ "a batch", STEP_BRIEF, few, batch },
};
const unsigned n_step_scenes = sizeof step_scenes / sizeof step_scenes[0];
