/* The dump, see the header. */
#include "wal/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/slot.h"
#include "wal/datadir.h"

#define EG_DUMP_SYNC_BYTES (UINT64_C(1) << 20)
#define EG_DUMP_FILES_MAX 32u          /* more files than that: the oldest one's extents are written anew */
#define EG_DUMP_DEAD_FACTOR 2u         /* the same when files hold more than this times what is live */

struct dump {
	const struct dump_task *task;
	struct datadir dir;
	struct checkpoint base;        /* n_refs 0: none */
	bool has_base;
	uint64_t since;                /* what changed above this LSN is written; UINT64_MAX is never reached */
	uint64_t rewrite_file;         /* extents in this file are written anew, 0 = none */
	struct checkpoint_writer out;
	uint64_t synced;               /* bytes of the file at the last sync */
	struct dump_result *result;
	struct fault *f;
};

/* ---- rows -------------------------------------------------------------------------- */

static void fill_row(struct checkpoint_row *row, const struct engram *e)
{
	const struct slot *s = e->slot;

	*row = (struct checkpoint_row){
		.slot = e->number, .generation = e->generation, .class_ = e->body->class_, .node = e->body->node,
		.lsn = e->body->record.lsn,
		.truth = atomic_load_explicit(&s->truth, memory_order_relaxed),
		.memory = atomic_load_explicit(&s->memory, memory_order_relaxed),
		.last_access_ms = atomic_load_explicit(&s->last_access_ms, memory_order_relaxed),
		.accesses = atomic_load_explicit(&s->accesses, memory_order_relaxed),
		.tier = (uint32_t)atomic_load_explicit(&s->tier, memory_order_relaxed),
	};
}

/* One extent in one epoch section: what is read of a chunk belongs to one space. */
static enum err write_rows(struct dump *d, uint32_t first, uint32_t end)
{
	struct checkpoint_row *rows = checkpoint_entries(&d->out);
	int64_t began = clock_mono_ns(), took;
	uint32_t n = 0, generation = 0;

	epoch_enter(d->task->epoch);
	for (uint32_t number = first; number < end; number++) {
		struct engram e;

		if (slot_at(d->task->store, number, &e))
			fill_row(&rows[n++], &e);
		generation = e.generation > generation ? e.generation : generation;
	}
	epoch_leave(d->task->epoch);
	took = clock_mono_ns() - began;
	d->result->longest_ns = took > d->result->longest_ns ? took : d->result->longest_ns;
	FAULT(DUMP_ROWS);
	return checkpoint_add(&d->out, EG_EXTENT_ROWS, first, n, generation, d->f);
}

static bool rows_changed(const struct dump *d, uint32_t first, uint32_t end)
{
	for (uint32_t chunk = first / EG_CHUNK; chunk < end / EG_CHUNK; chunk++)
		if (slot_chunk_changed(d->task->store, chunk) > d->since)
			return true;
	return false;
}

/* ---- spaces ------------------------------------------------------------------------ */

/* The LSN is read first, and stored last by the writer: the rest is not older. */
static void fill_space(struct checkpoint_space *to, const struct store *s, uint32_t number)
{
	const struct space *sp = space_get(s, number);

	*to = (struct checkpoint_space){ .number = number };
	if (sp == NULL)
		return;
	to->lsn = atomic_load_explicit(&sp->lsn, memory_order_acquire);
	to->state = atomic_load_explicit(&sp->state, memory_order_acquire);
	to->created_us = sp->created_us;
	memcpy(to->id, sp->id, sizeof to->id);
	to->vectors = atomic_load_explicit(&sp->vectors, memory_order_acquire);
	to->settings = atomic_load_explicit(&sp->settings, memory_order_acquire);
	to->quota_memories = atomic_load_explicit(&sp->quota_memories, memory_order_acquire);
	to->quota_bytes = atomic_load_explicit(&sp->quota_bytes, memory_order_acquire);
}

static enum err write_spaces(struct dump *d, uint32_t first, uint32_t end)
{
	struct checkpoint_space *to = checkpoint_entries(&d->out);

	for (uint32_t number = first; number < end; number++)
		fill_space(&to[number - first], d->task->store, number);
	FAULT(DUMP_SPACES);
	return checkpoint_add(&d->out, EG_EXTENT_SPACES, first, end - first, 0, d->f);
}

