/* Loading, see the header: the order of the steps, and the threads. */
#include "wal/load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "shm/store.h"
#include "wal/load_parts.h"

void load_fail(struct load *l, const struct fault *f)
{
	pthread_mutex_lock(&l->lock);
	if (!atomic_load(&l->failed))
		l->fault = *f;
	atomic_store(&l->failed, true);
	pthread_mutex_unlock(&l->lock);
}

void *load_room(struct load *l, uint64_t n, size_t each)
{
	size_t bytes = (n + 1) * each;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EG_ASSERT(at != MAP_FAILED && l->n_rooms < EG_LOAD_ROOMS);
	(void)madvise(at, bytes, MADV_HUGEPAGE);       /* a wish: small ones will do */
	l->rooms[l->n_rooms].at = at;
	l->rooms[l->n_rooms++].bytes = bytes;
	return at;
}

struct load_job { struct load *l; void (*fn)(struct load *); };

static void *run(void *arg)
{
	const struct load_job *job = arg;

	prctl(PR_SET_NAME, "engram-load", 0, 0, 0);
	job->fn(job->l);
	return NULL;
}

/* fn in several threads, this one among them. A thread that cannot be had is no harm. */
static enum err in_threads(struct load *l, void (*fn)(struct load *), unsigned most, struct fault *f)
{
	struct load_job job = { l, fn };
	pthread_t threads[EG_LOAD_THREADS];
	unsigned n = 0;

	most = most < EG_LOAD_THREADS ? most : EG_LOAD_THREADS;
	atomic_store(&l->next, 0);
	while (n + 1 < most && pthread_create(&threads[n], NULL, run, &job) == 0)
		n++;
	fn(l);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (!atomic_load(&l->failed))
		return EG_E_OK;
	*f = l->fault;
	return f->err;
}

static void phase_ended(struct load *l, enum load_phase p, int64_t *since)
{
	int64_t now = clock_mono_ns();

	l->report->ns[p] = (uint64_t)(now - *since);
	*since = now;
}

static enum err load(struct load *l, struct fault *f)
{
	int64_t since = clock_mono_ns();
	enum err e = load_spaces(l, f);

	load_size_up(l);
	if (e == EG_E_OK)
		e = in_threads(l, load_rows, l->threads, f);
	FAULT(LOAD_ROWS);
	if (e == EG_E_OK)
		load_sort(l);
	phase_ended(l, EG_LOAD_ROWS, &since);
	if (e == EG_E_OK)
		e = load_plan_spans(l, f);
	if (e == EG_E_OK && !l->anew)
		e = load_frame(l, f);
	phase_ended(l, EG_LOAD_FRAME, &since);
	if (e == EG_E_OK)
		e = in_threads(l, load_segments, l->anew ? 1 : 2 * l->threads, f);
	if (e == EG_E_OK)
		e = load_join_spans(l, f);
	phase_ended(l, EG_LOAD_RECORDS, &since);
	FAULT(LOAD_SEGMENTS);
	if (e == EG_E_OK)
		e = load_prepare_ids(l, f);
	if (e == EG_E_OK)
		e = in_threads(l, load_ids, l->threads, f);
	phase_ended(l, EG_LOAD_IDS, &since);
	FAULT(LOAD_IDS);
	if (e != EG_E_OK)
		return e;
	if (!l->anew)                      /* else they are what reserving made of them */
		load_lists(l);
	phase_ended(l, EG_LOAD_LISTS, &since);
	/* What is above start_lsn and here already is guarded by its content LSN. */
	for (unsigned s = 0; s <= EG_SHARDS; s++)
		atomic_store(&store_root(l->w)->applied_lsn[s], l->c.header.start_lsn);
	return EG_E_OK;
}

static void forget(struct load *l)
{
	for (unsigned i = 0; i < l->n_rooms; i++)
		munmap(l->rooms[i].at, l->rooms[i].bytes);
	free(l->row_at);
	free(l->generations);
	free(l->spans);
	pthread_mutex_destroy(&l->lock);
	checkpoint_close(&l->c);
}

enum err load_checkpoint(struct store_writer *w, const struct datadir *d, const struct checkpoint_place *place,
                         unsigned threads, struct load_report *r, struct fault *f)
{
	struct load l = { .w = w, .d = d, .report = r, .threads = threads < EG_LOAD_THREADS ? threads : EG_LOAD_THREADS };
	enum err e;

	memset(r, 0, sizeof *r);
	e = checkpoint_open(&l.c, d->checkpoints_fd, d->uuid, place, f);
	if (e != EG_E_OK)
		return e;
	pthread_mutex_init(&l.lock, NULL);
	l.anew = r->anew = l.c.header.layout != store_layout();
	e = load(&l, f);
	r->rot = atomic_load(&l.rot);
	r->memories = atomic_load(&store_root(w)->counts.memories);
	r->bytes = atomic_load(&l.bytes);
	r->dropped = l.n > r->memories ? l.n - r->memories : 0;
	forget(&l);
	FAULT(LOAD_DONE);
	return e;
}
