/* Repairing each copy from the other, see mirror.h; before the log is opened. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "wal/checkpoint.h"
#include "wal/mirror.h"
#include "wal/salvage.h"

struct pair {
	struct datadir d[2];           /* the data directory, the mirror */
	uint64_t stale[2];             /* of each: from which segment on it is not to be trusted */
	bool trusted;
	unsigned repaired;
};

/* ---- files ---------------------------------------------------------------------------- */

int mirror_put(const struct datadir *to, int folder_fd, const char *name, const void *image, uint64_t bytes)
{
	int fd = FAULT_FD(MIRROR_CREATE, io_open(to->tmp_fd, "mirror", O_RDWR | O_CREAT | O_TRUNC));
	int error = fd < 0 ? -fd : FAULT_IO(MIRROR_WRITE, io_write_at(fd, image, bytes, 0));

	if (error == 0)
		error = FAULT_IO(MIRROR_SYNC, io_sync(fd));
	if (fd >= 0)
		close(fd);
	if (error == 0)
		error = FAULT_IO(MIRROR_RENAME, io_rename(to->tmp_fd, "mirror", folder_fd, name));
	if (error == 0)
		error = FAULT_IO(MIRROR_DIR_SYNC, io_sync_dir(folder_fd));
	return error;
}

/* A whole file in memory: checkpoints, the superblock; a segment is one at a time, too. */
static int get(int folder_fd, const char *name, uint8_t **image, uint64_t *bytes)
{
	int fd = FAULT_FD(MIRROR_OPEN, io_open(folder_fd, name, O_RDONLY));
	struct stat st;
	int error = fd < 0 ? -fd : fstat(fd, &st) != 0 ? errno : 0;

	*image = NULL;
	if (error == 0) {
		*bytes = (uint64_t)st.st_size;
		*image = malloc(*bytes + 1);
		if (*image == NULL)
			error = ENOMEM;
		else if (FAULT_READ(MIRROR_READ, io_read_at(fd, *image, *bytes, 0)) != (ssize_t)*bytes)
			error = EIO;
	}
	if (fd >= 0)
		close(fd);
	return error;
}

int mirror_copy(int from_fd, const char *name, const struct datadir *to, int to_fd, bool anew)
{
	struct stat a, b;
	uint8_t *image;
	uint64_t bytes;
	int error;

	if (!anew && fstatat(from_fd, name, &a, 0) == 0 && fstatat(to_fd, name, &b, 0) == 0 && a.st_size == b.st_size)
		return 0;
	error = get(from_fd, name, &image, &bytes);
	if (error == 0)
		error = mirror_put(to, to_fd, name, image, bytes);
	free(image);
	return error;
}

int mirror_copy_checkpoints(const struct datadir *from, const struct datadir *to)
{
	int fd = FAULT_FD(MIRROR_OPEN, io_open(from->fd, "checkpoints", O_RDONLY | O_DIRECTORY)), error = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && error == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			error = mirror_copy(from->checkpoints_fd, entry->d_name, to, to->checkpoints_fd, false);
			error = error == ENOENT ? 0 : error;
		}
	if (dir != NULL)
		closedir(dir);
	if (error == 0)
		error = mirror_copy(from->fd, "SUPERBLOCK", to, to->fd, true);
	return error;
}

uint64_t mirror_read_stale(const struct datadir *good)
{
	uint8_t *image;
	uint64_t bytes, start = UINT64_MAX;

	if (get(good->fd, EG_STALE, &image, &bytes) == 0) {
		image[bytes] = 0;
		start = strtoull((const char *)image, NULL, 10);
	}
	free(image);
	return start;
}

/* ---- a segment ------------------------------------------------------------------------- */

/* Is all that stands in this copy whole? */
static bool whole(const struct salvage *s)
{
	uint64_t end = EG_SEGMENT_DATA;

	if (!s->copy_valid[0] || !s->copy_valid[1] || s->unreadable > 0)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (s->pieces[i].offset != end)
			return false;
		end += s->pieces[i].bytes;
	}
	return s->junk == s->size;
}

