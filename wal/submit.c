/* The sender's side of a lane, see the header. */
#include "wal/submit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/fault.h"
#include "wal/lane.h"

void submit_init(struct submit *s, struct desks *d, unsigned lane)
{
	struct lane_answers *a = desk_answers(d, (unsigned)d->self, lane);
	pthread_condattr_t attr;

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->room, &attr);
	pthread_condattr_destroy(&attr);
	s->desks = d;
	s->desk = (unsigned)d->self;
	s->lane = lane;
	s->ring = desk_lane_ring(d, s->desk, lane);
	s->ring_bytes = d->lane_bytes;
	s->head = desk_lane_head(d, s->desk, lane);
	s->incarnation = atomic_load(&desk_header(d, s->desk)->incarnation);
	/* The desk was drained before it was given to us: begin where its last
	 * owner's entries ended. */
	s->written = atomic_load(&a->tail);
	atomic_store(s->head, s->written);
	s->next_seq = s->low_seq = atomic_load(&a->done_seq) + 1;
}

void submit_fini(struct submit *s)
{
	pthread_cond_destroy(&s->room);
	pthread_mutex_destroy(&s->lock);
}

void draft_seal(struct draft *d)
{
	d->head.key = record_key(d->space_id, d->space_id_bytes, d->id ? d->id : "", d->head.id_bytes);
	d->head.shard = (uint8_t)(d->head.key % EG_SHARDS);
	d->bytes = record_size(d->head.dim, d->head.n_terms, d->head.n_tags, d->head.id_bytes,
	                       d->head.packed_bytes);
}

size_t submit_max_bytes(const struct submit *s) { return s->ring_bytes / 2; }
unsigned submit_max_ops(const struct submit *s) { (void)s; return EG_LANE_RESULTS / 2; }

static void write_op(uint8_t *to, const struct draft *d)
{
	struct lane_op *op = (struct lane_op *)(void *)to;
	struct record *r = (struct record *)(void *)(to + sizeof *op);
	uint8_t *at = (uint8_t *)r + sizeof *r, *end = (uint8_t *)r + d->bytes;
	size_t vector = record_vector_bytes(d->head.dim), given = d->head.dim * sizeof(float);

	EG_ASSERT(d->space_id_bytes <= EG_SPACE_ID_MAX);
	memset(op, 0, sizeof *op);
	op->bytes = (uint32_t)(sizeof *op + d->bytes);
	op->space_bytes = (uint32_t)d->space_id_bytes;
	op->expect_version = d->expect_version;
	memcpy(op->space_id, d->space_id, d->space_id_bytes);
	*r = d->head;
	r->bytes = (uint32_t)d->bytes;
	if (given > 0)
		memcpy(at, d->vector, given);
	memset(at + given, 0, vector - given);
	at += vector;
	if (d->head.n_terms > 0)
		memcpy(at, d->terms, 8 * (size_t)d->head.n_terms);
	at += 8 * (size_t)d->head.n_terms;
	if (d->head.n_tags > 0)
		memcpy(at, d->tags, 8 * (size_t)d->head.n_tags);
	at += 8 * (size_t)d->head.n_tags;
	if (d->head.id_bytes > 0)
		memcpy(at, d->id, d->head.id_bytes);
	at += d->head.id_bytes;
	if (d->head.packed_bytes > 0)
		memcpy(at, d->packed, d->head.packed_bytes);
	at += d->head.packed_bytes;
	memset(at, 0, (size_t)(end - at));
}

/* Bytes that the entry needs in the ring, with a filler when it would not fit
 * before its end. */
static size_t needed(const struct submit *s, size_t bytes)
{
	size_t at = s->written & (s->ring_bytes - 1), left = s->ring_bytes - at;

	return bytes <= left ? bytes : left + bytes;
}

static bool has_room(const struct submit *s, size_t bytes, unsigned n)
{
	const struct lane_answers *a = desk_answers(s->desks, s->desk, s->lane);
	uint64_t tail = atomic_load_explicit(&a->tail, memory_order_acquire);

	if (s->written + needed(s, bytes) - tail > s->ring_bytes)
		return false;
	if (s->low_seq == s->next_seq)
		return true;
	return s->next_seq - s->low_seq < EG_LANE_ENTRIES
	       && s->next_result + n - s->first_result[s->low_seq % EG_LANE_ENTRIES] <= EG_LANE_RESULTS;
}

/* Lock held. Waits for the doorbell's thread to say that entries were answered. */
static bool wait_room(struct submit *s, size_t bytes, unsigned n, unsigned wait_ms)
{
	struct timespec until;
	bool ok;

	if (has_room(s, bytes, n))
		return true;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	atomic_fetch_add(&s->waiting, 1);
	while (!(ok = has_room(s, bytes, n)))
		if (pthread_cond_timedwait(&s->room, &s->lock, &until) != 0)
			break;
	atomic_fetch_sub(&s->waiting, 1);
	return ok || has_room(s, bytes, n);
}

static void fill_to_end(struct submit *s)
{
	size_t at = s->written & (s->ring_bytes - 1);
	struct lane_entry *e = (struct lane_entry *)(void *)(s->ring + at);

	memset(e, 0, sizeof *e);
	e->magic = EG_LANE_FILLER;
	e->bytes = (uint32_t)(s->ring_bytes - at);
	s->written += e->bytes;
}