static bool spaces_changed(const struct dump *d, uint32_t first, uint32_t end)
{
	for (uint32_t number = first; number < end; number++) {
		const struct space *sp = space_get(d->task->store, number);

		if (sp == NULL || atomic_load_explicit(&sp->changed_lsn, memory_order_acquire) > d->since)
			return true;
	}
	return false;
}

/* ---- extents ----------------------------------------------------------------------- */

/* A large file is synced in pieces, between which the log gets its turn. */
static enum err sync_some(struct dump *d)
{
	int error;

	if (d->out.offset - d->synced < EG_DUMP_SYNC_BYTES)
		return EG_E_OK;
	d->synced = d->out.offset;
	error = FAULT_IO(DUMP_SYNC_PART, io_sync(d->out.fd));
	return error == 0 ? EG_E_OK : err_set(d->f, EG_E_INTERNAL, NULL, NULL, "checkpoint: sync: %s", strerror(error));
}

/* The last extent of a kind grows: the same number of entries as before, or it is new. */
static bool same_length(enum extent_kind kind, const struct extent_ref *ref, uint32_t n)
{
	return kind == EG_EXTENT_ROWS || ref->n == n;
}

static enum err dump_kind(struct dump *d, enum extent_kind kind, uint32_t n,
                          bool (*changed)(const struct dump *, uint32_t, uint32_t),
                          enum err (*write_extent)(struct dump *, uint32_t, uint32_t))
{
	uint32_t each = extent_entries(kind);
	enum err e = EG_E_OK;

	for (uint32_t first = 0; first < n && e == EG_E_OK; first += each) {
		uint32_t end = n - first < each ? n : first + each;
		const struct extent_ref *ref = d->has_base ? checkpoint_ref(&d->base, kind, first) : NULL;

		if (d->task->stop(d->task->arg))
			return err_set(d->f, EG_E_OVERLOADED, NULL, NULL, "checkpoint: given up, this process is asked to stop");
		if (!d->has_base || changed(d, first, end) || (ref != NULL && ref->file == d->rewrite_file)
		    || (ref != NULL && !same_length(kind, ref, end - first))) {
			e = write_extent(d, first, end);
		} else if (ref != NULL) {
			checkpoint_keep(&d->out, ref);
			d->result->kept++;
		}
		if (e == EG_E_OK)
			e = sync_some(d);
	}
	return e;
}

/* ---- the file it may rest on --------------------------------------------------------- */

/* Bytes that are live in the base's files, and the file to be given up, if any. */
static uint64_t file_to_rewrite(const struct checkpoint *base)
{
	uint64_t all = 0, live = 0;

	for (uint32_t i = 0; i < base->n_files; i++)
		all += base->files[i].bytes;
	for (uint32_t i = 0; i < base->n_refs; i++)
		live += base->refs[i].bytes;
	if (base->n_files > 1 && (base->n_files >= EG_DUMP_FILES_MAX || all > EG_DUMP_DEAD_FACTOR * live + (1 << 20)))
		return base->files[0].id;
	return 0;
}

/* The checkpoint in force, when it was made of this very memory, and is whole. */
static void find_base(struct dump *d)
{
	const struct checkpoint_place *newest = &d->dir.super.now.newest;
	struct fault f;

	if (newest->id == 0 || atomic_load(&d->task->store->root->checkpoint_id) != newest->id)
		return;
	if (checkpoint_open(&d->base, d->dir.checkpoints_fd, d->dir.uuid, newest, &f) != EG_E_OK) {
		LOG_WARN("%s; the next checkpoint is written in full", f.message);
		return;
	}
	/* A file speaks one format, whichever of its extents lie elsewhere. */
	if (d->base.header.format != EG_CHECKPOINT_FORMAT || d->base.header.layout != store_layout()) {
		checkpoint_close(&d->base);
		return;
	}
	d->has_base = true;
	d->since = d->base.header.start_lsn;
	d->rewrite_file = file_to_rewrite(&d->base);
}

bool dump_name_parse(const char *name, uint64_t *id)
{
	unsigned long long n;
	char again[64];
	unsigned nonce;

	if (sscanf(name, "%16llx-%8x.ckpt", &n, &nonce) != 2)
		return false;
	snprintf(again, sizeof again, "%016llx-%08x.ckpt", n, nonce);
	*id = n;
	return strcmp(again, name) == 0;
}