static bool has_piece(const struct salvage *s, const struct piece *p)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->pieces[middle].offset < p->offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->n && s->pieces[low].offset == p->offset && s->pieces[low].crc == p->crc;
}

static bool same_segment(const struct salvage *a, const struct salvage *b)
{
	return a->header_known && b->header_known && a->header.salt == b->header.salt;
}

/* The best of both: the groups of s, and those that only other has. NULL: nothing to
 * add, s is as good as it can be. Freed by the caller. */
static uint8_t *united(const struct salvage *s, const struct salvage *other, uint64_t *bytes)
{
	bool use[2] = { s->copy_valid[0], s->copy_valid[1] };
	const uint8_t *header = use[0] ? s->image : use[1] ? s->image + EG_BLOCK
	                        : other->copy_valid[0] ? other->image : other->copy_valid[1] ? other->image + EG_BLOCK : NULL;
	bool better = header != NULL && (!use[0] || !use[1]);
	uint64_t end = s->end > other->end ? s->end : other->end;
	uint8_t *image;

	for (size_t i = 0; i < other->n && !better; i++)
		better = !has_piece(s, &other->pieces[i]);
	if (!better && !(s->junk < s->size && whole(other)))
		return NULL;
	image = calloc(1, end);
	EG_ASSERT(image != NULL);
	if (header != NULL) {
		memcpy(image, header, EG_BLOCK);
		memcpy(image + EG_BLOCK, header, EG_BLOCK);
	}
	for (unsigned k = 0; k < 2; k++) {
		const struct salvage *from = k == 0 ? other : s;

		for (size_t i = 0; i < from->n; i++)
			memcpy(image + from->pieces[i].offset, from->image + from->pieces[i].offset, from->pieces[i].bytes);
	}
	*bytes = end;
	return image;
}

static enum err failed(struct fault *f, const char *name, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "mirror: %s: %s", name, strerror(error));
}

static int folder_of(const struct datadir *d, uint64_t start)
{
	return d->warm_fd < 0 || datadir_segment_in_wal(d, start) ? d->wal_fd : d->warm_fd;
}

static enum err put(struct pair *p, unsigned k, uint64_t start, const void *image, uint64_t bytes, struct fault *f)
{
	char name[32];
	int error;

	datadir_segment_name(name, start);
	error = mirror_put(&p->d[k], folder_of(&p->d[k], start), name, image, bytes);
	if (error != 0)
		return failed(f, name, error);
	p->repaired++;
	LOG_WARN("mirror: %s of %s is repaired from the other copy", name, p->d[k].path);
	FAULT(MIRROR_REPAIRED);
	return EG_E_OK;
}

/* Both copies are there. */
static enum err unite(struct pair *p, uint64_t start, struct salvage s[2], struct fault *f)
{
	enum err e = EG_E_OK;
	uint64_t bytes;

	if (!same_segment(&s[0], &s[1])) {
		/* One was written again after the other was lost: the later number is right. */
		unsigned bad = !s[0].header_known || (s[1].header_known && s[0].header.number < s[1].header.number) ? 0 : 1;

		if (s[!bad].header_known && (!s[bad].header_known || s[bad].header.number != s[!bad].header.number))
			return put(p, bad, start, s[!bad].image, s[!bad].size, f);
		return EG_E_OK;
	}
	for (unsigned k = 0; k < 2 && e == EG_E_OK; k++) {
		uint8_t *image = start >= p->stale[k] ? NULL : united(&s[k], &s[!k], &bytes);

		if (image != NULL)
			e = put(p, k, start, image, bytes, f);
		else if (start >= p->stale[k])
			e = put(p, k, start, s[!k].image, s[!k].size, f);
		free(image);
	}
	return e;
}

