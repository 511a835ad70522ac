#include "contrib/client/lines.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

static const char opening[] = "{\"memories\":[";

struct batch *batch_new(unsigned room)
{
	struct batch *b = malloc(sizeof *b + room * sizeof b->item[0]);

	if (!b)
		return NULL;
	memset(b, 0, sizeof *b);
	b->room = room;
	/* A line of controls alone becomes six times as long. */
	buf_init(&b->body, LINES_BODY_MAX_BYTES + 7 * LINES_MAX_BYTES);
	buf_puts(&b->body, opening);
	return b;
}

void batch_free(struct batch *b)
{
	if (b)
		buf_free(&b->body);
	free(b);
}

static void begin_item(struct batch *b, uint64_t line)
{
	if (b->n)
		buf_putc(&b->body, ',');
	b->item[b->n].line = line;
	b->item[b->n].start = b->body.len;
	b->n++;
}

void batch_copy(struct batch *to, const struct batch *from, unsigned item)
{
	size_t start = from->item[item].start;
	size_t end = item + 1 < from->n ? from->item[item + 1].start - 1 : from->body.len - 2;

	begin_item(to, from->item[item].line);
	buf_add(&to->body, from->body.data + start, end - start);
}

bool batch_close(struct batch *b)
{
	buf_puts(&b->body, "]}");
	return !b->body.failed;
}

static bool blank(const char *text)
{
	return !text[strspn(text, " \t\r\n\v\f")];
}

/* Read the next line that is not blank, without its end. False: none. */
static bool read_line(struct lines *l)
{
	while ((l->length = getline(&l->line, &l->cap, l->file)) >= 0) {
		l->n++;
		l->bytes += (uint64_t)l->length;
		while (l->length && (l->line[l->length - 1] == '\n' || l->line[l->length - 1] == '\r'))
			l->line[--l->length] = 0;
		if (!blank(l->line))
			return true;
	}
	return false;
}

static void add_id(struct lines *l, struct buf *b)
{
	char number[32];
	int len = snprintf(number, sizeof number, ":%llu", (unsigned long long)l->n);
	struct buf id;

	buf_init(&id, 4096);
	buf_puts(&id, l->label);
	buf_add(&id, number, (size_t)len);
	buf_puts(b, "\"id\":");
	buf_json_string(b, id.data ? id.data : "", id.len);
	buf_free(&id);
}

static const char *check_line(const struct lines *l)
{
	if (l->length > LINES_MAX_BYTES)
		return "the line is longer than 1 MiB";
	if (memchr(l->line, 0, (size_t)l->length))
		return "the line holds a NUL byte";
	if (u8_check((const uint8_t *)l->line, (size_t)l->length))
		return "the line is no UTF-8";
	return NULL;
}

static const char *add_text(struct lines *l, struct batch *b)
{
	begin_item(b, l->n);
	buf_putc(&b->body, '{');
	if (l->name_lines) {
		add_id(l, &b->body);
		buf_putc(&b->body, ',');
	}
	buf_puts(&b->body, "\"content\":");
	buf_json_string(&b->body, l->line, (size_t)l->length);
	buf_putc(&b->body, '}');
	return NULL;
}

static const char *add_json(struct lines *l, struct batch *b)
{
	json_t *item = json_loadb(l->line, (size_t)l->length, JSON_REJECT_DUPLICATES, NULL);
	bool named = json_object_get(item, "id"), empty = !json_object_size(item), object = json_is_object(item);
	const char *brace;

	json_decref(item);
	if (!object)
		return "the line is no JSON object";
	begin_item(b, l->n);
	brace = strchr(l->line, '{');
	if (!named && l->name_lines) {
		buf_putc(&b->body, '{');
		add_id(l, &b->body);
		buf_puts(&b->body, empty ? "" : ",");
		brace++;
	}
	buf_puts(&b->body, brace);
	return NULL;
}

enum lines_result lines_fill(struct lines *l, struct batch *b, const char **why)
{
	while (b->n < b->room) {
		if (!l->held && !read_line(l))
			return feof(l->file) ? LINES_END : LINES_TROUBLE;
		l->held = false;
		if ((*why = check_line(l)))
			return LINES_BAD;
		if (b->n && b->body.len + (size_t)l->length > LINES_BODY_MAX_BYTES) {
			l->held = true;
			return LINES_MORE;
		}
		*why = l->text ? add_text(l, b) : add_json(l, b);
		if (*why)
			return LINES_BAD;
	}
	return LINES_MORE;
}

void lines_fini(struct lines *l)
{
	free(l->line);
}
