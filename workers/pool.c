/* See pool.h. */
#include "workers/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

struct pool {
	struct pool_plan plan;
	pthread_mutex_t lock;          /* everything below */
	pthread_cond_t some;
	struct work *first, **last;
	unsigned queued, started;
	bool ending;
	unsigned n_threads;
	pthread_t threads[];
};

unsigned pool_share(unsigned total, unsigned index, unsigned n)
{
	unsigned own = total / n + (index < total % n);

	return own ? own : 1;
}

/* Only a lock that is not free at once is timed. */
static void take_lock(struct pool *p)
{
	int64_t begin;

	metric_add(M_LOCK_TAKEN_POOL, 1);
	if (!pthread_mutex_trylock(&p->lock))
		return;
	begin = clock_mono_ns();
	pthread_mutex_lock(&p->lock);
	metric_add(M_LOCK_WAIT_POOL, (uint64_t)(clock_mono_ns() - begin));
}

static struct work *next_work(struct pool *p)
{
	struct work *w;

	take_lock(p);
	while (!p->first && !p->ending)
		pthread_cond_wait(&p->some, &p->lock);
	w = p->first;
	if (w) {
		p->first = w->next;
		if (!p->first)
			p->last = &p->first;
		p->queued--;
	}
	pthread_mutex_unlock(&p->lock);
	return w;
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;
	uint64_t cpu = 0;
	unsigned number;
	struct work *w;
	void *thread;

	pthread_setname_np(pthread_self(), p->plan.comm);
	take_lock(p);
	number = p->started++;
	pthread_mutex_unlock(&p->lock);
	thread = p->plan.open(p->plan.arg, number);
	if (!thread)
		log_fatal(71, "%s: no memory for a thread", p->plan.comm);
	metric_cpu_ns(&cpu);
	while ((w = next_work(p))) {
		metric_sub(p->plan.queued, 1);
		metric_add(p->plan.active, 1);
		w->run(w, thread);
		metric_sub(p->plan.active, 1);
		metric_add(p->plan.cpu, metric_cpu_ns(&cpu));
	}
	p->plan.close(thread);
	return NULL;
}

struct pool *pool_new(const struct pool_plan *plan, struct fault *f)
{
	struct pool *p = calloc(1, sizeof *p + plan->threads * sizeof *p->threads);
	int e;

	EG_ASSERT(plan->threads > 0);
	if (!p) {
		err_set(f, EG_E_INTERNAL, NULL, NULL, "out of memory");
		return NULL;
	}
	p->plan = *plan;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->some, NULL);
	for (; p->n_threads < plan->threads; p->n_threads++) {
		e = pthread_create(&p->threads[p->n_threads], NULL, thread_main, p);
		if (e) {
			err_set(f, EG_E_INTERNAL, NULL, NULL, "cannot start thread %u of %s: %s", p->n_threads, plan->comm, strerror(e));
			pool_free(p);
			return NULL;
		}
	}
	metric_set(plan->total, plan->threads);
	return p;
}

bool pool_push(struct pool *p, struct work *w, bool must)
{
	bool ok;

	take_lock(p);
	ok = !p->ending && (must || p->queued < EG_POOL_QUEUE);
	if (ok) {
		w->next = NULL;
		*p->last = w;
		p->last = &w->next;
		p->queued++;
		metric_add(p->plan.queued, 1);
		pthread_cond_signal(&p->some);
	}
	pthread_mutex_unlock(&p->lock);
	return ok;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	take_lock(p);
	p->ending = true;
	pthread_cond_broadcast(&p->some);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->some);
	free(p);
}
