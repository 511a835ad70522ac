/* Writing groups again: after a failed write or sync, and at start (recover.c).
 *
 * After a failed fsync the kernel may have marked the pages clean, so a second
 * one can succeed without anything having reached the disk (Rebello et al., "Can
 * Applications Recover from fsync Failures?", ATC 2020). What is in memory is all
 * that can be trusted, and only another file may take it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "wal/append.h"

#define EG_RESCUE_AGAIN_NS INT64_C(60000000000)

static enum err lay_out(struct append *a, const struct group_header *g, struct fault *f)
{
	const struct record *r = NULL;

	while ((r = group_next(g, r)) != NULL) {
		struct record *to;
		enum err e = append_record(a, r, &to, f);

		if (e != EG_E_OK)
			return e;
		EG_ASSERT(to->lsn == r->lsn);
		memcpy(to + 1, r + 1, r->bytes - sizeof *r);
		append_done(a, to);
		FAULT(TAIL_REWRITTEN);
	}
	return EG_E_OK;
}

enum err append_again(struct append *a, uint64_t start_lsn, const uint8_t *groups, size_t bytes, struct fault *f)
{
	size_t cap = append_buffer_bytes(bytes, a->main.spares.bytes);
	uint8_t *buf;
	enum err e = append_hidden(a, start_lsn, bytes, f);

	if (e != EG_E_OK)
		return e;
	buf = aligned_alloc(EG_BLOCK, cap);
	EG_ASSERT(buf != NULL);
	append_begin(a, buf, cap);
	for (size_t at = 0; at < bytes && e == EG_E_OK;) {
		const struct group_header *g = (const struct group_header *)(const void *)(groups + at);

		e = lay_out(a, g, f);
		at += g->bytes;
	}
	if (e == EG_E_OK)
		e = append_write(a, f);
	if (e == EG_E_OK)
		e = append_sync(a, f);
	/* Whole and on stable storage: now it may take the old one's place. A kill at
	 * any instruction leaves one copy. */
	if (e == EG_E_OK)
		e = append_show(a, f);
	append_begin(a, NULL, 0);
	free(buf);
	return e;
}

static enum err give_up(struct append *a, const char *what, int error, struct fault *f)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_READ_ONLY;

	return err_set(f, e, NULL, NULL, "log: %s of segment %llu: %s", what,
	               (unsigned long long)a->header.number, strerror(error));
}

enum err append_rescue(struct append *a, const char *what, int error, struct fault *f)
{
	const struct group_header *first = (const struct group_header *)(const void *)a->copy.at;
	/* Not all of it: the spares belong to another thread too. */
	struct { uint8_t *buf; size_t cap, len, group; uint64_t next_lsn; } saved =
		{ a->buf, a->cap, a->len, a->group, a->next_lsn };
	int64_t now = clock_mono_ns();
	enum err e;

	if (a->rescuing || a->copy.bytes == 0)
		return give_up(a, what, error, f);
	if (a->rescued_ns != 0 && now - a->rescued_ns < EG_RESCUE_AGAIN_NS)
		return give_up(a, what, error, f);
	LOG_ERROR("log: %s of segment %llu failed: %s; it is given up, and all above LSN %llu is written again elsewhere",
	          what, (unsigned long long)a->header.number, strerror(error), (unsigned long long)first->first_lsn - 1);
	metric_add(M_WAL_RESCUES, 1);
	FAULT(SEGMENT_GIVEN_UP);
	sink_give_up(&a->main);            /* not sealed: its end is left as it is */
	if (a->mirror != NULL)
		sink_give_up(&a->mirror->sink);
	a->rescuing = true;
	a->rescued_ns = now;
	a->prev_crc = a->durable_crc;
	a->next_lsn = first->first_lsn;
	e = append_again(a, a->next_lsn, a->copy.at, a->copy.bytes, f);
	a->rescuing = false;
	/* The caller's records are in its buffer as before, and now in the log. */
	a->buf = saved.buf;
	a->cap = saved.cap;
	a->len = a->written = saved.len;
	a->group = saved.group;
	if (e != EG_E_OK)
		return e;
	EG_ASSERT(a->next_lsn == saved.next_lsn);
	a->copy.bytes = a->begin_copy = 0;
	LOG_WARN("log: segment %llu goes on from LSN %llu", (unsigned long long)a->header.number,
	         (unsigned long long)a->next_lsn);
	return EG_E_OK;
}
