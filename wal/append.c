/* Appending to the log, see the header. */
#include "wal/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"

#define EG_NO_GROUP SIZE_MAX
#define EG_GROUP_MAX ((size_t)4 << 20)  /* a reader's buffer for one group stays small */

static enum err io_failed(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_READ_ONLY;

	return err_set(f, e, NULL, NULL, "log: %s: %s", what, strerror(error));
}

/* ---- both copies ------------------------------------------------------------------ */

/* One copy failed and the other did not: the log goes on with that. */
static void lose(struct append *a, struct sink *s, const char *what, int error)
{
	LOG_ERROR("log: %s in %s failed: %s; %s is given up, the other copy goes on", what, s->name, strerror(error),
	          s->name);
	metric_add(s == &a->main ? M_MIRROR_LOST_MAIN : M_MIRROR_LOST_MIRROR, 1);
	sink_give_up(s);
	s->lost = true;
	FAULT(MIRROR_LOST);
	mirror_note_loss(a->mirror, s == &a->main, a->header.start_lsn);
}

static bool lacks_room(int error) { return error == ENOSPC || error == EDQUOT; }

/* A step in each copy that is not lost, at the same time. 0 when one succeeded; what failed
 * beside it is lost. Else the errno. */
static int on_copies(struct append *a, const struct sink_op *op, const char *what)
{
	bool in_mirror = a->mirror != NULL && !a->mirror->sink.lost, in_main = !a->main.lost;
	int error = 0, other = 0;

	if (in_mirror)
		mirror_begin(a->mirror, op);
	if (in_main)
		error = sink_do(&a->main, op);
	if (in_mirror)
		other = mirror_end(a->mirror);
	if (!in_mirror || !in_main)
		return in_main ? error : in_mirror ? other : EIO;
	if (error != 0 && other != 0)
		return error;
	/* No room in the data directory is told to clients: that is no failure of a copy. */
	if (op->what == SINK_PREPARE && lacks_room(error)) {
		sink_drop(&a->mirror->sink);
		return error;
	}
	if (error != 0)
		lose(a, &a->main, what, error);
	if (other != 0)
		lose(a, &a->mirror->sink, what, other);
	return 0;
}

static struct sink *live(struct append *a) { return a->main.lost && a->mirror != NULL ? &a->mirror->sink : &a->main; }

static size_t round_block(size_t n) { return (n + EG_BLOCK - 1) / EG_BLOCK * EG_BLOCK; }

static void next_header(const struct append *a, uint64_t start_lsn, uint64_t bytes, struct segment_header *h)
{
	uint64_t prev = a->header.number;

	memset(h, 0, sizeof *h);
	h->magic = EG_SEGMENT_MAGIC;
	h->format = EG_SEGMENT_FORMAT;
	h->timeline = a->dir->timeline;
	memcpy(h->uuid, a->dir->uuid, sizeof h->uuid);
	h->number = prev + 1;
	h->start_lsn = start_lsn;
	h->prev_number = prev;
	h->prev_crc = a->prev_crc;
	h->incarnation = a->incarnation;
	if (getrandom(&h->salt, sizeof h->salt, 0) != (ssize_t)sizeof h->salt)
		h->salt = (uint64_t)clock_mono_ns() ^ a->boot_id;
	h->boot_id = a->boot_id;
	h->redo_lsn = a->redo_lsn;
	h->created_us = clock_real_us();
	h->bytes = bytes;
	h->stores = a->dir->stores;
	segment_seal_header(h);
}

/* Go on in the prepared segment from now on. */
static void adopt(struct append *a, const struct segment_header *h)
{
	sink_adopt(&a->main, a->offset);
	if (a->mirror != NULL)
		sink_adopt(&a->mirror->sink, a->offset);
	FAULT(SEGMENT_SEALED);
	a->header = *h;
	a->offset = EG_SEGMENT_DATA;
	a->limit = h->bytes;
	a->witnessed = a->witness_unsynced = false;
}

static void count_segment(struct append *a)
{
	a->segments++;
	a->log_bytes += EG_SEGMENT_DATA;
	FAULT(SEGMENT_NEXT);
}

