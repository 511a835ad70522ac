/* The I/O layer, see the header. */
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/tape.h"

struct io_counts io_counts;

ssize_t io_read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(fd, (uint8_t *)to + done, bytes - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	io_counts.read_bytes += done;
	return (ssize_t)done;
}

/* One write, as much of it as the kernel takes; -1 with errno. */
static ssize_t write_once(int fd, const uint8_t *from, size_t bytes, uint64_t offset)
{
	TAPE_BEGIN(.kind = TAPE_WRITE, .fd = fd, .offset = offset, .data = from, .length = bytes);
	ssize_t n = pwrite(fd, from, bytes, (off_t)offset);

	TAPE_END(n == (ssize_t)bytes ? 0 : n < 0 ? errno : EINTR);
	return n;
}

int io_write_at(int fd, const void *from, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = write_once(fd, (const uint8_t *)from + done, FAULT_SHARE(bytes - done), offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return EIO;
		done += (size_t)n;
	}
	io_counts.written_bytes += bytes;
	io_counts.writes++;
	return 0;
}

int io_sync(int fd)
{
	TAPE_BEGIN(.kind = TAPE_SYNC, .fd = fd);
	int error = TAPE_FAILS() ? EIO : fdatasync(fd) == 0 ? 0 : errno;

	io_counts.syncs++;
	TAPE_END(error);
	return error;
}

int io_sync_dir(int dir_fd)
{
	TAPE_BEGIN(.kind = TAPE_SYNC_DIR, .dir_fd = dir_fd);
	int error = fsync(dir_fd) == 0 ? 0 : errno;

	TAPE_END(error);
	return error;
}

int io_allocate(int fd, uint64_t bytes)
{
	TAPE_BEGIN(.kind = TAPE_ALLOCATE, .fd = fd, .offset = bytes);
	int error;

	do
		error = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
	while (error == EINTR);
	/* File systems without fallocate: the length alone; blocks come with the writes. */
	if (error == EOPNOTSUPP)
		error = ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
	TAPE_END(error);
	return error;
}

int io_truncate(int fd, uint64_t bytes)
{
	TAPE_BEGIN(.kind = TAPE_TRUNCATE, .fd = fd, .offset = bytes);
	int error = ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;

	TAPE_END(error);
	return error;
}

int io_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	TAPE_BEGIN(.kind = TAPE_RENAME, .dir_fd = from_dir, .name = from, .to_dir_fd = to_dir, .to_name = to);
	int error = renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;

	TAPE_END(error);
	return error;
}

/* Not on the tape: backups lie outside of what it records. */
int io_link(int from_dir, const char *from, int to_dir, const char *to)
{
	return linkat(from_dir, from, to_dir, to, 0) == 0 ? 0 : errno;
}

int io_remove_dir(int dir_fd, const char *name)
{
	return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

int io_unlink(int dir_fd, const char *name)
{
	TAPE_BEGIN(.kind = TAPE_UNLINK, .dir_fd = dir_fd, .name = name);
	int error = unlinkat(dir_fd, name, 0) == 0 ? 0 : errno;

	TAPE_END(error);
	return error;
}

int io_make_dir(int dir_fd, const char *name)
{
	TAPE_BEGIN(.kind = TAPE_MAKE_DIR, .dir_fd = dir_fd, .name = name);
	int error = mkdirat(dir_fd, name, 0700) == 0 ? 0 : errno;

	TAPE_MADE(error, dir_fd);
	return error;
}

static int open_once(int dir_fd, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
	while (fd < 0 && errno == EINTR);
	return fd >= 0 ? fd : -errno;
}

int io_open(int dir_fd, const char *name, int flags)
{
	struct stat st;
	bool there;
	int fd;

	if ((flags & (O_CREAT | O_TRUNC)) == 0)
		return open_once(dir_fd, name, flags);
	/* A name is made by one thread alone, so there is no race. */
	there = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (there && (flags & O_TRUNC) == 0)
		return open_once(dir_fd, name, flags);
	if (there) {
		TAPE_BEGIN(.kind = TAPE_EMPTY, .dir_fd = dir_fd, .name = name);
		fd = open_once(dir_fd, name, flags);
		TAPE_END(fd < 0 ? -fd : 0);
	} else {
		TAPE_BEGIN(.kind = TAPE_CREATE, .dir_fd = dir_fd, .name = name);
		fd = open_once(dir_fd, name, flags);
		TAPE_MADE(fd < 0 ? -fd : 0, dir_fd);
	}
	return fd;
}
