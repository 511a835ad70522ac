/* Single memories: remember, get, list, forget. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"

#define TEXT_MAX_BYTES ((size_t)4 << 20)       /* the server's limits are smaller: it refuses, with the limit */
#define LIST_LIMIT 20

static bool put_text(json_t *object, const char *name, const char *value)
{
	return !value || !json_object_set_new(object, name, json_string(value));
}

static json_t *strings(const struct list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; list && i < list->n; i++)
		json_array_append_new(array, json_string(list->item[i]));
	return array;
}

/* A number or truth value as such, anything else as a string. */
static json_t *meta_value(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (json_is_number(value) || json_is_boolean(value))
		return value;
	json_decref(value);
	return json_string(text);
}

static int put_metadata(json_t *memory, const struct list *list)
{
	json_t *metadata = json_object();

	json_object_set_new(memory, "metadata", metadata);
	for (size_t i = 0; i < list->n; i++) {
		const char *equals = strchr(list->item[i], '=');
		json_t *value;

		if (!equals || equals == list->item[i])
			return client_fail(EX_USAGE, "--meta needs KEY=VALUE, not '%s'", list->item[i]);
		value = meta_value(equals + 1);
		if (!value || json_object_setn_new(metadata, list->item[i], (size_t)(equals - list->item[i]), value))
			return client_fail(EX_DATAERR, "--meta %s: no UTF-8", list->item[i]);
	}
	return EX_OK;
}

/* Operands joined by blanks, or all of stdin for "-". */
static int text_read(const struct client *c, struct buf *b)
{
	char *room;
	size_t n;

	buf_init(b, TEXT_MAX_BYTES);
	if (c->operands == 1 && !strcmp(c->operand[0], "-")) {
		while ((room = buf_room(b, 65536)) && (n = fread(room, 1, 65536, stdin)))
			b->len += n;
		if (ferror(stdin))
			return client_fail(EX_IOERR, "standard input cannot be read");
		while (b->len && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r'))
			b->len--;
	} else {
		for (int i = 0; i < c->operands; i++) {
			buf_puts(b, i ? " " : "");
			buf_puts(b, c->operand[i]);
		}
	}
	return b->failed ? client_fail(EX_DATAERR, "the text is longer than %zu bytes", TEXT_MAX_BYTES) : EX_OK;
}

static int memory_make(const struct client *c, const struct buf *text, json_t *m)
{
	if (json_object_set_new(m, "content", json_stringn(text->data ? text->data : "", text->len)))
		return client_fail(EX_DATAERR, "the text is no UTF-8");
	if (!put_text(m, "id", c->text[OPT_ID]) || !put_text(m, "memory_type", c->text[OPT_TYPE])
	    || !put_text(m, "timestamp", c->text[OPT_TIME]) || !put_text(m, "expires_at", c->text[OPT_EXPIRES])
	    || !put_text(m, "session", c->text[OPT_SESSION]))
		return client_fail(EX_DATAERR, "an option's value is no UTF-8");
	if (c->given[OPT_CONFIDENCE])
		json_object_set_new(m, "confidence", json_real(option_number(c, OPT_CONFIDENCE, 0)));
	if (c->given[OPT_PINNED])
		json_object_set_new(m, "pinned", json_true());
	if (c->list[OPT_TAG])
		json_object_set_new(m, "tags", strings(c->list[OPT_TAG]));
	return c->list[OPT_META] ? put_metadata(m, c->list[OPT_META]) : EX_OK;
}

static void print_stored(const json_t *reply)
{
	const json_t *near = json_object_get(reply, "near_duplicates");

	printf("%s  version %.0f, %s, %s\n", text_of(reply, "memory_id", "?"), number_of(reply, "version", 0),
	       json_is_true(json_object_get(reply, "created")) ? "new" : "known",
	       json_is_true(json_object_get(reply, "durable")) ? "durable" : "not yet durable");
	for (size_t i = 0; i < json_array_size(near); i++) {
		const json_t *item = json_array_get(near, i);

		fputs("  nearly the same: ", stdout);
		print_line(text_of(item, "memory_id", "?"), 0);
		printf(" (similarity %.3f)\n", number_of(item, "similarity", 0));
	}
}

int client_remember(struct client *c)
{
	json_t *memory = json_object(), *reply = NULL;
	struct buf text;
	int status = text_read(c, &text);

	if (status == EX_OK)
		status = memory_make(c, &text, memory);
	if (status == EX_OK)
		status = http_ask(c, "POST", "/api/v1/memories/remember", memory, &reply);
	if (status == EX_OK && reply)
		print_stored(reply);
	json_decref(reply);
	json_decref(memory);
	buf_free(&text);
	return status;
}

static void print_memory(const json_t *m)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)m, name, value) {
		if (!strcmp(name, "content") || json_is_null(value))
			continue;
		printf("%-20s", name);
		if (!strcmp(name, "embedding"))
			printf("%zu numbers", json_array_size(value));
		else
			print_value(value);
		putchar('\n');
	}
	putchar('\n');
	print_block(text_of(m, "content", ""));
	putchar('\n');
}

