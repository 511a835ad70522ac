/* Putting checkpoints in force, see the header. */
#include "wal/install.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "wal/checkpoint.h"
#include "wal/dump.h"
#include "wal/retire.h"

static struct checkpoint_page *page_of(const struct install *i)
{
	return &desk_wal(i->desks)->checkpoint;
}

static void ring_all(const struct install *i)
{
	for (unsigned k = EG_DESK_FIRST; k < i->desks->n; k++)
		desk_ring_always(i->desks, k);
}

/* The attempt is over: who waits for it looks at `ended`, who demanded one at `answered`. */
static void tell_end(const struct install *i, uint64_t nonce, uint64_t demands, enum err err)
{
	struct checkpoint_page *p = page_of(i);

	if (err != EG_E_OK)
		metric_add(M_CHECKPOINTS_FAILED, 1);
	atomic_store(&p->err, err);
	if (demands > atomic_load(&p->answered))
		atomic_store(&p->answered, demands);
	FAULT(INSTALL_ANSWERED);
	atomic_store_explicit(&p->ended, nonce, memory_order_release);
	ring_all(i);
}

/* ---- one checkpoint ----------------------------------------------------------------- */

/* Another process wrote it: it is believed when it fits to what is known here. */
static enum err check(const struct install *i, const struct checkpoint *c, struct fault *f)
{
	const struct checkpoint_place *newest = &i->dir->super.now.newest;
	uint64_t lsn = atomic_load(&desk_wal(i->desks)->lsn);
	uint64_t id = 0;

	/* Its numbers of slots and nodes are of that memory, and the next one rests on them. */
	if (i->job.generation != atomic_load(&store_root(i->store)->generation))
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %s tells of a memory that was given up", i->job.name);
	if (memcmp(&c->place, &i->job.place, sizeof c->place) != 0 || !dump_name_parse(i->job.name, &id)
	    || id != c->header.id || c->header.timeline != i->dir->timeline)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %s is not the one that was announced", i->job.name);
	if (c->header.id <= newest->id || c->header.start_lsn < newest->start_lsn || c->header.max_lsn > lsn)
		return err_set(f, EG_E_VALIDATION, NULL, NULL,
		               "checkpoint %s does not follow the one in force, or is ahead of the log", i->job.name);
	return checkpoint_verify(c, true, f);
}

enum err install_await_durable(struct install *i, uint64_t *lsn, struct fault *f)
{
	const struct wal_page *page = desk_wal(i->desks);
	bool durable;

	*lsn = atomic_load_explicit(&page->lsn, memory_order_acquire);
	pthread_mutex_lock(&i->lock);
	atomic_fetch_add(&i->waiting, 1);
	while (!(durable = atomic_load(&page->durable_lsn) >= *lsn) && !i->stop && !i->log_failed)
		pthread_cond_wait(&i->changed, &i->lock);
	atomic_fetch_sub(&i->waiting, 1);
	pthread_mutex_unlock(&i->lock);
	return durable ? EG_E_OK
	               : err_set(f, EG_E_READ_ONLY, NULL, NULL, "the log up to LSN %llu did not become durable",
	                         (unsigned long long)*lsn);
}

/* What the dump has met must be in the log for good: the record of each row, and each deletion
 * for which there is no row, and which no LSN in the file tells of. All of it was given
 * its LSN before the dump ended, and so before now. */
static enum err wait_durable(struct install *i, struct fault *f)
{
	uint64_t lsn;
	enum err e = install_await_durable(i, &lsn, f);

	FAULT(INSTALL_DURABLE);
	return e;
}

static enum err move_in(const struct install *i, const struct checkpoint *c, struct fault *f)
{
	char name[32];
	int error;

	checkpoint_name(name, c->header.id);
	error = FAULT_IO(CHECKPOINT_RENAME, io_rename(i->dir->tmp_fd, i->job.name, i->dir->checkpoints_fd, name));
	if (error == 0)
		error = FAULT_IO(CHECKPOINT_DIR_SYNC, io_sync_dir(i->dir->checkpoints_fd));
	return error == 0 ? EG_E_OK : err_set(f, EG_E_INTERNAL, NULL, NULL, "checkpoint: %s: %s", name, strerror(error));
}

