/* The mirror while the server runs, see the header. */
#include "wal/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"

#define EG_RETRY_NS INT64_C(1000000000)
#define EG_RETRY_MAX 6u                /* doublings: a minute */

/* ---- the writer: one step at a time ------------------------------------------------ */

static void *write_steps(void *arg)
{
	struct mirror *m = arg;

	prctl(PR_SET_NAME, "engram-mirror", 0, 0, 0);
	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		const struct sink_op *op = m->op;
		int error;

		if (op == NULL) {
			pthread_cond_wait(&m->changed, &m->lock);
			continue;
		}
		pthread_mutex_unlock(&m->lock);
		error = sink_do(&m->sink, op);
		pthread_mutex_lock(&m->lock);
		m->error = error;
		m->op = NULL;
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

void mirror_begin(struct mirror *m, const struct sink_op *op)
{
	pthread_mutex_lock(&m->lock);
	m->op = op;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

int mirror_end(struct mirror *m)
{
	int error;

	pthread_mutex_lock(&m->lock);
	while (m->op != NULL)
		pthread_cond_wait(&m->changed, &m->lock);
	error = m->error;
	pthread_mutex_unlock(&m->lock);
	return error;
}

/* ---- the worker: rebuild, follow ------------------------------------------------------ */

static bool stopping(struct mirror *m)
{
	bool stop;

	pthread_mutex_lock(&m->work_lock);
	stop = m->stop;
	pthread_mutex_unlock(&m->work_lock);
	return stop;
}

/* All that the copy lacks, oldest first. 0 or an errno. */
static int rebuild(struct mirror *m, bool to_main, uint64_t stale_from, uint64_t below)
{
	const struct datadir *from = to_main ? &m->dir : m->main, *to = to_main ? m->main : &m->dir;
	uint64_t *starts;
	unsigned n;
	struct fault f;
	int error = datadir_segments(from, &starts, &n, &f) == EG_E_OK ? 0 : EIO;

	for (unsigned i = 0; i < n && error == 0 && starts[i] < below; i++) {
		bool in_wal = datadir_segment_in_wal(from, starts[i]);
		char name[32];

		if (stopping(m)) {
			error = EINTR;
			break;
		}
		/* What went to warm/ meanwhile is there in either folder. */
		if (to_main && !datadir_segment_in_wal(to, starts[i]) && starts[i] < stale_from)
			continue;
		datadir_segment_name(name, starts[i]);
		error = mirror_copy(in_wal ? from->wal_fd : from->warm_fd, name, to, to->wal_fd, starts[i] >= stale_from);
		if (error == ENOENT)
			error = 0;         /* retired meanwhile */
		FAULT(MIRROR_COPIED);
	}
	free(starts);
	if (error == 0 && !to_main)
		error = mirror_copy_checkpoints(from, to);
	if (error == 0)
		error = FAULT_IO(MIRROR_UNLINK, io_unlink(from->fd, EG_STALE));
	if (error == 0 || error == ENOENT)
		error = FAULT_IO(MIRROR_UNLINK, io_unlink(m->main->fd, EG_AHEAD));
	return error == ENOENT ? 0 : error;
}

static void do_rebuild(struct mirror *m)
{
	bool to_main = m->to_main;
	uint64_t stale_from = m->stale_from, below = m->below;
	int error;

	m->rebuild = false;
	pthread_mutex_unlock(&m->work_lock);
	error = rebuild(m, to_main, stale_from, below);
	pthread_mutex_lock(&m->work_lock);
	if (m->rebuild || error == EINTR)
		return;
	if (error == 0) {
		atomic_store(&m->whole, true);
		LOG_INFO("mirror: %s is whole again", to_main ? "the data directory" : m->path);
	} else {
		LOG_ERROR("mirror: %s cannot be rebuilt: %s; tried again", to_main ? "the data directory" : m->path,
		          strerror(error));
		m->rebuild = true;
	}
}

/* Segments that the other copy has let go, below both checkpoints. */
static void let_go(struct mirror *m, const struct superblocks *s)
{
	uint64_t low = s->now.previous.id != 0 ? s->now.previous.start_lsn : s->now.newest.start_lsn, *starts;
	unsigned n;
	struct fault f;

	if (datadir_segments(&m->dir, &starts, &n, &f) != EG_E_OK)
		return;
	for (unsigned i = 0; i + 1 < n; i++) {
		char name[32], path[4200];

		datadir_segment_name(name, starts[i]);
		datadir_segment_path(m->main, path, starts[i]);
		if (starts[i + 1] > low + 1 || access(path, F_OK) == 0 || errno != ENOENT)
			continue;
		if (FAULT_IO(MIRROR_UNLINK, io_unlink(m->dir.wal_fd, name)) != 0)
			LOG_WARN("mirror: %s cannot be removed", name);
	}
	free(starts);
}

static void follow(struct mirror *m)
{
	struct superblocks s;
	struct fault f;
	int error;

	if (superblock_read(m->main->fd, &s, &f) != EG_E_OK || s.now.seq == m->seq)
		return;
	error = mirror_copy_checkpoints(m->main, &m->dir);
	if (error != 0) {
		LOG_ERROR("mirror: checkpoints are not copied: %s; tried again", strerror(error));
		return;
	}
	m->seq = s.now.seq;
	if (s.now.newest.id != 0)
		let_go(m, &s);
}

/* One server uses a mirror. The descriptor is closed with the process. */
static enum err take(struct mirror *m, struct fault *f)
{
	if (flock(m->dir.fd, LOCK_EX | LOCK_NB) == 0)
		return EG_E_OK;
	return err_set(f, EG_E_CONFLICT, NULL, NULL, "another server uses it");
}

/* A new mirror has no superblock; and nobody else may use it. */
static enum err copy_identity(struct mirror *m, const char *path, struct fault *f)
{
	struct datadir d;
	struct superblocks s;
	enum err e = mirror_open_folders(&d, path, f);
	int error;

	if (e == EG_E_OK && superblock_read(d.fd, &s, f) == EG_E_OK
	    && memcmp(s.now.uuid, m->main->uuid, sizeof s.now.uuid) != 0)
		e = err_set(f, EG_E_CONFLICT, NULL, NULL, "it is the mirror of another data directory");
	error = e == EG_E_OK ? mirror_copy(m->main->fd, "SUPERBLOCK", &d, d.fd, true) : 0;

	datadir_close(&d);
	return error == 0 ? e : err_set(f, EG_E_INTERNAL, NULL, NULL, "SUPERBLOCK: %s", strerror(error));
}

/* The folder could not be used at start: perhaps now. The log has gone on without it, so
 * all of it is made anew. */
static void try_open(struct mirror *m)
{
	struct fault f;

	if (copy_identity(m, m->path, &f) != EG_E_OK)
		return;
	if (datadir_open(&m->dir, m->path, m->main->stores, &f) != EG_E_OK || take(m, &f) != EG_E_OK
	    || spares_open(&m->sink.spares, &m->dir, m->sink.spares.bytes, &f) != EG_E_OK) {
		datadir_close(&m->dir);
		return;
	}
	LOG_INFO("mirror: %s is there", m->path);
	m->open = true;
}

static void *work(void *arg)
{
	struct mirror *m = arg;

	prctl(PR_SET_NAME, "engram-rebuild", 0, 0, 0);
	pthread_mutex_lock(&m->work_lock);
	while (!m->stop) {
		struct timespec until;

		if (!m->open) {
			try_open(m);
		} else if (m->rebuild) {
			do_rebuild(m);
		} else if (atomic_load(&m->whole)) {
			pthread_mutex_unlock(&m->work_lock);
			follow(m);
			pthread_mutex_lock(&m->work_lock);
		}
		if (m->stop)
			break;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 1;
		pthread_cond_timedwait(&m->work, &m->work_lock, &until);
	}
	pthread_mutex_unlock(&m->work_lock);
	return NULL;
}

/* ---- losing a copy, and getting it back --------------------------------------------------- */

void mirror_retry_later(struct mirror *m)
{
	if (m->retry_ns == INT64_MAX)
		return;
	m->attempts += m->attempts < EG_RETRY_MAX;
	m->retry_ns = clock_mono_ns() + (EG_RETRY_NS << (m->attempts - 1));
}

static void write_note(const struct datadir *d, const char *name, uint64_t start)
{
	char text[64];
	int fd = FAULT_FD(MIRROR_CREATE, io_open(d->fd, name, O_RDWR | O_CREAT | O_TRUNC)), error;

	snprintf(text, sizeof text, "%llu\n", (unsigned long long)start);
	error = fd < 0 ? -fd : FAULT_IO(MIRROR_WRITE, io_write_at(fd, text, strlen(text), 0));
	if (error == 0)
		error = FAULT_IO(MIRROR_SYNC, io_sync(fd));
	if (error == 0)
		error = FAULT_IO(MIRROR_DIR_SYNC, io_sync_dir(d->fd));
	if (fd >= 0)
		close(fd);
	if (error != 0)
		LOG_ERROR("mirror: the note %s cannot be written: %s", name, strerror(error));
}

void mirror_note_loss(struct mirror *m, bool of_main, uint64_t segment_start)
{
	bool was_whole = atomic_exchange(&m->whole, false);

	m->losses++;
	m->main_losses += of_main;
	if (was_whole) {
		m->attempts = 0;
		m->lost_main = of_main;
		m->lost_start = segment_start;
	} else if (of_main != m->lost_main) {
		/* Each copy has what the other lacks: only a start can unite them. */
		LOG_ERROR("mirror: the other copy was not whole yet; both are repaired at the next start");
		m->retry_ns = INT64_MAX;
	} else if (segment_start < m->lost_start) {
		m->lost_start = segment_start;
	}
	mirror_retry_later(m);
	write_note(of_main ? &m->dir : m->main, EG_STALE, m->lost_start);
	/* As well as it can be said there: the other copy knows more. */
	if (of_main)
		write_note(m->main, EG_AHEAD, m->lost_start);
}
void mirror_rebuild(struct mirror *m, bool of_main, uint64_t below)
{
	m->retry_ns = 0;
	pthread_mutex_lock(&m->work_lock);
	m->to_main = of_main;
	m->stale_from = m->lost_start;
	m->below = below;
	m->rebuild = true;
	pthread_cond_broadcast(&m->work);
	pthread_mutex_unlock(&m->work_lock);
}

enum mirror_state mirror_state(const struct mirror *m, bool main_lost)
{
	if (m == NULL)
		return MIRROR_NONE;
	if (main_lost)
		return MIRROR_MAIN_LOST;
	if (m->sink.lost)
		return MIRROR_LOST;
	return atomic_load(&m->whole) ? MIRROR_WHOLE : MIRROR_REBUILDING;
}

uint64_t mirror_main_doubt(const struct mirror *m, bool main_lost)
{
	if (m == NULL)
		return 0;
	return m->main_losses * 2 + (main_lost || (m->lost_main && !atomic_load(&m->whole)));
}

/* ---- open, close ------------------------------------------------------------------------ */

static bool start_threads(struct mirror *m)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->work_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->changed, NULL);
	pthread_cond_init(&m->work, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&m->writer, NULL, write_steps, m) != 0)
		return false;
	if (pthread_create(&m->worker, NULL, work, m) != 0)
		return false;
	m->running = true;
	return true;
}

