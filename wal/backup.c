/* Backups, see the header. */
#include "wal/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "wal/backup_copy.h"

static struct backup_page *page_of(const struct backup *b) { return &desk_wal(b->desks)->backup; }

static bool given_up(void *arg)
{
	const struct backup *b = arg;

	return atomic_load(&b->stop);
}

/* ---- one backup ---------------------------------------------------------------------- */

static enum err failed(struct fault *f, const char *field, const char *path, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : field != NULL ? EG_E_VALIDATION : EG_E_INTERNAL;

	return err_set(f, e, field, NULL, "backup: %s: %s", path, strerror(error));
}

/* A half-made one has a name that no backup can have, and that tells whose it is. */
static void part_name(const struct backup *b, char out[96], const char *name)
{
	const uint8_t *u = b->dir->uuid;

	snprintf(out, 96, ".part-%02x%02x%02x%02x-%s", u[0], u[1], u[2], u[3], name);
}

static void sweep(const struct backup *b, int folder_fd)
{
	int fd = FAULT_FD(BACKUP_OPEN_DIR, io_open(folder_fd, ".", O_RDONLY | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char prefix[96];

	part_name(b, prefix, "");
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			backup_remove_folder(folder_fd, entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

static enum err open_folder(const struct backup *b, int *fd, struct fault *f)
{
	int error = FAULT_IO(BACKUP_MAKE_DIR, io_make_dir(AT_FDCWD, b->folder));

	if (error != 0 && error != EEXIST)
		return failed(f, NULL, b->folder, error);
	*fd = FAULT_FD(BACKUP_OPEN_DIR, io_open(AT_FDCWD, b->folder, O_RDONLY | O_DIRECTORY));
	return *fd >= 0 ? EG_E_OK : failed(f, NULL, b->folder, -*fd);
}

/* The earlier backup that files are taken over from. */
static enum err open_base(const struct backup *b, struct backup_out *out, int folder_fd, struct fault *f)
{
	const char *name = b->job.base;
	enum err e;

	if (*name == 0)
		return EG_E_OK;
	out->base_fd = FAULT_FD(BACKUP_OPEN_DIR, io_open(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
	if (out->base_fd < 0)
		return failed(f, "base", name, -out->base_fd);
	e = manifest_read(&out->base, out->base_fd, f);
	if (e != EG_E_OK) {
		snprintf(f->field, sizeof f->field, "base");
		return EG_E_VALIDATION;
	}
	if (memcmp(out->base.uuid, b->dir->uuid, sizeof out->base.uuid) != 0)
		return err_set(f, EG_E_VALIDATION, "base", NULL, "backup: %s is of another data directory", name);
	snprintf(out->m.base, sizeof out->m.base, "%.60s", name);
	return EG_E_OK;
}

/* With two copies of the log this directory's may be the one that was given up. Files are read from
 * here alone, so a backup waits for better days. before: the word when it began. */
static enum err copy_is_whole(const struct backup *b, uint64_t before, struct fault *f)
{
	uint64_t doubt = atomic_load(&desk_wal(b->desks)->main_doubt);

	if (doubt % 2 == 0 && doubt == before)
		return EG_E_OK;
	return err_set(f, EG_E_WRITER, NULL, NULL, "backup: the data directory's copy of the log was given up%s; the mirror has"
	               " all of it", doubt % 2 != 0 ? " and is not rebuilt yet" : " meanwhile");
}

static enum err copy_all(const struct backup *b, struct backup_out *out, struct fault *f)
{
	uint64_t doubt = atomic_load(&desk_wal(b->desks)->main_doubt);
	struct superblocks s;
	uint64_t *starts = NULL;
	unsigned n = 0;
	enum err e = superblock_read(b->dir->fd, &s, f);

	if (e == EG_E_OK)
		e = install_await_durable(b->install, &out->m.lsn, f);
	FAULT(BACKUP_BEGUN);
	if (e == EG_E_OK)
		e = copy_is_whole(b, doubt, f);
	if (e == EG_E_OK)
		e = backup_copy_checkpoints(out, b->dir, &s.now, f);
	if (e == EG_E_OK)
		e = datadir_segments(b->dir, &starts, &n, f);
	for (unsigned i = 0; i < n && e == EG_E_OK; i++)
		e = backup_copy_segment(out, b->dir, starts[i], out->m.lsn, i + 1 < n ? starts[i + 1] : UINT64_MAX, f);
	free(starts);
	if (e == EG_E_OK)
		e = copy_is_whole(b, doubt, f);
	return e == EG_E_OK ? backup_put_superblock(out, &s.now, f) : e;
}

static enum err into_part(const struct backup *b, struct backup_out *out, int folder_fd, const char *part,
                          struct fault *f)
{
	int error;
	enum err e = backup_make_folder(&out->to, folder_fd, part, f);

	if (e == EG_E_OK)
		e = open_base(b, out, folder_fd, f);
	if (e == EG_E_OK)
		e = copy_all(b, out, f);
	if (e == EG_E_OK)
		e = backup_seal(out, f);
	if (e != EG_E_OK)
		return e;
	error = FAULT_IO(BACKUP_RENAME, io_rename(folder_fd, part, folder_fd, b->job.name));
	if (error == 0)
		error = FAULT_IO(BACKUP_DIR_SYNC, io_sync_dir(folder_fd));
	return error == 0 ? EG_E_OK : failed(f, error == EEXIST || error == ENOTEMPTY ? "to" : NULL, b->job.name, error);
}

static enum err make(const struct backup *b, struct backup_out *out, struct fault *f)
{
	char part[96];
	int folder_fd = -1;
	enum err e = open_folder(b, &folder_fd, f);

	if (e != EG_E_OK)
		return e;
	sweep(b, folder_fd);
	part_name(b, part, b->job.name);
	if (faccessat(folder_fd, b->job.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		e = err_set(f, EG_E_CONFLICT, "to", NULL, "there is a backup %s already", b->job.name);
	else
		e = into_part(b, out, folder_fd, part, f);
	if (e != EG_E_OK && out->to.fd >= 0)
		backup_remove_folder(folder_fd, part);
	close(folder_fd);
	return e;
}

/* ---- what is told -------------------------------------------------------------------- */

static void tell(const struct backup *b, const struct backup_out *out, enum err e, int64_t ns, const struct fault *f)
{
	struct backup_page *p = page_of(b);

	atomic_store(&p->err, e);
	atomic_store(&p->field, e == EG_E_OK || !*f->field ? EG_BACKUP_NO_FIELD
	                        : strcmp(f->field, "base") == 0 ? EG_BACKUP_BASE : EG_BACKUP_TO);
	snprintf(p->message, sizeof p->message, "%.199s", e == EG_E_OK ? "" : f->message);
	if (e == EG_E_OK) {
		snprintf(p->name, sizeof p->name, "%s", b->job.name);
		atomic_store(&p->lsn, out->m.lsn);
		atomic_store(&p->bytes, out->bytes);
		atomic_store(&p->copied_bytes, out->copied_bytes);
		atomic_store(&p->files, out->m.n);
		atomic_store(&p->linked, out->linked);
		atomic_store(&p->created_us, out->m.created_us);
		atomic_store(&p->ns, (uint64_t)ns);
	}
	metric_add(e == EG_E_OK ? M_BACKUPS : M_BACKUPS_FAILED, 1);
	metric_add(M_BACKUP_BYTES, out->copied_bytes);
	FAULT(BACKUP_TOLD);
	atomic_store(&p->running, 0);
	atomic_store_explicit(&p->answered, b->demand, memory_order_release);
	for (unsigned k = EG_DESK_FIRST; k < b->desks->n; k++)
		desk_ring_always(b->desks, k);
}

static void say(const struct backup *b, const struct backup_out *out, enum err e, int64_t ns, const struct fault *f)
{
	if (e != EG_E_OK)
		LOG_ERROR("backup %s was not made: %s", b->job.name, f->message);
	else
		LOG_INFO("backup %s: all up to LSN %" PRIu64 ", %u files, %u of them of %s; %" PRIu64 " bytes, %" PRIu64
		         " written, %.3f s", b->job.name, out->m.lsn, out->m.n, out->linked, *b->job.base ? b->job.base : "none",
		         out->bytes, out->copied_bytes, (double)ns / 1e9);
}

static void run_job(struct backup *b)
{
	struct backup_out out = { .base_fd = -1, .stop = given_up, .arg = b };
	int64_t began = clock_mono_ns(), ns;
	struct fault f;
	enum err e;

	out.to.fd = out.to.wal_fd = out.to.warm_fd = out.to.spare_fd = out.to.tmp_fd = out.to.checkpoints_fd = -1;
	memcpy(out.m.uuid, b->dir->uuid, sizeof out.m.uuid);
	out.m.timeline = b->dir->timeline;
	out.m.created_us = clock_real_us();
	install_pin(b->install);
	e = make(b, &out, &f);
	/* Damage of the live files is not the request's fault. */
	if (e == EG_E_VALIDATION && !*f.field)
		e = EG_E_INTERNAL;
	install_unpin(b->install);
	ns = clock_mono_ns() - began;
	say(b, &out, e, ns, &f);
	/* Whoever is told may ask for the next one at once. */
	pthread_mutex_lock(&b->lock);
	tell(b, &out, e, ns, &f);
	b->has_job = false;
	pthread_mutex_unlock(&b->lock);
	datadir_close(&out.to);
	if (out.base_fd >= 0)
		close(out.base_fd);
	manifest_free(&out.m);
	manifest_free(&out.base);
}

/* ---- the thread ----------------------------------------------------------------------- */

static void *run(void *arg)
{
	struct backup *b = arg;

	prctl(PR_SET_NAME, "engram-backup", 0, 0, 0);
	/* Of this thread alone: stores come first. */
	if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10) != 0)
		LOG_WARN("the thread for backups cannot be made nicer: %s", strerror(errno));
	pthread_mutex_lock(&b->lock);
	for (;;) {
		while (!b->has_job && !atomic_load(&b->stop))
			pthread_cond_wait(&b->changed, &b->lock);
		if (!b->has_job)
			break;
		pthread_mutex_unlock(&b->lock);
		run_job(b);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

enum err backup_open(struct backup *b, const struct datadir *dir, struct desks *d, struct install *i,
                     const char *folder, struct fault *f)
{
	memset(b, 0, sizeof *b);
	b->dir = dir;
	b->desks = d;
	b->install = i;
	if (*folder)
		snprintf(b->folder, sizeof b->folder, "%s", folder);
	else
		snprintf(b->folder, sizeof b->folder, "%s/backup", dir->path);
	/* What a predecessor was at has ended with it. */
	atomic_store(&page_of(b)->running, 0);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	if (pthread_create(&b->thread, NULL, run, b) != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "no thread for backups");
	b->running = true;
	return EG_E_OK;
}

void backup_close(struct backup *b)
{
	if (!b->running)
		return;
	pthread_mutex_lock(&b->lock);
	atomic_store(&b->stop, true);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
}

enum err backup_take(struct backup *b, const struct control *c, uint64_t *demand)
{
	enum err e = EG_E_OK;

	if (!manifest_name_valid(c->name) || (*c->base && !manifest_name_valid(c->base)))
		return EG_E_REQUEST;
	pthread_mutex_lock(&b->lock);
	if (b->has_job) {
		e = EG_E_CONFLICT;
	} else {
		b->job = *c;
		b->demand = *demand = atomic_fetch_add(&page_of(b)->asked, 1) + 1;
		b->has_job = true;
		atomic_store(&page_of(b)->running, 1);
		pthread_cond_broadcast(&b->changed);
	}
	pthread_mutex_unlock(&b->lock);
	return e;
}
