/* Appending to the log, see the header. */
#include "wal/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"

#define EG_NO_GROUP SIZE_MAX
#define EG_GROUP_MAX ((size_t)4 << 20)  /* a reader's buffer for one group stays small */

static enum err io_failed(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_READ_ONLY;

	return err_set(f, e, NULL, NULL, "log: %s: %s", what, strerror(error));
}

static size_t round_block(size_t n) { return (n + EG_BLOCK - 1) / EG_BLOCK * EG_BLOCK; }

static int open_for_append(struct append *a, int dir_fd, const char *name)
{
	int fd = -EINVAL;

	if (a->direct) {
		fd = FAULT_FD(SEGMENT_OPEN_DIRECT, io_open(dir_fd, name, O_RDWR | O_DIRECT));
		if (fd == -EINVAL) {
			LOG_WARN("wal.use_direct_io: this file system refuses O_DIRECT; the page cache is used");
			a->direct = false;
		}
	}
	return a->direct ? fd : FAULT_FD(SEGMENT_OPEN, io_open(dir_fd, name, O_RDWR));
}

/* Both copies of the header into a spare file, on stable storage. */
static int write_headers(const struct segment_header *h, int dir_fd, const char *spare)
{
	uint8_t blocks[2 * EG_BLOCK] = { 0 };
	int fd = FAULT_FD(SEGMENT_OPEN_SPARE, io_open(dir_fd, spare, O_RDWR)), error;

	if (fd < 0)
		return -fd;
	memcpy(blocks, h, sizeof *h);
	memcpy(blocks + EG_BLOCK, h, sizeof *h);
	error = FAULT_IO(SEGMENT_WRITE_HEADER, io_write_at(fd, blocks, sizeof blocks, 0));
	if (error == 0)
		error = FAULT_IO(SEGMENT_SYNC_HEADER, io_sync(fd));
	close(fd);
	return error;
}

static void next_header(const struct append *a, uint64_t start_lsn, uint64_t bytes, struct segment_header *h)
{
	uint64_t prev = a->header.number;

	memset(h, 0, sizeof *h);
	h->magic = EG_SEGMENT_MAGIC;
	h->format = EG_SEGMENT_FORMAT;
	h->timeline = a->dir->timeline;
	memcpy(h->uuid, a->dir->uuid, sizeof h->uuid);
	h->number = prev + 1;
	h->start_lsn = start_lsn;
	h->prev_number = prev;
	h->prev_crc = a->prev_crc;
	h->incarnation = a->incarnation;
	if (getrandom(&h->salt, sizeof h->salt, 0) != (ssize_t)sizeof h->salt)
		h->salt = (uint64_t)clock_mono_ns() ^ a->boot_id;
	h->boot_id = a->boot_id;
	h->redo_lsn = a->redo_lsn;
	h->created_us = clock_real_us();
	h->bytes = bytes;
	h->stores = a->dir->stores;
	segment_seal_header(h);
}

/* The unused end of a full segment is given back: it will never be written. */
static void seal(struct append *a)
{
	int error;

	if (a->fd < 0)
		return;
	error = FAULT_IO(SEGMENT_CUT, io_truncate(a->fd, a->offset));
	if (error != 0)
		LOG_WARN("log: the end of segment %llu is not given back: %s",
		         (unsigned long long)a->header.number, strerror(error));
	close(a->fd);
	a->fd = -1;
}

/* Go on in this file from now on. */
static void adopt(struct append *a, const struct segment_header *h, int fd)
{
	seal(a);
	FAULT(SEGMENT_SEALED);
	a->header = *h;
	a->fd = fd;
	a->offset = EG_SEGMENT_DATA;
	a->limit = h->bytes;
}

static void count_segment(struct append *a)
{
	a->segments++;
	a->log_bytes += EG_SEGMENT_DATA;
	FAULT(SEGMENT_NEXT);
}

/* From its rename on the file supersedes: no failure after that is a mere lack
 * of room, after which the segment before could go on. */
static enum err show(struct append *a, int from_fd, const char *from, const char *name, struct fault *f)
{
	int error = FAULT_IO(SEGMENT_RENAME, io_rename(from_fd, from, a->dir->wal_fd, name));

	if (error != 0)
		return io_failed(f, "a new segment", error);
	error = FAULT_IO(SEGMENT_DIR_SYNC, io_sync_dir(a->dir->wal_fd));
	if (error == 0)
		error = FAULT_IO(SEGMENT_SPARE_SYNC, io_sync_dir(from_fd));
	if (error != 0)
		return err_set(f, EG_E_READ_ONLY, NULL, NULL, "log: a new segment: %s", strerror(error));
	return EG_E_OK;
}

