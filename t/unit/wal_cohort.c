/* The cohort's rule, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wal/cohort.h"

#define MS INT64_C(1000000)

static void answer(struct cohort *c, unsigned n, int64_t published, int64_t answered)
{
	cohort_begin(c);
	for (unsigned i = 0; i < n; i++)
		cohort_add(c, published);
	cohort_answered(c, answered);
}

static void test_alone(void **state)
{
	struct cohort c = { 0 };

	(void)state;
	cohort_begin(&c);
	cohort_add(&c, 1 * MS);
	assert_false(cohort_wait(&c, 1 * MS));     /* nobody was answered before */
	cohort_answered(&c, 2 * MS);
	cohort_begin(&c);
	cohort_add(&c, 2 * MS + 1000);             /* the same one is back */
	assert_false(cohort_wait(&c, 2 * MS + 2000));
}

static void test_two_groups_join(void **state)
{
	struct cohort c = { 0 };

	(void)state;
	answer(&c, 12, 1 * MS, 2 * MS);
	cohort_begin(&c);
	for (unsigned i = 0; i < 20; i++)
		cohort_add(&c, 2 * MS - 1000);     /* came while the 12 were synced */
	assert_true(cohort_wait(&c, 2 * MS + 1000));
	for (unsigned i = 0; i < 7; i++)
		cohort_add(&c, 2 * MS + 5000);
	assert_true(cohort_wait(&c, 2 * MS + 6000));
	cohort_add(&c, 2 * MS + 7000);             /* 28 of 32 */
	assert_false(cohort_wait(&c, 2 * MS + 8000));
}

static void test_gives_up(void **state)
{
	struct cohort c = { 0 };

	(void)state;
	answer(&c, 16, 1 * MS, 2 * MS);
	cohort_begin(&c);
	cohort_add(&c, 2 * MS - 1000);
	assert_true(cohort_wait(&c, 2 * MS + EG_COHORT_GAP_NS - 1000));
	assert_false(cohort_wait(&c, 2 * MS + EG_COHORT_GAP_NS));       /* nobody comes */
	for (int64_t t = 0; t < EG_COHORT_MAX_NS; t += EG_COHORT_MAX_NS / 8)
		cohort_add(&c, 2 * MS + t);
	assert_false(cohort_wait(&c, 2 * MS + EG_COHORT_MAX_NS));       /* too slow */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_two_groups_join),
		cmocka_unit_test(test_gives_up),
	};

	return cmocka_run_group_tests_name("wal cohort", tests, NULL, NULL);
}
