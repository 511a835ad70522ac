/* The I/O layer, see the header. */
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/fault.h"

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

int io_write_at(int fd, const void *from, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pwrite(fd, (const uint8_t *)from + done, FAULT_SHARE(bytes - done), (off_t)(offset + done));

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
	io_counts.syncs++;
	return fdatasync(fd) == 0 ? 0 : errno;
}

int io_sync_dir(int dir_fd) { return fsync(dir_fd) == 0 ? 0 : errno; }

int io_allocate(int fd, uint64_t bytes)
{
	int error;

	do
		error = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
	while (error == EINTR);
	/* File systems without fallocate: the length alone; blocks come with the writes. */
	if (error == EOPNOTSUPP)
		error = ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
	return error;
}

int io_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	return renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;
}

int io_unlink(int dir_fd, const char *name) { return unlinkat(dir_fd, name, 0) == 0 ? 0 : errno; }

int io_open(int dir_fd, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
	while (fd < 0 && errno == EINTR);
	return fd >= 0 ? fd : -errno;
}
