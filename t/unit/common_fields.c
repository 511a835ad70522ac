/* Fields by table: every hostile body that a store or recall may get is
 * refused, by name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/fields.h"
#include "common/nearest.h"

struct item {
	uint64_t given;
	struct field_text content;
	struct field_vector embedding;
	double confidence;
	int64_t count, when;
	int type;
	bool pinned;
	struct field_texts tags;
	struct field_pairs metadata;
};

struct top {
	uint64_t given;
	struct item item;
	struct field_objects items;
	unsigned called;
	struct field_text note;
};

static const char *const types[] = { "semantic", "episodic", NULL };
static const struct field item_rows[] = {
	FIELD("content", STRING, struct item, content, FIELD_REQUIRED | FIELD_NOT_BLANK, .max = 100000),
	FIELD("embedding", VECTOR, struct item, embedding, 0),
	FIELD("confidence", DOUBLE, struct item, confidence, 0, .min = 0, .max = 1),
	FIELD("count", INT, struct item, count, FIELD_NULLABLE, .min = 1, .max = 1000),
	FIELD("when", TIME, struct item, when, 0),
	FIELD("type", ENUM, struct item, type, 0, .names = types),
	FIELD("pinned", BOOL, struct item, pinned, 0),
	FIELD("tags", STRINGS, struct item, tags, 0, .max = 64, .item_max = 256),
	FIELD("metadata", PAIRS, struct item, metadata, 0, .max = 256, .item_max = 65536),
};
static const struct item item_defaults = { .confidence = .7, .count = 10 };
static const struct fields item_fields = FIELDS(item_rows, struct item, &item_defaults);

static enum err call(struct json *p, const struct field *row, void *target, struct field_path *path, struct fault *f)
{
	struct top *top = target;

	top->called++;
	assert_string_equal(row->name, "call");
	if (json_next(p) == JSON_TRUE)
		return EG_E_OK;
	return field_fault(f, EG_E_INPUT, path, NULL, "must be true");
}

static const struct field top_rows[] = {
	FIELD("item", OBJECT, struct top, item, 0, .inner = &item_fields),
	FIELD("items", OBJECTS, struct top, items, 0, .min = 1, .max = 100, .inner = &item_fields),
	FIELD("call", CALL, struct top, called, 0, .call = call),
	FIELD("note", STRING, struct top, note, 0, .min = 1, .max = 5),
};
static const struct fields top_fields = FIELDS(top_rows, struct top, NULL);

static struct arena arena;
static struct fault fault;
static struct item item;
static struct top top;

static enum err read_item(const char *body)
{
	arena_reset(&arena);
	memset(&fault, 0, sizeof fault);
	return fields_parse(body, strlen(body), &item_fields, &item, &arena, &fault);
}

static enum err read_top(const char *body)
{
	arena_reset(&arena);
	memset(&fault, 0, sizeof fault);
	return fields_parse(body, strlen(body), &top_fields, &top, &arena, &fault);
}

static void good_bodies(void **state)
{
	(void)state;
	assert_int_equal(read_item("{\"content\":\"caf\\u00e9\",\"embedding\":[1,2.5,-3e-1],\"when\":\"1970-01-01T00:00:01Z\",\"type\":\"episodic\","
		"\"pinned\":true,\"tags\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"metadata\":{\"k\":1,\"l\":\"x\",\"m\":1.5,\"n\":false, \"o\":9223372036854775807}}"), EG_E_OK);
	assert_int_equal(item.content.len, 5);
	assert_memory_equal(item.content.text, "caf\xc3\xa9", 5);
	assert_int_equal(item.embedding.n, 3);
	assert_true(item.embedding.v[1] == 2.5f && item.embedding.v[2] == -.3f);
	assert_int_equal(item.when, 1000000);
	assert_int_equal(item.type, 1);
	assert_true(item.pinned);
	assert_int_equal(item.tags.n, 5);
	assert_memory_equal(item.tags.item[4].text, "e", 1);
	assert_int_equal(item.metadata.n, 5);
	assert_int_equal(item.metadata.item[4].integer, INT64_MAX);
	assert_int_equal(item.metadata.json.len, 58);
	assert_true(item.metadata.json.text[0] == '{' && item.metadata.json.text[57] == '}');
	assert_true(item.confidence == .7 && item.count == 10);
	assert_true(field_given(&item, &item_fields, "tags"));
	assert_false(field_given(&item, &item_fields, "count"));
	assert_int_equal(read_item("{\"content\":\"a\",\"count\":null}"), EG_E_OK);
	assert_false(field_given(&item, &item_fields, "count"));
	assert_int_equal(read_item("{\"content\":\"a\",\"embedding\":\"AACAPwAAAEAAAEBA\"}"), EG_E_OK);
	assert_int_equal(item.embedding.n, 3);
	assert_true(item.embedding.v[2] == 3.f);
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},{\"content\":\"b\",\"count\":3}],\"call\":true,\"item\":{\"content\":\"c\"}}"), EG_E_OK);
	assert_int_equal(top.items.n, 2);
	assert_int_equal(((struct item *)top.items.item)[1].count, 3);
	assert_true(((struct item *)top.items.item)[0].confidence == .7);
	assert_int_equal(top.called, 1);
}

/* A body, the field of the fault, a part of its message. */
static void refused(const char *body, const char *field, const char *words)
{
	enum err e = read_item(body);

	if (e == EG_E_OK || strcmp(fault.field, field) != 0 || strstr(fault.message, words) == NULL) {
		print_error("%s: %d, field \"%s\", message \"%s\"\n", body, e, fault.field, fault.message);
		fail();
	}
	assert_true(err_http(e) >= 400 && err_http(e) < 500);
	assert_int_equal(fault.err, e);
}

