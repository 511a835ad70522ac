#include "master/files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/io.h"
#include "common/log.h"

#define EG_LOCK_SECONDS 5

/* File systems that make a difference to what a sync promises. */
static const struct fs {
	long magic;
	const char *name;
	enum { FS_WARN, FS_NETWORK } class;
} file_systems[] = {
	{ 0x01021994, "tmpfs", FS_WARN },
	{ 0x858458f6, "ramfs", FS_WARN },
	{ 0x794c7630, "overlay", FS_WARN },
	{ 0x6969, "NFS", FS_NETWORK },
	{ 0xff534d42, "CIFS", FS_NETWORK },
	{ 0xfe534d42, "SMB", FS_NETWORK },
	{ 0x517b, "SMB", FS_NETWORK },
	{ 0x01021997, "9p", FS_NETWORK },
	{ 0x65735546, "FUSE", FS_WARN },
};

enum err files_owner(const struct config *cfg, struct files_owner *o, struct fault *f)
{
	const char *name = cfg->server_user;
	struct passwd *pw;

	memset(o, 0, sizeof *o);
	o->uid = geteuid();
	o->gid = getegid();
	if (*name == '\0')
		return EG_E_OK;
	pw = getpwnam(name);
	if (pw == NULL)
		return err_set(f, EG_E_INPUT, "server.user", NULL, "there is no user \"%s\"", name);
	if (o->uid != 0 && o->uid != pw->pw_uid)
		return err_set(f, EG_E_FORBIDDEN, "server.user", NULL,
		               "only root can become user \"%s\"", name);
	if (o->uid == 0 && pw->pw_uid != 0)
		snprintf(o->name, sizeof o->name, "%s", name);
	o->uid = pw->pw_uid;
	o->gid = pw->pw_gid;
	return EG_E_OK;
}

void files_give(int fd, const struct files_owner *o)
{
	struct stat st;

	if (*o->name == '\0' || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid == o->uid)
		return;
	if (fchown(fd, o->uid, o->gid) != 0)
		LOG_WARN("the log file cannot be given to user %s: %s", o->name, strerror(errno));
}

static enum err look_at_fs(int dir, const struct config *cfg, struct fault *f)
{
	struct statfs fs;

	if (fstatfs(dir, &fs) != 0)
		return err_set(f, EG_E_INPUT, "server.data_dir", NULL, "%s: %s", cfg->server_data_dir, strerror(errno));
	for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++) {
		const struct fs *row = &file_systems[i];

		if ((uint32_t)row->magic != (uint32_t)fs.f_type)
			continue;
		if (row->class == FS_NETWORK && !cfg->server_allow_unsafe_fs)
			return err_set(f, EG_E_INPUT, "server.data_dir", NULL,
			               "%s is on %s, whose syncs may promise more than they keep; "
			               "server.allow_unsafe_fs = true accepts that", cfg->server_data_dir, row->name);
		LOG_WARN("data_dir %s is on %s: what is acknowledged may be lost when the machine goes down",
		         cfg->server_data_dir, row->name);
	}
	return EG_E_OK;
}

static enum err look_at_owner(int dir, const char *path, bool made, const struct files_owner *o,
                              struct stat *st, struct fault *f)
{
	if (made && geteuid() != o->uid && fchown(dir, o->uid, o->gid) != 0)
		return err_set(f, EG_E_FORBIDDEN, "server.data_dir", NULL, "%s: %s", path, strerror(errno));
	if (fstat(dir, st) != 0)
		return err_set(f, EG_E_INPUT, "server.data_dir", NULL, "%s: %s", path, strerror(errno));
	if (st->st_uid != o->uid)
		return err_set(f, EG_E_FORBIDDEN, "server.data_dir", NULL,
		               "%s belongs to user id %u, the server's is %u", path,
		               (unsigned)st->st_uid, (unsigned)o->uid);
	if (st->st_mode & 077) {
		LOG_WARN("data_dir %s was open to others (mode %03o): its mode is 700 now", path,
		         (unsigned)st->st_mode & 0777);
		if (fchmod(dir, 0700) != 0)
			return err_set(f, EG_E_FORBIDDEN, "server.data_dir", NULL, "%s: %s", path, strerror(errno));
	}
	return EG_E_OK;
}

static void tick(int number)
{
	(void)number;
}

/* Waits in the kernel, ended by an alarm that comes again in case it came between
 * the look at the clock and the call. */
static bool flock_within(int fd, unsigned seconds)
{
	struct sigaction act = { .sa_handler = tick }, before;
	struct itimerval off = { { 0, 0 }, { 0, 0 } };
	struct itimerval on = { { 0, 50000 }, { (time_t)seconds, 0 } };
	bool got;

	sigaction(SIGALRM, &act, &before);
	setitimer(ITIMER_REAL, &on, NULL);
	got = flock(fd, LOCK_EX) == 0;
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	return got;
}

/* Who holds it, for the message to the next one who wants it. */
static void lock_sign(int fd)
{
	char holder[32];

	snprintf(holder, sizeof holder, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, strlen(holder), 0) < 0)
		LOG_WARN("LOCK: %s", strerror(errno));
}

