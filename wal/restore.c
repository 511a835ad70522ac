/* Restoring from a backup, see the header. */
#include "wal/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "wal/backup_copy.h"
#include "wal/check.h"

#define EG_RESTORING ".restoring"       /* ends the name of what is not whole */

/* Every byte of it, before anything is made. */
static enum err verify(const char *path, int fd, const struct manifest *m, struct fault *f)
{
	struct check c = { 0 };
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < m->n && e == EG_E_OK; i++)
		e = manifest_verify(&m->files[i], fd, f);
	if (e == EG_E_OK)
		e = check_run(&c, path, f);
	if (e == EG_E_OK && check_damaged(&c))
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "%s is damaged; engram check %s says where", path, path);
	else if (e == EG_E_OK && c.last_lsn != m->lsn)
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "the log of %s ends with LSN %llu, MANIFEST says %llu", path,
		            (unsigned long long)c.last_lsn, (unsigned long long)m->lsn);
	check_free(&c);
	return e;
}

/* The parent of the target, and the target's name in it. */
static enum err open_parent(const char *to, int *fd, char name[256], struct fault *f)
{
	char path[4096];
	size_t n = strlen(to);
	const char *slash;

	while (n > 1 && to[n - 1] == '/')
		n--;
	if (n == 0 || n >= sizeof path)
		return err_set(f, EG_E_INPUT, NULL, NULL, "the target's path is empty or too long");
	memcpy(path, to, n);
	path[n] = 0;
	slash = strrchr(path, '/');
	snprintf(name, 256, "%.255s", slash != NULL ? slash + 1 : path);
	if (slash == NULL)
		snprintf(path, sizeof path, ".");
	else
		path[slash == path ? 1 : slash - path] = 0;
	*fd = FAULT_FD(RESTORE_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	return *fd >= 0 ? EG_E_OK : err_set(f, EG_E_NOT_FOUND, NULL, NULL, "%s: %s", path, strerror(-*fd));
}

/* Not there, or a folder with nothing in it; on a file system of its own with no more than
 * what mkfs makes there. A name that is mounted on cannot be renamed over. */
static enum err is_free(int parent_fd, const char *name, bool *mounted, struct fault *f)
{
	int fd = FAULT_FD(RESTORE_OPEN, io_open(parent_fd, name, O_RDONLY | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct statx about;
	unsigned n = 0;

	*mounted = false;
	if (fd == -ENOENT)
		return EG_E_OK;
	if (dir == NULL)
		return err_set(f, EG_E_CONFLICT, NULL, NULL, "%s: %s", name, strerror(fd < 0 ? -fd : errno));
	*mounted = statx(dirfd(dir), "", AT_EMPTY_PATH, 0, &about) == 0
	           && (about.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	while ((entry = readdir(dir)) != NULL)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0
		     && !(*mounted && (strcmp(entry->d_name, "lost+found") == 0 || strcmp(entry->d_name, EG_RESTORING) == 0));
	closedir(dir);
	return n == 0 ? EG_E_OK : err_set(f, EG_E_CONFLICT, NULL, NULL, "%s is not empty: nothing is restored over it", name);
}

static enum err copy(struct backup_out *b, int from_fd, const struct manifest *m, struct fault *f)
{
	struct superblocks s;
	enum err e = superblock_read(from_fd, &s, f);

	for (unsigned i = 0; i < m->n && e == EG_E_OK; i++)
		if (strcmp(m->files[i].name, "SUPERBLOCK") != 0)
			e = backup_copy_file(b, from_fd, m->files[i].name, f);
	for (unsigned i = 0; i < b->m.n && e == EG_E_OK; i++) {
		const struct manifest_file *was = manifest_find(m, strrchr(b->m.files[i].name, '/') + 1);

		if (was == NULL || was->crc != b->m.files[i].crc)
			e = err_set(f, EG_E_VALIDATION, NULL, NULL, "%s changed while it was copied", b->m.files[i].name);
	}
	s.now.timeline = b->m.timeline;
	return e == EG_E_OK ? backup_put_superblock(b, &s.now, f) : e;
}

/* Another one than that of the backup, and than what another restoring of it has got. */
static uint32_t new_timeline(uint32_t old)
{
	uint32_t t = old;

	while (t == old || t < 2)
		EG_ASSERT(getrandom(&t, sizeof t, 0) == (ssize_t)sizeof t);   /* so few bytes are always given */
	return t;
}

/* Into the root of a file system: one after the other, the SUPERBLOCK last. Without it a
 * server does not take what is there for its own, and starts on none of it. */
static int move_all(const struct datadir *part, int root_fd)
{
	static const char *const names[] = { "wal", "warm", "spare", "tmp", "checkpoints", "SUPERBLOCK" };
	int error = 0;

	for (unsigned i = 0; i < sizeof names / sizeof names[0] && error == 0; i++) {
		if (i + 1 == sizeof names / sizeof names[0])
			error = FAULT_IO(RESTORE_DIR_SYNC, io_sync_dir(root_fd));
		if (error == 0)
			error = FAULT_IO(RESTORE_RENAME, io_rename(part->fd, names[i], root_fd, names[i]));
	}
	return error != 0 ? error : FAULT_IO(RESTORE_DIR_SYNC, io_sync_dir(root_fd));
}

static int put_in_place(const struct datadir *part, int folder_fd, const char *from, const char *name)
{
	int error;

	if (name == NULL) {
		error = move_all(part, folder_fd);
		if (error == 0)
			backup_remove_folder(folder_fd, from);
		return error;
	}
	error = FAULT_IO(RESTORE_RENAME, io_rename(folder_fd, from, folder_fd, name));
	return error != 0 ? error : FAULT_IO(RESTORE_DIR_SYNC, io_sync_dir(folder_fd));
}

/* name: of the new directory in parent_fd; NULL: parent_fd itself is it. */
static enum err into(int parent_fd, const char *name, int from_fd, const struct manifest *m, struct restored *r,
                     struct fault *f)
{
	struct backup_out b = { .base_fd = -1, .m.timeline = new_timeline(m->timeline) };
	char part[300];
	int error;
	enum err e;

	snprintf(part, sizeof part, "%s%s", name != NULL ? name : "", EG_RESTORING);
	backup_remove_folder(parent_fd, part);
	e = backup_make_folder(&b.to, parent_fd, part, f);
	if (e == EG_E_OK)
		e = copy(&b, from_fd, m, f);
	if (e == EG_E_OK && (error = datadir_sync_folders(&b.to)) != 0)
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "restore: %s: %s", part, strerror(error));
	FAULT(RESTORE_COPIED);
	if (e == EG_E_OK) {
		error = put_in_place(&b.to, parent_fd, part, name);
		if (error != 0)
			e = err_set(f, EG_E_INTERNAL, NULL, NULL, "restore: %s: %s", name != NULL ? name : "the target",
			            strerror(error));
	}
	if (e != EG_E_OK && b.to.fd >= 0)
		backup_remove_folder(parent_fd, part);
	*r = (struct restored){ .lsn = m->lsn, .bytes = b.bytes, .files = b.m.n, .timeline = b.m.timeline,
		.created_us = m->created_us };
	datadir_close(&b.to);
	manifest_free(&b.m);
	return e;
}

enum err restore_run(const char *backup, const char *to, struct restored *r, struct fault *f)
{
	struct manifest m = { 0 };
	char name[256];
	int from_fd = FAULT_FD(RESTORE_OPEN, io_open(AT_FDCWD, backup, O_RDONLY | O_DIRECTORY)), parent_fd = -1, root_fd = -1;
	bool mounted = false;
	enum err e;

	if (from_fd < 0)
		return err_set(f, EG_E_NOT_FOUND, NULL, NULL, "%s: %s", backup, strerror(-from_fd));
	e = manifest_read(&m, from_fd, f);
	if (e == EG_E_OK)
		e = open_parent(to, &parent_fd, name, f);
	if (e == EG_E_OK)
		e = is_free(parent_fd, name, &mounted, f);
	if (e == EG_E_OK)
		e = verify(backup, from_fd, &m, f);
	if (e == EG_E_OK && mounted)
		root_fd = FAULT_FD(RESTORE_OPEN, io_open(parent_fd, name, O_RDONLY | O_DIRECTORY));
	if (e == EG_E_OK && mounted && root_fd < 0)
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", name, strerror(-root_fd));
	if (e == EG_E_OK)
		e = into(mounted ? root_fd : parent_fd, mounted ? NULL : name, from_fd, &m, r, f);
	if (root_fd >= 0)
		close(root_fd);
	manifest_free(&m);
	close(from_fd);
	if (parent_fd >= 0)
		close(parent_fd);
	return e;
}
