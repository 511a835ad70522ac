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

#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"

static enum err failed(struct fault *f, const char *path, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "%s/%s: %s", path, what, strerror(error));
}

static enum err open_folder(struct datadir *d, const char *name, bool make, int *fd, struct fault *f)
{
	int error = make ? FAULT_IO(DATADIR_FOLDER_MAKE, io_make_dir(d->fd, name)) : EEXIST;

	if (error == 0)
		error = FAULT_IO(DATADIR_FOLDER_SYNC, io_sync_dir(d->fd));
	if (error != 0 && error != EEXIST)
		return failed(f, d->path, name, error);
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

/* The first words of its life; nobody can have it open yet. */
static enum err make_identity(struct datadir *d, uint32_t stores, struct fault *f)
{
	uint8_t uuid[16];
	enum err e;

	if (getrandom(uuid, sizeof uuid, 0) != (ssize_t)sizeof uuid)
		return failed(f, d->path, "uuid", errno);
	e = superblock_make(d->fd, d->tmp_fd, uuid, stores, f);
	d->created = e == EG_E_OK;
	return e == EG_E_OK ? superblock_read(d->fd, &d->super, f) : e;
}

/* Both blocks in this build's format, so that an older build refuses what it does not know
 * instead of reading half of it. A damaged block is made good in passing. */
static enum err renew(struct datadir *d, struct fault *f)
{
	enum err e = EG_E_OK;

	if (d->super.damaged)
		LOG_WARN("SUPERBLOCK: one block is damaged; the other one serves, and is written twice");
	else
		LOG_INFO("SUPERBLOCK: format %u is written anew as %u", d->super.now.format, EG_SUPERBLOCK_FORMAT);
	for (unsigned i = 0; i < 2 && e == EG_E_OK; i++)
		e = superblock_write(d->fd, &d->super.now, f);
	FAULT(SUPERBLOCK_RENEWED);
	return e == EG_E_OK ? superblock_read(d->fd, &d->super, f) : e;
}

static enum err begin(struct datadir *d, const char *path, struct fault *f)
{
	memset(d, 0, sizeof *d);
	d->wal_fd = d->warm_fd = d->spare_fd = d->tmp_fd = d->checkpoints_fd = -1;
	snprintf(d->path, sizeof d->path, "%s", path);
	d->fd = FAULT_FD(DATADIR_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	return d->fd >= 0 ? EG_E_OK : failed(f, path, "", -d->fd);
}

static enum err end(struct datadir *d, enum err e)
{
	memcpy(d->uuid, d->super.now.uuid, sizeof d->uuid);
	d->timeline = d->super.now.timeline;
	d->stores = d->super.now.stores;
	return e;
}

static const struct { const char *name; size_t fd; } folders[] = {
	{ "wal", offsetof(struct datadir, wal_fd) }, { "warm", offsetof(struct datadir, warm_fd) },
	{ "spare", offsetof(struct datadir, spare_fd) },
	{ "tmp", offsetof(struct datadir, tmp_fd) }, { "checkpoints", offsetof(struct datadir, checkpoints_fd) },
};

enum err datadir_folders(struct datadir *d, bool make, struct fault *f)
{
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < sizeof folders / sizeof folders[0] && e == EG_E_OK; i++)
		e = open_folder(d, folders[i].name, make, (int *)(void *)((uint8_t *)d + folders[i].fd), f);
	return e;
}

int datadir_sync_folders(const struct datadir *d)
{
	int error = 0;

	for (unsigned i = 0; i < sizeof folders / sizeof folders[0] && error == 0; i++)
		error = FAULT_IO(DATADIR_SYNC, io_sync_dir(*(const int *)(const void *)((const uint8_t *)d + folders[i].fd)));
	return error != 0 ? error : FAULT_IO(DATADIR_SYNC, io_sync_dir(d->fd));
}

enum err datadir_open(struct datadir *d, const char *path, uint32_t stores, struct fault *f)
{
	enum err e = begin(d, path, f);
	int error;

