/* BM25, scaling, match, the bounded heap, truth and decay, against values worked
 * out by hand or by other means. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "workers/mind/decay.h"
#include "workers/mind/rank.h"
#include "workers/mind/truth.h"

#define NEAR(a, b, eps) assert_true(fabs((double)(a) - (double)(b)) <= (eps))

static void bm25(void **state)
{
	(void)state;
	/* N = 10, df = 2: ln(1 + 8.5 / 2.5) */
	NEAR(rank_idf(10, 2), 1.4816045, 1e-6);
	NEAR(rank_idf(10, 10), 0.0465200, 1e-6);
	assert_true(rank_idf(10, 10) > 0);
	NEAR(rank_norm(100, 100), 1, 1e-6);
	NEAR(rank_norm(200, 100), 1.75, 1e-6);
	NEAR(rank_norm(7, 0), 1, 1e-6);
	/* tf 1 at average length: idf * 2.2 / 2.2 */
	NEAR(rank_bm25(2, 1, 1), 2, 1e-6);
	NEAR(rank_bm25(2, 3, 1), 2 * 3 * 2.2 / 4.2, 1e-6);
}

static uint64_t pack(uint64_t term, unsigned tf)
{
	return term << 16 | tf;
}

/* The same answer as a loop over both lists, for many random lists. */
static void overlap(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 2000; round++) {
		struct rank_term q[12] = { 0 };
		uint64_t doc[90];
		uint16_t tf[12];
		unsigned nq = (unsigned)rand() % 13, nd = (unsigned)rand() % 91, hits = 0, got;
		uint64_t t = 0;

		for (unsigned i = 0; i < nq; i++)
			q[i].term = t += 1 + (unsigned)rand() % 20;
		t = 0;
		for (unsigned i = 0; i < nd; i++)
			doc[i] = pack(t += 1 + (unsigned)rand() % 4, 1 + (unsigned)rand() % 9);
		got = rank_overlap(q, nq, doc, nd, tf);
		for (unsigned i = 0; i < nq; i++) {
			unsigned want = 0;

			for (unsigned k = 0; k < nd; k++)
				if (doc[k] >> 16 == q[i].term)
					want = doc[k] & 0xffff;
			assert_int_equal(tf[i], want);
			hits += want != 0;
		}
		assert_int_equal(got, hits);
	}
}

static void scale(void **state)
{
	(void)state;
	NEAR(rank_scale((struct rank_range){ 0, 4 }, 1), 0.25, 1e-6);
	NEAR(rank_scale((struct rank_range){ -1, 1 }, -1), 0, 1e-6);
	NEAR(rank_scale((struct rank_range){ 2, 2 }, 2), 1, 0);
	NEAR(rank_scale((struct rank_range){ 0, 0 }, 0), 0, 0);
	NEAR(rank_scale((struct rank_range){ -1, -1 }, -1), 0, 0);
}

static void match(void **state)
{
	(void)state;
	assert_true(rank_match(0.9f, 0.6f) > 0.9f);
	assert_true(rank_match(NAN, 0.05f) < 0.2f);
	assert_true(rank_match(0.5f, 0.2f) > rank_match(0.4f, 0.2f));
	assert_true(rank_match(0.5f, 0.3f) > rank_match(0.5f, 0.2f));
	NEAR(rank_match(NAN, 0.2f), rank_match(0, 0.2f), 1e-7);
}

static int later(const void *a, const void *b)
{
	return rank_before(a, b) ? -1 : 1;
}

/* The heap keeps what sorting everything would have put first, in that order. */
static void heap(void **state)
{
	static const char ids[] = "abcdefgh";

	(void)state;
	srand(3);
	for (int round = 0; round < 500; round++) {
		struct rank_key all[200], kept[16];
		size_t n = (size_t)rand() % 200, k = 1 + (size_t)rand() % 16;
		struct rank_heap h = { kept, 0, k };

		for (size_t i = 0; i < n; i++) {
			all[i] = (struct rank_key){ (float)(rand() % 10), (uint64_t)i / 3, &ids[i % 3], 1, (uint32_t)i };
			rank_offer(&h, &all[i]);
		}
		qsort(all, n, sizeof all[0], later);
		rank_finish(&h);
		assert_int_equal(h.n, n < k ? n : k);
		for (size_t i = 0; i < h.n; i++)
			assert_int_equal(kept[i].at, all[i].at);
	}
}

static void ties(void **state)
{
	struct rank_key a = { 1, 5, "a", 1, 0 }, b = { 1, 6, "b", 1, 1 }, c = { 1, 5, "ab", 2, 2 };

	(void)state;
	assert_true(rank_before(&b, &a));       /* newer first */
	assert_true(rank_before(&a, &c));       /* then by id, the shorter first */
	assert_false(rank_before(&a, &a));
}

static void beta(void **state)
{
	double a, b;
	struct truth t;

	(void)state;
	/* Beta(2, 3): F(x) = 6x^2 - 8x^3 + 3x^4; Beta(1, 1) is flat */
	NEAR(truth_cdf(0.4, 2, 3), 0.5248, 1e-6);
	NEAR(truth_cdf(0.9, 2, 3), 0.9963, 1e-6);
	NEAR(truth_cdf(0.3, 1, 1), 0.3, 1e-9);
	NEAR(truth_quantile(0.5248, 2, 3), 0.4, 1e-6);
	truth_beta(0, 0.7f, &a, &b);
	NEAR(a, 1.4, 1e-6);
	NEAR(b, 0.6, 1e-6);
	t = truth_of(0, 0.7f);
	NEAR(t.value, 0.7, 1e-6);
	assert_true(t.lower > 0 && t.lower < 0.2f && t.upper > 0.99f && t.upper <= 1);
	t = truth_of(0, 1);
	NEAR(t.value, 1, 0);
	t = truth_of(0, 0);
	NEAR(t.value, 0, 0);
	assert_string_equal(truth_category(0.71f), "high");
	assert_string_equal(truth_category(0.7f), "medium");
	assert_string_equal(truth_category(0.4f), "low");
}

static void decay(void **state)
{
	(void)state;
	NEAR(decay_retrievability(0, 5), 1, 0);
	NEAR(decay_retrievability(5, 5), 0.9, 1e-9);
	NEAR(decay_retrievability(-1, 5), 1, 0);
	assert_true(decay_retrievability(100, 5) < decay_retrievability(100, 50));
	/* (1 + F)^-w is .9, so ten stabilities give (1 + 10 F)^-w */
	NEAR(decay_retrievability(50, 5), pow(1 + 10 * (pow(0.9, -1 / 0.1542) - 1), -0.1542), 1e-12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bm25), cmocka_unit_test(overlap), cmocka_unit_test(scale),
		cmocka_unit_test(match), cmocka_unit_test(heap), cmocka_unit_test(ties),
		cmocka_unit_test(beta), cmocka_unit_test(decay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
