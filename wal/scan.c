/* Scanning the log, see the header. */
#include "wal/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "wal/submit.h"

#define EG_READ_AHEAD ((size_t)4 << 20)
#define EG_READ_EARLY ((size_t)32 << 20) /* as much as a disk gives while a checkpoint's rows are read */

struct walk {
	const struct datadir *dir;
	uint64_t from, expected;       /* next LSN that must come, 0 = not known yet */
	scan_fn *fn;
	void *arg;
	struct scan *scan;
	struct fault *f;
};

static void tail_add(struct scan_tail *t, const struct group_header *g, uint64_t offset)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->at = realloc(t->at, t->cap * sizeof *t->at);
		EG_ASSERT(t->at != NULL);
	}
	t->at[t->n++] = (struct scan_group){ offset, g->first_lsn + g->n_records - 1 };
}

/* Forget groups that a witness says are durable. */
static void tail_trim(struct scan_tail *t, uint64_t durable_lsn)
{
	while (t->first < t->n && t->at[t->first].last_lsn <= durable_lsn)
		t->first++;
}

/* What is left of them, up to the end. They were whole a moment ago. */
static enum err tail_read(struct scan_tail *t, struct segment_reader *s, struct fault *f)
{
	const struct group_header *g;

	if (t->first == t->n)
		return EG_E_OK;
	t->bytes = s->offset - t->at[t->first].offset;
	t->groups = aligned_alloc(EG_BLOCK, t->bytes);
	EG_ASSERT(t->groups != NULL);
	if (!segment_read_again(s, t->groups, t->bytes, t->at[t->first].offset))
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "the end of the log cannot be read again (segment from %llu): %s",
		               (unsigned long long)s->header.start_lsn, strerror(s->error));
	for (size_t at = 0; at < t->bytes; at += g->bytes) {
		g = (const struct group_header *)(const void *)(t->groups + at);
		if (g->magic != EG_GROUP_MAGIC || group_fault(g, t->bytes - at) != NULL)
			return err_set(f, EG_E_INTERNAL, NULL, NULL, "the end of the log is another one when it is read again"
			               " (segment from %llu)", (unsigned long long)s->header.start_lsn);
	}
	return EG_E_OK;
}

static enum err walk_group(struct walk *w, const struct segment_reader *s, const struct group_header *g,
                           uint64_t next_start)
{
	const struct record *r = NULL, *next = group_next(g, NULL);

	if (g->durable_lsn > w->scan->durable_lsn)
		w->scan->durable_lsn = g->durable_lsn;
	if (next_start == UINT64_MAX)
		tail_add(&w->scan->tail, g, segment_offset(s));
	tail_trim(&w->scan->tail, w->scan->durable_lsn);
	while ((r = next) != NULL && r->lsn < next_start) {
		enum err e = EG_E_OK;

		next = group_next(g, r);
		if (w->expected != 0 && r->lsn != w->expected)
			return err_set(w->f, EG_E_VALIDATION, NULL, NULL,
			               "the log is damaged: LSN %llu follows %llu in the segment from %llu",
			               (unsigned long long)r->lsn, (unsigned long long)w->expected - 1,
			               (unsigned long long)s->header.start_lsn);
		/* An accepted loss stands for a whole range (mend.h). */
		w->scan->last_lsn = r->type == EG_RECORD_LOSS ? r->version : r->lsn;
		w->expected = w->scan->last_lsn + 1;
		if (r->lsn >= w->from) {
			w->scan->records++;
			e = w->fn(w->arg, r, &s->header, w->f);
		}
		if (e != EG_E_OK)
			return e;
	}
	w->scan->last_crc = g->crc;
	return EG_E_OK;
}

