/* Mending the log, see mend.h: each damaged segment is written anew from what can be
 * read of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "wal/mend.h"
#include "wal/submit.h"

#define EG_MEND_GROUP ((size_t)1 << 20)

struct part { const struct record *r; uint64_t first, last; };   /* a record, or a loss */

struct segment {                       /* a segment, taken apart */
	struct mending *w;
	struct salvage s;
	uint64_t start, next_start, expected;
	int folder_fd;                 /* where it lies */
	struct part *parts;
	size_t n, cap;
	uint64_t bytes;                /* of all records */
	bool damaged;
};

static void add_part(struct segment *g, const struct record *r, uint64_t first, uint64_t last)
{
	if (g->n == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 256;
		g->parts = realloc(g->parts, g->cap * sizeof *g->parts);
		EG_ASSERT(g->parts != NULL);
	}
	g->parts[g->n++] = (struct part){ r, first, last };
	g->bytes += r != NULL ? r->bytes : 2 * EG_BLOCK;
}

/* A range that cannot be read; below the checkpoints, only what a row names matters. */
static void lose(struct segment *g, uint64_t first, uint64_t last)
{
	const struct check *c = &g->w->m->found;

	add_part(g, NULL, first, last);
	if (last > c->start_lsn || check_rows_within(c, first, last) > 0)
		mend_lost(g->w->m, first, last);
	g->damaged = true;
}

/* A readable record that comes next, or later: what is between is lost. */
static void take(struct segment *g, const struct record *r, uint64_t below)
{
	if (r->lsn < g->expected || r->lsn >= below)
		return;
	if (r->lsn > g->expected)
		lose(g, g->expected, r->lsn - 1);
	add_part(g, r, r->lsn, r->lsn);
	g->expected = r->type == EG_RECORD_LOSS ? r->version + 1 : r->lsn + 1;
}

/* A group without records, which says that all below it was there. */
static void take_witness(struct segment *g, const struct piece *p)
{
	lose(g, g->expected, p->first_lsn - 1);
	g->expected = p->first_lsn;
}

/* A damaged record may still tell whose it was. */
static void note_id(struct mend *m, const struct record *r, uint64_t room)
{
	const uint8_t *id;

	if (m->n_ids == MEND_IDS_MAX || r->id_bytes == 0 || r->id_bytes > EG_ID_MAX || r->dim > EG_DIM_MAX
	    || r->n_tags > EG_TAGS_MAX || r->n_terms > room / 8)
		return;
	id = (const uint8_t *)record_id(r);
	if (id + r->id_bytes > (const uint8_t *)r + room)
		return;
	if (m->ids == NULL)
		m->ids = calloc(MEND_IDS_MAX, sizeof *m->ids);
	EG_ASSERT(m->ids != NULL);
	m->ids[m->n_ids].lsn = r->lsn;
	memcpy(m->ids[m->n_ids++].id, id, r->id_bytes);
}

/* Bytes that are no valid group: records have CRCs of their own. */
static void take_from_gap(struct segment *g, uint64_t from, uint64_t to, uint64_t below)
{
	for (uint64_t at = from; at + sizeof(struct record) <= to;) {
		const struct record *r = (const struct record *)(const void *)(g->s.image + at);
		uint64_t room = to - at;

		at += 64;
		if (r->lsn < g->expected || r->lsn >= below || r->bytes < sizeof *r || r->bytes % 64 != 0
		    || r->bytes > room)
			continue;
		if (r->lsn - g->expected > room / 64)
			continue;          /* more records than there is room for */
		if (record_size(r->dim, r->n_terms, r->n_tags, r->id_bytes, r->packed_bytes) == r->bytes
		    && r->crc == crc32c(0, (const uint8_t *)r + 8, r->bytes - 8)) {
			take(g, r, below);
			g->w->m->saved++;
			at += r->bytes - 64;
		} else if (r->type == EG_RECORD_PUT || r->type == EG_RECORD_DELETE) {
			note_id(g->w->m, r, room);
		}
	}
	g->damaged = g->damaged || from < to;
}