static enum err open_lock(int dir, const char *path, const struct files_owner *o, int *fd, struct fault *f)
{
	*fd = openat(dir, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return err_set(f, EG_E_INPUT, "server.data_dir", NULL, "%s/LOCK: %s", path, strerror(errno));
	if (geteuid() != o->uid && fchown(*fd, o->uid, o->gid) != 0)
		LOG_WARN("%s/LOCK cannot be given to user %s: %s", path, o->name, strerror(errno));
	return EG_E_OK;
}

bool files_lock_try(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return false;
	lock_sign(fd);
	return true;
}

void files_lock_give(int fd)
{
	if (flock(fd, LOCK_UN) != 0)
		LOG_ERROR("LOCK: %s", strerror(errno));
}

enum err files_lock(const struct config *cfg, int *fd, struct fault *f)
{
	char holder[32] = "";
	ssize_t n;

	if (files_lock_try(*fd))
		return EG_E_OK;
	if (flock_within(*fd, EG_LOCK_SECONDS)) {
		lock_sign(*fd);
		return EG_E_OK;
	}
	n = pread(*fd, holder, sizeof holder - 1, 0);
	holder[n > 0 ? n : 0] = '\0';
	holder[strcspn(holder, "\n")] = '\0';
	close(*fd);
	*fd = -1;
	return err_set(f, EG_E_CONFLICT, "server.data_dir", NULL, "%s is in use by another server (master process %s)",
	               cfg->server_data_dir, holder);
}

/* The name of a new directory, for good: else a power failure may take all of it. */
static enum err sync_parent(const char *path, struct fault *f)
{
	char copy[4096];
	int fd, error;

	snprintf(copy, sizeof copy, "%s", path);
	fd = io_open(AT_FDCWD, dirname(copy), O_RDONLY | O_DIRECTORY);
	error = fd < 0 ? -fd : io_sync_dir(fd);
	if (fd >= 0)
		close(fd);
	return error == 0 ? EG_E_OK : err_set(f, EG_E_INPUT, "server.data_dir", NULL, "the folder of %s: %s", path, strerror(error));
}

enum err files_open(const struct config *cfg, const struct files_owner *o, int *fd,
                    char prefix[40], struct fault *f)
{
	const char *path = cfg->server_data_dir;
	bool made = mkdir(path, 0700) == 0;
	struct stat st;
	uint64_t id[2];
	enum err e;
	int dir;

	if (!made && errno != EEXIST)
		return err_set(f, EG_E_INPUT, "server.data_dir", NULL, "%s cannot be made: %s", path, strerror(errno));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(f, EG_E_INPUT, "server.data_dir", NULL, "%s: %s", path, strerror(errno));
	e = made ? sync_parent(path, f) : EG_E_OK;
	if (e == EG_E_OK)
		e = look_at_owner(dir, path, made, o, &st, f);
	if (e == EG_E_OK)
		e = look_at_fs(dir, cfg, f);
	if (e == EG_E_OK)
		e = open_lock(dir, path, o, fd, f);
	close(dir);
	if (e != EG_E_OK)
		return e;
	id[0] = (uint64_t)st.st_dev;
	id[1] = (uint64_t)st.st_ino;
	snprintf(prefix, 40, "/engram-%016llx-", (unsigned long long)hash64(id, sizeof id, 0));
	return EG_E_OK;
}

/* ---- pid file */

enum err files_pid_write(const char *path, struct fault *f)
{
	char beside[4096 + 8];
	FILE *out;

	if (*path == '\0')
		return EG_E_OK;
	snprintf(beside, sizeof beside, "%s.new", path);
	out = fopen(beside, "we");
	if (out == NULL)
		return err_set(f, EG_E_INPUT, "server.pid_file", NULL, "%s: %s", beside, strerror(errno));
	fprintf(out, "%d\n", (int)getpid());
	if (fclose(out) != 0 || rename(beside, path) != 0) {
		enum err e = err_set(f, EG_E_INPUT, "server.pid_file", NULL, "%s: %s", path, strerror(errno));

		unlink(beside);
		return e;
	}
	return EG_E_OK;
}

pid_t files_pid_read(const char *path, struct fault *f)
{
	FILE *in = fopen(path, "re");
	long pid = 0;

	if (in == NULL) {
		(void)err_set(f, EG_E_INPUT, "server.pid_file", NULL, "%s: %s", path, strerror(errno));
		return 0;
	}
	if (fscanf(in, "%ld", &pid) != 1 || pid <= 0) {
		(void)err_set(f, EG_E_INPUT, "server.pid_file", NULL, "%s holds no process id", path);
		pid = 0;
	}
	fclose(in);
	return (pid_t)pid;
}

void files_pid_remove(const char *path)
{
	if (*path != '\0' && access(path, F_OK) == 0 && files_pid_read(path, NULL) == getpid() && unlink(path) != 0)
		LOG_WARN("%s: %s", path, strerror(errno));
}

static void oldbin_name(const char *path, char out[4096 + 8])
{
	snprintf(out, 4096 + 8, "%s.oldbin", path);
}

void files_pid_put_aside(const char *path)
{
	char aside[4096 + 8];

	oldbin_name(path, aside);
	if (*path != '\0' && rename(path, aside) != 0)
		LOG_WARN("%s: %s", path, strerror(errno));
}

void files_pid_bring_back(const char *path)
{
	char aside[4096 + 8];

	oldbin_name(path, aside);
	if (*path != '\0' && rename(aside, path) != 0)
		LOG_WARN("%s: %s", aside, strerror(errno));
}

void files_pid_drop_aside(const char *path)
{
	char aside[4096 + 8];

	oldbin_name(path, aside);
	if (*path != '\0')
		files_pid_remove(aside);
}