enum err append_segment(struct append *a, uint64_t start_lsn, struct fault *f)
{
	char spare[32], name[32];
	struct segment_header header;
	enum err e = spares_take(&a->spares, spare, f);
	int error, fd;

	if (e != EG_E_OK)
		return e;
	next_header(a, start_lsn, a->spares.bytes, &header);
	datadir_segment_name(name, start_lsn);
	error = write_headers(&header, a->dir->spare_fd, spare);
	fd = error == 0 ? open_for_append(a, a->dir->spare_fd, spare) : -error;
	e = fd < 0 ? io_failed(f, "a new segment", -fd) : show(a, a->dir->spare_fd, spare, name, f);
	if (e != EG_E_OK) {
		if (fd >= 0)
			close(fd);
		if (e == EG_E_NO_STORAGE && FAULT_IO(SEGMENT_UNLINK, io_unlink(a->dir->spare_fd, spare)) != 0)
			LOG_WARN("spare/%s: cannot be removed", spare);
		return e;
	}
	adopt(a, &header, fd);
	count_segment(a);
	return EG_E_OK;
}

#define EG_HIDDEN "segment"            /* its name in tmp/ */

enum err append_hidden(struct append *a, uint64_t start_lsn, size_t records_bytes, struct fault *f)
{
	uint64_t bytes = a->spares.bytes, want = EG_SEGMENT_DATA + append_buffer_bytes(records_bytes, bytes);
	struct segment_header header;
	char spare[32];
	enum err e = spares_take(&a->spares, spare, f);
	int error, fd;

	if (e != EG_E_OK)
		return e;
	/* What it repeats stays together, whatever the configuration says by now. */
	next_header(a, start_lsn, want > bytes ? want : bytes, &header);
	error = FAULT_IO(SEGMENT_HIDE, io_rename(a->dir->spare_fd, spare, a->dir->tmp_fd, EG_HIDDEN));
	if (error == 0)
		error = write_headers(&header, a->dir->tmp_fd, EG_HIDDEN);
	if (error != 0)
		return io_failed(f, "a new segment", error);
	fd = open_for_append(a, a->dir->tmp_fd, EG_HIDDEN);
	if (fd < 0)
		return io_failed(f, "a new segment", -fd);
	adopt(a, &header, fd);
	return EG_E_OK;
}

enum err append_show(struct append *a, struct fault *f)
{
	char name[32];
	enum err e;

	datadir_segment_name(name, a->header.start_lsn);
	e = show(a, a->dir->tmp_fd, EG_HIDDEN, name, f);
	if (e == EG_E_OK)
		count_segment(a);
	return e;
}

void append_begin(struct append *a, uint8_t *buf, size_t cap)
{
	a->buf = buf;
	a->cap = cap;
	a->len = a->written = 0;
	a->group = EG_NO_GROUP;
	a->begin_crc = a->prev_crc;
	a->begin_lsn = a->next_lsn;
	a->begin_copy = a->copy.bytes;
}

void append_cancel(struct append *a)
{
	/* The chain too: the next group follows the last one that is in the file. */
	a->prev_crc = a->begin_crc;
	a->next_lsn = a->begin_lsn;
	a->copy.bytes = a->begin_copy;
	append_begin(a, NULL, 0);
}

enum err append_ready(struct append *a, size_t records_bytes, struct fault *f)
{
	if (a->offset + append_buffer_bytes(records_bytes, a->spares.bytes) <= a->limit)
		return EG_E_OK;
	return spares_wait(&a->spares, f);
}

size_t append_buffer_bytes(size_t records_bytes, uint64_t segment_bytes)
{
	size_t largest = segment_bytes / 2 < EG_GROUP_MAX / 2 ? segment_bytes / 2 : EG_GROUP_MAX / 2;

	/* Each group wastes less than a block, and holds at least `largest` bytes
	 * of records before it has to be closed. */
	return round_block(records_bytes) + (records_bytes / largest + 2) * 2 * EG_BLOCK;
}

static struct group_header *open_group(struct append *a)
{
	return (struct group_header *)(void *)(a->buf + a->group);
}

/* Seal the open group: pad, witness, chain. */
static void close_group(struct append *a)
{
	struct group_header *g;
	size_t end;

	if (a->group == EG_NO_GROUP)
		return;
	g = open_group(a);
	end = a->group + round_block(a->len - a->group);
	memset(a->buf + a->len, 0, end - a->len);
	a->len = end;
	g->bytes = (uint32_t)(end - a->group);
	g->prev_crc = a->prev_crc;
	g->durable_lsn = a->durable_lsn;
	group_seal(g);
	a->prev_crc = g->crc;
	a->group = EG_NO_GROUP;
}

