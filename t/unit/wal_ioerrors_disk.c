/* A disk that fails, see wal_ioerrors.h. The linker puts these functions in front of
 * those of common/io.h. What was written and not synced is kept with what was there
 * before, for a failed sync to bring back: after one the kernel marks pages clean that have
 * never reached the disk, and drops them. */
#include "t/unit/wal_ioerrors.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/io.h"

#define ARENA ((size_t)256 << 20)
#define PIECES 65536u
#define BLOCK ((size_t)4096)

const char *const disk_mode_names[DISK_MODES] = { "EIO", "EIO, that kind for good", "EIO, all for good", "ENOSPC",
	"ENOSPC, that kind for good", "ENOSPC, all for good", "short write", "short writes for good",
	"pages dropped", "pages dropped, for good" };
const char *const disk_call_names[DISK_CALLS] = { "read", "write", "sync", "sync of a folder", "allocate", "truncate",
	"rename", "link", "unlink", "mkdir", "rmdir", "open", "create" };

struct piece { uint64_t file, offset, bytes; size_t at; };     /* file: inode; 0: it is on stable storage */

static struct disk {
	pthread_mutex_t lock;          /* robust: a process may end in it */
	bool armed, direct;
	enum disk_mode mode;
	uint64_t nth, calls;
	uint32_t fired;
	enum disk_call met_call;
	bool met_mirror;
	char met[160], mirror[128];
	uint8_t census[DISK_CENSUS];
	unsigned pieces, live;
	size_t used;
	struct piece piece[PIECES];
	uint8_t arena[];
} *disk;

