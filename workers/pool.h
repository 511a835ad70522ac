/* A pool of threads with a bounded queue.
 *
 * Work is an intrusive entry (struct work): nothing is allocated to queue it. A
 * full queue refuses at once, so that a flood is answered with 503 in time and
 * not after everybody before has been served.
 */
#ifndef WORKERS_POOL_H
#define WORKERS_POOL_H

#include <stdbool.h>

#include "shm/metrics.h"
#include "workers/api/http.h"

enum { EG_POOL_QUEUE = 1024 };         /* entries that wait at most */

struct pool_plan {
	const char *comm;              /* name of the threads, at most 15 bytes */
	unsigned threads;
	enum metric active, total, queued, cpu;
	/* In each thread, before and after its work; n counts from 0. open gives what
	 * run() gets as `thread`; NULL: the process cannot go on. */
	void *(*open)(void *arg, unsigned n);
	void (*close)(void *thread);
	void *arg;
};

struct pool;

struct pool *pool_new(const struct pool_plan *plan, struct fault *f);   /* NULL: f says why */
/* Let run() of w be called in some thread. False: the queue is full (never when
 * `must`: for work that was begun already), or the pool is ending. */
bool pool_push(struct pool *p, struct work *w, bool must);
/* Finish what is queued, end the threads, free the pool. */
void pool_free(struct pool *p);

/* The share of one of n processes in `total` threads: exact when total >= n, at
 * least 1 each. */
unsigned pool_share(unsigned total, unsigned index, unsigned n);

#endif