static void begin_group(struct append *a)
{
	struct group_header *g;

	a->group = a->len;
	g = open_group(a);
	memset(g, 0, sizeof *g);
	g->magic = EG_GROUP_MAGIC;
	g->salt = a->header.salt;
	g->incarnation = a->incarnation;
	g->first_lsn = a->next_lsn;
	a->len += sizeof *g;
}

/* Does a record of that many bytes fit into the open group (or a new one) before
 * the segment's end? */
static bool fits(const struct append *a, size_t bytes)
{
	size_t pending = a->group == EG_NO_GROUP ? a->len - a->written : a->group - a->written;
	size_t group = a->group == EG_NO_GROUP ? sizeof(struct group_header) : a->len - a->group;

	return a->offset + pending + round_block(group + bytes) <= a->limit;
}

static enum err rotate(struct append *a, struct fault *f)
{
	enum err e = append_write(a, f);

	if (e == EG_E_OK)
		e = append_sync(a, f);
	if (e == EG_E_OK)
		e = append_segment(a, a->next_lsn, f);
	return e;
}

enum err append_record(struct append *a, const struct record *r, struct record **out, struct fault *f)
{
	if (a->group != EG_NO_GROUP && a->len - a->group + r->bytes > EG_GROUP_MAX)
		close_group(a);
	if (!fits(a, r->bytes)) {
		enum err e = rotate(a, f);

		if (e != EG_E_OK)
			return e;
		EG_ASSERT(fits(a, r->bytes));
	}
	if (a->group == EG_NO_GROUP)
		begin_group(a);
	EG_ASSERT(a->len + r->bytes + EG_BLOCK <= a->cap);
	*out = (struct record *)(void *)(a->buf + a->len);
	**out = *r;
	(*out)->lsn = a->next_lsn++;
	a->len += r->bytes;
	open_group(a)->n_records++;
	return EG_E_OK;
}

void append_done(struct append *a, struct record *r)
{
	(void)a;
	r->crc = crc32c(0, (const uint8_t *)r + 8, r->bytes - 8);
	metric_add(M_WAL_WRITES, 1);
}

/* Keep what is about to be written until it is on stable storage. */
static void keep_copy(struct append *a, const uint8_t *from, size_t bytes)
{
	struct append_copy *c = &a->copy;

	if (c->bytes + bytes > c->cap) {
		size_t cap = (c->bytes + bytes) * 2;
		uint8_t *bigger = aligned_alloc(64, cap);

		EG_ASSERT(bigger != NULL);
		if (c->bytes > 0)
			memcpy(bigger, c->at, c->bytes);
		free(c->at);
		c->at = bigger;
		c->cap = cap;
	}
	memcpy(c->at + c->bytes, from, bytes);
	c->bytes += bytes;
}

enum err append_write(struct append *a, struct fault *f)
{
	int64_t began = clock_mono_ns();
	size_t bytes;
	int error;

	close_group(a);
	bytes = a->len - a->written;
	if (bytes == 0)
		return EG_E_OK;
	if (!a->rescuing)
		keep_copy(a, a->buf + a->written, bytes);
	error = FAULT_IO(GROUP_WRITE, io_write_at(a->fd, a->buf + a->written, bytes, a->offset));
	if (error != 0)
		return append_rescue(a, "write", error, f);
	a->written = a->len;
	a->offset += bytes;
	a->log_bytes += bytes;
	a->unsynced = true;
	a->begin_crc = a->prev_crc;
	a->begin_lsn = a->next_lsn;
	a->begin_copy = a->copy.bytes;
	metric_add(M_DISK_WRITE, bytes);
	metric_observe_ns(M_DISK_TIME_WRITE, (uint64_t)(clock_mono_ns() - began));
	return EG_E_OK;
}

enum err append_sync(struct append *a, struct fault *f)
{
	int64_t began = clock_mono_ns();
	int error;

	if (!a->unsynced)
		return EG_E_OK;
	error = FAULT_IO(GROUP_SYNC, io_sync(a->fd));
	if (error != 0)
		return append_rescue(a, "sync", error, f);
	a->unsynced = false;
	a->durable_lsn = a->next_lsn - 1;
	a->durable_crc = a->prev_crc;
	if (!a->rescuing)
		a->copy.bytes = a->begin_copy = 0;
	metric_observe_ns(M_DISK_TIME_SYNC, (uint64_t)(clock_mono_ns() - began));
	return EG_E_OK;
}

void append_close(struct append *a)
{
	seal(a);
	spares_close(&a->spares);
	free(a->copy.at);
	memset(&a->copy, 0, sizeof a->copy);
}
