/* A thread that applies what the scan has verified, while the scan reads on.
 *
 * The scan hands records over where they lie, in one of two windows (wal/segment.h). What lies in
 * one window is a batch; before the scan uses the other window again, the batch that lay there
 * has been applied. So there is one batch at work and one being collected, and the order of the log
 * stays: one thread applies everything.
 */
#ifndef WAL_REPLAYER_H
#define WAL_REPLAYER_H

#include <pthread.h>

#include "wal/replay.h"

struct replayed { const struct record *record; const struct segment_header *header; };
struct replay_batch { struct replayed *of; size_t n, cap; };

struct replayer {
	struct replay *replay;         /* the thread's, until replayer_close */
	struct replay_batch collected; /* the scan's */
	pthread_t thread;
	bool running;                  /* there is a thread; else the scan's own applies */
	pthread_mutex_t lock;          /* guards all below */
	pthread_cond_t change;
	struct replay_batch given;     /* n > 0: to be applied, or at it */
	bool stop;
	enum err err;                  /* the first failure; nothing is applied after it */
	struct fault fault;
};

void replayer_open(struct replayer *r, struct replay *p);
/* A scan_fn (wal/scan.h); arg is a struct replayer. Fails when an earlier record could not be applied. */
enum err replayer_record(void *arg, const struct record *r, const struct segment_header *h, struct fault *f) EG_MUST_USE;
/* A scan_moves: the batch that was handed over last is applied when this returns, and the thread has the one
 * that was collected since. Twice: all is applied. */
void replayer_moves(void *arg);
/* All is applied that was collected, if nothing failed; the replay is the caller's again. e, f: how the scan
 * ended; the answer is what went wrong first. */
enum err replayer_close(struct replayer *r, enum err e, struct fault *f) EG_MUST_USE;

#endif
