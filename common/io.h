/* The I/O layer: every durable write, sync, rename and unlink goes through here,
 * so that what happens to files can be counted, recorded and made to fail in one
 * place. Short writes and EINTR are finished; any other error is the caller's.
 *
 * Functions return 0, or the errno; io_read_at returns bytes read or -1.
 */
#ifndef COMMON_IO_H
#define COMMON_IO_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct io_counts {                 /* of this process, since it started */
	_Atomic uint64_t read_bytes, written_bytes, writes, syncs;
};
extern struct io_counts io_counts;

ssize_t io_read_at(int fd, void *to, size_t bytes, uint64_t offset);
int io_write_at(int fd, const void *from, size_t bytes, uint64_t offset) EG_MUST_USE;
int io_sync(int fd) EG_MUST_USE;                       /* fdatasync */
int io_sync_dir(int dir_fd) EG_MUST_USE;               /* fsync of a directory */
int io_allocate(int fd, uint64_t bytes) EG_MUST_USE;   /* blocks for [0, bytes), length included */
int io_truncate(int fd, uint64_t bytes) EG_MUST_USE;   /* the length */
int io_rename(int from_dir, const char *from, int to_dir, const char *to) EG_MUST_USE;
/* A second name for the same file; EXDEV, EMLINK, EPERM where that cannot be. */
int io_link(int from_dir, const char *from, int to_dir, const char *to) EG_MUST_USE;
int io_unlink(int dir_fd, const char *name) EG_MUST_USE;
int io_make_dir(int dir_fd, const char *name) EG_MUST_USE;   /* mode 0700 */
int io_remove_dir(int dir_fd, const char *name) EG_MUST_USE; /* an empty one */
/* Open (flags as open(2), O_CLOEXEC is added, mode 0600). Returns the fd or -errno. */
int io_open(int dir_fd, const char *name, int flags) EG_MUST_USE;

#endif