static void take_apart(struct segment *g)
{
	const struct salvage *s = &g->s;
	uint64_t end = EG_SEGMENT_DATA;
	size_t i;

	for (i = 0; i < s->n && s->pieces[i].first_lsn < g->next_start; i++) {
		const struct piece *p = &s->pieces[i];
		bool gap = p->offset != end || p->first_lsn > g->expected || !p->chained;

		if (gap && g->next_start == UINT64_MAX && salvage_torn(s, i, g->expected))
			return;
		if (gap)
			g->damaged = true;
		if (p->offset != end)
			take_from_gap(g, end, p->offset, p->first_lsn);
		for (const struct record *r = NULL; (r = group_next(salvage_group(s, p), r)) != NULL;)
			take(g, r, g->next_start);
		if (p->n_records == 0 && p->first_lsn > g->expected)
			take_witness(g, p);
		end = p->offset + p->bytes;
	}
	if (g->next_start == UINT64_MAX || g->expected >= g->next_start)
		return;
	/* What a checkpoint made needless was truncated: no loss. */
	if (g->next_start <= g->w->m->found.start_lsn + 1 && s->junk >= s->size && end == s->end
	    && check_rows_within(&g->w->m->found, g->expected, g->next_start - 1) == 0)
		return;
	if (end < s->size)
		take_from_gap(g, end, s->size, g->next_start);
	if (g->expected < g->next_start)
		lose(g, g->expected, g->next_start - 1);
}

/* ---- writing it anew ----------------------------------------------------------------- */

struct image { uint8_t *at; uint64_t len; uint32_t prev_crc; struct segment_header header; };

static void fill_header(const struct segment *g, struct segment_header *h, uint64_t bytes)
{
	const struct mending *w = g->w;

	*h = g->s.header;
	if (!g->s.copy_valid[0] && !g->s.copy_valid[1]) {
		h->magic = EG_SEGMENT_MAGIC;
		h->format = EG_SEGMENT_FORMAT;
		h->timeline = w->m->found.timeline;
		h->stores = w->m->found.stores;
		h->number = w->last_number + 1;
		h->prev_number = w->last_number;
		h->created_us = clock_real_us();
		memcpy(h->uuid, w->m->found.uuid, sizeof h->uuid);
	}
	h->start_lsn = g->start;
	/* Another salt: shared memory that was filled from the old file is not adopted. */
	if (getrandom(&h->salt, sizeof h->salt, 0) != (ssize_t)sizeof h->salt)
		h->salt = ~h->salt ^ (uint64_t)clock_mono_ns();
	h->bytes = bytes;
	segment_seal_header(h);
}

static void end_group(struct image *m, uint64_t group, uint64_t last_lsn)
{
	struct group_header *g = (struct group_header *)(void *)(m->at + group);

	m->len = (m->len + EG_BLOCK - 1) / EG_BLOCK * EG_BLOCK;
	g->bytes = (uint32_t)(m->len - group);
	g->prev_crc = m->prev_crc;
	g->durable_lsn = last_lsn;         /* synced before it is in force */
	group_seal(g);
	m->prev_crc = g->crc;
}

static void add_loss(struct image *m, const struct part *p)
{
	struct record r = { .bytes = sizeof r, .lsn = p->first, .version = p->last, .type = EG_RECORD_LOSS,
		.space = EG_NONE, .stored_us = clock_real_us() };

	r.crc = crc32c(0, (const uint8_t *)&r + 8, sizeof r - 8);
	memcpy(m->at + m->len, &r, sizeof r);
	m->len += sizeof r;
}

/* One group: records that follow each other, or one loss. Returns the next part. */
static size_t add_group(struct image *m, const struct segment *g, size_t from)
{
	struct group_header *h = (struct group_header *)(void *)(m->at + m->len);
	uint64_t group = m->len, last = 0;
	size_t i = from;

	h->magic = EG_GROUP_MAGIC;
	h->salt = m->header.salt;
	h->incarnation = m->header.incarnation;
	h->first_lsn = g->parts[from].first;
	m->len += sizeof *h;
	for (; i < g->n && (i == from || m->len - group < EG_MEND_GROUP); i++) {
		const struct part *p = &g->parts[i];
		bool alone = p->r == NULL || p->r->type == EG_RECORD_LOSS;

		if (alone && i > from)
			break;
		if (p->r == NULL) {
			add_loss(m, p);
		} else {
			memcpy(m->at + m->len, p->r, p->r->bytes);
			m->len += p->r->bytes;
		}
		h->n_records++;
		last = p->r != NULL && alone ? p->r->version : p->last;
		if (alone) {
			i++;
			break;
		}
	}
	end_group(m, group, last);
	return i;
}

static enum err write_file(struct mending *w, const struct image *m, struct fault *f)
{
	int fd = FAULT_FD(MEND_CREATE, io_open(w->d->tmp_fd, "mend", O_RDWR | O_CREAT | O_TRUNC)), error;

