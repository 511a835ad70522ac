/* The store's writing side in one process: the heap's allocator against a model,
 * id tables, reuse under a reader's epoch, and repair of half-made states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hash.h"
#include "shm/epoch.h"
#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/repair_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "t/unit/shm_bench.h"

/* ---- the heap ----------------------------------------------------------------- */

#define BLOCKS 600u

struct model { uint64_t offset; size_t n; uint8_t mark; };

static size_t random_size(struct shm_bench *b)
{
	switch (bench_random(b) % 8) {
	case 0:
		return 128 * 1024 - 64 + bench_random(b) % 128;      /* about the largest small block */
	case 1:
		return 200 * 1024 + bench_random(b) % (900 * 1024);  /* runs of chunks */
	default:
		return 1 + bench_random(b) % (UINT64_C(64) << bench_random(b) % 11);
	}
}

static void fill(struct shm_bench *b, struct model *m)
{
	uint8_t *at = region_for_write(&b->w.store.heap, m->offset, m->n);

	m->mark = (uint8_t)bench_random(b);
	memset(at, m->mark, m->n);
}

static void check(struct shm_bench *b, const struct model *m)
{
	const uint8_t *at = region_at(&b->w.store.heap, m->offset, m->n);

	for (size_t i = 0; i < m->n; i++)
		assert_int_equal(at[i], m->mark);
}

/* Blocks never overlap (each keeps what was written), whatever is freed between;
 * a scan of what is live finds everything else free again. */
