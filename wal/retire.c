/* Retiring, see the header. */
#include "wal/retire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "wal/segment.h"

struct segments {                      /* sorted by start; a later one supersedes from its start on */
	uint64_t *start;
	bool *used;                    /* holds the record of a row */
	unsigned n;
};

/* The segment in force for that LSN: the last one that begins at or below it. */
static void mark(struct segments *s, uint64_t lsn)
{
	unsigned low = 0, high = s->n;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (s->start[middle] <= lsn)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0)
		s->used[low - 1] = true;
}

static bool shares(const struct checkpoint *c, const struct extent_ref *ref)
{
	const struct extent_ref *same = c != NULL ? checkpoint_ref(c, ref->kind, ref->first) : NULL;

	return same != NULL && same->file == ref->file && same->offset == ref->offset;
}

/* `seen`: its extents were read already. */
static enum err mark_rows(struct segments *s, const struct checkpoint *c, const struct checkpoint *seen, void *buf,
                          struct fault *f)
{
	for (uint32_t i = 0; i < c->n_refs; i++) {
		const void *entries;
		const struct checkpoint_row *rows;
		enum err e;

		if (shares(seen, &c->refs[i]))
			continue;
		e = checkpoint_read(c, &c->refs[i], buf, &entries, f);
		if (e != EG_E_OK)
			return e;
		rows = entries;
		for (uint32_t k = 0; c->refs[i].kind == EG_EXTENT_ROWS && k < c->refs[i].n; k++)
			mark(s, rows[k].lsn);
	}
	return EG_E_OK;
}

/* ---- segments ----------------------------------------------------------------------- */

static void remove_segment(const struct datadir *d, const char *name, bool in_wal, struct retired_files *r)
{
	int folder = in_wal ? d->wal_fd : d->warm_fd, error;
	struct stat st = { 0 };

	if (fstatat(folder, name, &st, 0) != 0)
		return;
	error = FAULT_IO(RETIRE_UNLINK, io_unlink(folder, name));
	if (error != 0) {
		LOG_WARN("log: dead segment %s cannot be removed: %s", name, strerror(error));
		return;
	}
	r->removed++;
	r->left_wal += in_wal;
	r->removed_bytes += (uint64_t)st.st_size;
}

static void move_segment(const struct datadir *d, const char *name, struct retired_files *r)
{
	int error = FAULT_IO(RETIRE_MOVE, io_rename(d->wal_fd, name, d->warm_fd, name));

	if (error != 0) {
		LOG_WARN("log: segment %s cannot be moved to warm/: %s", name, strerror(error));
		return;
	}
	r->moved++;
	r->left_wal++;
}

/* Is there nothing in this segment behind what counts until `next`? After a failed write, and after
 * an end that was not clean, there is: the one that begins at `next` supersedes it. */
static bool ends_clean(const struct datadir *d, uint64_t start, uint64_t next)
{
	uint64_t first, last = 0;
	struct segment_reader s;
	char path[4200];
	struct fault f;
	bool clean;

	datadir_segment_path(d, path, start);
	if (segment_open(&s, path, &f) != EG_E_OK) {
		LOG_WARN("log: %s; the segment behind it stays", f.message);
		return false;
	}
	while (last < next && segment_skip(&s, &first, &last))
		;
	clean = last < next && s.offset == s.size;
	segment_close(&s);
	return clean;
}

/* `kept`: the segment before that stays, s->n: there is none. Without the one that supersedes
 * its end, that end would be taken for damage. */
static bool is_dead(const struct datadir *d, const struct segments *s, unsigned i, unsigned kept)
{
	return !s->used[i] && (kept == s->n || ends_clean(d, s->start[kept], s->start[i]));
}