	error = fd < 0 ? -fd : FAULT_IO(MEND_WRITE, io_write_at(fd, m->at, m->len, 0));
	if (error == 0)
		error = FAULT_IO(MEND_SYNC, io_sync(fd));
	if (fd >= 0)
		close(fd);
	return error == 0 ? EG_E_OK : mend_fail(f, "tmp/mend", error);
}

static enum err put_in_place(struct mending *w, int folder_fd, const char *name, struct fault *f)
{
	int error = FAULT_IO(MEND_RENAME, io_rename(w->d->tmp_fd, "mend", folder_fd, name));

	if (error == 0)
		error = FAULT_IO(MEND_DIR_SYNC, io_sync_dir(folder_fd));
	return error == 0 ? EG_E_OK : mend_fail(f, name, error);
}

static enum err write_anew(struct segment *g, const char *name, bool keep, struct fault *f)
{
	uint64_t room = EG_SEGMENT_DATA + g->bytes + (g->bytes / EG_MEND_GROUP + g->n + 2) * EG_BLOCK * 2;
	struct image m = { .at = calloc(1, room), .len = EG_SEGMENT_DATA };
	enum err e = EG_E_OK;

	EG_ASSERT(m.at != NULL);
	fill_header(g, &m.header, room);
	m.prev_crc = m.header.prev_crc;
	for (size_t i = 0; i < g->n;)
		i = add_group(&m, g, i);
	m.header.bytes = m.len;
	segment_seal_header(&m.header);
	memcpy(m.at, &m.header, sizeof m.header);
	memcpy(m.at + EG_BLOCK, &m.header, sizeof m.header);
	EG_ASSERT(m.len <= room);
	e = write_file(g->w, &m, f);
	if (e == EG_E_OK && keep)
		e = mend_keep(g->w, g->folder_fd, name, name, f);
	if (e == EG_E_OK)
		e = put_in_place(g->w, g->folder_fd, name, f);
	free(m.at);
	return e;
}

/* ---- one after another -------------------------------------------------------------- */

static bool headers_whole(const struct segment *g)
{
	return g->s.copy_valid[0] && g->s.copy_valid[1] && g->s.header.start_lsn == g->start
	       && memcmp(g->s.header.uuid, g->w->m->found.uuid, sizeof g->s.header.uuid) == 0;
}

static enum err mend_segment(struct mending *w, uint64_t start, uint64_t next_start, struct fault *f)
{
	struct segment g = { .w = w, .start = start, .next_start = next_start, .expected = start };
	char name[32];
	enum err e;

	datadir_segment_name(name, start);
	g.folder_fd = datadir_segment_in_wal(w->d, start) ? w->d->wal_fd : w->d->warm_fd;
	e = salvage_open(&g.s, g.folder_fd, name, f);
	if (e != EG_E_OK)
		return e;
	/* A segment of another directory has nothing for this one. */
	if ((g.s.copy_valid[0] || g.s.copy_valid[1])
	    && memcmp(g.s.header.uuid, w->m->found.uuid, sizeof g.s.header.uuid) != 0)
		g.s.n = 0;
	take_apart(&g);
	g.damaged = g.damaged || !headers_whole(&g) || g.s.unreadable > 0;
	if (g.damaged) {
		w->m->moved++;
		if (w->accept)
			e = write_anew(&g, name, true, f);
	}
	w->last_number = g.s.copy_valid[0] || g.s.copy_valid[1] ? g.s.header.number : w->last_number + 1;
	free(g.parts);
	salvage_free(&g.s);
	return e;
}

/* The log begins later than it must: a segment that says so comes before it. */
static enum err mend_beginning(struct mending *w, uint64_t from, uint64_t next_start, struct fault *f)
{
	struct segment g = { .w = w, .start = from, .next_start = next_start, .expected = from };
	char name[32];
	enum err e = EG_E_OK;

	mend_lost(w->m, from, next_start - 1);
	add_part(&g, NULL, from, next_start - 1);
	datadir_segment_name(name, from);
	g.folder_fd = w->d->wal_fd;
	if (w->accept)
		e = write_anew(&g, name, false, f);
	free(g.parts);
	return e;
}

enum err mend_segments(struct mending *w, struct fault *f)
{
	const struct check *c = &w->m->found;
	uint64_t *starts;
	unsigned n;
	enum err e = datadir_segments(w->d, &starts, &n, f);

	if (e == EG_E_OK && n > 0 && starts[0] > c->start_lsn + 1)
		e = mend_beginning(w, c->start_lsn + 1, starts[0], f);
	for (unsigned i = 0; i < n && e == EG_E_OK; i++)
		e = mend_segment(w, starts[i], i + 1 < n ? starts[i + 1] : UINT64_MAX, f);
	free(starts);
	return e;
}
