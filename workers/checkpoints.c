/* See checkpoints.h. */
#include "workers/checkpoints.h"

#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "wal/control.h"
#include "wal/dump.h"

enum { LANE_WAIT_MS = 1000, PAUSE_MS = 1000, PAUSE_FAILED_MS = 10000 };

static const struct wal_page *wal_of(const struct checkpoints *c)
{
	return desk_wal(c->heritage->desks);
}

static bool writer_runs(const struct checkpoints *c)
{
	return atomic_load(&wal_of(c)->state) == EG_WAL_RUNNING;
}

static bool replay_is_long(const struct checkpoints *c, const struct config *cfg)
{
	const struct root *root = c->store->root;
	uint64_t now = atomic_load(&root->work_ns), then = atomic_load(&root->checkpoint_work_ns);

	return now > then && now - then > (uint64_t)cfg->wal_checkpoint_replay_seconds * 1000000000;
}

/* More files than wanted: also when the newest checkpoint needs none of them, but the one
 * before does: then another one follows it at once. */
static bool too_many_segments(const struct checkpoints *c, const struct config *cfg)
{
	const struct checkpoint_page *p = &wal_of(c)->checkpoint;

	return atomic_load(&wal_of(c)->segments) > (uint32_t)cfg->wal_max_segments
	       && (checkpoints_missing(c) || atomic_load(&p->previous_start_lsn) < atomic_load(&p->start_lsn));
}

bool checkpoints_missing(const struct checkpoints *c)
{
	return atomic_load(&c->store->root->changed_lsn) > atomic_load(&wal_of(c)->checkpoint.start_lsn);
}

bool checkpoints_due(const struct checkpoints *c, const struct config *cfg, int64_t now_ms)
{
	const struct checkpoint_page *p = &wal_of(c)->checkpoint;

	if (!writer_runs(c))
		return false;
	if (atomic_load(&p->asked) > atomic_load(&p->answered))
		return true;
	if (now_ms < c->not_before_ms)
		return false;
	return (checkpoints_missing(c) && replay_is_long(c, cfg)) || too_many_segments(c, cfg);
}

/* ---- making one (a pool's thread) ------------------------------------------------------ */

static bool given_up(void *arg)
{
	const struct checkpoints *c = arg;

	return !store_is_current(c->store, c->heritage->desks);
}

/* Push a control entry and wait until the writer has understood it. */
static enum err tell(struct checkpoints *c, const struct control *m, struct fault *f)
{
	struct draft d;
	struct ticket t;
	struct outcome o;
	uint64_t lsn;
	bool durable;
	enum err e;

	control_draft(m, &d);
	FAULT(CHECKPOINT_PUSH);
	e = submit_push(c->lane, &d, 1, 0, LANE_WAIT_MS, &t, f);
	if (e != EG_E_OK)
		return e;
	FAULT(CHECKPOINT_PUSHED);
	for (unsigned seen = c->rings(c->arg); !submit_poll(&t, &e, &lsn, &durable); seen = c->rings(c->arg))
		c->await_ring(c->arg, seen);
	o = submit_outcome(&t, 0);
	submit_forget(&t);
	e = e != EG_E_OK ? e : o.err;
	return e == EG_E_OK ? e : err_set(f, e, NULL, NULL, "the writer refused it: %s", err_text(e));
}

/* Until this attempt has ended. A writer that died meanwhile says nothing of it: then what
 * its successor shows counts. */
static enum err await_end(struct checkpoints *c, const struct control *m, uint32_t incarnation, struct fault *f)
{
	const struct checkpoint_page *p = &wal_of(c)->checkpoint;
	const struct desk_header *h = desk_header(c->heritage->desks, EG_DESK_WAL);

	for (unsigned seen = c->rings(c->arg);; seen = c->rings(c->arg)) {
		enum err e = EG_E_OK;

		if (atomic_load_explicit(&p->ended, memory_order_acquire) == m->nonce) {
			e = (enum err)atomic_load(&p->err);
			return e == EG_E_OK ? e : err_set(f, e, NULL, NULL, "it was not put in force: %s", err_text(e));
		}
		if (atomic_load(&h->incarnation) != incarnation && atomic_load(&h->ready))
			return atomic_load(&p->id) == m->place.id
			       ? EG_E_OK : err_set(f, EG_E_WRITER, NULL, NULL, "the writer was replaced meanwhile");
		c->await_ring(c->arg, seen);
	}
}

static enum err dump(struct checkpoints *c, struct epoch *epoch, struct control *m, struct fault *f)
{
	struct dump_task t = { .data_dir = c->heritage->config->server_data_dir, .desks = c->heritage->desks,
		.store = c->store, .epoch = epoch, .stop = given_up, .arg = c };
	struct dump_result r;
	enum err e = dump_run(&t, &r, f);

	/* The memory was given up while it was read: its successor numbers anew. */
	if (e == EG_E_OK && given_up(c))
		e = err_set(f, EG_E_WRITER, NULL, NULL, "the store was given up meanwhile");
	if (e != EG_E_OK)
		return e;
	m->what = EG_CONTROL_PLACE;
	memcpy(m->name, r.name, sizeof m->name);
	m->place = r.place;
	m->generation = r.generation;
	m->work_ns = r.work_ns;
	m->written = r.written;
	LOG_DEBUG("checkpoint %llu: %u of %u extents written, longest section %.3f ms",
	          (unsigned long long)r.place.id, r.extents - r.kept, r.extents, (double)r.longest_ns / 1e6);
	return EG_E_OK;
}

enum err checkpoints_make(struct checkpoints *c, struct epoch *epoch)
{
	const struct desk_header *h = desk_header(c->heritage->desks, EG_DESK_WAL);
	struct control m = { .what = EG_CONTROL_FAILED, .begun_ns = clock_mono_ns() };
	uint32_t incarnation = atomic_load(&h->incarnation);
	struct fault f, ignored;
	enum err e;

	if (getrandom(&m.nonce, sizeof m.nonce, 0) != (ssize_t)sizeof m.nonce)
		m.nonce = (uint64_t)m.begun_ns;
	c->nonce = m.nonce;
	m.demands = atomic_load(&wal_of(c)->checkpoint.asked);
	e = dump(c, epoch, &m, &f);
	if (e == EG_E_OK)
		e = tell(c, &m, &f);
	if (e == EG_E_OK)
		e = await_end(c, &m, incarnation, &f);
	if (e != EG_E_OK) {
		LOG_WARN("a checkpoint was given up: %s", f.message);
		m.what = EG_CONTROL_FAILED;
		m.err = e;
		if (atomic_load(&wal_of(c)->checkpoint.ended) != m.nonce)
			(void)!tell(c, &m, &ignored);
	}
	c->not_before_ms = clock_mono_ms() + (e == EG_E_OK ? PAUSE_MS : PAUSE_FAILED_MS);
	return e;
}
