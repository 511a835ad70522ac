/* Spare segments, see the header. After a failure the thread tries again when
 * it is asked for a spare, or after a second: space may have come back. */
#include "wal/spares.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"

/* Make one file; 0 or an errno. A half-made one is removed again. */
static int make(const struct spares *s, const char *name)
{
	int fd = FAULT_FD(SPARE_CREATE, io_open(s->dir->spare_fd, name, O_RDWR | O_CREAT | O_EXCL)), error;

	if (fd < 0)
		return -fd;
	error = FAULT_IO(SPARE_ALLOCATE, io_allocate(fd, s->bytes));
	if (error == 0)
		error = FAULT_IO(SPARE_SYNC, io_sync(fd));
	close(fd);
	if (error == 0)
		error = FAULT_IO(SPARE_DIR_SYNC, io_sync_dir(s->dir->spare_fd));
	if (error != 0 && FAULT_IO(SPARE_UNLINK, io_unlink(s->dir->spare_fd, name)) != 0)
		LOG_WARN("spare/%s: cannot be removed", name);
	return error;
}

/* Lock held; released while the file is made. */
static void make_one(struct spares *s)
{
	char name[32];
	int error;

	snprintf(name, sizeof name, "%llu", (unsigned long long)s->next_name++);
	pthread_mutex_unlock(&s->lock);
	error = make(s, name);
	pthread_mutex_lock(&s->lock);
	if (error != 0 && error != s->error)
		LOG_ERROR("no spare segment of %llu bytes: %s", (unsigned long long)s->bytes, strerror(error));
	if (error == 0 && s->error != 0)
		LOG_INFO("spare segments can be made again");
	s->error = error;
	if (error == 0)
		memcpy(s->ready[s->n++], name, sizeof name);
	pthread_cond_broadcast(&s->changed);
}

static void *run(void *arg)
{
	struct spares *s = arg;

	prctl(PR_SET_NAME, "engram-io", 0, 0, 0);
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct timespec until;

		if (s->n < EG_SPARES)
			make_one(s);
		if (s->stop || (s->n < EG_SPARES && s->error == 0))
			continue;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 1;
		pthread_cond_timedwait(&s->changed, &s->lock, &until);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static enum err adopt(struct spares *s, struct fault *f)
{
	DIR *dir = fdopendir(FAULT_FD(SPARES_LIST, io_open(s->dir->fd, "spare", O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;

	if (dir == NULL)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s/spare: %s", s->dir->path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		unsigned long long number;
		struct stat st;

		if (sscanf(entry->d_name, "%llu", &number) != 1 || strlen(entry->d_name) >= sizeof s->ready[0])
			continue;
		if (number >= s->next_name)
			s->next_name = number + 1;
		if (s->n < EG_SPARES && fstatat(s->dir->spare_fd, entry->d_name, &st, 0) == 0
		    && (uint64_t)st.st_size == s->bytes)
			snprintf(s->ready[s->n++], sizeof s->ready[0], "%.31s", entry->d_name);
		else if (FAULT_IO(SPARE_REMOVE, io_unlink(s->dir->spare_fd, entry->d_name)) != 0)
			LOG_WARN("spare/%s: cannot be removed", entry->d_name);
	}
	closedir(dir);
	return EG_E_OK;
}

enum err spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f)
{
	pthread_condattr_t attr;
	enum err e;

	memset(s, 0, sizeof *s);
	s->dir = dir;
	s->bytes = bytes;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	e = adopt(s, f);
	if (e != EG_E_OK)
		return e;
	if (pthread_create(&s->thread, NULL, run, s) != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "no thread for spare segments");
	s->running = true;
	return EG_E_OK;
}

void spares_close(struct spares *s)
{
	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

/* Lock held. */
static enum err wait_for_one(struct spares *s, struct fault *f)
{
	pthread_cond_broadcast(&s->changed);
	while (s->n == 0 && s->error == 0)
		pthread_cond_wait(&s->changed, &s->lock);
	if (s->n == 0)
		return err_set(f, EG_E_NO_STORAGE, NULL, NULL, "no room for a log segment: %s", strerror(s->error));
	return EG_E_OK;
}

enum err spares_wait(struct spares *s, struct fault *f)
{
	enum err e;

	pthread_mutex_lock(&s->lock);
	e = wait_for_one(s, f);
	pthread_mutex_unlock(&s->lock);
	return e;
}

enum err spares_take(struct spares *s, char name[32], struct fault *f)
{
	enum err e;

	pthread_mutex_lock(&s->lock);
	e = wait_for_one(s, f);
	if (e == EG_E_OK) {
		memcpy(name, s->ready[0], 32);
		memmove(s->ready[0], s->ready[1], (EG_SPARES - 1) * sizeof s->ready[0]);
		s->n--;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

bool spares_short(struct spares *s)
{
	bool is_short;

	pthread_mutex_lock(&s->lock);
	is_short = s->error != 0 && s->n < EG_SPARES;
	pthread_mutex_unlock(&s->lock);
	return is_short;
}
