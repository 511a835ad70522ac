/* Senders, the log thread's taking and the apply threads' answering, as threads
 * over one mapping, for the thread sanitizer: a lane's bytes go over, an answer
 * comes back, and both are used again many times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "t/unit/shm_bench.h"
#include "wal/appliers.h"
#include "wal/lanes.h"

#define SENDERS 2u
#define ENTRIES 6000u              /* more than there are cells, and than a lane holds */

struct sender { struct shm_bench *b; unsigned lane, bad; pthread_t thread; };

static void *send(void *arg)
{
	struct sender *s = arg;
	struct submit lane;
	uint8_t packed[700];

	submit_init(&lane, &s->b->worker, s->lane);
	for (unsigned i = 0; i < ENTRIES; i++) {
		struct draft d = { .space_id = "x", .space_id_bytes = 1, .id = "", .packed = packed };
		struct ticket t;
		struct fault f;
		enum err err;
		uint64_t lsn;
		bool durable;

		memset(packed, (int)(i % 251), sizeof packed);
		d.head.type = EG_RECORD_PUT;
		d.head.packed_bytes = i % sizeof packed;
		draft_seal(&d);
		if (submit_push(&lane, &d, 1, 0, 60000, &t, &f) != EG_E_OK) {
			s->bad++;
			break;
		}
		while (!submit_poll(&t, &err, &lsn, &durable))
			sched_yield();
		s->bad += err != EG_E_OK || lsn != (i + 1) * UINT64_C(3) || !durable
		          || submit_outcome(&t, 0).version != i % 251;
		submit_forget(&t);
	}
	submit_fini(&lane);
	return NULL;
}

/* In the place of admission: the answer says what was in the lane. */
static void answer(struct shm_bench *b, struct round *r)
{
	for (unsigned i = 0; i < r->n_entries; i++) {
		struct entry *e = &r->entries[i];
		struct lane_result *to = &desk_answers(&b->desks, e->desk, e->lane)
			->results[e->first_result % EG_LANE_RESULTS];
		const struct record *rec = (const struct record *)(const void *)
			(e->data + sizeof(struct lane_entry) + sizeof(struct lane_op));
		uint64_t first = rec->packed_bytes ? *record_packed(rec) : (e->seq - 1) % 251;

		e->lsn = e->seq * 3;
		atomic_store_explicit(&to->version, first << 1, memory_order_relaxed);
		atomic_store_explicit(&to->err, EG_E_OK, memory_order_relaxed);
	}
	r->durable = true;
}

static void test_lanes(void **state)
{
	struct shm_bench *b = *state;
	struct sender senders[SENDERS] = { { 0 } };
	static struct appliers appliers;
	static struct lanes lanes;
	struct fault f;
	unsigned taken = 0;

	assert_int_equal(appliers_open(&appliers, &b->w, &b->desks, 2, &f), EG_E_OK);
	lanes_open(&lanes, &b->desks);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i].b = b;
		senders[i].lane = i;
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send, &senders[i]), 0);
	}
	while (taken < SENDERS * ENTRIES) {
		struct round *r = appliers_round(&appliers);

		round_begin(r);
		lanes_begin(&lanes);
		if (lanes_gather(&lanes, r) == 0) {
			r->busy = false;
			sched_yield();
			continue;
		}
		taken += r->n_entries;
		answer(b, r);
		appliers_run(&appliers, r);
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_int_equal(senders[i].bad, 0);
	}
	appliers_wait(&appliers);
	assert_true(lanes_drain(&lanes, EG_DESK_FIRST));
	appliers_close(&appliers);
}

/* Entries of several lanes are taken in the order of their stamps. */
static void test_stamps(void **state)
{
	static const unsigned order[] = { 1, 0, 0, 1, 0, 1, 1, 0 };
	const unsigned n = sizeof order / sizeof order[0];
	struct shm_bench *b = *state;
	static struct submit sender[SENDERS];
	static struct lanes lanes;
	struct round r;
	struct fault f;

	lanes_open(&lanes, &b->desks);
	for (unsigned i = 0; i < SENDERS; i++)
		submit_init(&sender[i], &b->worker, i);
	for (unsigned i = 0; i < n; i++) {
		struct draft d = { .space_id = "x", .space_id_bytes = 1, .id = "" };
		struct ticket t;

		d.head.type = EG_RECORD_PUT;
		draft_seal(&d);
		assert_int_equal(submit_push(&sender[order[i]], &d, 1, 0, 1000, &t, &f), EG_E_OK);
	}
	round_init(&r);
	round_begin(&r);
	lanes_begin(&lanes);
	assert_int_equal(lanes_gather(&lanes, &r), n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(r.entries[i].lane, order[i]);
	round_fini(&r);
	for (unsigned i = 0; i < SENDERS; i++)
		submit_fini(&sender[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lanes, bench_open, bench_close),
		cmocka_unit_test_setup_teardown(test_stamps, bench_open, bench_close),
	};

	return cmocka_run_group_tests_name("wal threads", tests, NULL, NULL);
}