/* From its rename on the file supersedes: no failure after that is a mere lack
 * of room, after which the segment before could go on. */
static enum err show(struct append *a, const struct segment_header *h, struct fault *f)
{
	const struct sink_op op = { .what = SINK_SHOW, .header = h };
	int error;

	/* It may take the name of the segment that the store's newest records went to. */
	if (a->announced != NULL)
		atomic_store(a->announced, h->salt);
	FAULT(SEGMENT_ANNOUNCED);
	error = on_copies(a, &op, "a new segment");
	if (error == 0)
		return EG_E_OK;
	return err_set(f, EG_E_READ_ONLY, NULL, NULL, "log: a new segment: %s", strerror(error));
}

static enum err prepare(struct append *a, const struct segment_header *h, bool hidden, struct fault *f)
{
	const struct sink_op op = { .what = SINK_PREPARE, .header = h, .hidden = hidden };
	int error = on_copies(a, &op, "a new segment");

	return error == 0 ? EG_E_OK : io_failed(f, "a new segment", error);
}

enum err append_segment(struct append *a, uint64_t start_lsn, struct fault *f)
{
	struct segment_header header;
	enum err e;

	next_header(a, start_lsn, a->main.spares.bytes, &header);
	e = prepare(a, &header, false, f);
	if (e == EG_E_OK)
		e = show(a, &header, f);
	if (e != EG_E_OK) {
		if (e == EG_E_NO_STORAGE && a->main.next_dir >= 0)
			sink_drop(&a->main);
		return e;
	}
	adopt(a, &header);
	count_segment(a);
	return EG_E_OK;
}

enum err append_hidden(struct append *a, uint64_t start_lsn, size_t records_bytes, struct fault *f)
{
	uint64_t bytes = a->main.spares.bytes, want = EG_SEGMENT_DATA + append_buffer_bytes(records_bytes, bytes);
	struct segment_header header;
	enum err e;

	/* What it repeats stays together, whatever the configuration says by now. */
	next_header(a, start_lsn, want > bytes ? want : bytes, &header);
	e = prepare(a, &header, true, f);
	if (e == EG_E_OK)
		adopt(a, &header);
	return e;
}

enum err append_show(struct append *a, struct fault *f)
{
	enum err e = show(a, &a->header, f);

	if (e == EG_E_OK)
		count_segment(a);
	return e;
}

/* Of a segment that others follow every block is on stable storage, the witness too. */
static enum err sync_whole(struct append *a, struct fault *f)
{
	a->unsynced = a->unsynced || a->witness_unsynced;
	return append_sync(a, f);
}

enum err append_rejoin(struct append *a, struct fault *f)
{
	struct sink *lost;
	bool replaced;
	enum err e;

	if (a->mirror == NULL || a->mirror->retry_ns == 0 || clock_mono_ns() < a->mirror->retry_ns || !a->mirror->open)
		return EG_E_OK;
	e = sync_whole(a, f);
	if (e != EG_E_OK)
		return e;
	lost = a->main.lost ? &a->main : &a->mirror->sink;
	replaced = a->header.start_lsn == a->next_lsn;
	lost->lost = false;
	e = append_segment(a, a->next_lsn, f);
	/* An empty one was replaced by one of the same name. */
	if (e == EG_E_OK && replaced)
		a->segments--;
	if (e == EG_E_OK && !lost->lost) {
		LOG_INFO("log: segment %llu goes on in both copies; %s is rebuilt", (unsigned long long)a->header.number,
		         lost->name);
		mirror_rebuild(a->mirror, lost == &a->main, a->header.start_lsn);
		return e;
	}
	if (!lost->lost)
		mirror_retry_later(a->mirror);
	lost->lost = true;
	return e;
}

void append_begin(struct append *a, uint8_t *buf, size_t cap)
{
	a->buf = buf;
	a->cap = cap;
	a->len = a->written = 0;
	a->group = EG_NO_GROUP;
	a->begin_crc = a->prev_crc;
	a->begin_lsn = a->next_lsn;
	a->begin_copy = a->copy.bytes;
}

