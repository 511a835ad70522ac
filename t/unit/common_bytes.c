/* UTF-8, base64, CRC-32C, hashes, arena: against published vectors and each
 * other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/base64.h"
#include "common/crc32c.h"
#include "common/hash.h"
#include "common/utf8.h"

static size_t valid(const char *s) { return utf8_valid(s, strlen(s)); }

static void utf8_refuses_what_the_standard_refuses(void **state)
{
	(void)state;
	assert_int_equal(valid("abcdefghij\xc3\xbc" "abcdefgh\xe3\x80\x80\xf0\x9f\x98\x80"), 27);
	assert_int_equal(valid("\xf4\x8f\xbf\xbf"), 4);
	assert_int_equal(valid("a\xff"), 1);
	assert_int_equal(valid("\x80"), 0);
	assert_int_equal(valid("\xc0\xaf"), 0);
	assert_int_equal(valid("\xe0\x9f\xbf"), 0);
	assert_int_equal(valid("\xed\xa0\x80"), 0);
	assert_int_equal(valid("\xf0\x8f\xbf\xbf"), 0);
	assert_int_equal(valid("\xf4\x90\x80\x80"), 0);
	assert_int_equal(valid("abcdefgh\xe2\x82"), 8);
	assert_int_equal(valid("\xf8\x88\x80\x80\x80"), 0);
	assert_int_equal(utf8_valid("a\0b", 3), 3);
}

static void utf8_round_trip(void **state)
{
	char t[4];
	uint32_t c;

	(void)state;
	for (uint32_t i = 0; i <= 0x10ffff; i++) {
		if (i >= 0xd800 && i <= 0xdfff)
			continue;
		unsigned n = utf8_put(t, i);

		assert_int_equal(utf8_get(t, n, &c), n);
		assert_int_equal(c, i);
		assert_int_equal(utf8_get(t, n - 1, &c), 0);
	}
}

static void utf8_blank_and_cut(void **state)
{
	(void)state;
	assert_true(utf8_blank("", 0));
	assert_true(utf8_blank(" \t\n\xe3\x80\x80 ", 7));
	assert_true(utf8_blank("\xe2\x80\x8b\xef\xbb\xbf", 6));
	assert_false(utf8_blank("  x", 3));
	assert_false(utf8_blank("\xc3\xbc", 2));
	assert_true(utf8_ascii("0123456789", 10));
	assert_false(utf8_ascii("01234567\xc3\xbc", 10));
	assert_int_equal(utf8_cut("a\xe3\x80\x80" "b", 5, 5), 5);
	assert_int_equal(utf8_cut("a\xe3\x80\x80" "b", 5, 4), 4);
	assert_int_equal(utf8_cut("a\xe3\x80\x80" "b", 5, 3), 1);
}

static void base64_vectors(void **state)
{
	static const char *const rows[][2] = {      /* RFC 4648, section 10 */
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	};
	char t[16];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = strlen(rows[i][0]);

		assert_int_equal(BASE64_LEN(n), strlen(rows[i][1]));
		base64_encode(rows[i][0], n, t);
		assert_memory_equal(t, rows[i][1], BASE64_LEN(n));
		assert_int_equal(base64_decode(rows[i][1], BASE64_LEN(n), t, n), n);
		assert_memory_equal(t, rows[i][0], n);
		if (n > 0)
			assert_int_equal(base64_decode(rows[i][1], BASE64_LEN(n), t, n - 1), -1);
	}
}

static void base64_is_strict(void **state)
{
	static const char *const bad[] = {
		"!!!!", "AAAAA", "A", "AA", "AAA", "A===", "====", "AA=A", "Zh==", "Zm9=", "Zg==Zg==",
		"AAA AAAA", "AAAA\n", "AA-_", "=AAA", "Zm9vYg=",
	};
	char t[16];
	unsigned char all[256], back[256];
	char text[BASE64_LEN(256)];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), t, sizeof t), -1);
	for (size_t i = 0; i < 256; i++)
		all[i] = (unsigned char)(i * 167);
	for (size_t n = 0; n <= 256; n++) {
		base64_encode(all, n, text);
		assert_int_equal(base64_decode(text, BASE64_LEN(n), back, n), n);
		assert_memory_equal(back, all, n);
	}
}