static void lock(void)
{
	if (pthread_mutex_lock(&disk->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&disk->lock);
}

static void unlock(void) { pthread_mutex_unlock(&disk->lock); }

void disk_begin(const char *mirror, bool direct)
{
	pthread_mutexattr_t attr;

	if (disk == NULL) {
		disk = mmap(NULL, sizeof *disk + ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		EG_ASSERT(disk != MAP_FAILED);
		pthread_mutexattr_init(&attr);
		pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
		pthread_mutex_init(&disk->lock, &attr);
	}
	disk->armed = false;
	disk->direct = direct;
	disk->pieces = disk->live = 0;
	disk->used = 0;
	snprintf(disk->mirror, sizeof disk->mirror, "%s", mirror);
}

void disk_arm(uint64_t nth, enum disk_mode mode)
{
	lock();
	disk->nth = nth;
	disk->mode = mode;
	disk->calls = disk->fired = 0;
	disk->met[0] = '\0';
	disk->met_mirror = false;
	disk->armed = true;
	unlock();
}

static void set_armed(bool armed)
{
	lock();
	disk->armed = armed;
	unlock();
}

void disk_go_on(void) { set_armed(true); }
void disk_heal(void) { set_armed(false); }
uint64_t disk_calls(void) { return disk->calls; }
uint32_t disk_fired(void) { return disk->fired; }
const char *disk_met(void) { return disk->met; }
bool disk_met_mirror(void) { return disk->met_mirror; }
enum disk_call disk_met_call(void) { return disk->met_call; }
enum disk_call disk_census(uint64_t nth) { return (enum disk_call)disk->census[nth % DISK_CENSUS]; }

bool disk_applies(enum disk_mode mode, enum disk_call call)
{
	switch (mode) {
	case MODE_ENOSPC:
	case MODE_ENOSPC_KIND:
	case MODE_ENOSPC_ALL:
		return call == DISK_WRITE || call == DISK_SYNC || call == DISK_SYNC_DIR || call == DISK_ALLOCATE
		       || call == DISK_RENAME || call == DISK_LINK || call == DISK_MAKE_DIR || call == DISK_CREATE;
	case MODE_SHORT:
	case MODE_SHORT_KIND:
		return call == DISK_WRITE;
	case MODE_DROP:
	case MODE_DROP_KIND:
		return call == DISK_SYNC;
	default:
		return true;
	}
}

static int errno_of(enum disk_mode mode)
{
	return mode == MODE_ENOSPC || mode == MODE_ENOSPC_KIND || mode == MODE_ENOSPC_ALL ? ENOSPC : EIO;
}

static void path_of(int fd, const char *name, char out[256])
{
	char link[64];
	ssize_t n;

	if (name != NULL && name[0] == '/') {
		snprintf(out, 256, "%s", name);
		return;
	}
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, out, 180);
	snprintf(out + (n > 0 ? n : 0), 256 - 180, "%s%.60s", name != NULL ? "/" : "", name != NULL ? name : "");
}

/* Lock held: this call is the one. */
static void note_first(enum disk_call call, const char *path, bool mirror)
{
	disk->met_call = call;
	disk->met_mirror = mirror;
	snprintf(disk->met, sizeof disk->met, "call %llu: %s %.80s", (unsigned long long)disk->calls, disk_call_names[call],
	         strlen(path) > 80 ? path + strlen(path) - 80 : path);
}

/* One call: does it meet the fault? */
static bool meet(enum disk_call call, int fd, const char *name)
{
	bool now = false, all, kind, mirror;
	char path[256];

	if (disk == NULL || !disk->armed)
		return false;
	lock();
	disk->calls++;
	if (disk->calls < DISK_CENSUS)
		disk->census[disk->calls] = (uint8_t)call;
	all = disk->mode == MODE_EIO_ALL || disk->mode == MODE_ENOSPC_ALL;
	kind = disk->mode == MODE_EIO_KIND || disk->mode == MODE_ENOSPC_KIND || disk->mode == MODE_SHORT_KIND
	       || disk->mode == MODE_DROP_KIND;
	if (disk->armed && disk->nth != 0 && disk->calls >= disk->nth && disk_applies(disk->mode, call)) {
		path_of(fd, name, path);
		mirror = disk->mirror[0] != '\0' && strncmp(path, disk->mirror, strlen(disk->mirror)) == 0;
		if (disk->fired == 0) {
			note_first(call, path, mirror);
			now = true;
		} else {
			now = mirror == disk->met_mirror && (all || (kind && call == disk->met_call));
		}
		disk->fired += now;
	}
	unlock();
	return now;
}

static bool shortens(void) { return disk->mode == MODE_SHORT || disk->mode == MODE_SHORT_KIND; }

/* ---- pages ------------------------------------------------------------------------------ */

/* The same file, whatever flags the descriptor has. */
static int again(int fd, int flags)
{
	char link[64];

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return open(link, flags | O_CLOEXEC);
}

static uint64_t file_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void keep(int fd, uint64_t bytes, uint64_t offset)
{
	int in = again(fd, O_RDONLY);
	struct piece *p;
	ssize_t n;

	EG_ASSERT(in >= 0);
	lock();
	if (disk->live == 0)
		disk->pieces = disk->used = 0;
	EG_ASSERT(disk->pieces < PIECES && disk->used + bytes <= ARENA);
	p = &disk->piece[disk->pieces++];
	*p = (struct piece){ .file = file_of(fd), .offset = offset, .bytes = bytes, .at = disk->used };
	n = pread(in, disk->arena + p->at, bytes, (off_t)offset);
	n = n < 0 ? 0 : n;
	memset(disk->arena + p->at + n, 0, bytes - (size_t)n);
	disk->used += bytes;
	disk->live++;
	unlock();
	close(in);
}

/* Lock held. What a file lost beyond its end was never there. */
static unsigned drop(int fd, uint64_t file)
{
	int out = again(fd, O_WRONLY);
	unsigned n = 0;
	struct stat st;

	EG_ASSERT(out >= 0 && fstat(out, &st) == 0);
	for (unsigned i = disk->pieces; i-- > 0;) {
		struct piece *p = &disk->piece[i];
		uint64_t room = p->offset < (uint64_t)st.st_size ? (uint64_t)st.st_size - p->offset : 0;

		if (p->file != file)
			continue;
		room = room < p->bytes ? room : p->bytes;
		EG_ASSERT(syscall(SYS_pwrite64, out, disk->arena + p->at, room, p->offset) == (long)room);
		p->file = 0;
		disk->live--;
		n++;
	}
	close(out);
	return n;
}

static void forget(uint64_t file)
{
	lock();
	for (unsigned i = 0; i < disk->pieces; i++)
		if (file != 0 && disk->piece[i].file == file) {
			disk->piece[i].file = 0;
			disk->live--;
		}
	unlock();
}

static unsigned dropped;

static int drop_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd;

	(void)ftw;
	if (type != FTW_F)
		return 0;
	for (unsigned i = 0; i < disk->pieces; i++)
		if (disk->piece[i].file == st->st_ino) {
			fd = open(path, O_RDONLY | O_CLOEXEC);
			EG_ASSERT(fd >= 0);
			dropped += drop(fd, st->st_ino);
			close(fd);
		}
	return 0;
}

