/* Reading ahead, see the header. */
#include "wal/ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "common/fault.h"
#include "common/io.h"
#include "wal/segment.h"

#define EG_AHEAD ((size_t)1 << 20)

struct ahead {
	int fd;
	uint8_t *buf;
	pthread_t thread;
	pthread_mutex_t lock;          /* guards all below; buf is the thread's while asked */
	pthread_cond_t change;
	bool asked, stop;
	uint64_t at;                   /* of what is in buf, or is being read */
	size_t have, taken;            /* bytes in buf; of them handed out */
};

static void *run(void *arg)
{
	struct ahead *a = arg;

	prctl(PR_SET_NAME, "engram-ahead", 0, 0, 0);
	pthread_mutex_lock(&a->lock);
	for (;;) {
		ssize_t got;

		while (!a->asked && !a->stop)
			pthread_cond_wait(&a->change, &a->lock);
		if (a->stop)
			break;
		pthread_mutex_unlock(&a->lock);
		got = FAULT_READ(AHEAD_READ, io_read_at(a->fd, a->buf, EG_AHEAD, a->at));
		pthread_mutex_lock(&a->lock);
		a->have = got > 0 ? (size_t)got : 0;
		a->taken = 0;
		a->asked = false;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

void *ahead_buffer(size_t *bytes)
{
	const size_t huge = (size_t)2 << 20;
	void *buf;

	*bytes = (*bytes + huge - 1) / huge * huge;
	buf = aligned_alloc(huge, *bytes);
	if (buf != NULL)
		(void)madvise(buf, *bytes, MADV_HUGEPAGE);     /* a wish: small ones will do */
	return buf;
}

struct ahead *ahead_open(int fd)
{
	struct ahead *a = calloc(1, sizeof *a);
	size_t bytes = EG_AHEAD;

	if (a == NULL)
		return NULL;
	a->fd = fd;
	a->buf = ahead_buffer(&bytes);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->change, NULL);
	if (a->buf != NULL && pthread_create(&a->thread, NULL, run, a) == 0)
		return a;
	pthread_cond_destroy(&a->change);
	pthread_mutex_destroy(&a->lock);
	free(a->buf);
	free(a);
	return NULL;
}

void ahead_close(struct ahead *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->change);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->change);
	pthread_mutex_destroy(&a->lock);
	free(a->buf);
	free(a);
}

void ahead_ask(struct ahead *a, uint64_t at)
{
	pthread_mutex_lock(&a->lock);
	/* The rest of what is there is asked for: it waits. */
	if (!a->asked && (a->at + a->taken != at || a->taken == a->have)) {
		a->at = at;
		a->have = a->taken = 0;
		a->asked = true;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
}

ssize_t ahead_take(struct ahead *a, void *to, size_t n, uint64_t at)
{
	size_t some = 0;

	pthread_mutex_lock(&a->lock);
	while (a->asked)
		pthread_cond_wait(&a->change, &a->lock);
	if (a->have > a->taken && a->at + a->taken == at) {
		some = a->have - a->taken < n ? a->have - a->taken : n;
		memcpy(to, a->buf + a->taken, some);
		a->taken += some;
	}
	pthread_mutex_unlock(&a->lock);
	return (ssize_t)some;
}
