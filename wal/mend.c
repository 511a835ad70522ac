/* Mending a data directory, see the header. */
#include "wal/mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"

enum err mend_fail(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "%s: %s", what, strerror(error));
}

void mend_lost(struct mend *m, uint64_t first, uint64_t last)
{
	m->lost_records += last - first + 1;
	if (m->n_lost > 0 && m->lost[m->n_lost - 1].last + 1 == first) {
		m->lost[m->n_lost - 1].last = last;
		return;
	}
	if (m->n_lost == m->cap_lost) {
		m->cap_lost = m->cap_lost ? m->cap_lost * 2 : 16;
		m->lost = realloc(m->lost, m->cap_lost * sizeof *m->lost);
		EG_ASSERT(m->lost != NULL);
	}
	m->lost[m->n_lost++] = (struct mend_range){ first, last };
}

bool mend_is_lost(const struct mend *m, uint64_t lsn)
{
	for (unsigned i = 0; i < m->n_lost; i++)
		if (lsn >= m->lost[i].first && lsn <= m->lost[i].last)
			return true;
	return false;
}

void mend_free(struct mend *m)
{
	check_free(&m->found);
	free(m->lost);
	free(m->ids);
	memset(m, 0, sizeof *m);
}

/* ---- the quarantine ------------------------------------------------------------------ */

static enum err folder(int at_fd, const char *name, int *fd, struct fault *f)
{
	int error = mkdirat(at_fd, name, 0700) == 0 || errno == EEXIST ? 0 : errno;

	if (error == 0)
		error = FAULT_IO(MEND_DIR_SYNC, io_sync_dir(at_fd));
	*fd = error == 0 ? FAULT_FD(MEND_OPEN, io_open(at_fd, name, O_RDONLY | O_DIRECTORY)) : -error;
	return *fd >= 0 ? EG_E_OK : mend_fail(f, name, -*fd);
}

static enum err open_quarantine(struct mending *w, struct fault *f)
{
	char stamp[32];
	int fd;
	enum err e = folder(w->d->fd, "quarantine", &fd, f);

	if (e != EG_E_OK)
		return e;
	snprintf(stamp, sizeof stamp, "%lld", (long long)clock_real_us());
	snprintf(w->m->quarantine, sizeof w->m->quarantine, "quarantine/%s", stamp);
	e = folder(fd, stamp, &w->quarantine_fd, f);
	close(fd);
	return e;
}

enum err mend_keep(struct mending *w, int folder_fd, const char *name, const char *as, struct fault *f)
{
	int error = linkat(folder_fd, name, w->quarantine_fd, as, 0) == 0 ? 0 : errno;

	if (error == 0)
		error = FAULT_IO(MEND_DIR_SYNC, io_sync_dir(w->quarantine_fd));
	return error == 0 || error == ENOENT ? EG_E_OK : mend_fail(f, name, error);
}

/* ---- what is said about it ------------------------------------------------------------ */

static void describe(const struct mend *m, struct buf *b)
{
	for (unsigned i = 0; i < m->found.n_troubles; i++) {
		const struct check_trouble *t = &m->found.troubles[i];

		buf_printf(b, "%s offset %llu: %s\n", m->found.files[t->file].name, (unsigned long long)t->offset, t->what);
	}
	for (unsigned i = 0; i < m->n_lost; i++)
		buf_printf(b, "lost: LSN %llu to %llu\n", (unsigned long long)m->lost[i].first,
		           (unsigned long long)m->lost[i].last);
	for (unsigned i = 0; i < m->n_ids; i++)
		buf_printf(b, "damaged: LSN %llu, perhaps of memory %s\n", (unsigned long long)m->ids[i].lsn, m->ids[i].id);
	buf_printf(b, "records saved from damaged groups: %llu\n", (unsigned long long)m->saved);
}

/* Add text to a file, on stable storage. */
static enum err write_text(int dir_fd, const char *name, const struct buf *b, struct fault *f)
{
	int fd = FAULT_FD(MEND_CREATE, io_open(dir_fd, name, O_RDWR | O_CREAT)), error = fd < 0 ? -fd : 0;
	struct stat st;

	if (error == 0 && fstat(fd, &st) != 0)
		error = errno;
	if (error == 0)
		error = FAULT_IO(MEND_WRITE, io_write_at(fd, b->data, b->len, (uint64_t)st.st_size));
	if (error == 0)
		error = FAULT_IO(MEND_SYNC, io_sync(fd));
	if (error == 0)
		error = FAULT_IO(MEND_DIR_SYNC, io_sync_dir(dir_fd));
	if (fd >= 0)
		close(fd);
	return error == 0 ? EG_E_OK : mend_fail(f, name, error);
}

/* The note in the quarantine, then the durable mark: both before anything is changed. */
static enum err write_notes(struct mending *w, struct fault *f)
{
	struct buf b;
	char now[EG_CLOCK_TEXT];
	enum err e;

