/* Checkpoints, the consolidation process's part: when one is due, and making it.
 *
 * Due: somebody demanded one; replaying the log from the last one would take longer than
 * [wal] checkpoint_replay_seconds, by the processor time that the records since then
 * took when they were stored; more than [wal] max_segments lie in wal/. The writing is
 * wal/dump.h; then the wal process puts it in force (wal/install.h). Nothing waits for
 * it but who demanded it, so a failure is told, counted, and tried again later.
 */
#ifndef WORKERS_CHECKPOINTS_H
#define WORKERS_CHECKPOINTS_H

#include "common/config.h"
#include "shm/epoch.h"
#include "shm/heritage.h"
#include "shm/store.h"
#include "wal/submit.h"

struct checkpoints {
	const struct heritage *heritage;
	const struct store *store;
	struct submit *lane;
	/* Sleep until the doorbell has rung more often than `seen`; how often it has. */
	unsigned (*rings)(void *arg);
	void (*await_ring)(void *arg, unsigned seen);
	void *arg;
	_Atomic int64_t not_before_ms; /* of a next attempt that nobody demanded */
	uint64_t nonce;                /* of the last attempt */
};

/* Main thread. Is one due now? */
bool checkpoints_due(const struct checkpoints *c, const struct config *cfg, int64_t now_ms);
/* Has anything changed since the last one? (At a stop that is not in a hurry.) */
bool checkpoints_missing(const struct checkpoints *c);

/* A pool's thread: make one, wait until it is in force. Logs what goes wrong. */
enum err checkpoints_make(struct checkpoints *c, struct epoch *epoch);

#endif