static void test_heap(void **state)
{
	struct shm_bench *b = *state;
	struct heap *h = &b->w.heap;
	struct model m[BLOCKS] = { 0 };
	struct fault f;
	uint64_t live = 0;

	heap_scan_begin(h);                        /* the space's id table is not needed here */
	heap_scan_end(h);
	for (unsigned step = 0; step < 20000; step++) {
		struct model *k = &m[bench_random(b) % BLOCKS];

		if (k->offset != 0) {
			check(b, k);
			heap_free(h, k->offset, k->n);
			live -= heap_block_bytes(k->n);
			k->offset = 0;
		} else {
			k->n = random_size(b);
			assert_int_equal(heap_alloc(h, k->n, &k->offset, &f), EG_E_OK);
			assert_int_equal(k->offset % 64, 0);
			assert_true(heap_block_bytes(k->n) >= k->n);
			live += heap_block_bytes(k->n);
			fill(b, k);
		}
		assert_int_equal(h->live_bytes, live);
		if (step % 5000 == 4999) {
			uint32_t chunks = h->n_chunks;

			heap_scan_begin(h);
			for (unsigned i = 0; i < BLOCKS; i++)
				if (m[i].offset != 0)
					heap_scan_mark(h, m[i].offset, m[i].n);
			heap_scan_end(h);
			assert_int_equal(h->live_bytes, live);
			assert_true(h->n_chunks >= chunks);
		}
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		if (m[i].offset != 0)
			check(b, &m[i]);
}

/* ---- id tables ------------------------------------------------------------------- */

#define IDS 3000u

static void test_ids(void **state)
{
	struct shm_bench *b = *state;
	bool there[IDS] = { false };
	struct fault f;

	for (unsigned step = 0; step < 40000; step++) {
		uint32_t n = (uint32_t)(bench_random(b) % IDS);
		uint64_t key = hash_mix(n % 1500);         /* two numbers share a key */

		if (there[n]) {
			assert_true(ids_remove(&b->w, 0, key, n));
			assert_false(ids_remove(&b->w, 0, key, n));
		} else {
			if (!ids_has_room(&b->w, 0))
				assert_int_equal(ids_grow(&b->w, 0, &f), EG_E_OK);
			ids_insert(&b->w, 0, key, n);
		}
		there[n] = !there[n];
		(void)reclaim(&b->w);
	}
	for (uint32_t n = 0; n < IDS; n++) {
		struct ids_probe p;
		uint32_t got, met = 0;

		assert_int_equal(ids_has(&b->w, 0, hash_mix(n % 1500), n), there[n]);
		ids_probe(&b->w.store, 0, hash_mix(n % 1500), &p);
		while ((got = ids_next(&p)) != EG_NONE)
			met += got == n;
		assert_int_equal(met, there[n]);
	}
}

/* ---- reuse ------------------------------------------------------------------------- */

/* Nothing is used again while a reader may look at it, and everything afterwards. */
static void test_reuse(void **state)
{
	struct shm_bench *b = *state;
	struct bench_memory old = bench_store(b, 0, "a", 1), new;
	struct epoch *reader = &b->reader;
	struct engram e;

	epoch_enter(reader);
	assert_true(slot_get(&b->w.store, old.slot, old.generation, &e));
	bench_delete(b, &old);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(reclaim(&b->w), 3);       /* node, body, slot */
	assert_int_equal(e.body->magic, EG_BODY_MAGIC);
	assert_false(slot_get(&b->w.store, old.slot, old.generation, &e));
	new = bench_store(b, 0, "b", 2);
	assert_int_not_equal(new.slot, old.slot);
	assert_int_not_equal(new.body, old.body);
	assert_int_not_equal(new.node, old.node);
	epoch_leave(reader);
	epoch_enter(reader);                               /* a later reader is in no one's way */
	assert_int_equal(reclaim(&b->w), 0);
	new = bench_store(b, 0, "c", 3);
	assert_int_equal(new.slot, old.slot);
	assert_int_equal(new.generation, old.generation + 1);
	assert_int_equal(new.body, old.body);
	assert_int_equal(new.node, old.node);
	assert_false(slot_get(&b->w.store, old.slot, old.generation, &e));
	epoch_leave(reader);
}

/* A process that was reaped does not count, whatever its slots show. */
static void test_dead_reader(void **state)
{
	struct shm_bench *b = *state;
	struct bench_memory m = bench_store(b, 0, "a", 1);

	epoch_enter(&b->reader);
	bench_delete(b, &m);
	assert_int_equal(reclaim(&b->w), 3);
	atomic_store(&desk_master(&b->desks)->seats[EG_DESK_FIRST].state, EG_DESK_DEAD);
	assert_int_equal(reclaim(&b->w), 0);
	epoch_leave(&b->reader);
}

/* ---- repair -------------------------------------------------------------------------- */

static void test_repair(void **state)
{
	struct shm_bench *b = *state;
	struct bench_memory kept[40], half, gone, lost, replaced;
	struct repair_report r;
	struct fault f;
	char id[16];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "k%u", i);
		kept[i] = bench_store(b, 0, id, i + 1);
	}
	/* FILLING, with its vector and owner written. */
	half = bench_reserve(b, 0, "half", 50);
	node_publish(&b->w, half.class_, half.node, b->vector, EG_BENCH_DIM, half.slot, half.generation);
	/* RETIRED, its id word still there. */
	gone = bench_store(b, 0, "gone", 51);
	slot_unpublish(&b->w, gone.slot);
	/* LIVE above the applied LSN, without its id word. */
	lost = bench_store(b, 0, "lost", 52);
	assert_true(ids_remove(&b->w, (unsigned)(lost.key % EG_SHARDS), lost.key, lost.slot));
	/* A new version whose old node still names the slot. */
	replaced = bench_store(b, 0, "re", 53);
	{
		struct bench_memory v2 = bench_reserve_version(b, 0, "re", 54, &replaced);

		node_publish(&b->w, v2.class_, v2.node, b->vector, EG_BENCH_DIM, v2.slot, v2.generation);
		bench_write_body(b, &v2, 0, "re", 54);
		(void)slot_replace(&b->w, v2.slot, v2.body);
		replaced.body = v2.body;
		replaced.node = v2.node;
	}
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_OK);
	assert_int_equal(r.live, 42);
	assert_int_equal(r.freed_slots, 2);
	assert_int_equal(r.added_ids, 1);
	assert_int_equal(r.removed_ids, 1);
	assert_int_equal(r.freed_nodes, 3);                /* half's, gone's, re's old one */
	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "k%u", i);
		assert_true(bench_finds(b, 0, id, kept[i].body));
	}
	assert_true(bench_finds(b, 0, "lost", lost.body));
	assert_true(bench_finds(b, 0, "re", replaced.body));
	assert_false(bench_finds(b, 0, "half", 0));
	assert_false(bench_finds(b, 0, "gone", 0));
	/* A second repair finds nothing, and what is free can be used. */
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_OK);
	assert_int_equal(r.live, 42);
	assert_int_equal(r.freed_slots + r.freed_nodes + r.removed_ids + r.added_ids, 0);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "n%u", i);
		(void)bench_store(b, 0, id, 100 + i);
	}
	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "k%u", i);
		assert_true(bench_finds(b, 0, id, kept[i].body));
	}
}