int client_get(struct client *c)
{
	json_t *memory = NULL;
	struct buf path;
	int status;

	http_path(&path, "/api/v1/memories");
	http_path_part(&path, c->operand[0]);
	status = http_ask(c, "GET", path.data, NULL, &memory);
	if (status == EX_OK && memory)
		print_memory(memory);
	json_decref(memory);
	buf_free(&path);
	return status;
}

static void print_list(const json_t *reply)
{
	const json_t *memories = json_object_get(reply, "memories"), *counts = json_object_get(reply, "tier_counts");
	unsigned columns = print_columns(), wide = 2;
	size_t i;
	json_t *m;

	json_array_foreach((json_t *)(uintptr_t)memories, i, m) {
		unsigned width = print_width(text_of(m, "id", ""));

		wide = width > wide ? width : wide;
	}
	json_array_foreach((json_t *)(uintptr_t)memories, i, m) {
		const char *id = text_of(m, "id", "");

		print_line(id, 0);
		printf("%*s", (int)(wide - print_width(id) + 2), "");
		print_line(text_of(m, "content", ""), columns > wide + 12 ? columns - wide - 2 : 0);
		putchar('\n');
	}
	printf("%zu shown; hot %.0f, warm %.0f, cold %.0f, total %.0f\n", json_array_size(memories),
	       number_of(counts, "hot", 0), number_of(counts, "warm", 0), number_of(counts, "cold", 0),
	       number_of(counts, "total", 0));
}

int client_list(struct client *c)
{
	char number[32];
	json_t *reply = NULL;
	struct buf path;
	int status;

	http_path(&path, "/api/v1/memories");
	http_query(&path, "tier", c->given[OPT_TIER] ? c->text[OPT_TIER] : "all");
	snprintf(number, sizeof number, "%.0f", option_number(c, OPT_LIMIT, LIST_LIMIT));
	http_query(&path, "limit", number);
	snprintf(number, sizeof number, "%.0f", option_number(c, OPT_OFFSET, 0));
	http_query(&path, "offset", number);
	status = http_ask(c, "GET", path.data, NULL, &reply);
	if (status == EX_OK && reply)
		print_list(reply);
	json_decref(reply);
	buf_free(&path);
	return status;
}

static int forget_one(struct client *c, const char *id)
{
	json_t *reply = NULL;
	struct buf path;
	int status;

	http_path(&path, "/api/v1/memories");
	http_path_part(&path, id);
	status = http_ask(c, "DELETE", path.data, NULL, &reply);
	if (status == EX_OK && reply) {
		fputs("deleted ", stdout);
		print_line(id, 0);
		putchar('\n');
	}
	json_decref(reply);
	buf_free(&path);
	return status;
}

/* All of them are tried; the first failure is the exit status. */
int client_forget(struct client *c)
{
	int status = EX_OK;

	for (int i = 0; i < c->operands; i++) {
		int one = forget_one(c, c->operand[i]);

		status = status ? status : one;
	}
	return status;
}
