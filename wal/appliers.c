/* Apply threads, see the header. */
#include "wal/appliers.h"

#include <string.h>
#include <sys/prctl.h>

#include "common/fault.h"
#include "shm/metrics.h"

static void apply_share(struct appliers *a, struct round *r, unsigned number)
{
	struct root *root = store_root(a->writer);

	for (size_t i = 0; i < r->n_changes; i++) {
		struct plan *p = &r->changes[i].plan;

		if (p->record->shard % a->n != number || p->record->type > EG_RECORD_DELETE)
			continue;
		apply_plan(a->writer, p);
		atomic_store_explicit(&root->applied_lsn[p->record->shard], p->record->lsn, memory_order_release);
		FAULT(APPLIED_LSN);
	}
	/* Shards without a record in this round have nothing below its end either. */
	for (unsigned s = number; s < EG_SHARDS && r->last_lsn != 0; s += a->n)
		atomic_store_explicit(&root->applied_lsn[s], r->last_lsn, memory_order_release);
	FAULT(APPLIED_SHARE);
}

static void answer_entry(struct appliers *a, const struct round *r, const struct entry *e)
{
	struct lane_answers *to = desk_answers(a->desks, e->desk, e->lane);
	struct lane_cell *c = &to->cells[e->seq % EG_LANE_ENTRIES];

	atomic_store_explicit(&c->err, e->err, memory_order_relaxed);
	atomic_store_explicit(&c->lsn, e->lsn, memory_order_relaxed);
	atomic_store_explicit(&c->first_bad, e->first_bad, memory_order_relaxed);
	atomic_store_explicit(&c->durable, r->durable, memory_order_relaxed);
	atomic_store_explicit(&c->seq, e->seq, memory_order_release);
	FAULT(ANSWER_CELL);
	/* done_seq before tail: a sender that takes over the desk reads both. */
	atomic_store_explicit(&to->done_seq, e->seq, memory_order_release);
	FAULT(ANSWER_DONE);
	atomic_store_explicit(&to->tail, e->end, memory_order_release);
	FAULT(ANSWER_TAIL);
}

/* Lock held. Entries of a round are in lane order, so tails only rise. */
static void answer(struct appliers *a, struct round *r)
{
	struct wal_page *page = desk_wal(a->desks);
	uint64_t rung = 0;

	for (unsigned i = 0; i < r->n_entries; i++) {
		answer_entry(a, r, &r->entries[i]);
		rung |= UINT64_C(1) << r->entries[i].desk;
	}
	if (r->last_lsn != 0)
		a->answered_lsn = r->last_lsn;
	/* A record of the writer's own end changes nothing. */
	if (r->last_lsn != 0 && r->changes[0].head.type != EG_RECORD_SHUTDOWN)
		atomic_store(&store_root(a->writer)->changed_lsn, r->last_lsn);
	if (r->last_lsn != 0 && !a->hold_acked)
		atomic_store_explicit(&page->acked_lsn, r->last_lsn, memory_order_release);
	FAULT(ANSWER_ACKED);
	for (unsigned k = EG_DESK_FIRST; k < a->desks->n; k++)
		if (rung >> k & 1)
			desk_ring_always(a->desks, k);
	metric_add(M_WAL_ACKS, r->n_entries);
}

/* Lock held: this thread was the last on that round; answer all that are due. */
static void finish(struct appliers *a, struct round *r)
{
	r->applied = true;
	while (a->finished < a->next) {
		struct round *oldest = &a->rounds[a->finished % EG_ROUNDS];

		if (!oldest->applied)
			break;
		answer(a, oldest);
		oldest->busy = false;
		a->finished++;
	}
	pthread_cond_broadcast(&a->done);
	/* The log thread may be asleep with a dead desk to report as drained. */
	desk_ring(a->desks, EG_DESK_WAL);
}

static void *run(void *arg)
{
	struct applier *self = arg;
	struct appliers *a = self->all;
	uint64_t cpu = 0, took_ns;

	prctl(PR_SET_NAME, "engram-apply", 0, 0, 0);
	(void)metric_cpu_ns(&cpu);
	pthread_mutex_lock(&a->lock);
	for (;;) {
		struct round *r;

		while (a->taken[self->number] == a->next && !a->stop)
			pthread_cond_wait(&a->work, &a->lock);
		if (a->taken[self->number] == a->next)
			break;
		r = &a->rounds[a->taken[self->number] % EG_ROUNDS];
		pthread_mutex_unlock(&a->lock);
		apply_share(a, r, self->number);
		took_ns = metric_cpu_ns(&cpu);
		metric_add(M_CPU_WAL, took_ns);
		if (r->last_lsn != 0)
			atomic_fetch_add(&store_root(a->writer)->work_ns, took_ns);
		pthread_mutex_lock(&a->lock);
		a->taken[self->number]++;
		if (atomic_fetch_sub(&r->left, 1) == 1)
			finish(a, r);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

enum err appliers_open(struct appliers *a, struct store_writer *w, struct desks *d, unsigned n, struct fault *f)
{
	memset(a, 0, sizeof *a);
	a->writer = w;
	a->desks = d;
	a->n = n < 1 ? 1 : n > EG_APPLIERS_MAX ? EG_APPLIERS_MAX : n;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_cond_init(&a->done, NULL);
	for (unsigned i = 0; i < EG_ROUNDS; i++)
		round_init(&a->rounds[i]);
	for (unsigned i = 0; i < a->n; i++) {
		a->self[i] = (struct applier){ a, i };
		if (pthread_create(&a->threads[i], NULL, run, &a->self[i]) != 0)
			return err_set(f, EG_E_INTERNAL, NULL, NULL, "no apply thread");
	}
	return EG_E_OK;
}

void appliers_close(struct appliers *a)
{
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->work);
	pthread_mutex_unlock(&a->lock);
	for (unsigned i = 0; i < a->n; i++)
		pthread_join(a->threads[i], NULL);
	for (unsigned i = 0; i < EG_ROUNDS; i++)
		round_fini(&a->rounds[i]);
	pthread_cond_destroy(&a->done);
	pthread_cond_destroy(&a->work);
	pthread_mutex_destroy(&a->lock);
}

struct round *appliers_round(struct appliers *a)
{
	struct round *r;

	pthread_mutex_lock(&a->lock);
	r = &a->rounds[a->next % EG_ROUNDS];
	while (r->busy)
		pthread_cond_wait(&a->done, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return r;
}

void appliers_run(struct appliers *a, struct round *r)
{
	pthread_mutex_lock(&a->lock);
	atomic_store(&r->left, a->n);
	a->next++;
	pthread_cond_broadcast(&a->work);
	pthread_mutex_unlock(&a->lock);
}

void appliers_wait(struct appliers *a)
{
	pthread_mutex_lock(&a->lock);
	while (a->finished < a->next)
		pthread_cond_wait(&a->done, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

void appliers_hold_acked(struct appliers *a, bool hold)
{
	pthread_mutex_lock(&a->lock);
	a->hold_acked = hold;
	if (!hold && a->answered_lsn != 0)
		atomic_store_explicit(&desk_wal(a->desks)->acked_lsn, a->answered_lsn, memory_order_release);
	pthread_mutex_unlock(&a->lock);
}

bool appliers_idle(struct appliers *a)
{
	bool idle;

	pthread_mutex_lock(&a->lock);
	idle = a->finished == a->next;
	pthread_mutex_unlock(&a->lock);
	return idle;
}
