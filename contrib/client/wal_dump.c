/* `engram wal dump FILE`: what stands in a segment of the log, as it stands.
 *
 * Offline: it needs no server, only the file, and writes nothing. It reads by
 * the same functions as recovery (wal/segment.h), so where it stops, recovery
 * would stop, and it says why. A file that ends in something other than unused
 * space makes the exit status 65; in the newest segment after a crash that is a
 * torn tail and harmless.
 */
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "contrib/client/client.h"
#include "contrib/client/print.h"
#include "shm/record.h"
#include "wal/record.pb-c.h"
#include "wal/segment.h"
#include "wal/submit.h"

#define LINE_MAX_BYTES ((size_t)4 << 20)
#define PREVIEW_COLUMNS 60

/* One object of the output, a line with --json. */
struct line {
	bool json;
	struct buf out;
};

static const char *type_name(unsigned type, char number[16])
{
	static const char *const names[] = {
#define X(name, value, logical, text) [value] = #name,
#include "wal/record.def"
#undef X
	};

	if (type < sizeof names / sizeof *names && names[type])
		return names[type];
	snprintf(number, 16, "type-%u", type);
	return number;
}

static void time_text(int64_t us, char out[EG_CLOCK_TEXT])
{
	if (us < EG_CLOCK_MIN_US || us > EG_CLOCK_MAX_US)
		snprintf(out, EG_CLOCK_TEXT, "%lld us", (long long)us);
	else
		clock_format(us, out);
}

static void begin(struct line *l, bool json, const char *kind)
{
	l->json = json;
	buf_init(&l->out, LINE_MAX_BYTES);
	if (json)
		buf_printf(&l->out, "{\"kind\":\"%s\"", kind);
	else
		buf_puts(&l->out, kind);
}

static void add_number(struct line *l, const char *name, uint64_t v)
{
	buf_printf(&l->out, l->json ? ",\"%s\":%llu" : "  %s %llu", name, (unsigned long long)v);
}

static void add_text(struct line *l, const char *name, const char *text, size_t len)
{
	if (l->json) {
		buf_printf(&l->out, ",\"%s\":", name);
		buf_json_string(&l->out, text, len);
	} else {
		buf_printf(&l->out, "  %s ", name);
		buf_add(&l->out, text, len);
	}
}

static void add_time(struct line *l, const char *name, int64_t us)
{
	char text[EG_CLOCK_TEXT];

	time_text(us, text);
	add_text(l, name, text, strlen(text));
}

static int end(struct line *l)
{
	int status = l->out.failed ? client_fail(EX_OSERR, "out of memory") : EX_OK;

	if (status == EX_OK && l->json)
		printf("%s}\n", l->out.data);
	else if (status == EX_OK) {
		print_line(l->out.data, 0);
		putchar('\n');
	}
	buf_free(&l->out);
	return status;
}

static int print_segment(const struct segment_header *h, bool json)
{
	struct line l;
	char uuid[40];

	for (size_t i = 0; i < sizeof h->uuid; i++)
		snprintf(uuid + 2 * i, sizeof uuid - 2 * i, "%02x", h->uuid[i]);
	begin(&l, json, "segment");
	add_number(&l, "number", h->number);
	add_number(&l, "start_lsn", h->start_lsn);
	add_number(&l, "format", h->format);
	add_number(&l, "timeline", h->timeline);
	add_number(&l, "previous", h->prev_number);
	add_number(&l, "incarnation", h->incarnation);
	add_number(&l, "redo_lsn", h->redo_lsn);
	add_number(&l, "stores", h->stores);
	add_number(&l, "bytes", h->bytes);
	add_time(&l, "created", h->created_us);
	add_text(&l, "uuid", uuid, strlen(uuid));
	return end(&l);
}

static int print_group(const struct group_header *g, uint64_t offset, bool json)
{
	struct line l;

	begin(&l, json, "group");
	add_number(&l, "offset", offset);
	add_number(&l, "first_lsn", g->first_lsn);
	add_number(&l, "records", g->n_records);
	add_number(&l, "bytes", g->bytes);
	add_number(&l, "durable_lsn", g->durable_lsn);
	return end(&l);
}