/* What the end of a segment means. */
static enum err judge_end(struct walk *w, struct segment_reader *s, enum err why, const struct fault *reason,
                          uint64_t next_start)
{
	uint64_t lsn = w->expected ? w->expected : s->header.start_lsn;

	/* Nobody knows what is there: to cut it would be to lose it. The next start may read it. */
	if (why == EG_E_INTERNAL)
		return err_set(w->f, why, NULL, NULL, "the log cannot be read from LSN %llu on (segment from %llu, %s)",
		               (unsigned long long)lsn, (unsigned long long)s->header.start_lsn, reason->message);
	if (next_start != UINT64_MAX && lsn < next_start)
		return err_set(w->f, EG_E_VALIDATION, NULL, NULL,
		               "the log is damaged: LSN %llu to %llu are missing (segment from %llu, %s)",
		               (unsigned long long)lsn, (unsigned long long)next_start - 1,
		               (unsigned long long)s->header.start_lsn,
		               why == EG_E_OK ? "it ends early" : reason->message);
	if (next_start != UINT64_MAX)
		return EG_E_OK;
	w->scan->last_start = s->header.start_lsn;
	w->scan->last_used = s->offset;
	w->scan->blank = why == EG_E_OK;
	if (segment_has_witness(s, lsn))
		return err_set(w->f, EG_E_VALIDATION, NULL, NULL,
		               "the log is damaged: LSN %llu and later were durable and cannot be read"
		               " (segment from %llu, %s)", (unsigned long long)lsn,
		               (unsigned long long)s->header.start_lsn,
		               why == EG_E_OK ? "a blank block" : reason->message);
	if (s->error != 0)
		return err_set(w->f, EG_E_INTERNAL, NULL, NULL, "the log cannot be read behind LSN %llu (segment from %llu): %s",
		               (unsigned long long)lsn - 1, (unsigned long long)s->header.start_lsn, strerror(s->error));
	if (why != EG_E_OK)
		LOG_WARN("log: the tail after LSN %llu is torn and cut (segment from %llu, %s)",
		         (unsigned long long)lsn - 1, (unsigned long long)s->header.start_lsn, reason->message);
	return EG_E_OK;
}

static void look_at_salt(struct scan *s, uint64_t salt)
{
	if (salt != s->want_salt[0] && salt != s->want_salt[1])
		return;
	s->found = true;
	s->found_salt = salt;
}

static enum err walk_segment(struct walk *w, struct segment_reader *s, uint64_t next_start)
{
	const struct group_header *g;
	struct fault reason = { 0 };
	enum err why, e = EG_E_OK;

	if (w->expected != 0 && s->header.start_lsn > w->expected)
		return err_set(w->f, EG_E_VALIDATION, NULL, NULL,
		               "the log is damaged: LSN %llu to %llu are in no segment",
		               (unsigned long long)w->expected, (unsigned long long)s->header.start_lsn - 1);
	/* A rewritten tail begins below what was read: it says the same again. */
	if (w->expected == 0 || s->header.start_lsn < w->expected)
		w->expected = s->header.start_lsn;
	/* The segment before was synced before this one was made. */
	if (s->header.start_lsn > w->scan->durable_lsn + 1)
		w->scan->durable_lsn = s->header.start_lsn - 1;
	w->scan->tail.first = w->scan->tail.n = 0;
	while (e == EG_E_OK && (g = segment_next(s, &why, &reason)) != NULL) {
		if (g->first_lsn >= next_start)
			break;
		e = walk_group(w, s, g, next_start);
	}
	if (e == EG_E_OK && w->expected < next_start)
		e = judge_end(w, s, why, &reason, next_start);
	if (e == EG_E_OK && next_start == UINT64_MAX)
		e = tail_read(&w->scan->tail, s, w->f);
	w->scan->log_bytes += s->offset;
	w->scan->last_number = s->header.number;
	look_at_salt(w->scan, s->header.salt);
	if (s->header.incarnation > w->scan->incarnation)
		w->scan->incarnation = s->header.incarnation;
	if (w->expected == s->header.start_lsn)
		w->scan->last_crc = s->header.prev_crc;
	return e;
}

/* The reader that was opened early, when it is of that segment. */
static bool take_early(struct scan *s, uint64_t start, struct segment_reader *to)
{
	if (!s->is_early || s->early.header.start_lsn != start)
		return false;
	*to = s->early;
	s->is_early = false;
	return true;
}

static enum err walk_file(struct walk *w, uint64_t start, uint64_t next_start)
{
	char path[4200];
	struct segment_reader s;
	enum err e = EG_E_OK;

