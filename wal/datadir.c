/* The data directory, see the header. */
#include "wal/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

#define EG_SUPERBLOCK_MAGIC UINT64_C(0x4b4c425245505553)   /* "SUPERBLK" */
#define EG_SUPERBLOCK_FORMAT 1u
#define EG_SUPERBLOCK_BYTES 4096u

struct superblock {
	uint64_t magic;
	uint32_t format, timeline;
	uint8_t uuid[16];
	uint32_t stores;
	uint32_t crc;                  /* CRC-32C of all before */
};

static enum err failed(struct fault *f, const char *path, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "%s/%s: %s", path, what, strerror(error));
}

static enum err open_folder(struct datadir *d, const char *name, int *fd, struct fault *f)
{
	if (mkdirat(d->fd, name, 0700) == 0) {
		int error = FAULT_IO(DATADIR_FOLDER_SYNC, io_sync_dir(d->fd));

		if (error != 0)
			return failed(f, d->path, name, error);
	} else if (errno != EEXIST) {
		return failed(f, d->path, name, errno);
	}
	*fd = FAULT_FD(DATADIR_FOLDER_OPEN, io_open(d->fd, name, O_RDONLY | O_DIRECTORY));
	return *fd >= 0 ? EG_E_OK : failed(f, d->path, name, -*fd);
}

/* Only tmp/ is swept: what lies there was never promised to anybody. */
static enum err sweep_tmp(struct datadir *d, struct fault *f)
{
	DIR *dir = fdopendir(FAULT_FD(DATADIR_TMP_OPEN, io_open(d->fd, "tmp", O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;
	int error = dir == NULL ? errno : 0;

	while (error == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			error = FAULT_IO(DATADIR_TMP_UNLINK, io_unlink(d->tmp_fd, entry->d_name));
	if (dir != NULL)
		closedir(dir);
	return error == 0 ? EG_E_OK : failed(f, d->path, "tmp", error);
}

static enum err superblock_make(struct datadir *d, uint32_t stores, struct fault *f)
{
	uint8_t block[EG_SUPERBLOCK_BYTES] = { 0 };
	struct superblock s = { EG_SUPERBLOCK_MAGIC, EG_SUPERBLOCK_FORMAT, 1, { 0 }, stores, 0 };
	int fd, error;

	if (getrandom(s.uuid, sizeof s.uuid, 0) != (ssize_t)sizeof s.uuid)
		return failed(f, d->path, "uuid", errno);
	s.crc = crc32c(0, &s, offsetof(struct superblock, crc));
	memcpy(block, &s, sizeof s);
	fd = FAULT_FD(SUPERBLOCK_CREATE, io_open(d->tmp_fd, "SUPERBLOCK", O_RDWR | O_CREAT | O_TRUNC));
	error = fd < 0 ? -fd : FAULT_IO(SUPERBLOCK_WRITE, io_write_at(fd, block, sizeof block, 0));
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_SYNC, io_sync(fd));
	if (fd >= 0)
		close(fd);
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_RENAME, io_rename(d->tmp_fd, "SUPERBLOCK", d->fd, "SUPERBLOCK"));
	if (error == 0)
		error = FAULT_IO(SUPERBLOCK_DIR_SYNC, io_sync_dir(d->fd));
	if (error != 0)
		return failed(f, d->path, "SUPERBLOCK", error);
	d->created = true;
	memcpy(d->uuid, s.uuid, sizeof d->uuid);
	d->timeline = s.timeline;
	d->stores = stores;
	return EG_E_OK;
}

static enum err superblock_read(struct datadir *d, int fd, struct fault *f)
{
	struct superblock s;

	if (FAULT_READ(SUPERBLOCK_READ, io_read_at(fd, &s, sizeof s, 0)) != (ssize_t)sizeof s
	    || s.magic != EG_SUPERBLOCK_MAGIC
	    || s.crc != crc32c(0, &s, offsetof(struct superblock, crc)))
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s/SUPERBLOCK is damaged", d->path);
	if (s.format != EG_SUPERBLOCK_FORMAT)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s/SUPERBLOCK has format %u, this build reads %u",
		               d->path, s.format, EG_SUPERBLOCK_FORMAT);
	memcpy(d->uuid, s.uuid, sizeof d->uuid);
	d->timeline = s.timeline;
	d->stores = s.stores;
	return EG_E_OK;
}

enum err datadir_open(struct datadir *d, const char *path, uint32_t stores, struct fault *f)
{
	enum err e;
	int fd;

	memset(d, 0, sizeof *d);
	d->wal_fd = d->spare_fd = d->tmp_fd = -1;
	snprintf(d->path, sizeof d->path, "%s", path);
	d->fd = FAULT_FD(DATADIR_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	if (d->fd < 0)
		return failed(f, path, "", -d->fd);
	e = open_folder(d, "wal", &d->wal_fd, f);
	if (e == EG_E_OK)
		e = open_folder(d, "spare", &d->spare_fd, f);
	if (e == EG_E_OK)
		e = open_folder(d, "tmp", &d->tmp_fd, f);
	if (e == EG_E_OK)
		e = sweep_tmp(d, f);
	if (e != EG_E_OK)
		return e;
	fd = FAULT_FD(SUPERBLOCK_OPEN, io_open(d->fd, "SUPERBLOCK", O_RDONLY));
	if (fd == -ENOENT)
		return superblock_make(d, stores, f);
	if (fd < 0)
		return failed(f, path, "SUPERBLOCK", -fd);
	e = superblock_read(d, fd, f);
	close(fd);
	return e;
}

void datadir_close(struct datadir *d)
{
	const int fds[] = { d->tmp_fd, d->spare_fd, d->wal_fd, d->fd };

	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	d->fd = d->wal_fd = d->spare_fd = d->tmp_fd = -1;
}

void datadir_segment_name(char out[32], uint64_t start_lsn)
{
	snprintf(out, 32, "%016llx.log", (unsigned long long)start_lsn);
}

static int by_lsn(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

enum err datadir_segments(const struct datadir *d, uint64_t **start_lsns, unsigned *n, struct fault *f)
{
	DIR *dir = fdopendir(FAULT_FD(SEGMENTS_LIST, io_open(d->fd, "wal", O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;
	unsigned cap = 0;

	*start_lsns = NULL;
	*n = 0;
	if (dir == NULL)
		return failed(f, d->path, "wal", errno);
	while ((entry = readdir(dir)) != NULL) {
		unsigned long long lsn;
		char name[32];

		if (sscanf(entry->d_name, "%16llx.log", &lsn) != 1)
			continue;
		datadir_segment_name(name, lsn);
		if (strcmp(name, entry->d_name) != 0)
			continue;
		if (*n == cap) {
			cap = cap ? cap * 2 : 16;
			*start_lsns = realloc(*start_lsns, cap * sizeof **start_lsns);
			EG_ASSERT(*start_lsns != NULL);
		}
		(*start_lsns)[(*n)++] = lsn;
	}
	closedir(dir);
	if (*n > 0)
		qsort(*start_lsns, *n, sizeof **start_lsns, by_lsn);
	return EG_E_OK;
}