static void wrong_values(void **state)
{
	static const char *const rows[][2] = {
		{ "content", "7" }, { "content", "true" }, { "content", "[]" }, { "content", "{\"a\":1}" }, { "content", "null" },
		{ "content", "\"\"" }, { "content", "\" \\t\\n\xe3\x80\x80 \"" },
		{ "pinned", "\"true\"" }, { "pinned", "1" }, { "pinned", "[]" }, { "pinned", "{}" },
		{ "confidence", "\"0.5\"" }, { "confidence", "true" }, { "confidence", "[]" }, { "confidence", "{}" }, { "confidence", "-0.1" }, { "confidence", "1.5" },
		{ "confidence", "NaN" }, { "confidence", "Infinity" }, { "confidence", "-Infinity" }, { "confidence", "1e999" }, { "confidence", "-1e999" },
		{ "confidence", "01" }, { "confidence", "+1" }, { "confidence", ".5" }, { "confidence", "1." }, { "confidence", "1e" }, { "confidence", "--1" },
		{ "count", "\"10\"" }, { "count", "1.5" }, { "count", "true" }, { "count", "[]" }, { "count", "{}" }, { "count", "-1" }, { "count", "0" }, { "count", "1001" },
		{ "count", "9223372036854775808" }, { "count", "18446744073709551616" }, { "count", "-9223372036854775809" }, { "count", "1000000000000000000000000000000" }, { "count", "1e2" },
		{ "type", "7" }, { "type", "\"bogus\"" }, { "type", "[]" }, { "type", "{}" }, { "type", "\"\"" },
		{ "when", "7" }, { "when", "\"yesterday\"" }, { "when", "\"2025-13-01T00:00:00Z\"" }, { "when", "\"2025-02-30T00:00:00Z\"" }, { "when", "\"2025-01-01\"" }, { "when", "{}" },
		{ "tags", "\"a\"" }, { "tags", "7" }, { "tags", "{\"a\":\"b\"}" },
		{ "metadata", "\"x\"" }, { "metadata", "7" }, { "metadata", "[1]" },
		{ "embedding", "7" }, { "embedding", "true" }, { "embedding", "{}" }, { "embedding", "[]" }, { "embedding", "[\"a\"]" }, { "embedding", "[[1]]" },
		{ "embedding", "[null]" }, { "embedding", "[true]" }, { "embedding", "\"!!!!\"" }, { "embedding", "\"AAAAA\"" }, { "embedding", "\"AAAAAAAAAA==\"" },
		{ "embedding", "[0.0,0,-0.0]" }, { "embedding", "[1,1e39]" }, { "embedding", "[-1e39]" }, { "embedding", "[1e999]" }, { "embedding", "[NaN,1]" },
		{ "embedding", "[1,]" }, { "embedding", "[1 2]" }, { "embedding", "[1" }, { "embedding", "\"AADAfwAAwH8=\"" }, { "embedding", "\"AAAAAAAAAAA=\"" }, { "embedding", "\"\"" },
		{ "embedding", "[1000000000000000000000]" },
	};
	char body[512];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool content = strcmp(rows[i][0], "content") == 0;

		snprintf(body, sizeof body, "{%s\"%s\":%s}", content ? "" : "\"content\":\"a\",", rows[i][0], rows[i][1]);
		refused(body, rows[i][0], "");
	}
	refused("{\"content\":\"a\",\"tags\":[7]}", "tags.0", "string");
	refused("{\"content\":\"a\",\"tags\":[\"x\",[]]}", "tags.1", "string");
	refused("{\"content\":\"a\",\"tags\":[\"x\",null]}", "tags.1", "null");
	refused("{\"content\":\"a\",\"metadata\":{\"k\":[1]}}", "metadata.k", "an array");
	refused("{\"content\":\"a\",\"metadata\":{\"k\":{\"a\":1}}}", "metadata.k", "an object");
	refused("{\"content\":\"a\",\"metadata\":{\"k\":9223372036854775808}}", "metadata.k", "int64");
	refused("{\"content\":\"a\",\"metadata\":{\"k\":1,\"k\":2}}", "metadata", "duplicate");
	refused("{\"content\":\"a\",\"metadata\":{\"a\\u0000b\":1}}", "metadata", "u0000");
}