/* The one to fall back to: of those that a superblock names, the one that this memory was
 * loaded from or has made, else the newest that is whole. */
static bool open_previous(const struct install *i, struct checkpoint *c)
{
	const struct superblocks *s = &i->dir->super;
	uint64_t own = atomic_load(&store_root(i->store)->checkpoint_id);
	struct fault f;

	for (unsigned k = 0; k < s->n_places; k++)
		if (s->places[k].id == own
		    && checkpoint_open(c, i->dir->checkpoints_fd, i->dir->uuid, &s->places[k], &f) == EG_E_OK)
			return true;
	for (unsigned k = 0; k < s->n_places; k++) {
		if (checkpoint_open(c, i->dir->checkpoints_fd, i->dir->uuid, &s->places[k], &f) == EG_E_OK)
			return true;
		LOG_WARN("%s", f.message);
	}
	return false;
}

/* On failure the block that was being written may be of either state on disk; it is the one
 * that the next attempt writes, too, and the other one stands. */
static enum err name_it(const struct install *i, const struct checkpoint *c, const struct checkpoint *previous,
                        struct fault *f)
{
	struct superblocks *all = &i->dir->super;
	struct superblock s = all->now;
	enum err e;

	s.newest = c->place;
	s.previous = previous != NULL ? previous->place : (struct checkpoint_place){ 0 };
	e = superblock_write(i->dir->fd, &s, f);
	if (e != EG_E_OK)
		return e;
	FAULT(INSTALL_NAMED);
	all->now = s;
	all->places[0] = s.newest;
	all->places[1] = s.previous;
	all->n_places = previous != NULL ? 2 : 1;
	return EG_E_OK;
}

static void show(const struct install *i, const struct superblock *s)
{
	struct checkpoint_page *p = page_of(i);

	atomic_store(&p->start_lsn, s->newest.start_lsn);
	atomic_store(&p->previous_start_lsn, s->previous.start_lsn);
	atomic_store_explicit(&p->id, s->newest.id, memory_order_release);
}

/* At start: what the last process of this kind had put in force. */
static void show_newest(const struct install *i)
{
	struct checkpoint_page *p = page_of(i);
	struct checkpoint c;
	struct fault f;

	if (i->dir->super.n_places == 0
	    || checkpoint_open(&c, i->dir->checkpoints_fd, i->dir->uuid, &i->dir->super.places[0], &f) != EG_E_OK)
		return;
	atomic_store(&p->rows, c.header.rows);
	atomic_store(&p->bytes, c.header.bytes);
	atomic_store(&p->created_us, c.header.created_us);
	checkpoint_close(&c);
}

static void show_files(const struct install *i, const struct retired_files *r)
{
	struct checkpoint_page *p = page_of(i);

	atomic_store(&p->disk_bytes, r->checkpoint_bytes);
	atomic_store(&p->warm_segments, r->warm);
}

/* It is in force: what rests on it may say so. */
static void in_force(struct install *i, const struct checkpoint *c)
{
	struct root *root = store_root(i->store);
	struct checkpoint_page *p = page_of(i);

	atomic_store(&root->checkpoint_work_ns, i->job.work_ns);
	atomic_store(&root->checkpoint_id, c->header.id);
	atomic_store(&p->fell_back, 0);
	atomic_store(&i->redo_lsn, c->header.start_lsn);
	atomic_store(&p->rows, c->header.rows);
	atomic_store(&p->bytes, i->job.written);
	atomic_store(&p->created_us, c->header.created_us);
	atomic_store(&p->ns, (uint64_t)(clock_mono_ns() - i->job.begun_ns));
	show(i, &i->dir->super.now);
	metric_add(M_CHECKPOINTS, 1);
	metric_add(M_CHECKPOINT_BYTES, i->job.written);
	metric_add(M_DISK_WRITE, i->job.written);
	metric_observe_ns(M_CHECKPOINT_TIME, (uint64_t)(clock_mono_ns() - i->job.begun_ns));
	FAULT(INSTALL_SHOWN);
}