static enum err mend_segment(struct pair *p, uint64_t start, const bool there[2], struct fault *f)
{
	struct salvage s[2] = { { 0 }, { 0 } };
	bool have[2] = { false, false };
	char name[32];
	enum err e = EG_E_OK;

	datadir_segment_name(name, start);
	for (unsigned k = 0; k < 2; k++)
		have[k] = there[k] && salvage_open(&s[k], folder_of(&p->d[k], start), name, f) == EG_E_OK;
	for (unsigned k = 0; k < 2 && e == EG_E_OK; k++)
		if (have[k] && (s[k].copy_valid[0] || s[k].copy_valid[1])
		    && memcmp(s[k].header.uuid, p->d[k].uuid, sizeof s[k].header.uuid) != 0)
			e = err_set(f, EG_E_VALIDATION, NULL, NULL, "mirror: %s of %s belongs to another data directory", name,
			            p->d[k].path);
	if (e == EG_E_OK && have[0] && have[1])
		e = unite(p, start, s, f);
	else if (e == EG_E_OK && (have[0] || have[1]))
		e = put(p, have[0], start, s[!have[0]].image, s[!have[0]].size, f);
	salvage_free(&s[0]);
	salvage_free(&s[1]);
	return e;
}

/* ---- all segments ---------------------------------------------------------------------- */

static bool same_size(const struct pair *p, uint64_t start)
{
	char name[32];
	struct stat a, b;

	datadir_segment_name(name, start);
	return fstatat(folder_of(&p->d[0], start), name, &a, 0) == 0
	       && fstatat(folder_of(&p->d[1], start), name, &b, 0) == 0 && a.st_size == b.st_size;
}

static enum err mend_segments(struct pair *p, struct fault *f)
{
	uint64_t *starts[2] = { NULL, NULL };
	unsigned n[2] = { 0, 0 }, at[2] = { 0, 0 };
	enum err e = datadir_segments(&p->d[0], &starts[0], &n[0], f);

	if (e == EG_E_OK)
		e = datadir_segments(&p->d[1], &starts[1], &n[1], f);
	while (e == EG_E_OK && (at[0] < n[0] || at[1] < n[1])) {
		uint64_t a = at[0] < n[0] ? starts[0][at[0]] : UINT64_MAX, b = at[1] < n[1] ? starts[1][at[1]] : UINT64_MAX;
		uint64_t start = a < b ? a : b;
		const bool there[2] = { a == start, b == start };
		/* The last two may have been written to when the last writer ended. */
		bool settled = at[0] + 2 < n[0] && at[1] + 2 < n[1] && start < p->stale[0] && start < p->stale[1];

		at[0] += there[0];
		at[1] += there[1];
		if (p->trusted && settled && there[0] && there[1] && same_size(p, start))
			continue;
		e = mend_segment(p, start, there, f);
	}
	free(starts[0]);
	free(starts[1]);
	return e;
}

/* ---- superblock, checkpoints ----------------------------------------------------------- */

