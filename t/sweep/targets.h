/* What killsweep aims at: each fault point in each kind of process that passes it,
 * and what has to happen for it to be passed. */
#ifndef T_SWEEP_TARGETS_H
#define T_SWEEP_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "t/sweep/served.h"

/* What makes somebody pass a point, in words in killsweep.c. */
enum stimulus {
	BY_LOAD, BY_PAUSES, BY_DEAD_WORKER, BY_DEAD_WAL, BY_CRASHED_WAL, BY_LEFT_WAL, BY_DEAD_ROUND, BY_DEAD_CONSOLIDATION,
	BY_TIME, BY_RELOAD, BY_FAILED_SYNC, BY_FULL_DISK, BY_FAILED_HEADER, BY_REST, BY_CHECKPOINT, BY_CHECKPOINTS,
	BY_HALF_CHECKPOINT, BY_BACKUP, BY_BACKUP_OF_BASE, BY_NEW_MASTER, BY_LOG_ALONE, BY_CHECKPOINT_ALONE,
	BY_DAMAGED_CHECKPOINT, BY_DAMAGED_SUPERBLOCK, BY_DAMAGED_COPY, BY_LOST_COPY, BY_MENDED_COPY, BY_OTHER_SIZE, BY_OTHER_LAYOUT,
	BY_HALF_BACKUP, BY_SPACES, BY_FIRST_START, BY_END,
	STIMULI,
};

#define TARGETS_MAX (FAULT_POINTS + 16u)

struct target {
	enum fault_point point;
	enum served_kind kind;
	enum stimulus stimulus;        /* to try first; one that has worked, if known */
	bool known;
	unsigned tried, next_age;      /* times that all were tried in vain; not before this age again */
	uint32_t kills;
};

struct targets { unsigned n; struct target v[TARGETS_MAX]; };

void targets_init(struct targets *t);
/* Only where the log has a second copy. */
bool target_of_mirror(const struct target *t);
/* Passed only where a space has enough vectors for a graph. */
bool target_of_graph(const struct target *t);
/* Why a target need not be reached by this program; NULL: it has to be. */
const char *target_elsewhere(const struct target *t);

#endif