	if (e == EG_E_OK)
		e = datadir_folders(d, true, f);
	if (e == EG_E_OK)
		e = sweep_tmp(d, f);
	if (e != EG_E_OK)
		return e;
	e = superblock_read(d->fd, &d->super, f);
	/* Whoever made these names may have been killed before it synced them, and from now on
	 * what is acknowledged rests on them. */
	if (e == EG_E_OK && (error = FAULT_IO(DATADIR_SYNC, io_sync_dir(d->fd))) != 0)
		return failed(f, path, "", error);
	if (e == EG_E_NOT_FOUND)
		e = make_identity(d, stores, f);
	else if (e == EG_E_OK && (d->super.damaged || d->super.now.format != EG_SUPERBLOCK_FORMAT))
		e = renew(d, f);
	return end(d, e);
}

enum err datadir_attach(struct datadir *d, const char *path, struct fault *f)
{
	enum err e = begin(d, path, f);

	if (e == EG_E_OK)
		e = datadir_folders(d, false, f);
	if (e == EG_E_OK)
		e = superblock_read(d->fd, &d->super, f);
	return end(d, e);
}

void datadir_close(struct datadir *d)
{
	const int fds[] = { d->checkpoints_fd, d->tmp_fd, d->spare_fd, d->warm_fd, d->wal_fd, d->fd };

	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	d->fd = d->wal_fd = d->warm_fd = d->spare_fd = d->tmp_fd = d->checkpoints_fd = -1;
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

bool datadir_segment_in_wal(const struct datadir *d, uint64_t start_lsn)
{
	char name[32];

	datadir_segment_name(name, start_lsn);
	return faccessat(d->wal_fd, name, F_OK, 0) == 0;
}

void datadir_segment_path(const struct datadir *d, char *out, uint64_t start_lsn)
{
	char name[32];

	datadir_segment_name(name, start_lsn);
	snprintf(out, 4200, "%s/%s/%s", d->path, datadir_segment_in_wal(d, start_lsn) ? "wal" : "warm", name);
}

struct lsns { uint64_t *at; unsigned n, cap; };

static enum err list(const struct datadir *d, const char *folder, struct lsns *l, struct fault *f)
{
	int fd = FAULT_FD(SEGMENTS_LIST, io_open(d->fd, folder, O_RDONLY | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	/* Who only looks at an older directory meets no warm/ (datadir_attach). */
	if (fd == -ENOENT && d->warm_fd < 0)
		return EG_E_OK;
	if (dir == NULL)
		return failed(f, d->path, folder, fd < 0 ? -fd : errno);
	while ((entry = readdir(dir)) != NULL) {
		unsigned long long lsn;
		char name[32];

		if (sscanf(entry->d_name, "%16llx.log", &lsn) != 1)
			continue;
		datadir_segment_name(name, lsn);
		if (strcmp(name, entry->d_name) != 0)
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 16;
			l->at = realloc(l->at, l->cap * sizeof *l->at);
			EG_ASSERT(l->at != NULL);
		}
		l->at[l->n++] = lsn;
	}
	closedir(dir);
	return EG_E_OK;
}

/* wal/ first: what is moved meanwhile is met in both, and never missed. */
enum err datadir_segments(const struct datadir *d, uint64_t **start_lsns, unsigned *n, struct fault *f)
{
	struct lsns l = { 0 };
	enum err e = list(d, "wal", &l, f);
	unsigned k = 0;

	if (e == EG_E_OK)
		e = list(d, "warm", &l, f);
	if (l.n > 0)
		qsort(l.at, l.n, sizeof *l.at, by_lsn);
	for (unsigned i = 0; i < l.n; i++)
		if (k == 0 || l.at[k - 1] != l.at[i])
			l.at[k++] = l.at[i];
	*start_lsns = l.at;
	*n = k;
	return e;
}
