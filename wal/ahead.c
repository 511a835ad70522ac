/* Reading ahead, see the header. */
#include "wal/ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/io.h"

#define EG_PIECE ((size_t)1 << 20)     /* of one read */

struct ahead {
	int fd;
	uint8_t *buf;                  /* pieces, used in turns */
	size_t *have;                  /* bytes of each */
	size_t n;
	pthread_t thread;
	pthread_mutex_t lock;          /* guards all below; a piece is the thread's until it is read */
	pthread_cond_t change;
	uint64_t read, taken;          /* pieces since the beginning; never wrap */
	size_t used;                   /* bytes taken of the oldest piece */
	uint64_t at, next_at;          /* place in the file: of what is taken next, of what is read next */
	bool reading, ended, stop;
};

static void *run(void *arg)
{
	struct ahead *a = arg;

	prctl(PR_SET_NAME, "engram-ahead", 0, 0, 0);
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		size_t piece = a->read % a->n;
		uint64_t at = a->next_at;
		ssize_t got;

		if (a->ended || a->read - a->taken == a->n) {
			pthread_cond_wait(&a->change, &a->lock);
			continue;
		}
		a->reading = true;
		pthread_mutex_unlock(&a->lock);
		got = FAULT_READ(AHEAD_READ, io_read_at(a->fd, a->buf + piece * EG_PIECE, EG_PIECE, at));
		pthread_mutex_lock(&a->lock);
		a->reading = false;
		a->ended = got <= 0;
		if (got > 0) {
			a->have[piece] = (size_t)got;
			a->next_at += (uint64_t)got;
			a->read++;
		}
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

struct ahead *ahead_open(int fd, size_t bytes, uint64_t at)
{
	struct ahead *a = calloc(1, sizeof *a);

	EG_ASSERT(a != NULL);
	a->fd = fd;
	a->buf = ahead_buffer(&bytes);
	a->n = bytes / EG_PIECE;
	a->have = calloc(a->n, sizeof *a->have);
	a->at = a->next_at = at;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->change, NULL);
	if (a->buf != NULL && a->have != NULL && pthread_create(&a->thread, NULL, run, a) == 0)
		return a;
	pthread_cond_destroy(&a->change);
	pthread_mutex_destroy(&a->lock);
	free(a->have);
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
	free(a->have);
	free(a->buf);
	free(a);
}

/* Lock held. */
static void begin_anew(struct ahead *a, uint64_t at)
{
	while (a->reading)
		pthread_cond_wait(&a->change, &a->lock);
	a->taken = a->read;
	a->used = 0;
	a->at = a->next_at = at;
	a->ended = false;
	pthread_cond_broadcast(&a->change);
}

/* Lock held: some of the oldest piece. */
static size_t take(struct ahead *a, void *to, size_t n)
{
	size_t piece = a->taken % a->n, some = a->have[piece] - a->used;

	some = some < n ? some : n;
	/* Nobody else touches a piece that is read and not given back. */
	pthread_mutex_unlock(&a->lock);
	memcpy(to, a->buf + piece * EG_PIECE + a->used, some);
	pthread_mutex_lock(&a->lock);
	a->used += some;
	a->at += some;
	if (a->used == a->have[piece]) {
		a->used = 0;
		a->taken++;
		pthread_cond_broadcast(&a->change);
	}
	return some;
}

size_t ahead_take(struct ahead *a, void *to, size_t n, uint64_t at)
{
	size_t all = 0;

	pthread_mutex_lock(&a->lock);
	if (a->at != at)
		begin_anew(a, at);
	while (all < n) {
		while (a->read == a->taken && !a->ended)
			pthread_cond_wait(&a->change, &a->lock);
		if (a->read == a->taken)
			break;
		all += take(a, (uint8_t *)to + all, n - all);
	}
	pthread_mutex_unlock(&a->lock);
	return all;
}
