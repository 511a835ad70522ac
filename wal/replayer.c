/* Applying beside the scan, see the header. */
#include "wal/replayer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/fault.h"
#include "common/log.h"

#define EG_NEXT 8u                     /* records ahead whose ids are on their way from memory */

static enum err apply(struct replayer *r, const struct replay_batch *b, struct fault *f)
{
	enum err e = EG_E_OK;

	for (size_t i = 0; i < b->n && e == EG_E_OK; i++) {
		if (i + EG_NEXT < b->n)
			replay_peek(r->replay, b->of[i + EG_NEXT].record);
		e = replay_record(r->replay, b->of[i].record, b->of[i].header, f);
	}
	FAULT(REPLAY_BATCH);
	return e;
}

static void *run(void *arg)
{
	struct replayer *r = arg;

	prctl(PR_SET_NAME, "engram-replay", 0, 0, 0);
	pthread_mutex_lock(&r->lock);
	for (;;) {
		enum err e;
		struct fault f;

		while (r->given.n == 0 && !r->stop)
			pthread_cond_wait(&r->change, &r->lock);
		if (r->given.n == 0)
			break;
		pthread_mutex_unlock(&r->lock);
		e = apply(r, &r->given, &f);
		pthread_mutex_lock(&r->lock);
		if (e != EG_E_OK) {
			r->err = e;
			r->fault = f;
		}
		r->given.n = 0;
		pthread_cond_broadcast(&r->change);
	}
	pthread_mutex_unlock(&r->lock);
	replay_count(r->replay);
	return NULL;
}

void replayer_open(struct replayer *r, struct replay *p)
{
	memset(r, 0, sizeof *r);
	r->replay = p;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->change, NULL);
	r->running = pthread_create(&r->thread, NULL, run, r) == 0;
	if (!r->running)
		LOG_WARN("no thread for the replay: the log is scanned and applied by turns, which takes longer");
}

/* Lock held. What comes after a failure is not applied. */
static void await(struct replayer *r)
{
	while (r->given.n > 0)
		pthread_cond_wait(&r->change, &r->lock);
	if (r->err != EG_E_OK)
		r->collected.n = 0;
}

enum err replayer_record(void *arg, const struct record *record, const struct segment_header *h, struct fault *f)
{
	struct replayer *r = arg;
	struct replay_batch *b = &r->collected;
	enum err e;

	if (!r->running)
		return replay_record(r->replay, record, h, f);
	if (b->n == b->cap) {
		b->cap = b->cap > 0 ? 2 * b->cap : 4096;
		b->of = realloc(b->of, b->cap * sizeof *b->of);
		EG_ASSERT(b->of != NULL);
	}
	b->of[b->n++] = (struct replayed){ record, h };
	if (b->n > 1)
		return EG_E_OK;
	/* With the first of a batch, what became of earlier ones. */
	pthread_mutex_lock(&r->lock);
	e = r->err;
	if (e != EG_E_OK)
		*f = r->fault;
	pthread_mutex_unlock(&r->lock);
	return e;
}

void replayer_moves(void *arg)
{
	struct replayer *r = arg;
	struct replay_batch swap;

	pthread_mutex_lock(&r->lock);
	await(r);
	swap = r->given;
	r->given = r->collected;
	r->collected = swap;
	pthread_cond_broadcast(&r->change);
	pthread_mutex_unlock(&r->lock);
}

enum err replayer_close(struct replayer *r, enum err e, struct fault *f)
{
	if (r->running) {
		replayer_moves(r);
		pthread_mutex_lock(&r->lock);
		await(r);
		r->stop = true;
		pthread_cond_broadcast(&r->change);
		pthread_mutex_unlock(&r->lock);
		pthread_join(r->thread, NULL);
	} else {
		replay_count(r->replay);
	}
	if (r->err != EG_E_OK) {
		*f = r->fault;
		e = r->err;
	}
	free(r->given.of);
	free(r->collected.of);
	pthread_cond_destroy(&r->change);
	pthread_mutex_destroy(&r->lock);
	return e;
}