struct mirror *mirror_open(const struct datadir *main, const char *path, bool usable, bool direct,
                           uint64_t segment_bytes, struct fault *f)
{
	struct mirror *m = calloc(1, sizeof *m);

	EG_ASSERT(m != NULL);
	m->main = main;
	snprintf(m->path, sizeof m->path, "%s", path);
	sink_init(&m->sink, "the mirror", &m->dir, direct);
	m->dir.fd = m->dir.wal_fd = m->dir.warm_fd = m->dir.spare_fd = m->dir.tmp_fd = m->dir.checkpoints_fd = -1;
	usable = usable && copy_identity(m, path, f) == EG_E_OK && datadir_open(&m->dir, path, main->stores, f) == EG_E_OK
	         && take(m, f) == EG_E_OK && spares_open(&m->sink.spares, &m->dir, segment_bytes, f) == EG_E_OK;
	m->open = usable;
	m->sink.lost = !usable;
	m->seq = usable ? main->super.now.seq : 0;
	atomic_store(&m->whole, usable);
	if (!usable) {
		datadir_close(&m->dir);    /* and with it the lock, or it could not be taken again */
		m->sink.spares.bytes = segment_bytes;
		m->losses++;
		m->retry_ns = clock_mono_ns() + EG_RETRY_NS;
		LOG_ERROR("mirror: %s cannot be used: %s; the log has one copy until it can", path, f->message);
	}
	if (!start_threads(m)) {
		err_set(f, EG_E_INTERNAL, NULL, NULL, "no thread for the mirror");
		free(m);
		return NULL;
	}
	return m;
}

void mirror_close(struct mirror *m)
{
	if (m == NULL)
		return;
	pthread_mutex_lock(&m->work_lock);
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_broadcast(&m->changed);
	pthread_cond_broadcast(&m->work);
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&m->work_lock);
	pthread_join(m->writer, NULL);
	pthread_join(m->worker, NULL);
	if (m->open)
		spares_close(&m->sink.spares);
	datadir_close(&m->dir);
	free(m);
}