static bool checkpoint_whole(const struct datadir *d, const char *name, const uint8_t uuid[16])
{
	struct checkpoint c;
	struct fault f;
	enum err e = checkpoint_open_file(&c, d->checkpoints_fd, name, d->checkpoints_fd, uuid, &f);

	if (e != EG_E_OK)
		return e == EG_E_LATER;    /* a newer build's: not for this one to judge */
	/* Its own extents; those of other files are looked at there. */
	e = checkpoint_verify(&c, true, &f);
	checkpoint_close(&c);
	return e == EG_E_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

/* Names in checkpoints/ of either copy, sorted. */
static unsigned list_checkpoints(const struct pair *p, char (**names)[32])
{
	unsigned n = 0, cap = 0, k = 0;

	*names = NULL;
	for (unsigned side = 0; side < 2; side++) {
		int fd = FAULT_FD(MIRROR_OPEN, io_open(p->d[side].fd, "checkpoints", O_RDONLY | O_DIRECTORY));
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *entry;

		while (dir != NULL && (entry = readdir(dir)) != NULL) {
			if (entry->d_name[0] == '.' || strlen(entry->d_name) > 31)
				continue;
			if (n == cap) {
				cap = cap ? cap * 2 : 16;
				*names = realloc(*names, cap * sizeof **names);
				EG_ASSERT(*names != NULL);
			}
			memcpy((*names)[n++], entry->d_name, strlen(entry->d_name) + 1);
		}
		if (dir != NULL)
			closedir(dir);
	}
	if (n > 0)
		qsort(*names, n, sizeof **names, by_name);
	for (unsigned i = 0; i < n; i++)
		if (k == 0 || strcmp((*names)[k - 1], (*names)[i]) != 0)
			memmove((*names)[k++], (*names)[i], sizeof **names);
	return k;
}

/* A file of a checkpoint is whole when what it refers to is there, so older ones first;
 * a copy that is not whole is replaced by one that is. */
static enum err mend_checkpoints(struct pair *p, struct fault *f)
{
	char (*names)[32];
	unsigned n = list_checkpoints(p, &names);
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < n && e == EG_E_OK; i++) {
		bool ok[2] = { checkpoint_whole(&p->d[0], names[i], p->d[0].uuid),
		               checkpoint_whole(&p->d[1], names[i], p->d[0].uuid) };
		unsigned bad = ok[0] ? 1 : 0;
		int error;

		if (ok[0] == ok[1])
			continue;
		error = mirror_copy(p->d[!bad].checkpoints_fd, names[i], &p->d[bad], p->d[bad].checkpoints_fd, true);
		if (error != 0)
			e = failed(f, names[i], error);
		p->repaired++;
		LOG_WARN("mirror: %s of %s is repaired from the other copy", names[i], p->d[bad].path);
	}
	free(names);
	return e;
}

/* The superblock of either copy, whichever is whole and newer, in both. */
static enum err mend_superblock(struct pair *p, bool *none, struct fault *f)
{
	struct superblocks s[2];
	struct fault why[2];
	enum err e[2] = { superblock_read(p->d[0].fd, &s[0], &why[0]), superblock_read(p->d[1].fd, &s[1], &why[1]) };
	bool ok[2] = { e[0] == EG_E_OK, e[1] == EG_E_OK };
	unsigned good;
	int error = 0;

	*none = e[0] == EG_E_NOT_FOUND && e[1] == EG_E_NOT_FOUND;
	if (*none)
		return EG_E_OK;
	if (ok[0] && ok[1] && memcmp(s[0].now.uuid, s[1].now.uuid, sizeof s[0].now.uuid) != 0)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s is the mirror of another data directory", p->d[1].path);
	/* One was restored from a backup: LSNs of both tell different stories. */
	if (ok[0] && ok[1] && s[0].now.timeline != s[1].now.timeline)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s has timeline %u, its mirror %s has timeline %u: one was restored "
		               "from a backup; take the other one away", p->d[0].path, s[0].now.timeline, p->d[1].path,
		               s[1].now.timeline);
	if (!ok[0] && !ok[1])
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s in %s, and the mirror has none that is whole",
		               why[0].message, p->d[0].path);
	good = !ok[0] || (ok[1] && s[1].now.seq > s[0].now.seq) ? 1 : 0;
	memcpy(p->d[0].uuid, s[good].now.uuid, sizeof p->d[0].uuid);
	memcpy(p->d[1].uuid, s[good].now.uuid, sizeof p->d[1].uuid);
	if (!ok[!good] || s[!good].now.seq != s[good].now.seq || s[!good].damaged)
		error = mirror_copy(p->d[good].fd, "SUPERBLOCK", &p->d[!good], p->d[!good].fd, true);
	if (error != 0)
		return failed(f, "SUPERBLOCK", error);
	if (!ok[!good]) {
		p->repaired++;
		LOG_WARN("mirror: SUPERBLOCK of %s is made from the other copy", p->d[!good].path);
	}
	return EG_E_OK;
}