/* May files go now? While a backup reads them they wait. */
static bool begin_retire(struct install *i)
{
	bool now;

	pthread_mutex_lock(&i->lock);
	now = i->pins == 0;
	i->retiring = now;
	i->retire_later = !now;
	pthread_mutex_unlock(&i->lock);
	return now;
}

static void retire(struct install *i, const struct checkpoint *c, const struct checkpoint *previous)
{
	struct retired_files r;
	struct fault f;

	if (!begin_retire(i))
		return;
	if (retire_files(i->dir, c, previous, &r, &f) != EG_E_OK) {
		LOG_ERROR("%s: no segment is given up", f.message);
		metric_add(M_CHECKPOINTS_DAMAGED, 1);
	}
	atomic_fetch_add(&i->gone_segments, r.left_wal);
	atomic_fetch_add(&i->gone_bytes, r.removed_bytes);
	metric_add(M_SEGMENTS_REMOVED, r.removed);
	metric_add(M_SEGMENTS_WARM, r.moved);
	show_files(i, &r);
	if (r.removed + r.moved > 0)
		LOG_INFO("checkpoint %llu: segments: %u removed, %u warm", (unsigned long long)c->header.id, r.removed, r.moved);
	pthread_mutex_lock(&i->lock);
	i->retiring = false;
	pthread_cond_broadcast(&i->changed);
	pthread_mutex_unlock(&i->lock);
}

/* What a checkpoint in force has left undone: a backup held the files, or the process died. */
static void retire_rest(struct install *i)
{
	const struct superblock *s = &i->dir->super.now;
	struct checkpoint c, previous;
	struct fault f;

	if (s->previous.id == 0 || checkpoint_open(&c, i->dir->checkpoints_fd, i->dir->uuid, &s->newest, &f) != EG_E_OK)
		return;
	if (checkpoint_open(&previous, i->dir->checkpoints_fd, i->dir->uuid, &s->previous, &f) == EG_E_OK) {
		retire(i, &c, &previous);
		checkpoint_close(&previous);
	}
	checkpoint_close(&c);
}

void install_pin(struct install *i)
{
	pthread_mutex_lock(&i->lock);
	i->pins++;
	while (i->retiring)
		pthread_cond_wait(&i->changed, &i->lock);
	pthread_mutex_unlock(&i->lock);
}

void install_unpin(struct install *i)
{
	pthread_mutex_lock(&i->lock);
	i->pins--;
	pthread_cond_broadcast(&i->changed);
	pthread_mutex_unlock(&i->lock);
}

static enum err put_in_force(struct install *i, struct fault *f)
{
	struct checkpoint c, previous;
	bool has_previous;
	enum err e = checkpoint_open_file(&c, i->dir->tmp_fd, i->job.name, i->dir->checkpoints_fd, i->dir->uuid, f);

	if (e != EG_E_OK)
		return e;
	has_previous = open_previous(i, &previous);
	e = check(i, &c, f);
	FAULT(INSTALL_CHECKED);
	if (e == EG_E_OK)
		e = wait_durable(i, f);
	if (e == EG_E_OK)
		e = move_in(i, &c, f);
	if (e == EG_E_OK)
		e = name_it(i, &c, has_previous ? &previous : NULL, f);
	if (e == EG_E_OK) {
		in_force(i, &c);
		LOG_INFO("checkpoint %llu is in force: %llu rows up to LSN %llu, %llu bytes written, %.3f s",
		         (unsigned long long)c.header.id, (unsigned long long)c.header.rows,
		         (unsigned long long)c.header.start_lsn, (unsigned long long)i->job.written,
		         (double)(clock_mono_ns() - i->job.begun_ns) / 1e9);
		retire(i, &c, has_previous ? &previous : NULL);
	}
	if (has_previous)
		checkpoint_close(&previous);
	checkpoint_close(&c);
	return e;
}

