/* Checking the log, see check.h: segments in the order of their start, of each
 * what is in force (a later one supersedes it from its start LSN). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wal/check.h"
#include "wal/record.pb-c.h"
#include "wal/spacemsg.h"
#include "wal/submit.h"

struct walk {
	struct check *c;
	const struct salvage *s;
	unsigned file;
	uint64_t start, next_start;    /* in force: [start, next_start) */
	uint64_t expected;
	bool first;                    /* nothing was read before */
};

/* ---- records ------------------------------------------------------------------- */

void check_space_name(struct check *c, uint32_t number, const char *id)
{
	if (number > 1u << 24)
		return;
	if (number >= c->n_spaces) {
		unsigned n = (number + 1) * 2;

		c->spaces = realloc(c->spaces, n * sizeof *c->spaces);
		EG_ASSERT(c->spaces != NULL);
		memset(c->spaces + c->n_spaces, 0, (n - c->n_spaces) * sizeof *c->spaces);
		c->n_spaces = n;
	}
	snprintf(c->spaces[number].id, sizeof c->spaces[number].id, "%.63s", id);
}

static void learn_space(struct check *c, const struct record *r)
{
	struct space_message m;

	if (space_message_read(r, &m))
		check_space_name(c, r->space, m.id);
}

static const char *fault_of_memory(const struct check *c, const struct record *r)
{
	const char *space = r->space < c->n_spaces ? c->spaces[r->space].id : "";

	if (r->id_bytes == 0 || r->id_bytes > EG_ID_MAX)
		return "a memory's id has a wrong length";
	if (r->shard != r->key % EG_SHARDS)
		return "the shard is not that of the key";
	if (space[0] != 0 && r->key != record_key(space, strlen(space), record_id(r), r->id_bytes))
		return "the key is not that of the space and id";
	if (r->version == 0)
		return "a memory's version is 0";
	if (r->memory_type >= EG_TYPES || !(r->confidence >= 0 && r->confidence <= 1))
		return "type or confidence is out of its range";
	for (unsigned i = 0; i < r->dim; i++)
		if (!isfinite(record_vector(r)[i]))
			return "a component of the vector is no number";
	for (uint32_t i = 1; i < r->n_terms; i++)
		if (record_terms(r)[i - 1] >> 16 >= record_terms(r)[i] >> 16)
			return "terms are not in order";
	return NULL;
}

static const char *fault_of_packed(const struct record *r)
{
	if (r->type == EG_RECORD_PUT) {
		Engram__Log__Memory *m = engram__log__memory__unpack(NULL, r->packed_bytes, record_packed(r));

		if (m == NULL)
			return "the body is no message";
		engram__log__memory__free_unpacked(m, NULL);
	}
	return NULL;
}

/* The rules that admission holds senders to, and those that the format adds. */
static const char *fault_of_record(const struct check *c, const struct record *r)
{
	struct space_message m;

	if (r->dim > EG_DIM_MAX || r->n_tags > EG_TAGS_MAX)
		return "more dimensions or tags than there can be";
	switch (r->type) {
	case EG_RECORD_PUT:
	case EG_RECORD_DELETE: {
		const char *why = fault_of_memory(c, r);

		return why != NULL ? why : fault_of_packed(r);
	}
	case EG_RECORD_SPACE_PUT:
		return space_message_read(r, &m) ? NULL : "a space's body is no message";
	case EG_RECORD_SPACE_DELETE:
	case EG_RECORD_SHUTDOWN:
	case EG_RECORD_LOSS:
		return NULL;
	case EG_RECORD_COMMIT:
		return r->version > 0 ? NULL : "a batch without parts";
	default:
		return "a type that is unknown to this build";
	}
}

