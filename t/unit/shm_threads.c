/* Readers and the writer as threads over one mapping, for the thread sanitizer:
 * it cannot see from one process into another, so the same code runs in one.
 * Nothing that a reader meets within its epoch is used again under its eyes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shm/node.h"
#include "shm/reclaim_write.h"
#include "t/unit/shm_bench.h"

#define READERS 3u
#define MEMORIES 40u
#define STEPS 20000u

struct reader {
	struct shm_bench *b;
	unsigned number;
	uint64_t met, bad;
	pthread_t thread;
};

static _Atomic bool done;

/* What one memory shows must be of one version, whatever is stored meanwhile. */
static void look(struct reader *r, const struct engram *e)
{
	const struct body *b = e->body;
	const float *v = node_vector(&r->b->w.store, b);

	r->met++;
	if (b->magic != EG_BODY_MAGIC || b->record.version != b->record.lsn || b->slot != e->number
	    || b->generation != e->generation || v == NULL || v[3] != 1.0f || v[4] != 0.0f)
		r->bad++;
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	const struct space *sp = space_get(&r->b->w.store, 0);
	struct epoch epoch;

	epoch_init(&epoch, &r->b->worker, r->number);
	while (!atomic_load(&done)) {
		struct slot_walk walk;
		struct engram e;
		char id[16];

		epoch_enter(&epoch);
		slot_walk(&r->b->w.store, sp, &walk);
		while (slot_next(&walk, &e))
			look(r, &e);
		for (unsigned i = 0; i < MEMORIES; i += 7) {
			snprintf(id, sizeof id, "m%u", i);
			if (slot_find(&r->b->w.store, sp, id, strlen(id), &e)) {
				look(r, &e);
				desk_access_note(&r->b->worker, e.number, e.generation, EG_ACCESS_READ, i);
			}
		}
		epoch_leave(&epoch);
	}
	return NULL;
}

/* What the wal process does with a ring of access events (wal/upkeep.c). */
static uint64_t fold(struct shm_bench *b, uint64_t at, uint64_t *live)
{
	uint64_t head = atomic_load_explicit(desk_access_head(&b->desks, EG_DESK_FIRST), memory_order_acquire);

	for (at = head - at > EG_ACCESS_RING ? head - EG_ACCESS_RING : at; at < head; at++) {
		struct access_event *a = &desk_access(&b->desks, EG_DESK_FIRST)[at % EG_ACCESS_RING];
		uint64_t seq = atomic_load_explicit(&a->seq, memory_order_acquire), ref;
		struct engram e;

		ref = atomic_load_explicit(&a->ref, memory_order_relaxed);
		*live += seq == at + 1 && slot_get(&b->w.store, (uint32_t)(ref >> 32), (uint32_t)ref, &e);
	}
	return at;
}

static void test_readers_and_writer(void **state)
{
	struct shm_bench *b = *state;
	struct bench_memory m[MEMORIES] = { 0 };
	struct reader readers[READERS] = { { 0 } };
	uint64_t at = 0, live = 0;

	for (unsigned i = 0; i < READERS; i++) {
		readers[i].b = b;
		readers[i].number = i + 1;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned k = (unsigned)(bench_random(b) % MEMORIES);
		char id[16];

		snprintf(id, sizeof id, "m%u", k);
		if (m[k].body != 0) {
			bench_delete(b, &m[k]);
			m[k].body = 0;
		} else {
			m[k] = bench_store(b, 0, id, step + 1);
		}
		if (step % 4 == 0)
			(void)reclaim(&b->w);
		if (step % 100 == 0)
			at = fold(b, at, &live);
	}
	atomic_store(&done, true);
	for (unsigned i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_true(readers[i].met > 0);
		assert_int_equal(readers[i].bad, 0);
	}
	assert_true(live > 0);
	while (reclaim(&b->w) > 0)
		;
	assert_true(b->w.heap.n_chunks < 16);      /* it was used again, not grown */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_readers_and_writer, bench_open, bench_close),
	};

	return cmocka_run_group_tests_name("shm threads", tests, NULL, NULL);
}