void append_cancel(struct append *a)
{
	/* The chain too: the next group follows the last one that is in the file. */
	a->prev_crc = a->begin_crc;
	a->next_lsn = a->begin_lsn;
	a->copy.bytes = a->begin_copy;
	append_begin(a, NULL, 0);
}

enum err append_ready(struct append *a, size_t records_bytes, struct fault *f)
{
	if (a->offset + append_buffer_bytes(records_bytes, a->main.spares.bytes) <= a->limit)
		return EG_E_OK;
	return spares_wait(&live(a)->spares, f);
}

size_t append_buffer_bytes(size_t records_bytes, uint64_t segment_bytes)
{
	size_t largest = segment_bytes / 2 < EG_GROUP_MAX / 2 ? segment_bytes / 2 : EG_GROUP_MAX / 2;

	/* Each group wastes less than a block, and holds at least `largest` bytes
	 * of records before it has to be closed. */
	return round_block(records_bytes) + (records_bytes / largest + 2) * 2 * EG_BLOCK;
}

static struct group_header *open_group(struct append *a)
{
	return (struct group_header *)(void *)(a->buf + a->group);
}

/* Seal the open group: pad, witness, chain. */
static void close_group(struct append *a)
{
	struct group_header *g;
	size_t end;

	if (a->group == EG_NO_GROUP)
		return;
	g = open_group(a);
	end = a->group + round_block(a->len - a->group);
	memset(a->buf + a->len, 0, end - a->len);
	a->len = end;
	g->bytes = (uint32_t)(end - a->group);
	g->prev_crc = a->prev_crc;
	g->durable_lsn = a->durable_lsn;
	group_seal(g);
	a->prev_crc = g->crc;
	a->group = EG_NO_GROUP;
}

static void begin_group(struct append *a)
{
	struct group_header *g;

	a->group = a->len;
	g = open_group(a);
	memset(g, 0, sizeof *g);
	g->magic = EG_GROUP_MAGIC;
	g->salt = a->header.salt;
	g->incarnation = a->incarnation;
	g->first_lsn = a->next_lsn;
	a->len += sizeof *g;
}

/* Does a record of that many bytes fit into the open group (or a new one) before
 * the segment's end? */
static bool fits(const struct append *a, size_t bytes)
{
	size_t pending = a->group == EG_NO_GROUP ? a->len - a->written : a->group - a->written;
	size_t group = a->group == EG_NO_GROUP ? sizeof(struct group_header) : a->len - a->group;

	return a->offset + pending + round_block(group + bytes) <= a->limit;
}

static enum err rotate(struct append *a, struct fault *f)
{
	enum err e = append_write(a, f);

	if (e == EG_E_OK)
		e = sync_whole(a, f);
	if (e == EG_E_OK)
		e = append_segment(a, a->next_lsn, f);
	return e;
}

enum err append_record(struct append *a, const struct record *r, struct record **out, struct fault *f)
{
	if (a->group != EG_NO_GROUP && a->len - a->group + r->bytes > EG_GROUP_MAX)
		close_group(a);
	if (!fits(a, r->bytes)) {
		enum err e = rotate(a, f);

		if (e != EG_E_OK)
			return e;
		EG_ASSERT(fits(a, r->bytes));
	}
	if (a->group == EG_NO_GROUP)
		begin_group(a);
	EG_ASSERT(a->len + r->bytes + EG_BLOCK <= a->cap);
	*out = (struct record *)(void *)(a->buf + a->len);
	**out = *r;
	(*out)->lsn = a->next_lsn++;
	a->len += r->bytes;
	open_group(a)->n_records++;
	return EG_E_OK;
}

void append_done(struct append *a, struct record *r)
{
	(void)a;
	r->crc = crc32c(0, (const uint8_t *)r + 8, r->bytes - 8);
	metric_add(M_WAL_WRITES, 1);
}