static void check_record(struct check *c, unsigned file, uint64_t offset, const struct record *r)
{
	const char *why;

	if (r->type == EG_RECORD_SPACE_PUT)
		learn_space(c, r);
	why = fault_of_record(c, r);
	if (why != NULL)
		check_say(c, file, CHECK_LOST, offset, r->lsn, r->lsn, "%s", why);
	if (r->type == EG_RECORD_PUT)
		check_row_found(c, r->lsn);
	if (c->record != NULL)
		c->record(c->arg, r);
}

/* Records that cannot be read: lost, or of no use any more as a checkpoint has what
 * became of them. */
static void say_missing(struct check *c, unsigned file, uint64_t offset, uint64_t first, uint64_t last, const char *what)
{
	bool needed = last > c->start_lsn || check_rows_within(c, first, last) > 0;

	check_say(c, file, needed ? CHECK_LOST : CHECK_WRONG, offset, first, last, "%s", what);
	check_rows_told(c, first, last);
}

/* ---- a segment ------------------------------------------------------------------- */

static void check_headers(struct walk *w)
{
	const struct salvage *s = w->s;
	const struct segment_header *h = &s->header;
	struct check *c = w->c;
	bool any = s->copy_valid[0] || s->copy_valid[1];

	for (unsigned i = 0; i < 2; i++)
		if (!s->copy_valid[i])
			check_say(c, w->file, CHECK_WRONG, i * EG_BLOCK, 0, 0, "header copy %u is damaged%s", i + 1,
			          any ? "; the other one stands" : "");
	if (!any)
		return;
	if (h->format != EG_SEGMENT_FORMAT)
		check_say(c, w->file, CHECK_LOST, 0, w->start, w->next_start - 1, "format %u, this build reads %u",
		          h->format, EG_SEGMENT_FORMAT);
	if (h->start_lsn != w->start)
		check_say(c, w->file, CHECK_LOST, 0, w->start, w->next_start - 1, "the header says that it starts at LSN %llu",
		          (unsigned long long)h->start_lsn);
	if (c->uuid_known && memcmp(h->uuid, c->uuid, sizeof c->uuid) != 0)
		check_say(c, w->file, CHECK_LOST, 0, w->start, w->next_start - 1, "it belongs to another data directory");
	if (!c->uuid_known) {
		memcpy(c->uuid, h->uuid, sizeof c->uuid);
		c->timeline = h->timeline;
		c->stores = h->stores;
		c->uuid_known = true;
	}
}

static void check_group(struct walk *w, const struct piece *p)
{
	const struct group_header *g = salvage_group(w->s, p);
	struct check_file *file = &w->c->files[w->file];

	if (!p->padded)
		check_say(w->c, w->file, CHECK_LOST, p->offset, p->first_lsn, p->first_lsn + p->n_records - 1,
		          "bytes that must be zero are not");
	for (const struct record *r = NULL; (r = group_next(g, r)) != NULL && r->lsn < w->next_start;) {
		if (r->lsn < w->expected)
			continue;
		check_record(w->c, w->file, p->offset, r);
		w->expected = r->type == EG_RECORD_LOSS ? r->version + 1 : r->lsn + 1;
		if (file->first_lsn == 0)
			file->first_lsn = r->lsn;
		file->last_lsn = w->expected - 1;
		file->records++;
		w->c->records++;
	}
	file->groups++;
	w->c->groups++;
}

/* What lies behind the last group that counts. */
static void check_end(struct walk *w, size_t next_piece, uint64_t end)
{
	const struct salvage *s = w->s;
	uint64_t junk = end;

	while (junk < s->size && s->image[junk] == 0)
		junk++;
	/* What lay between was truncated: a checkpoint has it. */
	if (w->next_start != UINT64_MAX && w->next_start <= w->c->start_lsn + 1 && junk >= s->size
	    && check_rows_within(w->c, w->expected, w->next_start - 1) == 0)
		return;
	if (w->next_start != UINT64_MAX && w->expected < w->next_start)
		say_missing(w->c, w->file, end, w->expected, w->next_start - 1,
		            "the segment ends here, and the next one begins later");
	else if (w->next_start != UINT64_MAX && junk < s->size)
		check_say(w->c, w->file, CHECK_NOTE, end, 0, 0, "what follows is superseded by the next segment");
	else if (junk < s->size || next_piece < s->n)
		check_say(w->c, w->file, CHECK_NOTE, end, w->expected, UINT64_MAX,
		          "a torn tail: nothing shows that it was acknowledged; the next start cuts it");
}