/* What an earlier process of this kind left half made. Should the wal process be about to
 * put it in force, its rename fails, and no harm is done. */
static void remove_leftovers(struct dump *d)
{
	DIR *dir = fdopendir(FAULT_FD(DUMP_TMP_LIST, io_open(d->dir.fd, "tmp", O_RDONLY | O_DIRECTORY)));
	struct dirent *entry;
	uint64_t id;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (dump_name_parse(entry->d_name, &id)
		    && FAULT_IO(DUMP_TMP_UNLINK, io_unlink(d->dir.tmp_fd, entry->d_name)) != 0)
			LOG_WARN("tmp/%s: cannot be removed", entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

/* Above every file that lies there, whether a superblock names it or not. */
static uint64_t next_id(struct dump *d)
{
	DIR *dir = fdopendir(FAULT_FD(CHECKPOINTS_LIST, io_open(d->dir.fd, "checkpoints", O_RDONLY | O_DIRECTORY)));
	uint64_t highest = d->dir.super.now.newest.id;
	struct dirent *entry;
	unsigned long long id;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (sscanf(entry->d_name, "%16llx.ckpt", &id) == 1 && id > highest)
			highest = id;
	if (dir != NULL)
		closedir(dir);
	return highest + 1;
}

static enum err begin(struct dump *d)
{
	struct checkpoint_header head = { .timeline = d->dir.timeline, .stores = d->dir.stores };
	uint32_t nonce;

	head.id = next_id(d);
	head.base_id = d->has_base ? d->base.header.id : 0;
	memcpy(head.uuid, d->dir.uuid, sizeof head.uuid);
	if (getrandom(&nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
		nonce = (uint32_t)clock_mono_ns();
	/* First what its making cost, then up to where it goes: never too little is counted. */
	d->result->generation = atomic_load(&d->task->store->root->generation);
	d->result->work_ns = atomic_load(&d->task->store->root->work_ns);
	head.start_lsn = atomic_load_explicit(&desk_wal(d->task->desks)->acked_lsn, memory_order_acquire);
	head.created_us = clock_real_us();
	snprintf(d->result->name, sizeof d->result->name, "%016llx-%08x.ckpt", (unsigned long long)head.id, nonce);
	d->result->base_id = head.base_id;
	FAULT(DUMP_BEGINS);
	return checkpoint_begin(&d->out, d->dir.tmp_fd, d->result->name, &head, d->f);
}

static enum err dump_all(struct dump *d)
{
	enum err e = begin(d);

	if (e == EG_E_OK)
		e = dump_kind(d, EG_EXTENT_ROWS, slot_chunks(d->task->store) * EG_CHUNK, rows_changed, write_rows);
	/* Last: each row's space is in it. */
	if (e == EG_E_OK)
		e = dump_kind(d, EG_EXTENT_SPACES, space_count(d->task->store), spaces_changed, write_spaces);
	if (e == EG_E_OK)
		e = checkpoint_end(&d->out, d->f);
	FAULT(DUMP_WRITTEN);
	return e;
}

enum err dump_run(const struct dump_task *t, struct dump_result *r, struct fault *f)
{
	struct dump d = { .task = t, .result = r, .f = f, .out.fd = -1 };
	enum err e = datadir_attach(&d.dir, t->data_dir, f);

	memset(r, 0, sizeof *r);
	if (e == EG_E_OK) {
		remove_leftovers(&d);
		find_base(&d);
		e = dump_all(&d);
	}
	r->place = d.out.place;
	r->rows = d.out.header.rows;
	r->spaces = d.out.header.spaces;
	r->written = d.out.written;
	r->extents = d.out.n_refs;
	if (e != EG_E_OK && r->name[0] != '\0' && FAULT_IO(DUMP_TMP_UNLINK, io_unlink(d.dir.tmp_fd, r->name)) != 0)
		LOG_WARN("tmp/%s: cannot be removed", r->name);
	checkpoint_free(&d.out);
	if (d.has_base)
		checkpoint_close(&d.base);
	datadir_close(&d.dir);
	return e;
}