static void crc32c_vectors(void **state)
{
	unsigned char d[1700];             /* more than two rounds of three lanes */

	(void)state;
	memset(d, 0, 32);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(0, d, 32), 0x8a9136aau);      /* RFC 3720, B.4 */
	memset(d, 0xff, 32);
	assert_int_equal(crc32c(0, d, 32), 0x62a8ab43u);
	for (unsigned i = 0; i < sizeof d; i++)
		d[i] = (unsigned char)(i * i + 7);
	for (unsigned n = 0; n < sizeof d; n++) {
		assert_int_equal(crc32c(0, d, n), crc32c_table(0, d, n));
		assert_int_equal(crc32c(crc32c(0, d, n / 3), d + n / 3, n - n / 3), crc32c(0, d, n));
		assert_int_equal(crc32c_table(crc32c(0, d, n / 3), d + n / 3, n - n / 3), crc32c(0, d, n));
	}
}

static void hash_vectors(void **state)
{
	unsigned char d[101];
	uint64_t all = 0;

	(void)state;
	assert_true(hash64("", 0, 0) == UINT64_C(0xef46db3751d8e999));
	assert_true(hash64("a", 1, 0) == UINT64_C(0xd24ec4f1a98c6e5b));
	assert_true(hash64("abc", 3, 0) == UINT64_C(0x44bc2cf5ad770999));
	assert_true(hash64("Nobody inspects the spammish repetition", 39, 0) == UINT64_C(0xfbcea83c8a378bf1));
	assert_true(hash64("xxhash", 6, 20141025) == UINT64_C(13067679811253438005));
	/* On disk for ever: every length to 100, folded. */
	for (unsigned i = 0; i < sizeof d; i++)
		d[i] = (unsigned char)(i * 31 + 5);
	for (unsigned n = 0; n < sizeof d; n++)
		all = hash64(d, n, all);
	assert_true(all == UINT64_C(0x16b97974e271a2e6));
	assert_true(hash128("abc", 3).hi != hash128("abc", 3).lo);
	assert_true(hash_mix(0) == 0 && hash_mix(1) == UINT64_C(0xb456bcfc34c2cb2c));
}

static void arena_has_a_limit(void **state)
{
	struct arena a;
	char *p, *q;
	size_t n = 0;

	(void)state;
	arena_init(&a, 1000, 100000);
	for (int round = 0; round < 3; round++) {
		p = arena_strndup(&a, "hello", 5);
		assert_string_equal(p, "hello");
		q = arena_alloc(&a, 1);
		assert_int_equal((uintptr_t)q % 16, 0);
		assert_true(q - p >= 16);
		for (n = 0; (p = arena_alloc(&a, 100)) != NULL; n++)
			memset(p, 1, 100);
		assert_true(n > 600 && n < 1000);
		assert_true(a.held_bytes <= 100000);
		assert_null(arena_alloc(&a, SIZE_MAX - 3));
		assert_null(arena_array(&a, SIZE_MAX / 2, 4));
		arena_reset(&a);
	}
	assert_true(a.held_bytes < 2000);
	p = arena_array(&a, 50000, 1);
	assert_non_null(p);
	for (int i = 0; i < 50000; i++)
		assert_int_equal(p[i], 0);
	assert_non_null(arena_alloc_cb(&a, 0));
	arena_free_cb(&a, p);
	arena_fini(&a);
	assert_int_equal(a.held_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_refuses_what_the_standard_refuses),
		cmocka_unit_test(utf8_round_trip),
		cmocka_unit_test(utf8_blank_and_cut),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(crc32c_vectors),
		cmocka_unit_test(hash_vectors),
		cmocka_unit_test(arena_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