static void wrong_shapes(void **state)
{
	(void)state;
	refused("{}", "content", "missing");
	refused("[]", "", "object");
	refused("7", "", "object");
	refused("\"x\"", "", "object");
	refused("null", "", "object");
	refused("", "", "expected");
	refused("[{\"content\":\"a\"}]", "", "object");
	refused("{\"content\":\"a\",\"no_such_field\":1}", "no_such_field", "nearest");
	refused("{\"content\":\"a\",\"confidense\":1}", "confidense", "\"confidence\"");
	refused("{\"content\":\"a\",\"c\\u006fntent\":\"b\"}", "", "duplicate key \"content\"");
	refused("{\"content\":\"a\",\"confidence\":0x1}", "", "expected");
	refused("{\"content\":\"a\"}x", "", "after the end");
	refused("{\"content\":\"a\"}{}", "", "after the end");
	refused("{\"content\":\"a\",}", "", "expected a key");
	refused("{\"content\":\"a\" \"b\":1}", "", "','");
	refused("{\"content\":\"\\ud800\"}", "content", "surrogate");
	refused("{\"content\":\"a\xff\"}", "content", "UTF-8");
}

static void limits(void **state)
{
	struct buf b;
	char name[16];

	(void)state;
	buf_init(&b, 1 << 20);
	buf_puts(&b, "{\"content\":\"");
	for (int i = 0; i < 50001; i++)
		buf_puts(&b, "\xc3\xbc");
	buf_puts(&b, "\"}");
	refused(b.data, "content", "bytes");
	buf_reset(&b);
	buf_puts(&b, "{\"content\":\"a\",\"tags\":[\"t\"");
	for (int i = 0; i < 64; i++)
		buf_puts(&b, ",\"t\"");
	buf_puts(&b, "]}");
	refused(b.data, "tags", "64");
	buf_reset(&b);
	buf_printf(&b, "{\"content\":\"a\",\"tags\":[\"%0257d\"]}", 0);
	refused(b.data, "tags.0", "256 bytes");
	buf_reset(&b);
	buf_puts(&b, "{\"content\":\"a\",\"metadata\":{\"k\":0");
	for (int i = 0; i < 255; i++)
		buf_printf(&b, ",\"k%d\":0", i);
	buf_puts(&b, "}}");
	assert_int_equal(read_item(b.data), EG_E_OK);
	assert_int_equal(item.metadata.n, 256);
	for (int i = 0; i < 256; i++) {
		snprintf(name, sizeof name, i ? "k%d" : "k", i - 1);
		assert_int_equal(item.metadata.item[i].name.len, strlen(name));
		assert_memory_equal(item.metadata.item[i].name.text, name, strlen(name));
	}
	b.len -= 2;
	buf_puts(&b, ",\"x\":0}}");
	refused(b.data, "metadata", "256 keys");
	buf_reset(&b);
	buf_puts(&b, "{\"content\":\"a\",\"metadata\":{\"k\":0");
	for (int i = 0; i < 200; i++)
		buf_printf(&b, ",\"k%d\":\"%0400d\"", i, 0);
	buf_puts(&b, "}}");
	refused(b.data, "metadata", "65536 bytes");
	for (int n = 4096; n <= 4097; n++) {
		buf_reset(&b);
		buf_puts(&b, "{\"content\":\"a\",\"embedding\":[1");
		for (int i = 1; i < n; i++)
			buf_puts(&b, ",1.0");
		buf_puts(&b, "]}");
		if (n == 4096)
			assert_int_equal(read_item(b.data), EG_E_OK);
		else
			refused(b.data, "embedding", "4096");
	}
	buf_free(&b);
}

