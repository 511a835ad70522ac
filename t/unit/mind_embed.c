/* The built-in embedder: what is spelled alike is near, a document's vector is
 * a function of its text, and the same for ever. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/vec.h"
#include "workers/mind/embed.h"

enum { DIM = 1024 };

static struct words *words;
static struct embed *embed;

static bool make(const char *text, float *out)
{
	return embed_text(embed, words, text, strlen(text), NULL, NULL, out);
}

static double likeness(const char *a, const char *b)
{
	float x[DIM], y[DIM];

	assert_true(make(a, x));
	assert_true(make(b, y));
	return (double)vec_dot(x, y, DIM);
}

static void alike_is_near(void **state)
{
	double same = likeness("The cat sat on the mat", "the CAT sat, on the mat!");
	double form = likeness("a photographer", "photography");
	double slip = likeness("photographer", "photogropher");
	double other = likeness("photographer", "submarine");

	(void)state;
	assert_true(fabs(same - 1) < 1e-5);
	assert_true(form > .3 && form < 1);
	assert_true(slip > .2);
	assert_true(fabs(other) < .2);
	assert_true(likeness("caf\xc3\xa9 \xe5\x8c\x97\xe4\xba\xac", "CAF\xc3\x89 \xe5\x8c\x97\xe4\xba\xac") > .999);
}

static void nothing_to_say(void **state)
{
	float v[DIM];

	(void)state;
	assert_false(make("", v));
	assert_false(make("the of and", v));
	assert_false(make("?! \xf0\x9f\x98\x80", v));
	assert_true(v[0] == 0 && v[DIM - 1] == 0);
}

/* No leftovers of another text, and no difference between two embedders. */
static void depends_on_the_text_alone(void **state)
{
	struct embed *fresh = embed_new(DIM);
	float a[DIM], b[DIM];
	char long_text[60000];
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; n + 8 < sizeof long_text; i++) {
		for (unsigned k = i + 1000, d = 0; d < 5; d++, k /= 9)
			long_text[n++] = (char)('a' + k % 9);
		long_text[n++] = ' ';
	}
	assert_true(embed_text(embed, words, long_text, n, NULL, NULL, a));
	assert_true(embed_text(embed, words, long_text, n, NULL, NULL, b));
	assert_memory_equal(a, b, sizeof a);
	assert_true(make("red apple, red pear, red plum", a));
	assert_true(embed_text(fresh, words, "red apple, red pear, red plum", 29, NULL, NULL, b));
	assert_memory_equal(a, b, sizeof a);
	embed_free(fresh);
}

static void stable_for_ever(void **state)
{
	/* The first features of a known text and a sum over all. */
	struct embed *small = embed_new(16);
	float v[16];
	static const float want[16] = { 0.1198085f, -0.1830104f, 0.1198085f, -0.1830104f, -0.1830104f, 0.0000000f, 0.2396169f, -0.1198085f, -0.3169834f, 0.5424358f, -0.4999938f, -0.2396169f, 0.1339730f, -0.1198085f, 0.0632020f, 0.2462124f };

	(void)state;
	assert_true(embed_text(small, words, "Remember caf\xc3\xa9 42", 17, NULL, NULL, v));
	for (int i = 0; i < 16; i++)
		assert_true(fabsf(v[i] - want[i]) < 1e-6f);
	assert_int_equal(embed_dim(small), 16);
	embed_free(small);
}

static double idf(void *arg, uint64_t term)
{
	return term == *(uint64_t *)arg ? 9 : 1;
}

static void rare_words_lead_a_query(void **state)
{
	uint64_t rare = words_term("zebra", 5);
	float query[DIM], plain[DIM], zebra[DIM];

	(void)state;
	assert_true(make("zebra crossing street", plain));
	assert_true(embed_text(embed, words, "zebra crossing street", 21, idf, &rare, query));
	assert_true(make("zebra", zebra));
	assert_true(vec_dot(query, zebra, DIM) > .9f);
	assert_true(vec_dot(plain, zebra, DIM) < .8f);
	assert_true(fabsf(vec_norm(query, DIM) - 1) < 1e-5f);
}

static void every_dimension(void **state)
{
	static const unsigned dims[] = { 1, 2, 3, 100, 768, 1023, EMBED_DIM_MAX };
	float *v;

	(void)state;
	for (unsigned i = 0; i < sizeof dims / sizeof *dims; i++) {
		struct embed *e = embed_new(dims[i]);

		v = malloc(dims[i] * sizeof *v);        /* exactly, for the sanitizers */
		if (embed_text(e, words, "any words will do here", 22, NULL, NULL, v))
			assert_true(fabsf(vec_norm(v, dims[i]) - 1) < 1e-5f);
		else
			assert_true(dims[i] < 3);
		free(v);
		embed_free(e);
	}
}

static int setup(void **state)
{
	(void)state;
	words = words_new(1 << 16);
	embed = embed_new(DIM);
	return words == NULL || embed == NULL;
}

static int teardown(void **state)
{
	(void)state;
	words_free(words);
	embed_free(embed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alike_is_near),
		cmocka_unit_test(nothing_to_say),
		cmocka_unit_test(depends_on_the_text_alone),
		cmocka_unit_test(stable_for_ever),
		cmocka_unit_test(rare_words_lead_a_query),
		cmocka_unit_test(every_dimension),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
