/* The linking thread, apply, reclaiming and readers as threads over one mapping, for the thread
 * sanitizer: while graphs are built, swept, dropped and built again, what is stored and
 * was answered is found by every search that begins later. And the ring when it is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "common/vec.h"
#include "shm/node.h"
#include "shm/reclaim_write.h"
#include "t/unit/graph_bench.h"

#define READERS 2u
#define KEPT 80u                   /* memories that stay as they are */
#define CHANGING 340u
#define ROUNDS 4u

struct reader {
	struct graph_bench *b;
	unsigned number;
	uint64_t searched, compared, missed, wrong;
	pthread_t thread;
};

static _Atomic bool done;
static _Atomic uint32_t n_kept;            /* stored and answered */

/* A hit counts if its owner's body names it; then its vector is that of the cosine. */
static bool is(struct reader *r, const struct graph_hit *h, const float *query, const char *id)
{
	const struct store *s = &r->b->s->w.store;
	struct engram e;
	const float *v;

	if (!slot_get(s, (uint32_t)(h->owner >> 32), (uint32_t)h->owner, &e) || e.body->node != h->node)
		return false;
	v = node_vector(s, e.body);
	r->wrong += vec_dot(query, v, node_stride(e.body->class_)) != h->cosine;
	return e.body->record.id_bytes == strlen(id) && memcmp(body_id(e.body), id, strlen(id)) == 0;
}

static void look(struct reader *r, struct graph_scratch *scratch, struct epoch *epoch, uint32_t i)
{
	const struct store *s = &r->b->s->w.store;
	struct graph_hit hits[8];
	const struct graph *g;
	float query[256] = { 0 };
	char id[16];
	bool met = false;
	size_t n;

	snprintf(id, sizeof id, "m%u", i);
	memcpy(query, r->b->vector[i], sizeof r->b->vector[i]);
	epoch_enter(epoch);
	g = graph_ready(s, space_get(s, 0));
	if (g != NULL) {
		n = graph_search(s, g, scratch, query, 420, 8, hits);
		for (size_t k = 0; k < n; k++)
			met |= is(r, &hits[k], query, id);
		r->searched++;
		r->missed += !met;
	} else {
		r->compared++;
	}
	epoch_leave(epoch);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct graph_scratch scratch;
	struct epoch epoch;

	epoch_init(&epoch, &r->b->s->worker, r->number);
	graph_scratch_init(&scratch);
	for (uint32_t i = r->number; !atomic_load(&done); i += 7) {
		uint32_t n = atomic_load_explicit(&n_kept, memory_order_acquire);

		if (n > 0)
			look(r, &scratch, &epoch, i % n);
		else
			sched_yield();
	}
	graph_scratch_fini(&scratch);
	return NULL;
}

static void await_state(struct graph_bench *b, enum graph_state state)
{
	while (gb_state(b) != state)
		sched_yield();
}

static void write_on(struct graph_bench *b, unsigned round)
{
	for (uint32_t i = 0; i < CHANGING; i++) {
		gb_put(b, KEPT + i);
		if (i % 3 == 0)
			gb_put(b, KEPT + (uint32_t)(bench_random(b->s) % (i + 1)));
		if (round == 0 && i < KEPT) {
			gb_put(b, i);
			atomic_store_explicit(&n_kept, i + 1, memory_order_release);
		}
		if (i % 8 == 0)
			(void)reclaim(&b->s->w);
	}
	await_state(b, EG_GRAPH_READY);
	/* Enough for a sweep; in every second round so few are left that the graph goes. */
	for (uint32_t i = 0; i < CHANGING; i++) {
		if (b->alive[KEPT + i] && (round % 2 || i % 2))
			gb_delete(b, KEPT + i);
		if (i % 8 == 0)
			(void)reclaim(&b->s->w);
	}
	if (round % 2)
		await_state(b, EG_GRAPH_NONE);
}

static void test_all_at_once(void **state)
{
	struct graph_bench *b = *state;
	struct reader readers[READERS] = { { 0 } };
	uint64_t searched = 0;
	struct fault f;

	atomic_store(&b->s->w.graph_min, 200);
	b->l.one.ef = 40;
	assert_int_equal(linkers_start(&b->l, &f), EG_E_OK);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i].b = b;
		readers[i].number = i + 1;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned round = 0; round < ROUNDS; round++)
		write_on(b, round);
	for (uint32_t i = 0; i < CHANGING; i++)
		gb_put(b, KEPT + i);
	await_state(b, EG_GRAPH_READY);
	atomic_store(&done, true);
	for (unsigned i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_int_equal(readers[i].missed, 0);
		assert_int_equal(readers[i].wrong, 0);
		searched += readers[i].searched;
	}
	assert_true(searched > 0);
	linkers_close(&b->l);
	linkers_open(&b->l, &b->s->w, &b->s->desks, 100);
	(void)gb_settle(b);
	gb_reclaim(b);
	gb_invariants(b);
	assert_int_equal(b->s->w.retired_n, 0);
	gb_finds_all(b);
}

struct pusher { struct graph_bench *b; unsigned pushed; _Atomic bool done; pthread_t thread; };

static void *push(void *arg)
{
	struct pusher *p = arg;

	for (unsigned i = 0; i < EG_FRESH; i++)
		p->pushed += fresh_push(&p->b->s->w, EG_FRESH_WORD(77, 1, i));
	atomic_store(&p->done, true);
	return NULL;
}

/* Who finds the ring full waits, and goes on when there is room: no word is lost. */
static void test_back_pressure(void **state)
{
	struct graph_bench *b = *state;
	struct pusher p = { .b = b };
	unsigned steps = 0;

	for (unsigned i = 0; i < EG_FRESH; i++)
		assert_true(fresh_push(&b->s->w, EG_FRESH_WORD(77, 1, i)));
	assert_false(fresh_push(&b->s->w, EG_FRESH_WORD(77, 1, 0)));
	/* As linkers_start says it; the steps are ours. */
	pthread_mutex_lock(&b->s->w.fresh_lock);
	b->s->w.linking = true;
	pthread_mutex_unlock(&b->s->w.fresh_lock);
	assert_int_equal(pthread_create(&p.thread, NULL, push, &p), 0);
	while (!atomic_load(&p.done) || fresh_waiting(&b->s->w) > 0)
		steps += linker_step(&b->l);
	assert_int_equal(pthread_join(p.thread, NULL), 0);
	assert_int_equal(p.pushed, EG_FRESH);
	assert_int_equal(steps, 2 * EG_FRESH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_at_once, gb_open, gb_close),
		cmocka_unit_test_setup_teardown(test_back_pressure, gb_open, gb_close),
	};

	return cmocka_run_group_tests_name("wal link threads", tests, NULL, NULL);
}
