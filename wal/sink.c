/* One copy of the log, see the header. */
#include "wal/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"

#define EG_HIDDEN "segment"            /* its name in tmp/ */

void sink_init(struct sink *s, const char *name, const struct datadir *dir, bool direct)
{
	memset(s, 0, sizeof *s);
	s->name = name;
	s->dir = dir;
	s->direct = direct;
	s->fd = s->next_fd = s->next_dir = -1;
}

static int open_for_append(struct sink *s)
{
	int fd = -EINVAL;

	if (s->direct) {
		fd = FAULT_FD(SEGMENT_OPEN_DIRECT, io_open(s->next_dir, s->next_name, O_RDWR | O_DIRECT));
		if (fd == -EINVAL) {
			LOG_WARN("wal.use_direct_io: this file system refuses O_DIRECT; the page cache is used");
			s->direct = false;
		}
	}
	return s->direct ? fd : FAULT_FD(SEGMENT_OPEN, io_open(s->next_dir, s->next_name, O_RDWR));
}

/* Both copies of the header into the spare file, on stable storage. */
static int write_headers(const struct sink *s, const struct segment_header *h)
{
	uint8_t blocks[2 * EG_BLOCK] = { 0 };
	int fd = FAULT_FD(SEGMENT_OPEN_SPARE, io_open(s->next_dir, s->next_name, O_RDWR)), error;

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

static int prepare(struct sink *s, const struct sink_op *op)
{
	struct fault f;
	int error = 0;

	s->next_dir = -1;
	if (spares_take(&s->spares, s->next_name, &f) != EG_E_OK)
		return ENOSPC;
	s->next_dir = s->dir->spare_fd;
	if (op->hidden) {
		error = FAULT_IO(SEGMENT_HIDE, io_rename(s->next_dir, s->next_name, s->dir->tmp_fd, EG_HIDDEN));
		if (error != 0)
			return error;
		s->next_dir = s->dir->tmp_fd;
		memcpy(s->next_name, EG_HIDDEN, sizeof EG_HIDDEN);
	}
	error = write_headers(s, op->header);
	if (error != 0)
		return error;
	s->next_fd = open_for_append(s);
	return s->next_fd < 0 ? -s->next_fd : 0;
}

static int show(struct sink *s, const struct sink_op *op)
{
	char name[32];
	int error;

	datadir_segment_name(name, op->header->start_lsn);
	error = FAULT_IO(SEGMENT_RENAME, io_rename(s->next_dir, s->next_name, s->dir->wal_fd, name));
	if (error == 0)
		error = FAULT_IO(SEGMENT_DIR_SYNC, io_sync_dir(s->dir->wal_fd));
	if (error == 0)
		error = FAULT_IO(SEGMENT_SPARE_SYNC, io_sync_dir(s->next_dir));
	return error;
}

int sink_do(struct sink *s, const struct sink_op *op)
{
	switch (op->what) {
	case SINK_PREPARE:
		return prepare(s, op);
	case SINK_SHOW:
		return show(s, op);
	case SINK_WRITE:
		return FAULT_IO(GROUP_WRITE, io_write_at(s->fd, op->from, op->bytes, op->offset));
	case SINK_SYNC:
		return FAULT_IO(GROUP_SYNC, io_sync(s->fd));
	}
	return EINVAL;
}

/* The unused end of a full segment is given back: it will never be written. */
void sink_seal(struct sink *s, uint64_t used)
{
	int error;

	if (s->fd < 0)
		return;
	error = FAULT_IO(SEGMENT_CUT, io_truncate(s->fd, used));
	if (error != 0)
		LOG_WARN("log: the end of a segment is not given back: %s", strerror(error));
	close(s->fd);
	s->fd = -1;
}

void sink_adopt(struct sink *s, uint64_t used)
{
	if (s->lost)
		return;
	sink_seal(s, used);
	s->fd = s->next_fd;
	s->next_fd = -1;
}

void sink_drop(struct sink *s)
{
	if (s->next_fd >= 0)
		close(s->next_fd);
	s->next_fd = -1;
	if (s->next_dir >= 0 && FAULT_IO(SEGMENT_UNLINK, io_unlink(s->next_dir, s->next_name)) != 0)
		LOG_WARN("spare/%s: cannot be removed", s->next_name);
	s->next_dir = -1;
}

void sink_give_up(struct sink *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->next_fd >= 0)
		close(s->next_fd);
	s->fd = s->next_fd = -1;
}
