/* Copying files into a backup, see the header. */
#include "wal/backup_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "wal/checkpoint.h"
#include "wal/segment.h"

enum { STEP = 1 << 20, SYNC_EACH = 32 << 20 };

static enum err failed(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "backup: %s: %s", what, strerror(error));
}

/* ---- folders ------------------------------------------------------------------------- */

enum err backup_make_folder(struct datadir *to, int folder_fd, const char *name, struct fault *f)
{
	int error = FAULT_IO(BACKUP_MAKE_DIR, io_make_dir(folder_fd, name));

	memset(to, 0, sizeof *to);
	to->fd = to->wal_fd = to->warm_fd = to->spare_fd = to->tmp_fd = to->checkpoints_fd = -1;
	snprintf(to->path, sizeof to->path, "%s", name);
	if (error != 0)
		return failed(f, name, error);
	to->fd = FAULT_FD(BACKUP_OPEN_DIR, io_open(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
	return to->fd >= 0 ? datadir_folders(to, true, f) : failed(f, name, -to->fd);
}

/* What cannot be removed stays, and the next attempt meets it: no error is worth more. */
static void remove_files(int parent_fd, const char *name, bool below)
{
	int fd = FAULT_FD(BACKUP_OPEN_DIR, io_open(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (below && entry->d_type == DT_DIR)
			remove_files(dirfd(dir), entry->d_name, false);
		else
			(void)!FAULT_IO(BACKUP_UNLINK, io_unlink(dirfd(dir), entry->d_name));
	}
	if (dir != NULL)
		closedir(dir);
	(void)!FAULT_IO(BACKUP_UNLINK, io_remove_dir(parent_fd, name));
}

void backup_remove_folder(int folder_fd, const char *name) { remove_files(folder_fd, name, true); }

/* ---- one file being written ------------------------------------------------------------ */

struct stream {
	struct backup_out *b;
	const char *name;                  /* with its folder */
	int fd;
	uint8_t *buf;
	size_t have;
	uint64_t at, synced;               /* bytes written; of these, synced */
	uint32_t crc;
};

static enum err stream_open(struct stream *s, struct backup_out *b, const char *name, struct fault *f)
{
	*s = (struct stream){ .b = b, .name = name };
	s->fd = FAULT_FD(BACKUP_CREATE, io_open(b->to.fd, name, O_WRONLY | O_CREAT | O_TRUNC));
	if (s->fd < 0)
		return failed(f, name, -s->fd);
	s->buf = malloc(STEP);
	EG_ASSERT(s->buf != NULL);
	return EG_E_OK;
}

static enum err flush(struct stream *s, struct fault *f)
{
	int error;

	if (s->have == 0)
		return EG_E_OK;
	if (s->b->stop != NULL && s->b->stop(s->b->arg))
		return err_set(f, EG_E_WRITER, NULL, NULL, "the backup was given up: the process stops");
	error = FAULT_IO(BACKUP_WRITE, io_write_at(s->fd, s->buf, s->have, s->at));
	s->crc = crc32c(s->crc, s->buf, s->have);
	s->at += s->have;
	s->have = 0;
	/* Little dirty memory at a time, or the log's own syncs would wait behind it. */
	if (error == 0 && s->at - s->synced >= SYNC_EACH) {
		error = FAULT_IO(BACKUP_SYNC, io_sync(s->fd));
		(void)posix_fadvise(s->fd, (off_t)s->synced, (off_t)(s->at - s->synced), POSIX_FADV_DONTNEED);
		s->synced = s->at;
	}
	return error == 0 ? EG_E_OK : failed(f, s->name, error);
}

static enum err stream_add(struct stream *s, const void *data, size_t bytes, struct fault *f)
{
	const uint8_t *from = data;

	while (bytes > 0) {
		size_t n = STEP - s->have < bytes ? STEP - s->have : bytes;
		enum err e;

		memcpy(s->buf + s->have, from, n);
		s->have += n;
		from += n;
		bytes -= n;
		if (s->have == STEP && (e = flush(s, f)) != EG_E_OK)
			return e;
	}
	return EG_E_OK;
}

/* The rest, synced; its row. Closes it whatever happened before (e). */
static enum err stream_end(struct stream *s, uint64_t salt, enum err e, struct fault *f)
{
	int error = 0;

	if (e == EG_E_OK)
		e = flush(s, f);
	if (e == EG_E_OK && (error = FAULT_IO(BACKUP_SYNC, io_sync(s->fd))) != 0)
		e = failed(f, s->name, error);
	if (e == EG_E_OK) {
		(void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED);
		manifest_add(&s->b->m, s->name, s->at, s->crc, salt);
		s->b->bytes += s->at;
		s->b->copied_bytes += s->at;
	}
	close(s->fd);
	free(s->buf);
	return e;
}

/* A file of the base with this row becomes `name` here, too. False: copy it instead. */
static bool take_over(struct backup_out *b, const struct manifest_file *row, const char *name)
{
	struct fault f;

	/* What is taken over is as good as it was then: read again. */
	if (manifest_verify(row, b->base_fd, &f) != EG_E_OK
	    || FAULT_IO(BACKUP_LINK, io_link(b->base_fd, row->name, b->to.fd, name)) != 0)
		return false;
	manifest_add(&b->m, name, row->bytes, row->crc, row->salt);
	b->bytes += row->bytes;
	b->linked++;
	return true;
}

/* ---- segments -------------------------------------------------------------------------- */

/* Up to lsn, or to where the next segment begins. What follows may be in the midst of being written, or
 * was given up after a failed write and stands in the next segment: it is not looked at. Segments that nobody
 * needed any more are gone, so one in the midst may well end before the next begins. */
static enum err copy_groups(struct stream *to, struct segment_reader *s, uint64_t lsn, uint64_t next, struct fault *f)
{
	uint64_t must = next - 1 < lsn ? next - 1 : lsn;
	uint8_t head[EG_SEGMENT_DATA];
	const struct group_header *g;
	enum err why = EG_E_OK, e;
	uint64_t end = EG_SEGMENT_DATA, last = s->header.start_lsn - 1;

	if (FAULT_READ(BACKUP_READ, io_read_at(s->fd, head, sizeof head, 0)) != (ssize_t)sizeof head)
		return failed(f, to->name, EIO);
	e = stream_add(to, head, sizeof head, f);
	while (e == EG_E_OK && last < must && (g = segment_next(s, &why, f)) != NULL) {
		if (g->first_lsn > must)
			return e;
		/* Groups follow each other without a hole. */
		EG_ASSERT(segment_offset(s) == end);
		end += g->bytes;
		last = g->first_lsn + g->n_records - 1;
		e = stream_add(to, g, g->bytes, f);
	}
	if (e == EG_E_OK && why == EG_E_OK && last < lsn && next > lsn)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "backup: %s ends with LSN %" PRIu64 ", %" PRIu64 " was acknowledged",
		               to->name, last, lsn);
	return e == EG_E_OK && last < must ? why : e;
}

/* Did the base go up to where the next segment begins? Then its copy holds all that is looked for here; what is
 * behind that in this file has another place in the next one. On another timeline its end may be another, too. */
static bool base_has(const struct backup_out *b, uint64_t next)
{
	return next != UINT64_MAX && b->base.timeline == b->m.timeline && b->base.lsn >= next - 1;
}

enum err backup_copy_segment(struct backup_out *b, const struct datadir *from, uint64_t start, uint64_t lsn,
                             uint64_t next, struct fault *f)
{
	const struct manifest_file *row;
	struct segment_reader s;
	struct stream to;
	char path[4200], file[32], name[64];
	enum err e;

	if (start > lsn)
		return EG_E_OK;
	datadir_segment_name(file, start);
	snprintf(name, sizeof name, "%s/%s", datadir_segment_in_wal(from, start) ? "wal" : "warm", file);
	datadir_segment_path(from, path, start);
	e = segment_open(&s, path, f);
	if (e != EG_E_OK)
		return e;
	row = b->base_fd >= 0 ? manifest_find(&b->base, file) : NULL;
	if (row != NULL && row->salt == s.header.salt && (row->bytes == s.size || base_has(b, next)) && take_over(b, row, name)) {
		segment_close(&s);
		return EG_E_OK;
	}
	e = stream_open(&to, b, name, f);
	if (e == EG_E_OK)
		e = stream_end(&to, s.header.salt, copy_groups(&to, &s, lsn, next, f), f);
	segment_close(&s);
	FAULT(BACKUP_SEGMENT);
	return e;
}

/* ---- other files ----------------------------------------------------------------------- */

enum err backup_copy_file(struct backup_out *b, int from_fd, const char *name, struct fault *f)
{
	int fd = FAULT_FD(BACKUP_OPEN, io_open(from_fd, name, O_RDONLY | O_NOFOLLOW));
	struct stream to;
	uint64_t at = 0;
	ssize_t got = 1;
	enum err e;

	if (fd < 0)
		return failed(f, name, -fd);
	e = stream_open(&to, b, name, f);
	if (e != EG_E_OK) {
		close(fd);
		return e;
	}
	while (e == EG_E_OK && got > 0) {
		uint8_t piece[65536];

		got = FAULT_READ(BACKUP_READ, io_read_at(fd, piece, sizeof piece, at));
		at += got > 0 ? (uint64_t)got : 0;
		e = got < 0 ? failed(f, name, errno) : stream_add(&to, piece, (size_t)got, f);
	}
	close(fd);
	return stream_end(&to, 0, e, f);
}

static enum err copy_checkpoint(struct backup_out *b, const struct datadir *from, const struct checkpoint_place *p,
                                struct fault *f)
{
	struct checkpoint c;
	enum err e = checkpoint_open(&c, from->checkpoints_fd, from->uuid, p, f);

	if (e != EG_E_OK)
		return e;
	e = checkpoint_verify(&c, false, f);
	for (uint32_t i = 0; i < c.n_files && e == EG_E_OK; i++) {
		const struct manifest_file *row;
		char file[32], name[64];

		checkpoint_name(file, c.files[i].id);
		snprintf(name, sizeof name, "checkpoints/%s", file);
		if (manifest_find(&b->m, file) != NULL)
			continue;
		row = b->base_fd >= 0 ? manifest_find(&b->base, file) : NULL;
		/* Numbers are given again on another timeline, and after a checkpoint whose naming was lost:
		 * what the base has must be what is here. */
		if (row == NULL || manifest_verify(row, from->fd, f) != EG_E_OK || !take_over(b, row, name))
			e = backup_copy_file(b, from->fd, name, f);
	}
	checkpoint_close(&c);
	FAULT(BACKUP_CHECKPOINT);
	return e;
}

enum err backup_copy_checkpoints(struct backup_out *b, const struct datadir *from, const struct superblock *s,
                                 struct fault *f)
{
	const struct checkpoint_place *const places[] = { &s->newest, &s->previous };
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < 2 && e == EG_E_OK; i++)
		if (places[i]->id != 0)
			e = copy_checkpoint(b, from, places[i], f);
	return e;
}

enum err backup_put_superblock(struct backup_out *b, const struct superblock *s, struct fault *f)
{
	struct superblock both[2];
	struct stream to;
	enum err e = stream_open(&to, b, "SUPERBLOCK", f);

	if (e != EG_E_OK)
		return e;
	for (uint64_t i = 0; i < 2; i++) {
		struct superblock *block = &both[(s->seq + i) % 2];

		*block = *s;
		block->seq = s->seq + i;
		superblock_seal(block);
	}
	return stream_end(&to, 0, stream_add(&to, both, sizeof both, f), f);
}

enum err backup_seal(struct backup_out *b, struct fault *f)
{
	int error = datadir_sync_folders(&b->to);

	if (error == 0)
		error = manifest_write(&b->m, b->to.fd);
	if (error == 0)
		error = FAULT_IO(BACKUP_DIR_SYNC, io_sync_dir(b->to.fd));
	FAULT(BACKUP_SEALED);
	return error == 0 ? EG_E_OK : failed(f, EG_BACKUP_MANIFEST, error);
}
