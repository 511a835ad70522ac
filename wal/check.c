/* Checking a data directory, see the header: the list of what is looked at is in
 * check_run(). The log is in check_log.c, checkpoints
 * are in check_checkpoint.c, the rest in check_files.c. */
#include "wal/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"

const char *const check_kind_names[CHECK_KINDS] = {
	[CHECK_SUPERBLOCK] = "superblock", [CHECK_SEGMENT] = "segment", [CHECK_SPARE] = "spare",
	[CHECK_CHECKPOINT] = "checkpoint", [CHECK_OTHER] = "other",
};

unsigned check_add_file(struct check *c, enum check_kind kind, const char *name, uint64_t bytes)
{
	struct check_file *file;

	if (c->n_files == c->cap_files) {
		c->cap_files = c->cap_files ? c->cap_files * 2 : 64;
		c->files = realloc(c->files, c->cap_files * sizeof *c->files);
		EG_ASSERT(c->files != NULL);
	}
	file = &c->files[c->n_files];
	memset(file, 0, sizeof *file);
	snprintf(file->name, sizeof file->name, "%s", name);
	file->kind = kind;
	file->bytes = bytes;
	c->bytes += bytes;
	return c->n_files++;
}

void check_say(struct check *c, unsigned file, enum check_level level, uint64_t offset,
               uint64_t first_lsn, uint64_t last_lsn, const char *fmt, ...)
{
	struct check_trouble *t;
	va_list args;

	c->counted[level]++;
	c->files[file].wrong += level > CHECK_NOTE;
	if (c->n_troubles == CHECK_TROUBLES_MAX)
		return;
	if (c->n_troubles == c->cap_troubles) {
		c->cap_troubles = c->cap_troubles ? c->cap_troubles * 2 : 16;
		c->troubles = realloc(c->troubles, c->cap_troubles * sizeof *c->troubles);
		EG_ASSERT(c->troubles != NULL);
	}
	t = &c->troubles[c->n_troubles++];
	*t = (struct check_trouble){ .file = file, .level = level, .offset = offset,
		.first_lsn = first_lsn, .last_lsn = last_lsn };
	va_start(args, fmt);
	vsnprintf(t->what, sizeof t->what, fmt, args);
	va_end(args);
}

bool check_damaged(const struct check *c) { return c->counted[CHECK_WRONG] + c->counted[CHECK_LOST] > 0; }

void check_free(struct check *c)
{
	free(c->files);
	free(c->troubles);
	free(c->spaces);
	free(c->rows);
	memset(c, 0, sizeof *c);
}

enum err check_lock(const char *dir, int *fd, struct fault *f)
{
	char path[4300];
	struct stat st;
	int error;

	snprintf(path, sizeof path, "%s/wal", dir);
	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(f, EG_E_NOT_FOUND, NULL, NULL, "%s is no data directory: %s", dir,
		               errno == ENOTDIR || errno == ENOENT ? "it has no folder wal" : strerror(errno));
	snprintf(path, sizeof path, "%s/LOCK", dir);
	*fd = FAULT_FD(CHECK_LOCK, io_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW));
	if (*fd == -EROFS)
		*fd = FAULT_FD(CHECK_LOCK, io_open(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW));
	if (*fd < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", path, strerror(-*fd));
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return EG_E_OK;
	error = errno;
	close(*fd);
	*fd = -1;
	if (error == EWOULDBLOCK)
		return err_set(f, EG_E_CONFLICT, NULL, NULL, "a server is running on %s", dir);
	return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", path, strerror(error));
}

/* Open what is there, whatever is damaged; nothing is made. */
static enum err look(struct datadir *d, const char *path, struct fault *f)
{
	memset(d, 0, sizeof *d);
	snprintf(d->path, sizeof d->path, "%s", path);
	d->tmp_fd = -1;
	d->checkpoints_fd = -1;
	d->fd = FAULT_FD(CHECK_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	if (d->fd < 0)
		return err_set(f, EG_E_NOT_FOUND, NULL, NULL, "%s: %s", path, strerror(-d->fd));
	d->warm_fd = FAULT_FD(CHECK_OPEN, io_open(d->fd, "warm", O_RDONLY | O_DIRECTORY));
	d->wal_fd = FAULT_FD(CHECK_OPEN, io_open(d->fd, "wal", O_RDONLY | O_DIRECTORY));
	d->checkpoints_fd = FAULT_FD(CHECK_OPEN, io_open(d->fd, "checkpoints", O_RDONLY | O_DIRECTORY));
	d->spare_fd = FAULT_FD(CHECK_OPEN, io_open(d->fd, "spare", O_RDONLY | O_DIRECTORY));
	if (d->wal_fd >= 0)
		return EG_E_OK;
	err_set(f, EG_E_NOT_FOUND, NULL, NULL, "%s/wal: %s", path, strerror(-d->wal_fd));
	datadir_close(d);
	return EG_E_NOT_FOUND;
}

enum err check_run(struct check *c, const char *dir, struct fault *f)
{
	struct datadir d;
	enum err e = look(&d, dir, f);

	if (e != EG_E_OK)
		return e;
	check_superblock(c, &d);
	if (d.checkpoints_fd >= 0)
		check_checkpoints(c, &d);
	check_log(c, &d);
	check_rows(c);
	check_other_files(c, &d);
	datadir_close(&d);
	return EG_E_OK;
}
