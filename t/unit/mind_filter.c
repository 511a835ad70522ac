/* Packing and unpacking, and both halves of the filter, on bodies made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "shm/body.h"
#include "workers/mind/filter.h"
#include "workers/mind/packed.h"

#define STR(s) ((struct str){ (s), sizeof(s) - 1 })

static struct arena arena;

static int begin(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 16, 1 << 22);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* A body as the store would hold it. */
static const struct body *body(const struct packed *p, struct record head)
{
	size_t packed_bytes;
	uint8_t *packed = packed_write(&arena, p, &packed_bytes);
	struct body *b = arena_array(&arena, 1, sizeof *b + p->n_tags * 8 + 2 + packed_bytes);
	uint8_t *at = (uint8_t *)b + sizeof *b;

	assert_non_null(packed);
	assert_non_null(b);
	b->class_ = EG_NONE;
	b->record = head;
	b->record.n_tags = (uint16_t)p->n_tags;
	b->record.id_bytes = 2;
	b->record.packed_bytes = (uint32_t)packed_bytes;
	b->record.session = p->session.at ? packed_session_hash(p->session) : 0;
	for (unsigned i = 0; i < p->n_tags; i++, at += 8) {
		uint64_t h = packed_tag_hash(p->tags[i]);

		memcpy(at, &h, 8);
	}
	memcpy(at, "id", 2);
	memcpy(at + 2, packed, packed_bytes);
	return b;
}

static bool passes(struct filter *fl, const struct body *b)
{
	struct packed p;
	struct fault f;

	assert_int_equal(filter_prepare(fl, &arena, &f), EG_E_OK);
	assert_int_equal(packed_read(&arena, b, &p, &f), EG_E_OK);
	return filter_quick(fl, b) && (!fl->deep || filter_sure(fl, &p));
}

static const struct body *sample(void)
{
	static struct str tags[] = { { "red", 3 }, { "round", 5 } };
	static struct meta metas[4];
	struct record head = { .confidence = 0.6f, .observed_us = 1000, .memory_type = EG_TYPE_EPISODIC };
	struct packed p = { .content = STR("an apple"), .tags = tags, .n_tags = 2, .session = STR("s1"),
	                    .metadata = metas, .n_metadata = 4, .reasoning = STR("seen") };

	metas[0] = (struct meta){ .key = STR("who"), .kind = EG_META_TEXT, .text = STR("Ada") };
	metas[1] = (struct meta){ .key = STR("n"), .kind = EG_META_INT, .integer = INT64_MIN };
	metas[2] = (struct meta){ .key = STR("x"), .kind = EG_META_NUMBER, .number = 2 };
	metas[3] = (struct meta){ .key = STR("ok"), .kind = EG_META_FLAG, .flag = false };
	return body(&p, head);
}

static void round_trip(void **state)
{
	struct packed p;
	struct fault f;

	(void)state;
	assert_int_equal(packed_read(&arena, sample(), &p, &f), EG_E_OK);
	assert_string_equal(p.content.at, "an apple");
	assert_int_equal(p.n_tags, 2);
	assert_string_equal(p.tags[1].at, "round");
	assert_string_equal(p.session.at, "s1");
	assert_string_equal(p.reasoning.at, "seen");
	assert_int_equal(p.n_metadata, 4);
	assert_int_equal(p.metadata[1].kind, EG_META_INT);
	assert_true(p.metadata[1].integer == INT64_MIN);
	assert_true(p.metadata[2].kind == EG_META_NUMBER && p.metadata[2].number == 2);
	assert_true(p.metadata[3].kind == EG_META_FLAG && !p.metadata[3].flag);
}

static void damaged(void **state)
{
	struct packed p;
	struct fault f;
	const struct body *b = sample();

	(void)state;
	memset((uint8_t *)(uintptr_t)body_packed(b), 0xff, 8);
	assert_int_equal(packed_read(&arena, b, &p, &f), EG_E_INTERNAL);
}

static void tags(void **state)
{
	struct str red[] = { { "red", 3 } }, both[] = { { "red", 3 }, { "blue", 4 } }, blue[] = { { "blue", 4 } };
	struct filter fl;

	(void)state;
	filter_init(&fl);
	assert_true(passes(&fl, sample()));
	fl.tags_all = red;
	fl.n_all = 1;
	assert_true(passes(&fl, sample()));
	fl.tags_all = both;
	fl.n_all = 2;
	assert_false(passes(&fl, sample()));
	filter_init(&fl);
	fl.tags_any = both;
	fl.n_any = 2;
	assert_true(passes(&fl, sample()));
	fl.tags_any = blue;
	fl.n_any = 1;
	assert_false(passes(&fl, sample()));
	filter_init(&fl);
	fl.tags_none = blue;
	fl.n_none = 1;
	assert_true(passes(&fl, sample()));
	fl.tags_none = red;
	assert_false(passes(&fl, sample()));
}

/* A hash that happens to be equal must not let another tag pass. */
static void collision(void **state)
{
	struct str red[] = { { "red", 3 } };
	const struct body *b = sample();
	struct filter fl;
	struct packed p;
	struct fault f;

	(void)state;
	filter_init(&fl);
	fl.tags_all = red;
	fl.n_all = 1;
	assert_int_equal(filter_prepare(&fl, &arena, &f), EG_E_OK);
	fl.tags_all[0] = STR("der");
	assert_int_equal(packed_read(&arena, b, &p, &f), EG_E_OK);
	assert_true(filter_quick(&fl, b));
	assert_false(filter_sure(&fl, &p));
}

static void rest(void **state)
{
	struct filter fl;

	(void)state;
	filter_init(&fl);
	fl.types = 1u << EG_TYPE_SEMANTIC;
	assert_false(passes(&fl, sample()));
	fl.types |= 1u << EG_TYPE_EPISODIC;
	assert_true(passes(&fl, sample()));
	fl.session = STR("s1");
	assert_true(passes(&fl, sample()));
	fl.session = STR("s2");
	assert_false(passes(&fl, sample()));
	filter_init(&fl);
	fl.from_us = fl.to_us = 1000;
	assert_true(passes(&fl, sample()));
	fl.from_us = 1001;
	fl.to_us = 2000;
	assert_false(passes(&fl, sample()));
	filter_init(&fl);
	fl.min_confidence = 0.6;
	assert_true(passes(&fl, sample()));
	fl.min_confidence = 0.61;
	assert_false(passes(&fl, sample()));
}

static void metadata(void **state)
{
	struct meta m = { .key = STR("x"), .kind = EG_META_INT, .integer = 2 };
	struct filter fl;

	(void)state;
	filter_init(&fl);
	fl.metadata = &m;
	fl.n_metadata = 1;
	assert_true(passes(&fl, sample()));
	m.integer = 3;
	assert_false(passes(&fl, sample()));
	m = (struct meta){ .key = STR("who"), .kind = EG_META_TEXT, .text = STR("Ada") };
	assert_true(passes(&fl, sample()));
	m.text = STR("ada");
	assert_false(passes(&fl, sample()));
	m = (struct meta){ .key = STR("ok"), .kind = EG_META_FLAG, .flag = true };
	assert_false(passes(&fl, sample()));
	m = (struct meta){ .key = STR("none"), .kind = EG_META_FLAG };
	assert_false(passes(&fl, sample()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(round_trip, begin, end), cmocka_unit_test_setup_teardown(damaged, begin, end),
		cmocka_unit_test_setup_teardown(tags, begin, end), cmocka_unit_test_setup_teardown(collision, begin, end),
		cmocka_unit_test_setup_teardown(rest, begin, end), cmocka_unit_test_setup_teardown(metadata, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
