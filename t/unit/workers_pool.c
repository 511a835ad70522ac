/* Pools: everything given is done once, a full queue refuses, ends finish what is queued. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "workers/pool.h"

enum { MANY = 20000 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned opened, closed, done;

static void *open_one(void *arg, unsigned n)
{
	(void)n;
	atomic_fetch_add(&opened, 1);
	return arg;
}

static void close_one(void *thread)
{
	(void)thread;
	atomic_fetch_add(&closed, 1);
}

static void through_gate(struct work *w, void *thread)
{
	(void)w, (void)thread;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_add(&done, 1);
}

static struct pool *make(unsigned threads)
{
	static int thing;
	struct pool_plan plan = {
		.comm = "test", .threads = threads, .active = M_POOL_ACTIVE_RECALL, .total = M_POOL_TOTAL_RECALL,
		.queued = M_POOL_QUEUED_RECALL, .cpu = M_CPU_RECALL, .open = open_one, .close = close_one, .arg = &thing,
	};
	struct fault f;
	struct pool *p = pool_new(&plan, &f);

	opened = closed = done = 0;
	assert_non_null(p);
	return p;
}

static void all_done(void **state)
{
	struct work *w = calloc(MANY, sizeof *w);
	struct pool *p = make(4);

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		w[i].run = through_gate;
		assert_true(pool_push(p, &w[i], true));
	}
	pool_free(p);
	assert_int_equal(done, MANY);
	assert_int_equal(closed, 4);
	assert_int_equal(metric_words[M_POOL_QUEUED_RECALL], 0);
	assert_int_equal(metric_words[M_POOL_ACTIVE_RECALL], 0);
	free(w);
}

static void full(void **state)
{
	struct work *w = calloc(EG_POOL_QUEUE + 8, sizeof *w);
	struct pool *p = make(1);
	unsigned taken = 0;

	(void)state;
	pthread_mutex_lock(&gate);     /* the thread stands still with one entry at most */
	while (taken < EG_POOL_QUEUE + 4) {
		w[taken].run = through_gate;
		if (!pool_push(p, &w[taken], false))
			break;
		taken++;
	}
	assert_in_range(taken, EG_POOL_QUEUE, EG_POOL_QUEUE + 1);
	w[taken + 1].run = through_gate;
	assert_true(pool_push(p, &w[taken + 1], true));
	pthread_mutex_unlock(&gate);
	pool_free(p);
	assert_int_equal(done, taken + 1);
	free(w);
}

static void shares(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 9; n++)
		for (unsigned total = 1; total < 40; total++) {
			unsigned sum = 0;
			for (unsigned i = 0; i < n; i++) {
				assert_true(pool_share(total, i, n) >= 1);
				sum += pool_share(total, i, n);
			}
			assert_int_equal(sum, total < n ? n : total);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_done), cmocka_unit_test(full), cmocka_unit_test(shares) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
