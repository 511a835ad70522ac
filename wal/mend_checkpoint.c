/* Mending checkpoints, see mend.h: what is damaged is kept in the quarantine, and a
 * whole one, without the rows whose records are lost, takes the place of all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/io.h"
#include "wal/checkpoint.h"
#include "wal/mend.h"

struct content { struct checkpoint_row *rows; uint64_t n_rows; struct checkpoint_space *spaces; uint64_t n_spaces; };

static void content_free(struct content *t)
{
	free(t->rows);
	free(t->spaces);
	memset(t, 0, sizeof *t);
}

/* All of a checkpoint but rows that are lost; EG_E_VALIDATION: it is damaged. */
static enum err read_all(struct mending *w, const struct checkpoint *c, struct content *t, struct fault *f)
{
	uint8_t *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	enum err e = EG_E_OK;

	memset(t, 0, sizeof *t);
	t->rows = malloc((c->header.rows + 1) * sizeof *t->rows);
	t->spaces = malloc((c->header.spaces + 1) * sizeof *t->spaces);
	EG_ASSERT(buf != NULL && t->rows != NULL && t->spaces != NULL);
	for (uint32_t i = 0; i < c->n_refs && e == EG_E_OK; i++) {
		const struct extent_ref *ref = &c->refs[i];
		const void *entries;

		e = checkpoint_read(c, ref, buf, &entries, f);
		for (uint32_t k = 0; k < ref->n && e == EG_E_OK; k++) {
			const struct checkpoint_row *row = (const struct checkpoint_row *)entries + k;

			if (ref->kind == EG_EXTENT_SPACES)
				t->spaces[t->n_spaces++] = ((const struct checkpoint_space *)entries)[k];
			else if (mend_is_lost(w->m, row->lsn))
				w->m->rows++;
			else
				t->rows[t->n_rows++] = *row;
		}
	}
	free(buf);
	return e;
}

/* What a newer build wrote is no damage, and nothing for this one to mend. */
static enum err refuse_newer(struct mending *w, const struct superblocks *s, struct fault *f)
{
	for (unsigned i = 0; i < s->n_places; i++) {
		struct checkpoint c;
		enum err e = checkpoint_open(&c, w->d->checkpoints_fd, s->now.uuid, &s->places[i], f);

		if (e == EG_E_LATER)
			return e;
		if (e == EG_E_OK)
			checkpoint_close(&c);
	}
	return EG_E_OK;
}

/* The newest checkpoint that can be read whole. */
static bool usable(struct mending *w, const struct superblocks *s, struct checkpoint *c, struct content *t)
{
	struct fault f;

	for (unsigned i = 0; i < s->n_places; i++) {
		w->m->rows = 0;
		if (checkpoint_open(c, w->d->checkpoints_fd, s->now.uuid, &s->places[i], &f) != EG_E_OK)
			continue;
		if (read_all(w, c, t, &f) == EG_E_OK)
			return true;
		content_free(t);
		checkpoint_close(c);
	}
	w->m->rows = 0;
	return false;
}

static enum err put_whole(struct mending *w, const struct checkpoint *c, const struct content *t, uint64_t id,
                          struct checkpoint_place *place, struct fault *f)
{
	struct checkpoint_header head = c->header;
	char name[32];
	enum err e;
	int error;

	head.id = id;
	head.base_id = 0;
	checkpoint_name(name, id);
	e = checkpoint_write_all(w->d->tmp_fd, name, &head, t->rows, t->n_rows, t->spaces, t->n_spaces, place, f);
	if (e != EG_E_OK)
		return e;
	error = FAULT_IO(MEND_RENAME, io_rename(w->d->tmp_fd, name, w->d->checkpoints_fd, name));
	if (error == 0)
		error = FAULT_IO(MEND_DIR_SYNC, io_sync_dir(w->d->checkpoints_fd));
	return error == 0 ? EG_E_OK : mend_fail(f, name, error);
}

static enum err move_damaged(struct mending *w, struct fault *f)
{
	const struct check *c = &w->m->found;
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < c->n_files && e == EG_E_OK; i++) {
		const char *name = c->files[i].name + strlen("checkpoints/");
		int error;

		if (c->files[i].kind != CHECK_CHECKPOINT || c->files[i].wrong == 0)
			continue;
		error = FAULT_IO(MEND_RENAME, io_rename(w->d->checkpoints_fd, name, w->quarantine_fd, name));
		e = error == 0 || error == ENOENT ? EG_E_OK : mend_fail(f, name, error);
	}
	return e;
}

static enum err name_it(struct mending *w, struct superblock *now, const struct checkpoint_place *place, struct fault *f)
{
	enum err e;

	now->newest = *place;
	memset(&now->previous, 0, sizeof now->previous);
	/* Twice: no block names what is gone. */
	e = superblock_write(w->d->fd, now, f);
	return e == EG_E_OK ? superblock_write(w->d->fd, now, f) : e;
}

/* Is anything to be done: a damaged file, or a row whose record is lost? */
static unsigned damaged_files(const struct check *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_files; i++)
		n += c->files[i].kind == CHECK_CHECKPOINT && c->files[i].wrong > 0;
	return n;
}

static bool rows_lost(const struct mend *m)
{
	for (unsigned i = 0; i < m->n_lost; i++)
		if (check_rows_within(&m->found, m->lost[i].first, m->lost[i].last) > 0)
			return true;
	return false;
}

enum err mend_checkpoints(struct mending *w, struct fault *f)
{
	unsigned damaged = damaged_files(&w->m->found);
	struct checkpoint_place place = { 0 };
	struct superblocks s;
	struct checkpoint c;
	struct content t;
	enum err e;
	bool whole;

	if (damaged == 0 && !rows_lost(w->m))
		return EG_E_OK;
	w->m->moved += damaged;
	e = superblock_read(w->d->fd, &s, f);
	if (e != EG_E_OK)
		return w->accept ? e : EG_E_OK;    /* it would be made by now */
	e = refuse_newer(w, &s, f);
	if (e != EG_E_OK)
		return e;
	whole = usable(w, &s, &c, &t);
	if (w->accept && whole)
		e = put_whole(w, &c, &t, s.places[0].id + 1, &place, f);
	if (w->accept && e == EG_E_OK)
		e = name_it(w, &s.now, &place, f);
	if (w->accept && e == EG_E_OK)
		e = move_damaged(w, f);
	if (whole) {
		content_free(&t);
		checkpoint_close(&c);
	}
	return e;
}