/* Killed between the two words that publish a space: it counts, with its chunks. */
static void test_repair_last_space(void **state)
{
	struct shm_bench *b = *state;
	struct root *root = store_root(&b->w);
	struct repair_report r;
	struct bench_memory m;
	struct fault f;

	bench_space(b, 1, "second");
	m = bench_reserve(b, 1, "x", 9);
	(void)m;
	atomic_store(&root->n_spaces, 1);
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_OK);
	assert_int_equal(atomic_load(&root->n_spaces), 2);
	assert_non_null(space_find(&b->w.store, "second", 6));
	assert_int_equal(space_reserve(&b->w, 1, &f), EG_E_OK);     /* as the replay of its record does */
	for (unsigned i = 0; i < 100; i++) {
		char id[16];
		struct bench_memory one, two;

		snprintf(id, sizeof id, "s%u", i);
		one = bench_store(b, 0, id, 100 + i);
		two = bench_store(b, 1, id, 300 + i);
		assert_int_not_equal(one.slot / EG_CHUNK, two.slot / EG_CHUNK);
		assert_int_not_equal(one.node / EG_CHUNK, two.node / EG_CHUNK);
	}
}

/* A space that was dropped by half: its chunks serve another one. */
static void test_repair_dropped_space(void **state)
{
	struct shm_bench *b = *state;
	struct repair_report r;
	struct fault f;
	char id[16];

	bench_space(b, 1, "second");
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof id, "d%u", i);
		(void)bench_store(b, 1, id, i + 1);
	}
	space_unpublish(&b->w, 1, 60);
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_OK);
	assert_int_equal(r.live, 0);
	assert_int_equal(r.freed_slots, 50);
	assert_int_equal(atomic_load(&store_root(&b->w)->counts.memories), 0);
	assert_int_equal(b->w.slot_chunks.n, 4);
	assert_null(space_find(&b->w.store, "second", 6));
}

/* A chunk that was numbered but not linked is free; a slot whose body is none stops. */
static void test_repair_chunks(void **state)
{
	struct shm_bench *b = *state;
	struct bench_memory m = bench_store(b, 0, "a", 1);
	struct repair_report r;
	struct fault f;

	bench_space(b, 1, "second");
	(void)bench_reserve(b, 1, "x", 9);
	atomic_store(&space_for_write(&b->w, 1)->slot_head, EG_NONE);
	atomic_store(&space_for_write(&b->w, 1)->node_head, EG_NONE);
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_OK);
	assert_int_equal(r.freed_chunks, 2);
	((struct body *)region_for_write(&b->w.store.heap, m.body, 64))->magic = 0;
	bench_new_writer(b);
	assert_int_equal(store_repair(&b->w, false, &r, &f), EG_E_INTERNAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)
	const struct CMUnitTest tests[] = {
		T(test_heap), T(test_ids), T(test_reuse), T(test_dead_reader), T(test_repair),
		T(test_repair_last_space), T(test_repair_dropped_space), T(test_repair_chunks),
	};

	return cmocka_run_group_tests_name("shm store", tests, NULL, NULL);
}