static void add_preview(struct line *l, const char *content)
{
	size_t len = strlen(content), shown = len;

	if (!l->json && len > PREVIEW_COLUMNS) {
		shown = PREVIEW_COLUMNS;
		while (shown && ((unsigned char)content[shown] & 0xc0) == 0x80)
			shown--;
	}
	add_text(l, "content", content, shown);
	if (shown < len)
		buf_puts(&l->out, "...");
}

/* The body: of a memory its text, of a space its name. */
static void add_body(struct line *l, const struct record *r)
{
	if (r->type == EG_RECORD_PUT) {
		Engram__Log__Memory *m = engram__log__memory__unpack(NULL, r->packed_bytes, record_packed(r));

		if (m)
			add_preview(l, m->content);
		else
			add_text(l, "body", "unreadable", 10);
		engram__log__memory__free_unpacked(m, NULL);
	} else if (r->type == EG_RECORD_SPACE_PUT) {
		Engram__Log__Space *s = engram__log__space__unpack(NULL, r->packed_bytes, record_packed(r));

		if (s)
			add_text(l, "name", s->id, strlen(s->id));
		else
			add_text(l, "body", "unreadable", 10);
		engram__log__space__free_unpacked(s, NULL);
	}
}

static int print_record(const struct record *r, bool json)
{
	struct line l;
	char number[16];
	const char *type = type_name(r->type, number);

	begin(&l, json, json ? "record" : "  record");
	add_number(&l, "lsn", r->lsn);
	add_text(&l, "type", type, strlen(type));
	if (r->space != UINT32_MAX)
		add_number(&l, "space", r->space);
	add_number(&l, "version", r->version);
	add_number(&l, "bytes", r->bytes);
	if (r->dim)
		add_number(&l, "dim", r->dim);
	add_time(&l, "time", r->stored_us);
	if (r->flags & EG_RECORD_PART)
		add_number(&l, "part", 1);
	if (r->id_bytes)
		add_text(&l, "id", record_id(r), r->id_bytes);
	add_body(&l, r);
	return end(&l);
}

static int print_end(uint64_t groups, uint64_t records, uint64_t last_lsn, bool json)
{
	struct line l;

	begin(&l, json, "end");
	add_number(&l, "groups", groups);
	add_number(&l, "records", records);
	add_number(&l, "last_lsn", last_lsn);
	return end(&l);
}

/* All groups; *why is how the file ends. */
static int print_groups(struct segment_reader *s, bool json, enum err *why, struct fault *fault)
{
	uint64_t groups = 0, records = 0, last_lsn = 0;
	const struct group_header *g;
	int status = EX_OK;

	while (status == EX_OK && (g = segment_next(s, why, fault))) {
		groups++;
		status = print_group(g, segment_offset(s), json);
		for (const struct record *r = NULL; status == EX_OK && (r = group_next(g, r)); records++) {
			last_lsn = r->lsn;
			status = print_record(r, json);
		}
	}
	return status ? status : print_end(groups, records, last_lsn, json);
}

int client_wal_dump(struct client *c)
{
	struct segment_reader s;
	struct fault fault = { 0 };
	enum err why = segment_open(&s, c->operand[0], &fault);
	int status;

	if (why != EG_E_OK)
		return client_fail(why == EG_E_VALIDATION ? EX_DATAERR : EX_NOINPUT, "%s",
		                   *fault.message ? fault.message : err_text(why));
	status = print_segment(&s.header, c->json);
	if (status == EX_OK)
		status = print_groups(&s, c->json, &why, &fault);
	if (status == EX_OK && why != EG_E_OK)
		status = client_fail(EX_DATAERR, "%s: %s", c->operand[0], *fault.message ? fault.message : err_text(why));
	segment_close(&s);
	return status;
}
