/* The overlay against a plain list: what was promised last is found, undo takes
 * back the newest, and what is visible leaves in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "wal/overlay.h"

#define SEED UINT64_C(0x0e71a9)
#define STEPS 60000u
#define IDS 300u

static struct promise list[STEPS];
static size_t first, next;
static _Atomic uint64_t applied[EG_SHARDS + 1];
static uint64_t state_ = SEED;

static uint64_t rnd(void) { return state_ = hash_mix(state_ + 1); }

static struct promise promise_of(unsigned id, uint64_t version)
{
	struct promise p = { .space = id % 3, .version = version, .live = version % 5 != 0 };

	p.id_bytes = (uint16_t)snprintf(p.id, sizeof p.id, "id-%u", id);
	/* Many share a bucket, some even a key: the id decides. */
	p.key = (uint64_t)(id % 40) << 20 | id % 7;
	p.shard = (uint8_t)(p.key % EG_SHARDS);
	return p;
}

static void compare(const struct overlay *o, unsigned id)
{
	struct promise want = promise_of(id, 0);
	const struct promise *got = overlay_find(o, want.key, want.space, want.id, want.id_bytes);
	const struct promise *model = NULL;

	for (size_t i = next; i-- > first && model == NULL;)
		if (list[i].space == want.space && strcmp(list[i].id, want.id) == 0)
			model = &list[i];
	if (model == NULL) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_int_equal(got->version, model->version);
	assert_int_equal(got->live, model->live);
	assert_int_equal(got->slot, model->slot);
}

static void test_against_a_list(void **state)
{
	struct overlay o;
	uint64_t lsn = 0, position;
	size_t numbered = 0;

	(void)state;
	printf("# seed %#llx\n", (unsigned long long)SEED);
	overlay_init(&o);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned what = (unsigned)(rnd() % 20);

		if (what < 11 || step < 6000) {            /* past the first size of the ring */
			list[next] = promise_of((unsigned)(rnd() % IDS), step + 1);
			list[next].slot = step;
			position = overlay_add(&o, &list[next]);
			assert_int_equal(position, next);
			next++;
		} else if (what < 13 && next > numbered) { /* a refused batch */
			overlay_undo(&o);
			next--;
		} else if (what < 16) {                    /* the round is in the log */
			for (; numbered < next; numbered++) {
				list[numbered].lsn = ++lsn;
				overlay_number(&o, numbered, lsn);
			}
		} else if (what < 18) {                    /* some shards are ahead of others */
			atomic_store(&applied[rnd() % EG_SHARDS], lsn);
		} else {
			if (rnd() % 10 == 0)
				for (unsigned s = 0; s < EG_SHARDS; s++)
					atomic_store(&applied[s], lsn);
			overlay_prune(&o, applied);
			while (first < next && list[first].lsn != 0
			       && atomic_load(&applied[list[first].shard]) >= list[first].lsn)
				first++;
			assert_int_equal(o.first, first);
		}
		assert_int_equal(o.next, next);
		compare(&o, (unsigned)(rnd() % IDS));
	}
	assert_true(first > 1000);
	overlay_fini(&o);
}

/* A whole round taken back, newest first, down to nothing. */
static void test_undo_all(void **state)
{
	struct overlay o;

	(void)state;
	overlay_init(&o);
	first = next = 0;
	for (unsigned i = 0; i < 5000; i++) {
		list[next] = promise_of(i % 50, i + 1);
		(void)overlay_add(&o, &list[next++]);
	}
	while (next > 0) {
		overlay_undo(&o);
		next--;
		if (next % 500 < 60)
			for (unsigned id = 0; id < 50; id++)
				compare(&o, id);
	}
	overlay_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_undo_all),
	};

	return cmocka_run_group_tests_name("wal overlay", tests, NULL, NULL);
}
