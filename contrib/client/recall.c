/* Recall: the cue, the table of hits, the reasons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"

#define ID_COLUMNS_MAX 32

/* Tags: option => member of the filter. */
static const struct { enum option option; const char *name; } tag_filters[] = {
	{ OPT_TAG, "tags_all" }, { OPT_ANY_TAG, "tags_any" }, { OPT_NO_TAG, "tags_none" },
};
static const struct { enum option option; const char *name; } text_filters[] = {
	{ OPT_SESSION, "session" }, { OPT_FROM, "from_time" }, { OPT_TO, "to_time" },
};

static json_t *filter_make(const struct client *c)
{
	json_t *filter = json_object();

	for (size_t i = 0; i < sizeof tag_filters / sizeof *tag_filters; i++) {
		const struct list *list = c->list[tag_filters[i].option];
		json_t *tags;

		if (!list)
			continue;
		json_object_set_new(filter, tag_filters[i].name, tags = json_array());
		for (size_t k = 0; k < list->n; k++)
			json_array_append_new(tags, json_string(list->item[k]));
	}
	for (size_t i = 0; i < sizeof text_filters / sizeof *text_filters; i++)
		if (c->given[text_filters[i].option])
			json_object_set_new(filter, text_filters[i].name, json_string(c->text[text_filters[i].option]));
	if (c->given[OPT_MIN_CONFIDENCE])
		json_object_set_new(filter, "min_confidence", json_real(option_number(c, OPT_MIN_CONFIDENCE, 0)));
	return filter;
}

static json_t *cue_make(const struct client *c)
{
	json_t *cue = json_object(), *filter = filter_make(c), *query;
	struct buf text;

	buf_init(&text, (size_t)1 << 20);
	for (int i = 0; i < c->operands; i++) {
		buf_puts(&text, i ? " " : "");
		buf_puts(&text, c->operand[i]);
	}
	query = text.failed ? NULL : json_stringn(text.data, text.len);
	buf_free(&text);
	if (!query || json_object_set_new(cue, "query", query)) {
		json_decref(filter);
		json_decref(cue);
		return NULL;
	}
	if (json_object_size(filter))
		json_object_set(cue, "filter", filter);
	json_decref(filter);
	if (c->given[OPT_LIMIT])
		json_object_set_new(cue, "max_results", json_integer((json_int_t)option_number(c, OPT_LIMIT, 0)));
	if (c->given[OPT_THRESHOLD])
		json_object_set_new(cue, "threshold", json_real(option_number(c, OPT_THRESHOLD, 0)));
	if (c->given[OPT_MODE])
		json_object_set_new(cue, "mode", json_string(c->text[OPT_MODE]));
	if (c->given[OPT_EXPLAIN])
		json_object_set_new(cue, "explain", json_true());
	return cue;
}

static void print_reasons(const json_t *hit)
{
	const json_t *explain = json_object_get(hit, "explain");
	const char *name;
	json_t *value;

	printf("      %s", text_of(hit, "class", "direct"));
	json_object_foreach((json_t *)(uintptr_t)explain, name, value) {
		if (json_is_null(value) || (json_is_array(value) && !json_array_size(value)))
			continue;
		printf(", %s ", name);
		print_value(value);
	}
	putchar('\n');
}

static void print_hit(const json_t *hit, unsigned wide, unsigned columns)
{
	const char *id = text_of(hit, "id", "");
	unsigned width = print_width(id), used = 22 + wide;

	printf("%3.0f  %6.3f  %6.3f  ", number_of(hit, "rank", 0), number_of(hit, "score", 0), number_of(hit, "match", 0));
	print_line(id, columns ? wide : 0);
	printf("%*s", width < wide ? (int)(wide - width) + 2 : 2, "");
	print_line(text_of(hit, "content", ""), columns > used + 10 ? columns - used : 0);
	putchar('\n');
	if (json_object_get(hit, "explain"))
		print_reasons(hit);
}

static void print_hits(const json_t *reply)
{
	const json_t *hits = json_object_get(reply, "results"), *about = json_object_get(reply, "metadata");
	unsigned columns = print_columns(), wide = 2;
	char head[96];
	size_t i;
	json_t *hit;

	json_array_foreach((json_t *)(uintptr_t)hits, i, hit) {
		unsigned width = print_width(text_of(hit, "id", ""));

		wide = width > wide ? width : wide;
	}
	if (wide > ID_COLUMNS_MAX)
		wide = ID_COLUMNS_MAX;
	snprintf(head, sizeof head, "%3s  %6s  %6s  %-*s  %s", "#", "SCORE", "MATCH", (int)wide, "ID", "TEXT");
	if (json_array_size(hits))
		print_head(head);
	json_array_foreach((json_t *)(uintptr_t)hits, i, hit)
		print_hit(hit, wide, columns);
	if (!json_array_size(hits)) {
		fputs("nothing: ", stdout);
		print_line(text_of(reply, "reason", "the server gave no reason"), 0);
		putchar('\n');
	}
	if (json_is_true(json_object_get(about, "partial")) || json_is_true(json_object_get(about, "truncated")))
		puts("cut short by the budget");
}

int client_recall(struct client *c)
{
	json_t *cue = cue_make(c), *reply = NULL;
	int status;

	if (!cue)
		return client_fail(EX_DATAERR, "the cue is no UTF-8 or too long");
	status = http_ask(c, "POST", "/api/v1/memories/recall", cue, &reply);
	if (status == EX_OK && reply)
		print_hits(reply);
	json_decref(reply);
	json_decref(cue);
	return status;
}