unsigned disk_power_off(const char *dir, const char *mirror)
{
	dropped = 0;
	lock();
	EG_ASSERT(nftw(dir, drop_file, 16, FTW_PHYS) == 0);
	EG_ASSERT(mirror[0] == '\0' || nftw(mirror, drop_file, 16, FTW_PHYS) == 0);
	disk->pieces = disk->live = 0;
	disk->used = 0;
	unlock();
	return dropped;
}

/* ---- the I/O layer -------------------------------------------------------------------------- */

ssize_t __real_io_read_at(int fd, void *to, size_t bytes, uint64_t offset);
ssize_t __wrap_io_read_at(int fd, void *to, size_t bytes, uint64_t offset);
ssize_t __wrap_io_read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	if (!meet(DISK_READ, fd, NULL))
		return __real_io_read_at(fd, to, bytes, offset);
	errno = EIO;
	return -1;
}

static _Thread_local bool cut_next;

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
	size_t half = disk != NULL && disk->direct ? n / 2 / BLOCK * BLOCK : n / 2;

	if (cut_next && half > 0)
		n = half;
	cut_next = false;
	return syscall(SYS_pwrite64, fd, from, n, offset);
}

int __real_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset);
int __wrap_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset);
int __wrap_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset)
{
	bool fails = meet(DISK_WRITE, fd, NULL), whole = disk == NULL || !fails || shortens();
	size_t half = bytes / 2 / BLOCK * BLOCK;

	if (disk != NULL)
		keep(fd, bytes, offset);
	cut_next = fails && shortens();
	if (whole)
		return __real_io_write_at(fd, from, bytes, offset);
	/* A disk that is full takes what it has room for. */
	if (errno_of(disk->mode) == ENOSPC && half > 0)
		EG_ASSERT(__real_io_write_at(fd, from, half, offset) == 0);
	return errno_of(disk->mode);
}

/* The real one would only take time: power failures are this disk's own. */
int __real_io_sync(int fd);
int __wrap_io_sync(int fd);
int __wrap_io_sync(int fd)
{
	if (meet(DISK_SYNC, fd, NULL)) {
		lock();
		if (disk->mode == MODE_DROP || disk->mode == MODE_DROP_KIND)
			(void)drop(fd, file_of(fd));
		unlock();
		return errno_of(disk->mode);
	}
	if (disk == NULL)
		return __real_io_sync(fd);
	forget(file_of(fd));
	return 0;
}

#define WRAPPED(call, function, params, args, fd, name) \
	int __real_##function params; \
	int __wrap_##function params; \
	int __wrap_##function params \
	{ \
		return meet(call, fd, name) ? errno_of(disk->mode) : __real_##function args; \
	}

WRAPPED(DISK_SYNC_DIR, io_sync_dir, (int fd), (fd), fd, NULL)
WRAPPED(DISK_ALLOCATE, io_allocate, (int fd, uint64_t bytes), (fd, bytes), fd, NULL)
WRAPPED(DISK_TRUNCATE, io_truncate, (int fd, uint64_t bytes), (fd, bytes), fd, NULL)
WRAPPED(DISK_RENAME, io_rename, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to),
        to_dir, to)
WRAPPED(DISK_LINK, io_link, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to),
        to_dir, to)
WRAPPED(DISK_UNLINK, io_unlink, (int dir_fd, const char *name), (dir_fd, name), dir_fd, name)
WRAPPED(DISK_MAKE_DIR, io_make_dir, (int dir_fd, const char *name), (dir_fd, name), dir_fd, name)
WRAPPED(DISK_REMOVE_DIR, io_remove_dir, (int dir_fd, const char *name), (dir_fd, name), dir_fd, name)

int __real_io_open(int dir_fd, const char *name, int flags);
int __wrap_io_open(int dir_fd, const char *name, int flags);
int __wrap_io_open(int dir_fd, const char *name, int flags)
{
	struct stat st;
	bool there = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	bool makes = (flags & O_CREAT) != 0 && !there;
	int fd;

	if (meet(makes ? DISK_CREATE : DISK_OPEN, dir_fd, name))
		return -errno_of(disk->mode);
	fd = __real_io_open(dir_fd, name, flags);
	/* The number of a file that is gone may be given again. */
	if (disk != NULL && fd >= 0 && (makes || (flags & O_TRUNC)))
		forget(file_of(fd));
	return fd;
}