static void write_entry(struct submit *s, const struct draft *drafts, unsigned n, unsigned flags, size_t bytes)
{
	size_t at = s->written & (s->ring_bytes - 1);
	struct lane_entry *e;
	uint8_t *to;

	if (at + bytes > s->ring_bytes) {
		fill_to_end(s);
		at = 0;
	}
	e = (struct lane_entry *)(void *)(s->ring + at);
	to = (uint8_t *)e + sizeof *e;
	for (unsigned i = 0; i < n; i++) {
		write_op(to, &drafts[i]);
		to += sizeof(struct lane_op) + drafts[i].bytes;
	}
	memset(e, 0, sizeof *e);
	e->magic = EG_LANE_MAGIC;
	e->bytes = (uint32_t)bytes;
	e->seq = s->next_seq;
	e->n_ops = n;
	e->flags = flags;
	e->first_result = s->next_result;
	e->stamp_ns = (uint64_t)clock_mono_ns();
	s->written += bytes;
	FAULT(SUBMIT_WRITTEN);
	atomic_store_explicit(s->head, s->written, memory_order_release);
	FAULT(SUBMIT_PUBLISHED);
}

static size_t entry_bytes(const struct draft *drafts, unsigned n)
{
	size_t bytes = sizeof(struct lane_entry);

	for (unsigned i = 0; i < n; i++)
		bytes += sizeof(struct lane_op) + drafts[i].bytes;
	return bytes;
}

enum err submit_push(struct submit *s, const struct draft *drafts, unsigned n, unsigned flags,
                     unsigned wait_ms, struct ticket *t, struct fault *f)
{
	size_t bytes = entry_bytes(drafts, n);
	char limit[32];

	EG_ASSERT(n > 0);
	snprintf(limit, sizeof limit, "%zu bytes", submit_max_bytes(s));
	if (bytes > submit_max_bytes(s) || n > submit_max_ops(s))
		return err_set(f, EG_E_TOO_LARGE, NULL, limit,
		               "one change of %u memories takes %zu bytes in the writer's ring; the limit is %s"
		               " (half of a lane of wal.buffer_size_mb)", n, bytes, limit);
	pthread_mutex_lock(&s->lock);
	if (!wait_room(s, bytes, n, wait_ms)) {
		pthread_mutex_unlock(&s->lock);
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the writer's ring has been full for %u ms", wait_ms);
	}
	*t = (struct ticket){ .submit = s, .seq = s->next_seq, .first_result = s->next_result, .n_ops = n };
	s->first_result[s->next_seq % EG_LANE_ENTRIES] = s->next_result;
	s->forgotten[s->next_seq % EG_LANE_ENTRIES] = false;
	write_entry(s, drafts, n, flags, bytes);
	s->next_seq++;
	s->next_result += n;
	pthread_mutex_unlock(&s->lock);
	desk_ring(s->desks, EG_DESK_WAL);
	return EG_E_OK;
}

bool submit_poll(const struct ticket *t, enum err *err, uint64_t *lsn, bool *durable)
{
	const struct lane_cell *c =
		&desk_answers(t->submit->desks, t->submit->desk, t->submit->lane)->cells[t->seq % EG_LANE_ENTRIES];

	if (atomic_load_explicit(&c->seq, memory_order_acquire) != t->seq)
		return false;
	*err = (enum err)atomic_load_explicit(&c->err, memory_order_relaxed);
	*lsn = atomic_load_explicit(&c->lsn, memory_order_relaxed);
	*durable = atomic_load_explicit(&c->durable, memory_order_relaxed) != 0;
	return true;
}

struct outcome submit_outcome(const struct ticket *t, unsigned i)
{
	const struct lane_result *r = &desk_answers(t->submit->desks, t->submit->desk, t->submit->lane)
		->results[(t->first_result + i) % EG_LANE_RESULTS];
	uint64_t version = atomic_load_explicit(&r->version, memory_order_relaxed);

	EG_ASSERT(i < t->n_ops);
	return (struct outcome){
		.err = (enum err)atomic_load_explicit(&r->err, memory_order_relaxed),
		.version = version >> 1,
		.created = version & 1,
		.detail = atomic_load_explicit(&r->detail, memory_order_relaxed),
	};
}

void submit_forget(struct ticket *t)
{
	struct submit *s = t->submit;

	EG_ASSERT(s != NULL);
	pthread_mutex_lock(&s->lock);
	s->forgotten[t->seq % EG_LANE_ENTRIES] = true;
	while (s->low_seq < s->next_seq && s->forgotten[s->low_seq % EG_LANE_ENTRIES])
		s->low_seq++;
	if (atomic_load(&s->waiting) > 0)
		pthread_cond_broadcast(&s->room);
	pthread_mutex_unlock(&s->lock);
	t->submit = NULL;
}

void submit_wake(struct submit *s)
{
	if (atomic_load(&s->waiting) == 0)
		return;
	pthread_mutex_lock(&s->lock);
	pthread_cond_broadcast(&s->room);
	pthread_mutex_unlock(&s->lock);
}