	clock_format(clock_real_us(), now);
	buf_init(&b, (size_t)8 << 20);
	describe(w->m, &b);
	e = write_text(w->quarantine_fd, "NOTE", &b, f);
	buf_reset(&b);
	for (unsigned i = 0; i < w->m->n_lost; i++)
		buf_printf(&b, "%s LSN %llu to %llu %s\n", now, (unsigned long long)w->m->lost[i].first,
		           (unsigned long long)w->m->lost[i].last, w->m->quarantine);
	if (e == EG_E_OK && b.len > 0)
		e = write_text(w->d->fd, "LOSS", &b, f);
	buf_free(&b);
	return e;
}

void losses_read(int dir_fd, struct losses *l)
{
	int fd = FAULT_FD(LOSSES_OPEN, io_open(dir_fd, "LOSS", O_RDONLY));
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long long first, last;
	char line[256];

	memset(l, 0, sizeof *l);
	while (in != NULL && fgets(line, sizeof line, in) != NULL) {
		if (sscanf(line, "%*s LSN %llu to %llu", &first, &last) != 2 || last < first)
			continue;
		l->first = l->ranges == 0 || first < l->first ? first : l->first;
		l->last = last > l->last ? last : l->last;
		l->records += last - first + 1;
		l->ranges++;
	}
	if (in != NULL)
		fclose(in);
	else if (fd >= 0)
		close(fd);
}

/* ---- superblock, spares -------------------------------------------------------------- */

/* Neither block is valid: the identity stands in every segment. */
static enum err mend_superblock(struct mending *w, struct fault *f)
{
	struct check *c = &w->m->found;
	struct superblocks s;

	if (superblock_read(w->d->fd, &s, f) == EG_E_OK)
		return EG_E_OK;
	if (!c->uuid_known)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "no file says which data directory this is");
	w->m->moved++;
	if (!w->accept)
		return EG_E_OK;
	if (mend_keep(w, w->d->fd, "SUPERBLOCK", "SUPERBLOCK", f) != EG_E_OK)
		return f->err;
	return superblock_make(w->d->fd, w->d->tmp_fd, c->uuid, c->stores, f);
}

static enum err mend_spares(struct mending *w, struct fault *f)
{
	const struct check *c = &w->m->found;
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < c->n_files && e == EG_E_OK; i++) {
		const char *name = c->files[i].name + strlen("spare/");
		char as[80];
		int error;

		if (c->files[i].kind != CHECK_SPARE || c->files[i].wrong == 0)
			continue;
		w->m->moved++;
		if (!w->accept)
			continue;
		snprintf(as, sizeof as, "spare-%.60s", name);
		error = FAULT_IO(MEND_RENAME, io_rename(w->d->spare_fd, name, w->quarantine_fd, as));
		e = error == 0 ? EG_E_OK : mend_fail(f, name, error);
	}
	return e;
}

/* ---- all of it --------------------------------------------------------------------- */

static enum err open_folders(struct datadir *d, const char *path, struct fault *f)
{
	static const char *const names[] = { "wal", "warm", "spare", "tmp", "checkpoints" };
	int *const fds[] = { &d->wal_fd, &d->warm_fd, &d->spare_fd, &d->tmp_fd, &d->checkpoints_fd };
	enum err e = EG_E_OK;

	memset(d, 0, sizeof *d);
	d->wal_fd = d->warm_fd = d->spare_fd = d->tmp_fd = d->checkpoints_fd = -1;
	snprintf(d->path, sizeof d->path, "%s", path);
	d->fd = FAULT_FD(MEND_OPEN, io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
	if (d->fd < 0)
		return mend_fail(f, path, -d->fd);
	for (unsigned i = 0; i < sizeof names / sizeof names[0] && e == EG_E_OK; i++)
		e = folder(d->fd, names[i], fds[i], f);
	return e;
}

static enum err plan_or_do(struct mending *w, struct fault *f)
{
	enum err e = mend_superblock(w, f);

	w->last_number = 0;
	if (e == EG_E_OK)
		e = mend_segments(w, f);
	if (e == EG_E_OK)
		e = mend_checkpoints(w, f);
	if (e == EG_E_OK)
		e = mend_spares(w, f);
	return e;
}

/* The plan is made again while it is carried out: it says the same, and is counted once. */
static enum err carry_out(struct mending *w, struct fault *f)
{
	struct mend again = { .found = w->m->found }, *plan = w->m;
	enum err e = open_quarantine(w, f);

	if (e == EG_E_OK)
		e = write_notes(w, f);
	if (e != EG_E_OK)
		return e;
	w->m = &again;
	w->accept = true;
	again.lost = NULL;
	e = plan_or_do(w, f);
	w->m = plan;
	free(again.lost);
	free(again.ids);
	return e;
}

enum err mend_run(struct mend *m, const char *dir, bool accept, struct fault *f)
{
	struct datadir d;
	struct mending w = { .m = m, .d = &d, .quarantine_fd = -1 };
	enum err e;

	memset(m, 0, sizeof *m);
	e = check_run(&m->found, dir, f);
	if (e != EG_E_OK || !check_damaged(&m->found))
		return e;
	e = open_folders(&d, dir, f);
	if (e == EG_E_OK)
		e = plan_or_do(&w, f);
	if (e == EG_E_OK && accept)
		e = carry_out(&w, f);
	if (w.quarantine_fd >= 0)
		close(w.quarantine_fd);
	datadir_close(&d);
	return e;
}