static void paths(void **state)
{
	(void)state;
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},{\"content\":\"b\",\"confidence\":7}]}"), EG_E_INPUT);
	assert_string_equal(fault.field, "items.1.confidence");
	assert_string_equal(fault.limit, "0..1");
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},{\"contents\":\"b\"}]}"), EG_E_INPUT);
	assert_string_equal(fault.field, "items.1.contents");
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},{}]}"), EG_E_INPUT);
	assert_string_equal(fault.field, "items.1.content");
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},7]}"), EG_E_INPUT);
	assert_string_equal(fault.field, "items.1");
	assert_int_equal(read_top("{\"items\":[{\"content\":\"a\"},]}"), EG_E_REQUEST);
	assert_int_equal(read_top("{\"items\":[]}"), EG_E_INPUT);
	assert_string_equal(fault.field, "items");
	assert_int_equal(read_top("{\"items\":{}}"), EG_E_INPUT);
	assert_int_equal(read_top("{\"item\":{\"content\":\"a\",\"tags\":[\"a\",7]}}"), EG_E_INPUT);
	assert_string_equal(fault.field, "item.tags.1");
	assert_int_equal(read_top("{\"call\":false}"), EG_E_INPUT);
	assert_string_equal(fault.field, "call");
	assert_int_equal(read_top("{\"note\":\"123456\"}"), EG_E_INPUT);
	assert_int_equal(read_top("{\"note\":\"\"}"), EG_E_INPUT);
	/* A name as long as the path has room for, and longer. */
	assert_int_equal(read_top("{\"a\xc3\xbc" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xbc" "aaaaaaaa\":1}"), EG_E_INPUT);
	assert_true(strlen(fault.field) < sizeof fault.field);
}

/* A batch goes on behind an item that has a wrong field. */
static void leave_an_item(void **state)
{
	const char *body = "[{\"content\":\"a\"},{\"content\":[[1],{\"x\":{}}],\"z\":1},{\"content\":\"b\",\"tags\":[7,8]},{\"content\":\"c\"}]";
	struct field_path path = { "", 0 };
	struct json p;
	unsigned good = 0, bad = 0;

	(void)state;
	arena_reset(&arena);
	json_init(&p, body, strlen(body), &arena);
	assert_int_equal(json_next(&p), JSON_ARRAY);
	while (json_peek(&p) == JSON_OBJECT) {
		size_t before = field_enter_index(&path, good + bad);

		if (fields_read(&p, &item_fields, &item, &path, &fault) == EG_E_OK) {
			good++;
		} else {
			bad++;
			assert_false(json_broken(&p));
			assert_true(json_leave(&p, 1));
		}
		field_leave(&path, before);
	}
	assert_int_equal(json_next(&p), JSON_ARRAY_END);
	assert_int_equal(json_next(&p), JSON_END);
	assert_int_equal(good, 2);
	assert_int_equal(bad, 2);
}

