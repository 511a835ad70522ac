/* Apply threads, and the answers.
 *
 * A shard always belongs to the same thread, so records about one memory are
 * applied in LSN order; a round is handed to all threads, each takes its shards.
 * The last one to finish a round answers it: results are there already, now the
 * completion cells, the lanes' tails, one ring of each doorbell. Rounds are
 * answered in their order.
 */
#ifndef WAL_APPLIERS_H
#define WAL_APPLIERS_H

#include <pthread.h>

#include "wal/round.h"

#define EG_ROUNDS 4u                   /* under way at most */
#define EG_APPLIERS_MAX 16u

struct appliers {
	struct store_writer *writer;
	struct desks *desks;
	pthread_mutex_t lock;          /* guards all below */
	pthread_cond_t work, done;
	struct round rounds[EG_ROUNDS];
	uint64_t next, finished;       /* rounds handed over; rounds answered */
	uint64_t taken[EG_APPLIERS_MAX];
	unsigned n;
	uint64_t answered_lsn;         /* highest LSN of the rounds answered */
	bool hold_acked;               /* acked_lsn stands still */
	bool stop;
	pthread_t threads[EG_APPLIERS_MAX];
	struct applier { struct appliers *all; unsigned number; } self[EG_APPLIERS_MAX];
};

enum err appliers_open(struct appliers *a, struct store_writer *w, struct desks *d, unsigned n, struct fault *f) EG_MUST_USE;
void appliers_close(struct appliers *a);   /* finishes what was handed over */

/* Log thread: the next free round (waits for one), hand it over, wait until
 * everything handed over was applied and answered. */
struct round *appliers_round(struct appliers *a);
void appliers_run(struct appliers *a, struct round *r);
void appliers_wait(struct appliers *a);
/* While held, the acked LSN that others see stands still: the lanes still hold
 * entries of the last writer's that are in the log. */
void appliers_hold_acked(struct appliers *a, bool hold);
bool appliers_idle(struct appliers *a);

#endif
