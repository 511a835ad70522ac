/* The superblock, see the header. */
#include "wal/superblock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

static enum err failed(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "SUPERBLOCK: %s: %s", what, strerror(error));
}

void superblock_seal(struct superblock *s)
{
	s->head_crc = crc32c(0, s, offsetof(struct superblock, head_crc));
	s->crc = crc32c(0, s, offsetof(struct superblock, crc));
}

static bool head_valid(const struct superblock *s)
{
	return s->magic == EG_SUPERBLOCK_MAGIC && s->head_crc == crc32c(0, s, offsetof(struct superblock, head_crc));
}

/* A block of format 1 ends behind its head; what this build knows more of is nothing yet. */
static bool block_valid(struct superblock *s, ssize_t got)
{
	if (got < (ssize_t)offsetof(struct superblock, seq) || !head_valid(s))
		return false;
	if (s->format == 1) {
		memset((uint8_t *)s + offsetof(struct superblock, seq), 0, sizeof *s - offsetof(struct superblock, seq));
		return true;
	}
	return got == sizeof *s && s->format == EG_SUPERBLOCK_FORMAT
	       && s->crc == crc32c(0, s, offsetof(struct superblock, crc));
}

static void add_place(struct superblocks *s, const struct checkpoint_place *p)
{
	unsigned at = 0;

	if (p->id == 0)
		return;
	while (at < s->n_places && s->places[at].id > p->id)
		at++;
	if (at < s->n_places && s->places[at].id == p->id)
		return;
	memmove(&s->places[at + 1], &s->places[at], (s->n_places - at) * sizeof *p);
	s->places[at] = *p;
	s->n_places++;
}

static enum err choose(struct superblocks *s, struct superblock b[2], const bool valid[2], struct fault *f)
{
	unsigned best;

	for (unsigned i = 0; i < 2; i++)
		if (head_valid(&b[i]) && b[i].format > EG_SUPERBLOCK_FORMAT)
			return err_set(f, EG_E_VALIDATION, NULL, NULL,
			               "SUPERBLOCK has format %u, this build reads up to %u: it was written by a newer one",
			               b[i].format, EG_SUPERBLOCK_FORMAT);
	if (!valid[0] && !valid[1])
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "SUPERBLOCK is damaged: neither block is valid");
	best = !valid[0] || (valid[1] && b[1].seq > b[0].seq);
	s->now = b[best];
	/* Format 1 was one block: a second one that is blank is no damage. */
	s->damaged = s->now.format != 1 && !(valid[0] && valid[1]);
	for (unsigned i = 0; i < 2; i++) {
		if (!valid[i])
			continue;
		add_place(s, &b[i].newest);
		add_place(s, &b[i].previous);
	}
	return EG_E_OK;
}

enum err superblock_read(int dir_fd, struct superblocks *s, struct fault *f)
{
	int fd = FAULT_FD(SUPERBLOCK_OPEN, io_open(dir_fd, "SUPERBLOCK", O_RDONLY));
	struct superblock blocks[2];
	bool valid[2];

	memset(s, 0, sizeof *s);
	if (fd == -ENOENT)
		return err_set(f, EG_E_NOT_FOUND, NULL, NULL, "there is no SUPERBLOCK");
	if (fd < 0)
		return failed(f, "open", -fd);
	memset(blocks, 0, sizeof blocks);
	for (unsigned i = 0; i < 2; i++) {
		ssize_t got = FAULT_READ(SUPERBLOCK_READ, io_read_at(fd, &blocks[i], sizeof blocks[i],
		                                                    i * EG_SUPERBLOCK_BYTES));

		valid[i] = block_valid(&blocks[i], got);
	}
	close(fd);
	return choose(s, blocks, valid, f);
}

enum err superblock_make(int dir_fd, int tmp_fd, const uint8_t uuid[16], uint32_t stores, struct fault *f)
{
	struct superblock b[2] = { { .magic = EG_SUPERBLOCK_MAGIC, .format = EG_SUPERBLOCK_FORMAT, .timeline = 1,
	                             .stores = stores, .seq = 2 } };
	int fd, error;

	memcpy(b[0].uuid, uuid, sizeof b[0].uuid);
	b[1] = b[0];
	b[1].seq = 1;
	superblock_seal(&b[0]);
	superblock_seal(&b[1]);
	fd = FAULT_FD(SUPERBLOCK_CREATE, io_open(tmp_fd, "SUPERBLOCK", O_RDWR | O_CREAT | O_TRUNC));
	error = fd < 0 ? -fd : FAULT_IO(SUPERBLOCK_WRITE, io_write_at(fd, b, sizeof b, 0));
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_SYNC, io_sync(fd));
	if (fd >= 0)
		close(fd);
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_RENAME, io_rename(tmp_fd, "SUPERBLOCK", dir_fd, "SUPERBLOCK"));
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_DIR_SYNC, io_sync_dir(dir_fd));
	return error == 0 ? EG_E_OK : failed(f, "make", error);
}

enum err superblock_write(int dir_fd, struct superblock *s, struct fault *f)
{
	int fd = FAULT_FD(SUPERBLOCK_OPEN, io_open(dir_fd, "SUPERBLOCK", O_RDWR)), error;

	if (fd < 0)
		return failed(f, "open", -fd);
	s->format = EG_SUPERBLOCK_FORMAT;
	s->seq++;
	superblock_seal(s);
	error = FAULT_IO(SUPERBLOCK_UPDATE, io_write_at(fd, s, sizeof *s, s->seq % 2 * EG_SUPERBLOCK_BYTES));
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_UPDATE_SYNC, io_sync(fd));
	close(fd);
	return error == 0 ? EG_E_OK : failed(f, "write", error);
}