static void retire_segments(const struct datadir *d, const struct segments *s, uint64_t limit, struct retired_files *r)
{
	unsigned kept = s->n;
	int error;

	for (unsigned i = 0; i + 1 < s->n && s->start[i + 1] - 1 <= limit; i++) {
		bool in_wal = datadir_segment_in_wal(d, s->start[i]);
		char name[32];

		datadir_segment_name(name, s->start[i]);
		if (is_dead(d, s, i, kept)) {
			remove_segment(d, name, in_wal, r);
		} else {
			kept = i;
			if (in_wal)
				move_segment(d, name, r);
		}
		FAULT(RETIRE_SEGMENT);
	}
	if (r->moved + r->removed == 0)
		return;
	error = FAULT_IO(RETIRE_DIR_SYNC, io_sync_dir(d->warm_fd));
	if (error == 0)
		error = FAULT_IO(RETIRE_DIR_SYNC, io_sync_dir(d->wal_fd));
	if (error != 0)
		LOG_WARN("log: the folders of segments cannot be synced: %s", strerror(error));
}

/* ---- files of checkpoints -------------------------------------------------------------- */

static bool names_file(const struct checkpoint *c, uint64_t id)
{
	for (uint32_t i = 0; c != NULL && i < c->n_files; i++)
		if (c->files[i].id == id)
			return true;
	return false;
}

static void retire_checkpoints(const struct datadir *d, const struct checkpoint *newest,
                               const struct checkpoint *previous, struct retired_files *r)
{
	DIR *dir = fdopendir(FAULT_FD(CHECKPOINTS_LIST, io_open(d->fd, "checkpoints", O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;
	unsigned long long id;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (sscanf(entry->d_name, "%16llx.ckpt", &id) != 1 || names_file(newest, id) || names_file(previous, id))
			continue;
		if (FAULT_IO(RETIRE_CHECKPOINT, io_unlink(d->checkpoints_fd, entry->d_name)) != 0)
			LOG_WARN("checkpoints/%s: cannot be removed", entry->d_name);
		else
			r->checkpoints++;
	}
	if (dir != NULL)
		closedir(dir);
}

static uint64_t count_folder(const struct datadir *d, const char *name, unsigned *files)
{
	DIR *dir = fdopendir(FAULT_FD(RETIRE_LIST, io_open(d->fd, name, O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;
	uint64_t bytes = 0;
	struct stat st;

	*files = 0;
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
			continue;
		++*files;
		bytes += (uint64_t)st.st_size;
	}
	if (dir != NULL)
		closedir(dir);
	return bytes;
}

bool retire_due(const struct datadir *d, uint64_t limit)
{
	uint64_t *start = NULL;
	unsigned n = 0;
	struct fault f;
	bool due = false;

	if (datadir_segments(d, &start, &n, &f) == EG_E_OK)
		for (unsigned i = 0; i + 1 < n && start[i + 1] - 1 <= limit; i++)
			due |= datadir_segment_in_wal(d, start[i]);
	free(start);
	return due;
}

void retire_count(const struct datadir *d, struct retired_files *r)
{
	unsigned n;

	(void)count_folder(d, "warm", &r->warm);
	r->checkpoint_bytes = count_folder(d, "checkpoints", &n);
}

enum err retire_files(const struct datadir *d, const struct checkpoint *newest, const struct checkpoint *previous,
                      struct retired_files *r, struct fault *f)
{
	struct segments s = { 0 };
	void *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	enum err e;

	EG_ASSERT(buf != NULL);
	memset(r, 0, sizeof *r);
	e = datadir_segments(d, &s.start, &s.n, f);
	s.used = calloc(s.n + 1, sizeof *s.used);
	EG_ASSERT(s.used != NULL);
	if (e == EG_E_OK)
		e = mark_rows(&s, newest, NULL, buf, f);
	if (e == EG_E_OK && previous != NULL)
		e = mark_rows(&s, previous, newest, buf, f);
	FAULT(RETIRE_MARKED);
	if (e == EG_E_OK) {
		uint64_t limit = newest->header.start_lsn;

		if (previous != NULL && previous->header.start_lsn < limit)
			limit = previous->header.start_lsn;
		if (previous != NULL)
			retire_segments(d, &s, limit, r);
		retire_checkpoints(d, newest, previous, r);
	}
	retire_count(d, r);
	free(buf);
	free(s.start);
	free(s.used);
	return e;
}