/* ---- the thread ----------------------------------------------------------------------- */

static void *run(void *arg)
{
	struct install *i = arg;

	prctl(PR_SET_NAME, "engram-ckpt", 0, 0, 0);
	pthread_mutex_lock(&i->lock);
	for (;;) {
		struct fault f;
		enum err e;
		bool rest;

		while (!i->has_job && !i->stop && !(i->retire_later && i->pins == 0))
			pthread_cond_wait(&i->changed, &i->lock);
		if (!i->has_job && i->stop)
			break;
		rest = !i->has_job;
		/* Once: what cannot be opened now waits for the next checkpoint. */
		i->retire_later = i->retire_later && !rest;
		pthread_mutex_unlock(&i->lock);
		if (rest) {
			retire_rest(i);
			pthread_mutex_lock(&i->lock);
			continue;
		}
		e = put_in_force(i, &f);
		if (e != EG_E_OK)
			LOG_ERROR("%s; the checkpoint before it stays in force", f.message);
		pthread_mutex_lock(&i->lock);
		i->has_job = false;
		tell_end(i, i->job.nonce, i->job.demands, e);
		desk_ring(i->desks, EG_DESK_WAL);
	}
	pthread_mutex_unlock(&i->lock);
	return NULL;
}

enum err install_open(struct install *i, struct datadir *dir, struct desks *d, struct store_writer *w, struct fault *f)
{
	struct retired_files r = { 0 };

	memset(i, 0, sizeof *i);
	i->dir = dir;
	i->desks = d;
	i->store = w;
	pthread_mutex_init(&i->lock, NULL);
	pthread_cond_init(&i->changed, NULL);
	atomic_store(&i->redo_lsn, dir->super.now.newest.start_lsn);
	show(i, &dir->super.now);
	show_newest(i);
	retire_count(dir, &r);
	show_files(i, &r);
	/* Not when one of the two could not be used: then all that is left may be wanted. */
	i->retire_later = dir->super.now.previous.id != 0 && !atomic_load(&page_of(i)->fell_back)
	                  && retire_due(dir, dir->super.now.previous.start_lsn);
	if (pthread_create(&i->thread, NULL, run, i) != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "no thread for checkpoints");
	i->running = true;
	return EG_E_OK;
}

void install_close(struct install *i)
{
	if (!i->running)
		return;
	pthread_mutex_lock(&i->lock);
	i->stop = true;
	pthread_cond_broadcast(&i->changed);
	pthread_mutex_unlock(&i->lock);
	pthread_join(i->thread, NULL);
	pthread_cond_destroy(&i->changed);
	pthread_mutex_destroy(&i->lock);
}

enum err install_take(struct install *i, const struct control *c, uint64_t *demand)
{
	enum err e = EG_E_OK;

	*demand = 0;
	if (c->what == EG_CONTROL_ASK) {
		*demand = atomic_fetch_add(&page_of(i)->asked, 1) + 1;
		ring_all(i);
		return EG_E_OK;
	}
	pthread_mutex_lock(&i->lock);
	if (c->what == EG_CONTROL_FAILED) {
		tell_end(i, c->nonce, c->demands, (enum err)c->err);
	} else if (i->has_job) {
		e = EG_E_CONFLICT;
	} else {
		i->job = *c;
		i->has_job = true;
		pthread_cond_broadcast(&i->changed);
	}
	pthread_mutex_unlock(&i->lock);
	return e;
}

void install_wake(struct install *i, bool log_failed)
{
	/* After durable_lsn was stored, as the other side stores `waiting` and then looks. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&i->waiting) == 0 && !log_failed)
		return;
	pthread_mutex_lock(&i->lock);
	i->log_failed |= log_failed;
	pthread_cond_broadcast(&i->changed);
	pthread_mutex_unlock(&i->lock);
}
