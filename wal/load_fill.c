/* Populating memory, see the header. */
#include "wal/load_fill.h"

#include <string.h>
#include <sys/prctl.h>

#define EG_PIECE (UINT64_C(8) << 20)   /* some milliseconds: so the heartbeat goes on */

/* Lock held: the next piece; false: there is none now. */
static bool take(struct filler *l, struct region **r, uint64_t *from, uint64_t *to)
{
	while (l->next < l->n && l->of[l->next].at >= l->of[l->next].want)
		l->next++;
	if (l->next == l->n || l->error != 0)
		return false;
	*r = l->of[l->next].region;
	*from = l->of[l->next].at;
	*to = l->of[l->next].want - *from < EG_PIECE ? l->of[l->next].want : *from + EG_PIECE;
	l->of[l->next].at = *to;
	return true;
}

static void fill(struct filler *l)
{
	struct region *r;
	uint64_t from, to;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		int error;

		if (!take(l, &r, &from, &to)) {
			if (l->sealed || l->error != 0)
				break;
			pthread_cond_wait(&l->more, &l->lock);
			continue;
		}
		pthread_mutex_unlock(&l->lock);
		error = region_fill(r, from, to);
		desk_beat(l->desks);
		pthread_mutex_lock(&l->lock);
		if (error != 0 && l->error == 0)
			l->error = error;
	}
	pthread_mutex_unlock(&l->lock);
}

static void *run(void *arg)
{
	prctl(PR_SET_NAME, "engram-fill", 0, 0, 0);
	fill(arg);
	return NULL;
}

void fill_begin(struct filler *l, const struct desks *d, unsigned threads)
{
	memset(l, 0, sizeof *l);
	l->desks = d;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->more, NULL);
	while (l->n_threads < threads && l->n_threads < EG_FILL_THREADS
	       && pthread_create(&l->threads[l->n_threads], NULL, run, l) == 0)
		l->n_threads++;
}

enum err fill_add(struct filler *l, struct region *r, uint64_t bytes, struct fault *f)
{
	uint64_t want;
	enum err e;

	EG_ASSERT(l->n < EG_FILL_REGIONS);
	e = region_extend(r, bytes, &want, f);
	if (e != EG_E_OK)
		return e;
	pthread_mutex_lock(&l->lock);
	l->of[l->n].region = r;
	l->of[l->n].at = region_grown(r);
	l->of[l->n++].want = want;
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);
	return EG_E_OK;
}

enum err fill_end(struct filler *l, enum err why, struct fault *f)
{
	struct fault other;

	pthread_mutex_lock(&l->lock);
	l->sealed = true;
	if (why != EG_E_OK)
		l->next = l->n;
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);
	fill(l);
	for (unsigned i = 0; i < l->n_threads; i++)
		pthread_join(l->threads[i], NULL);
	/* After another failure the whole store is given up: its lengths matter to nobody. */
	for (unsigned i = 0; i < l->n && why == EG_E_OK; i++)
		why = region_reach(l->of[i].region, l->of[i].want, l->error, i == 0 ? f : &other);
	pthread_cond_destroy(&l->more);
	pthread_mutex_destroy(&l->lock);
	return why;
}