/* Keep what is about to be written until it is on stable storage. */
static void keep_copy(struct append *a, const uint8_t *from, size_t bytes)
{
	struct append_copy *c = &a->copy;

	if (c->bytes + bytes > c->cap) {
		size_t cap = (c->bytes + bytes) * 2;
		uint8_t *bigger = aligned_alloc(64, cap);

		EG_ASSERT(bigger != NULL);
		if (c->bytes > 0)
			memcpy(bigger, c->at, c->bytes);
		free(c->at);
		c->at = bigger;
		c->cap = cap;
	}
	memcpy(c->at + c->bytes, from, bytes);
	c->bytes += bytes;
}

enum err append_write(struct append *a, struct fault *f)
{
	struct sink_op op = { .what = SINK_WRITE, .offset = a->offset };
	int64_t began = clock_mono_ns();
	size_t bytes;
	int error;

	close_group(a);
	bytes = a->len - a->written;
	if (bytes == 0)
		return EG_E_OK;
	if (!a->rescuing)
		keep_copy(a, a->buf + a->written, bytes);
	op.from = a->buf + a->written;
	op.bytes = bytes;
	error = on_copies(a, &op, "write");
	if (error != 0)
		return append_rescue(a, "write", error, f);
	a->written = a->len;
	a->offset += bytes;
	a->log_bytes += bytes;
	a->unsynced = true;
	a->witnessed = false;
	a->begin_crc = a->prev_crc;
	a->begin_lsn = a->next_lsn;
	a->begin_copy = a->copy.bytes;
	metric_add(M_DISK_WRITE, bytes);
	metric_observe_ns(M_DISK_TIME_WRITE, (uint64_t)(clock_mono_ns() - began));
	return EG_E_OK;
}

enum err append_sync(struct append *a, struct fault *f)
{
	const struct sink_op op = { .what = SINK_SYNC };
	int64_t began = clock_mono_ns();
	int error;

	if (!a->unsynced)
		return EG_E_OK;
	error = on_copies(a, &op, "sync");
	if (error != 0)
		return append_rescue(a, "sync", error, f);
	a->unsynced = a->witness_unsynced = false;
	a->durable_lsn = a->next_lsn - 1;
	a->durable_crc = a->prev_crc;
	if (!a->rescuing)
		a->copy.bytes = a->begin_copy = 0;
	metric_observe_ns(M_DISK_TIME_SYNC, (uint64_t)(clock_mono_ns() - began));
	return EG_E_OK;
}

bool append_witness(struct append *a)
{
	_Alignas(EG_BLOCK) uint8_t block[EG_BLOCK] = { 0 };
	struct sink_op op = { .what = SINK_WRITE, .offset = a->offset, .from = block, .bytes = sizeof block };
	struct group_header *g = (struct group_header *)(void *)block;
	int error;

	*g = (struct group_header){ .magic = EG_GROUP_MAGIC, .salt = a->header.salt, .incarnation = a->incarnation,
		.first_lsn = a->next_lsn, .bytes = sizeof block, .prev_crc = a->prev_crc, .durable_lsn = a->durable_lsn };
	group_seal(g);
	FAULT(WITNESS_BEGINS);
	error = on_copies(a, &op, "write");
	a->witnessed = true;
	if (error != 0) {
		/* The next group takes its place, and fails for itself if it must. */
		LOG_WARN("log: the witness behind LSN %llu cannot be written: %s", (unsigned long long)a->durable_lsn,
		         strerror(error));
		return false;
	}
	a->witness_unsynced = true;
	a->prev_crc = a->begin_crc = g->crc;
	a->offset += sizeof block;
	a->log_bytes += sizeof block;
	metric_add(M_DISK_WRITE, sizeof block);
	metric_add(M_WAL_WITNESSES, 1);
	FAULT(WITNESS_WRITTEN);
	return true;
}

void append_close(struct append *a)
{
	sink_seal(&a->main, a->offset);
	if (a->mirror != NULL)
		sink_seal(&a->mirror->sink, a->offset);
	spares_close(&a->main.spares);
	mirror_close(a->mirror);
	a->mirror = NULL;
	free(a->copy.at);
	memset(&a->copy, 0, sizeof a->copy);
}