	datadir_segment_path(w->dir, path, start);
	if (!take_early(w->scan, start, &s))
		e = segment_open_once(&s, path, EG_READ_AHEAD, w->f);
	if (e != EG_E_OK)
		return e;
	s.moves = w->scan->moves;
	s.moves_arg = w->arg;
	if (memcmp(s.header.uuid, w->dir->uuid, sizeof s.header.uuid) != 0 || s.header.start_lsn != start)
		e = err_set(w->f, EG_E_VALIDATION, NULL, NULL, "%s belongs to another data directory or place", path);
	else
		e = walk_segment(w, &s, next_start);
	segment_close(&s);
	return e;
}

/* The segment before the first one that is read may be that of the store's newest
 * records: a writer may have died with the next one still blank. */
static enum err look_for_wanted(struct walk *w, uint64_t start)
{
	char path[4200];
	struct segment_reader s;
	enum err e;

	datadir_segment_path(w->dir, path, start);
	e = segment_open(&s, path, w->f);
	if (e != EG_E_OK)
		return e;
	look_at_salt(w->scan, s.header.salt);
	segment_close(&s);
	return EG_E_OK;
}

/* A segment that is not read: it was cut to its used length when it was full. */
static uint64_t file_bytes(const struct datadir *d, uint64_t start)
{
	char path[4200];
	struct stat st;

	datadir_segment_path(d, path, start);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void scan_early(const struct datadir *d, uint64_t from, struct scan *s)
{
	uint64_t *starts;
	unsigned n, i = 0;
	char path[4200];
	struct fault f;

	if (datadir_segments(d, &starts, &n, &f) != EG_E_OK)
		return;
	while (i + 1 < n && starts[i + 1] <= from)
		i++;
	if (n > 0) {
		datadir_segment_path(d, path, starts[i]);
		s->is_early = segment_open_once(&s->early, path, EG_READ_EARLY, &f) == EG_E_OK;
	}
	free(starts);
}

enum err scan_log(const struct datadir *d, uint64_t from, scan_fn *fn, void *arg,
                  struct scan *s, struct fault *f)
{
	struct walk w = { .dir = d, .from = from, .fn = fn, .arg = arg, .scan = s, .f = f };
	uint64_t *starts;
	unsigned n;
	enum err e;

	e = datadir_segments(d, &starts, &n, f);
	if (e == EG_E_OK && n > 0 && starts[0] > from)
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "the log begins at LSN %llu, but %llu is needed",
		            (unsigned long long)starts[0], (unsigned long long)from);
	for (unsigned i = 0; i < n && e == EG_E_OK; i++) {
		s->segments += datadir_segment_in_wal(d, starts[i]);
		/* What lies wholly before `from` is not read, but for the last one. */
		if (i + 1 < n && starts[i + 1] <= from) {
			s->log_bytes += file_bytes(d, starts[i]);
			if (i + 2 >= n || starts[i + 2] > from)
				e = look_for_wanted(&w, starts[i]);
			continue;
		}
		e = walk_file(&w, starts[i], i + 1 < n ? starts[i + 1] : UINT64_MAX);
	}
	free(starts);
	if (e == EG_E_OK && w.expected != 0 && s->last_lsn == 0)
		s->last_lsn = w.expected - 1;
	return e;
}

bool scan_reaches(const struct datadir *d, uint64_t number, uint64_t salt, uint64_t lsn)
{
	bool found = false, reaches = false;
	uint64_t *starts, first, last;
	struct fault f;
	unsigned n;

	if (datadir_segments(d, &starts, &n, &f) != EG_E_OK)
		return false;
	for (unsigned i = n; i-- > 0 && !found;) {
		struct segment_reader s;
		char path[4200];

		datadir_segment_path(d, path, starts[i]);
		if (segment_open(&s, path, &f) != EG_E_OK)
			continue;
		found = s.header.number == number && s.header.salt == salt
		        && memcmp(s.header.uuid, d->uuid, sizeof d->uuid) == 0;
		reaches = found && s.header.start_lsn > lsn;
		while (found && !reaches && segment_skip(&s, &first, &last))
			reaches = last >= lsn;
		segment_close(&s);
	}
	free(starts);
	return reaches;
}

void scan_free(struct scan *s)
{
	if (s->is_early)
		segment_close(&s->early);
	s->is_early = false;
	free(s->tail.groups);
	free(s->tail.at);
	memset(&s->tail, 0, sizeof s->tail);
}