static enum err param(const char *name, const char *value)
{
	memset(&fault, 0, sizeof fault);
	return fields_param(&item_fields, &item, name, strlen(name), value, strlen(value), &arena, &fault);
}

static void parameters(void **state)
{
	static const char *const bad[][2] = {
		{ "count", "abc" }, { "count", "-1" }, { "count", "1001" }, { "count", "1e9" }, { "count", "1.5" }, { "count", "999999999999999999999999999999" },
		{ "count", "" }, { "count", "1 2" }, { "confidence", "abc" }, { "confidence", "nan" }, { "confidence", "inf" }, { "confidence", "1e999" }, { "type", "bogus" },
		{ "when", "bogus" }, { "when", "2025-13-01T00:00:00Z" }, { "embedding", "[1," }, { "embedding", "!!!!" }, { "embedding", "[]" },
		{ "embedding", "[NaN]" }, { "embedding", "[0,0]" }, { "embedding", "" }, { "content", "\xff\xfe" }, { "content", " " }, { "no_such_field", "1" }, { "pinned", "yes" },
	};
	struct field_path path = { "", 0 };

	(void)state;
	arena_reset(&arena);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		fields_start(&item_fields, &item);
		assert_int_not_equal(param(bad[i][0], bad[i][1]), EG_E_OK);
		assert_string_equal(fault.field, bad[i][0]);
	}
	fields_start(&item_fields, &item);
	assert_int_not_equal(fields_complete(&item_fields, &item, &path, &fault), EG_E_OK);
	assert_string_equal(fault.field, "content");
	assert_int_equal(param("content", "plain \"text\""), EG_E_OK);
	assert_int_equal(item.content.len, 12);
	assert_int_equal(param("content", "again"), EG_E_REQUEST);
	assert_int_equal(param("count", "12"), EG_E_OK);
	assert_int_equal(item.count, 12);
	assert_int_equal(param("pinned", "true"), EG_E_OK);
	assert_int_equal(param("embedding", "[1,2]"), EG_E_OK);
	assert_int_equal(param("when", "1970-01-01T00:00:00Z"), EG_E_OK);
	assert_int_equal(param("type", "episodic"), EG_E_OK);
	assert_int_equal(fields_complete(&item_fields, &item, &path, &fault), EG_E_OK);
}

static void memory_is_limited(void **state)
{
	struct arena small;
	const char *body = "{\"content\":\"a\\n0123456789012345678901234567890123456789\",\"embedding\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}";

	(void)state;
	arena_init(&small, 256, 330);
	assert_int_equal(fields_parse(body, strlen(body), &item_fields, &item, &small, &fault), EG_E_OK);
	arena_fini(&small);
	arena_init(&small, 256, 100);
	assert_int_equal(fields_parse(body, strlen(body), &item_fields, &item, &small, &fault), EG_E_TOO_LARGE);
	arena_fini(&small);
}

static void nearest(void **state)
{
	(void)state;
	assert_int_equal(nearest_distance("", 0, "", 0), 0);
	assert_int_equal(nearest_distance("abc", 3, "", 0), 3);
	assert_int_equal(nearest_distance("", 0, "abc", 3), 3);
	assert_int_equal(nearest_distance("abc", 3, "abd", 3), 1);
	assert_int_equal(nearest_distance("abcd", 4, "acbd", 4), 1);
	assert_int_equal(nearest_distance("kitten", 6, "sitting", 7), 3);
}

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 65536, 1 << 24);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_bodies),
		cmocka_unit_test(wrong_values),
		cmocka_unit_test(wrong_shapes),
		cmocka_unit_test(limits),
		cmocka_unit_test(paths),
		cmocka_unit_test(leave_an_item),
		cmocka_unit_test(parameters),
		cmocka_unit_test(memory_is_limited),
		cmocka_unit_test(nearest),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
