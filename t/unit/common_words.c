/* Words: what is a word, that ASCII's short way gives the same, and that terms
 * stay as they are on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/words.h"

enum { MAX = 1 << 17 };

static int setup(void **state) { return (*state = words_new(MAX)) == NULL; }
static int teardown(void **state) { words_free(*state); return 0; }

/* "word>stem" or "word|" for stop words, with spaces between. */
static const char *shown(struct words *w, const char *text, size_t len)
{
	static char out[MAX * 4];
	struct word word;
	char *o = out;

	*o = '\0';
	words_begin(w, text, len);
	while (words_next(w, &word)) {
		assert_true(word.at + word.source_len <= len);
		assert_true(strlen(word.text) == word.len || memchr(word.text, '\0', word.len));
		assert_true(word.stop == (word.stem == NULL) && word.stop == (word.term == 0));
		o += sprintf(o, "%s%s%s%s", o > out ? " " : "", word.text, word.stop ? "|" : ">", word.stop ? "" : word.stem);
	}
	return out;
}

static void known_words(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" }, { " ... !! ", "" }, { "\xf0\x9f\x98\x80", "" },
		{ "The quick Foxes' running", "the| quick>quick foxes>fox running>run" },
		{ "Don't it's we'll O'Neil's", "don't| it's| we'll| o'neil's>o'neil" },
		{ "can\xe2\x80\x99t M\xc3\xbcller\xe2\x80\x99s STRA\xc3\x9f" "E", "can't| m\xc3\xbcller's>m\xc3\xbcller strasse>strass" },
		{ "3.14 1,000 1990s v2 a.1", "3.14>3.14 1,000>1,000 1990s>1990s v2>v2 a| 1>1" },
		{ "foo_bar __init__ title:Text 10:30", "foo>foo bar>bar init>init title>titl text>text 10>10 30>30" },
		{ "\xef\xbc\xa6\xef\xbd\x95\xef\xbd\x8c\xef\xbd\x8c \xef\xac\x81ne ca\xcc\x81t", "full>full fine>fine c\xc3\xa1t>c\xc3\xa1t" },
		{ "so\xc2\xad" "ft", "soft>soft" },
		{ "\xe3\x83\x86\xe3\x82\xad\xe3\x82\xb9\xe3\x83\x88", "\xe3\x83\x86\xe3\x82\xad\xe3\x82\xb9\xe3\x83\x88>\xe3\x83\x86\xe3\x82\xad\xe3\x82\xb9\xe3\x83\x88" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(shown(*state, rows[i][0], strlen(rows[i][0])), rows[i][1]);
}

static void ascii_is_as_unicode(void **state)
{
	static const char some[] = "abzAZ09 '.,;:_-\"'.,\n\t\r()x1/@~\x7f";
	static const char behind[] = " \xc3\xa9tat";
	char text[64];
	char first[1024];
	uint64_t seed = 1;

	for (int i = 0; i < 300000; i++) {
		size_t n = 0;

		for (seed = seed * 6364136223846793005u + 1; n < 1 + (seed >> 33) % 14; n++) {
			text[n] = some[(seed >> 40) % (sizeof some - 1)];
			seed = seed * 6364136223846793005u + 1442695040888963407u;
		}
		snprintf(first, sizeof first, "%s", shown(*state, text, n));
		memcpy(text + n, behind, sizeof behind - 1);
		if (first[0] != '\0')
			strcat(first, " ");
		strcat(first, "\xc3\xa9tat>\xc3\xa9tat");
		assert_string_equal(shown(*state, text, n + sizeof behind - 1), first);
	}
}

static void terms_are_sorted_and_counted(void **state)
{
	static char text[MAX];
	const char *small = "the dogs dog Dog's cat 42 the cats dog";
	struct terms t;

	words_terms(*state, small, strlen(small), &t);
	assert_int_equal(t.length, 9);           /* function words count here */
	assert_int_equal(t.n, 3);
	for (size_t i = 0; i < t.n; i++) {
		uint64_t term = WORDS_TERM(t.packed[i]);

		assert_true(i == 0 || t.packed[i - 1] < t.packed[i]);
		assert_int_equal(WORDS_TF(t.packed[i]), term == words_term("dog", 3) ? 4 : term == words_term("cat", 3) ? 2 : 1);
	}
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 2 ? ' ' : i / 2 % 3 ? 'x' : 'y';
	words_terms(*state, text, sizeof text, &t);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.length, MAX / 2);
	for (size_t i = 0; i + 3 <= sizeof text; i += 3)        /* x and a superscript 2: two words in 3 bytes */
		memcpy(text + i, "x\xc2\xb2", 3);
	words_terms(*state, text, sizeof text / 3 * 3, &t);
	assert_int_equal(t.length, MAX / 3 * 2);
	memset(text, 'a', sizeof text);
	words_terms(*state, text, sizeof text, &t);
	assert_int_equal(t.n, 1);
	for (size_t i = 0; i + 3 <= sizeof text; i += 3)        /* U+FDFA: one character, 33 bytes in NFKC */
		memcpy(text + i, "\xef\xb7\xba", 3);
	words_terms(*state, text, sizeof text / 3 * 3, &t);
	assert_true(t.n >= 1);
}

static void stable_for_ever(void **state)
{
	(void)state;
	assert_true(words_term("engram", 6) == UINT64_C(0x9f0b0d232321));
	assert_true(words_fingerprint(*state, "Remember me.", 12) == UINT64_C(0xeebba01c2370238f));
}

static uint64_t print(struct words *w, const char *s) { return words_fingerprint(w, s, strlen(s)); }

static void fingerprints(void **state)
{
	struct words *w = *state;
	uint64_t h = print(w, "The dog, a Golden Retriever, barks!");

	assert_true(print(w, "  the DOG a golden\nretriever barks") == h);
	assert_true(print(w, "\xef\xbc\xb4he dog \xe2\x80\x94 a golden retriever barks\xe2\x80\xa6") == h);
	assert_true(print(w, "the dog a golden retriever barked") != h);
	assert_true(print(w, "the dog a retriever golden barks") != h);
	assert_true(print(w, "the dog the golden retriever barks") != h);
	assert_true(print(w, "ab c") != print(w, "a bc"));
	assert_true(print(w, "!!!") != print(w, "???"));
	assert_true(print(w, "!!!") == print(w, "!!!"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_words),
		cmocka_unit_test(ascii_is_as_unicode),
		cmocka_unit_test(terms_are_sorted_and_counted),
		cmocka_unit_test(stable_for_ever),
		cmocka_unit_test(fingerprints),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