/* ---- both directories --------------------------------------------------------------------- */

enum err mirror_open_folders(struct datadir *d, const char *path, struct fault *f)
{
	static const char *const names[] = { "wal", "warm", "spare", "tmp", "checkpoints" };
	int *const fds[] = { &d->wal_fd, &d->warm_fd, &d->spare_fd, &d->tmp_fd, &d->checkpoints_fd };
	int error;

	memset(d, 0, sizeof *d);
	d->fd = d->wal_fd = d->warm_fd = d->spare_fd = d->tmp_fd = d->checkpoints_fd = -1;
	snprintf(d->path, sizeof d->path, "%s", path);
	error = FAULT_IO(MIRROR_MAKE_DIR, io_make_dir(AT_FDCWD, path));
	if (error != 0 && error != EEXIST)
		return failed(f, path, error);
	d->fd = FAULT_FD(MIRROR_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	if (d->fd < 0)
		return failed(f, path, -d->fd);
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		error = FAULT_IO(MIRROR_MAKE_DIR, io_make_dir(d->fd, names[i]));
		if (error != 0 && error != EEXIST)
			return failed(f, path, error);
		*fds[i] = FAULT_FD(MIRROR_OPEN, io_open(d->fd, names[i], O_RDONLY | O_DIRECTORY));
		if (*fds[i] < 0)
			return failed(f, path, -*fds[i]);
	}
	/* Made now, or by somebody who was killed before he synced them. */
	error = FAULT_IO(MIRROR_DIR_SYNC, io_sync_dir(d->fd));
	return error == 0 ? EG_E_OK : failed(f, path, error);
}

static bool one_folder(const struct pair *p)
{
	struct stat a, b;

	return fstat(p->d[0].fd, &a) == 0 && fstat(p->d[1].fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static enum err mend_both(struct pair *p, struct fault *f)
{
	enum err e = EG_E_OK;
	bool none;

	/* What one copy's note says concerns the other. */
	p->stale[0] = mirror_read_stale(&p->d[1]);
	p->stale[1] = mirror_read_stale(&p->d[0]);
	if (p->stale[0] != UINT64_MAX && p->stale[1] != UINT64_MAX)
		p->stale[0] = p->stale[1] = UINT64_MAX;   /* neither knows better: group by group */
	e = mend_superblock(p, &none, f);
	if (e != EG_E_OK || none)
		return e;
	e = mend_segments(p, f);
	if (e == EG_E_OK)
		e = mend_checkpoints(p, f);
	for (unsigned k = 0; k < 2 && e == EG_E_OK; k++)
		if (FAULT_IO(MIRROR_UNLINK, io_unlink(p->d[k].fd, EG_STALE)) == 0)
			LOG_INFO("mirror: both copies are whole again");
	if (e == EG_E_OK && FAULT_IO(MIRROR_UNLINK, io_unlink(p->d[0].fd, EG_AHEAD)) == 0)
		LOG_INFO("mirror: what it alone had is in the data directory");
	return e;
}

enum err mirror_mend(const char *main_path, const char *mirror_path, bool trusted, struct fault *f)
{
	struct pair p = { .trusted = trusted };
	enum err e, e1;

	e = mirror_open_folders(&p.d[0], main_path, f);
	e1 = mirror_open_folders(&p.d[1], mirror_path, f);
	if (e == EG_E_OK)
		e = e1;
	if (e == EG_E_OK && one_folder(&p))
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "wal.mirror_dir is the data directory itself");
	if (e == EG_E_OK)
		e = mend_both(&p, f);
	datadir_close(&p.d[0]);
	datadir_close(&p.d[1]);
	return e;
}