static void check_groups(struct walk *w)
{
	const struct salvage *s = w->s;
	uint64_t end = EG_SEGMENT_DATA;
	size_t i;

	for (i = 0; i < s->n && s->pieces[i].first_lsn < w->next_start; i++) {
		const struct piece *p = &s->pieces[i];
		bool gap = p->offset != end || p->first_lsn > w->expected;

		if ((gap || !p->chained) && w->next_start == UINT64_MAX && salvage_torn(s, i, w->expected))
			break;
		if (p->first_lsn > w->expected)
			say_missing(w->c, w->file, end, w->expected, p->first_lsn - 1, "no valid group here");
		else if (gap)
			check_say(w->c, w->file, CHECK_WRONG, end, 0, 0, "no valid group here");
		else if (!p->chained)
			check_say(w->c, w->file, CHECK_WRONG, p->offset, 0, 0, "a group that does not follow the one before");
		/* Said once, though what follows may be a witness, which has no record. */
		w->expected = p->first_lsn > w->expected ? p->first_lsn : w->expected;
		check_group(w, p);
		end = p->offset + p->bytes;
	}
	check_end(w, i, end);
}

static void check_segment(struct check *c, const struct datadir *d, uint64_t start, uint64_t next_start, bool first)
{
	struct walk w = { .c = c, .start = start, .next_start = next_start, .first = first };
	struct salvage s;
	struct fault f;
	char name[32], path[80];
	bool in_wal = datadir_segment_in_wal(d, start);

	datadir_segment_name(name, start);
	snprintf(path, sizeof path, "%s/%s", in_wal ? "wal" : "warm", name);
	if (salvage_open(&s, in_wal ? d->wal_fd : d->warm_fd, name, &f) != EG_E_OK) {
		w.file = check_add_file(c, CHECK_SEGMENT, path, 0);
		check_say(c, w.file, CHECK_LOST, 0, start, next_start - 1, "%.120s", f.message);
		return;
	}
	w.s = &s;
	w.file = check_add_file(c, CHECK_SEGMENT, path, s.size);
	w.expected = start;
	if (s.unreadable > 0)
		check_say(c, w.file, CHECK_WRONG, s.unreadable_at, 0, 0, "%llu bytes cannot be read",
		          (unsigned long long)s.unreadable);
	check_headers(&w);
	check_groups(&w);
	/* What could not be read was said; the next segment begins where it begins. */
	c->last_lsn = next_start != UINT64_MAX ? next_start - 1 : w.expected - 1;
	salvage_free(&s);
}

void check_log(struct check *c, const struct datadir *d)
{
	uint64_t *starts;
	unsigned n;
	struct fault f;

	if (datadir_segments(d, &starts, &n, &f) != EG_E_OK) {
		check_say(c, check_add_file(c, CHECK_OTHER, "wal", 0), CHECK_LOST, 0, 1, UINT64_MAX, "%.120s", f.message);
		return;
	}
	if (n > 0 && starts[0] > c->start_lsn + 1)
		check_say(c, check_add_file(c, CHECK_OTHER, "wal", 0), CHECK_LOST, 0, c->start_lsn + 1, starts[0] - 1,
		          "the log begins later");
	for (unsigned i = 0; i < n; i++)
		check_segment(c, d, starts[i], i + 1 < n ? starts[i + 1] : UINT64_MAX, i == 0);
	free(starts);
}
